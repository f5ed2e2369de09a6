"""The bytes of one file: in one stream or in several, over as many connections as that takes."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from modelscope_ext.errors import HubError, ModelScopeExtError
from modelscope_ext.hub import stripes
from modelscope_ext.hub.digest import content_id
from modelscope_ext.hub.failures import Asked, failure
from modelscope_ext.hub.partial import Partial
from modelscope_ext.hub.progress import Progress
from modelscope_ext.hub.protocol import Access, Hub, HubFile, Listing
from modelscope_ext.hub.retry import FIRST_WAIT, LONGEST_WAIT, TRIES, Unusable, after_of, is_passing, status_of
from modelscope_ext.hub.stripes import Striped
from modelscope_ext.hub.verified import this_boot
from modelscope_ext.hub.web import Web
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import printable

__all__ = ["Transfer", "WholeOnly"]

_PIECE = 2**18
#: So many bytes in so many seconds are as good as none: another connection is worth a try.
_SLOW, _SLOW_FOR = 1024, 60.0


class WholeOnly(Exception):
    """The server sends whole files only."""


@dataclass
class Transfer:
    """What the workers of one download share while bytes arrive.

    Attributes:
        hub: The hub.
        listing: What it lists.
        access: How to ask.
        bar: Shows the bytes.
        spare: Holds one permit for each stream that may be open beside those that are.
    """

    hub: Hub
    listing: Listing
    access: Access
    bar: Progress
    spare: threading.BoundedSemaphore
    _web: Web = field(default_factory=Web)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _open: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = None if self.access.deadline is None else time.monotonic() + self.access.deadline

    @cached_property
    def _signed(self) -> Access:
        return self.hub.signed(self.access)

    def stop(self) -> None:
        """Make every worker end soon; those that wait for bytes are woken."""
        self._stopped.set()
        for answer in list(self._open.values()):
            with contextlib.suppress(Exception):
                answer.raw.shutdown()

    def stopped(self) -> bool:
        """Whether another worker failed, or nobody waits any more."""
        return self._stopped.is_set()

    def close(self) -> None:
        """Close the connections."""
        self._web.close()

    def fill(self, partial: Partial) -> None:
        """Get the bytes of a file, in one stream, until they are the listed ones.

        Raises:
            HubError: What the hub said or sent, or that there was no time left.
            DiskFull: No room for them.
            InterruptedError: `stop` was called.
        """
        file, wrong = partial.file, 0
        partial.open(self.stopped)

        def restart() -> None:
            self.bar.add(-min(partial.size, file.size))
            partial.restart()

        while not partial.complete():
            if partial.size == file.size:
                wrong += 1
                restart()
                if wrong > 1 or not file.size:
                    raise self._wrong(file)
            self._patiently(file, lambda: self._stream(partial), lambda: file.size - partial.size, restart)

    def _patiently(
        self, file: HubFile, step: Callable[[], None], left: Callable[[], int], restart: Callable[[], None]
    ) -> None:
        """Take `step` until nothing is left, over as many connections as that takes.

        Args:
            file: What is fetched.
            step: Asks once and writes what comes.
            left: Bytes still to come.
            restart: Drops what has arrived.
        """
        tries, pause = 0, FIRST_WAIT
        while (before := left()) > 0:
            try:
                step()
                if left() > 0:
                    raise Unusable(f"cut off with {left()} bytes to come")
            except WholeOnly:
                raise
            except Exception as error:
                if self.stopped():
                    raise InterruptedError from error
                gained = left() < before
                tries = 1 if gained else tries + 1  # whoever gets on may go on
                if status_of(error) == 416 and before < file.size:
                    restart()
                elif tries >= TRIES or not is_passing(error):
                    raise self._failure(error, file) from error
                pause = FIRST_WAIT if gained else pause
                asked = after_of(error)
                self._rest(asked if asked is not None else pause * random.uniform(0.75, 1.25), file, error)
                pause = min(2 * pause, LONGEST_WAIT)

    def _stream(self, partial: Partial) -> None:
        """Write what one answer brings."""
        file = partial.file
        with self._answer(file, partial.size) as answer:
            if answer.status_code == 200 and partial.size:
                self.bar.add(-partial.size)
                partial.restart()
            packed = answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
            if not packed:
                self._check_size(_announced(answer.headers, partial.size), file, partial.restart)
            for piece in _unpacked(_pieces(answer.raw), packed):
                self._check_going(file)
                if partial.size + len(piece) > file.size:
                    self._check_size(partial.size + len(piece), file, partial.restart)
                partial.write(piece)
                self.bar.add(len(piece))

    @contextlib.contextmanager
    def _answer(self, file: HubFile, start: int, length: int | None = None) -> Iterator[Any]:
        """Yield an answer, which `stop` interrupts."""
        address, number = self.hub.address(self.listing, file, self._signed), threading.get_ident()
        with self._web.streamed(address, start, length) as answer:
            self._open[number] = answer
            try:
                yield answer
            finally:
                self._open.pop(number, None)

    def fill_striped(self, striped: Striped) -> None:
        """Get the bytes of a large file in several streams at once, where more than one brings more.

        Raises:
            WholeOnly: The server sends whole files only.
            HubError, DiskFull: As for `fill`.
        """
        file, wrong = striped.file, 0
        striped.open()
        while True:
            self._all_stripes(striped)
            if striped.complete(self.stopped):
                if this_boot() is None:
                    striped.sync()
                return
            if self.stopped():
                raise InterruptedError
            wrong += 1
            self.bar.add(-file.size)
            striped.restart()
            if wrong > 1:
                raise self._wrong(file)

    def _all_stripes(self, striped: Striped) -> None:
        """Let this worker and its helpers fetch stripes until none is left; the first failure is raised."""
        failures: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                while not failures and (stripe := striped.take()) is not None:
                    self._patiently(
                        striped.file,
                        lambda: self._stripe(striped, stripe, failures),
                        lambda: striped.left(stripe),
                        lambda: striped.restart_one(stripe),
                    )
            except BaseException as error:  # noqa: BLE001 - handed to the worker that owns the file
                failures.append(error)
                if not isinstance(error, WholeOnly):
                    self.stop()

        beside = [
            threading.Thread(target=self._joined, args=(striped, work, done), name="modelscope-ext-streams"),
            threading.Thread(target=striped.follow, args=(self.stopped,), name="modelscope-ext-hash"),
        ]
        for thread in beside:
            thread.start()
        try:
            work()
        finally:
            done.set()
            beside[0].join()
            striped.followed()
            beside[1].join()
        if failures:
            raise failures[0]

    def _joined(self, striped: Striped, work: Callable[[], None], done: threading.Event) -> None:
        """Start further streams as long as the last one has brought more bytes a second; end when all have ended."""

        def helped() -> None:
            try:
                work()
            finally:
                self.spare.release()

        streams: list[threading.Thread] = []
        best = 0.0
        while len(streams) < min(striped.count, stripes.STREAMS) - 1:
            before, since = striped.arrived, time.monotonic()
            if done.wait(stripes.LOOK):
                break
            rate = (striped.arrived - before) / (time.monotonic() - since)
            if rate >= stripes.ENOUGH or rate < best * stripes.WORTH or not self.spare.acquire(blocking=False):
                break
            best = rate
            streams.append(threading.Thread(target=helped, name="modelscope-ext-stripe"))
            streams[-1].start()
        for stream in streams:
            stream.join()

    def _stripe(self, striped: Striped, stripe: int, failures: list[BaseException]) -> None:
        """Write what one answer brings of a stripe, unless another one has failed."""
        file = striped.file
        start, length = striped.wanted(stripe)
        with self._answer(file, start, length) as answer:
            if answer.status_code != 206 or answer.headers.get("Content-Encoding", "identity") != "identity":
                raise WholeOnly
            self._check_size(_announced(answer.headers, start), file, striped.restart)
            for piece in _pieces(answer.raw):
                self._check_going(file)
                if failures:
                    raise WholeOnly
                piece = piece[: striped.left(stripe)]
                striped.write(stripe, piece)
                self.bar.add(len(piece))

    def _check_size(self, announced: int | None, file: HubFile, restart: Callable[[], None]) -> None:
        if announced is not None and announced != file.size:
            restart()
            raise HubError(
                f"{self._said(file)}: {file.size} bytes are listed, and {announced} or more were sent. Nothing of it"
                " was used. The file may have changed a moment ago: ask again."
            )

    def _check_going(self, file: HubFile) -> None:
        if self.stopped():
            raise InterruptedError
        if self._end is not None and time.monotonic() > self._end:
            raise HubError(
                f"{self._said(file)}: not done within {self.access.deadline:g} seconds. What has arrived is kept: the"
                " next call goes on with it."
            )

    def _rest(self, seconds: float, file: HubFile, error: Exception) -> None:
        """Wait before the next try, unless there is no time left for one."""
        if self._end is not None and time.monotonic() + seconds > self._end:
            raise self._failure(error, file) from error
        logger.info("%s: %s; once more in %.1f s", printable(file.name), type(error).__name__, seconds)
        if self._stopped.wait(seconds):
            raise InterruptedError

    def _wrong(self, file: HubFile) -> HubError:
        if not file.size:
            return HubError(f"{self._said(file)}: 0 bytes are listed, with the hash of others. Ask again later.")
        return HubError(
            f"{self._said(file)}: the bytes that were sent are not the listed ones (expected"
            f" {printable(content_id(file) or '')}); fetched twice. Nothing of it was used. The file may have changed a"
            " moment ago, or something on the way changes it: ask again, or try without the proxy."
        )

    def _failure(self, error: Exception, file: HubFile) -> ModelScopeExtError:
        local = isinstance(error, OSError) and not isinstance(error, ModelScopeExtError)
        if local and not is_passing(error) and status_of(error) is None:
            text = printable(getattr(error, "strerror", None) or str(error))
            return HubError(f"{self._said(file)}: cannot be written ({text}). Check the cache's folder.")
        return failure(error, Asked(self.hub, self.listing.repo, self.listing.revision, file=file.name))

    def _said(self, file: HubFile) -> str:
        return str(Asked(self.hub, self.listing.repo, self.listing.revision, file=file.name))


def _announced(headers: Mapping[str, str], start: int) -> int | None:
    """Return the size that a whole file has according to an answer that begins at `start`."""
    whole = headers.get("Content-Range", "").rpartition("/")[2]
    if whole.isdecimal():
        return int(whole)
    length = headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() and "Content-Range" not in headers else None


def _pieces(raw: Any) -> Iterator[bytes]:
    """Yield bytes as they come, at most 256 KiB at once.

    Raises:
        TimeoutError: They come too slowly.
    """
    since, count = time.monotonic(), 0
    read: Callable[[int], bytes] = getattr(raw, "read1", raw.read)
    while piece := read(_PIECE):
        yield piece
        count += len(piece)
        if (now := time.monotonic()) - since > _SLOW_FOR:
            if count < _SLOW * _SLOW_FOR:
                raise TimeoutError(f"{count} bytes in {now - since:.0f} seconds")
            since, count = now, 0


def _unpacked(pieces: Iterator[bytes], packed: bool) -> Iterator[bytes]:
    if not packed:
        yield from pieces
        return
    unpack = zlib.decompressobj(47)
    try:
        for piece in pieces:
            while piece:
                yield unpack.decompress(piece, _PIECE)
                piece = unpack.unconsumed_tail
    except zlib.error as error:
        raise Unusable("packed in a way that cannot be read") from error
