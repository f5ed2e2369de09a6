"""One registration: a name, a target, its conditions, and how well they meet what is asked.

Example:
    >>> entry = Entry("mine", "acme.models:Mine", task=("fill-mask",), backend=("transformers",))
    >>> rank(entry, {"task": "fill-mask"}), held(entry, {"task": "fill-mask"})
    ((1, False, -1), None)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from modelscope_ext.errors import RegistryError
from modelscope_ext.utils.plugins import import_string
from modelscope_ext.utils.record import Record, dataclass, field
from modelscope_ext.utils.text import printable

__all__ = [
    "CONDITIONS",
    "Condition",
    "Entry",
    "brief",
    "declared",
    "default_group",
    "held",
    "met_all",
    "module_of",
    "path_of",
    "rank",
    "same",
    "settle",
    "ships_with_us",
    "shown",
    "written",
]

#: The group of an entry that names no task (ModelScope's name for it).
default_group = "default"

#: What an entry may ask for, and the class attribute it is read from when left out.
CONDITIONS: Mapping[str, str] = MappingProxyType(
    {"task": "tasks", "backend": "backend", "framework": "framework", "model_type": "model_type"}
)

#: How a condition is written: one value, several of which one must hold, or None for any.
Condition = str | tuple[str, ...] | list[str] | None

_OURS = "modelscope_ext."


@dataclass(frozen=True)
class Entry(Record):
    """One registration.

    Attributes:
        name: What `get` and a config's ``type`` look up.
        target: The class or function, or ``"pkg.mod:Class"`` until it is needed.
        task: The tasks it serves; empty for any. The same holds for the next three.
        backend: The backends it belongs to.
        framework: The frameworks it runs in.
        model_type: The architectures it is made for.
        origin: Who registered it: a module, or an entry point and its package.
        by_name: True when it has no conditions, or only ModelScope's positional group: `select` passes it over.
        forced: Registered with ``force=True``; what comes later by an entry point does not replace it.
        error: Why this plug-in could not be loaded; None for a sound entry.
    """

    name: str
    target: Any
    task: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    framework: tuple[str, ...] = ()
    model_type: tuple[str, ...] = ()
    origin: str = ""
    by_name: bool = False
    forced: bool = False
    error: BaseException | None = None
    check: Callable[[Any], object] | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple[object, ...]:
        """What two entries may not share unless they are the same."""
        return (self.name, *self.conditions.values())

    @property
    def conditions(self) -> dict[str, tuple[str, ...]]:
        """The conditions by their argument's name; an empty tuple stands for any."""
        return {condition: getattr(self, condition) for condition in CONDITIONS}

    @property
    def path(self) -> str:
        """``"pkg.mod:Class"`` of the target."""
        return self.target if isinstance(self.target, str) else path_of(self.target)

    def load(self) -> Any:
        """Return the class or function, importing its module on first use.

        Raises:
            RegistryError: The module cannot be imported, or the class contradicts the registration.
        """
        if self.error is not None:
            raise RegistryError(f"{self} could not be loaded: {brief(self.error)}") from self.error
        if not isinstance(self.target, str):
            return self.target
        try:
            target = import_string(self.target)
        except (Exception, SystemExit) as error:
            raise RegistryError(f"{self} cannot be imported: {brief(error)}") from error
        if self.check is not None:
            try:
                self.check(target)
            except RegistryError as error:
                raise RegistryError(f"{error} ({self.origin or 'no origin'})") from error
        return target

    def to_dict(self) -> dict[str, Any]:
        """Return the public fields as JSON types."""
        hidden = {"check", "error", "target"}
        known = {name: value for name, value in super().to_dict().items() if name not in hidden}
        return {**known, "target": self.path, "error": brief(self.error) if self.error else None}

    def __str__(self) -> str:
        given = [f"{name}={shown(values)}" for name, values in self.conditions.items() if values]
        return f"{self.name!r} = {self.path} ({', '.join([*given, self.origin or 'no origin'])})"


def declared(target: Any, attribute: str) -> Any:
    """Return what a class says about itself, or None; properties and other descriptors say nothing."""
    value = getattr(target, attribute, None)
    return value if isinstance(value, str | tuple | list) and value else None


def rank(entry: Entry, query: Mapping[str, str]) -> tuple[int, bool, int] | None:
    """How well `entry` meets what is asked; None if a condition fails.

    Returns:
        How many conditions are met, whether it ships with this package, minus the conditions that nobody asked for.
    """
    conditions = [condition for condition, values in entry.conditions.items() if values]
    met = [condition for condition in conditions if condition in query]
    if any(query[condition] not in getattr(entry, condition) for condition in met):
        return None
    return len(met), ships_with_us(entry), len(met) - len(conditions)


def met_all(entry: Entry, query: Mapping[str, str]) -> bool:
    """Whether `entry` has a condition for everything that is asked, and meets it."""
    return all(asked in getattr(entry, condition) for condition, asked in query.items())


def held(entry: Entry, query: Mapping[str, str]) -> int | None:
    """How many conditions `entry` has, all of which hold; None if one does not."""
    conditions = {condition: values for condition, values in entry.conditions.items() if values}
    return len(conditions) if all(query.get(name) in values for name, values in conditions.items()) else None


def settle(entries: list[Entry], query: Mapping[str, str]) -> str:
    """Say which argument would tell `entries` apart."""
    for condition in CONDITIONS:
        values = [getattr(one, condition) for one in entries]
        if condition not in query and len(set(values)) > 1:
            choices = " or ".join(f"{condition}={value!r}" for one in dict.fromkeys(values) for value in one[:1])
            return f"Pass {choices}."
    names = list(dict.fromkeys(one.name for one in entries))
    free = [f"{condition}=" for condition in CONDITIONS if not any(getattr(one, condition) for one in entries)]
    if len(names) > 1:
        more = f", or register one of them with a further condition ({', '.join(free)})" if free else ""
        return f"Ask for one by its name, {' or '.join(map(repr, names))}{more}."
    return "Uninstall one of the packages, or register the one you mean again with force=True."


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries lead to the same class, one of them perhaps not imported yet."""
    if isinstance(one.target, str) or isinstance(other.target, str):
        return one.path == other.path
    return one.target is other.target


def ships_with_us(entry: Entry) -> bool:
    """Whether the entry's class is part of this package."""
    return f"{module_of(entry.target)}.".startswith(_OURS)


def module_of(target: Any) -> str:
    """Return the module of a class, a function or a ``"pkg.mod:Class"``."""
    return target.partition(":")[0] if isinstance(target, str) else getattr(target, "__module__", None) or "?"


def path_of(target: Any) -> str:
    """Return ``"pkg.mod:Class"`` for a class or function."""
    return f"{module_of(target)}:{getattr(target, '__qualname__', None) or printable(target)}"


def shown(values: tuple[str, ...]) -> str:
    """Return the values of a condition as they are written in code."""
    return repr(values[0]) if len(values) == 1 else repr(values)


def written(query: Mapping[str, str]) -> str:
    """Return what is asked for as it is written in a call, safe to show."""
    return ", ".join(f"{condition}={printable(value)!r}" for condition, value in query.items())


def brief(error: BaseException) -> str:
    """Return an exception as one short line."""
    return f"{type(error).__name__}: {printable(str(error), 300)}"
