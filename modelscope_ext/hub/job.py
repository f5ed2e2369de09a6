"""The workers of a download: what is in the cache is reused, the rest is fetched under a lock and published whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelscope_ext.errors import HubError
from modelscope_ext.hub import locks, stripes
from modelscope_ext.hub.digest import content_id, verify_file
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.local_dir import LocalDir
from modelscope_ext.hub.partial import Partial, key_of
from modelscope_ext.hub.progress import Progress
from modelscope_ext.hub.protocol import Access, Hub, HubFile, Listing
from modelscope_ext.hub.stripes import Striped
from modelscope_ext.hub.transfer import Transfer, WholeOnly
from modelscope_ext.hub.verified import Verified, this_boot
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import printable

__all__ = ["WORKERS", "Job", "partials_in"]

#: Files on their way at once, as many as Hugging Face's client takes.
WORKERS = 8


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

    def __post_init__(self) -> None:
        self.folder = self.hub.folder(self.listing, self.access)
        self.partials = partials_in(self.folder)
        self.verified = Verified(self.partials)
        self._spare = threading.BoundedSemaphore(self.workers)
        self._transfer = Transfer(self.hub, self.listing, self.access, self.bar, self._spare)

    def stop(self) -> None:
        """Make every worker end soon; those that wait for bytes are woken."""
        self._transfer.stop()

    def close(self) -> None:
        """Close the connections and write down what was verified."""
        self._transfer.close()
        self.verified.save()
        with contextlib.suppress(OSError):
            self.partials.rmdir()  # unless something is kept in it

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
                held.enter_context(locks.locked(lock, self._transfer.stopped))
                taken = lock
            if self._reused(file):  # by another process, or under another name
                self.bar.add(file.size)
            elif not self._fetched_striped(file):
                ready.append(self._fetched(file))

    def _fetched_striped(self, file: HubFile) -> bool:
        """Fetch a large file in several streams; False where it is none, or where only whole files are sent."""
        if file.size < stripes.LARGE or content_id(file) is None:
            return False
        with contextlib.suppress(WholeOnly), Striped(self.partials, file) as striped:
            self._transfer.fill_striped(striped)
            self._published(file, striped)
            return True
        return False

    def _fetched(self, file: HubFile) -> Partial:
        partial = Partial(self.partials, file)
        try:
            self._transfer.fill(partial)
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
        if file.size >= stripes.LARGE:  # a server may have changed its mind about ranges: what the other way had begun
            Partial(self.partials, file).discard()
            Striped(self.partials, file).discard()
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
                        f"{self._asked(file)}: the copy in the cache is damaged ({printable(str(path))}), and this is"
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

    def _asked(self, file: HubFile) -> Asked:
        return Asked(self.hub, self.listing.repo, self.listing.revision, file=file.name)


def _second_name(path: Path, copy: Path) -> None:
    real = path.resolve()
    try:
        os.link(real, copy)
    except OSError:
        shutil.copyfile(real, copy)
