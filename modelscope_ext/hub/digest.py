"""Whether bytes are the listed ones: by sha256, or by the hash that git names a file's content by."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from modelscope_ext.hub.protocol import HubFile

__all__ = ["content_id", "hasher", "verify", "verify_file"]

_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_PIECE = 2**20


def content_id(file: HubFile) -> str | None:
    """Return the hash that names the content of `file`, or None where the hub lists none.

    Example:
        >>> content_id(HubFile("a", 1, etag="0" * 40)) == "0" * 40, content_id(HubFile("a", 1))
        (True, None)
    """
    if file.sha256 and _SHA256.fullmatch(file.sha256):
        return file.sha256
    return file.etag if file.etag and (_SHA256.fullmatch(file.etag) or _GIT.fullmatch(file.etag)) else None


def hasher(file: HubFile) -> tuple[Any, str] | None:
    """Return what computes the hash of `file` (to be fed its bytes) and the hexdigest expected, or None."""
    expected = content_id(file)
    if expected is None:
        return None
    if len(expected) == 64:
        return hashlib.sha256(), expected
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False), expected


def verify(data: bytes, file: HubFile) -> bool | None:
    """Return whether `data` is the content of `file`; None where that cannot be told beyond its size.

    Example:
        >>> verify(b"{}", HubFile("a", 2, etag="9e26dfeeb6e641a33dae4961196235bdb965b21b"))
        True
    """
    if len(data) != file.size:
        return False
    known = hasher(file)
    if known is None:
        return None
    known[0].update(data)
    return bool(known[0].hexdigest() == known[1])


def verify_file(path: Path, file: HubFile) -> bool | None:
    """Return the same of a file on the disk; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            if stream.seek(0, 2) != file.size:
                return False
            known = hasher(file)
            if known is None:
                return None
            stream.seek(0)
            while piece := stream.read(_PIECE):
                known[0].update(piece)
    except OSError:
        return False
    return bool(known[0].hexdigest() == known[1])
