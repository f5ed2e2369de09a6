"""JSON Schemas of what goes in and out: the OpenAPI document shows them, and requests are checked by the same.

Only the words of JSON Schema that stand here are known to `check`, so that nothing is promised and not held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.serve.refusal import Refused
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["check", "object_"]


def object_(required: tuple[str, ...] = (), *, open: bool = False, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object.

    Example:
        >>> object_(("a",), a={"type": "string"})["required"]
        ['a']
    """
    out: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": open}
    return {**out, "required": list(required)} if required else out


def check(schema: Mapping[str, Any], value: Any, place: str = "") -> None:
    """Raise Refused, naming the place, where `value` does not fit `schema`.

    Example:
        >>> check({"type": "array", "items": {"type": "integer"}}, [1, "a"], "input")
        Traceback (most recent call last):
        modelscope_ext.serve.refusal.Refused: input[1]: expected integer; got string
    """
    if "anyOf" in schema:
        _check_any(schema["anyOf"], value, place)
        return
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_TYPES[kind](value) for kind in kinds):
            raise Refused(400, f"{_at(place)}expected {' or '.join(kinds)}; got {_name(value)}", place or None)
    if "enum" in schema and value not in schema["enum"]:
        said = ", ".join(map(repr, schema["enum"][:20]))
        raise Refused(400, f"{_at(place)}expected one of {said}; got {printable(repr(value), 60)}", place or None)
    for word, holds, says in _BOUNDS:
        if word in schema and not holds(value, schema[word]):
            raise Refused(400, f"{_at(place)}expected {says} {schema[word]}; got {_measure(value)}", place or None)
    if isinstance(value, Mapping):
        _check_object(schema, value, place)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            check(schema["items"], item, f"{place}[{number}]")


def _check_any(schemas: list[Mapping[str, Any]], value: Any, place: str) -> None:
    problems = []
    for one in schemas:
        try:
            check(one, value, place)
            return
        except Refused as refused:
            problems.append(refused)
    # The one that came furthest into the value says most.
    raise max(problems, key=lambda refused: len(refused.param or ""))


def _check_object(schema: Mapping[str, Any], value: Mapping[str, Any], place: str) -> None:
    properties = schema.get("properties", {})
    dot = f"{place}." if place else ""
    for name in schema.get("required", ()):
        if name not in value:
            raise Refused(400, f"{_at(place)}the key {name!r} is missing", dot + name)
    for name, item in value.items():
        if name in properties:
            check(properties[name], item, dot + name)
        elif schema.get("additionalProperties", True) is False:
            near = did_you_mean(name, properties)
            raise Refused(400, f"{_at(place)}unknown key {printable(name, 60)!r}.{near}", dot + printable(name, 60))


def _at(place: str) -> str:
    return f"{place}: " if place else ""


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, Mapping),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": _is_whole,
    "number": lambda v: type(v) in (int, float),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}

_Test = Callable[[Any, Any], bool]
_BOUNDS: tuple[tuple[str, _Test, str], ...] = (
    ("minimum", lambda v, n: type(v) not in (int, float) or v >= n, "at least"),
    ("maximum", lambda v, n: type(v) not in (int, float) or v <= n, "at most"),
    ("minItems", lambda v, n: not isinstance(v, list) or len(v) >= n, "a list as long as"),
    ("maxItems", lambda v, n: not isinstance(v, list) or len(v) <= n, "a list no longer than"),
    ("minLength", lambda v, n: not isinstance(v, str) or len(v) >= n, "a text as long as"),
    ("maxLength", lambda v, n: not isinstance(v, str) or len(v) <= n, "a text no longer than"),
)


def _measure(value: Any) -> str:
    return f"length {len(value)}" if isinstance(value, str | list) else printable(repr(value), 40)


def _name(value: Any) -> str:
    return next((kind for kind, holds in _TYPES.items() if holds(value) and kind != "number"), "number")
