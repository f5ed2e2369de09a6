"""What counts as proven: the backend ran, its answers equalled another's than our own, and the test passed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import recorder

ROOT = Path(__file__).parent.parent

CONFTEST = """
from pathlib import Path
from tests.recorder import Recorder

def pytest_configure(config):
    config.pluginmanager.register(Recorder(config, Path("record.json")))
"""

TESTS = """
import pytest
from modelscope_ext import pipeline
from modelscope_ext.data import digits_folder, digits_samples
from tests.equality import assert_close, assert_equal
from tests.reference import reference

PICTURES = [str(path) for path in digits_samples()][:2]

@pytest.fixture(scope="module")
def answers():
    with pipeline(model=str(digits_folder()), backend="onnx") as pipe:
        yield lambda: pipe(PICTURES, top_k=1)

@pytest.fixture(scope="module")
def library(answers):
    return {"rows": reference("result = arg", answers())}

def test_before(answers, library):
    pass

@pytest.mark.parametrize("case", [1, 2])
def test_equal(answers, case):
    assert_equal(answers(), answers())

def test_close_to_the_library(answers, library):
    assert_close(answers()[1], library["rows"][1])

def test_close_to_our_own(answers):
    assert_close(answers(), answers())

def test_not_compared(answers):
    assert answers()

def test_not_run(library):
    assert_equal(library["rows"], library["rows"])

def test_fails(answers):
    assert_equal(answers(), answers())
    raise AssertionError
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = .\n")
    return folder


def run(folder: Path, *arguments: str) -> dict:
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    return json.loads((folder / "record.json").read_text())


def test_only_what_was_run_and_compared_and_passed_is_proven(folder):
    record = run(folder)
    assert record["backends"]["onnxruntime"]["tasks"] == {
        "image-classification": {"test_it.py::test_close_to_the_library": 1, "test_it.py::test_equal": 2}
    }
    assert set(record["backends"]) == {"onnxruntime"}
    assert {"onnxruntime", "numpy", "pillow", "tokenizers"} == set(record["backends"]["onnxruntime"]["versions"])
    assert record["complete"] is False  # a test failed


@pytest.mark.parametrize(
    ("arguments", "complete"), [(["--deselect", "test_it.py::test_fails"], False), (["test_it.py"], False)]
)
def test_a_run_of_some_tests_is_not_complete(folder, arguments, complete):
    (folder / "test_it.py").write_text(TESTS.partition("def test_fails")[0])
    assert run(folder, *arguments)["complete"] is complete


@pytest.mark.parametrize(
    ("asked", "whole"),
    [("tests", True), ("tests/models/backends", True), ("tests/utils", False), ("tests/models/backends/x.py", False)],
)
def test_the_backends_tests_are_whole_enough(monkeypatch, pytestconfig, asked, whole):
    class Config:
        args, args_source, ArgsSource = [str(ROOT / asked)], pytestconfig.ArgsSource.ARGS, pytestconfig.ArgsSource
        getoption = {"keyword": "", "deselect": None}.get

    assert recorder._is_whole(Config()) is whole


def test_a_backend_that_hands_on_to_another_is_the_one_that_ran(pytestconfig, tmp_path):
    class Inner:
        name = "inner"

        def predict(self, native, task, inputs):
            return inputs

    class Outer(Inner):
        name = "outer"

    made = recorder.Recorder(pytestconfig, tmp_path / "x.json")
    Inner.predict = made._listening(Inner.predict)
    Outer.predict = made._listening(lambda self, *rest: Inner().predict(*rest))
    Outer().predict(None, "fill-mask", [1])
    assert made.ran == {("outer", "fill-mask")}


def test_a_whole_green_run_is_complete(folder):
    (folder / "test_it.py").write_text(TESTS.partition("def test_fails")[0])
    record = run(folder)
    assert record["complete"] is True
    assert record["card"] is None
