"""Step 5 of 6, gate B: the parts of tokenizer.json over which the tokenizers library stops the process's thread.

It is written in Rust and *panics* over some contradictions, which Python sees as a BaseException that no
``except Exception`` catches. Those known are found here first; https://github.com/huggingface/tokenizers has the code.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, cast

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.models.gate.patterns import repeats_in_repeats
from modelscope_ext.utils.text import printable

__all__ = ["check_tokenizer"]


_SPACE = re.compile(r"[ \t\r\n]*")
#: What is looked for, and ASCII letters that are written as escapes, which might spell it.
_WORDS, _ESCAPE, _ESCAPED = (b"Precompiled", b"TemplateProcessing", b"Regex"), b"\\u00", re.compile(rb"\\u00[4-7]")
_MODEL = b'"model"'


def check_tokenizer(data: bytes, *, file: str, source: str | None = None) -> None:
    """Check one tokenizer.json as far as the library itself does not.

    Raises:
        MalformedMetadata: It is no JSON object, a `Precompiled` table is cut off, a template uses a token that it
            does not define, or a pattern could run for ever.

    Example:
        >>> check_tokenizer(b'{"model": {}}', file="tokenizer.json")
    """
    document: Any = _before_model(data)
    if document is None and not _tells(data):
        return
    try:
        document = json.loads(data) if document is None else document
    except (ValueError, RecursionError) as error:
        _refuse(file, None, f"cannot be read as JSON ({printable(str(error), 200)})", source)
    if not isinstance(document, Mapping):
        _refuse(file, None, "expected an object at the top level", source)
    for part in ("normalizer", "post_processor", "pre_tokenizer", "decoder"):
        for place, step in _steps(document.get(part), part):
            if step.get("type") == "Precompiled":
                _check_table(step.get("precompiled_charsmap"), file, f"{place}.precompiled_charsmap", source)
            elif step.get("type") == "TemplateProcessing":
                _check_template(step, file, place, source)
            _check_pattern(step.get("pattern"), file, f"{place}.pattern", source)


def _tells(data: bytes, start: int = 0) -> bool:
    """Whether something that is looked for may stand in the bytes from `start` on."""
    if any(data.find(word, start) >= 0 for word in _WORDS):
        return True
    return data.find(_ESCAPE, start) >= 0 and _ESCAPED.search(data, start) is not None


def _before_model(data: bytes) -> dict[str, Any] | None:
    """Return what stands before the vocabulary, which is nearly all of the file; None where that is not enough.

    The library writes its model last (tokenizers: tokenizer/serialization.rs).
    """
    end = data.find(_MODEL) + len(_MODEL)
    if end < len(_MODEL) or _tells(data, end):
        return None
    found: dict[str, Any] = {}
    try:
        text, decoder = data[:end].decode("utf-8"), json.JSONDecoder()
        at = _space(text, 0)
        while text[at] == ("," if found else "{"):
            name, at = decoder.raw_decode(text, _space(text, at + 1))
            if name == "model" and at == len(text):
                return found
            at = _space(text, at)
            if not isinstance(name, str) or text[at] != ":":
                return None
            found[name], at = decoder.raw_decode(text, _space(text, at + 1))
            at = _space(text, at)
    except (ValueError, IndexError, RecursionError):
        pass
    return None


def _space(text: str, at: int) -> int:
    """Return where the white space that begins at `at` ends."""
    return cast("re.Match[str]", _SPACE.match(text, at)).end()


def _steps(step: Any, place: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(step, Mapping) or depth > 16:
        return
    yield place, step
    for key in ("normalizers", "processors", "pretokenizers", "decoders"):
        inner = step.get(key)
        for number, one in enumerate(inner if isinstance(inner, list) else ()):
            yield from _steps(one, f"{place}.{key}[{number}]", depth + 1)


def _check_table(value: Any, file: str, place: str, source: str | None) -> None:
    """A table is a length in bytes (uint32), a trie of that length, and the texts it points to."""
    if value is None or value == "":
        return
    try:
        table = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        _refuse(file, place, "expected a table in base64", source)
    size = int.from_bytes(table[:4], "little")
    if len(table) < 8 or size % 4 or not 4 <= size <= len(table) - 4:
        _refuse(file, place, f"its table of {len(table)} bytes is damaged", source)


def _check_pattern(value: Any, file: str, place: str, source: str | None) -> None:
    pattern = value.get("Regex") if isinstance(value, Mapping) else None
    if isinstance(pattern, str) and repeats_in_repeats(pattern):
        _refuse(file, place, f"the pattern {printable(pattern, 60)} has a repeat inside a repeated group", source)


def _check_template(step: Mapping[str, Any], file: str, place: str, source: str | None) -> None:
    known = step.get("special_tokens")
    known = known if isinstance(known, Mapping) else {}
    for key in ("single", "pair"):
        pieces = step.get(key)
        for piece in pieces if isinstance(pieces, list) else ():
            token = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
            name = token.get("id") if isinstance(token, Mapping) else None
            if isinstance(name, str) and name not in known:
                _refuse(
                    file,
                    f"{place}.{key}",
                    f"uses the token {printable(name, 60)!r}, which special_tokens lacks",
                    source,
                )


def _refuse(file: str, place: str | None, text: str, source: str | None) -> NoReturn:
    where = f"{printable(file)}: {place}: " if place else f"{printable(file)}: "
    raise MalformedMetadata(f"{where}{text}. Nothing was loaded.", file=file, field=place, source=source)
