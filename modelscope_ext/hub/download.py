"""Phase 2: exactly the files of a plan, into the cache of the hub's own client.

The body of every file comes through here, for all hubs the same way: Hugging Face's client cannot resume after a kill
and checks no hash, openMind's serves a file that failed its check, ModelScope's keeps a large file twice while it puts
its parts together (docs/hubs.md). What is shared with them is what matters to users: their caches, their locks, their
logins. A file is published when its size and its hash are the listed ones and it is on the disk, and not before.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscope_ext.errors import DiskFull, HubError, ModelNotFound, ModelScopeExtError, OptionError
from modelscope_ext.hub import locks
from modelscope_ext.hub.digest import content_id, verify_file
from modelscope_ext.hub.failures import Asked, failure
from modelscope_ext.hub.local_dir import LocalDir
from modelscope_ext.hub.partial import Partial, key_of
from modelscope_ext.hub.progress import Progress
from modelscope_ext.hub.protocol import Access, Hub, HubFile, Listing
from modelscope_ext.hub.retry import FIRST_WAIT, LONGEST_WAIT, TRIES, Unusable, after_of, is_passing, status_of
from modelscope_ext.hub.verified import Verified
from modelscope_ext.hub.web import Web
from modelscope_ext.utils.disk import disk_free
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing as listed
from modelscope_ext.utils.text import printable
from modelscope_ext.utils.text import size as readable

__all__ = ["WORKERS", "Job", "Work", "download", "work_to_do"]

#: Files on their way at once, as many as Hugging Face's client takes.
WORKERS = 8
_MOST_WORKERS = 64
_PIECE = 2**20
#: So many bytes in so many seconds are as good as none: another connection is worth a try.
_SLOW, _SLOW_FOR = 1024, 60.0


@dataclass(frozen=True)
class Work:
    """What a download would do.

    Attributes:
        here: Files of which a complete copy is in the cache.
        to_fetch: The others.
        arrived: Bytes of the others that an earlier call has fetched already.
    """

    here: tuple[HubFile, ...]
    to_fetch: tuple[HubFile, ...]
    arrived: int

    @property
    def bytes_left(self) -> int:
        """Bytes that are still to come."""
        return sum(file.size for file in self.to_fetch) - self.arrived


def work_to_do(hub: Hub, listing: Listing, names: Iterable[str], access: Access) -> Work:
    """Return what a download of `names` would do; a look at the disk, no request.

    Raises:
        ModelNotFound: A name that is not listed.
    """
    known = {file.name: file for file in listing.files}
    wanted = tuple(dict.fromkeys(names))
    lost = [name for name in wanted if name not in known]
    if lost:
        raise ModelNotFound(
            f"{_told(hub, listing)}: there is no {listed(map(printable, lost))} at {printable(listing.commit)}"
        )
    here, to_fetch, arrived = [], [], 0
    seen: set[str] = set()
    for name in wanted:
        file = known[name]
        if hub.cached(listing, file, access) is not None:
            here.append(file)
            continue
        to_fetch.append(file)
        partial = Partial(partials_in(hub.folder(listing, access)), file)
        if partial.path.name not in seen:
            seen.add(partial.path.name)
            arrived += min(partial.size, file.size)
    return Work(tuple(here), tuple(to_fetch), arrived)


def download(
    hub: Hub,
    listing: Listing,
    names: Iterable[str],
    access: Access,
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> Path:
    """Fetch exactly `names` and return the folder that holds them.

    What is there already is verified once and reused, what began to arrive is gone on with.

    Args:
        hub: The hub.
        listing: The files of one commit; every request is pinned to it.
        names: Which of them.
        access: How to ask; offline everything has to be here already. `Access.deadline` ends the whole call where it
            is set; else it goes on as long as bytes come.
        workers: Files on their way at once; None for 8.
        progress: Whether to draw a bar; None draws one where a person looks.

    Raises:
        ModelNotFound: A name that is not listed, or offline one that is not here.
        DiskFull: No room, before the first byte or while they come.
        HubError: Hub, repo, file and what to do are in the message. What has arrived is kept where it can be resumed.

    """
    count = _checked(workers)
    work = work_to_do(hub, listing, names, access)
    folder = hub.folder(listing, access)
    if access.offline and work.to_fetch:
        raise ModelNotFound(
            f"{_told(hub, listing)}: offline, and {listed(printable(f.name) for f in work.to_fetch)} is not in the"
            f" cache ({printable(str(folder))}). Allow the network once, or take a folder that is complete."
        )
    if work.to_fetch:
        check_room(_told(hub, listing), work.bytes_left, folder)
    if not work.here and not work.to_fetch:
        return folder
    with Progress(printable(listing.repo), work.bytes_left + work.arrived, work.arrived, wanted=progress) as bar:
        job = Job(hub, listing, access, bar)
        _run(job, (*sorted(work.to_fetch, key=lambda f: -f.size), *work.here), count)
    if not access.offline:
        hub.settle(listing, access)
    return folder


def check_room(source: str, needed: int, where: Path) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        source: The model, for the message.
        needed: Bytes still to be written.
        where: The folder to which they go.

    Raises:
        DiskFull: Naming what is needed, what is free, and what to do.
    """
    free = disk_free(where)
    if free is None or needed <= free:
        return
    raise DiskFull(
        f"{source}: {readable(needed)} are to be fetched, and {readable(free)} are free where they would go"
        f" ({printable(str(where))}). Nothing was fetched. Pass cache_dir= (a folder on another disk), variant= if the"
        " model has a smaller one, or make room."
    )


