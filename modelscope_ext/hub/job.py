"""The workers of a download: how one file is got, in one stream or in several, and what is done when that fails."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from modelscope_ext.errors import HubError, ModelScopeExtError
from modelscope_ext.hub import locks, stripes
from modelscope_ext.hub.digest import content_id, verify_file
from modelscope_ext.hub.failures import Asked, failure
from modelscope_ext.hub.local_dir import LocalDir
from modelscope_ext.hub.partial import Partial, key_of
from modelscope_ext.hub.progress import Progress
from modelscope_ext.hub.protocol import Access, Hub, HubFile, Listing
from modelscope_ext.hub.retry import FIRST_WAIT, LONGEST_WAIT, TRIES, Unusable, after_of, is_passing, status_of
from modelscope_ext.hub.stripes import Striped
from modelscope_ext.hub.verified import Verified, this_boot
from modelscope_ext.hub.web import Web
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import printable

__all__ = ["WORKERS", "Job", "partials_in"]

#: Files on their way at once, as many as Hugging Face's client takes.
WORKERS = 8
_PIECE = 2**18
#: So many bytes in so many seconds are as good as none: another connection is worth a try.
_SLOW, _SLOW_FOR = 1024, 60.0


class _Other(Exception):
    """The server sends whole files only."""


def partials_in(folder: Path) -> Path:
    """Return where files are kept while they arrive: on the same disk as `folder`, and out of the model's way."""
    if folder.parent.name == "snapshots" and "--" in folder.parent.parent.name:
        return folder.parent.parent / ".modelscope-ext"
    return folder / ".cache" / "modelscope-ext"  # a folder that no walk over a model enters


