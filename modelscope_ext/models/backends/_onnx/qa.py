"""Tasks of the ONNX backend that choose: words of a context that answer a question, one of several answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._answers import Window, best_answers, window_size
from modelscope_ext.models.backends._onnx.scores import softmax
from modelscope_ext.models.backends._onnx.session import Bundle, batches

__all__ = ["multiple_choice", "question_answering"]


def question_answering(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"score", "start", "end", "answer"}`` per question; with `top_k` a list of them, best first."""
    outputs: list[Any] = []
    for item in inputs:
        found = best_answers(_windows(bundle, item, options), item["context"], options)
        outputs.append(found if options.get("top_k") is not None else found[0])
    return outputs


def _windows(bundle: Bundle, item: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Window]:
    """Yield the windows of one context, read by the graph; padding is left out of them."""
    import numpy as np

    longest, stride = window_size(bundle.text.most or inf, options)
    encodings = bundle.text.windows(item["question"], item["context"], longest, stride)
    for part in batches(encodings, options.get("batch_size")):
        words = bundle.text.padded(part)
        start, end = bundle.graph.take(bundle.graph.words(words), "start_logits", "end_logits")
        for row, encoding in enumerate(part):
            there = words.mask[row] == 1
            context = np.array([number == 1 for number in encoding.sequence_ids])
            yield Window(start[row][there], end[row][there], context, _placer(encoding))


def _placer(encoding: Any) -> Any:
    """Return a function of two token numbers that gives the characters of the words they stand in."""

    def place(first: int, last: int) -> tuple[int, int]:
        a, b = encoding.token_to_word(first), encoding.token_to_word(last)
        if a is None or b is None:
            return int(encoding.offsets[first][0]), int(encoding.offsets[last][1])
        return int(encoding.word_to_chars(a, 1)[0]), int(encoding.word_to_chars(b, 1)[1])

    return place


def multiple_choice(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """For each ``{"prompt", "choices"}`` a list of ``{"index", "score", "choice"}``, best first."""
    outputs = []
    for item in inputs:
        choices = list(item["choices"])
        if not choices:
            raise OptionError("multiple-choice: there are no choices")
        words = bundle.text.encode([(item["prompt"], choice) for choice in choices])
        found = bundle.graph.run({name: array[None] for name, array in words.arrays().items()})
        scores = softmax(bundle.graph.logits(found)[0])
        order = (-scores).argsort(kind="stable")
        outputs.append([{"index": int(i), "score": float(scores[i]), "choice": choices[i]} for i in order])
    return outputs
