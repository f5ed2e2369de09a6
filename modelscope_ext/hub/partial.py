"""One file on its way: what has arrived so far, whose bytes they are, and whether they are the listed ones.

The name of a partial file is made of the name, size and hash that the file will have, so that bytes of another
content are never taken for its beginning; a file whose hash no hub tells is begun anew each time.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscope_ext.errors import DiskFull
from modelscope_ext.hub.digest import content_id, hasher
from modelscope_ext.hub.protocol import HubFile
from modelscope_ext.utils.text import printable

__all__ = ["Partial", "key_of", "told"]

_PIECE = 2**20
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class Partial:
    """A file that is written from its beginning to its end; `leave` it whatever happens.

    Attributes:
        file: What it will be.
        path: Where it is meanwhile.
        resumable: Whether a later process may go on with it.
        size: The bytes that have arrived.
    """

    def __init__(self, folder: Path, file: HubFile) -> None:
        self.file = file
        known = content_id(file)
        self.resumable = known is not None
        name = f"{known}-{key_of(file.name, str(file.size))[:8]}" if known else f"{os.getpid():x}{os.urandom(8).hex()}"
        self.path = folder / f"{name}.part"
        self.size = self._arrived()
        self._handle = -1
        self._hash: Any = None

    def _arrived(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def leave(self) -> None:
        """Close the file, and keep it only where it can be gone on with."""
        self.close()
        if not self.resumable or self.size == 0:
            self.discard()

    def open(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Open the file where it ends; what is there is read once more, for the hash.

        Raises:
            InterruptedError: `stopped()` while it was read.
            DiskFull, OSError: The disk failed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._handle = os.open(self.path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise self._told(error) from error
        self.size = 0
        known = hasher(self.file)
        self._hash = known[0] if known else None
        if os.fstat(self._handle).st_size > self.file.size:
            self.restart()
            return
        while piece := os.read(self._handle, _PIECE):
            if stopped():
                raise InterruptedError
            if self._hash is not None:
                self._hash.update(piece)
            self.size += len(piece)

    def restart(self) -> None:
        """Drop all that has arrived."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self.size = 0
        known = hasher(self.file)
        self._hash = known[0] if known else None

    def write(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            DiskFull: There is no room for them.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            raise self._told(error) from error
        if self._hash is not None:
            self._hash.update(piece)
        self.size += len(piece)

    def complete(self) -> bool:
        """Whether all bytes are here and are the listed ones."""
        if self.size != self.file.size:
            return False
        known = content_id(self.file)
        return known is None or bool(self._hash.hexdigest() == known)

    def sync(self) -> None:
        """Wait until all bytes are on the disk, not only in its cache.

        Raises:
            DiskFull, OSError: The disk failed.
        """
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise self._told(error) from error

    def published(self) -> None:
        """Say that the file was moved to its place."""
        self.close()
        self.resumable, self.size = True, self.file.size
        with suppress(OSError):  # where it had two names, one of them stays
            self.path.unlink()

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        self.size = 0
        with suppress(OSError):
            self.path.unlink()

    def _told(self, error: OSError) -> OSError:
        return told(error, self.file, self.path, self.size, resumable=self.resumable)


def told(error: OSError, file: HubFile, path: Path, arrived: int, *, resumable: bool) -> OSError:
    """Return the error for what a disk said: one that names the room, where there is none left."""
    if error.errno not in _NO_ROOM:
        return error
    kept = " What has arrived is kept, and the next call goes on with it." if resumable else ""
    return DiskFull(
        f"{printable(file.name)}: the disk is full ({printable(str(path.parent))}), after {arrived} of {file.size}"
        f" bytes.{kept} Make room, or pass cache_dir= (a folder on another disk)."
    )


def key_of(*parts: str) -> str:
    """Return a name for a file that stands for `parts`, whatever is in them."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