@dataclass
class Job:
    """One call of `download`, shared by its workers."""

    hub: Hub
    listing: Listing
    access: Access
    bar: Progress
    workers: int = WORKERS
    _web: Web = field(default_factory=Web)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _open: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.hub.folder(self.listing, self.access)
        self.partials = partials_in(self.folder)
        self.verified = Verified(self.partials)
        self._spare = threading.BoundedSemaphore(self.workers)
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

    def close(self) -> None:
        """Close the connections and write down what was verified."""
        self._web.close()
        self.verified.save()
        with contextlib.suppress(OSError):
            self.partials.rmdir()  # unless something is kept in it

    def stopped(self) -> bool:
        """Whether another worker failed, or nobody waits any more."""
        return self._stopped.is_set()

    def fetch(self, files: Sequence[HubFile], *, expected: bool = True) -> None:
        """Make sure that `files` are in the folder, complete and right.

        Small ones are put onto the disk and published together: it is as much work for a file system as one of them.

        Args:
            files: Several small files, or one.
            expected: Whether copies were in the cache when the call began.
        """
        ready: list[Partial] = []
        with contextlib.suppress(InterruptedError), self._spare, contextlib.ExitStack() as held:
            try:
                self._fetch_all(files, expected, ready, held)
            finally:
                self._publish(ready)  # while the locks are held

    def _fetch_all(
        self, files: Sequence[HubFile], expected: bool, ready: list[Partial], held: contextlib.ExitStack
    ) -> None:
        taken: Path | None = None
        # Whoever holds several locks takes them in one order, here and in every other process.
        for lock, file in sorted(((self._lock_of(file), file) for file in files), key=lambda pair: str(pair[0])):
            if expected and self._reused(file):
                continue
            if lock == taken:  # of the same content, which is about to be here
                self._publish(ready)
            else:
                held.enter_context(locks.locked(lock, self.stopped))
                taken = lock
            if self._reused(file):  # by another process, or under another name
                self.bar.add(file.size)
            elif not self._fetched_striped(file):
                ready.append(self._fetched(file))

    def _fetched_striped(self, file: HubFile) -> bool:
        """Fetch a large file in several streams; False where it is none, or where only whole files are sent."""
        if file.size < stripes.LARGE or content_id(file) is None:
            return False
        with contextlib.suppress(_Other), Striped(self.partials, file) as striped:
            self._fill_striped(striped)
            self._published(file, striped)
            return True
        return False

    def _fetched(self, file: HubFile) -> Partial:
        partial = Partial(self.partials, file)
        try:
            self._fill(partial)
        except BaseException:
            partial.leave()
            raise
        return partial

    def _publish(self, ready: list[Partial]) -> None:
        """Publish what is complete; also where another file has failed meanwhile."""
        while ready:
            partial = ready.pop()
            try:
                if this_boot() is None:  # then nothing tells after a crash that the bytes have to be looked at
                    partial.sync()
                self._published(partial.file, partial)
            except BaseException:
                for other in ready:
                    other.leave()
                ready.clear()
                raise
            finally:
                partial.leave()

    def _published(self, file: HubFile, partial: Partial | Striped) -> None:
        self.hub.publish(self.listing, file, partial.path, self.access)
        partial.published()
        self.verified.note(self.folder / file.name, file, new=True)

    def _lock_of(self, file: HubFile) -> Path:
        if isinstance(self.hub, LocalDir):
            return locks.own_path(self.partials, file)
        return locks.path_of(self.listing, file, self.folder)

    def _reused(self, file: HubFile) -> bool:
        """Whether a right copy is where it belongs; one that lies elsewhere in the cache is brought there."""
        path = self.hub.cached(self.listing, file, self.access)
        if path is None:
            return False
        if not self.verified.holds(path, file):
            if verify_file(path, file) is False:
                logger.warning(
                    "%s in the cache is not the listed file (its bytes differ); it is fetched again",
                    printable(str(path)),
                )
                if self.access.offline:
                    raise HubError(
                        f"{self._said(file)}: the copy in the cache is damaged ({printable(str(path))}), and this is"
                        " offline. Remove it and allow the network once."
                    )
                return False
            self.verified.note(path, file)
        if not (self.folder / file.name).exists():
            self._brought(path, file)
        return True

    def _brought(self, path: Path, file: HubFile) -> None:
        """Make a file that lies elsewhere in the cache part of the folder too; it stays where it is."""
        if path.parent.name == "blobs":  # the content itself, of which the folder has links
            self.hub.publish(self.listing, file, path, self.access)
            return
        self.partials.mkdir(parents=True, exist_ok=True)
        copy = self.partials / f"{key_of(file.name, os.urandom(8).hex())}.copy"
        try:
            _second_name(path, copy)
            self.hub.publish(self.listing, file, copy, self.access)
        finally:
            copy.unlink(missing_ok=True)

    def _fill(self, partial: Partial) -> None:
        """Get the bytes of a file, in one stream, until they are the listed ones."""
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
            except _Other:
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

    def _fill_striped(self, striped: Striped) -> None:
        """Get the bytes of a large file in several streams at once, as many as there are workers to spare."""
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
                if not isinstance(error, _Other):
                    self.stop()

        def helped() -> None:
            try:
                work()
            finally:
                self._spare.release()

        helpers: list[threading.Thread] = []
        for _ in range(min(striped.count, stripes.STREAMS) - 1):
            if not self._spare.acquire(blocking=False):
                break
            helpers.append(threading.Thread(target=helped, name="modelscope-ext-stripe"))
            helpers[-1].start()
        hashing = threading.Thread(target=striped.follow, args=(self.stopped,), name="modelscope-ext-hash")
        hashing.start()
        try:
            work()
        finally:
            for helper in helpers:
                helper.join()
            striped.followed()
            hashing.join()
        if failures:
            raise failures[0]

    def _stripe(self, striped: Striped, stripe: int, failures: list[BaseException]) -> None:
        """Write what one answer brings of a stripe, unless another one has failed."""
        file = striped.file
        start, length = striped.wanted(stripe)
        with self._answer(file, start, length) as answer:
            if answer.status_code != 206 or answer.headers.get("Content-Encoding", "identity") != "identity":
                raise _Other
            self._check_size(_announced(answer.headers, start), file, striped.restart)
            for piece in _pieces(answer.raw):
                self._check_going(file)
                if failures:
                    raise _Other
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


def _second_name(path: Path, copy: Path) -> None:
    real = path.resolve()
    try:
        os.link(real, copy)
    except OSError:
        shutil.copyfile(real, copy)
