"""Resizing: each output is a weighted sum of the inputs near it, one dimension after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.creation import number
from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_PICTURE, _SEQUENCE = Of((1, 2, 4, 4)), Of((1, 2, 4))


def _positions(size: int, out: int, scale: float | None, corners: bool) -> Any:
    """Return where in the input the middle of each output lies."""
    if corners:
        return np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    return (np.arange(out) + 0.5) * (1 / scale if scale else size / out) - 0.5


def _linear(size: int, out: int, scale: float | None, corners: bool) -> Any:
    places = np.maximum(_positions(size, out, scale, corners), 0)
    low = np.minimum(np.floor(places).astype(int), size - 1)
    part = np.where(low < size - 1, places - low, 0)
    matrix = np.zeros((size, out))
    np.add.at(matrix, (low, np.arange(out)), 1 - part)
    np.add.at(matrix, (np.minimum(low + 1, size - 1), np.arange(out)), part)
    return matrix


def _cubic(size: int, out: int, scale: float | None, corners: bool) -> Any:
    """Keys' kernel with a = -0.75 (https://doi.org/10.1109/TASSP.1981.1163711), the edge repeated outside."""
    a, places = -0.75, _positions(size, out, scale, corners)
    low = np.floor(places).astype(int)
    matrix = np.zeros((size, out))
    for offset in (-1, 0, 1, 2):
        far = np.abs(places - (low + offset))
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
        np.add.at(matrix, (np.clip(low + offset, 0, size - 1), np.arange(out)), np.where(far <= 1, near, outer))
    return matrix


def _resize(weights: Callable[..., Any], x: Any, sizes: Any, scales: Any, corners: Any) -> Any:
    rank = x.ndim - 2
    factors = [None] * rank if scales is None else [float(number(one)) for one in scales]
    if sizes is None:
        sizes = [int(size * factor) for size, factor in zip(x.shape[2:], factors, strict=True)]
    made = x
    for axis, (size, out, factor) in enumerate(zip(x.shape[2:], sizes, factors, strict=True), 2):
        matrix = tensor(weights(size, int(number(out)), factor, bool(corners)), ms.float32)
        made = ops.matmul(made.swapaxes(axis, -1), matrix).swapaxes(axis, -1)
    return made


@TABLE.row("UpsampleLinear1D", _SEQUENCE, (8,))
@TABLE.row("UpsampleBilinear2D", _PICTURE, (8, 8))
@widened
def linear(x: Any, output_size: Any = None, scales: Any = None, align_corners: Any = False) -> Any:
    """Resize linearly along each dimension."""
    return _resize(_linear, x, output_size, scales, align_corners)


@TABLE.row("UpsampleBicubic2D", _PICTURE, (8, 8))
@widened
def cubic(x: Any, output_size: Any = None, scales: Any = None, align_corners: Any = False) -> Any:
    """Resize by cubic convolution."""
    return _resize(_cubic, x, output_size, scales, align_corners)
