"""What a served file holds: bytes, a file on disk, or bytes that are made up while they are sent."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

__all__ = ["Content", "Data", "Files", "Generated", "OnDisk", "contents"]

#: Sent at once; also how fine a cut connection can be told from a slow one.
CHUNK = 1 << 20
#: Prime, so that a resume that is off by a whole number of chunks gives other bytes.
_PERIOD = 1_048_583


class Content:
    """The bytes of one file, readable from any offset."""

    size: int

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """Yield the bytes from `start` up to `stop` in pieces of at most 1 MiB."""
        raise NotImplementedError

    def open(self) -> BinaryIO | None:
        """Return the file to hand to the kernel, or None where there is none."""
        return None

    def label(self) -> str:
        """Return what other bytes have another one of, without reading all of them."""
        return f"{self.size} bytes"

    def read(self) -> bytes:
        """Return all bytes."""
        return b"".join(self.chunks())

    # Not functools.cached_property: until Python 3.12 it locks the property of all files while one is being hashed.
    @property
    def sha256(self) -> str:
        """The sha256 of all bytes, in hex."""
        return self._once("sha256", lambda: _digest(hashlib.sha256(), self))

    @property
    def blob_id(self) -> str:
        """The id git gives a blob of these bytes, in hex."""
        start = b"blob %d\0" % self.size
        return self._once("blob_id", lambda: _digest(hashlib.sha1(start, usedforsecurity=False), self))

    @property
    def pointer(self) -> bytes:
        """The Git LFS pointer that stands for these bytes in a repository."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    def _once(self, name: str, compute: Callable[[], str]) -> str:
        known = self.__dict__  # a subclass may put there what it knows
        return str(known[name] if name in known else known.setdefault(name, compute()))


class Data(Content):
    """Bytes in memory.

    Example:
        >>> b"".join(Data(b"hello").chunks(1, 3))
        b'el'
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def label(self) -> str:
        """See `Content.label`."""
        return self.sha256

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        view = memoryview(self.data)[start:stop]
        for at in range(0, len(view), CHUNK):
            yield view[at : at + CHUNK]


class OnDisk(Content):
    """A file as it was when it was added; changing it while it is served is a fault that nobody asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        status = self.path.stat()
        self.size, self._changed = status.st_size, status.st_mtime_ns

    def label(self) -> str:
        """See `Content.label`."""
        return f"{self.size} bytes of {self._changed}"

    def open(self) -> BinaryIO | None:
        """See `Content.open`."""
        return self.path.open("rb")

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        left = (self.size if stop is None else min(stop, self.size)) - start
        with self.path.open("rb") as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(CHUNK, left))):
                left -= len(piece)
                yield piece


class Generated(Content):
    """Bytes made up while they are sent: a file of gigabytes that takes no disk.

    Args:
        size: Bytes.
        seed: Another seed gives other bytes.
        sha256: What listings say; given, it is believed, so that terabytes need not be read to list them.

    Example:
        >>> whole = Generated(3_000_000).read()
        >>> b"".join(Generated(3_000_000).chunks(2_000_000, 2_000_010)) == whole[2_000_000:2_000_010]
        True
    """

    def __init__(self, size: int, seed: int = 0, *, sha256: str | None = None) -> None:
        self.size = size
        if sha256 is not None:
            self._once("sha256", lambda: sha256)
        block = random.Random(seed).randbytes(_PERIOD)
        self._block = memoryview(block + block[:CHUNK])
        self._seed = seed

    def label(self) -> str:
        """See `Content.label`."""
        return f"{self.size} bytes made of {self._seed}"

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """See `Content.chunks`."""
        stop = self.size if stop is None else min(stop, self.size)
        for at in range(start, stop, CHUNK):
            first = at % _PERIOD
            yield self._block[first : first + min(CHUNK, stop - at)]


#: What `HubServer.add` takes for the files of a repo: a folder, or contents by name.
Files = str | os.PathLike[str] | Mapping[str, "bytes | str | os.PathLike[str] | Content"]


def contents(files: Files) -> dict[str, Content]:
    """Return the contents of a folder or mapping by name, in order of the names.

    Names of a mapping are not checked: a hub that lists ``../../x`` is what tests need. In a mapping a str is text, a
    path is a file on disk.

    Raises:
        NotADirectoryError: There is no such folder.

    Example:
        >>> sorted(contents({"config.json": "{}", "weights/model.bin": b"123"}))
        ['config.json', 'weights/model.bin']
    """
    if isinstance(files, Mapping):
        return {name: _content(value) for name, value in sorted(files.items())}
    folder = Path(files)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: a hub server serves a folder or a mapping of contents")
    found = sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file())
    return {name: OnDisk(path) for name, path in found}


def _content(value: bytes | str | os.PathLike[str] | Content) -> Content:
    if isinstance(value, Content):
        return value
    if isinstance(value, bytes):
        return Data(value)
    return Data(value.encode()) if isinstance(value, str) else OnDisk(value)


def _digest(digest: hashlib._Hash, content: Content) -> str:
    for piece in content.chunks():
        digest.update(piece)
    return digest.hexdigest()
