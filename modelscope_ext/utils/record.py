"""The small base of the dataclasses that the steps hand to each other, and a quick way to declare them.

`dataclasses.dataclass` writes and compiles six methods for a class, and its module imports `inspect`, `ast` and
`tokenize`: for the forty classes of a short command that was a third of its time. `dataclass` here is the same to
those who use the class: fields, `replace`, comparison, hash, `repr` and the error on assignment. Its methods are shared
by all classes; `__init__` is compiled when a class is first used, and what `dataclasses` itself wants to know of a
class is made when it first asks.
"""

from __future__ import annotations

import sys
from _thread import RLock
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["Record", "dataclass", "field", "names_of", "plain", "replace"]


class Record:
    """Gives a dataclass `to_dict()`, whose result `json.dumps` accepts."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types: nested records become dicts, tuples become lists."""
        return {name: plain(getattr(self, name)) for name in names_of(type(self))}


def plain(value: Any) -> Any:
    """Return `value` in JSON types; what has none is given by its `str()`.

    Example:
        >>> plain({"a": (1, None)})
        {'a': [1, None]}
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(type(value), "__record__") or hasattr(type(value), "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in names_of(type(value))}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)


def names_of(cls: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, in order.

    Example:
        >>> from modelscope_ext.safety.finding import Finding
        >>> names_of(Finding)[:2]
        ('code', 'level')
    """
    if "__record__" in cls.__dict__:
        return tuple(one.name for one in cls.__record__)  # type: ignore[attr-defined]
    from dataclasses import fields

    return tuple(one.name for one in fields(cls))


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


_MISSING = _Missing()


class _Field:
    """One field, as it was declared."""

    __slots__ = ("compare", "default", "default_factory", "hash", "name", "repr")

    def __init__(self, default: Any, default_factory: Any, repr: bool, compare: bool, hash: bool | None) -> None:
        self.name = ""
        self.default, self.default_factory = default, default_factory
        self.repr, self.compare, self.hash = repr, compare, hash

    @classmethod
    def of(cls, given: Any) -> _Field:
        """Return the field that a class attribute declares: a default, ours, or one of `dataclasses.field`."""
        if isinstance(given, cls):
            return given
        theirs = sys.modules.get("dataclasses")
        if theirs is None or not isinstance(given, theirs.Field):
            return cls(given, _MISSING, True, True, None)
        default, factory = (
            _MISSING if value is theirs.MISSING else value for value in (given.default, given.default_factory)
        )
        return cls(default, factory, given.repr, given.compare, given.hash)


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    repr: bool = True,
    compare: bool = True,
    hash: bool | None = None,
) -> Any:
    """Declare a field as `dataclasses.field` does."""
    return _Field(default, default_factory, repr, compare, hash)


def _replace(record: Any, /, **changes: Any) -> Any:
    """Return a copy with other values, as `dataclasses.replace` does."""
    return type(record)(**{**{name: getattr(record, name) for name in names_of(type(record))}, **changes})


def _declared(*, frozen: bool) -> Callable[[type], type]:
    """Return the decorator of a dataclass without `InitVar`, keyword-only fields or a record as its base."""
    return lambda cls: _record(cls, frozen)


def _record(cls: Any, frozen: bool) -> type:
    if hasattr(cls, "__record__"):
        raise TypeError(f"{cls.__qualname__}: its base is a record; declare it with dataclasses.dataclass")
    declared = []
    for name in cls.__annotations__:
        one = _Field.of(given := cls.__dict__.get(name, _MISSING))
        one.name = name
        declared.append(one)
        if one.default is not _MISSING:
            setattr(cls, name, one.default)
        elif given is not _MISSING:
            delattr(cls, name)
    methods: dict[str, Any] = {"__eq__": _eq, "__repr__": _repr, "__init__": _late_init(cls), "__replace__": _replace}
    methods["__hash__"] = _hash if frozen else None
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)
    if frozen:
        cls.__setattr__, cls.__delattr__ = _refuse_to_set, _refuse_to_delete
    cls.__record__ = tuple(declared)
    setattr(cls, "__match_args__", tuple(one.name for one in declared))  # noqa: B010 - mypy takes it for final
    cls.__signature__ = _Signature()
    cls.__dataclass_fields__ = _Asked(cls, "__dataclass_fields__", frozen)
    cls.__dataclass_params__ = _Asked(cls, "__dataclass_params__", frozen)
    return cls  # type: ignore[no-any-return]


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:
    dataclass, field, replace = _declared, _field, _replace


class _Asked:
    """What `dataclasses` looks up in a class; when it first does, its own decorator is asked to make it."""

    _lock = RLock()

    def __init__(self, cls: type, name: str, frozen: bool) -> None:
        self._cls, self._name, self._frozen = cls, name, frozen

    def __get__(self, instance: Any, owner: type) -> Any:
        import dataclasses

        cls: Any = self._cls
        with self._lock:
            if cls.__dict__[self._name] is self:
                for one in cls.__record__:
                    flags = {"repr": one.repr, "compare": one.compare, "hash": one.hash}
                    for key in ("default", "default_factory"):
                        if getattr(one, key) is not _MISSING:
                            flags[key] = getattr(one, key)
                    setattr(cls, one.name, dataclasses.field(**flags))
                dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
                said = cls.__dataclass_params__
                said.init = said.repr = said.eq = True
                said.frozen = self._frozen
        return cls.__dict__[self._name]


def _late_init(cls: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        _settle(cls)(self, *args, **kwargs)

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _settle(cls: Any) -> Any:
    """Compile the `__init__` of a class, in place of the one that calls this."""
    names: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": _MISSING}
    parameters, body = [], []
    for one in cls.__record__:
        name = one.name
        value = name
        if one.default is not _MISSING:
            names[f"_of_{name}"] = one.default
            parameters.append(f"{name}=_of_{name}")
        elif one.default_factory is not _MISSING:
            names[f"_of_{name}"] = one.default_factory
            parameters.append(f"{name}=_MISSING")
            value = f"_of_{name}() if {name} is _MISSING else {name}"
        else:
            parameters.append(name)
        body.append(f" _set(self, {name!r}, {value})\n")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()\n")
    head = f"def __init__({', '.join(('self', *parameters))}):\n"
    exec(head + ("".join(body) or " pass"), names)  # nosec B102 # of the names of a class's own fields
    made = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = made
    return made


class _Signature:
    """What `inspect.signature` and `help` ask a class for."""

    def __get__(self, instance: Any, cls: type) -> Any:
        from inspect import signature

        own: Any = cls
        made = signature(_settle(own) if "__record__" in cls.__dict__ else own.__init__)
        return made.replace(parameters=list(made.parameters.values())[1:])


@cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    names = [one.name for one in cls.__record__ if one.compare]
    return attrgetter(*names) if names else lambda _: ()


@cache
def _hashed(cls: Any) -> Callable[[Any], Any]:
    names = [one.name for one in cls.__record__ if (one.compare if one.hash is None else one.hash)]
    return attrgetter(*names) if names else lambda _: ()


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    values = _compared(self.__class__)
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(_hashed(self.__class__)(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in self.__record__ if one.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    if "__record__" in self.__class__.__dict__ or name in self.__match_args__:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: Any, name: str) -> None:
    if "__record__" in self.__class__.__dict__ or name in self.__match_args__:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)
