"""The small base of the frozen dataclasses that the steps hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Record", "plain"]


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
