"""What many elements come to: deviations, norms, positions of the largest, running sums, counts."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_M = Of((2, 3))


def axes(dim: Any, rank: int) -> tuple[int, ...]:
    """Return the dimensions that `dim` names, all of them for None or an empty tuple."""
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        return tuple(range(rank))
    return tuple(one % rank for one in ((dim,) if isinstance(dim, int) else dim)) if rank else ()


@TABLE.row("ArgMaxExt", _M)
def argmax(input: Any, dim: Any = None, keepdim: Any = False) -> Any:
    """Return where the largest element is, the first of equals."""
    return _position(np.argmax, input, dim, keepdim)


@TABLE.row("ArgMinExt", _M)
def argmin(input: Any, dim: Any = None, keepdim: Any = False) -> Any:
    """Return where the smallest element is, the first of equals."""
    return _position(np.argmin, input, dim, keepdim)


def _position(find: Any, input: Any, dim: Any, keepdim: Any) -> Any:
    return tensor(find(array(input), axis=dim, keepdims=bool(keepdim) and dim is not None), ms.int64)


def _moments(input: Any, dim: Any, correction: Any) -> tuple[Any, Any]:
    """Return mean and variance with the reduced dimensions kept."""
    over = axes(dim, input.ndim)
    count = int(np.prod([input.shape[one] for one in over]))
    middle = input.mean(over, keep_dims=True) if over else input
    squares = ops.square(input - middle)
    total = squares.sum(over, keepdims=True) if over else squares
    return middle, total / max(count - correction, 0)


def _squeezed(value: Any, input: Any, dim: Any, keepdim: Any) -> Any:
    over = axes(dim, input.ndim)
    if keepdim or not over:
        return value
    return value.reshape(tuple(size for axis, size in enumerate(input.shape) if axis not in over))


@TABLE.row("Var", _M)
@widened
def var(input: Any, dim: Any = None, correction: Any = 1, keepdim: Any = False) -> Any:
    """Return the variance, divided by the count less `correction`."""
    return _squeezed(_moments(input, dim, correction)[1], input, dim, keepdim)


@TABLE.row("Std", _M)
@widened
def std(input: Any, dim: Any = None, correction: Any = 1, keepdim: Any = False) -> Any:
    """Return the standard deviation."""
    return ops.sqrt(var(input, dim, correction, keepdim))


@TABLE.row("VarMean", _M)
@widened
def var_mean(input: Any, dim: Any = None, correction: Any = 1, keepdim: Any = False) -> Any:
    """Return variance and mean."""
    middle, spread = _moments(input, dim, correction)
    return _squeezed(spread, input, dim, keepdim), _squeezed(middle, input, dim, keepdim)


@TABLE.row("StdMean", _M)
@widened
def std_mean(input: Any, dim: Any = None, correction: Any = 1, keepdim: Any = False) -> Any:
    """Return standard deviation and mean."""
    spread, middle = var_mean(input, dim, correction, keepdim)
    return ops.sqrt(spread), middle


@TABLE.row("LinalgVectorNorm", _M, 2.0)
@TABLE.row("LpNormV2", _M, 4.0)
@widened
def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Any:
    """Return the norm of order `ord` of the elements along `dim`, or of all of them."""
    # The last argument of LpNormV2 is a number instead: what to add to the sum, always 0 where it is called from.
    x = x.astype(dtype) if dtype is not None and not isinstance(dtype, float) else x
    over, size, order = axes(dim, x.ndim), ops.abs(x), float(ord)
    if order == 0:
        made = (size != 0).astype(x.dtype).sum(over, keepdims=True)
    elif order == float("inf"):
        made = tensor(array(size).max(axis=over, keepdims=True))
    elif order == float("-inf"):
        made = tensor(array(size).min(axis=over, keepdims=True))
    elif order == 2:
        made = ops.sqrt(ops.square(x).sum(over, keepdims=True))
    else:
        made = ops.pow(ops.pow(size, order).sum(over, keepdims=True), 1 / order)
    return _squeezed(made, x, dim, keepdim)


@TABLE.row("MedianExt", Of((3,)))
def median(input: Any) -> Any:
    """Return the middle element of all, the lower of two."""
    values = np.sort(array(input), axis=None)
    return tensor(values[(values.size - 1) // 2], input.dtype)


@TABLE.row("MedianDim", _M)
def median_dim(input: Any, dim: Any = -1, keepdim: Any = False) -> Any:
    """Return the middle element along a dimension, the lower of two, and where it is."""
    values = array(input)
    order = np.argsort(values, axis=dim, kind="stable")
    index = np.take(order, [(values.shape[dim] - 1) // 2], axis=dim)
    found = np.take_along_axis(values, index, axis=dim)
    if not keepdim:
        found, index = found.squeeze(dim), index.squeeze(dim)
    return tensor(found, input.dtype), tensor(index, ms.int64)


@TABLE.row("LogSumExp", _M, 1)
@widened
def logsumexp(input: Any, dim: Any, keepdim: Any = False) -> Any:
    """Return the logarithm of the sum of exponentials, without overflow."""
    values, over = array(input), axes(dim, input.ndim)
    top = values.max(axis=over, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        made = np.log(np.exp(values - top).sum(axis=over, keepdims=True)) + top
    return _squeezed(tensor(made, input.dtype), input, dim, keepdim)


@TABLE.row("CumsumExt", _M, 1)
def cumsum(input: Any, dim: Any, dtype: Any = None) -> Any:
    """Return running sums; those of integers and truth values are int64."""
    values = array(input if dtype is None else input.astype(dtype))
    if dtype is None:
        dtype = input.dtype if input.is_floating_point() or input.is_complex() else ms.int64
        values = values if input.is_floating_point() or input.is_complex() else values.astype(np.int64)
    return tensor(np.cumsum(values, axis=dim, dtype=values.dtype), dtype)


@TABLE.row("BincountExt", Of((3,), "int64"))
def bincount(input: Any, weights: Any = None, minlength: Any = 0) -> Any:
    """Count how often each integer from 0 on occurs."""
    counted = np.bincount(array(input), None if weights is None else array(weights), int(minlength))
    if weights is None:
        return tensor(counted, ms.int64)
    return tensor(counted, weights.dtype if weights.dtype == ms.float32 else ms.float64)


@TABLE.row("HistcExt", Of((3,)))
def histc(input: Any, bins: Any = 100, min: Any = 0, max: Any = 0) -> Any:
    """Count the elements in `bins` equal ranges from `min` to `max`, by default from the smallest to the largest."""
    values = array(input)
    low, high = (min, max) if (min, max) != (0, 0) else (values.min(), values.max())
    low, high = (low - 1, high + 1) if low == high else (low, high)
    return tensor(np.histogram(values, bins, (low, high))[0], input.dtype)


@TABLE.row("CountNonZero", _M)
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """Count the elements that are not zero."""
    return tensor(np.count_nonzero(array(input), axis=axes(dim, input.ndim)), ms.int64)


@TABLE.row("MSELossExt", _M, _M)
@widened
def mse_loss(input: Any, target: Any, reduction: Any = "mean") -> Any:
    """Return squared differences: their mean, their sum, or each."""
    return _reduced(ops.square(input - target), reduction)


@TABLE.row("L1LossExt", _M, _M)
@widened
def l1_loss(input: Any, target: Any, reduction: Any = "mean") -> Any:
    """Return absolute differences: their mean, their sum, or each."""
    return _reduced(ops.abs(input - target), reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()
