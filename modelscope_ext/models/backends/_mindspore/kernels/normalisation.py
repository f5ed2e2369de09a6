"""Normalisation, and the embedding."""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_M, _V = Of((2, 3)), Of((3,))


@TABLE.row("LayerNormExt", _M, (3,), _V, _V)
@widened
def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Any:
    """Normalise the last dimensions; return the outcome, the mean, and the reciprocal of the deviation."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    over = tuple(range(input.ndim - len(shape), input.ndim))
    middle = input.mean(over, keep_dims=True)
    centred = input - middle
    factor = ops.rsqrt(ops.square(centred).mean(over, keep_dims=True) + eps)
    made = centred * factor
    made = made if weight is None else made * weight
    return made if bias is None else made + bias, middle, factor


@TABLE.row("RmsNorm", _M, _V, settings={"epsilon": 1e-6})
@widened
def rms_norm(x: Any, gamma: Any, epsilon: Any = 1e-6) -> Any:
    """Divide by the root of the mean square over the dimensions of `gamma`; return that and the factor."""
    over = tuple(range(x.ndim - gamma.ndim, x.ndim))
    factor = ops.rsqrt(ops.square(x).mean(over, keep_dims=True) + epsilon)
    return x * factor * gamma, factor


@TABLE.row("BatchNormExt", Of((2, 3)), _V, _V, _V, _V)
def batch_norm(
    input: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    training: Any = False,
    momentum: Any = 0.1,
    epsilon: Any = 1e-5,
) -> Any:
    """Normalise each channel, by the statistics of the batch or the running ones; return it, mean and factor."""
    if training or running_mean is None:
        over = (0, *range(2, input.ndim))
        wide = input.astype(ms.float32)
        middle = wide.mean(over, keep_dims=True)
        spread = ops.square(wide - middle).mean(over, keep_dims=True).reshape(-1)
        middle, count = middle.reshape(-1), input.size // input.shape[1]
        _follow(running_mean, middle, momentum)
        _follow(running_var, spread * (count / max(count - 1, 1)), momentum)
    else:
        middle, spread = running_mean, running_var
    return _applied(input, weight, bias, middle, spread, epsilon)


@widened
def _applied(input: Any, weight: Any, bias: Any, middle: Any, spread: Any, epsilon: float) -> Any:
    shape = (1, -1, *[1] * (input.ndim - 2))
    factor = ops.rsqrt(spread + epsilon)
    made = (input - middle.reshape(shape)) * factor.reshape(shape)
    made = made if weight is None else made * weight.reshape(shape)
    return made if bias is None else made + bias.reshape(shape), middle, factor


def _follow(running: Any, seen: Any, momentum: float) -> None:
    """Move a running statistic towards that of the batch."""
    if running is not None:
        running.copy_((running * (1 - momentum) + seen * momentum).astype(running.dtype))


@TABLE.row("Embedding", Of((2,), "int64"), Of((5, 3)))
def embedding(
    input: Any,
    weight: Any,
    padding_idx: Any = None,
    max_norm: Any = None,
    norm_type: Any = 2.0,
    scale_grad_by_freq: Any = False,
) -> Any:
    """Pick the rows of `weight` that `input` names; where `max_norm` is given, the weights are shortened in place."""
    if max_norm is not None:
        values, rows = array(weight), np.unique(array(input))
        lengths = np.linalg.norm(values[rows], ord=norm_type, axis=1, keepdims=True)
        values[rows] *= np.where(lengths > max_norm, max_norm / (lengths + 1e-7), 1)
        weight.copy_(tensor(values, weight.dtype))
    if weight.dtype == ms.bfloat16:
        return ops.gather(weight.astype(ms.float32), input, 0).astype(ms.bfloat16)
    return ops.gather(weight, input, 0)
