"""Registry: classes by name and by what they are for, with ModelScope's call forms and readable errors.

An entry has a name and conditions. `get`, `build_from_cfg` and a config's ``type`` look up the name; `select` takes the
entry whose conditions all hold, the one with most of them first. Entries come from code (`register_module`) and from
other packages' entry points (`utils.plugins`), which are loaded on first need.

Example:
    >>> models = Registry("models")
    >>> @models.register_module(task="text-classification", backend="transformers")
    ... class MyClassifier: ...
    >>> models.select(task="text-classification", backend="transformers", framework="pytorch").name
    'MyClassifier'
    >>> models.get("MyClassifier") is MyClassifier
    True
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from modelscope_ext.errors import OptionError, RegistryError
from modelscope_ext.utils.conditions import Conditions
from modelscope_ext.utils.distributions import EntryPoint
from modelscope_ext.utils.entry import (
    CONDITIONS,
    Condition,
    Entry,
    brief,
    default_group,
    held,
    met_all,
    path_of,
    rank,
    same,
    settle,
    ships_with_us,
    written,
)
from modelscope_ext.utils.plugins import PlugIns, current_origin, import_string
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["CONDITIONS", "Condition", "Entry", "Registry", "build_from_cfg", "default_group"]


class Registry:
    """Entries by name and conditions. Safe to use from several threads.

    Args:
        name: What error messages call it, e.g. ``"models"``.
        entry_points: The entry-point group through which other packages register.
        base: The class that every registered class must derive from, if any.
        normalise: Called with a condition's name and a value, returns the spelling that is compared and shown.
        reads: The class attributes that conditions are read from when left out; empty to read none.
        lazy: Enter a plug-in's ``name = pkg.mod:Class`` without importing it.
    """

    def __init__(
        self,
        name: str,
        *,
        entry_points: str | None = None,
        base: type | None = None,
        normalise: Callable[[str, str], str] | None = None,
        reads: Mapping[str, str] = CONDITIONS,
        lazy: bool = False,
    ) -> None:
        self._name = name
        self._conditions = Conditions(name, base, normalise, reads)
        self._lazy = lazy
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] = ()  # replaced as a whole, so that readers need no lock
        self._found: dict[tuple[str, str | None], Any] = {}  # what `get` answered since; replaced together with them
        self._plugins = PlugIns(entry_points or "", self._load_plugin)

    def register_module(
        self,
        group_key: Condition = default_group,
        module_name: str | None = None,
        module_cls: Any = None,
        force: bool = False,
        *,
        task: Condition = None,
        backend: Condition = None,
        framework: Condition = None,
        model_type: Condition = None,
    ) -> Any:
        """Register a class or function; without `module_cls`, return the decorator that does.

        Conditions left out are read from the class's `tasks`, `framework`, `backend` and `model_type`. The class itself
        is not changed. ModelScope's positional group is a task by which `get` finds the entry; written ``task=``, or
        beside another condition, it also makes `select` choose the entry.

        Args:
            group_key: ModelScope's first argument: the task.
            module_name: The name; default the class's own.
            module_cls: The class, a function, or ``"pkg.mod:Class"``, which is imported on first use.
            force: Replace what is registered under the same name and conditions.
            task: One task, several of which one must hold, or None for any; so the next three.
            backend: E.g. ``"transformers"``.
            framework: E.g. ``"pytorch"``.
            model_type: E.g. ``"bert"``.

        Returns:
            `module_cls`, or the decorator.

        Raises:
            RegistryError: Something else has that name and those conditions, or the class contradicts them.
            OptionError: An argument of the wrong type, or two different tasks.

        Example:
            >>> registry = Registry("models")
            >>> _ = registry.register_module("fill-mask", "lazy", "fractions:Fraction")
            >>> registry.get("lazy", "fill-mask").__name__
            'Fraction'
        """
        if isinstance(group_key, type) or callable(group_key):
            raise OptionError(f"{self._name}: write @register_module() with brackets above {path_of(group_key)}")
        if not (module_name is None or isinstance(module_name, str)):
            raise OptionError(f"{self._name}: module_name must be a string or None, not {_kind(module_name)}")
        task, grouped = self._conditions.task(group_key, task)
        given = {"task": task, "backend": backend, "framework": framework, "model_type": model_type}
        conditions = {name: self._conditions.values(name, value) for name, value in given.items()}

        def register(target: Any) -> Any:
            self._add(self._conditions.entry(target, module_name, conditions, force=force, grouped=grouped))
            return target

        return register if module_cls is None else register(module_cls)

    def _add(self, entry: Entry) -> None:
        with self._lock:
            rivals = [one for one in self._entries if one.key == entry.key]
            if entry.forced:
                if rivals and current_origin():  # who installs a package should learn what it takes the place of
                    from modelscope_ext.utils.logger import logger

                    logger.warning("%s: %s replaces %s", self._name, entry, rivals[0])
                at = self._entries.index(rivals[0]) if rivals else len(self._entries)
                kept = [[one for one in part if one not in rivals] for part in (self._entries[:at], self._entries[at:])]
                self._replace((*kept[0], entry, *kept[1]))
                return
            if any(same(one, entry) for one in rivals) or any(one.forced for one in rivals if current_origin()):
                return
            # Two packages that claim one key: neither may win by being found first, so `get` and `select` refuse both.
            if all(current_origin() and one.origin != entry.origin and not ships_with_us(one) for one in rivals):
                self._replace((*self._entries, entry))
                return
        raise RegistryError(
            f"{self._name}: {rivals[0]} is already registered; {entry} would replace it. Choose another module_name,"
            " add a condition, or pass force=True"
        )

    def _replace(self, entries: tuple[Entry, ...]) -> None:
        self._entries, self._found = entries, {}

    def _load_plugin(self, point: EntryPoint) -> None:
        if self._lazy:
            self._add(self._conditions.entry(point.value, point.name, {}))
            return
        loaded = import_string(point.value)
        if ":" in point.value:
            self._add(self._conditions.entry(loaded, point.name, {}))

    def get(
        self,
        module_name: str,
        group_key: str | None = default_group,
        **conditions: str | None,
    ) -> Any:
        """Return the class or function of that name, imported if need be. (ModelScope's returns None for no such name.)

        What is not asked for may be anything. Of several entries the one that meets most of what is asked wins, then
        the one that ships with this package, then the one with fewest conditions that were not asked for.

        Args:
            module_name: The name it was registered under.
            group_key: ModelScope's second argument: the task.
            **conditions: `task`, `backend`, `framework` and `model_type`, as far as they are known.

        Raises:
            RegistryError: No such name, or several entries that are equally good.
        """
        found = self._found  # an answer about entries that are replaced meanwhile is kept with them, not for later
        if not conditions:
            try:
                return found[module_name, group_key]
            except (KeyError, TypeError):
                pass
        target = self.entry(module_name, group_key, **conditions).load()
        if not conditions:
            found[module_name, group_key] = target
        return target

    def entry(self, module_name: str, group_key: str | None = default_group, **conditions: str | None) -> Entry:
        """Return the entry that `get` would load, without importing its class."""
        if not isinstance(module_name, str):
            raise OptionError(f"{self._name}: a name is a string, not {_kind(module_name)}")
        query = self._conditions.query(group_key, conditions)
        named = [one for one in self._entries if one.name == module_name]
        if not any(ships_with_us(one) and met_all(one, query) for one in named):  # else no plug-in could be better
            self._plugins.discover()
            named = [one for one in self._entries if one.name == module_name]
        ranked = [(value, one) for one in named if (value := rank(one, query)) is not None]
        if not ranked:
            self._not_found(module_name, named, query)
        best = max(value for value, _ in ranked)
        return self._one([one for value, one in ranked if value == best], query)

    def select(
        self,
        *,
        name: str | None = None,
        task: str | None = None,
        backend: str | None = None,
        framework: str | None = None,
        model_type: str | None = None,
    ) -> Entry | None:
        """Return the most specific entry whose conditions all hold, or None.

        Args:
            name: The type a configuration names (ModelScope's `model.type`); an entry of that name comes first.
            task: What is known; None where nothing is, and then no entry that asks for it matches. So the next three.
            backend: The backend's name.
            framework: The framework's name.
            model_type: The architecture's name.

        Raises:
            RegistryError: Several entries match with equally many conditions.
        """
        self._plugins.discover()
        given = {"task": task, "backend": backend, "framework": framework, "model_type": model_type}
        query = self._conditions.query(None, given)
        if name is not None and any(one.name == name and rank(one, query) is not None for one in self._entries):
            return self.entry(name, **given)
        fits = [(count, one) for one in self._entries if not one.by_name and (count := held(one, query)) is not None]
        most = max((count for count, _ in fits), default=0)
        return self._one([one for count, one in fits if count == most], query) if fits else None

    def _one(self, entries: list[Entry], query: Mapping[str, str]) -> Entry:
        if all(same(one, entries[0]) for one in entries):
            return entries[0]
        asked = written(query) or f"the name {entries[0].name!r}"
        both = "\n".join(f"  {one}" for one in entries)
        raise RegistryError(
            f"{self._name}: {len(entries)} entries are equally good for {asked}:\n{both}\n{settle(entries, query)}"
        )

    def _not_found(self, name: str, named: list[Entry], query: Mapping[str, str]) -> None:
        asked = written(query)
        text = f"{self._name}: no {printable(name)!r}" + (f" for {asked}." if asked else ".")
        if named:
            text += "\n" + "\n".join(f"  There is {one}" for one in named)
        else:
            names = {one.name for one in self._entries}
            text += did_you_mean(name, names) + f" Registered: {listing(names)}."
        broken = self._plugins.broken
        causes = [error for point, error in broken if point.name == name] or [error for _, error in broken]
        for point, error in broken:
            text += f"\n  Plug-in {point.name!r} of {point.package} could not be loaded: {brief(error)}"
        raise RegistryError(text) from (causes[0] if causes else None)

    @property
    def name(self) -> str:
        """What error messages call this registry."""
        return self._name

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All sound entries, in the order of registration; plug-ins are loaded first."""
        self._plugins.discover()
        return self._entries

    @property
    def broken(self) -> tuple[Entry, ...]:
        """The plug-ins that could not be loaded; each entry's `error` says why, and its `load()` raises it."""
        self._plugins.discover()
        return tuple(
            Entry(point.name, point.value, origin=f"entry point {point.name!r} of {point.package}", error=error)
            for point, error in self._plugins.broken
        )

    @property
    def modules(self) -> Mapping[str, Mapping[str, Any]]:
        """A read-only view as in ModelScope: group -> name -> class (or ``"pkg.mod:Class"`` before its first use)."""
        groups: dict[str, dict[str, Any]] = {default_group: {}}
        for one in self.entries:
            for group in one.task or (default_group,):
                groups.setdefault(group, {}).setdefault(one.name, one.target)
        return MappingProxyType({group: MappingProxyType(names) for group, names in groups.items()})

    def list(self) -> tuple[Entry, ...]:
        """Return all entries, the plug-ins that could not be loaded last."""
        return self.entries + self.broken

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, item: object) -> bool:
        """Whether there is such an entry, such a name, or such a pair of group and name."""
        if isinstance(item, Entry):
            return item in self.entries
        if isinstance(item, tuple) and len(item) == 2:
            group, name = item
            known = self.modules.get(group if group == default_group else self._conditions.values("task", group)[0], {})
            return name in known
        return any(one.name == item for one in self.entries)

    def __repr__(self) -> str:
        return f"Registry({self._name!r}, {len(self._entries)} entries)"

    @contextmanager
    def temporary(self) -> Iterator[Registry]:
        """Forget on leaving what is registered inside; made for tests.

        Plug-ins are loaded first: their modules run only once in a process, so they must not be forgotten.

        Example:
            >>> registry = Registry("models")
            >>> with registry.temporary():
            ...     _ = registry.register_module(module_cls=dict)
            >>> "dict" in registry
            False
        """
        before = self.entries
        try:
            yield self
        finally:
            with self._lock:
                self._replace(before)


def build_from_cfg(
    cfg: Any, registry: Registry, group_key: str | None = default_group, default_args: Mapping[str, Any] | None = None
) -> Any:
    """Build what ``cfg["type"]`` names, with the other keys as arguments. `cfg` is not changed.

    Whatever the class raises reaches the caller as it is; from Python 3.11 a note tells what was being built.

    Args:
        cfg: A mapping (a Config too) with the key ``type``: a registered name, a class or a function.
        registry: Where the name is looked up.
        group_key: The task or field it is looked up in.
        default_args: Arguments that `cfg` does not have; may also hold ``type``.

    Returns:
        The instance; of a class with `_instantiate`, what that returns.

    Raises:
        RegistryError: No ``type``, or nobody registered it.
        OptionError: An argument of the wrong type.

    Example:
        >>> registry = Registry("models")
        >>> _ = registry.register_module(module_cls=dict)
        >>> build_from_cfg({"type": "dict", "a": 1}, registry)
        {'a': 1}
    """
    if not isinstance(registry, Registry):
        raise OptionError(f"registry must be a modelscope_ext Registry, not {_kind(registry)}")
    arguments = {**_mapping(cfg, "cfg")}
    if default_args:
        arguments = {**_mapping(default_args, "default_args"), **arguments}
    if "type" not in arguments:
        raise RegistryError(f"{registry.name}: cfg needs the key 'type'; it has {listing(map(str, arguments))}")
    kind = arguments.pop("type")
    if not (isinstance(kind, str) or callable(kind)):
        raise OptionError(
            f"{registry.name}: 'type' must be a registered name, a class or a function: {printable(kind)}"
        )
    target = registry.get(kind, group_key) if isinstance(kind, str) else kind
    try:
        return getattr(target, "_instantiate", target)(**arguments)
    except Exception as error:
        if hasattr(error, "add_note"):
            error.add_note(
                f"While building {path_of(target)} from registry {registry.name!r} with {listing(map(str, arguments))}."
            )
        raise


def _mapping(value: Any, argument: str) -> Mapping[str, Any]:
    if type(value) is dict:
        return value
    if not isinstance(value, Mapping) and callable(getattr(value, "to_dict", None)):
        value = value.to_dict()  # a Config, ours or ModelScope's
    if not isinstance(value, Mapping):
        raise OptionError(f"{argument} must be a mapping, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return type(value).__name__
