"""Activations."""

from __future__ import annotations

import math
from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, widened

__all__ = ["TABLE"]

TABLE = Table()

_M = Of((2, 3))


#: MindSpore 2.7.2 gives 1.0 here, which is off by 1e-4; a BERT's pooler reaches such values.
_FAR = 4.998


@TABLE.row("Tanh", Of((1,), values=(_FAR,)), expected=(math.tanh(_FAR),))
@TABLE.row("Tensor.tanh", Of((1,), values=(_FAR,)), expected=(math.tanh(_FAR),))
@widened
def tanh(input: Any) -> Any:
    """Return the hyperbolic tangent, to the last digits."""
    grown = ops.expm1(-2 * ops.abs(input))
    return ops.sign(input) * (-grown / (grown + 2))


@TABLE.row("GeluExt", _M)
@widened
def gelu(input: Any, approximate: Any = "none") -> Any:
    """Return the Gaussian error linear unit, exact or by tanh (Hendrycks & Gimpel, https://arxiv.org/abs/1606.08415)."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)
        return input * ops.sigmoid(2 * inner)  # (1 + tanh(y)) / 2; MindSpore's own tanh is 1 from 5 on
    return 0.5 * input * (1 + ops.erf(input * math.sqrt(0.5)))


@TABLE.row("LogSoftmaxExt", _M, 1)
def log_softmax(input: Any, dim: Any = None, dtype: Any = None) -> Any:
    """Return the logarithm of the softmax along a dimension."""
    input = input if dtype is None else input.astype(dtype)
    if dim is None:  # as PyTorch chooses it
        dim = 0 if input.ndim in (0, 1, 3) else 1
    return _log_softmax(input, dim)


@widened
def _log_softmax(input: Any, dim: int) -> Any:
    shifted = input - input.max(axis=dim, keepdims=True)
    return shifted - ops.log(ops.exp(shifted).sum(dim, keepdims=True))


@TABLE.row("EluExt", _M, settings={"alpha": 1.0})
@widened
def elu(input: Any, alpha: Any = 1.0) -> Any:
    """Return the exponential linear unit."""
    return ops.select(input > 0, input, alpha * ops.expm1(ops.minimum(input, 0.0)))


@TABLE.row("SeLUExt", _M)
@widened
def selu(input: Any) -> Any:
    """Return the scaled exponential linear unit (https://arxiv.org/abs/1706.02515)."""
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717)


@TABLE.row("MishExt", _M)
@widened
def mish(input: Any) -> Any:
    """Return ``x * tanh(softplus(x))``."""
    grown = ops.exp(ops.minimum(input, 20.0))
    part = grown * (grown + 2)  # tanh(log(1 + e^x)) = part / (part + 2)
    return input * (part / (part + 2))


@TABLE.row("SoftplusExt", _M)
@widened
def softplus(input: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """Return ``log(1 + exp(beta x)) / beta``, and x itself above the threshold."""
    scaled = input * beta
    made = (ops.maximum(scaled, 0.0) + ops.log1p(ops.exp(-ops.abs(scaled)))) / beta
    return ops.select(scaled > threshold, input, made)


@TABLE.row("LogSigmoid", _M)
@widened
def log_sigmoid(input: Any) -> Any:
    """Return the logarithm of the sigmoid."""
    return ops.minimum(input, 0.0) - ops.log1p(ops.exp(-ops.abs(input)))


@TABLE.row("LeakyReLUExt", _M)
@widened
def leaky_relu(input: Any, negative_slope: Any = 0.01) -> Any:
    """Return the input, and where it is negative a part of it."""
    return ops.select(input > 0, input, input * negative_slope)


@TABLE.row("Hardtanh", _M)
@widened
def hardtanh(input: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    """Keep the input within two bounds."""
    if not input.is_floating_point():
        return ops.minimum(ops.maximum(input, int(min_val)), int(max_val))
    return ops.minimum(ops.maximum(input, float(min_val)), float(max_val))


@TABLE.row("Swiglu", Of((2, 4)))
@widened
def swiglu(input: Any, dim: Any = -1) -> Any:
    """Return ``silu(a) * b`` for the two halves of the input along a dimension."""
    gate, value = ops.chunk(input, 2, dim)
    return gate * ops.sigmoid(gate.astype(ms.float32)) * value
