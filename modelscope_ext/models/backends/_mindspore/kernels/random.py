"""Random numbers: of numpy's Philox generator, keyed with the seed and offset of MindSpore's own generator.

So `mindspore.manual_seed` makes them repeatable; they are not the numbers that an accelerator would draw.
"""

from __future__ import annotations

from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.creation import number, shape_of
from modelscope_ext.models.backends._mindspore.lazy import ms, np
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor

__all__ = ["TABLE"]

TABLE = Table()

_STATE = (Of((), "int64"), Of((), "int64"))


def generator(seed: Any, offset: Any) -> Any:
    """Return the generator of one call."""
    state = [int(number(one)) % 2**64 for one in (seed, offset)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(state)))


@TABLE.row("RandExt", (2, 3), *_STATE)
def rand(shape: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw uniformly from [0, 1)."""
    return tensor(generator(seed, offset).random(shape_of(shape), np.float32), dtype)


@TABLE.row("RandLikeExt", Of((2, 3)), *_STATE)
def rand_like(like: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw uniformly from [0, 1), in the shape of another."""
    return rand(like.shape, seed, offset, dtype or like.dtype)


@TABLE.row("Randn", (2, 3), *_STATE)
def randn(shape: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw from the standard normal distribution."""
    return tensor(generator(seed, offset).standard_normal(shape_of(shape), np.float32), dtype)


@TABLE.row("RandnLike", Of((2, 3)), *_STATE)
def randn_like(like: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw from the standard normal distribution, in the shape of another."""
    return randn(like.shape, seed, offset, dtype or like.dtype)


@TABLE.row("RandInt", 0, 5, (2, 3), *_STATE)
def randint(low: Any, high: Any, shape: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw integers from [low, high)."""
    return tensor(generator(seed, offset).integers(number(low), number(high), shape_of(shape)), dtype or ms.int64)


@TABLE.row("RandIntLike", Of((2, 3)), 0, 5, *_STATE)
def randint_like(like: Any, low: Any, high: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Draw integers from [low, high), in the shape of another."""
    return randint(low, high, like.shape, seed, offset, dtype or like.dtype)


@TABLE.row("RandpermExt", 4, *_STATE)
def randperm(n: Any, seed: Any, offset: Any, dtype: Any = None) -> Any:
    """Shuffle the integers below `n`."""
    return tensor(generator(seed, offset).permutation(int(number(n))), dtype or ms.int64)


@TABLE.row("NormalFloatFloat", 0.0, 1.0, (2, 3), *_STATE)
def normal(mean: Any, std: Any, size: Any, seed: Any, offset: Any) -> Any:
    """Draw from a normal distribution."""
    drawn = generator(seed, offset).standard_normal(shape_of(size), np.float32)
    return tensor((drawn * number(std) + number(mean)).astype(np.float32))


@TABLE.row("NormalTensorFloat", Of((2, 3)), 1.0, *_STATE)
@TABLE.row("NormalFloatTensor", 1.0, Of((2, 3)), *_STATE)
@TABLE.row("NormalTensorTensor", Of((2, 3)), Of((2, 3)), *_STATE)
def normal_of(mean: Any, std: Any, seed: Any, offset: Any) -> Any:
    """Draw from normal distributions with a mean or a deviation of their own each."""
    means, deviations = np.broadcast_arrays(array(mean), array(std))
    drawn = generator(seed, offset).standard_normal(means.shape, np.float32)
    dtype = next(one.dtype for one in (mean, std) if isinstance(one, ms.Tensor))
    return tensor(drawn * deviations + means, dtype)


@TABLE.row("BernoulliExt", Of((1,)), *_STATE)
def bernoulli(input: Any, seed: Any, offset: Any) -> Any:
    """Draw ones with the given probabilities, else zeros."""
    chances = array(input)
    return tensor(generator(seed, offset).random(chances.shape) < chances, input.dtype)


@TABLE.row("MultinomialExt", Of((3,)), 2, False, *_STATE)
def multinomial(input: Any, num_samples: Any, replacement: Any, seed: Any, offset: Any) -> Any:
    """Draw indices along the last dimension with the given weights, which need not sum to one."""
    weights, drawn = array(input).astype(np.float64), generator(seed, offset)
    rows = weights.reshape(-1, weights.shape[-1])
    count = int(number(num_samples))
    picked = [drawn.choice(len(row), count, replace=bool(replacement), p=row / row.sum()) for row in rows]
    return tensor(np.stack(picked).reshape(*weights.shape[:-1], count), ms.int64)


@TABLE.row("FuncDropoutExt", Of((2, 3)), 0.5, True, False, *_STATE)
def dropout(input: Any, p: Any, training: Any, inplace: Any, seed: Any, offset: Any) -> Any:
    """Zero elements with probability `p` and scale the others; while not training, return the input itself."""
    if not training or p == 0:
        return input
    kept = tensor(generator(seed, offset).random(input.shape) >= p, input.dtype)
    made = input * kept * (0.0 if p == 1 else 1 / (1 - p))
    return input.copy_(made) if inplace else made
