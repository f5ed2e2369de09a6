"""Tasks of the ONNX backend that look at pictures: labels, features, boxes, depths, labels that the caller names.

Pictures that come out of the image processor with the same size run together. None is padded to the size of another: a
convolution sees the margin, so that the answer for a picture would depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, OptionError
from modelscope_ext.models.backends._onnx.image import picture
from modelscope_ext.models.backends._onnx.interpolate import resized
from modelscope_ext.models.backends._onnx.scores import function_for, labelled, sigmoid, softmax
from modelscope_ext.models.backends._onnx.session import Bundle, alike, batches
from modelscope_ext.utils.text import listing, printable

__all__ = [
    "depth_estimation",
    "image_classification",
    "image_feature_extraction",
    "image_to_image",
    "object_detection",
    "seen",
    "video_classification",
    "zero_shot_image_classification",
]

#: Pixels that run at once where the caller says nothing; one picture always does.
_AT_ONCE = 2**22


def seen(
    bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any], words: Mapping[str, Any] | None = None
) -> Iterator[tuple[dict[str, Any], tuple[int, int]]]:
    """Yield for each picture the graph's outputs for it, without the batch, and the picture's height and width.

    Args:
        bundle: The loaded folder.
        inputs: Pictures in any form.
        options: The call's; `batch_size`.
        words: Further inputs of the graph, the same for every picture.
    """
    import numpy as np

    name = bundle.graph.pixels
    for part in batches(inputs, options.get("batch_size")):
        images = [picture(item) for item in part]
        framed = [bundle.processor.framed(image) for image in images]
        found: list[Any] = [None] * len(part)
        for numbers in _together(
            [array.shape for array, _ in framed], options.get("batch_size"), bundle.graph.rows(name)
        ):
            pixels = np.stack([framed[n][0] for n in numbers])
            inside = np.zeros((len(numbers), *pixels.shape[-2:]), np.int64)
            for row, n in enumerate(numbers):
                height, width = framed[n][1]
                inside[row, :height, :width] = 1
            outputs = bundle.graph.run({name: pixels, "pixel_mask": inside, **(words or {})})
            for row, n in enumerate(numbers):
                found[n] = {key: value[row] for key, value in outputs.items() if value.ndim}
        yield from zip(found, ((image.height, image.width) for image in images), strict=True)


def _together(shapes: Sequence[tuple[int, ...]], size: int | None, rows: int | None) -> Iterator[list[int]]:
    """Yield the numbers of pictures that run together: of one shape, and not more than fit."""
    for numbers in alike(shapes):
        height, width = shapes[numbers[0]][-2:]
        most = rows or size or max(1, _AT_ONCE // (height * width))
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def image_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A list of ``{"label", "score"}`` per picture, best first, five unless `top_k` says otherwise (None: all)."""
    return [_ranked(bundle, found, options) for found, _ in seen(bundle, inputs, options)]


