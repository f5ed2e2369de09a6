"""What the hubs' answers have in common: times, and the tree of a listing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from modelscope_ext.testing.hub_server.repos import Entry

__all__ = ["iso", "tree"]


def iso(seconds: int) -> str:
    """Return a time as the hubs write it.

    Example:
        >>> iso(1_700_000_000)
        '2023-11-14T22:13:20.000Z'
    """
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def tree(entries: Iterable[Entry], folder: str, *, recursive: bool) -> list[Entry | str]:
    """Return the files below a folder, each folder (a str) before what it holds.

    Args:
        entries: All files.
        folder: Below which folder, ``""`` for the root.
        recursive: Also what lies deeper.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    rows: list[Entry | str] = []
    seen = set()
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        parts = entry.name[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            above = prefix + "/".join(parts[:depth])
            if above not in seen:
                seen.add(above)
                rows.append(above)
        if recursive or len(parts) == 1:
            rows.append(entry)
    return rows
