"""Step 5 of 6: the registries of models and backends, and `build_model`.

`MODELS` holds classes that contributors register; `BACKENDS` the libraries. Looking at either imports no library.

Example:
    >>> "transformers" in BACKENDS, BACKENDS.names()[:2]
    (True, ('transformers', 'sentence-transformers'))
    >>> BACKENDS.get("transfomers")
    Traceback (most recent call last):
    ...
    modelscope_ext.errors.RegistryError: backends: no 'transfomers'. Did you mean 'transformers'? ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from modelscope_ext.errors import RegistryError
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.backends import BUILTINS, canonical_backend
from modelscope_ext.utils.registry import Entry, Registry, build_from_cfg, default_group

__all__ = ["BACKENDS", "MODELS", "Backends", "build_model", "canonical_condition"]

_Class = TypeVar("_Class", bound=type[Backend])


def canonical_condition(condition: str, value: str) -> str:
    """Return the one spelling of a registry's condition: of tasks, frameworks and backends.

    Example:
        >>> canonical_condition("task", "text_classification"), canonical_condition("model_type", "My_Type")
        ('text-classification', 'My_Type')
    """
    from modelscope_ext.models.frameworks import canonical_framework
    from modelscope_ext.models.tasks import canonical

    spellings: dict[str, Callable[[str], str | None]] = {
        "task": canonical,
        "backend": canonical_backend,
        "framework": canonical_framework,
    }
    return spellings.get(condition, str)(value) or value


#: Model classes by name and by what they are for; other packages join by the entry-point group of that name.
MODELS = Registry("models", entry_points="modelscope_ext.models", normalise=canonical_condition)


class Backends:
    """The backends by name: the table of built-ins, what code registered, and other packages' entry points.

    A name of the table never leads to a search for plug-ins, and no plug-in can take it. The class of another package
    is imported when its name is asked for, or when all are asked for.

    Args:
        entry_points: The entry-point group through which other packages join.
    """

    def __init__(self, entry_points: str = "modelscope_ext.backends") -> None:
        self._classes = Registry("backends", entry_points=entry_points, base=Backend, reads={}, lazy=True)
        self._instances: dict[type[Backend], Backend] = {}
        self._names: tuple[object, tuple[str, ...]] = (None, ())
        for name, row in BUILTINS.items():
            self._classes.register_module(module_name=name, module_cls=row.path)

    @overload
    def register(self, name: str, cls: _Class, *, force: bool = False) -> _Class: ...

    @overload
    def register(self, name: str, cls: None = None, *, force: bool = False) -> Callable[[_Class], _Class]: ...

    def register(self, name: str, cls: Any = None, *, force: bool = False) -> Any:
        """Register a backend class under a name; without `cls`, return the decorator that does.

        Args:
            name: What users write in ``backend=``.
            cls: A subclass of `Backend`, or ``"pkg.mod:Class"``.
            force: Replace the one that has the name, a built-in too.

        Raises:
            RegistryError: Another backend has that name.
        """
        if cls is None:
            return lambda decorated: self.register(name, decorated, force=force)
        return self._classes.register_module(module_name=name, module_cls=cls, force=force)

    def get(self, name: str) -> Backend:
        """Return the backend of that name in any spelling; one instance is shared by all callers.

        Raises:
            RegistryError: Nobody has that name, two packages do, or its module cannot be imported.
        """
        return self._instance(self._entry(name))

    def names(self) -> tuple[str, ...]:
        """Return all names, those of the table first. No backend is imported."""
        entries = self._classes.entries
        if self._names[0] is not entries:
            self._names = entries, tuple(dict.fromkeys(entry.name for entry in entries))
        return self._names[1]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All sound entries; a new tuple after each registration."""
        return self._classes.entries

    def loadable(self, *, builtins: bool = True) -> tuple[tuple[str, Backend], ...]:
        """Return name and instance of every backend whose own module imports; what fails is logged and left out.

        Args:
            builtins: False leaves out the names of the table.
        """
        found = []
        for name in self.names():
            if name in BUILTINS and not builtins:
                continue
            try:
                found.append((name, self.get(name)))
            except RegistryError as error:
                from modelscope_ext.utils.logger import logger

                logger.warning("%s", error)
        return tuple(found)

    def list(self) -> tuple[Entry, ...]:
        """Return all entries, and at the end the plug-ins that could not be entered, each with its `error`."""
        return self._classes.list()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in BUILTINS or name in self._classes)

    def __repr__(self) -> str:
        return f"Backends({len(self._classes)} names)"

    @contextmanager
    def temporary(self) -> Iterator[Backends]:
        """Forget on leaving what is registered inside; made for tests."""
        with self._classes.temporary():
            yield self

    def _entry(self, name: str) -> Entry:
        """Look up the name as given, then in its usual spelling; an alias of a built-in is a built-in's name."""
        usual = canonical_backend(name) if isinstance(name, str) else name
        return self._classes.entry(usual if usual in BUILTINS or name not in self._classes else name)

    def _instance(self, entry: Entry) -> Backend:
        cls = entry.load()
        instance = self._instances.get(cls)
        return instance if instance is not None else self._instances.setdefault(cls, cls())


#: The one table of backends of this process.
BACKENDS = Backends()


def build_model(cfg: Any, task_name: str | None = None, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build the registered model that ``cfg["type"]`` names, as ModelScope's function of that name.

    Args:
        cfg: A mapping (a Config too) with ``type``; its other keys are arguments. It is not changed.
        task_name: The task under which the name is looked up.
        default_args: Arguments that `cfg` does not have.

    Raises:
        RegistryError: Nobody registered that name for the task.
    """
    return build_from_cfg(cfg, MODELS, group_key=task_name or default_group, default_args=default_args)
