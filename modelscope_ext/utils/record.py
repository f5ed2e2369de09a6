"""The small base of the frozen dataclasses that the steps hand to each other, and a quick way to declare them.

`dataclasses.dataclass(frozen=True)` writes and compiles six methods for a class; for the forty classes of a short
command that was a third of its time. `dataclass` here is the same to those who use the class: fields, `replace`,
comparison, hash, `repr` and the error on assignment. Its methods are shared by all classes, and the one that has to be
compiled, `__init__`, is so when a class is first used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["Record", "dataclass", "plain"]


class Record:
    """Gives a frozen dataclass `to_dict()`, whose result `json.dumps` accepts."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types: nested records become dicts, tuples become lists."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]


def plain(value: Any) -> Any:
    """Return `value` in JSON types; what has none is given by its `str()`.

    Example:
        >>> plain({"a": (1, None)})
        {'a': [1, None]}
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Record) or (is_dataclass(value) and not isinstance(value, type)):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)


def _declared(*, frozen: bool) -> Callable[[type], type]:
    """Return the decorator of a frozen dataclass without `InitVar`, keyword-only fields or a record as its base."""
    if not frozen:
        raise TypeError("dataclass(frozen=False): declare it with dataclasses.dataclass")
    return _record


def _record(cls: type) -> type:
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    methods = {"__eq__": _eq, "__hash__": _hash, "__repr__": _repr, "__init__": _late_init(cls)}
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)
    cls.__setattr__ = _refuse_to_set  # type: ignore[method-assign, assignment]
    cls.__delattr__ = _refuse_to_delete  # type: ignore[method-assign, assignment]
    cls.__signature__ = _Signature()  # type: ignore[attr-defined]
    said = cls.__dataclass_params__  # type: ignore[attr-defined]
    said.init = said.repr = said.eq = said.frozen = True
    return cls


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = _declared


def _late_init(cls: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        _settle(cls)(self, *args, **kwargs)

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _settle(cls: Any) -> Any:
    """Compile the `__init__` of a class, in place of the one that calls this."""
    names: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    parameters, body = [], []
    for field in fields(cls):
        name = field.name
        value = name
        if field.default is not MISSING:
            names[f"_of_{name}"] = field.default
            parameters.append(f"{name}=_of_{name}")
        elif field.default_factory is not MISSING:
            names[f"_of_{name}"] = field.default_factory
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

        made = signature(_settle(cls))
        return made.replace(parameters=list(made.parameters.values())[1:])


@cache
def _compared(cls: type) -> Callable[[Any], Any]:
    names = [field.name for field in fields(cls) if field.compare]
    return attrgetter(*names) if names else lambda _: ()


@cache
def _hashed(cls: type) -> Callable[[Any], Any]:
    chosen = (field for field in fields(cls) if (field.compare if field.hash is None else field.hash))
    names = [field.name for field in chosen]
    return attrgetter(*names) if names else lambda _: ()


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    values = _compared(self.__class__)
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(_hashed(self.__class__)(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    if "__signature__" in self.__class__.__dict__ or name in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: Any, name: str) -> None:
    if "__signature__" in self.__class__.__dict__ or name in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)
