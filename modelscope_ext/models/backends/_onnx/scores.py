"""From a graph's logits to scores and labels, by the functions and defaults of transformers' pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._onnx.session import Bundle
from modelscope_ext.utils.text import listing, printable

__all__ = ["FUNCTIONS", "function_for", "labelled", "sigmoid", "softmax"]


def softmax(x: Any) -> Any:
    """Return the softmax over the last axis."""
    import numpy as np

    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x: Any) -> Any:
    """Return the logistic function of each element, without overflow."""
    import numpy as np

    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x)))).astype(x.dtype)


def _none(x: Any) -> Any:
    return x


def _tanh(x: Any) -> Any:
    import numpy as np

    return np.tanh(x)


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": _none,
    "tanh": _tanh,
}

_BY_PROBLEM = {"regression": "none", "multi_label_classification": "sigmoid", "single_label_classification": "softmax"}


def function_for(bundle: Bundle, count: int, asked: str | None, alone: str = "sigmoid") -> Callable[[Any], Any]:
    """Return what turns logits of `count` labels into scores: the caller's wish, else the problem, else the count.

    Args:
        bundle: The loaded folder.
        count: How many labels there are.
        asked: A key of `FUNCTIONS`, or None.
        alone: What is applied to a single label.
    """
    if asked is not None:
        if asked.lower() not in FUNCTIONS:
            raise OptionError(f"function_to_apply={printable(asked)!r} is unknown. There are: {listing(FUNCTIONS)}.")
        return FUNCTIONS[asked.lower()]
    problem = bundle.config.get("problem_type")
    return FUNCTIONS[_BY_PROBLEM.get(str(problem), alone if count == 1 else "softmax")]


def labelled(bundle: Bundle, scores: Any, top: int | None) -> list[dict[str, Any]]:
    """Return ``{"label", "score"}`` for the best `top` labels, best first; None gives all."""
    order = (-scores).argsort(kind="stable")[:top]
    return [{"label": bundle.label(int(i)), "score": float(scores[i])} for i in order]
