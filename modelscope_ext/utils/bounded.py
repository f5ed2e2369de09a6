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

import gc
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.utils._json_scan import count_keys, few_brackets, has_odd_numbers, lone_surrogate, shape
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

_LARGE = 16 * 1024  # bytes; beyond, the garbage collector is worth a pause, and counting keys beats building pairs
_BOM = b"\xef\xbb\xbf"
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_MakeDict = Callable[[list[tuple[str, Any]]], Any]
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
    make_dict: _MakeDict = dict,
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
            A subclass of dict is filled without a call of its `__init__`.

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
    if len(data) >= 2 * max_nodes or not few_brackets(data, max_depth):
        too_deep, nodes = shape(data, max_depth, max_nodes)
        if too_deep:
            too_large(f"nested more than {max_depth} deep", max_depth, "depth", file=file, source=source)
        if nodes > max_nodes:
            too_large(f"{nodes} values", max_nodes, "nodes", file=file, source=source)
    if b"\\" in data and (half := lone_surrogate(text)):
        offset = len(text[: half.start()].encode())
        raise MalformedMetadata(
            f"{printable(file)}: a lone surrogate (\\{half.group(1)}) at byte offset {offset}; no character.",
            file=file,
            source=source,
        )
    pausing = len(data) > _LARGE and gc.isenabled()
    if pausing:  # only trees are built, and the collector would walk them again and again as they grow
        gc.disable()
    try:
        return _decode(data, text, make_dict, max_digits)
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
    finally:
        if pausing:
            gc.enable()


def _decode(data: bytes, text: str, make_dict: _MakeDict, max_digits: int) -> Any:
    """Build the value of `text`, which is `data` decoded.

    In what is large, pairs are built only to explain: a key that appears twice shows in fewer keys than colons.
    """
    kind: Any = make_dict
    careful = has_odd_numbers(data, max_digits)
    if len(data) > _LARGE and not careful and isinstance(kind, type) and issubclass(kind, dict):
        sizes: list[int] = []
        stayed = sizes.append
        new: Any = dict.__new__
        fill = dict.update

        def build(plain: dict[str, Any]) -> Any:
            stayed(len(plain))
            made = new(kind)
            fill(made, plain)
            return made

        def count(plain: dict[str, Any]) -> Any:
            stayed(len(plain))
            return plain

        hook = count if kind is dict else build
        value = json.JSONDecoder(object_hook=hook, parse_constant=_refuse_constant).decode(text)
        keys = sum(sizes)
        if keys == data.count(b":") or keys == count_keys(data):
            return value
    return _decoder(make_dict, max_digits, careful).decode(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _Fault(f"{name} is not JSON; expected a number. Write null, or a finite number.")


def _twice(items: list[tuple[str, Any]]) -> NoReturn:
    seen: set[str] = set()
    for key, _ in items:
        if key in seen:
            raise _Fault(f"the key {printable(repr(key))} appears twice in one object. Keep one of them.", key)
        seen.add(key)
    raise AssertionError("make_dict lost a key")


def _hook(make_dict: _MakeDict) -> Callable[[list[tuple[str, Any]]], Any]:
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
def _decoder(make_dict: _MakeDict, max_digits: int, careful: bool) -> json.JSONDecoder:
    """Return a decoder that refuses duplicates and NaN and, if `careful`, looks at every number."""
    pairs = _hook(make_dict)

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
        return json.JSONDecoder(
            object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_int=integer, parse_float=real
        )
    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=_refuse_constant)


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
    if max_depth >= 2 and len(data) <= max_nodes:
        from modelscope_ext.utils._yaml_flat import flat

        simple = flat(data)
        if simple is not None:
            return simple
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
