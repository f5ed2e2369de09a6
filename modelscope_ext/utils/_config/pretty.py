"""Python text of a configuration, laid out in one pass: what fits stands on one line, else one item a line.

yapf weighs many layouts against each other and needs 3 s for 100 kB; this needs milliseconds, and gives what yapf gives
for most configurations. Both texts are read back to the same values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any, NamedTuple

from modelscope_ext.utils._config.errors import ConfigKeyError, ConfigTypeError
from modelscope_ext.utils.text import printable

__all__ = ["Place", "at", "python_text"]

_WIDTH, _INDENT = 79, 4  # columns
_SHADOWING = ("globals", "dict")  # names that the text itself uses: assigned last, in this order


#: Types whose `repr` is their literal.
_PLAIN = frozenset((str, int, bool, bytes, type(None)))

#: Where a value is: what it is in, whether that is a list, and its key or index there. None is the top level.
Place = tuple[Any, bool, Any] | None


class _Group(NamedTuple):
    """A container: what opens and closes it, its items with what stands before each, and all of it on one line.

    `flat` is None where that is longer than any line.
    """

    start: str
    end: str
    items: list[tuple[str, Any]]
    flat: str | None


def python_text(values: Mapping[Any, Any], *, strict: bool) -> str:
    """Return `values` as assignments.

    Args:
        values: The top level.
        strict: Refuse what Python cannot read back; else show its `repr()`.

    Raises:
        ConfigError: `strict`, and a value or key has no literal form; the key is named.

    Example:
        >>> print(python_text({"model": {"type": "bert", "layers": [{"size": 1}]}, "a-b": (1,)}, strict=True), end="")
        model = dict(type='bert', layers=[dict(size=1)])
        globals()['a-b'] = (1, )
    """
    keys = [key for key in values if key not in _SHADOWING] + [key for key in _SHADOWING if key in values]
    call = "dict" not in values
    lines = []
    for key in keys:
        if strict and (not isinstance(key, str) or key.startswith("__")):
            raise ConfigKeyError(f"a .py configuration cannot hold the key {printable(repr(key), 60)}. Dump to .yaml.")
        name = f"{key} = " if _is_name(key) else f"globals()[{key!r}] = "
        node = _node(values[key], (None, False, key), strict, call or key == "dict")
        lines.append(f"{name}{_laid_out(node, 0, len(name), 0)}\n")
    return "".join(lines)


def at(place: Place) -> str:
    """Return where in a configuration a value is, for messages: ``a.b[0]``."""
    parts = []
    while place is not None:
        place, in_list, key = place
        parts.append(f"[{key}]" if in_list else f".{key}")
    return printable("".join(reversed(parts)).removeprefix("."), 200) or "the top level"


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isidentifier() and not iskeyword(key)


def _node(value: Any, place: Place, strict: bool, call: bool) -> str | _Group:
    """Return a value's text, or for a container the texts in it."""
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, str):
        return repr(str(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, complex):
        return _complex(complex(value))
    if isinstance(value, bool | bytes):
        return repr(value)
    if isinstance(value, Mapping):
        items = [(key, _node(item, (place, False, key), strict, call)) for key, item in value.items()]
        if call and all(map(_is_name, value)):
            return _group("dict(", ")", [(f"{key}=", node) for key, node in items])
        names = (_flat(_node(key, place, strict, call)) for key in value)
        return _group("{", "}", [(f"{name}: ", node) for name, (_, node) in zip(names, items, strict=True)])
    if isinstance(value, list | tuple):
        nodes = [("", _node(item, (place, True, index), strict, call)) for index, item in enumerate(value)]
        if isinstance(value, list):
            return _group("[", "]", nodes)
        return _group("(", ", )" if len(nodes) == 1 else ")", nodes)
    if strict:
        raise ConfigTypeError(
            f"{at(place)} is {printable(value, 60)} ({type(value).__name__}), which has no Python literal. "
            "Convert it to a number, string, list or dict."
        )
    return repr(value)


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "1e999 - 1e999" if math.isnan(value) else ("1e999" if value > 0 else "-1e999")


def _complex(value: complex) -> str:
    """Return the `repr` where it is read back: a sum of a real and an imaginary number loses minus zeros."""
    parts = (value.real, value.imag)
    signed = any(part == 0 and math.copysign(1, part) < 0 for part in parts) or (value.real == 0 and value.imag < 0)
    if not signed and all(map(math.isfinite, parts)):
        return repr(value)
    return f"0j.__class__({', '.join(map(_float, parts))})"  # no name is used: a key of the file might have it


def _group(start: str, end: str, items: list[tuple[str, Any]]) -> _Group:
    left, flat = _WIDTH - len(start) - len(end) + 2, []
    for before, node in items:
        text = node if type(node) is str else node.flat
        if text is None:
            return _Group(start, end, items, None)
        left -= len(before) + len(text) + 2
        if left < 0:
            return _Group(start, end, items, None)
        flat.append(before + text)
    return _Group(start, end, items, f"{start}{', '.join(flat)}{end}")


def _flat(node: str | _Group) -> str:
    """Return a node on one line, however long."""
    if isinstance(node, str):
        return node
    return node.flat or f"{node.start}{', '.join(before + _flat(item) for before, item in node.items)}{node.end}"


def _laid_out(node: str | _Group, indent: int, column: int, after: int) -> str:
    """Return a node's text where `column` characters stand before it on the line and `after` behind it."""
    if isinstance(node, str):
        return node
    if node.flat is not None and column + len(node.flat) + after <= _WIDTH:
        return node.flat
    inner, glued = indent + _INDENT, node.start == "dict("
    pad, last = "\n" + " " * inner, len(node.items) - 1
    if not glued and all(before == "" and isinstance(item, str) for before, item in node.items):
        body = _filled([item for _, item in node.items], pad)
    else:
        body = ",".join(
            f"{pad}{before}{_laid_out(item, inner, inner + len(before), after + 1 if glued and number == last else 1)}"
            for number, (before, item) in enumerate(node.items)
        )
    return f"{node.start}{body}{node.end if glued else _closed(node.end, indent)}"


def _closed(end: str, indent: int) -> str:
    """Return what closes a container on a line of its own; a tuple of one keeps its comma."""
    return f"{end[:-2].rstrip()}\n{' ' * indent}{end[-1]}"


def _filled(texts: list[str], pad: str) -> str:
    """Return texts, as many on a line as fit."""
    lines, line = [], pad
    for number, text in enumerate(texts):
        more = text if number == len(texts) - 1 else f"{text}, "
        if len(line) > len(pad) and len(line) + len(more.rstrip()) > _WIDTH + 1:
            lines.append(line.rstrip(" "))
            line = pad
        line += more
    return "".join([*lines, line])
