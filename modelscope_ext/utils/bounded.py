"""Bounded parsing of JSON and YAML that strangers wrote: sizes, depth and counts are checked before anything is built.

Below every other part: it knows bytes and plain integer limits, not folders, grants or models. `safety.reading` adds
those; `utils.config` reads its files through here.

What Python's own parsers accept and this refuses: duplicate keys, NaN and Infinity (JSON), numbers that overflow,
integers of absurd length, lone surrogates, several documents, tags that name Python objects, aliases that multiply.

Example:
    >>> parse_json(b'{"model_type": "bert"}', file="config.json")
    {'model_type': 'bert'}
    >>> parse_json(b'{"model_type": "gpt2", "model_type": "bert"}', file="config.json")
    Traceback (most recent call last):
    ...
    modelscope_ext.errors.MalformedMetadata: config.json, line 1: the key 'model_type' appears twice in one object. \
Keep one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.utils.text import printable

__all__ = [
    "MAX_ALIASES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_NODES",
    "decode_text",
    "parse_json",
    "parse_yaml",
]

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_ALIASES = 32
MAX_DIGITS = 20

_BOM = b"\xef\xbb\xbf"
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WIDE_ADVICE = "Save the file as UTF-8."


class _Fault(Exception):
    """Raised inside a hook, which knows no file; `parse_json` turns it into one of our errors."""

    def __init__(self, text: str, key: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.key = key


def decode_text(data: bytes, *, file: str, source: str | None = None) -> str:
    """Return `data` as text, with the offset of the first byte that is not.

    Args:
        data: The file's bytes; a UTF-8 byte order mark is dropped.
        file: Name of the file, for messages.
        source: The model as the caller named it, for the error's `.source`.

    Raises:
        MalformedMetadata: UTF-16, UTF-32, a NUL byte, or bytes that are not UTF-8 (surrogates included).

    Example:
        >>> decode_text(b"\\xef\\xbb\\xbf{}", file="config.json")
        '{}'
    """
    if data.startswith(_BOM):
        data = data[3:]
        shift = 3
    else:
        shift = 0
    if b"\0" in data or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        for mark, name in _WIDE:
            if data.startswith(mark):
                raise MalformedMetadata(
                    f"{printable(file)}: {name} at byte offset 0; expected UTF-8. {_WIDE_ADVICE}",
                    file=file,
                    source=source,
                )
        offset = data.find(b"\0") + shift
        raise MalformedMetadata(
            f"{printable(file)}: a NUL byte at byte offset {offset}; expected UTF-8 text "
            f"(UTF-16, or a binary file under this name?). {_WIDE_ADVICE}",
            file=file,
            source=source,
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedMetadata(
            f"{printable(file)}: not UTF-8 at byte offset {error.start + shift} "
            f"(byte 0x{data[error.start]:02x}: {error.reason}). {_WIDE_ADVICE}",
            file=file,
            source=source,
        ) from error


def too_large(what: str, limit: int, name: str, *, file: str, source: str | None) -> NoReturn:
    """Raise the LimitExceeded of all parsers: `what` was found where `limit` is allowed by the limit `name`."""
    raise LimitExceeded(
        f"{printable(file)}: {what}; the limit is {limit}. Nothing was built from it. "
        f"If you trust the file, pass limits=Limits({name}=...).",
        file=file,
        source=source,
        grant="limits",
    )


def parse_json(
    data: bytes,
    *,
    file: str,
    source: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_nodes: int = MAX_NODES,
    max_digits: int = MAX_DIGITS,
    make_dict: Callable[[list[tuple[str, Any]]], Any] = dict,
) -> Any:
    """Parse JSON within limits that are checked before anything is built.

    Args:
        data: The file's bytes, UTF-8 with or without a byte order mark.
        file: Name of the file, for messages and the error's `.file`.
        source: The model as the caller named it, for the error's `.source`.
        max_bytes: Largest size in bytes.
        max_depth: Deepest nesting of objects and arrays.
        max_nodes: Most values in all (keys are not counted).
        max_digits: Most digits of one integer.
        make_dict: Called with the list of (key, value) pairs of each object; must keep the number of distinct keys.

    Returns:
        The value: any JSON type, the top level is not restricted.

    Raises:
        LimitExceeded: Too large, too deep or too many values.
        MalformedMetadata: Not JSON (with line, column and a hint), a key that appears twice, NaN or Infinity, a number
            that overflows, an integer with more than `max_digits` digits, text that is not UTF-8.

    Example:
        >>> parse_json(b'{"hidden_size": 32 // small', file="config.json")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.MalformedMetadata: config.json, line 1, column 20: expected ',' or the closing bracket, \
