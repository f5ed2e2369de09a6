"""What the caller asked a decision for: task, backend and framework, checked and in canonical spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends import BUILTINS, canonical_backend
from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.decision.libraries import LIBRARIES
from modelscope_ext.models.decision.recognised import find
from modelscope_ext.models.frameworks import canonical_framework
from modelscope_ext.models.tasks import TASKS, canonical
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["Asked"]


class Asked:
    """The caller's arguments, checked and in canonical spelling.

    Raises:
        OptionError: An unknown task, backend or framework; the message has the nearest and lists what there is.
    """

    def __init__(self, task: str | None, backend: str | None, framework: str | None, evidence: Evidence) -> None:
        self.backend = _known_backend(backend, evidence) if backend is not None else None
        self.framework = canonical_framework(framework, strict=True) if framework is not None else None
        self.task = _known_task(task, evidence) if task is not None else None


def _known_backend(spelling: str, evidence: Evidence) -> str:
    if not isinstance(spelling, str):
        raise OptionError(f"backend must be a str, not {type(spelling).__name__}: {printable(spelling)}")
    name = canonical_backend(spelling)
    row = find(name)
    if name in BUILTINS or row is not None:
        return row.name if row is not None and name not in BUILTINS else name
    if spelling in BACKENDS or name in BACKENDS:
        return spelling if spelling in BACKENDS else name
    conditions = {backend for entry in MODELS for backend in entry.backend or ()}
    if spelling in conditions or name in conditions:
        return name
    known = {*BACKENDS.names(), *conditions}
    every = {*known, *(row.name for row in LIBRARIES)}
    raise OptionError(
        f"Unknown backend {printable(spelling)!r}.{did_you_mean(name, every)} Loadable: {listing(known)}. "
        f"Also recognised: {listing(every - known)}; `modelscope-ext list backends` shows all."
    )


def _known_task(spelling: str, evidence: Evidence) -> str:
    task = canonical(spelling)
    if task in TASKS:
        return str(task)
    own = {t for entry in MODELS for t in entry.task or ()}
    own |= {t for f in evidence.declared.get("tasks", ()) if isinstance(f.value, str) and (t := canonical(f.value))}
    return task if task in own and task else str(canonical(spelling, strict=True))
