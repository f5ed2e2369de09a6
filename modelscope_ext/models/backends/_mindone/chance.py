"""Random numbers for pictures: those that PyTorch draws on a CPU from the same seed, so that both give one picture.

mindone's pipelines take numpy's generators and ask them for ``standard_normal`` only. PyTorch (`CPUGeneratorImpl` and
`normal_fill` of ATen) has the Mersenne Twister of numpy's `RandomState`: 24 bits make a uniform number, and the
Box-Muller transform makes 16 uniform numbers into 16 normal ones; fewer than 16 are made in pairs of 53 bits each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MindChance", "generator"]

_BLOCK = 16


def generator(seed: int | None) -> np.random.Generator:
    """Return a generator of numpy whose normal numbers are PyTorch's.

    Args:
        seed: As for ``torch.Generator.manual_seed``; None takes one that nobody knows.
    """
    import numpy as np

    class Torch(np.random.Generator):  # type: ignore[misc,unused-ignore]
        """numpy's generator with PyTorch's normal numbers."""

        def __init__(self, seed: int) -> None:
            super().__init__(np.random.MT19937(seed))
            self._words = np.random.RandomState(seed & 0xFFFFFFFF)
            self._next: float | None = None

        def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
            """Draw float32 numbers as ``torch.randn`` does."""
            shape = () if size is None else (size,) if isinstance(size, int) else tuple(size)
            count = int(np.prod(shape))
            drawn = self._many(count) if count >= _BLOCK else self._few(count)
            made = drawn.astype(dtype).reshape(shape)
            if out is None:
                return made if shape else made.item()
            out[...] = made
            return out

        def _uniform(self, count: int) -> Any:
            words = self._words.randint(0, 2**32, count, dtype=np.uint32)
            return (words & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)

        def _many(self, count: int) -> Any:
            values = self._uniform(count)
            whole = count - count % _BLOCK
            values[:whole] = _box_muller(values[:whole])
            if whole != count:  # the last block is drawn anew
                values[-_BLOCK:] = _box_muller(self._uniform(_BLOCK))
            return values

        def _few(self, count: int) -> Any:
            return np.array([self._one() for _ in range(count)], np.float32)

        def _one(self) -> float:
            if self._next is not None:
                kept, self._next = self._next, None
                return kept
            words = self._words.randint(0, 2**32, 4, dtype=np.uint32).astype(np.uint64)
            first, second = (((words[i] << np.uint64(32)) | words[i + 1]) & np.uint64(2**53 - 1) for i in (0, 2))
            angle, far = 2 * np.pi * float(first) * 2.0**-53, np.sqrt(-2 * np.log1p(-float(second) * 2.0**-53))
            self._next = float(far * np.sin(angle))
            return float(far * np.cos(angle))

    return Torch(np.random.SeedSequence().entropy % 2**63 if seed is None else seed)  # type: ignore[operator,unused-ignore]


def _box_muller(values: Any) -> Any:
    import numpy as np

    blocks = values.reshape(-1, 2, _BLOCK // 2)
    far = np.sqrt(np.float32(-2) * np.log(1 - blocks[:, 0]))
    angle = np.float32(2 * np.pi) * blocks[:, 1]
    return np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1).reshape(-1)


class MindChance:
    """The random numbers of mindone's pipelines, for `_diffusers.run.Call`."""

    def generator(self, seed: int | None) -> np.random.Generator:
        """Return a generator for one answer."""
        return generator(seed)

    @contextmanager
    def kept(self, seed: int | None) -> Iterator[None]:
        """Keep numpy's and MindSpore's own random numbers, from which some schedulers draw beside the generator."""
        import numpy as np

        from modelscope_ext.models.backends._mindone.run import seeded

        state = np.random.get_state()
        if seed is not None:
            np.random.seed(seed % 2**32)
        try:
            with seeded(seed):
                yield
        finally:
            np.random.set_state(state)
