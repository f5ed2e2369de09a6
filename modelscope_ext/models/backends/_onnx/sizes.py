"""How large a picture becomes before the model sees it: one function for each way that an image processor has.

Each takes the picture's height and width and the processor's settings, and returns height and width. The arithmetic and
its rounding are those of transformers' image processors (their Pillow form).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.errors import LimitExceeded

__all__ = ["FITS", "MOST_PIXELS", "aspect", "bounded", "cropped", "is_fixed", "padded"]

FILE = "preprocessor_config.json"

#: The most pixels one prepared picture may have; a file that asks for more is refused before anything is allocated.
MOST_PIXELS = 2**25


def aspect(height: int, width: int, edge: int, longest: int | None, *, keeps: bool = True) -> tuple[int, int]:
    """Return height and width with the shorter side at `edge`, and the longer at most `longest` where that is given.

    With `longest`, a picture whose shorter side is right already keeps its size, unless `keeps` is false.

    Example:
        >>> aspect(480, 640, 800, 1333), aspect(100, 1000, 800, 1333)
        ((800, 1066), (133, 1333))
    """
    short, long = min(height, width), max(height, width)
    new_short, new_long = edge, int(edge * long / short)
    if longest is not None and long / short * edge > longest:
        raw = longest * short / long
        new_short, new_long = round(raw), int(raw * long / short)
    if longest is not None and keeps and short == new_short:
        return height, width
    return (new_long, new_short) if width <= height else (new_short, new_long)


def _plain(height: int, width: int, values: Mapping[str, Any]) -> tuple[int, int]:
    size = values["size"]
    if "height" in size:
        return size["height"], size["width"]
    if "max_height" in size:
        scale = min(size["max_height"] / height, size["max_width"] / width)
        return int(height * scale), int(width * scale)
    return aspect(height, width, size["shortest_edge"], size.get("longest_edge"))


def _floored(height: int, width: int, values: Mapping[str, Any]) -> tuple[int, int]:
    divisor = values["size_divisor"]
    return height // divisor * divisor, width // divisor * divisor


def _raised(height: int, width: int, values: Mapping[str, Any]) -> tuple[int, int]:
    sides, divisor = _plain(height, width, values), values["size_divisor"]
    if not divisor:
        return sides
    return math.ceil(sides[0] / divisor) * divisor, math.ceil(sides[1] / divisor) * divisor


def _sixteens(height: int, width: int, values: Mapping[str, Any]) -> tuple[int, int]:
    size = values["size"]
    if "shortest_edge" not in size:
        return _plain(height, width, values)
    sides = aspect(height, width, size["shortest_edge"], size.get("longest_edge"), keeps=height <= width)
    return sides[0] - sides[0] % 16, sides[1] - sides[1] % 16


def _multiples(height: int, width: int, values: Mapping[str, Any]) -> tuple[int, int]:
    """Return both sides as multiples; with the aspect ratio kept, by the side that has to be scaled less."""
    scales = values["size"]["height"] / height, values["size"]["width"] / width
    if values["keep_aspect_ratio"]:
        scales = (scales[1],) * 2 if abs(1 - scales[1]) < abs(1 - scales[0]) else (scales[0],) * 2
    step = values["ensure_multiple_of"]
    return round(scales[0] * height / step) * step, round(scales[1] * width / step) * step


#: Way of resizing, as `PROCESSORS` names it -> height and width of the resized picture.
FITS: Mapping[str, Callable[[int, int, Mapping[str, Any]], tuple[int, int]]] = {
    "plain": _plain,
    "floored": _floored,
    "raised": _raised,
    "sixteens": _sixteens,
    "multiples": _multiples,
}


def is_fixed(values: Mapping[str, Any]) -> bool:
    """Whether every picture comes out with the same height and width."""
    if values["do_center_crop"] or values["fit"] == "margin":
        return True
    return bool(
        values["do_resize"]
        and values["fit"] in ("plain", "sixteens", "raised", "multiples")
        and "height" in values["size"]
        and not (values["fit"] == "multiples" and values["keep_aspect_ratio"])
    )


def bounded(size: tuple[int, int], key: str) -> tuple[int, int]:
    """Return `size` (height, width).

    Raises:
        LimitExceeded: A picture beyond `MOST_PIXELS`, or without any.
    """
    if size[0] * size[1] > MOST_PIXELS or min(size) < 1:
        limit = f"more than the limit of {MOST_PIXELS}" if min(size) > 0 else "which is no picture"
        raise LimitExceeded(f"{FILE}: {key} asks for {size[0]}x{size[1]} pixels, {limit}.", file=FILE, field=key)
    return size


def cropped(array: Any, height: int, width: int) -> Any:
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


def padded(array: Any, values: Mapping[str, Any]) -> Any:
    """Return prepared pixels [3, h, w] with the margin that the processor adds: the picture keeps its place."""
    import numpy as np

    height, width = array.shape[-2:]
    if values["pad_size"] is not None:
        below, right = values["pad_size"]["height"] - height, values["pad_size"]["width"] - width
        if min(below, right) < 0:
            raise LimitExceeded(
                f"{FILE}: pad_size is smaller than a picture of {height}x{width} pixels.", file=FILE, field="pad_size"
            )
        return np.pad(array, ((0, 0), (0, below), (0, right)))
    divisor = values["size_divisor"]
    if values["fit"] == "multiples" and divisor:
        extra = [-side % divisor for side in (height, width)]
        return np.pad(array, ((0, 0), *((side // 2, side - side // 2) for side in extra)))
    if values["fit"] == "mirrored":
        extra = [(side // divisor + 1) * divisor - side for side in (height, width)]
        return np.pad(array, ((0, 0), (0, extra[0]), (0, extra[1])), mode="symmetric")
    return array
