"""What is known about a model class: what it declares and what it was registered with, in one record.

Example:
    >>> class Tagger:
    ...     tasks = ("token-classification",)
    ...     license = "mit"
    >>> known = ModelMetadata.of(Tagger)
    >>> known.default_task, known.framework, known.extra
    ('token-classification', None, {'license': 'mit'})
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelscope_ext.models.builder import MODELS, canonical_condition
from modelscope_ext.utils.entry import CONDITIONS, Entry, declared, path_of
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.registry import Registry

__all__ = ["ModelMetadata"]

_PLAIN = (str, int, float, bool, tuple, list, dict, set, frozenset, type(None))


@dataclass(frozen=True)
class ModelMetadata(Record):
    """A model class's metadata; nothing of it is written to the class.

    Attributes:
        name: The class's name.
        path: ``"pkg.mod:Class"``.
        tasks: Canonical names, the class's own first; the first is the default.
        frameworks: E.g. ``("pytorch",)``, the usual one first.
        backends: The backends it belongs to.
        model_types: The architectures it is made for.
        requirement_dependency: PEP 508 strings that a load needs.
        names: The names it is registered under.
        origins: Who registered it.
        extra: What else the class declares: public attributes that are plain values.
    """

    name: str
    path: str
    tasks: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    model_types: tuple[str, ...] = ()
    requirement_dependency: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: type, registry: Registry = MODELS) -> ModelMetadata:
        """Return what `model` declares and what `registry` knows about it.

        Args:
            model: A model class, registered or not.
            registry: Where registrations are looked up.
        """
        entries = [entry for entry in registry if entry.target is model or entry.path == path_of(model)]
        merged = {condition: tuple(_merged(model, condition, entries)) for condition in CONDITIONS}
        return cls(
            name=model.__name__,
            path=path_of(model),
            tasks=merged["task"],
            frameworks=merged["framework"],
            backends=merged["backend"],
            model_types=merged["model_type"],
            requirement_dependency=tuple(_values(declared(model, "requirement_dependency"))),
            names=tuple(entry.name for entry in entries),
            origins=tuple(dict.fromkeys(entry.origin for entry in entries)),
            extra=_extra(model),
        )

    @property
    def default_task(self) -> str | None:
        """The first task."""
        return self.tasks[0] if self.tasks else None

    @property
    def framework(self) -> str | None:
        """The usual framework."""
        return self.frameworks[0] if self.frameworks else None

    @property
    def backend(self) -> str | None:
        """The usual backend."""
        return self.backends[0] if self.backends else None

    @property
    def model_type(self) -> str | None:
        """The first architecture."""
        return self.model_types[0] if self.model_types else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the default of each list as JSON types."""
        first = {"default_task": self.default_task, "framework": self.framework, "backend": self.backend}
        return {**super().to_dict(), **first, "model_type": self.model_type}


def _merged(model: type, condition: str, entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the values of one condition, each once: the class's own, then those of its registrations."""
    own = (canonical_condition(condition, value) for value in _values(declared(model, CONDITIONS[condition])))
    registered = (value for entry in entries for value in getattr(entry, condition))
    yield from dict.fromkeys((*own, *registered))


def _values(said: Any) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said or ())


def _extra(model: type) -> dict[str, Any]:
    """Return what the class, and those of its bases that come from the same package, declare beyond `Model`'s own."""
    from modelscope_ext.models.base import Model

    package = model.__module__.partition(".")[0]
    bases = [base for base in reversed(model.__mro__) if base.__module__.partition(".")[0] == package]
    public = {name: value for base in bases for name, value in vars(base).items() if not name.startswith("_")}
    return {name: value for name, value in public.items() if not hasattr(Model, name) and isinstance(value, _PLAIN)}
