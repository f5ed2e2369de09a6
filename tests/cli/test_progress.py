"""Progress: on a terminal's stderr one line that is gone afterwards, elsewhere nothing."""

import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from modelscope_ext.cli import progress
from modelscope_ext.cli.output import Output
from modelscope_ext.cli.progress import Counter, Rows, Steps, bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def output(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    result = Output(stdout=io.StringIO())
    result.stderr = Terminal()
    return result


def screen(text):
    """Return what is left on a line after carriage returns and erasures."""
    return text.split("\r\x1b[K")[-1]


def test_a_walk_says_how_far_it_is(output):
    with Counter(output, total=4) as counter:
        counter.step("/m")
        for name in ("a", "b", "c\x1b[2J"):
            counter.step(f"/m/{name}", done=True)
            counter.found += 1
        assert screen(output.stderr.getvalue()) == "[##########..........] 4 folders, 2 models  /m/c\\x1b[2J"
        counter.pause()
        assert screen(output.stderr.getvalue()) == ""
        counter.step("/m/d", done=True)
    assert screen(output.stderr.getvalue()) == ""
    assert all(len(part) < 80 for part in output.stderr.getvalue().split("\r\x1b[K"))


def test_a_load_says_how_far_it_is(output):
    with Steps(output) as steps:
        steps("weights", 1, 4)
        assert screen(output.stderr.getvalue()) == "[#####...............] weights"
        steps("weights", 4, 4)
        assert screen(output.stderr.getvalue()) == ""


@pytest.mark.parametrize("why", ["quiet", "a pipe", "dumb", "switched off"])
def test_nothing_where_nobody_looks(output, monkeypatch, why):
    output.quiet = why == "quiet"
    if why == "a pipe":
        output.stderr = io.StringIO()
    if why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if why == "switched off":
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with Counter(output, total=1) as counter, Steps(output) as steps:
        counter.step("/m")
        steps("weights", 1, 2)
    assert output.stderr.getvalue() == ""
    assert counter.folders == 1


def test_a_bar_is_never_overfull():
    assert bar(9, 3, 4) == "[####]"
    assert bar(0, 0, 4) == "[....]"


@pytest.mark.parametrize("how", ["shown", "quiet", "switched off", "a pipe"])
def test_a_real_load_on_a_real_terminal(how):
    """A process of its own, its stderr a pseudo-terminal: the bar comes and is gone, stdout holds the answer alone."""
    from modelscope_ext.data import digits_folder, digits_samples

    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "modelscope_ext", "run", str(digits_folder()), str(digits_samples()[3])]
    command += ["--backend", "onnx", "--json", *(["-q"] if how == "quiet" else [])]
    bars = "1" if how == "switched off" else "0"
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if how == "a pipe" else theirs,
        env={**os.environ, "TERM": "xterm", "HF_HUB_DISABLE_PROGRESS_BARS": bars},
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    os.close(theirs)
    seen = done.stderr if how == "a pipe" else drained(ours)
    os.close(ours)
    assert done.returncode == 0, seen
    assert b'"label": "3"' in done.stdout
    assert (b"Opening onnx/model.onnx" in seen) == (how == "shown")
    if how == "shown":
        assert screen(seen.decode()) == ""
    assert b"Opening" not in done.stdout


def drained(terminal):
    """Return what was written to a pseudo-terminal whose other side is closed."""
    text = b""
    with suppress(OSError):  # Linux says EIO at the end
        while piece := os.read(terminal, 4096):
            text += piece
    return text


def test_rows_show_their_rate_and_what_is_left(output):
    with Rows(output) as rows:
        for done in (100, 200, 300):
            rows(done, 1000, done // 100)
    text = screen(output.stderr.getvalue().removesuffix("\r\x1b[K"))
    assert text.startswith("[######..............] 300/1,000 rows  ") and text.endswith("  3 bad")
    assert "/s, " in text and " left" in text
    assert screen(output.stderr.getvalue()) == ""
