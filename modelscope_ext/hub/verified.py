"""Which files of a cache were found to be right, so that each is read for that only once.

The clients leave files whose size alone was looked at. A file that was verified is remembered by what it is on the disk
(size, times, inode): any change makes it unknown again. The notes lie in the repo's own folder and go with it.

Nobody waits for the disk when a file is published, which would take longer than the download where the line is fast.
Until the file is known to be on it, its note counts only for as long as the machine runs: after a crash the bytes are
looked at again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from modelscope_ext.hub.digest import content_id
from modelscope_ext.hub.protocol import HubFile
from modelscope_ext.utils.atomic import write_atomic

__all__ = ["Verified", "this_boot"]

_FILE = "verified.json"
#: Seconds after which the system has written a file by itself, so that asking it to costs nothing.
_WRITTEN_AFTER = 60.0
_MOST_BYTES = 16 * 2**20


@cache
def this_boot() -> str | None:
    """Return what tells this run of the machine from all others, or None where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


class Verified:
    """The notes of one repo. Two processes that write at once lose some of them, which costs another look, no more."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._lock = threading.Lock()
        self._marks: dict[str, list[object]] = self._read()
        self._changed = False

    def _read(self) -> dict[str, list[object]]:
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                return {}
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, list)} if isinstance(found, dict) else {}

    def holds(self, path: Path, file: HubFile) -> bool:
        """Whether `path` was verified to be `file` and has not changed since."""
        mark = _mark(path, file)
        noted = self._marks.get(str(path.resolve())) if mark is not None else None
        if mark is None or noted is None or noted[: len(mark)] != mark:
            return False
        boots = noted[len(mark) :]
        if not boots:
            return True
        if boots != [this_boot()]:
            return False
        if time.time() - path.stat().st_mtime > _WRITTEN_AFTER and _written(path):
            self.note(path, file)
        return True

    def note(self, path: Path, file: HubFile, *, new: bool = False) -> None:
        """Remember that `path` is `file`.

        Args:
            path: The file.
            file: As it is listed.
            new: It was written a moment ago and may not be on the disk yet.
        """
        mark = _mark(path, file)
        if mark is not None:
            boot = [this_boot()] if new and this_boot() is not None else []
            with self._lock:
                self._marks[str(path.resolve())] = [*mark, *boot]
                self._changed = True

    def save(self) -> None:
        """Write the notes, if any are new; a cache that cannot be written keeps none."""
        with self._lock, suppress(OSError):
            if self._changed:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self._path, json.dumps(self._marks, indent=0), durable=False)
                self._changed = False


def _written(path: Path) -> bool:
    """Have the system write the file to the disk, and return whether it did."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def _mark(path: Path, file: HubFile) -> list[object] | None:
    known = content_id(file)
    try:
        status = path.stat()
    except OSError:
        return None
    return [known, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino] if known else None
