"""Equality with a library that cannot be had for nothing: both answer alike, and the answers tell inputs apart.

`assert_equal` first holds the library's own answers to `assert_telling`, then compares. A case whose answers all carry
one label, repeat one token, are empty, or differ by less than a hundred tolerances proves nothing and fails.

Example:
    >>> assert_equal([{"label": "a", "score": 0.9}, {"label": "b", "score": 0.6}],
    ...              [{"label": "a", "score": 0.9}, {"label": "b", "score": 0.6}])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["OBSERVERS", "TOLERANCE", "assert_close", "assert_equal", "assert_telling", "decisions"]

#: Largest difference of two numbers that count as equal.
TOLERANCE = 1e-4

#: Numbers of a telling case are further apart than this many tolerances.
_APART = 100

#: Told what ours was found equal to, `library=True` where that can only be the library's: see `tests/recorder.py`.
OBSERVERS: list[Callable[..., None]] = []

#: What an answer decides: the best row of a list with scores, or each row where rows are what was found.
_BEST = ("label", "token", "answer", "index")
_EACH = ("entity", "entity_group")
_TEXTS = ("generated_text", "translation_text", "summary_text", "text")


def assert_equal(
    ours: Sequence[Any], theirs: Sequence[Any], *, inputs: Sequence[Any] = (), tolerance: float = TOLERANCE
) -> None:
    """Compare one answer per input with the library's, which have to tell something apart.

    Args:
        ours: This package's answers.
        theirs: The library's, as `tests.reference.reference` returned them.
        inputs: What was asked; a text that is continued is taken off its answer before it is judged.
        tolerance: Largest difference of two numbers.
    """
    assert len(ours) == len(theirs), f"{len(ours)} answers, not {len(theirs)}"
    assert_telling(theirs, inputs=inputs, tolerance=tolerance)
    assert_close(list(ours), list(theirs), tolerance)
    for tell in OBSERVERS:
        tell(theirs, library=True)


def assert_close(ours: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Fail at the first place where two values differ: a number by more than `tolerance`, anything else at all."""
    found = next(_differences(ours, theirs, tolerance, "answers"), None)
    assert found is None, found
    for tell in OBSERVERS:
        tell(theirs, library=False)


def assert_telling(answers: Sequence[Any], *, inputs: Sequence[Any] = (), tolerance: float = TOLERANCE) -> None:
    """Fail where the answers would be equal to almost anything: one label, one token, nothing, or one number."""
    assert answers, "the case proves nothing: no answers"
    empty = [i for i, answer in enumerate(answers) if _is_empty(answer)]
    assert not empty, f"the case proves nothing: the answers {empty} are empty"
    asked = [*inputs, *[None] * len(answers)]
    decided = [list(decisions(answer, asked[i])) for i, answer in enumerate(answers)]
    if any(decided):
        words = {word for each in decided for word in each}
        assert len(words) > 1, f"the case proves nothing: every answer decides {sorted(map(str, words))}"
        return
    rows = [list(_numbers(answer)) for answer in answers]
    values = [value for row in rows for value in row]
    spread = max(values, default=0.0) - min(values, default=0.0)
    assert spread > _APART * tolerance, f"the case proves nothing: its numbers lie within {spread}"
    same = all(_close(rows[0], row, _APART * tolerance) for row in rows[1:])
    assert len(rows) == 1 or not same, "the case proves nothing: every answer holds the same numbers"


def decisions(answer: Any, asked: Any = None) -> Iterator[str]:
    """Yield the labels, tokens and words that an answer decides; nothing for an answer of numbers.

    Example:
        >>> list(decisions([{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]))
        ['a']
        >>> list(decisions({"generated_text": "the cat sat down"}, "the cat"))
        ['sat', 'down']
    """
    if isinstance(answer, str):
        yield from answer.removeprefix(asked if isinstance(asked, str) else "").split()
    elif isinstance(answer, Mapping):
        if "labels" in answer and "scores" in answer:
            yield str(answer["labels"][0])
        for key in (*_BEST, *_EACH):
            if key in answer:
                yield str(answer[key])
        for key in _TEXTS:
            if key in answer:
                yield from decisions(_last(answer[key]), asked)
    elif isinstance(answer, list | tuple) and answer:
        for one in answer[:1] if _is_ranking(answer[0]) else answer:
            yield from decisions(one, asked)


def _is_ranking(row: Any) -> bool:
    """Whether only the first row of a list counts: its rows are rivals, not things found beside each other."""
    found = isinstance(row, Mapping) and ("box" in row or "mask" in row)
    return isinstance(row, Mapping) and "score" in row and bool(set(_BEST) & set(row)) and not found


def _last(text: Any) -> Any:
    """The new message of a chat, or the text itself."""
    return text[-1]["content"] if isinstance(text, list) and text else text


def _is_empty(answer: Any) -> bool:
    if isinstance(answer, Mapping):
        return not answer or any(_last(answer[key]) == "" for key in _TEXTS if key in answer)
    return isinstance(answer, list | tuple | str) and not len(answer)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


def _close(left: Sequence[float], right: Sequence[float], tolerance: float) -> bool:
    return len(left) == len(right) and all(abs(a - b) <= tolerance for a, b in zip(left, right, strict=True))


def _differences(ours: Any, theirs: Any, tolerance: float, place: str) -> Iterator[str]:
    """Yield where two answers differ: in a number by more than the tolerance, in anything else at all."""
    ours, theirs = (value.tolist() if hasattr(value, "tolist") else value for value in (ours, theirs))
    if isinstance(ours, bool) or isinstance(theirs, bool):
        if ours is not theirs:
            yield f"{place}: {ours!r} is not {theirs!r}"
    elif isinstance(ours, float) or isinstance(theirs, float):
        numbers = isinstance(ours, int | float) and isinstance(theirs, int | float)
        if not numbers or not abs(ours - theirs) <= tolerance * max(1.0, abs(theirs)):
            yield f"{place}: {ours!r} is not {theirs!r}"
    elif isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if ours.keys() != theirs.keys():
            yield f"{place}: the keys {sorted(ours)} are not {sorted(theirs)}"
        for key in theirs.keys() & ours.keys():
            yield from _differences(ours[key], theirs[key], tolerance, f"{place}.{key}")
    elif isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            yield f"{place}: {len(ours)} items, not {len(theirs)}"
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from _differences(one, other, tolerance, f"{place}[{number}]")
    elif ours != theirs:
        yield f"{place}: {ours!r} is not {theirs!r}"
