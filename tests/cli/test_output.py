"""Where answers go and how they look: plain text, a terminal, JSON, logs."""

import io
import json
import logging

import pytest

from modelscope_ext.cli import inspect_
from modelscope_ext.cli.output import Output, columns, size
from modelscope_ext.models.resolution import Finding, Reason, Rejected, Resolution, Source, Weights
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.requirement import Check

RESOLUTION = Resolution(
    Source("local", path="./m\x1b[2J"),
    "pytorch",
    "transformers",
    ("text-classification", "feature-extraction"),
    "bert",
    ("transformers>=4.37", "torch"),
    weights=Weights("safetensors", ("model.safetensors",), 268_400_000, None, {"F32": 67}, 67_100_000),
    because={
        "backend": (Reason("config.json", "model_type", "bert", "transformers has this architecture"),),
        "framework": (Reason("model.safetensors", "", None, "safetensors that torch wrote"),),
    },
    alternatives=(Rejected("mindone", "could load it too; chosen only when asked"),),
    findings=(Finding("stub", "warning", "configuration.json", "task", "the task is \u202eignored"),),
)
CHECKS = (
    Check("transformers>=4.37", True, "5.23.0"),
    Check("torch", False, None, "missing", "pip install torch", "torch", ""),
    Check("mindone", False, "0.5.0", "conflict", "it needs an environment of its own", "mindone", ""),
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def shown(stream, **keywords):
    output = Output(stdout=stream, **keywords)
    inspect_.show(RESOLUTION, CHECKS, output)
    return stream.getvalue()


def test_a_decision_as_plain_text():
    assert shown(io.StringIO()).splitlines() == [
        "./m\\x1b[2J",
        "  framework   pytorch",
        "  backend     transformers",
        "  tasks       text-classification (default), feature-extraction",
        "  model type  bert",
        "  weights     model.safetensors, safetensors, 268.4 MB, 67,100,000 parameters, F32",
        "requires",
        "  ok  transformers>=4.37  5.23.0",
        "  --  torch               not installed  missing",
        "  --  mindone             0.5.0          conflict",
        "  it needs an environment of its own",
        "why",
        "  framework  model.safetensors        safetensors that torch wrote",
        "  backend    config.json: model_type  transformers has this architecture",
        "findings",
        "  warning  the task is \\u202eignored  (configuration.json: task)",
        "alternatives",
        "  mindone  could load it too; chosen only when asked",
    ]


@pytest.mark.pt  # rich comes with transformers; the light core does without
def test_a_terminal_gets_colours_and_the_same_words(monkeypatch):
    import re

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    text = shown(Terminal())
    assert "\x1b[1" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "\x1b" not in plain and "\u202e" not in plain
    words = shown(io.StringIO()).replace(" ok ", " \u2713 ").replace(" -- ", " \u2717 ").split()
    assert plain.split() == words


@pytest.mark.pt
@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_narrow_terminal_folds_the_last_column_below_itself(monkeypatch, width):
    import re

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    rows = [
        ("\u6a21\u578b", "a reason of several words that does not fit on one line of it"),
        ("b", "x" * 90),
        ("alone",),
    ]
    Output(stdout=stream).table(rows, styles=("dim",), header=("what", "why"))
    lines = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()).splitlines()
    assert all(columns(line.rstrip()) <= width for line in lines)
    starts = [line for line in lines if not line.startswith(" " * 9)]
    assert [line.split()[0] for line in starts] == ["what", "\u6a21\u578b", "b", "alone"]
    assert "".join(lines).replace(" ", "").count("x") == 90
    assert lines[1].startswith("  \u6a21\u578b   a reason")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_may_be_kept_plain(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert "\x1b" not in shown(Terminal())


def test_json_has_no_colours_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    output = Output(json=True, stdout=stream)
    output.document(RESOLUTION)
    assert json.loads(stream.getvalue()) == RESOLUTION.to_dict()


def test_ticks_where_the_stream_has_them():
    assert Output(stdout=Terminal()).tick(True) == "\u2713"
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert (Output(stdout=ascii_stream).tick(True), Output(stdout=ascii_stream).tick(False)) == ("ok", "--")


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({}, ["WARNING", "ERROR"]),
        ({"quiet": True}, ["ERROR"]),
        ({"verbose": 1}, ["INFO", "WARNING", "ERROR"]),
        ({"verbose": 2}, ["DEBUG", "INFO", "WARNING", "ERROR"]),
    ],
)
def test_logs_go_to_stderr_by_verbosity(capsys, options, levels):
    before = list(logger.handlers), logger.level
    with Output(**options) as output:
        output.show_logs()
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            logger.log(getattr(logging, level), "said")
    done = capsys.readouterr()
    assert done.out == ""
    assert done.err.splitlines() == [f"{level}: said" for level in levels]
    assert (list(logger.handlers), logger.level) == before


def test_notes_are_left_out_when_quiet(capsys):
    Output(quiet=True).note("done")
    Output().note("done")
    assert capsys.readouterr() == ("", "done\n")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (10**18, "1000.0 PB")]
)
def test_sizes(count, text):
    assert size(count) == text
