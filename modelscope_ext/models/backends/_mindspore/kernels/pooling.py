"""Pooling: the mean or the largest of each window."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.padding import spread
from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_SEQUENCE, _PICTURE = Of((1, 2, 4)), Of((1, 2, 4, 4))


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """Return the number of windows along a dimension; the last must begin inside the input or its left padding."""
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return int(free // stride) + 1
    count = -(-free // stride) + 1
    return int(count) - 1 if (count - 1) * stride >= size + padding else int(count)


class _Windows:
    """The windows over the last dimensions of an array."""

    def __init__(self, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: Any) -> None:
        rank = len(size)
        self.rank, self.kernel, self.dilation = rank, spread(kernel, rank), spread(dilation, rank)
        given = () if stride is None else spread(stride, rank)
        self.stride, self.padding = given or self.kernel, spread(padding, rank)
        self.count = tuple(
            _count(size[i], self.kernel[i], self.stride[i], self.padding[i], self.dilation[i], bool(ceil))
            for i in range(rank)
        )
        self.size = tuple(size)

    def of(self, values: Any, fill: Any) -> Any:
        """Return an array [..., places, kernel], what lies outside filled with one value."""
        edges = []
        for i in range(self.rank):
            need = (self.count[i] - 1) * self.stride[i] + self.dilation[i] * (self.kernel[i] - 1) + 1
            edges.append((self.padding[i], max(need - self.size[i] - self.padding[i], 0)))
        values = np.pad(values, [(0, 0)] * (values.ndim - self.rank) + edges, constant_values=fill)
        reach = tuple(wide * (kernel - 1) + 1 for wide, kernel in zip(self.dilation, self.kernel, strict=True))
        view = np.lib.stride_tricks.sliding_window_view(values, reach, tuple(range(-self.rank, 0)))
        places = (slice(0, (n - 1) * s + 1, s) for n, s in zip(self.count, self.stride, strict=True))
        inside = (slice(None, None, wide) for wide in self.dilation)
        index = (..., *places, *inside)
        return view[index]

    @property
    def inner(self) -> tuple[int, ...]:
        """The axes of the kernel in what `of` returns."""
        return tuple(range(-self.rank, 0))


def _average(input: Any, windows: _Windows, include: Any, divisor: Any) -> Any:
    values = array(input)
    sums = windows.of(values, 0).sum(axis=windows.inner)
    if divisor is not None:
        return tensor(sums / divisor, input.dtype)
    counted = np.ones(windows.size)
    if include:  # the padding counts, what a rounded-up last window reaches beyond it does not
        counted = np.ones([size + 2 * edge for size, edge in zip(windows.size, windows.padding, strict=True)])
        plain = _Windows(counted.shape, windows.kernel, windows.stride, 0, windows.dilation, False)
        plain.count = windows.count
        return tensor(sums / plain.of(counted, 0).sum(axis=windows.inner), input.dtype)
    return tensor(sums / windows.of(counted, 0).sum(axis=windows.inner), input.dtype)


@TABLE.row("AvgPool2D", _PICTURE, 2, 2)
@widened
def average2d(
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Any:
    """Return the mean of each window of pictures."""
    windows = _Windows(input.shape[-2:], kernel_size, stride, padding, 1, ceil_mode)
    return _average(input, windows, count_include_pad, divisor_override)


@TABLE.row("AvgPool1D", _SEQUENCE, 2)
@widened
def average1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
) -> Any:
    """Return the mean of each window of sequences."""
    windows = _Windows(input.shape[-1:], kernel_size, stride, padding, 1, ceil_mode)
    return _average(input, windows, count_include_pad, None)


@TABLE.row("FuncMaxPool2D", _PICTURE, 2)
@widened
def largest2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
    return_indices: Any = False,
) -> Any:
    """Return the largest element of each window of pictures, and where it is in its picture."""
    values = array(input)
    windows = _Windows(values.shape[-2:], kernel_size, stride, padding, dilation, ceil_mode)
    least = -np.inf if np.issubdtype(values.dtype, np.floating) else np.iinfo(values.dtype).min
    found = windows.of(values, least)
    flat = found.reshape(*found.shape[:-2], -1)
    best = flat.argmax(axis=-1)
    places = windows.of(np.arange(np.prod(windows.size)).reshape(windows.size), -1)
    places = np.broadcast_to(places.reshape(*places.shape[:-2], -1), flat.shape)
    index = np.take_along_axis(places, best[..., None], -1)[..., 0]
    return tensor(np.take_along_axis(flat, best[..., None], -1)[..., 0], input.dtype), tensor(index, ms.int64)


_MAX = {"kernel_size": 2, "strides": 2, "pads": 0, "dilation": (1, 1), "ceil_mode": False}


@TABLE.row("MaxPoolWithIndices", _PICTURE, settings=_MAX)
@TABLE.row("MaxPoolWithMask", _PICTURE, settings=_MAX)
def largest_with_indices(
    x: Any, kernel_size: Any = 2, strides: Any = None, pads: Any = 0, dilation: Any = 1, ceil_mode: Any = False
) -> Any:
    """Return the largest element of each window of pictures, and where it is in its picture."""
    return largest2d(x, kernel_size, strides, pads, dilation, ceil_mode)


@TABLE.row("AdaptiveAvgPool2DExt", _PICTURE, (2, 2))
@TABLE.row("AdaptiveAvgPool1D", _SEQUENCE, 2)
@widened
def adaptive_average(input: Any, output_size: Any) -> Any:
    """Return the means of as many windows as asked for, of as equal a size as possible."""
    sizes = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,)
    made = input
    for axis, (places, size) in enumerate(zip(sizes, input.shape[-len(sizes) :], strict=True), -len(sizes)):
        if places is not None and places != size:
            made = ops.matmul(made.swapaxes(axis, -1), tensor(_means(size, places), ms.float32)).swapaxes(axis, -1)
    return made


def _means(size: int, places: int) -> Any:
    """Return the matrix that takes the means of `places` windows out of `size` elements."""
    matrix = np.zeros((size, places), np.float32)
    for place in range(places):
        start, end = place * size // places, -(-(place + 1) * size // places)
        matrix[start:end, place] = 1 / (end - start)
    return matrix
