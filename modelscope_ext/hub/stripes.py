"""A large file on its way in several streams at once.

The file lies in its final form beside a map that says how far each stripe has come; both survive a kill, so that at
most the piece that was being written is fetched twice. Its hash is computed from the beginning while the rest comes.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscope_ext.hub.digest import content_id, hasher
from modelscope_ext.hub.partial import Partial, told
from modelscope_ext.hub.protocol import HubFile

__all__ = ["LARGE", "STREAMS", "Striped", "arrived_of"]

#: From this size on a file is fetched in several streams.
LARGE = 2**27
#: Of one file, at most.
STREAMS = 4
#: Seconds after which another stream may join, the bytes a second that are enough, and what the last stream must have
#: brought (the rate with it over that without).
LOOK, ENOUGH, WORTH = 0.25, 2.0**28, 1.1
_STRIPE, _MOST_STRIPES = 2**25, 16
_PIECE = 2**20
#: Bytes after which the thread that hashes is woken: each time costs as much as hashing some of them.
_NEWS = 2**22
_COUNTER = struct.Struct("<Q")


def arrived_of(folder: Path, file: HubFile) -> int:
    """Return how many bytes of `file` an earlier call has fetched into `folder`."""
    if file.size >= LARGE and content_id(file) is not None:
        striped = Striped(folder, file)
        return sum(striped.read_map())
    return min(Partial(folder, file).size, file.size)


def _read_at(handle: int, room: memoryview, start: int) -> int:
    """Read into `room` what stands from `start` on; return how many bytes that were."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [room], start)
    piece = os.pread(handle, len(room), start)
    room[: len(piece)] = piece
    return len(piece)


