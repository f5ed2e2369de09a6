"""Moving elements about: picking, joining, rolling, repeating, masking triangles, and writing in place."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.creation import number
from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor

__all__ = ["TABLE"]

TABLE = Table()

_V, _M, _I = Of((3,)), Of((2, 3)), Of((1,), "int64")


@TABLE.row("StackExt", (Of((2,)), Of((2,))), settings={"dim": 0})
def stack(tensors: Any, dim: Any = 0) -> Any:
    """Join tensors along a new dimension."""
    return ops.cat([ops.expand_dims(one, dim) for one in tensors], dim if dim >= 0 else dim + tensors[0].ndim + 1)


@TABLE.row("IndexSelect", _M, 0, _I)
def index_select(input: Any, dim: Any, index: Any) -> Any:
    """Pick slices along a dimension."""
    return tensor(np.take(array(input), array(index), axis=dim), input.dtype)


@TABLE.row("NonZeroExt", _M)
def nonzero(input: Any) -> Any:
    """Return the positions of the elements that are not zero, one tensor per dimension."""
    return tuple(tensor(one, ms.int64) for one in np.nonzero(array(input)))


@TABLE.row("ScatterAddExt", _M, 1, Of((2, 1), "int64"), Of((2, 1)))
def scatter_add(input: Any, dim: Any, index: Any, src: Any) -> Any:
    """Add elements to the places that `index` names along a dimension; a place may be named more than once."""
    values, places = array(input), array(index)
    at = list(np.indices(places.shape))
    at[dim] = places
    np.add.at(values, tuple(at), array(src)[tuple(slice(size) for size in places.shape)])
    return tensor(values, input.dtype)


@TABLE.row("TrilExt", Of((2, 2)))
def tril(input: Any, diagonal: Any = 0) -> Any:
    """Zero what lies above a diagonal."""
    return tensor(np.tril(array(input), diagonal), input.dtype)


@TABLE.row("DiagExt", _V)
def diag(input: Any, diagonal: Any = 0) -> Any:
    """Make a matrix of its diagonal, or return a matrix's diagonal."""
    return tensor(np.diag(array(input), diagonal), input.dtype)


@TABLE.row("Roll", _V, settings={"shifts": 1, "dims": 0})
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Move elements along dimensions; what falls off one end comes in at the other."""
    over = None if dims is None or (isinstance(dims, tuple | list) and not dims) else _plain(dims)
    return tensor(np.roll(array(input), _plain(shifts), over), input.dtype)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, tuple | list) else value


@TABLE.row("RepeatInterleaveInt", _V, 2)
@TABLE.row("RepeatInterleaveTensor", _V, Of((3,), "int64"))
def repeat_interleave(input: Any, repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    """Repeat each element, or each slice along a dimension, as often as `repeats` says."""
    return tensor(np.repeat(array(input), array(repeats), axis=dim), input.dtype)


@TABLE.row("OneHotExt", Of((3,), "int64"), 4, Of((), "int64"), Of((), "int64"), settings={"axis": -1})
def one_hot(input: Any, num_classes: Any, on_value: Any, off_value: Any, axis: Any = -1) -> Any:
    """Return vectors that have `on_value` at the place that an integer names."""
    values, count = array(input), int(number(num_classes))
    count = int(values.max()) + 1 if count == -1 else count
    hot = np.moveaxis(values[..., None] == np.arange(count), -1, axis)
    return tensor(np.where(hot, array(on_value), array(off_value)), getattr(on_value, "dtype", None))


@TABLE.row("InplaceZero", _M)
def zero_(input: Any) -> Any:
    """Set every element to zero."""
    return fill_(input, 0)


@TABLE.row("InplaceFillScalar", _M, 1.0)
@TABLE.row("InplaceFillTensor", _M, Of(()))
def fill_(input: Any, value: Any) -> Any:
    """Set every element to one value."""
    return input.copy_(tensor(np.full(input.shape, number(value)), input.dtype))


@TABLE.row("InplaceMaskedFillScalar", _M, Of((2, 3), "bool"), 1.0)
@TABLE.row("InplaceMaskedFillTensor", _M, Of((2, 3), "bool"), Of(()))
def masked_fill_(input: Any, mask: Any, value: Any) -> Any:
    """Set the elements that `mask` names."""
    return input.copy_(ops.masked_fill(input, mask, tensor(np.asarray(number(value)), input.dtype)))
