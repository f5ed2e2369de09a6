"""Text for messages: a stranger's strings made safe to show, and near misses."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "listing", "printable", "size"]


def printable(value: object, limit: int = 120) -> str:
    """Return `value` as one short line: control, bidi and surrogate characters escaped, cut at `limit` characters.

    Everything that comes from a model's files passes through here before it reaches a message, a log or a terminal.

    Example:
        >>> printable("a\\x1b[31m" + chr(0x202e))
        'a\\\\x1b[31m\\\\u202e'
    """
    text = value if isinstance(value, str) else repr(value)
    head = text[: limit + 1]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in head)
    return head if len(text) <= limit and len(head) <= limit * 2 else head[: max(limit - 3, 0)] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of `known`, or an empty string.

    Example:
        >>> did_you_mean("transfomers", ["transformers", "diffusers"])
        " Did you mean 'transformers'?"
    """
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return `names` sorted and joined by commas, the rest counted.

    Example:
        >>> listing(["b", "a", "c"], most=2)
        'a, b and 1 more'
    """
    known = sorted(names)
    head = ", ".join(known[:most])
    return f"{head} and {len(known) - most} more" if len(known) > most else head or "(none)"


def size(count: int) -> str:
    """Return `count` bytes for a reader, in decimal units.

    Example:
        >>> size(999), size(268_400), size(4_900_000_000)
        ('999 B', '268.4 kB', '4.9 GB')
    """
    if count < 1000:
        return f"{count} B"
    value, units = float(count), ("kB", "MB", "GB", "TB", "PB")
    for unit in units:
        value /= 1000
        if value < 999.95 or unit == units[-1]:
            break
    return f"{value:.1f} {unit}"