def partials_in(folder: Path) -> Path:
    """Return where files are kept while they arrive: on the same disk as `folder`, and out of the model's way."""
    if folder.parent.name == "snapshots" and "--" in folder.parent.parent.name:
        return folder.parent.parent / ".modelscope-ext"
    return folder / ".cache" / "modelscope-ext"  # a folder that no walk over a model enters


def _checked(workers: int | None) -> int:
    if workers is None:
        return WORKERS
    if type(workers) is not int or not 1 <= workers <= _MOST_WORKERS:
        raise OptionError(f"workers={printable(repr(workers))}: expected a whole number from 1 to {_MOST_WORKERS}")
    return workers


def _told(hub: Hub, listing: Listing) -> str:
    return str(Asked(hub, listing.repo, listing.revision))


def _run(job: Job, files: tuple[HubFile, ...], workers: int) -> None:
    """Let the workers fetch `files`; the first failure, or Ctrl-C, stops them all before it is raised."""
    pool = ThreadPoolExecutor(min(workers, len(files)), thread_name_prefix="modelscope-ext-download")
    try:
        done = [pool.submit(job.fetch, file) for file in files]
        wait(done, return_when=FIRST_EXCEPTION)
        failed = next((f.exception() for f in done if f.done() and f.exception() is not None), None)
        if failed is not None:
            raise failed
    finally:
        job.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        job.close()


@dataclass
class Job:
    """One call of `download`, shared by its workers."""

    hub: Hub
    listing: Listing
    access: Access
    bar: Progress
    _web: Web = field(default_factory=Web)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _open: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.hub.folder(self.listing, self.access)
        self.partials = partials_in(self.folder)
        self.verified = Verified(self.partials)
        self._end = None if self.access.deadline is None else time.monotonic() + self.access.deadline

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

    def fetch(self, file: HubFile) -> None:
        """Make sure that `file` is in the folder, complete and right."""
        if self._reused(file):
            return
        with contextlib.suppress(InterruptedError), locks.locked(self._lock_of(file), self.stopped):
            if self._reused(file):  # by another process meanwhile
                self.bar.add(file.size)
                return
            with Partial(self.partials, file) as partial:
                self._fill(partial)
                self.hub.publish(self.listing, file, partial.path, self.access)
                partial.published()
            self.verified.note(self.folder / file.name, file)

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
        """Get the bytes of a file, over as many connections as that takes, until they are the listed ones."""
        file, tries, wrong, pause = partial.file, 0, 0, FIRST_WAIT
        partial.open(self.stopped)
        counted = min(partial.size, file.size)
        while not partial.complete():
            before = partial.size
            try:
                if partial.size == file.size:
                    wrong += 1 if file.size else 2  # of nothing there is no second copy
                    self.bar.add(-counted)
                    counted = 0
                    partial.restart()
                    if wrong > 1:
                        raise self._wrong(partial)
                for count in self._stream(partial):
                    counted += count
                    self.bar.add(count)
                if partial.size < file.size:
                    raise Unusable(f"cut off after {partial.size} of {file.size} bytes")
            except Exception as error:
                if self.stopped():
                    raise InterruptedError from error
                tries = 1 if partial.size > before else tries + 1  # whoever gets on may go on
                if status_of(error) == 416 and partial.size:
                    self.bar.add(-counted)
                    counted = 0
                    partial.restart()
                elif tries >= TRIES or not is_passing(error):
                    raise self._failure(error, file) from error
                asked = after_of(error)
                self._rest(asked if asked is not None else pause * random.uniform(0.75, 1.25), file, error)
                pause = FIRST_WAIT if partial.size > before else min(2 * pause, LONGEST_WAIT)

    def _stream(self, partial: Partial) -> Iterator[int]:
        """Write what one answer brings and yield the bytes gained; negative where it begins anew."""
        file, number = partial.file, threading.get_ident()
        if file.size == 0:
            return
        address = self.hub.address(self.listing, file, self.access)
        with self._web.streamed(address, partial.size) as answer:
            self._open[number] = answer
            try:
                if answer.status_code == 200 and partial.size:
                    yield -partial.size
                    partial.restart()
                packed = answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
                if not packed:
                    self._check_size(_announced(answer.headers, partial.size), partial)
                for piece in _unpacked(_pieces(answer.raw), packed):
                    if self.stopped():
                        raise InterruptedError
                    self._check_time(file)
                    if partial.size + len(piece) > file.size:
                        self._check_size(partial.size + len(piece), partial)
                    partial.write(piece)
                    yield len(piece)
            finally:
                self._open.pop(number, None)

    def _check_size(self, announced: int | None, partial: Partial) -> None:
        if announced is not None and announced != partial.file.size:
            partial.restart()
            raise HubError(
                f"{self._said(partial.file)}: {partial.file.size} bytes are listed, and {announced} or more were sent."
                " Nothing of it was used. The file may have changed a moment ago: ask again."
            )

    def _check_time(self, file: HubFile) -> None:
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

    def _wrong(self, partial: Partial) -> HubError:
        return HubError(
            f"{self._said(partial.file)}: the bytes that were sent are not the listed ones (expected"
            f" {printable(content_id(partial.file) or '')}); fetched twice. Nothing of it was used. The file may have"
            " changed a moment ago, or something on the way changes it: ask again, or try without the proxy."
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
    """Yield bytes as they come, at most one MiB at once.

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
