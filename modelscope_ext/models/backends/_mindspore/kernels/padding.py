"""Padding, and the windows of a picture laid out as columns."""

from __future__ import annotations

from itertools import product
from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.creation import number
from modelscope_ext.models.backends._mindspore.lazy import np
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor

__all__ = ["TABLE", "pair", "spread"]

TABLE = Table()

_PICTURE = Of((1, 2, 4, 4))


def spread(value: Any, count: int) -> tuple[int, ...]:
    """Return one number for each of `count` dimensions, of a number that holds for all or of numbers."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(int(number(one)) for one in (values * count if len(values) == 1 else values))


def pair(value: Any) -> tuple[int, int]:
    """Return one number for rows and one for columns."""
    rows, columns = spread(value, 2)
    return rows, columns


def _padded(input: Any, padding: Any, **how: Any) -> Any:
    """Pad the last dimensions by pairs of numbers, the last dimension first; negative numbers cut off."""
    values, numbers = array(input), spread(padding, 1)
    pairs = [(0, 0)] * (values.ndim - len(numbers) // 2)
    pairs += list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
    made = np.pad(values, [(max(low, 0), max(high, 0)) for low, high in pairs], **how)
    cuts = tuple(slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in zip(pairs, made.shape, strict=True))
    return tensor(made[cuts], input.dtype)


@TABLE.row("ConstantPadND", Of((2, 3)), (1, 1))
def constant(input: Any, padding: Any, value: Any = 0.0) -> Any:
    """Pad with one value."""
    return _padded(input, padding, constant_values=number(value))


@TABLE.row("ReflectionPad1D", Of((1, 2, 4)), (1, 1))
@TABLE.row("ReflectionPad2D", _PICTURE, (1, 1, 1, 1))
@TABLE.row("ReflectionPad3D", Of((1, 2, 4, 4, 4)), (1, 1, 1, 1, 1, 1))
def reflect(input: Any, padding: Any) -> Any:
    """Pad with what is mirrored at the edge, the edge itself not repeated."""
    return _padded(input, padding, mode="reflect")


@TABLE.row("ReplicationPad1D", Of((1, 2, 4)), (1, 1))
@TABLE.row("ReplicationPad2D", _PICTURE, (1, 1, 1, 1))
@TABLE.row("ReplicationPad3D", Of((1, 2, 4, 4, 4)), (1, 1, 1, 1, 1, 1))
def replicate(input: Any, padding: Any) -> Any:
    """Pad with the values at the edge."""
    return _padded(input, padding, mode="edge")


def _places(size: int, kernel: int, dilation: int, padding: int, stride: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@TABLE.row("Im2ColExt", _PICTURE, 2)
def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Lay the windows of pictures out as columns, from left to right and from top to bottom."""
    kernel, step = pair(kernel_size), pair(stride)
    wide, edge = pair(dilation), pair(padding)
    values = array(input)
    single = values.ndim == 3
    values = values[None] if single else values
    count, channels, *size = values.shape
    rows, columns = (_places(size[i], kernel[i], wide[i], edge[i], step[i]) for i in (0, 1))
    values = np.pad(values, ((0, 0), (0, 0), (edge[0], edge[0]), (edge[1], edge[1])))
    made = np.empty((count, channels, *kernel, rows, columns), values.dtype)
    for i, j in product(range(kernel[0]), range(kernel[1])):
        top, left = i * wide[0], j * wide[1]
        down, right = slice(top, top + rows * step[0], step[0]), slice(left, left + columns * step[1], step[1])
        made[:, :, i, j] = values[:, :, down, right]
    made = made.reshape(count, channels * kernel[0] * kernel[1], rows * columns)
    return tensor(made[0] if single else made, input.dtype)


@TABLE.row("Col2ImExt", Of((1, 8, 9)), (4, 4), 2)
def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Add columns back into pictures; where windows overlap, they are summed."""
    kernel, step, size = pair(kernel_size), pair(stride), pair(output_size)
    wide, edge = pair(dilation), pair(padding)
    values = array(input)
    single = values.ndim == 2
    values = values[None] if single else values
    rows, columns = (_places(size[i], kernel[i], wide[i], edge[i], step[i]) for i in (0, 1))
    values = values.reshape(len(values), -1, *kernel, rows, columns)
    made = np.zeros((*values.shape[:2], size[0] + 2 * edge[0], size[1] + 2 * edge[1]), values.dtype)
    for i, j in product(range(kernel[0]), range(kernel[1])):
        top, left = i * wide[0], j * wide[1]
        down, right = slice(top, top + rows * step[0], step[0]), slice(left, left + columns * step[1], step[1])
        made[:, :, down, right] += values[:, :, i, j]
    made = made[:, :, edge[0] : edge[0] + size[0], edge[1] : edge[1] + size[1]]
    return tensor(made[0] if single else made, input.dtype)
