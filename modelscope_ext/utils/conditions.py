"""What an entry of a registry asks for: read from arguments and classes, checked, and spelled one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from modelscope_ext.errors import OptionError, RegistryError
from modelscope_ext.utils.entry import CONDITIONS, Condition, Entry, declared, default_group, module_of, path_of, shown
from modelscope_ext.utils.plugins import current_origin
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["Conditions"]


class Conditions:
    """Reads conditions for one registry.

    Args:
        registry: The registry's name, for messages.
        base: The class that every registered class must derive from, if any.
        normalise: Called with a condition's name and a value, returns the spelling that is compared and shown.
        reads: The class attribute that each condition is read from when left out.
    """

    def __init__(
        self,
        registry: str,
        base: type | None = None,
        normalise: Callable[[str, str], str] | None = None,
        reads: Mapping[str, str] = CONDITIONS,
    ) -> None:
        self._registry = registry
        self._base = base
        self._reads = reads
        self._normalise = normalise or (lambda condition, value: value)

    def task(self, group_key: Condition, task: Condition) -> tuple[Condition, bool]:
        """Return the one task that both spellings mean, and whether it was given in ModelScope's."""
        group = None if group_key in (None, default_group) else group_key
        if group is not None and task is not None and self.values("task", group) != self.values("task", task):
            raise OptionError(
                f"{self._registry}: group_key={group!r} and task={task!r} are the same argument; pass one"
            )
        return (group, group is not None) if task is None else (task, False)

    def values(self, condition: str, value: object) -> tuple[str, ...]:
        """Return the values of one condition, checked and normalised, each once."""
        values = (value,) if isinstance(value, str) else () if value is None else value
        if not isinstance(values, tuple | list) or not all(isinstance(one, str) and one for one in values):
            raise OptionError(
                f"{self._registry}: {condition} must be a string, a tuple of strings or None, not {printable(value)}"
            )
        return tuple(dict.fromkeys(self._normalise(condition, one) for one in values))

    def query(self, group_key: str | None, conditions: Mapping[str, str | None]) -> dict[str, str]:
        """Return what is asked for, one value each; what is None is not asked for."""
        unknown = sorted(conditions.keys() - CONDITIONS.keys())
        if unknown:
            hint = did_you_mean(unknown[0], CONDITIONS)
            raise OptionError(f"{self._registry}: no condition {unknown[0]!r}; there are {listing(CONDITIONS)}.{hint}")
        query = {**conditions, "task": self.task(group_key, conditions.get("task"))[0]}
        for condition, value in query.items():
            if not (value is None or isinstance(value, str)):
                raise OptionError(f"{self._registry}: ask for one {condition} as a string, not {printable(value)}")
        return {name: self._normalise(name, value) for name, value in query.items() if isinstance(value, str)}

    def complete(self, target: Any, conditions: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Return the conditions, those left out read from the class, and refuse a contradiction between the two."""
        if not callable(target):
            raise RegistryError(f"{self._registry}: {path_of(target)} is neither a class nor a function")
        if self._base and not (isinstance(target, type) and issubclass(target, self._base)):
            raise RegistryError(f"{self._registry}: {path_of(target)} must be a subclass of {path_of(self._base)}")
        whole = {**dict.fromkeys(CONDITIONS, ()), **conditions}
        for condition, attribute in self._reads.items():
            said = self.values(condition, declared(target, attribute))
            given = conditions.get(condition, ())
            stray = [value for value in given if said and value not in said]
            if stray:
                raise RegistryError(
                    f"{self._registry}: {path_of(target)} is registered with {condition}={shown(given)}, but the class"
                    f" has {attribute}={shown(said)}; make them agree, or leave {condition}= out"
                )
            whole[condition] = given or said
        return whole

    def entry(
        self,
        target: Any,
        name: str | None,
        conditions: Mapping[str, tuple[str, ...]],
        *,
        force: bool = False,
        grouped: bool = False,
    ) -> Entry:
        """Return the entry of `target` under `name`, with the conditions that are given or that the class declares."""
        check: Callable[[Any], object] | None = None
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            if not module or not attribute:
                raise OptionError(f"{self._registry}: a class given as text is written 'pkg.mod:Class', not {target!r}")
            whole = {**dict.fromkeys(CONDITIONS, ()), **conditions}
            check = partial(self.complete, conditions=conditions)
        else:
            whole = self.complete(target, conditions)
        name = name or (attribute if isinstance(target, str) else getattr(target, "__name__", None))
        if not name:
            raise OptionError(f"{self._registry}: {printable(target)} has no __name__; pass module_name=")
        asked = {condition for condition, values in whole.items() if values}
        return Entry(
            name=name,
            target=target,
            task=whole["task"],
            backend=whole["backend"],
            framework=whole["framework"],
            model_type=whole["model_type"],
            origin=current_origin() or f"module {module_of(target)}",
            by_name=not asked or (grouped and asked == {"task"}),
            forced=force,
            check=check,
        )
