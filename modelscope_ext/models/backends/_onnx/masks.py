"""image-segmentation of the ONNX backend: from the graph's numbers to the parts of a picture and their masks.

A semantic graph gives each pixel a label. A graph of queries (DETR, MaskFormer, Mask2Former) gives each query a label
and a mask, from which either parts that do not overlap (``panoptic``), single things (``instance``) or labels of pixels
(``semantic``) are made. Which of them a folder has, its image processor says; steps and defaults are those of
transformers' image processors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, OptionError
from modelscope_ext.models.backends._onnx.interpolate import resized, resized_columns, resized_rows
from modelscope_ext.models.backends._onnx.scores import sigmoid, softmax
from modelscope_ext.models.backends._onnx.session import Bundle
from modelscope_ext.models.backends._onnx.vision import seen
from modelscope_ext.utils.text import listing, printable

__all__ = ["image_segmentation"]

#: Image processors of graphs that give each pixel a label.
_BY_PIXEL = frozenset(
    (
        *("BeitImageProcessor", "DPTImageProcessor", "MobileNetV2ImageProcessor", "MobileViTImageProcessor"),
        "SegformerImageProcessor",
    )
)

#: Rows of a picture whose labels are found at a time, so that 150 labels of a large picture need no gigabytes.
_STRIP = 64


@dataclass(frozen=True)
class _Queries:
    """How one family names its outputs: labels, masks; and the size to which masks are stretched first, if any."""

    labels: str
    masks: str
    size: tuple[int, int] | None = None
    counts: bool = True  # single things are the best pairs of query and label, not the parts of `panoptic`


_BY_QUERY: Mapping[str, _Queries] = {
    "DetrImageProcessor": _Queries("logits", "pred_masks", counts=False),
    "Mask2FormerImageProcessor": _Queries("class_queries_logits", "masks_queries_logits", (384, 384)),
    "MaskFormerImageProcessor": _Queries("class_queries_logits", "masks_queries_logits"),
}


def image_segmentation(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A list of ``{"score", "label", "mask"}`` per picture; a mask is white where the part is."""
    task = _subtask(bundle, options.get("subtask"))
    limits = [options.get(name, usual) for name, usual in _LIMITS.items()]
    return [_SUBTASKS[task](bundle, found, size, *limits) for found, size in seen(bundle, inputs, options)]


#: Options of a call and what they are by default: in transformers' pipeline, not in its image processors.
_LIMITS = {"threshold": 0.9, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.5}


def _subtask(bundle: Bundle, asked: Any) -> str:
    name = bundle.processor.name
    known = ("semantic",) if name in _BY_PIXEL else ("panoptic", "instance", "semantic") if name in _BY_QUERY else ()
    if not known:
        raise BackendNotLoadable(
            f"preprocessor_config.json: nothing says how the masks of {printable(name)} are read; known are "
            f'{listing(sorted((*_BY_PIXEL, *_BY_QUERY)))}. Use backend="transformers" (it needs torch).'
        )
    if asked is not None and asked not in known:
        raise OptionError(f"subtask={printable(repr(asked))}: this model can do {listing(known)}.")
    return asked or known[0]


def _semantic(bundle: Bundle, found: Mapping[str, Any], size: tuple[int, int], *_: float) -> list[dict[str, Any]]:
    import numpy as np

    family = _BY_QUERY.get(bundle.processor.name)
    if family is None:
        scores = bundle.graph.logits(found)
    else:
        labels, masks = _queries(bundle, family, found)
        scores = np.einsum("qc,qhw->chw", softmax(labels)[:, :-1], sigmoid(masks))
    wide = resized_columns(scores, size[1], "bilinear")
    strips = range(0, size[0], _STRIP)
    ends = [(start, min(start + _STRIP, size[0])) for start in strips]
    labels = np.concatenate([resized_rows(wide, size[0], "bilinear", *end).argmax(axis=0) for end in ends])
    return [_part(None, bundle.label(int(label)), labels == label) for label in np.unique(labels)]


def _panoptic(
    bundle: Bundle, found: Mapping[str, Any], size: tuple[int, int], least: float, inside: float, kept: float
) -> list[dict[str, Any]]:
    """Give each pixel to the query that weighs most there; parts that keep too little of their own mask are dropped."""
    labels, masks = _queries(bundle, _BY_QUERY[bundle.processor.name], found)
    chances = softmax(labels)
    best = chances.argmax(axis=-1)
    scores = chances.max(axis=-1)
    taken = (best != labels.shape[-1] - 1) & (scores > least)
    if not taken.any():
        return []
    weights = resized(sigmoid(masks[taken]), size) * scores[taken][:, None, None]
    owners = weights.argmax(axis=0)
    parts = []
    for number, (label, score) in enumerate(zip(best[taken], scores[taken], strict=True)):
        own = owners == number
        whole = int((weights[number] >= inside).sum())
        if own.any() and whole and int(own.sum()) / whole > kept:
            parts.append(_part(round(float(score), 6), bundle.label(int(label)), own))
    return parts


def _instance(
    bundle: Bundle, found: Mapping[str, Any], size: tuple[int, int], least: float, inside: float, kept: float
) -> list[dict[str, Any]]:
    """Take as many pairs of query and label as there are queries, the surest first; a later one covers an earlier one.

    transformers takes the same pairs, in no order where there are fewer than 64 labels: then parts may cover each other
    in another order there.
    """
    import numpy as np

    family = _BY_QUERY[bundle.processor.name]
    if not family.counts:
        return _panoptic(bundle, found, size, least, inside, kept)
    labels, masks = _queries(bundle, family, found)
    chances = softmax(labels)[:, :-1]
    order = (-chances.ravel()).argsort(kind="stable")[: len(labels)]
    owners = np.full(size, -1)
    parts: list[tuple[float, str]] = []
    for place in map(int, order):
        query, label = divmod(place, chances.shape[1])
        mask = (masks[query] > 0).astype(np.float32)
        score = float(chances.ravel()[place] * (sigmoid(masks[query]) * mask).sum() / (mask.sum() + 1e-6))
        shown = resized(mask, size, "nearest") > 0
        if shown.any() and score >= least:
            owners[shown] = len(parts)
            parts.append((round(score, 6), bundle.label(label)))
    return [_part(score, label, owners == number) for number, (score, label) in enumerate(parts)]


_SUBTASKS: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
    "semantic": _semantic,
    "panoptic": _panoptic,
    "instance": _instance,
}


def _queries(bundle: Bundle, family: _Queries, found: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the logits of labels [queries, labels + 1] and of masks [queries, h, w]."""
    labels, masks = bundle.graph.take(found, family.labels, family.masks)
    return labels, masks if family.size is None else resized(masks, family.size)


def _part(score: float | None, label: str, mask: Any) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    return {"score": score, "label": label, "mask": Image.fromarray(mask.astype(np.uint8) * 255)}
