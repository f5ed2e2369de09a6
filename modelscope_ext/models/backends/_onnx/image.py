"""From pictures to pixel values for the ONNX backend, with Pillow and numpy only.

The arithmetic and its order are those of transformers' image processors (their Pillow form), so that the pixel values
are equal bit by bit: resize as uint8, rescale in float64 and round to float32, then normalise in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, MalformedMetadata
from modelscope_ext.models.backends._onnx.sizes import (
    FILE,
    FITS,
    MOST_PIXELS,
    aspect,
    bounded,
    cropped,
    is_fixed,
    padded,
)
from modelscope_ext.utils.text import listing, printable

__all__ = ["FILE", "MOST_PIXELS", "PROCESSORS", "Processor", "picture"]

_HALF = (0.5, 0.5, 0.5)
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_OPENAI = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
_NEAREST, _BILINEAR, _BICUBIC = 0, 2, 3

_COMMON: Mapping[str, Any] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "do_pad": False,
    "do_flip_channel_order": False,
    "keep_aspect_ratio": False,
    "rescale_factor": 1 / 255,
    "resample": _BICUBIC,
    "size": {"height": 224, "width": 224},
    "crop_size": {"height": 224, "width": 224},
    "pad_size": None,
    "size_divisor": 0,
    "ensure_multiple_of": 1,
    "image_mean": _HALF,
    "image_std": _HALF,
}

_CROPPED: Mapping[str, Any] = {"size": {"shortest_edge": 224}, "do_center_crop": True}
_SHARP: Mapping[str, Any] = {**_CROPPED, **_OPENAI}
_MOBILE: Mapping[str, Any] = {"size": {"shortest_edge": 256}, "do_center_crop": True, "resample": _BILINEAR}
_DETR: Mapping[str, Any] = {
    **_IMAGENET,
    "size": {"shortest_edge": 800, "longest_edge": 1333},
    "resample": _BILINEAR,
    "do_pad": True,
}
_QUERIES: Mapping[str, Any] = {**_DETR, "size_divisor": 32, "fit": "raised"}

#: Image processors whose work is resize, crop, rescale, normalise and pad, with what they assume where the file is
#: silent (transformers 5: `image_processing_pil_<model>.py`); ``fit`` is the way they resize, see `sizes.FITS`.
PROCESSORS: Mapping[str, Mapping[str, Any]] = {
    "BeitImageProcessor": {},
    "BitImageProcessor": _SHARP,
    "CLIPImageProcessor": _SHARP,
    "ChineseCLIPImageProcessor": _SHARP,
    "ConditionalDetrImageProcessor": _DETR,
    "ConvNextImageProcessor": {"size": {"shortest_edge": 384}, "crop_pct": 224 / 256, "fit": "margin"},
    "DPTImageProcessor": {"size": {"height": 384, "width": 384}, "fit": "multiples"},
    "DeformableDetrImageProcessor": _DETR,
    "DeiTImageProcessor": {"size": {"height": 256, "width": 256}, "do_center_crop": True},
    "DetrImageProcessor": _DETR,
    "GLPNImageProcessor": {"resample": _BILINEAR, "do_normalize": False, "size_divisor": 32, "fit": "floored"},
    "Mask2FormerImageProcessor": _QUERIES,
    "MaskFormerImageProcessor": _QUERIES,
    "MobileNetV1ImageProcessor": _MOBILE,
    "MobileNetV2ImageProcessor": _MOBILE,
    "MobileViTImageProcessor": {
        **_CROPPED,
        "crop_size": {"height": 256, "width": 256},
        "do_normalize": False,
        "do_flip_channel_order": True,
    },
    "OwlViTImageProcessor": {
        **_OPENAI,
        "size": {"height": 768, "width": 768},
        "crop_size": {"height": 768, "width": 768},
    },
    "PvtImageProcessor": _IMAGENET,
    "RTDetrImageProcessor": {**_DETR, "size": {"height": 640, "width": 640}, "do_normalize": False, "do_pad": False},
    "SegformerImageProcessor": {**_IMAGENET, "size": {"height": 512, "width": 512}, "resample": _BILINEAR},
    "SiglipImageProcessor": {},
    "Swin2SRImageProcessor": {
        "do_resize": False,
        "do_normalize": False,
        "do_pad": True,
        "size_divisor": 8,
        "fit": "mirrored",
    },
    "ViTImageProcessor": {"resample": _BILINEAR},
    "VideoMAEImageProcessor": {**_CROPPED, "resample": _BILINEAR},
    "YolosImageProcessor": {**_DETR, "fit": "sixteens"},
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
        values |= {key: document[key] for key in values if key != "fit" and document.get(key) is not None}
        values.setdefault("fit", "plain")
        for key in ("size", "crop_size", "pad_size"):
            if values[key] is not None:
                values[key] = _sizes(values[key], key, PROCESSORS[name], document.get("max_size"))
        _check(values)
        return cls(name, values)

    @property
    def one_size(self) -> bool:
        """Whether every picture comes out with the same height and width."""
        return is_fixed(self.values)

    def pixel_values(self, images: Sequence[Any]) -> Any:
        """Return RGB pictures as float32 [n, 3, height, width].

        Raises:
            ValueError: The prepared pictures differ in size (the processor neither resizes nor crops to one size).
        """
        import numpy as np

        return np.stack([self.prepared(image) for image in images])

    def prepared(self, image: Any) -> Any:
        """Return one RGB picture as float32 [3, height, width]."""
        return self.framed(image)[0]

    def framed(self, image: Any) -> tuple[Any, tuple[int, int]]:
        """Return one RGB picture as float32 [3, height, width], and the height and width of what is no margin."""
        import numpy as np

        values = self.values
        if values["do_resize"]:
            image = self._resized(image)
        array = np.asarray(image, dtype=np.uint8)
        if values["do_center_crop"]:
            array = cropped(array, *_box(values["crop_size"], "crop_size"))
        result = np.ascontiguousarray(array.transpose(2, 0, 1))
        if values["do_rescale"]:
            result = (result.astype(np.float64) * values["rescale_factor"]).astype(np.float32)
        if values["do_normalize"]:
            result = result.astype(np.float32)
            mean, std = (np.asarray(values[key], np.float32).reshape(-1, 1, 1) for key in ("image_mean", "image_std"))
            result = (result - mean) / std
        if values["do_flip_channel_order"]:
            result = result[::-1]
        inside = result.shape[-2:]
        return padded(result, values) if values["do_pad"] else result, (int(inside[0]), int(inside[1]))

    def _resized(self, image: Any) -> Any:
        if self.values["fit"] == "margin":
            return self._resized_with_margin(image, self.values["size"]["shortest_edge"])
        return self._resize(image, FITS[self.values["fit"]](image.height, image.width, self.values))

    def _resized_with_margin(self, image: Any, edge: int) -> Any:
        """ConvNeXT below 384 pixels: resize to a larger picture and cut the middle out; from 384 on: warp."""
        if edge >= 384:
            return self._resize(image, (edge, edge))
        target = aspect(image.height, image.width, int(edge / self.values["crop_pct"]), None)
        import numpy as np

        return cropped(np.asarray(self._resize(image, target), dtype=np.uint8), edge, edge)

    def _resize(self, image: Any, target: tuple[int, int]) -> Any:
        height, width = bounded(target, "size")
        return image.resize((width, height), resample=self.values["resample"])


def _check(values: Mapping[str, Any]) -> None:
    """Raise where a setting has the wrong type."""
    for key in (key for key in values if key.startswith("do_") or key == "keep_aspect_ratio"):
        if not isinstance(values[key], bool):
            raise _malformed(key, "true or false", values[key])
    for key in ("rescale_factor", "crop_pct"):
        if not isinstance(values.get(key, 0.5), int | float) or isinstance(values.get(key), bool):
            raise _malformed(key, "a number", values[key])
    for key, least in (("size_divisor", 0), ("ensure_multiple_of", 1)):
        if type(values[key]) is not int or values[key] < least:
            raise _malformed(key, f"a whole number of at least {least}", values[key])
    if not isinstance(values["resample"], int) or not 0 <= values["resample"] <= 5:
        raise _malformed("resample", "a Pillow filter, 0 to 5", values["resample"])
    needs = {"margin": "shortest_edge", "multiples": "height"}.get(values["fit"])
    if needs is not None and needs not in values["size"]:
        raise _malformed("size", f"an object with {needs}", values["size"])
    if values["fit"] in ("floored", "mirrored") and not values["size_divisor"]:
        raise _malformed("size_divisor", "a whole number of at least 1", 0)


def _sizes(value: Any, key: str, assumed: Mapping[str, Any], longest: Any) -> dict[str, int]:
    """Return a size in dictionary form; a bare number means a square, or the shorter edge where the class says so."""
    if isinstance(value, int) and not isinstance(value, bool):
        usual = assumed.get("size", {}) if key == "size" else {}
        edges = {"shortest_edge": value}
        if "longest_edge" in usual:
            edges["longest_edge"] = usual["longest_edge"] if longest is None else longest
        value = edges if "shortest_edge" in usual else {"height": value, "width": value}
    known = {"height", "width", "shortest_edge", "longest_edge", "max_height", "max_width"}
    if not isinstance(value, Mapping) or not (value.keys() & {"height", "shortest_edge", "max_height"}):
        raise _malformed(key, 'a number, or {"height", "width"}, or {"shortest_edge"}', value)
    sizes = {k: v for k, v in value.items() if k in known and v is not None}
    if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in sizes.values()):
        raise _malformed(key, "whole numbers of at least 1", value)
    if "max_height" in sizes:
        sizes.setdefault("max_width", sizes["max_height"])
        bounded((sizes["max_height"], sizes["max_width"]), key)
    elif "height" in sizes:
        sizes.setdefault("width", sizes["height"])
        bounded((sizes["height"], sizes["width"]), key)
    elif sizes.get("shortest_edge", 0) ** 2 > MOST_PIXELS:
        bounded((sizes["shortest_edge"],) * 2, key)
    return sizes


def _box(sizes: Mapping[str, int], key: str) -> tuple[int, int]:
    if "height" in sizes:
        return sizes["height"], sizes["width"]
    return bounded((sizes["shortest_edge"],) * 2, key)


def _malformed(key: str, expected: str, found: Any) -> MalformedMetadata:
    return MalformedMetadata(f"{FILE}: {key} should be {expected}, found {printable(found)}.", file=FILE, field=key)