found '// small'. JSON has no comments: remove it.
    """
    if len(data) > max_bytes:
        too_large(f"{len(data)} bytes", max_bytes, "json_bytes", file=file, source=source)
    text = decode_text(data, file=file, source=source)
    if len(data) > max_nodes or len(data.translate(None, _NOT_BRACKETS)) > max_depth:
        _check_shape(data, max_depth, max_nodes, file, source)
    if b"\\" in data and b"\\u" in data:
        _refuse_surrogates(text, file, source)
    try:
        return _decoder(make_dict, max_digits, _has_odd_numbers(data, max_digits)).decode(text)
    except json.JSONDecodeError as error:
        from modelscope_ext.utils._json_advice import explain

        raise MalformedMetadata(f"{printable(file)}, {explain(error)}", file=file, source=source) from error
    except _Fault as fault:
        where = _line_of_second(text, fault.key) if fault.key is not None else ""
        raise MalformedMetadata(
            f"{printable(file)}{where}: {fault.text}", file=file, field=fault.key, source=source
        ) from None
    except RecursionError as error:
        raise LimitExceeded(
            f"{printable(file)}: nested deeper than this interpreter can read. Lower max_depth={max_depth}.",
            file=file,
            source=source,
        ) from error


def _twice(items: list[tuple[str, Any]]) -> NoReturn:
    seen: set[str] = set()
    for key, _ in items:
        if key in seen:
            raise _Fault(f"the key {printable(repr(key))} appears twice in one object. Keep one of them.", key)
        seen.add(key)
    raise AssertionError("make_dict lost a key")


def _hook(make_dict: Callable[[list[tuple[str, Any]]], Any]) -> Callable[[list[tuple[str, Any]]], Any]:
    """Return what builds an object and refuses duplicate keys; a dict's subclass is filled without its `__init__`."""
    build: Any = make_dict
    if isinstance(build, type) and issubclass(build, dict) and build is not dict:
        new: Any = dict.__new__
        fill = dict.update

        def filled(items: list[tuple[str, Any]]) -> Any:
            made: dict[str, Any] = new(build)
            fill(made, items)
            if len(made) != len(items):
                _twice(items)
            return made

        return filled

    def called(items: list[tuple[str, Any]]) -> Any:
        made = build(items)
        if len(made) != len(items):
            _twice(items)
        return made

    return called


@lru_cache(maxsize=32)
def _decoder(make_dict: Callable[[list[tuple[str, Any]]], Any], max_digits: int, careful: bool) -> json.JSONDecoder:
    """Return a decoder that refuses duplicates and NaN and, if `careful`, looks at every number."""
    pairs = _hook(make_dict)

    def constant(name: str) -> NoReturn:
        raise _Fault(f"{name} is not JSON; expected a number. Write null, or a finite number.")

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) > max_digits:
            raise _Fault(f"an integer of {len(digits.lstrip('-'))} digits ({digits[:12]}...); at most {max_digits}.")
        return int(digits)

    def real(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise _Fault(f"the number {printable(digits, 40)} overflows; expected a finite number.")
        return value

    if careful:
        return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=constant, parse_int=integer, parse_float=real)
    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=constant)


# Digits become "0", "E" becomes "e", and what stands between two values stays; the rest is dropped. So a substring
# search finds every long number and every large exponent, and a few strings that look like one.
_NUMBERS = bytes.maketrans(b"123456789E", b"000000000e")
_NOT_NUMBERS = bytes(set(range(256)) - set(b"0123456789eE.-,:"))


def _has_odd_numbers(data: bytes, max_digits: int) -> bool:
    """Return whether some number *may* be too long or overflow; digits inside strings count too."""
    shape = data.translate(_NUMBERS, _NOT_NUMBERS)
    return b"0" * (min(max_digits, 300) + 1) in shape or b"0e000" in shape


_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_SHAPE = bytes(set(range(256)) - set(b'"[]{}'))
_SPACES = b" \t\r\n"


