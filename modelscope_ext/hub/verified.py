"""Which files of a cache were found to be right, so that each is read for that only once.

The clients leave files whose size alone was looked at. A file that was verified is remembered by what it is on the disk
(size, times, inode): any change makes it unknown again. The notes lie in the repo's own folder and go with it.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path

from modelscope_ext.hub.digest import content_id
from modelscope_ext.hub.protocol import HubFile
from modelscope_ext.utils.atomic import write_atomic

__all__ = ["Verified"]

_FILE = "verified.json"
_MOST_BYTES = 16 * 2**20


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
        return mark is not None and self._marks.get(str(path.resolve())) == mark

    def note(self, path: Path, file: HubFile) -> None:
        """Remember that `path` is `file`."""
        mark = _mark(path, file)
        if mark is not None:
            with self._lock:
                self._marks[str(path.resolve())] = mark
                self._changed = True

    def save(self) -> None:
        """Write the notes, if any are new; a cache that cannot be written keeps none."""
        with self._lock, suppress(OSError):
            if self._changed:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self._path, json.dumps(self._marks, indent=0))
                self._changed = False


def _mark(path: Path, file: HubFile) -> list[object] | None:
    known = content_id(file)
    try:
        status = path.stat()
    except OSError:
        return None
    return [known, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino] if known else None
