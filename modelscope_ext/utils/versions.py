"""Versions as nearly all requirements write them, compared without `packaging`, whose import takes 16 ms."""

from __future__ import annotations

import re

__all__ = ["BOUND", "holds", "plain_bounds", "plain_release", "release"]

#: One bound: a sign and a release.
BOUND = r"(?:>=|<=|==|!=|<|>)\s*\d{1,9}(?:\.\d{1,9})*"
_BOUNDS = re.compile(rf"\s*(?:{BOUND}(?:\s*,\s*{BOUND})*)?\s*\Z", re.ASCII)
_SIGNS = re.compile(r"([<>=!]=?)\s*([\d.]+)")
_RELEASE = re.compile(r"(\d{1,9}(?:\.\d{1,9})*)(?:\+.*)?\Z", re.ASCII)


def plain_release(version: str) -> tuple[int, ...] | None:
    """Return a version as numbers, its local label left out; None for a pre-release, an epoch and the like.

    Example:
        >>> plain_release("2.10.0+cpu"), plain_release("2.0rc1")
        ((2, 10), None)
    """
    found = _RELEASE.match(version)
    return release(found[1]) if found else None


def plain_bounds(specifier: str) -> list[tuple[str, str]] | None:
    """Return the signs and releases of a specifier, or None where it says something else than plain bounds.

    Example:
        >>> plain_bounds(">=4.57.1,<5"), plain_bounds("~=4.5")
        ([('>=', '4.57.1'), ('<', '5')], None)
    """
    return _SIGNS.findall(specifier) if _BOUNDS.match(specifier) else None


def release(version: str) -> tuple[int, ...]:
    """Return dotted numbers without the zeros at their end.

    Example:
        >>> release("4.57.0")
        (4, 57)
    """
    parts = [int(part) for part in version.split(".") if part]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def holds(have: tuple[int, ...], sign: str, bound: str) -> bool:
    """Return whether a release satisfies one bound.

    Example:
        >>> holds((4, 57, 1), "<", "5"), holds((2,), "==", "2.0")
        (True, True)
    """
    limit = release(bound)
    if sign in ("==", "!="):
        return (have == limit) == (sign == "==")
    return {">=": have >= limit, "<=": have <= limit, "<": have < limit, ">": have > limit}[sign]
