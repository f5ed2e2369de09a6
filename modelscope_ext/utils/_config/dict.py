"""ConfigDict: an `addict.Dict` whose absent keys are errors, built without addict's work per item."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import addict

__all__ = ["ConfigDict", "as_mapping", "own", "plain_dict"]

_ATOMS = frozenset((str, int, float, bool, type(None), bytes, complex))
_LISTS = (list, tuple)  # a constant: `list | tuple` would be built at each call
_all_atoms = _ATOMS.issuperset
_new = dict.__new__
_fill = dict.update
_set = dict.__setitem__


class ConfigDict(addict.Dict):  # type: ignore[misc]
    """A dict whose keys are attributes too; unlike addict's own, an absent key is an error and is never created.

    Dicts inside dicts, lists and tuples are converted (and so copied) when it is built.

    Example:
        >>> cfg = ConfigDict({"model": {"type": "bert"}, "hooks": [{"type": "Log"}]})
        >>> cfg.model.type, cfg["hooks"][0].type
        ('bert', 'Log')
        >>> cfg.modle
        Traceback (most recent call last):
        ...
        AttributeError: 'ConfigDict' object has no attribute 'modle'
        >>> cfg["modle"]
        Traceback (most recent call last):
        ...
        KeyError: 'modle'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for arg in args:
            if not arg:
                continue
            if isinstance(arg, tuple) and not isinstance(arg[0], tuple):
                arg = (arg,)  # addict takes one (key, value) pair as well
            _fill(self, arg)
        _fill(self, kwargs)
        _convert(type(self), self)

    @classmethod
    def _hook(cls, item: Any) -> Any:
        return own(item, cls)

    def __missing__(self, name: Any) -> Any:
        raise KeyError(name)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            pass
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setitem__(self, name: Any, value: Any) -> None:
        if getattr(self, "__frozen") and name not in self:
            raise KeyError(name)
        _set(self, name, value)

    def __or__(self, other: Any) -> Any:
        return self._joined(self, other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return self._joined(other, self) if isinstance(other, dict) else NotImplemented

    @classmethod
    def _joined(cls, first: dict[Any, Any], second: dict[Any, Any]) -> ConfigDict:
        new = cls(first)
        new.update(second)
        return new

    def to_dict(self) -> dict[Any, Any]:
        """Return plain dicts all the way down, also inside lists of lists; lists and tuples are copied.

        Example:
            >>> type(ConfigDict(a=[[{"b": 1}]]).to_dict()["a"][0][0])
            <class 'dict'>
        """
        return plain_dict(self)  # type: ignore[no-any-return]

    def copy(self) -> ConfigDict:
        """Return a copy that shares the values."""
        new = _new(type(self))
        _fill(new, self)
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfigDict:
        return _deepcopy(self, memo)  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (type(self), (), None, None, iter(self.items()))


for _name, _default in (("__frozen", False), ("__parent", None), ("__key", None)):
    setattr(ConfigDict, _name, _default)  # what addict's __init__ writes into every instance


def own(item: Any, cls: type[ConfigDict] = ConfigDict) -> Any:
    """Return `item` with every dict in it converted to `cls`; containers are copied, other objects are shared.

    Example:
        >>> own([{"a": 1}])[0].a
        1
    """
    if isinstance(item, dict):
        new = _new(cls)
        _fill(new, item)
        _convert(cls, new)
        return new
    if isinstance(item, _LISTS):
        if type(item) is list and _all_atoms(map(type, item)):
            return item.copy()
        return _like(item, [own(value, cls) for value in item])
    return item


def _convert(cls: type[ConfigDict], new: dict[Any, Any]) -> None:
    """Convert the values of `new` where they are containers."""
    if not _all_atoms(map(type, new.values())):
        for key, value in new.items():
            if type(value) not in _ATOMS:
                _set(new, key, own(value, cls))


def _like(item: Iterable[Any], values: list[Any]) -> Any:
    """Return `values` as the same kind of list or tuple as `item`."""
    kind: Any = type(item)
    if kind is list:
        return values
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


def plain_dict(item: Any) -> Any:
    """Return `item` with every ConfigDict in it as a dict; containers are copied.

    Example:
        >>> plain_dict((ConfigDict(a=1),))
        ({'a': 1},)
    """
    if isinstance(item, dict):
        new = dict(item)
        if not _all_atoms(map(type, new.values())):
            for key, value in new.items():
                if type(value) not in _ATOMS:
                    new[key] = plain_dict(value)
        return new
    if isinstance(item, _LISTS):
        if type(item) is list and _all_atoms(map(type, item)):
            return item.copy()
        return _like(item, [plain_dict(value) for value in item])
    return item


def _deepcopy(item: Any, memo: dict[int, Any]) -> Any:
    """What `copy.deepcopy` does, with a short way through the containers that configs are made of."""
    kind = type(item)
    if kind in _ATOMS:
        return item
    if kind is list or isinstance(item, ConfigDict):
        done = memo.get(id(item))
        if done is not None:
            return done
        if kind is list:
            new: Any = []
            memo[id(item)] = new
            if _all_atoms(map(type, item)):
                new += item
            else:
                new += [_deepcopy(value, memo) for value in item]
            return new
        new = _new(kind)
        memo[id(item)] = new
        _fill(new, item)
        for key, value in item.items():
            if type(value) not in _ATOMS:
                _set(new, key, _deepcopy(value, memo))
        return new
    return copy.deepcopy(item, memo)


def as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """Return `value` as a mapping if it is a dict, or a Config (ours or ModelScope's) around one."""
    if isinstance(value, Mapping):
        return value
    inside = getattr(value, "_cfg_dict", None)
    return inside if isinstance(inside, dict) else None
