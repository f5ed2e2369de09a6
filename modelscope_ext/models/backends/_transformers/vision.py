"""Step 6 of 6, transformers: the tasks whose input is an image or a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.inputs import frames, labels_of, rgb
from modelscope_ext.models.backends._transformers.run import Outcome, Session, same

__all__ = [
    "classify",
    "classify_video",
    "depth",
    "detect",
    "enlarge",
    "features",
    "keypoints",
    "masks",
    "match",
    "segment",
    "zero_shot",
    "zero_shot_detect",
]


def classify(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give an image its likeliest labels, five unless `top_k` says otherwise."""
    return _seen(session, items, _top_k(session, options)), same


def features(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the last hidden state of every patch, [patches, width]; with ``pool=True`` the pooled vector."""
    natives = _seen(session, items, {**options, "return_tensors": True})
    return natives, lambda native, _item: native[0].float().cpu().numpy()


def segment(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the parts of an image, each with a mask of its size (white where the part is)."""
    return _seen(session, items, options), same


def detect(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the objects of an image, each with its box in pixels, the surest first."""
    return _seen(session, items, options), lambda native, _item: _by_score(same(native, None))


def depth(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the depth of every pixel, as the model's numbers and as an image."""

    def convert(native: Any, _item: Any) -> Any:
        return {
            "predicted_depth": native["predicted_depth"].float().cpu().numpy(),
            "depth": native["depth"],
        }

    return _seen(session, items, options), convert


def zero_shot(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give labels that the caller names their scores for an image."""
    return _seen(session, items, _labelled(session, options)), same


def zero_shot_detect(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Find the objects that the caller names."""
    natives = [session.pipe()(rgb(item), **_labelled(session, options)) for item in items]
    return natives, lambda native, _item: _by_score(same(native, None))


def match(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the points that two images share."""
    pairs = [(item["image_0"], item["image_1"]) if isinstance(item, Mapping) else item for item in items]
    natives = [session.pipe()([rgb(a), rgb(b)], **options) for a, b in pairs]
    return natives, same


def keypoints(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the points of an image that are easy to find again, the surest first."""
    processor, natives = session.part("image_processor"), []
    for item in items:
        image = rgb(item)
        output = session.model(**_encoded(session, images=image))
        natives.append(processor.post_process_keypoint_detection(output, [(image.height, image.width)])[0])
    least = options.get("threshold", 0.0)

    def convert(native: Any, _item: Any) -> Any:
        points = zip(native["keypoints"].tolist(), native["scores"].tolist(), strict=True)
        found = [{"keypoint": {"x": float(x), "y": float(y)}, "score": float(score)} for (x, y), score in points]
        return _by_score([point for point in found if point["score"] >= least])

    return natives, convert


def masks(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the masks of whatever stands out in an image, as boolean arrays [height, width], with their scores."""
    pipe = _mask_pipe(session)
    size = session.asked or options.get("points_per_batch") or 64
    keywords = {**options, "points_per_batch": size}
    natives = [pipe(rgb(item), **keywords) for item in items]
    return natives, lambda native, _item: {
        "masks": list(native["masks"]),
        "scores": [float(score) for score in native["scores"]],
    }


def _mask_pipe(session: Session) -> Any:
    """Return the pipeline, with our own suppression of double masks where torchvision is not installed."""
    from transformers.utils import is_torchvision_available

    pipe = session.pipe()
    if not is_torchvision_available():
        pipe.postprocess = _join_masks
    return pipe


def _join_masks(outputs: Sequence[Any], crops_nms_thresh: float = 0.7, **_: Any) -> dict[str, Any]:
    import torch

    scores = torch.cat([output["iou_scores"] for output in outputs])
    boxes = torch.cat([output["boxes"] for output in outputs]).float()
    encoded = [mask for output in outputs for mask in output["masks"]]
    kept = _suppressed(boxes, scores, crops_nms_thresh)
    return {"masks": [_decoded(encoded[i]) for i in kept], "scores": scores[kept]}


def _suppressed(boxes: Any, scores: Any, most: float) -> list[int]:
    """Return the numbers of the boxes that no surer box covers by more than `most` of their union, surest first."""
    order, kept = scores.argsort(descending=True, stable=True).tolist(), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order:
        best = order.pop(0)
        kept.append(best)
        if not order:
            break
        rest = boxes[order]
        low, high = rest[:, :2].maximum(boxes[best, :2]), rest[:, 2:].minimum(boxes[best, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        union = areas[order] + areas[best] - shared
        covered = (shared / union) > most
        order = [i for i, gone in zip(order, covered.tolist(), strict=True) if not gone]
    return kept


def _decoded(encoded: Mapping[str, Any]) -> Any:
    """Return a run-length encoded mask as a boolean array; runs go down the columns, zeros first."""
    import numpy as np

    height, width = encoded["size"]
    values = np.arange(len(encoded["counts"])) % 2 == 1
    return np.repeat(values, encoded["counts"]).reshape(width, height).T


def enlarge(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the image that the model makes of an image; what the processor padded is cut off again."""
    from PIL import Image

    natives, sizes = [], []
    for item in items:
        if isinstance(item, Mapping):
            raise OptionError(
                f"image-to-image: {type(session.model).__name__} takes an image alone; leave out the prompt"
            )
        image = rgb(item)
        natives.append(session.model(**_encoded(session, images=image)).reconstruction[0].float().cpu())
        sizes.append((image.height, image.width))
    factor = getattr(session.model.config, "upscale", 1)

    def picture(native: Any, size: tuple[int, int]) -> Any:
        pixels = native.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[: size[0] * factor, : size[1] * factor])

    return list(zip(natives, sizes, strict=True)), lambda native, _item: picture(*native)


def classify_video(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give a video its likeliest labels; frames are taken from its start, each `frame_sampling_rate`-th."""
    config = session.model.config
    count: int = options.get("num_frames") or next(
        n for n in (*(getattr(config, name, None) for name in ("num_frames", "frames_per_clip")), 16) if n
    )
    natives = []
    for item in items:
        pictures = frames(item, count, options.get("frame_sampling_rate") or 1)
        natives.append(session.model(**_encoded(session, images=pictures)).logits[0].float())
    apply = options.get("function_to_apply") or {
        "regression": "none",
        "multi_label_classification": "sigmoid",
    }.get(config.problem_type or "", "softmax")
    if apply not in ("softmax", "sigmoid", "none"):
        raise OptionError(f"function_to_apply={apply!r}: expected 'softmax', 'sigmoid' or 'none'")

    def convert(native: Any, _item: Any) -> Any:
        scores = native.softmax(-1) if apply == "softmax" else native.sigmoid() if apply == "sigmoid" else native
        best = scores.topk(min(options.get("top_k") or 5, config.num_labels))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [{"label": str(config.id2label[i]), "score": score} for score, i in pairs]

    return natives, convert


def _seen(session: Session, items: Sequence[Any], options: dict[str, Any]) -> list[Any]:
    """Run the pipeline; images that the processor leaves with different sizes go into different batches."""
    processor = session.part("image_processor")
    size = dict(getattr(processor, "size", None) or {})
    one_size = set(size) == {"height", "width"} or bool(getattr(processor, "do_center_crop", False))
    images = [rgb(item) for item in items]
    return session.run_alike(images, (lambda _: None) if one_size else (lambda image: image.size), **options)


def _encoded(session: Session, **inputs: Any) -> Any:
    kind = "image_processor" if session.optional("image_processor") is not None else session.row.parts[0]
    encoded = session.part(kind)(**inputs, return_tensors="pt")
    return encoded.to(session.device, dtype=session.model.dtype)


def _top_k(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    """Return `options` with ``top_k=None`` as the number of labels: all of them."""
    if "top_k" in options and options["top_k"] is None:
        return {**options, "top_k": session.model.config.num_labels}
    return options


def _labelled(session: Session, options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "candidate_labels": labels_of(session.task, options)}


def _by_score(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda one: -one["score"])
