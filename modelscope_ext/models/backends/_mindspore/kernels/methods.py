"""Calls that fail before they reach a kernel, or reach it without passing through Python: functions and methods."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.kernels import activation, algebra, indexing
from modelscope_ext.models.backends._mindspore.kernels.creation import constant, shape_of
from modelscope_ext.models.backends._mindspore.lazy import ms, np
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor

__all__ = ["TABLE"]

TABLE = Table()

_M, _V = Of((2, 3)), Of((3,))


def _size(size: tuple[Any, ...]) -> tuple[int, ...]:
    return shape_of(size[0] if len(size) == 1 else size)


@TABLE.row("mint.empty", 2, 3)
def empty(*size: Any, dtype: Any = None, device: Any = None, **_: Any) -> Any:
    """Return a tensor whose values do not matter; here they are zero."""
    return constant(_size(size), 0, dtype or ms.float32)


@TABLE.row("mint.empty_like", _M)
def empty_like(input: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Any:
    """Return a tensor like another, whose values do not matter."""
    return constant(input.shape, 0, dtype or input.dtype)


@TABLE.row("Tensor.new_empty", _M, (2, 2))
def new_empty(self: Any, *size: Any, dtype: Any = None, device: Any = None) -> Any:
    """Return a tensor of the same dtype, whose values do not matter."""
    return constant(_size(size), 0, dtype or self.dtype)


@TABLE.row("Tensor.new_full", _M, (2, 2), 3.0)
def new_full(self: Any, size: Any, fill_value: Any, *, dtype: Any = None) -> Any:
    """Return a tensor of the same dtype with one value everywhere."""
    return constant(shape_of(size), fill_value, dtype or self.dtype)


@TABLE.row("Tensor.repeat", _V, 2)
def repeat(self: Any, *repeats: Any) -> Any:
    """Lay copies of a tensor side by side."""
    return tensor(np.tile(array(self), _size(repeats)), self.dtype)


@TABLE.row("Tensor.masked_fill_", _M, Of((2, 3), "bool"), 1.0)
def masked_fill_(self: Any, mask: Any, value: Any) -> Any:
    """Set the elements that `mask` names."""
    return indexing.masked_fill_(self, mask, value)


TABLE.row("Tensor.fill_", _M, 1.0)(indexing.fill_)
TABLE.row("Tensor.clone", _M)(algebra.clone)
TABLE.row("Tensor.floor_divide", _M, 2)(algebra.floor_divide)
TABLE.row("mint.floor_divide", _M, 2)(algebra.floor_divide)


@TABLE.row("mint.nn.functional.gelu", _M)
@TABLE.row("Tensor.gelu", _M)
def gelu(input: Any, *, approximate: Any = "none") -> Any:
    """Return the Gaussian error linear unit, exact or by tanh."""
    return activation.gelu(input, approximate)


@TABLE.row("mint.addcdiv", _M, _M, _M)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """Return ``input + value * tensor1 / tensor2``."""
    return algebra.addcdiv(input, tensor1, tensor2, value)


@TABLE.row("mint.where", Of((2,), "bool"))
def where(condition: Any, *choices: Any) -> Any:
    """Return the positions where a condition holds; of two choices, the one it picks."""
    return _where(condition, *choices) if choices else indexing.nonzero(condition)


def _where(condition: Any, input: Any, other: Any) -> Any:
    from mindspore.ops.functional_overload import where as native

    return native(condition, input, other)


@TABLE.row("mint.index_add", _M, 0, Of((1,), "int64"), Of((1, 3)))
def index_add(input: Any, dim: Any, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """Add slices of `source` to the slices that `index` names."""
    values = np.moveaxis(array(input), dim, 0)
    np.add.at(values, array(index), np.moveaxis(array(source) * alpha, dim, 0))
    return tensor(np.moveaxis(values, 0, dim), input.dtype)


@TABLE.row("mint.isin", Of((2,), "int64"), Of((1,), "int64"))
def isin(elements: Any, test_elements: Any, *, assume_unique: Any = False, invert: Any = False) -> Any:
    """Say of each element whether it is among others."""
    return tensor(np.isin(array(elements), array(test_elements), invert=bool(invert)))


@TABLE.row("ops.functional_overload.einsum", "ij,jk->ik", (_M, Of((3, 2))))
def einsum(equation: Any, operands: Any) -> Any:
    """Sum products as an equation says (Einstein's notation); `mint.einsum` ends here."""
    values = [one.astype(np.float32) if one.dtype == np.float16 else one for one in map(array, operands)]
    return tensor(np.einsum(equation.replace(" ", ""), *values, optimize=True), operands[0].dtype)