class Striped:
    """Use it as a context manager; leaving it closes the file and keeps what has arrived. For several threads at once.

    Attributes:
        file: What it will be.
        path: Where it is meanwhile.
        count: Stripes.
    """

    def __init__(self, folder: Path, file: HubFile) -> None:
        self.file = file
        self.path = Partial(folder, file).path.with_suffix(".stripes")
        self._map_path = self.path.with_suffix(".map")
        self._width = max(_STRIPE, -(-file.size // _MOST_STRIPES))
        self.count = -(-file.size // self._width)
        self._done = [0] * self.count
        self._taken: set[int] = set()
        self._lock, self._news = threading.Lock(), threading.Condition()
        self._handle = self._map = -1
        self._hash: Any = None
        self._hashed = 0
        self._ended = False

    def read_map(self) -> list[int]:
        """Return how many bytes of each stripe have arrived; all 0 where nothing can be gone on with."""
        try:
            data = self._map_path.read_bytes()
            size = self.path.stat().st_size
        except OSError:
            return [0] * self.count
        if len(data) != _COUNTER.size * self.count or size > self.file.size:
            return [0] * self.count
        found = [number for (number,) in _COUNTER.iter_unpack(data)]
        fits = all(
            done <= self._length(i) and (not done or i * self._width + done <= size) for i, done in enumerate(found)
        )
        return found if fits else [0] * self.count

    def _length(self, stripe: int) -> int:
        return min(self._width, self.file.size - stripe * self._width)

    def __enter__(self) -> Striped:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if not any(self._done):
            self.discard()

    def open(self) -> None:
        """Open the file as far as it has come."""
        self._done = self.read_map()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NOFOLLOW", 0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, flags, 0o666)
            self._map = os.open(self._map_path, flags, 0o666)
            if not any(self._done):
                self.restart()
        except OSError as error:
            raise told(error, self.file, self.path, self.arrived, resumable=True) from error
        self._begin_hash()

    def _begin_hash(self) -> None:
        known = hasher(self.file)
        self._hash, self._hashed = (known[0] if known else None), 0

    def restart(self) -> None:
        """Drop all that has arrived."""
        with self._lock:
            os.ftruncate(self._handle, 0)
            self._done = [0] * self.count
            self._taken.clear()
            os.ftruncate(self._map, 0)
            os.pwrite(self._map, bytes(_COUNTER.size * self.count), 0)
            self._begin_hash()

    def restart_one(self, stripe: int) -> None:
        """Drop what has arrived of one stripe that nothing has been hashed of."""
        self._note(stripe, 0)

    def take(self) -> int | None:
        """Return a stripe that is not complete and that nobody else has taken, or None."""
        with self._lock:
            for stripe in range(self.count):
                if stripe not in self._taken and self.left(stripe):
                    self._taken.add(stripe)
                    return stripe
        return None

    def wanted(self, stripe: int) -> tuple[int, int]:
        """Return the first byte that is missing of a stripe, in the file, and how many are."""
        return stripe * self._width + self._done[stripe], self.left(stripe)

    @property
    def arrived(self) -> int:
        """How many bytes are here."""
        return sum(self._done)

    def left(self, stripe: int) -> int:
        """Return how many bytes of a stripe are missing."""
        return self._length(stripe) - self._done[stripe]

    def write(self, stripe: int, piece: bytes) -> None:
        """Add bytes to a stripe.

        Raises:
            DiskFull: There is no room for them.
        """
        rest = memoryview(piece)
        try:
            while rest:
                written = os.pwrite(self._handle, rest, stripe * self._width + self._done[stripe])
                self._note(stripe, self._done[stripe] + written)
                rest = rest[written:]
        except OSError as error:
            raise told(error, self.file, self.path, self.arrived, resumable=True) from error

    def _note(self, stripe: int, done: int) -> None:
        before, self._done[stripe] = self._done[stripe], done
        os.pwrite(self._map, _COUNTER.pack(done), _COUNTER.size * stripe)
        if before // _NEWS != done // _NEWS or done == self._length(stripe):
            with self._news:
                self._news.notify()

    def _front(self) -> int:
        """Return how many bytes are here from the beginning without a gap."""
        for stripe in range(self._hashed // self._width, self.count):
            if self.left(stripe):
                return stripe * self._width + self._done[stripe]
        return self.file.size

    def follow(self, stopped: Callable[[], bool]) -> None:
        """Hash what has arrived, until `followed` is called."""
        while not self._ended and not stopped():
            with self._news:
                self._news.wait_for(lambda: self._ended or self._front() - self._hashed >= _NEWS, timeout=0.5)
            self._hash_to(self._front(), lambda: self._ended or stopped())

    def followed(self) -> None:
        """End `follow`."""
        self._ended = True
        with self._news:
            self._news.notify_all()

    def _hash_to(self, end: int, stopped: Callable[[], bool]) -> None:
        room = memoryview(bytearray(_PIECE))
        while self._hashed < end and not stopped():
            count = _read_at(self._handle, room[: min(_PIECE, end - self._hashed)], self._hashed)
            if not count:
                return
            self._hash.update(room[:count])
            self._hashed += count

    def complete(self, stopped: Callable[[], bool]) -> bool:
        """Whether all bytes are here and are the listed ones."""
        self._ended = False
        self._hash_to(self.file.size, stopped)
        return self._hashed == self.file.size and bool(self._hash.hexdigest() == content_id(self.file))

    def sync(self) -> None:
        """Wait until all bytes are on the disk, not only in its cache.

        Raises:
            DiskFull, OSError: The disk failed.
        """
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise told(error, self.file, self.path, self.file.size, resumable=True) from error

    def published(self) -> None:
        """Say that the file was moved to its place."""
        if os.name != "nt" and self._map >= 0:
            # The last of removing and closing waits until the map's page, and all that is on its way to the disk before
            # it, have arrived there. Nobody else needs to.
            with suppress(OSError):
                self._map_path.unlink()
            threading.Thread(target=os.close, args=(self._map,), daemon=True).start()
            self._map = -1
        self.close()
        for path in (self._map_path, self.path):  # where the file had two names, one of them stays
            with suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Close the files."""
        for handle in (self._handle, self._map):
            if handle >= 0:
                os.close(handle)
        self._handle = self._map = -1

    def discard(self) -> None:
        """Remove what has arrived."""
        self.close()
        self._done = [0] * self.count
        for path in (self._map_path, self.path):
            with suppress(OSError):
                path.unlink()
