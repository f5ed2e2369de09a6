"""YAML as most model cards have it, read without a YAML parser, whose import alone costs 10 ms of a cold start.

Only what can mean one thing: keys at the left margin, each with a word or a list of words. Everything else is left to
the parser; a property test holds the two equal.
"""

from __future__ import annotations

__all__ = ["flat"]

_MOST = 4096  # bytes
_WORD = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./ "
_NO_STRINGS = frozenset((b"null", b"true", b"false"))


def flat(data: bytes) -> dict[str, str | list[str]] | None:
    r"""Return the value of `data`, or None where it takes a YAML parser to tell.

    Example:
        >>> flat(b"license: mit\ntags:\n- bert\n- tiny model\n")
        {'license': 'mit', 'tags': ['bert', 'tiny model']}
        >>> flat(b"layers: 12"), flat(b"a: b # c"), flat(b"a:")
        (None, None, None)
    """
    if len(data) > _MOST:
        return None
    found: dict[str, str | list[str]] = {}
    items: list[str] | None = None
    start = b""  # of the open list's lines
    for line in data.removesuffix(b"\n").split(b"\n"):
        text = line.lstrip(b" ")
        if text.startswith(b"- "):
            indent = line[: len(line) - len(text)]
            if items is None or not _is_word(text[2:]) or (items and indent != start):
                return None
            items.append(text[2:].decode("ascii"))
            start = indent
            continue
        key, colon, rest = line.partition(b":")
        if not colon or items == [] or not _is_word(key) or (name := key.decode("ascii")) in found:
            return None
        if not rest:
            found[name] = items = []
        elif rest.startswith(b" ") and _is_word(rest[1:]):
            found[name], items = rest[1:].decode("ascii"), None
        else:
            return None
    return None if items == [] else found


def _is_word(text: bytes) -> bool:
    """Return whether `text` is a string in any YAML: letters, digits and ``_-./`` with spaces between."""
    return (
        text[:1].isalpha() and not text.translate(None, _WORD) and text[-1:] != b" " and text.lower() not in _NO_STRINGS
    )
