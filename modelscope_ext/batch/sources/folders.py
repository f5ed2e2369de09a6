"""Sources that are folders: of pictures, sounds or videos, and of files that are read one after the other."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from modelscope_ext.batch.sources.base import Source

__all__ = ["Joined", "Media", "files_below"]


def files_below(folder: Path) -> list[Path]:
    """Return the files in `folder` and in the folders in it, ordered by name; hidden ones are passed over."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if not name.startswith((".", "_"))]
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


class Media(Source):
    """The files of one kind; a row is a dict with the file's name, ``"file"``, and its path under the kind's name."""

    keep = ("file",)

    def __init__(self, folder: Path, kind: str, files: Sequence[Path]) -> None:
        self.kind, self._root = kind, str(folder.absolute())
        self._names = [file.relative_to(folder).as_posix() for file in files]
        self.rows = len(self._names)

    def identity(self) -> dict[str, Any]:
        """Return the number of files, and a digest of their names and sizes."""
        digest = hashlib.sha256()
        for name in self._names:
            digest.update(f"{name}\0{Path(self._root, name).stat().st_size}\n".encode("utf-8", "surrogateescape"))
        return {"kind": self.kind, "files": self.rows, "sha256": digest.hexdigest()}

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`."""
        for name in self._names[first:stop]:
            yield {"file": name, self.kind: os.path.join(self._root, name)}  # noqa: PTH118 - one a row


class Joined(Source):
    """Sources that are read one after the other."""

    def __init__(self, folder: Path, parts: Sequence[Source]) -> None:
        self.folder = str(folder.absolute())
        self._parts = parts
        self._ends = list(accumulate(part.rows for part in parts))
        self.rows = self._ends[-1] if self._ends else 0

    def identity(self) -> dict[str, Any]:
        """Return what the parts say."""
        return {"kind": "folder", "parts": [part.identity() for part in self._parts]}

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`."""
        for number in range(bisect_right(self._ends, first), len(self._parts)):
            begin = self._ends[number] - self._parts[number].rows
            if begin >= stop:
                return
            yield from self._parts[number].read(max(first - begin, 0), min(stop - begin, self._parts[number].rows))
