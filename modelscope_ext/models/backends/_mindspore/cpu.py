"""`mindspore_cpu`: what MindSpore's CPU side lacks, or computes wrongly, done with what it has.

`install` puts a gate before each kernel and call of the table (`kernels/`). The first call that reaches a gate tries
the installed MindSpore once, with a small sample, and waits for the outcome, because kernels run asynchronously and a
failure would otherwise surface in a later call. Where MindSpore has the kernel, it is used; only where it says that it
has not, the replacement runs. Nothing happens on any other device. Numbers are those of PyTorch's CPU kernels up to
rounding; what goes through numpy (sorting, pooling, padding, random numbers) passes no gradient on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from threading import RLock
from typing import Any

from modelscope_ext.models.backends._mindspore.kernels import all_rows
from modelscope_ext.models.backends._mindspore.lazy import ms, np
from modelscope_ext.models.backends._mindspore.rows import Of, Row
from modelscope_ext.utils.record import Record

__all__ = ["Report", "install", "installed", "probe", "report"]

#: How MindSpore says that there is no such kernel on a CPU. Any other failure is the caller's to see.
_LACKS = re.compile(
    r"unregistered|Not implement exception|Not found op|Create kernelmod for op \w+ failed|[Ss]upports? (?:on )?Ascend"
    r"|only supports Ascend|not supported on this device|Create device context failed|has no attribute"
    r"|is missing|is inexact|argument\[\w+ type\] must be a type of|Unsupported (?:data type|op)"
)

#: Largest difference from a known value that counts as rounding in float32.
_EXACT = 1e-6

_lock = RLock()
_gates: dict[str, _Gate] = {}


@dataclass(frozen=True)
class Report(Record):
    """What became of the table in this process.

    Attributes:
        replaced: Name -> what MindSpore said when it was tried.
        native: Names that MindSpore has itself.
        unclear: Name -> another failure of the sample; left as it is.
        untried: Names that no call has reached yet.
    """

    replaced: dict[str, str]
    native: tuple[str, ...]
    unclear: dict[str, str]
    untried: tuple[str, ...]


class _Gate:
    """Decides once whether a row is needed."""

    def __init__(self, row: Row, original: Callable[..., Any] | None, sample: Callable[[], Any]) -> None:
        self.row, self.original, self.sample = row, original, sample
        self.lacks: bool | None = None
        self.said = ""

    def needed(self) -> bool:
        """Whether MindSpore lacks it; tried with the first call."""
        if self.lacks is None:
            with _lock:
                if self.lacks is None:
                    missing = self.original is None
                    self.said = "is missing" if missing else _failure(self.sample, self.row.expected)
                    self.lacks = bool(_LACKS.search(self.said))
        return self.lacks


def install(device: str = "CPU") -> bool:
    """Put a gate before each row, once per process, and say whether they stand. Call it before mindone is imported.

    Args:
        device: MindSpore's name of the device in use; nothing is done for another one than ``"CPU"``.
    """
    if device != "CPU":
        return False
    with _lock:
        if not _gates:
            for row in all_rows().values():
                gate = _before_kernel(row) if row.is_kernel else _before_call(row)
                if gate is not None:
                    _gates[row.name] = gate
    return True


def installed() -> bool:
    """Whether the gates stand in this process."""
    return bool(_gates)


def probe() -> Report:
    """Try every row now, instead of each with its first call, and return the report."""
    install()
    for gate in list(_gates.values()):
        gate.needed()
    return report()


def report() -> Report:
    """Return what was replaced so far in this process."""
    gates = [_gates[name] for name in sorted(_gates)]
    return Report(
        replaced={gate.row.name: gate.said for gate in gates if gate.lacks},
        native=tuple(gate.row.name for gate in gates if gate.lacks is False and not gate.said),
        unclear={gate.row.name: gate.said for gate in gates if gate.lacks is False and gate.said},
        untried=tuple(gate.row.name for gate in gates if gate.lacks is None),
    )


def _before_kernel(row: Row) -> _Gate | None:
    """Stand before a primitive, and before the form of it whose settings are arguments."""
    from mindspore.ops.auto_generate import gen_ops_prim, pyboost_inner_prim

    kind = getattr(gen_ops_prim, row.name, None)
    if kind is None:
        return None
    original = kind.__call__
    gate = _Gate(row, original, lambda: original(kind(**row.settings), *_made(row.sample)))

    @wraps(original)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        if gate.needed():
            return row.run(*args, *(getattr(self, name) for name in row.settings), **options)
        return original(self, *args, **options)

    kind.__call__ = called
    inner = getattr(pyboost_inner_prim, f"_Pyboost{row.name}Prim", None)
    if inner is not None:
        _before_inner(inner, gate)
    return gate


def _before_inner(inner: Any, gate: _Gate) -> None:
    direct = inner.__call__

    @wraps(direct)
    def called(self: Any, *args: Any) -> Any:
        return gate.row.run(*args) if gate.needed() else direct(self, *args)

    inner.__call__ = called


def _before_call(row: Row) -> _Gate | None:
    """Stand before a function of a module, or a method of Tensor; a name that is absent is added."""
    *path, name = row.name.split(".")
    owner = ms
    for part in path:
        owner = getattr(owner, part, None)
    if owner is None:
        return None
    original = getattr(owner, name, None)

    def sample() -> Any:
        assert original is not None
        return original(*_made(row.sample))

    gate = _Gate(row, original, sample)

    @wraps(row.run if original is None else original)
    def called(*args: Any, **options: Any) -> Any:
        return row.run(*args, **options) if original is None or gate.needed() else original(*args, **options)

    setattr(owner, name, called)
    return gate


def _made(sample: Any) -> Any:
    """Return a sample's arguments with its tensors made."""
    if isinstance(sample, Of):
        return sample.make()
    return tuple(map(_made, sample)) if isinstance(sample, tuple) and _holds(sample) else sample


def _holds(sample: tuple[Any, ...]) -> bool:
    return any(isinstance(one, Of) or (isinstance(one, tuple) and _holds(one)) for one in sample)


def _failure(sample: Callable[[], Any], expected: tuple[float, ...] = ()) -> str:
    """Return how a call failed, or an empty string; whatever it left running has come to an end."""
    try:
        made = sample()
        _finished(made)
        if expected and np.abs(made.asnumpy() - np.array(expected)).max() > _EXACT:
            return f"is inexact: gives {made.asnumpy().tolist()}, not {list(expected)}"
    except Exception as error:  # noqa: BLE001 - every failure is an answer here
        _settle()
        lines = [line.strip(" -") for line in str(error).splitlines()]
        return f"{type(error).__name__}: {' '.join(filter(None, lines))[:200]}"
    return ""


def _finished(value: Any) -> None:
    if isinstance(value, ms.Tensor):
        value.asnumpy()
    elif isinstance(value, tuple | list):
        for one in value:
            _finished(one)


def _settle(tries: int = 50) -> None:
    """Wait until a failure of the queue has been told and the queue works again."""
    good = 0
    for _ in range(tries):
        try:
            (ms.Tensor(np.ones(1, np.float32)) + 1).asnumpy()
            good += 1
        except Exception:  # noqa: BLE001 - the failure that was reported already
            good = 0
        if good == 2:
            return
