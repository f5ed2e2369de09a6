"""The form of the table of CPU replacements: a row says what is missing, how to find out, and what to do instead.

A row names a kernel as MindSpore's own message does ("The kernel Embedding unregistered"), or a call that never
reaches one, as a path under `mindspore`. Its sample is a call that must succeed wherever the kernel exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from modelscope_ext.models.backends._mindspore.lazy import ms, np

__all__ = ["Of", "Row", "Table", "array", "tensor", "widened"]


@dataclass(frozen=True)
class Of:
    """A tensor of a sample call: its shape, its dtype by numpy's name, and its values, which else count up from one."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: tuple[float, ...] = ()

    def make(self) -> Any:
        """Return it as a tensor of MindSpore."""
        if self.values:
            return ms.Tensor(np.array(self.values, self.dtype).reshape(self.shape))
        size = int(np.prod(self.shape)) if self.shape else 1
        return ms.Tensor((np.arange(size).reshape(self.shape) % 3 + 1).astype(self.dtype))


@dataclass(frozen=True)
class Row:
    """One replacement.

    Attributes:
        name: The kernel, e.g. ``"Embedding"``, or the path of a call, e.g. ``"mint.empty"``.
        run: Does the same with what the CPU has; takes what the kernel takes, then the settings.
        sample: The arguments of a call that tells whether MindSpore has it.
        expected: What the call gives, where MindSpore has the kernel but is known to be wrong; () asks for any answer.
        settings: What the primitive was made with, which `run` takes after the inputs: its attributes, and their
            values in that call.
    """

    name: str
    run: Callable[..., Any]
    sample: tuple[Any, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    expected: tuple[float, ...] = ()

    @property
    def is_kernel(self) -> bool:
        """Whether it replaces a primitive, rather than a function or a method."""
        return "." not in self.name


class Table:
    """Rows by name, filled by a decorator: ``@TABLE.row("Mm", Of((2, 3)), Of((3, 2)))``."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def row(
        self,
        name: str,
        *sample: Any,
        settings: Mapping[str, Any] | None = None,
        expected: tuple[float, ...] = (),
    ) -> Callable[..., Any]:
        """Return a decorator that adds its function as the replacement of `name`."""

        def add(run: Callable[..., Any]) -> Callable[..., Any]:
            if name in self.rows:
                raise ValueError(f"{name} has a row already")
            self.rows[name] = Row(name, run, sample, settings or {}, expected)
            return run

        return add


def array(value: Any) -> Any:
    """Return a tensor as a numpy array that may be changed; bfloat16, which numpy lacks, as float32."""
    if not isinstance(value, ms.Tensor):
        return np.asarray(value)
    if value.dtype == ms.bfloat16:
        value = value.astype(ms.float32)
    return np.array(value.asnumpy())


def tensor(value: Any, dtype: Any = None) -> Any:
    """Return a numpy array as a tensor, of `dtype` where one is given."""
    made = ms.Tensor(np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value))
    return made if dtype is None or made.dtype == dtype else made.astype(dtype)


def widened(run: Callable[..., Any]) -> Callable[..., Any]:
    """Make `run` compute 16-bit floats in float32, and round the outcome once."""

    @wraps(run)
    def wide(*args: Any, **options: Any) -> Any:
        halves = [one.dtype for one in (*args, *options.values()) if _is_half(one)]
        if not halves:
            return run(*args, **options)
        made = run(*map(_wide, args), **{name: _wide(value) for name, value in options.items()})
        return _narrow(made, halves[0])

    return wide


def _is_half(value: Any) -> bool:
    return isinstance(value, ms.Tensor) and value.dtype in (ms.float16, ms.bfloat16)


def _wide(value: Any) -> Any:
    return value.astype(ms.float32) if _is_half(value) else value


def _narrow(value: Any, dtype: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_narrow(one, dtype) for one in value)
    return value.astype(dtype) if isinstance(value, ms.Tensor) and value.dtype == ms.float32 else value