def _ranked(bundle: Bundle, found: Mapping[str, Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    logits = bundle.graph.logits(found)
    scores = function_for(bundle, len(logits), options.get("function_to_apply"))(logits)
    return labelled(bundle, scores, options.get("top_k", 5))


def video_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """The same for videos; frames are taken from the start, each `frame_sampling_rate`-th."""
    import numpy as np

    from modelscope_ext.models.backends._media import frames

    said = (options.get("num_frames"), *(bundle.config.get(key) for key in ("num_frames", "frames_per_clip")), 16)
    count = next(number for number in said if number)
    outputs = []
    for item in inputs:
        pictures = [picture(frame) for frame in frames(item, count, options.get("frame_sampling_rate") or 1)]
        found = bundle.graph.run({bundle.graph.pixels: np.stack([bundle.processor.pixel_values(pictures)])})
        outputs.append(_ranked(bundle, {key: value[0] for key, value in found.items()}, options))
    return outputs


def image_feature_extraction(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One float32 array per picture: [patches, hidden], or with ``pool=True`` the pooled vector [hidden]."""
    names = ("pooler_output",) if options.get("pool") else ("last_hidden_state",)
    return [bundle.graph.take(found, *names)[0] for found, _ in seen(bundle, inputs, options)]


def image_to_image(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """The larger picture that the model makes of each; what the image processor added to it is cut off again."""
    import numpy as np
    from PIL import Image

    if any(isinstance(item, Mapping) for item in inputs):
        raise OptionError("image-to-image: the graph takes an image alone; leave out the prompt")
    factor, outputs = bundle.config.get("upscale", 1), []
    for found, (height, width) in seen(bundle, inputs, options):
        pixels = np.clip(bundle.graph.take(found, "reconstruction")[0], 0, 1) * np.float32(255)
        whole = np.round(pixels).astype(np.uint8).transpose(1, 2, 0)
        outputs.append(Image.fromarray(whole[: height * factor, : width * factor]))
    return outputs


def depth_estimation(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"predicted_depth", "depth"}`` per picture: the model's numbers at its size, and an image of them.

    The numbers are stretched as torch's bicubic interpolation does, and equal it within 1e-5 of the largest.
    """
    import numpy as np
    from PIL import Image

    outputs = []
    for found, size in seen(bundle, inputs, options):
        depth = bundle.graph.take(found, "predicted_depth")[0]
        depth = resized(depth.reshape(depth.shape[-2:]), size, "bicubic")
        least, most = depth.min(), depth.max()
        share = (depth - least) / (most - least) if most > least else np.zeros_like(depth)
        outputs.append({"predicted_depth": depth, "depth": Image.fromarray((share * 255).astype("uint8"))})
    return outputs


def _by_query(logits: Any, boxes: Any) -> tuple[Any, Any, Any]:
    """One label for each query, or none: the last."""
    chances = softmax(logits)[:, :-1]
    return chances.max(axis=-1), chances.argmax(axis=-1), boxes


def _by_pair(most: int | None) -> Callable[[Any, Any], tuple[Any, Any, Any]]:
    """The best pairs of query and label, `most` of them, or as many as there are queries."""

    def find(logits: Any, boxes: Any) -> tuple[Any, Any, Any]:
        chances = sigmoid(logits).ravel()
        order = (-chances).argsort(kind="stable")[: most or len(logits)]
        return chances[order], order % logits.shape[1], boxes[order // logits.shape[1]]

    return find


#: Image processor -> how scores, labels and boxes are found in its models' outputs.
_DETECTORS: Mapping[str, Callable[[Any, Any], tuple[Any, Any, Any]]] = {
    "ConditionalDetrImageProcessor": _by_pair(100),
    "DeformableDetrImageProcessor": _by_pair(100),
    "DetrImageProcessor": _by_query,
    "RTDetrImageProcessor": _by_pair(None),
    "YolosImageProcessor": _by_query,
}


def object_detection(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A list of ``{"score", "label", "box"}`` per picture, the surest first; boxes are in pixels of the picture."""
    import numpy as np

    find = _DETECTORS.get(bundle.processor.name)
    if find is None:
        raise BackendNotLoadable(
            f"preprocessor_config.json: nothing says how the boxes of {printable(bundle.processor.name)} are read; "
            f'known are {listing(_DETECTORS)}. Use backend="transformers" (it needs torch).'
        )
    least, outputs = options.get("threshold", 0.5), []
    for found, (height, width) in seen(bundle, inputs, options):
        scores, labels, boxes = find(*bundle.graph.take(found, "logits", "pred_boxes"))
        centre, half = boxes[:, :2], np.float32(0.5) * boxes[:, 2:]
        corners = np.concatenate([centre - half, centre + half], axis=1) * np.float32([width, height, width, height])
        kept = [int(i) for i in (-scores).argsort(kind="stable") if scores[i] > least]
        outputs.append(
            [
                {
                    "score": float(scores[i]),
                    "label": bundle.label(int(labels[i])),
                    "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), map(int, corners[i]), strict=True)),
                }
                for i in kept
            ]
        )
    return outputs


#: Tokens to which the texts of SigLIP are padded, as it was trained.
_SIGLIP = 64


def zero_shot_image_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """A list of ``{"score", "label"}`` per picture for the labels that the caller names, best first."""
    from modelscope_ext.models.backends._media import labels_of

    labels = labels_of("zero-shot-image-classification", options)
    template = options.get("hypothesis_template") or "This is a photo of {}."
    texts = [template.format(label) for label in labels]
    if len({*texts}) < len({*labels}):
        raise OptionError(f"hypothesis_template={printable(template)!r} has no {{}} for the label.")
    siglip = "siglip" in str(bundle.config.get("model_type"))
    words = bundle.text.encode(texts, width=_SIGLIP if siglip else None)
    outputs = []
    for found, _ in seen(bundle, inputs, options, words.arrays()):
        logits = bundle.graph.take(found, "logits_per_image")[0]
        scores = sigmoid(logits) if siglip else softmax(logits)
        order = (-scores).argsort(kind="stable")
        outputs.append([{"score": float(scores[i]), "label": labels[i]} for i in order])
    return outputs
