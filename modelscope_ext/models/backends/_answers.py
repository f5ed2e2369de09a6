"""Step 6 of 6: the words of a context that answer a question, from the chances of each token to begin or end them.

What is done with the numbers is the same whichever library computed them: a long context is read in overlapping
windows, an answer has at most so many tokens, it begins and ends where words do, and the first token of a window stands
for "no answer" (the algorithm of transformers' question-answering pipeline, which transformers 5 no longer has).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import OptionError

__all__ = ["Window", "best_answers", "window_size"]


@dataclass(frozen=True)
class Window:
    """One window of a context after the model has read it.

    Attributes:
        start: float [tokens], logits of beginning the answer.
        end: float [tokens], logits of ending it.
        context: bool [tokens], where a token belongs to the context.
        place: Gives the first and the last character of the words in which two tokens stand.
    """

    start: Any
    end: Any
    context: Any
    place: Callable[[int, int], tuple[int, int]]


def window_size(most: float, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens of a window and how many of them two windows share.

    Args:
        most: Tokens that the model takes.
        options: `max_seq_len` and `doc_stride` of the call.

    Example:
        >>> window_size(512, {}), window_size(512, {"max_seq_len": 20})
        ((384, 128), (20, 10))
    """
    longest = int(options.get("max_seq_len") or min(most, 384))
    return longest, int(options.get("doc_stride") or min(longest // 2, 128))


def best_answers(windows: Iterable[Window], context: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the likeliest answers, `top_k` of them (one unless the caller says otherwise), the best first.

    Raises:
        OptionError: The context is empty.
    """
    none, found = 1.0, []
    for window in windows:
        start, end, impossible = _chances(window)
        none = min(none, impossible)
        found += [(float(start[i] * end[j]), *window.place(i, j)) for i, j in _spans(start, end, options)]
    if options.get("handle_impossible_answer"):
        found.append((none, 0, 0))
    merged: dict[tuple[int, int], float] = {}
    for score, first, last in found:
        merged[first, last] = max(merged.get((first, last), 0.0), score)
    ranked = sorted(merged.items(), key=lambda one: -one[1])[: options.get("top_k") or 1]
    if not ranked:
        raise OptionError("question-answering: the context is empty")
    return [{"score": score, "start": a, "end": b, "answer": context[a:b]} for (a, b), score in ranked]


def _chances(window: Window) -> tuple[Any, Any, float]:
    """Return the chances of each token of the context to begin and to end the answer, and of there being none."""
    import numpy as np

    takes = window.context.copy()
    takes[0] = True  # the first token takes part in the weighing, as it did in training
    start, end = (_softmax(np.where(takes[: len(x)], x, np.float32(-10000.0))) for x in (window.start, window.end))
    impossible = float(start[0] * end[0])
    start[0] = end[0] = 0.0
    return np.where(window.context, start, 0), np.where(window.context, end, 0), impossible


def _softmax(values: Any) -> Any:
    import numpy as np

    powers = np.exp(values - values.max())
    return powers / powers.sum()


def _spans(start: Any, end: Any, options: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the likeliest pairs of first and last token."""
    import numpy as np

    longest = options.get("max_answer_len") or 15
    chances = np.tril(np.triu(np.outer(start, end)), longest - 1).ravel()
    count = min(max(options.get("top_k") or 1, 1), int((chances > 0).sum()))
    order = np.argsort(-chances, kind="stable")[:count]
    return [divmod(int(i), len(end)) for i in order]