def _check_shape(data: bytes, max_depth: int, max_nodes: int, file: str, source: str | None) -> None:
    """Count values and depth without parsing: strings are cut out, then brackets are cancelled level by level."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # With only quotes and brackets left, and pairs of quotes gone, a quote remains if and only if a bracket stands
    # inside a string. It mostly doesn't, and then the brackets are those of the structure.
    bare = data.translate(None, _NOT_SHAPE).replace(b'""', b"")
    nodes = 1 + data.count(b",") + bare.count(b"[") + bare.count(b"{")  # at most: commas inside strings count too
    if b'"' in bare or nodes > max_nodes:
        bare = _without_strings(data)
        nodes = 1 + bare.count(b",") + bare.count(b"[") + bare.count(b"{") - bare.count(b"[]") - bare.count(b"{}")
    # Longer than that, and either there are too many values, or a surplus closing bracket stops the parser before.
    brackets = whole = bare.translate(_TO_BRACKETS, _NOT_BRACKETS)[: 4 * max_nodes + 4]
    for _ in range(max_depth):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if brackets and max(accumulate(map((92).__sub__, whole))) > max_depth:  # "[" is 91, "]" is 93
        too_large(f"nested more than {max_depth} deep", max_depth, "depth", file=file, source=source)
    if nodes > max_nodes:
        too_large(f"{nodes} values", max_nodes, "nodes", file=file, source=source)


def _without_strings(data: bytes) -> bytes:
    """Return `data` with each string replaced by a 0 and white space removed; in chunks, so that memory stays flat."""
    bare, inside = bytearray(), 0
    for start in range(0, len(data), 65_536):
        parts = data[start : start + 65_536].split(b'"')
        bare += b"0".join(parts[inside::2]).translate(None, _SPACES)
        inside ^= (len(parts) - 1) & 1
        if inside:
            bare += b"0"
    return bytes(bare)


def _refuse_surrogates(text: str, file: str, source: str | None) -> None:
    r"""Refuse ``\\ud800`` escapes that are no half of a pair."""
    import re

    pair = re.compile(
        r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
    )
    for found in pair.finditer(text):
        if found.group(1):
            offset = len(text[: found.start()].encode())
            raise MalformedMetadata(
                f"{printable(file)}: a lone surrogate (\\{found.group(1)}) at byte offset {offset}; no character.",
                file=file,
                source=source,
            )


def _line_of_second(text: str, key: str) -> str:
    """Return ``", line 3"`` where the second of exactly two occurrences of `key` stands, else an empty string."""
    import re

    spelled = {json.dumps(key), json.dumps(key, ensure_ascii=False)}
    places = [m.start() for m in re.finditer("(?:" + "|".join(map(re.escape, spelled)) + r")\s*:", text)]
    return f", line {text.count(chr(10), 0, places[1]) + 1}" if len(places) == 2 else ""


def parse_yaml(
    data: bytes,
    *,
    file: str,
    source: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_nodes: int = MAX_NODES,
    max_aliases: int = MAX_ALIASES,
    max_digits: int = MAX_DIGITS,
    scalar_keys: bool = False,
) -> Any:
    """Parse one YAML document with the types of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/, chapter 10.3).

    So ``no``, ``1:30`` and dates are strings and ``012`` is 12. Merge keys (``<<``) are honoured; what they and the
    aliases add is counted as if it had been written out.

    Args:
        data: The file's bytes, UTF-8 with or without a byte order mark.
        file: Name of the file, for messages and the error's `.file`.
        source: The model as the caller named it, for the error's `.source`.
        max_bytes: Largest size in bytes.
        max_depth: Deepest nesting of mappings and sequences.
        max_nodes: Most values in all, those repeated by aliases included.
        max_aliases: Most aliases.
        max_digits: Most digits of one integer, in any base.
        scalar_keys: Accept numbers, booleans and null as keys; without it a key must be a string.

    Returns:
        The value, None for an empty document. Aliased values are one shared object, never a cycle.

    Raises:
        LimitExceeded: Too large, too deep, too many values or aliases.
        MalformedMetadata: Not YAML (with line and column), several documents, a tag outside the core schema, a key
            that is not a string or appears twice, an alias to what is not complete, text that is not UTF-8.

    Example:
        >>> parse_yaml(b"answer: no\\ncount: 012\\n", file="config.yaml")
        {'answer': 'no', 'count': 12}
    """
    if len(data) > max_bytes:
        too_large(f"{len(data)} bytes", max_bytes, "json_bytes", file=file, source=source)
    text = decode_text(data, file=file, source=source)
    from modelscope_ext.utils._yaml_events import build

    return build(
        text,
        file=file,
        source=source,
        max_depth=max_depth,
        max_nodes=max_nodes,
        max_aliases=max_aliases,
        max_digits=max_digits,
        scalar_keys=scalar_keys,
    )
