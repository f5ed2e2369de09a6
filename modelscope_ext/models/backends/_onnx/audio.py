"""Tasks of the ONNX backend that listen: labels of a recording, and what is said in it by CTC (one pass, no decoder).

Recordings of one length run together. None is padded to the length of another: the models that hear a waveform were
mostly not taught to ignore the padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._onnx.scores import function_for, labelled
from modelscope_ext.models.backends._onnx.session import Bundle, alike, batches
from modelscope_ext.models.backends._onnx.speech import Letters, Piece, words_of
from modelscope_ext.utils.text import printable

__all__ = ["audio_classification", "speech_recognition"]


def heard(bundle: Bundle, sounds: Sequence[Any], size: int | None) -> list[dict[str, Any]]:
    """Return the graph's outputs for each recording (float32 [samples]), without the batch."""
    import numpy as np

    name = next((n for n in ("input_values", "input_features") if n in bundle.graph.inputs), "")
    name = name or next(iter(bundle.graph.inputs))
    found: list[Any] = []
    for part in batches(sounds, bundle.graph.rows(name) or size or 8):
        prepared = [bundle.extractor.prepared(samples) for samples in part]
        rows: list[Any] = [None] * len(part)
        for numbers in alike([array.shape for array in prepared]):
            batch = np.stack([prepared[n] for n in numbers])
            outputs = bundle.graph.run({name: batch, "attention_mask": np.ones(batch.shape[:2], np.int64)})
            for row, n in enumerate(numbers):
                rows[n] = {key: value[row] for key, value in outputs.items() if value.ndim}
        found += rows
    return found


def _waveforms(bundle: Bundle, inputs: Sequence[Any]) -> list[Any]:
    from modelscope_ext.models.backends._media import waveform

    sounds = [waveform(item, bundle.extractor.rate) for item in inputs]
    if any(not len(samples) for samples in sounds):
        raise OptionError("a recording has no samples")
    return sounds


def audio_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A list of ``{"label", "score"}`` per recording, best first, five unless `top_k` says otherwise (None: all)."""
    outputs = []
    for found in heard(bundle, _waveforms(bundle, inputs), options.get("batch_size")):
        logits = bundle.graph.logits(found)
        scores = function_for(bundle, len(logits), options.get("function_to_apply"), "softmax")(logits)
        outputs.append(labelled(bundle, scores, options.get("top_k", 5)))
    return outputs


def speech_recognition(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"text"}`` per recording; with `return_timestamps` (``"word"``, ``"char"``) also when, in seconds.

    With `chunk_length_s` a long recording is heard in pieces that overlap by `stride_length_s` seconds (a sixth of a
    piece, or one number for each side); what is heard in the overlap counts once.
    """
    wanted = options.get("return_timestamps")
    if wanted not in (None, False, "char", "word"):
        raise OptionError(f"return_timestamps={printable(repr(wanted))}: a CTC model can give 'char' or 'word'.")
    letters = Letters.of(bundle)
    step = prod(bundle.config.get("conv_stride") or (1,))  # samples that one row of logits stands for
    outputs = []
    for samples in _waveforms(bundle, inputs):
        pieces = list(_pieces(len(samples), step, bundle.extractor.rate, options))
        found = heard(bundle, [samples[start:stop] for start, stop, _, _ in pieces], options.get("batch_size"))
        tokens: list[int] = []
        for row, (start, stop, left, right) in zip(found, pieces, strict=True):
            best = bundle.graph.logits(row).argmax(axis=-1).tolist()
            tokens += best if len(pieces) == 1 else best[slice(*_inside(stop - start, left, right, step))]
        said = letters.read(tokens)
        output: dict[str, Any] = {"text": letters.text(said)}
        if wanted:
            parts = words_of(said) if wanted == "word" else said
            output["chunks"] = [_timed(part, step / bundle.extractor.rate) for part in parts]
        outputs.append(output)
    return outputs


def _timed(piece: Piece, seconds: float) -> dict[str, Any]:
    return {"text": piece.text, "timestamp": [piece.start * seconds, piece.end * seconds]}


def _pieces(count: int, step: int, rate: int, options: Mapping[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each piece where it starts and stops, and how much of it on the left and the right another covers."""
    length = options.get("chunk_length_s")
    if not length:
        yield 0, count, 0, 0
        return
    said = options.get("stride_length_s")
    sides = [length / 6 if said is None else said] * 2 if not isinstance(said, list | tuple) else list(said)
    whole, left, right = (round(seconds * rate / step) * step for seconds in (length, *sides))
    if whole <= left + right:
        raise OptionError(
            f"chunk_length_s={length} is not more than the two overlaps, {sides[0]} and {sides[1]} seconds: "
            "raise it, or lower stride_length_s."
        )
    for start in range(0, count, whole - left - right):
        last = start + whole >= count
        before = 0 if start == 0 else left
        if min(start + whole, count) - start > before:
            yield start, min(start + whole, count), before, 0 if last else right
        if last:
            return


def _inside(count: int, left: int, right: int, step: int) -> tuple[int, int]:
    """Return the rows of logits that belong to a piece of `count` samples alone."""
    rows = round(count / step)
    before, after = (round(side / count * rows) for side in (left, right))
    return before, rows - after
