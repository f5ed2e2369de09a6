"""Tensors out of nothing: ranges, constants, and tensors like another."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, np
from modelscope_ext.models.backends._mindspore.rows import Of, Table, tensor

__all__ = ["TABLE"]

TABLE = Table()


def number(value: Any) -> Any:
    """Return a tensor with one value as a Python number, and a number as it is."""
    return value.item() if isinstance(value, ms.Tensor) else value


def dtype_of(value: Any) -> Any:
    """Return the dtype that a Python number makes a tensor of."""
    if isinstance(value, ms.Tensor):
        return value.dtype
    return ms.bool_ if isinstance(value, bool) else ms.int64 if isinstance(value, int) else ms.float32


def shape_of(size: Any) -> tuple[int, ...]:
    """Return a size given as a number, a tuple, a list or a tensor as a tuple of numbers."""
    if isinstance(size, ms.Tensor):
        size = size.tolist()
    return (size,) if isinstance(size, int) else tuple(int(number(one)) for one in size)


def constant(shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """Return a tensor of `shape` with one value everywhere."""
    return tensor(np.full(shape, number(value)), dtype)


@TABLE.row("Arange", 0, 3, 1)
def arange(start: Any, end: Any, step: Any, dtype: Any = None) -> Any:
    """Count from `start` below `end`; int64 of integers, float32 as soon as one is a float."""
    values = [number(one) for one in (start, end, step)]
    if dtype is None:
        dtype = ms.int64 if all(isinstance(one, int) for one in values) else ms.float32
    return tensor(np.arange(*values), dtype)


@TABLE.row("LinSpaceExt", 0.0, 1.0, 5)
def linspace(start: Any, end: Any, steps: Any, dtype: Any = None) -> Any:
    """Return `steps` values from `start` to `end`, both included."""
    return tensor(np.linspace(number(start), number(end), int(number(steps))), dtype or ms.float32)


@TABLE.row("FillScalar", (2, 3), 1.0)
@TABLE.row("FillTensor", (2, 3), Of(()))
def full(size: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return a tensor with one value everywhere."""
    return constant(shape_of(size), fill_value, dtype or dtype_of(fill_value))


@TABLE.row("FullLike", Of((2, 3)), 1.0)
def full_like(like: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return a tensor of the shape and dtype of another."""
    return constant(like.shape, fill_value, dtype or like.dtype)


@TABLE.row("ZerosLikeExt", Of((2, 3)))
def zeros_like(like: Any, dtype: Any = None) -> Any:
    """Return zeros of the shape and dtype of another."""
    return constant(like.shape, 0, dtype or like.dtype)


@TABLE.row("OnesLikeExt", Of((2, 3)))
def ones_like(like: Any, dtype: Any = None) -> Any:
    """Return ones of the shape and dtype of another."""
    return constant(like.shape, 1, dtype or like.dtype)
