"""Step 6 of 6: what a task gives. Outputs are compared with patterns, and with laws that a pattern cannot say.

A pattern is the name of a scalar (``"str"``, ``"float"``, ``"image"``, ...; a trailing ``?`` allows None), a dict of
patterns (a trailing ``?`` marks a key that may be left out, ``"*"`` stands for any keys), a list with the pattern of
its items, or a tuple of alternatives; `models/types.py` derives it from a type. A law is a function of the output, the
input it answers and the call's options.

Example:
    >>> mismatch([{"label": "str", "score": "float"}], [{"label": "cat", "score": 1}])
    'output[0].score: expected a finite Python float, got int 1'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.utils.text import printable

__all__ = ["LAWS", "SCALARS", "difference", "mismatch"]


def mismatch(pattern: Any, value: Any, place: str = "output") -> str | None:
    """Return where and how `value` differs from `pattern`, or None."""
    if isinstance(pattern, tuple):
        problems = [mismatch(p, value, place) for p in pattern]
        return None if None in problems else " or ".join(str(p) for p in problems)
    if isinstance(pattern, list):
        if type(value) is not list:
            return f"{place}: expected a list, got {_name(value)}"
        return next((p for i, v in enumerate(value) if (p := mismatch(pattern[0], v, f"{place}[{i}]"))), None)
    if isinstance(pattern, dict):
        return _mismatch_of_dict(pattern, value, place)
    if pattern.endswith("?") and value is None:
        return None
    says, holds = SCALARS[pattern.rstrip("?")]
    return None if holds(value) else f"{place}: expected {says}, got {_name(value)} {printable(repr(value), 40)}"


def _mismatch_of_dict(pattern: dict[str, Any], value: Any, place: str) -> str | None:
    if type(value) is not dict:
        return f"{place}: expected a dict with {sorted(pattern)}, got {_name(value)}"
    if "*" in pattern:
        return next((p for k, v in value.items() if (p := mismatch(pattern["*"], v, f"{place}[{k!r}]"))), None)
    known = {k.rstrip("?"): k for k in pattern}
    missing = [k for k in pattern if not k.endswith("?") and k not in value]
    strange = [k for k in value if k not in known]
    if missing or strange:
        return f"{place}: expected the keys {sorted(pattern)}, missing {missing}, not expected {strange}"
    return next((p for k, v in value.items() if (p := mismatch(pattern[known[k]], v, f"{place}.{k}"))), None)


def difference(left: Any, right: Any, tolerance: float = 0.0, place: str = "output") -> str | None:
    """Return where two outputs differ by more than `tolerance` in a number, or in anything else, or None.

    Example:
        >>> difference([{"score": 0.5}], [{"score": 0.5000001}], 1e-5) is None
        True
        >>> difference({"label": "a"}, {"label": "b"})
        "output.label: 'a' and 'b'"
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if left.keys() != right.keys():
            return f"{place}: the keys {sorted(left)} and {sorted(right)}"
        pairs = ((f"{place}.{key}", value, right[key]) for key, value in left.items())
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) != len(right):
            return f"{place}: {len(left)} and {len(right)} items"
        pairs = ((f"{place}[{i}]", one, other) for i, (one, other) in enumerate(zip(left, right, strict=True)))
    else:
        return None if _equal(left, right, tolerance) else f"{place}: {_short(left)} and {_short(right)}"
    return next((found for at, one, other in pairs if (found := difference(one, other, tolerance, at))), None)


def _equal(left: Any, right: Any, tolerance: float) -> bool:
    if type(left) in (int, float) and type(right) in (int, float):
        return bool(abs(left - right) <= tolerance * max(1.0, abs(left)))
    if any(hasattr(value, "detach") or hasattr(value, "tobytes") for value in (left, right)):
        import numpy as np

        if type(left) is not type(right):
            return False
        one, other = (np.asarray(v.detach().cpu() if hasattr(v, "detach") else v) for v in (left, right))
        if one.shape != other.shape:
            return False
        if all(map(SCALARS["image"][1], (left, right))) and one.dtype == other.dtype == np.uint8:
            one, other = one / 255, other / 255  # what rounds to neighbouring values of 255 may be equal
        numbers = one.dtype.kind in "fc" and other.dtype.kind in "fc"
        return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance) if numbers else np.array_equal(one, other))
    return bool(left == right)


def _short(value: Any) -> str:
    return printable(repr(value), 80)


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("role"), str) and ("content" in value or "tool_calls" in value)
    )


SCALARS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "any": ("anything but None", lambda v: v is not None),
    "str": ("a str", lambda v: type(v) is str),
    "int": ("an int", lambda v: type(v) is int),
    "float": ("a finite Python float", lambda v: type(v) is float and math.isfinite(v)),
    "number": ("an int or a finite Python float", lambda v: type(v) in (int, float) and math.isfinite(v)),
    "image": ("a PIL image", lambda v: any(b.__module__.partition(".")[0] == "PIL" for b in type(v).__mro__)),
    "array": (
        "a float32 numpy array",
        lambda v: type(v).__module__ == "numpy" and str(v.dtype) == "float32" and v.size,
    ),
    "mask": (
        "a boolean numpy array [height, width]",
        lambda v: type(v).__module__ == "numpy" and str(v.dtype) == "bool" and v.ndim == 2,
    ),
    "message": ("a chat message", _is_message),
}


def _sorted(value: Any, item: Any, options: Mapping[str, Any]) -> str | None:
    if not isinstance(value, list):
        return None
    if value and isinstance(value[0], list):
        return next((p for v in value if (p := _sorted(v, item, options))), None)
    scores = [v["score"] for v in value]
    return None if scores == sorted(scores, reverse=True) else f"the scores are not in falling order: {scores[:5]}"


def _vectors(value: Any, item: Any, options: Mapping[str, Any]) -> str | None:
    if value.ndim in (1, 2):
        return None
    return f"expected an array [tokens, width], or [width] where the library pools them; got {value.shape}"


def _one_score_a_sentence(value: Any, item: Any, options: Mapping[str, Any]) -> str | None:
    if item is None or len(value) == len(item["sentences"]):
        return None
    return f"{len(value)} scores for {len(item['sentences'])} sentences"


def _documents_ranked(value: Any, item: Any, options: Mapping[str, Any]) -> str | None:
    if item is None:
        return None
    documents = item["documents"]
    indices = [v["index"] for v in value]
    if len(set(indices)) != len(indices) or not all(0 <= i < len(documents) for i in indices):
        return f"the indices {indices[:8]} do not name each of {len(documents)} documents once"
    if options.get("top_k") is None and len(indices) != len(documents):
        return f"{len(indices)} of {len(documents)} documents are ranked"
    wrong = [v["index"] for v in value if documents[v["index"]] != v["document"]]
    return f"the texts at the indices {wrong} are not the documents of the input" if wrong else None


def _labels_and_scores(value: Any, item: Any, options: Mapping[str, Any]) -> str | None:
    if len(value["labels"]) != len(value["scores"]):
        return f"{len(value['labels'])} labels and {len(value['scores'])} scores"
    if value["scores"] != sorted(value["scores"], reverse=True):
        return f"the scores are not in falling order: {value['scores'][:5]}"
    return None if item is None or value["sequence"] == item else "the sequence is not the input"


LAWS: Mapping[str, Callable[[Any, Any, Mapping[str, Any]], str | None]] = {
    "sorted": _sorted,
    "vectors": _vectors,
    "one score a sentence": _one_score_a_sentence,
    "documents ranked": _documents_ranked,
    "labels and scores": _labels_and_scores,
}
