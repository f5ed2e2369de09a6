"""Products of matrices, and arithmetic element by element."""

from __future__ import annotations

import math
from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_M, _N, _V = Of((2, 3)), Of((3, 2)), Of((3,))


@TABLE.row("Mm", _M, _N)
def mm(input: Any, mat2: Any) -> Any:
    """Multiply two matrices."""
    return ops.matmul(input, mat2)


@TABLE.row("Addmm", Of((2, 2)), _M, _N)
@TABLE.row("Baddbmm", Of((2, 2, 2)), Of((2, 2, 3)), Of((2, 3, 2)))
def addmm(input: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """Return ``beta * input + alpha * (mat1 @ mat2)``; with beta 0 the input is not read, as in PyTorch."""
    product = ops.matmul(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (input if beta == 1 else input * beta)


@TABLE.row("Outer", _V, _V)
def outer(input: Any, vec2: Any) -> Any:
    """Multiply each element of one vector with each of another."""
    return input.reshape(-1, 1) * vec2.reshape(1, -1)


@TABLE.row("Mv", _M, _V)
def mv(input: Any, vec: Any) -> Any:
    """Multiply a matrix with a vector."""
    return ops.matmul(input, vec.reshape(-1, 1)).reshape(-1)


@TABLE.row("Dot", _V, _V)
def dot(input: Any, other: Any) -> Any:
    """Multiply two vectors."""
    return ops.matmul(input.reshape(1, -1), other.reshape(-1, 1)).reshape(())


@TABLE.row("MatrixInverseExt", Of((1, 1)))
def inverse(input: Any) -> Any:
    """Invert square matrices."""
    return tensor(np.linalg.inv(array(input)), input.dtype)


@TABLE.row("LinalgQr", Of((2, 2)))
def qr(input: Any, mode: Any = "reduced") -> Any:
    """Decompose into an orthogonal and an upper triangular matrix."""
    if mode == "r":
        return tensor(np.zeros((0,)), input.dtype), tensor(np.linalg.qr(array(input), "r"), input.dtype)
    return tuple(tensor(part, input.dtype) for part in np.linalg.qr(array(input), mode))


@TABLE.row("TraceExt", Of((2, 2)))
def trace(input: Any) -> Any:
    """Sum the diagonal; integers become int64."""
    return tensor(np.trace(array(input)), input.dtype if input.is_floating_point() else ms.int64)


def _floating(input: Any) -> Any:
    return input if input.is_floating_point() or input.is_complex() else input.astype(ms.float32)


@TABLE.row("Log2", _M)
@widened
def log2(input: Any) -> Any:
    """Return the logarithm to base 2."""
    return ops.log(_floating(input)) * (1 / math.log(2))


@TABLE.row("Log10", _M)
@widened
def log10(input: Any) -> Any:
    """Return the logarithm to base 10."""
    return ops.log(_floating(input)) * (1 / math.log(10))


@TABLE.row("Exp2", _M)
@widened
def exp2(input: Any) -> Any:
    """Return 2 to the power of each element."""
    return ops.exp(_floating(input) * math.log(2))


@TABLE.row("Atan2Ext", _M, _M)
@widened
def atan2(input: Any, other: Any) -> Any:
    """Return the angle of each point (other, input)."""
    return ops.atan2(_floating(input), _floating(other))


@TABLE.row("AcosExt", Of((1,)))
@widened
def acos(input: Any) -> Any:
    """Return the inverse cosine."""
    return ops.acos(_floating(input))


@TABLE.row("AsinExt", Of((1,)))
@widened
def asin(input: Any) -> Any:
    """Return the inverse sine."""
    return ops.asin(_floating(input))


@TABLE.row("AtanExt", _M)
@widened
def atan(input: Any) -> Any:
    """Return the inverse tangent."""
    return ops.atan(_floating(input))


@TABLE.row("FloorDivScalar", _M, 2)
def floor_divide(input: Any, other: Any) -> Any:
    """Divide and round down."""
    return ops.floor_div(input, other)


@TABLE.row("AddcdivExt", _M, _M, _M)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    """Return ``input + value * tensor1 / tensor2``."""
    return input + value * (tensor1 / tensor2)


@TABLE.row("AddcmulExt", _M, _M, _M)
def addcmul(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    """Return ``input + value * tensor1 * tensor2``."""
    return input + value * (tensor1 * tensor2)


@TABLE.row("BitwiseOrTensor", Of((2,), "int64"), Of((2,), "int64"))
@TABLE.row("BitwiseOrScalar", Of((2,), "int64"), 1)
def bitwise_or(input: Any, other: Any) -> Any:
    """Combine the bits of both, or two truth values."""
    return _bitwise(np.bitwise_or, input, other)


@TABLE.row("BitwiseXorTensor", Of((2,), "int64"), Of((2,), "int64"))
@TABLE.row("BitwiseXorScalar", Of((2,), "int64"), 1)
def bitwise_xor(input: Any, other: Any) -> Any:
    """Keep the bits in which both differ."""
    return _bitwise(np.bitwise_xor, input, other)


@TABLE.row("BitwiseAndScalar", Of((2,), "int64"), 1)
def bitwise_and(input: Any, other: Any) -> Any:
    """Keep the bits that both have."""
    return _bitwise(np.bitwise_and, input, other)


def _bitwise(how: Any, input: Any, other: Any) -> Any:
    left = array(input)
    right = array(other) if isinstance(other, ms.Tensor) else left.dtype.type(other)
    return tensor(how(left, right))


@TABLE.row("EqualExt", _M, _M)
def equal(input: Any, other: Any) -> Any:
    """Say whether two tensors have one shape and the same elements."""
    return tensor(np.array(np.array_equal(array(input), array(other))))


@TABLE.row("Clone", _M)
def clone(input: Any) -> Any:
    """Return a copy."""
    return input.copy()
