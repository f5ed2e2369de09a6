"""From pictures to pixel values for the ONNX backend, with Pillow and numpy only.

The arithmetic and its order are those of transformers' image processors (their Pillow form), so that the pixel values
are equal bit by bit: resize as uint8, rescale in float64 and round to float32, then normalise in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, LimitExceeded, MalformedMetadata
from modelscope_ext.utils.text import listing, printable

__all__ = ["MOST_PIXELS", "PROCESSORS", "Processor", "picture"]

FILE = "preprocessor_config.json"

#: The most pixels one prepared picture may have; a file that asks for more is refused before anything is allocated.
MOST_PIXELS = 2**25

_HALF = (0.5, 0.5, 0.5)
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_OPENAI = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
_NEAREST, _BILINEAR, _BICUBIC = 0, 2, 3

_COMMON: Mapping[str, Any] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": _BICUBIC,
    "size": {"height": 224, "width": 224},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": _HALF,
    "image_std": _HALF,
}

_CROPPED: Mapping[str, Any] = {"size": {"shortest_edge": 224}, "do_center_crop": True}

#: Image processors whose work is resize, crop, rescale, normalise, with what they assume where the file is silent
#: (transformers 5: `image_processing_pil_<model>.py`).
PROCESSORS: Mapping[str, Mapping[str, Any]] = {
    "BeitImageProcessor": {},
    "BitImageProcessor": {**_CROPPED, **_OPENAI},
    "CLIPImageProcessor": {**_CROPPED, **_OPENAI},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 384}, "crop_pct": 224 / 256},
    "DeiTImageProcessor": {"size": {"height": 256, "width": 256}, "do_center_crop": True},
    "MobileNetV1ImageProcessor": {"size": {"shortest_edge": 256}, "do_center_crop": True, "resample": _BILINEAR},
    "MobileNetV2ImageProcessor": {"size": {"shortest_edge": 256}, "do_center_crop": True, "resample": _BILINEAR},
    "PvtImageProcessor": _IMAGENET,
    "SiglipImageProcessor": {},
    "ViTImageProcessor": {"resample": _BILINEAR},
}


def picture(item: Any) -> Any:
    """Return `item` as an upright RGB `PIL.Image.Image`.

    Args:
        item: A Pillow image, a path, the bytes of an image file, or an array (uint8, [height, width] or
            [height, width, channels]).
    """
    import io

    from PIL import Image, ImageOps

    if isinstance(item, bytes | bytearray):
        item = Image.open(io.BytesIO(item))
    elif not isinstance(item, Image.Image):
        item = Image.fromarray(item) if hasattr(item, "__array_interface__") else Image.open(item)
    return ImageOps.exif_transpose(item).convert("RGB")


@dataclass(frozen=True)
class Processor:
    """What `preprocessor_config.json` says, completed by the processor's own assumptions.

    Attributes:
        name: The processor's class name in transformers.
        values: Every key of the common table.
    """

    name: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any], *, source: str | None = None) -> Processor:
        """Read a parsed `preprocessor_config.json`.

        Raises:
            BackendNotLoadable: The processor does more than this backend knows.
            MalformedMetadata: A value has the wrong type.
            LimitExceeded: A size beyond `MOST_PIXELS`.
        """
        said = document.get("image_processor_type") or document.get("feature_extractor_type") or "ViTImageProcessor"
        name = str(said).removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
        if name not in PROCESSORS:
            raise BackendNotLoadable(
                f"{FILE}: image_processor_type is {printable(said)}; the onnx backend prepares pictures as one of "
                f'{listing(PROCESSORS)}. Use backend="transformers" (it needs torch), or prepare the array yourself.'
            )
        values = {**_COMMON, **PROCESSORS[name]}
        values |= {key: document[key] for key in values if document.get(key) is not None}
        for key in ("size", "crop_size"):
            values[key] = _sizes(values[key], key, name)
        for key in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if not isinstance(values[key], bool):
                raise _malformed(key, "true or false", values[key])
        for key in ("rescale_factor", "crop_pct"):
            if not isinstance(values.get(key, 0.5), int | float) or isinstance(values.get(key), bool):
                raise _malformed(key, "a number", values[key])
        if not isinstance(values["resample"], int) or not 0 <= values["resample"] <= 5:
            raise _malformed("resample", "a Pillow filter, 0 to 5", values["resample"])
        return cls(name, values)

    def pixel_values(self, images: Sequence[Any]) -> Any:
        """Return RGB pictures as float32 [n, 3, height, width].

        Raises:
            ValueError: The prepared pictures differ in size (the processor neither resizes nor crops to one size).
        """
        import numpy as np

        return np.stack([self._one(image) for image in images])

    def _one(self, image: Any) -> Any:
        import numpy as np

        values = self.values
        if values["do_resize"]:
            image = self._resized(image)
        array = np.asarray(image, dtype=np.uint8)
        if values["do_center_crop"]:
            array = _cropped(array, *_box(values["crop_size"], "crop_size"))
        result = np.ascontiguousarray(array.transpose(2, 0, 1))
        if values["do_rescale"]:
            result = (result.astype(np.float64) * values["rescale_factor"]).astype(np.float32)
        if values["do_normalize"]:
            result = result.astype(np.float32)
            mean, std = (np.asarray(values[key], np.float32).reshape(-1, 1, 1) for key in ("image_mean", "image_std"))
            result = (result - mean) / std
        return result

    def _resized(self, image: Any) -> Any:
        size, width, height = self.values["size"], image.width, image.height
        if self.name == "ConvNextImageProcessor":
            return self._resized_with_margin(image, size["shortest_edge"])
        if "height" in size:
            target = (size["height"], size["width"])
        else:
            target = _aspect(height, width, size["shortest_edge"], size.get("longest_edge"))
        return self._resize(image, target)

    def _resized_with_margin(self, image: Any, edge: int) -> Any:
        """ConvNeXT below 384 pixels: resize to a larger picture and cut the middle out; from 384 on: warp."""
        if edge >= 384:
            return self._resize(image, (edge, edge))
        target = _aspect(image.height, image.width, int(edge / self.values["crop_pct"]), None)
        import numpy as np

        return _cropped(np.asarray(self._resize(image, target), dtype=np.uint8), edge, edge)

    def _resize(self, image: Any, target: tuple[int, int]) -> Any:
        _bounded(target, "size")
        return image.resize((target[1], target[0]), resample=self.values["resample"])


def _sizes(value: Any, key: str, name: str) -> dict[str, int]:
    """Return a size in dictionary form; a bare number means a square, or the shorter edge where the class says so."""
    if isinstance(value, int) and not isinstance(value, bool):
        by_edge = key == "size" and "shortest_edge" in PROCESSORS[name].get("size", {})
        value = {"shortest_edge": value} if by_edge else {"height": value, "width": value}
    known = {"height", "width", "shortest_edge", "longest_edge"}
    if not isinstance(value, Mapping) or not (value.keys() & {"height", "shortest_edge"}):
        raise _malformed(key, 'a number, or {"height", "width"}, or {"shortest_edge"}', value)
    sizes = {k: v for k, v in value.items() if k in known and v is not None}
    if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in sizes.values()):
        raise _malformed(key, "whole numbers of at least 1", value)
    if "height" in sizes:
        sizes.setdefault("width", sizes["height"])
        _bounded((sizes["height"], sizes["width"]), key)
    elif sizes["shortest_edge"] ** 2 > MOST_PIXELS:
        _bounded((sizes["shortest_edge"],) * 2, key)
    return sizes


def _box(sizes: Mapping[str, int], key: str) -> tuple[int, int]:
    if "height" in sizes:
        return sizes["height"], sizes["width"]
    _bounded((sizes["shortest_edge"],) * 2, key)
    return sizes["shortest_edge"], sizes["shortest_edge"]


def _bounded(size: tuple[int, int], key: str) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise LimitExceeded(
            f"{FILE}: {key} asks for {size[0]}x{size[1]} pixels, more than the limit of {MOST_PIXELS}.",
            file=FILE,
            field=key,
        )


def _aspect(height: int, width: int, edge: int, longest: int | None) -> tuple[int, int]:
    """Return height and width with the shorter side at `edge`, and the longer at most `longest` where that is given."""
    short, long = min(height, width), max(height, width)
    ratio = long / short
    new_short, new_long = edge, int(edge * long / short)
    if longest is not None and ratio * edge > longest:
        raw = longest * short / long
        new_short, new_long = round(raw), int(raw * long / short)
    return (new_long, new_short) if width <= height else (new_short, new_long)


def _cropped(array: Any, height: int, width: int) -> Any:
    """Return the middle of [h, w, c]; what lies beyond the picture is black."""
    import numpy as np

    above, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    if above >= 0 and left >= 0:
        return array[above : above + height, left : left + width]
    rows, columns = max(height, array.shape[0]), max(width, array.shape[1])
    canvas = np.zeros((rows, columns, array.shape[2]), array.dtype)
    top, start = -((array.shape[0] - rows) // 2), -((array.shape[1] - columns) // 2)
    canvas[top : top + array.shape[0], start : start + array.shape[1]] = array
    above, left = max(above + top, 0), max(left + start, 0)
    return canvas[above : above + height, left : left + width]


def _malformed(key: str, expected: str, found: Any) -> MalformedMetadata:
    return MalformedMetadata(f"{FILE}: {key} should be {expected}, found {printable(found)}.", file=FILE, field=key)
