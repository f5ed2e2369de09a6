"""Phase 2: exactly the files of a plan, into the cache of the hub's own client.

The body of every file comes through here, for all hubs the same way: Hugging Face's client cannot resume after a kill
and checks no hash, openMind's serves a file that failed its check (docs/download.md). What is shared with them is what
matters to users: their caches, their locks, their logins. A file is published when its size and its hash are the listed
ones, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from modelscope_ext.errors import DiskFull, ModelNotFound, OptionError
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.job import WORKERS, Job, partials_in
from modelscope_ext.hub.progress import Progress
from modelscope_ext.hub.protocol import Access, Hub, HubFile, Listing
from modelscope_ext.hub.stripes import arrived_of
from modelscope_ext.utils.disk import disk_free
from modelscope_ext.utils.text import listing as listed
from modelscope_ext.utils.text import printable
from modelscope_ext.utils.text import size as readable

__all__ = ["Work", "check_room", "download", "work_to_do"]

_MOST_WORKERS = 64
#: Files below so many bytes are published together, so many at most.
_SMALL, _TOGETHER = 2**20, 16


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
    for name in wanted:
        file = known[name]
        if hub.cached(listing, file, access) is not None:
            here.append(file)
            continue
        to_fetch.append(file)
        arrived += arrived_of(partials_in(hub.folder(listing, access)), file)
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
        _run(Job(hub, listing, access, bar, count), work, count)
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


def _checked(workers: int | None) -> int:
    if workers is None:
        return WORKERS
    if type(workers) is not int or not 1 <= workers <= _MOST_WORKERS:
        raise OptionError(f"workers={printable(repr(workers))}: expected a whole number from 1 to {_MOST_WORKERS}")
    return workers


def _told(hub: Hub, listing: Listing) -> str:
    return str(Asked(hub, listing.repo, listing.revision))


def _run(job: Job, work: Work, workers: int) -> None:
    """Let the workers fetch the files; the first failure, or Ctrl-C, stops them all before it is raised."""
    tasks = _tasks(work.to_fetch, workers)
    pool = ThreadPoolExecutor(min(workers, len(tasks) + len(work.here)), thread_name_prefix="modelscope-ext-download")
    try:
        done = [pool.submit(job.fetch, files, expected=False) for files in tasks]
        done += [pool.submit(job.fetch, (file,)) for file in work.here]
        wait(done, return_when=FIRST_EXCEPTION)
        failed = next((f.exception() for f in done if f.done() and f.exception() is not None), None)
        if failed is not None:
            raise failed
    finally:
        job.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        job.close()


def _tasks(files: Iterable[HubFile], workers: int) -> list[list[HubFile]]:
    """Return what one worker fetches at a time: a large file, or several small ones; the largest first."""
    by_size = sorted(files, key=lambda file: -file.size)
    small = [file for file in by_size if file.size < _SMALL]
    each = min(max(len(small) // (2 * workers), 1), _TOGETHER)
    larger = [[file] for file in by_size[: len(by_size) - len(small)]]
    return larger + [small[start : start + each] for start in range(0, len(small), each)]
