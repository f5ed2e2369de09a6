"""The comparison with libraries is a strict one, and every test that asks a library makes it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.equality import assert_close, assert_equal, assert_telling, decisions

HERE = Path(__file__).parent


def row(label: str, score: float) -> list[dict[str, object]]:
    return [{"label": label, "score": score}, {"label": "other", "score": 1 - score}]


DEGENERATE = [
    ([], "no answers"),
    ([row("a", 0.9), row("a", 0.6)], r"every answer decides \['a'\]"),
    ([[], row("a", 0.9)], r"the answers \[0\] are empty"),
    ([{"generated_text": ""}, {"generated_text": "the cat"}], "are empty"),
    ([{"generated_text": "a a a"}, {"generated_text": "a"}], r"decides \['a'\]"),
    ([{"sequence": "x", "labels": ["a", "b"], "scores": [0.7, 0.3]}] * 2, r"decides \['a'\]"),
    ([[{"entity": "O", "word": "the"}], [{"entity": "O", "word": "cat"}]], r"decides \['O'\]"),
    ([[{"token": 3, "score": 0.5}, {"token": 4, "score": 0.1}]], r"decides \['3'\]"),
    ([[{"index": 0, "score": 0.9}, {"index": 1, "score": 0.1}]] * 2, r"decides \['0'\]"),
    ([{"answer": None}, {"answer": None}], "decides"),
    ([[0.5, 0.5], [0.5, 0.5]], "lie within 0.0"),
    ([[0.1, 0.9], [0.1, 0.9]], "the same numbers"),
    ([[0.1, 0.9], [0.1, 0.905]], "the same numbers"),
    ([[[0.0, 0.0], [0.0, 0.0]]], "lie within 0.0"),
]


@pytest.mark.parametrize(("answers", "says"), DEGENERATE)
def test_what_tells_nothing_apart_is_refused(answers, says):
    with pytest.raises(AssertionError, match=says):
        assert_equal(answers, answers)


def test_a_prompt_is_no_answer():
    answers = [{"generated_text": "the cat"}, {"generated_text": "a dog"}]
    assert_telling(answers)
    with pytest.raises(AssertionError):
        assert_telling(answers, inputs=["the cat", "a dog"])


TELLING = [
    [row("a", 0.9), row("b", 0.9)],
    [{"generated_text": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "two words"}]}],
    [[{"label": "a", "score": 1.0, "box": {}}, {"label": "b", "score": 0.5, "box": {}}]],
    [[0.1, 0.9], [0.1, 0.2]],
]


@pytest.mark.parametrize("answers", TELLING)
def test_what_tells_something_apart_is_taken(answers):
    assert_equal(answers, answers)


DIFFERENT = [
    (0.5, 0.5002),
    (0.5, None),
    (1, 2),
    (True, 1),
    ([1.0], [1.0, 2.0]),
    ({"a": 1}, {"b": 1}),
    ({"a": [{"b": 0.1}]}, {"a": [{"b": 0.2}]}),
    ("the", "the "),
    (float("nan"), 0.5),
    ("0.5", 0.5),
]


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT)
def test_what_differs_is_found(ours, theirs):
    for pair in ((ours, theirs), (theirs, ours)):
        with pytest.raises(AssertionError, match="answers"):
            assert_close(*pair)


def test_an_answer_more_or_less_is_found():
    with pytest.raises(AssertionError, match="1 answers, not 2"):
        assert_equal([row("a", 0.9)], [row("a", 0.9), row("b", 0.9)])


def test_decisions_of_nothing():
    assert list(decisions([])) == list(decisions([1.0, 2.0])) == []


#: Tests that ask a library for something else than a model's answers, and why.
OTHERWISE = {
    "test_reference.py": "the helper itself",
    "metadata/test_real_configs.py": "files that transformers writes, not answers",
    "models/backends/test_onnx_equality.py::test_pixel_values_are_equal_bit_by_bit": "equal bit by bit, on noise",
    "models/backends/test_onnx_sounds.py::test_what_is_heard_is_what_transformers_hears": "each sound alone, on noise",
    "pipelines/test_equal.py::test_a_stream_gives_the_librarys_text": "counts the words that all streams make",
    "examples/test_digits.py::test_pixel_values_equal_the_librarys_bit_by_bit": "equal bit by bit, on ten digits",
}

_ASKS, _COMPARES = {"reference", "native", "library", "ask"}, {"assert_equal", "assert_answers", "assert_alike"}


def test_every_test_that_asks_a_library_compares_strictly():
    lax, seen = [], 0
    for path in sorted(HERE.rglob("test_*.py")):
        name, text = path.relative_to(HERE).as_posix(), path.read_text(encoding="utf-8")
        if name in OTHERWISE or "from tests.reference import reference" not in text:
            continue
        for function in ast.walk(ast.parse(text)):
            if not (isinstance(function, ast.FunctionDef) and function.name.startswith("test_")):
                continue
            called = {n.func.id for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
            given = {argument.arg for argument in function.args.args}
            if (called | given) & _ASKS and f"{name}::{function.name}" not in OTHERWISE:
                seen += 1
                used = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
                lax += [] if used & _COMPARES else [f"{name}::{function.name}"]
    assert lax == []
    assert seen > 20
