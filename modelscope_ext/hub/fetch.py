"""Phase 2 for a Snapshot: the files that a load may read are fetched, and the same model is looked at on the disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from modelscope_ext.errors import ModelNotFound
from modelscope_ext.hub.download import download, work_to_do
from modelscope_ext.hub.job import partials_in
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.metadata.walk import walk
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing as listed
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.hub.download import Work
    from modelscope_ext.hub.remote import Remote

__all__ = ["cache_of", "fetched", "to_do"]


def to_do(snapshot: Snapshot, names: Iterable[str]) -> Work:
    """Return which of `names` are in the cache and which would be fetched; no request.

    Args:
        snapshot: Of a repo on a hub.
        names: By their names in the snapshot.
    """
    remote: Remote = snapshot.remote
    return work_to_do(remote.hub, remote.listing, _in_repo(snapshot, names), remote.access)


def cache_of(snapshot: Snapshot) -> Path:
    """Return the folder of the client's cache to which the files of a hub's snapshot go."""
    remote: Remote = snapshot.remote
    return remote.hub.folder(remote.listing, remote.access)


def fetched(
    snapshot: Snapshot, names: Iterable[str], *, workers: int | None = None, progress: bool | None = None
) -> Snapshot:
    """Return the same model as a folder that holds exactly `names`, after fetching those that were not there.

    The folder is that of the client's cache. Where that holds files which the listing does not have, left there by an
    earlier state of the branch or by somebody, it is another one of the same files, so that no library finds them.

    Args:
        snapshot: Of a repo on a hub.
        names: The files of the plan.
        workers: See `download`.
        progress: See `download`.

    Raises:
        ModelNotFound, HubError, DiskFull: See `download`.
    """
    remote: Remote = snapshot.remote
    wanted = tuple(dict.fromkeys(names))
    folder = download(
        remote.hub, remote.listing, _in_repo(snapshot, wanted), remote.access, workers=workers, progress=progress
    )
    place = folder / remote.subfolder if remote.subfolder else folder
    strange = sorted(set(walk(str(place), snapshot.limits, source=str(snapshot.source)).sizes) - set(remote.files))
    if strange:
        logger.info(
            "%s: the cache holds what is not in the model at %s: %s; it is left alone and not read",
            printable(str(snapshot.source)), printable(remote.listing.commit), listed(map(printable, strange)),
        )  # fmt: skip
        place = _apart(place, wanted, partials_in(folder) / "views")
    local = Snapshot.from_folder(place, limits=snapshot.limits, source=snapshot.source).only(wanted)
    local.hashes = {name: known for name in wanted if (known := snapshot.hashes.get(name))}
    return local


def _in_repo(snapshot: Snapshot, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in the repo of files of the snapshot."""
    files = snapshot.remote.files
    wanted = tuple(names)
    if lost := [name for name in wanted if name not in files]:
        raise ModelNotFound(
            f"{printable(str(snapshot.source))} has no {listed(map(printable, lost))}. There are:"
            f" {listed(map(printable, files))}"
        )
    return tuple(files[name].name for name in wanted)


def _apart(folder: Path, names: tuple[str, ...], views: Path) -> Path:
    """Return a folder with the files `names` of `folder` and no others; they take no more room on the disk.

    It is made once for files that do not change, and stays: a library may read from it for as long as a model lives.
    """
    marks = []
    for name in sorted(names):
        status = (folder / name).stat()
        marks.append(f"{name}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}")
    view = views / hashlib.sha256("\0".join(marks).encode()).hexdigest()[:32]
    if view.is_dir():
        return view
    made = views / f"{view.name}.{os.getpid():x}{os.urandom(4).hex()}.tmp"
    try:
        for name in names:
            target = made / name
            target.parent.mkdir(parents=True, exist_ok=True)
            real = (folder / name).resolve()
            try:
                os.link(real, target)
            except OSError:  # another disk, or a file system without hard links
                shutil.copy2(real, target)
        made.rename(view)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not view.is_dir():  # another process was first
            raise
    return view
