"""`demo`: the shipped model at work, with whatever is installed."""

import json
import re

import pytest

from modelscope_ext.cli.demo import draw
from modelscope_ext.data import digits_samples


def test_every_picture_is_recognised(cli):
    done = cli("demo", "--json")
    report = json.loads(done.out)
    assert [r["label"] for r in report["results"]] == [r["truth"] for r in report["results"]] == list("0123456789")
    assert (done.code, report["right"]) == (0, 10)
    assert all(0.5 < r["score"] <= 1 for r in report["results"])
    assert report["resolution"]["default_task"] == "image-classification"


def test_the_pictures_the_answers_and_the_reasons_are_shown(cli):
    done = cli("demo")
    assert done.code == 0
    assert len(re.findall(r"[\u2713] \d \d+\.\d% \(is \d\)", done.out)) == 10
    assert "10 of 10 right" in done.out and "image-classification" in done.out
    assert "\x1b" not in done.out and done.out.isprintable() is False
    assert "@@" in done.out


def test_one_backend_can_be_asked_for(cli):
    report = json.loads(cli("demo", "--backend", "onnx", "--json").out)
    assert report["resolution"]["backend"] == "onnxruntime"


def test_a_wrong_answer_is_a_negative_exit_code(cli, monkeypatch):
    """The truth is a file's name: with the names moved by one, the same answers are wrong."""
    import modelscope_ext.data as data

    samples = digits_samples()

    class Moved(type(samples[0])):
        stem = "7"

    monkeypatch.setattr(data, "digits_samples", lambda: [Moved(p) for p in samples])
    done = cli("demo")
    assert done.code == 1
    assert "1 of 10 right" in done.out


def test_a_failing_library_is_a_failing_demo(cli):
    done = cli("demo", "--backend", "espnet")
    assert done.code == 4
    assert "espnet" in done.err and "pip install" in done.err


def test_a_picture_in_greys_and_in_letters():
    path = digits_samples()[1]
    letters, greys = draw(path, colour=False), draw(path, colour=True)
    assert len(letters) == len(greys) == 8
    assert {len(line) for line in letters} == {16}
    dark = letters[0].index(" ")
    cells = re.findall(r"\x1b\[48;5;(\d+)m  ", greys[0])
    assert len(cells) == 8 and all(232 <= int(cell) <= 255 for cell in cells)
    assert int(cells[dark // 2]) == 232
    assert greys[0].endswith("\x1b[0m")


@pytest.mark.parametrize("columns", ["20", "80", "500"])
def test_rows_are_as_long_as_the_terminal_allows(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    text = cli("demo").out
    pictures = text[: text.index("No configuration.json")]
    assert max(map(len, pictures.splitlines())) <= max(int(columns), 18)
