"""Stretching maps of numbers to another size, as torch's `interpolate(..., align_corners=False)` does, in numpy.

https://pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html. The arithmetic is float32, as there; the
order of the additions is not torch's, so that values differ by some units in the last place (1e-6 of the largest).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["MODES", "resized", "resized_columns", "resized_rows"]

#: torch's constant of the cubic kernel; Pillow's is -0.5.
_CUBIC = -0.75


def resized(values: Any, size: tuple[int, int], mode: str = "bilinear") -> Any:
    """Return `values` float32 [..., h, w] with the last two sizes `size`.

    Args:
        values: The map or maps.
        size: Height and width.
        mode: A key of `MODES`.

    Example:
        >>> import numpy as np
        >>> resized(np.float32([[0, 1]]), (1, 4)).tolist()
        [[0.0, 0.25, 0.75, 1.0]]
    """
    return resized_rows(resized_columns(values, size[1], mode), size[0], mode)


def resized_columns(values: Any, width: int, mode: str) -> Any:
    """Return `values` [..., h, w] with `width` columns."""
    places, weights = MODES[mode](values.shape[-1], width)
    return sum(values[..., place] * weight for place, weight in zip(places, weights, strict=True))


def resized_rows(values: Any, height: int, mode: str, start: int = 0, stop: int | None = None) -> Any:
    """Return `values` [..., h, w] with `height` rows, or only the rows from `start` to `stop` of them."""
    places, weights = MODES[mode](values.shape[-2], height)
    part = slice(start, height if stop is None else stop)
    return sum(values[..., place[part], :] * weight[part, None] for place, weight in zip(places, weights, strict=True))


def _sources(length: int, wanted: int) -> Any:
    """Return where the middle of each new element lies among the old ones, float32 [wanted]."""
    import numpy as np

    scale = np.float32(length) / np.float32(wanted)
    return (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)


def _nearest(length: int, wanted: int) -> tuple[list[Any], list[Any]]:
    import numpy as np

    scale = np.float32(length) / np.float32(wanted)
    places = np.minimum((np.arange(wanted, dtype=np.float32) * scale).astype(np.int64), length - 1)
    return [places], [np.ones(wanted, np.float32)]


def _linear(length: int, wanted: int) -> tuple[list[Any], list[Any]]:
    import numpy as np

    sources = np.maximum(_sources(length, wanted), np.float32(0))
    low = np.minimum(sources.astype(np.int64), length - 1)
    share = np.clip(sources - low.astype(np.float32), 0, 1)
    return [low, np.minimum(low + 1, length - 1)], [1 - share, share]


def _cubic(length: int, wanted: int) -> tuple[list[Any], list[Any]]:
    import numpy as np

    sources = _sources(length, wanted)
    low = np.floor(sources)
    share, a = (sources - low).astype(np.float32), np.float32(_CUBIC)

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    weights = [far(share + 1), near(share), near(1 - share), far(2 - share)]
    places = [np.clip(low.astype(np.int64) + step, 0, length - 1) for step in (-1, 0, 1, 2)]
    return places, [weight.astype(np.float32) for weight in weights]


#: Mode -> function of the old and the new length that gives the places each new element draws on, and their weights.
MODES: Mapping[str, Callable[[int, int], tuple[list[Any], list[Any]]]] = {
    "nearest": _nearest,
    "bilinear": _linear,
    "bicubic": _cubic,
}
