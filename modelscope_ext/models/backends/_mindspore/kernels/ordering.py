"""Sorting and what follows from it: the largest few, positions, distinct values."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.creation import number
from modelscope_ext.models.backends._mindspore.lazy import ms, np
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor

__all__ = ["TABLE"]

TABLE = Table()

_V, _M = Of((3,)), Of((2, 3))


def order(values: Any, dim: int, descending: bool) -> Any:
    """Return the positions that sort `values` along `dim`, equals in the order in which they stand."""
    if not descending:
        return np.argsort(values, axis=dim, kind="stable")
    last = values.shape[dim] - 1
    return np.flip(last - np.argsort(np.flip(values, dim), axis=dim, kind="stable"), dim)


@TABLE.row("SortExt", _M)
def sort(input: Any, dim: Any = -1, descending: Any = False, stable: Any = False) -> Any:
    """Return the sorted elements and where each was."""
    values = array(input)
    if not values.ndim:
        return input.copy(), tensor(np.int64(0))
    index = order(values, dim, bool(descending))
    return tensor(np.take_along_axis(values, index, dim), input.dtype), tensor(index, ms.int64)


@TABLE.row("ArgSort", _M)
def argsort(input: Any, dim: Any = -1, descending: Any = False, stable: Any = False) -> Any:
    """Return the positions that sort a tensor."""
    return sort(input, dim, descending)[1]


@TABLE.row("TopkExt", _M, 2)
def topk(input: Any, k: Any, dim: Any = -1, largest: Any = True, sorted: Any = True) -> Any:
    """Return the `k` largest or smallest elements in order, and where they are; of equals the first."""
    values, count = array(input), int(number(k))
    index = order(values, dim, bool(largest)).take(range(count), axis=dim)
    return tensor(np.take_along_axis(values, index, dim), input.dtype), tensor(index, ms.int64)


@TABLE.row("Unique2", Of((3,), "int64"))
def unique(input: Any, sorted: Any = True, return_inverse: Any = False, return_counts: Any = False) -> Any:
    """Return the distinct elements in order, where each element went, and how often each occurs."""
    values, inverse, counts = np.unique(array(input), return_inverse=True, return_counts=True)
    return tensor(values, input.dtype), tensor(inverse.reshape(input.shape), ms.int64), tensor(counts, ms.int64)


@TABLE.row("UniqueDim", Of((2, 3), "int64"), True, False, 0)
def unique_dim(input: Any, sorted: Any, return_inverse: Any, dim: Any) -> Any:
    """Return the distinct slices along a dimension, where each went, and how often each occurs."""
    values, inverse, counts = np.unique(array(input), return_inverse=True, return_counts=True, axis=dim)
    return tensor(values, input.dtype), tensor(inverse.reshape(-1), ms.int64), tensor(counts, ms.int64)
