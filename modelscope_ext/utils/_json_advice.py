"""What to tell the author of a broken JSON file; imported only when one was found."""

from __future__ import annotations

import json
import re

from modelscope_ext.utils.text import printable

__all__ = ["explain"]

_WORDS = {"True": "true", "False": "false", "None": "null", "undefined": "null"}

# What stands at (or right before) the place where the parser stopped -> what to do about it.
_HINTS: tuple[tuple[str, str], ...] = (
    (r"//|/\*|#", "JSON has no comments: remove it."),
    (r"\.\.\.|…", "'...' stands for more in documentation, but is not JSON: remove it or write the rest out."),
    (r"'", "Strings and keys need double quotes."),
    (r"(?:True|False|None|undefined)\b", "JSON writes true, false and null."),
    (r"[A-Za-z_]\w*\s*:", "Keys need double quotes."),
    (r"[=;]", "JSON separates a key and its value by ':', and entries by ','."),
)
_EXPECTED = {
    "Expecting value": "expected a value",
    "Expecting ',' delimiter": "expected ',' or the closing bracket",
    "Expecting ':' delimiter": "expected ':'",
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Illegal trailing comma before end of object": "expected a key in double quotes",
    "Illegal trailing comma before end of array": "expected a value",
    "Extra data": "expected the end of the file",
    "Unterminated string starting at": "a string without its closing quote",
    "Invalid control character at": "a line break or control character inside a string",
    "Invalid \\escape": "an unknown backslash escape",
    "Invalid \\uXXXX escape": "an incomplete \\u escape",
}


def explain(error: json.JSONDecodeError) -> str:
    r"""Return where, what was expected, what was found and what to do.

    Example:
        >>> try:
        ...     json.loads('{"a": 1,}')
        ... except json.JSONDecodeError as error:
        ...     print(explain(error))
        line 1, column 9: expected a key in double quotes, found '}'. Remove the comma before it.
    """
    text, position = error.doc, error.pos
    if not text.strip():
        return "line 1: the file is empty; expected JSON. Write {} if nothing is to be said."
    message = next((known for start, known in _EXPECTED.items() if error.msg.startswith(start)), error.msg)
    if error.msg.startswith("Illegal trailing comma"):  # the parser of Python 3.13 points at the comma itself
        position = re.compile(r",\s*").match(text, position).end()  # type: ignore[union-attr]
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    rest = text[position:].split("\n", 1)[0].strip()
    found = f", found {printable(repr(rest), 40)}" if rest else ", found the end of the " + _end_of(text, position)
    return f"line {line}, column {column}: {message}{found}.{_hint(text, position, error.msg)}"


def _end_of(text: str, position: int) -> str:
    return "line" if text[position:].strip() else "file"


def _hint(text: str, position: int, message: str) -> str:
    here = text[position:].lstrip()
    for pattern, advice in _HINTS:
        if re.match(pattern, here):
            return f" {advice}"
    before = text[:position].rstrip()
    if here[:1] in ("}", "]") and before.endswith(","):
        return " Remove the comma before it."
    if not here:
        return " The file stops in the middle: was it cut off while copying?"
    if message.startswith("Extra data"):
        return " Only one JSON value may stand in a file: remove what follows it."
    if message.startswith("Invalid \\escape"):
        return " Write a backslash as \\\\."
    if message.startswith("Expecting ','"):
        return " Is a comma missing before it?"
    if text.startswith("version https://git-lfs"):
        return " This is a git-LFS pointer, not the file: fetch it with 'git lfs pull'."
    return ""
