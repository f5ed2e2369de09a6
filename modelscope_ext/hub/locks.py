"""The file locks of the official clients, under their own names: whoever comes second waits and finds the file there.

A lock only saves bandwidth. What makes a file right is that it is checked, and moved into place at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelscope_ext.hub.protocol import HubFile, Listing

__all__ = ["locked", "own_path", "path_of"]

_STEP = 0.1  # seconds between two looks


def own_path(folder: Path, file: HubFile) -> Path:
    """Return the lock of `file` in a folder of ours."""
    return folder / f"{_digest(file.name)[:32]}.lock"


def path_of(listing: Listing, file: HubFile, folder: Path) -> Path:
    """Return the lock that the hub's client takes for `file` in its cache.

    Args:
        listing: The file's listing.
        file: The file.
        folder: The folder of this commit in the client's cache.

    Example:
        >>> listing = Listing("huggingface", "org/x", "main", "c0", ())
        >>> path_of(listing, HubFile("a", 1, etag="e1"), Path("hub/models--org--x/snapshots/c0")).as_posix()
        'hub/.locks/models--org--x/e1.lock'
    """
    if listing.hub == "modelscope":  # modelscope_hub 0.5: DownloadManager._lock_path
        key = ("modelscope-hub-download-lock-v2", "file", "model", listing.repo, file.name)
        return _modelscope_cache(folder) / ".lock" / f"file_{_digest(*key)}.lock"
    storage = folder.parent.parent
    return storage.parent / ".locks" / storage.name / f"{file.etag or _digest(file.name)}.lock"


def _modelscope_cache(folder: Path) -> Path:
    """Return the cache in which a repo's folder lies, in any layout that ModelScope has had.

    Example:
        >>> for path in ("c/models/o--n/snapshots/master", "c/models/o/n", "c/hub/o/n", "c/hub/models/o/n"):
        ...     print(_modelscope_cache(Path(path)))
        c
        c
        c
        c
    """
    above = folder.parent.parent  # of owner and name
    if folder.parent.name == "snapshots":
        above = folder.parent.parent.parent
    for name in ("models", "hub"):
        if above.name == name:
            above = above.parent
    return above


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@contextmanager
def locked(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock `path`; wait for whoever holds it.

    Raises:
        InterruptedError: `stopped()` while waiting.
    """
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(path, mode=0o664)  # as the clients: others of the group may wait for it too
    while True:
        try:
            lock.acquire(timeout=_STEP, poll_interval=_STEP / 2)
            break
        except Timeout:
            if stopped():
                raise InterruptedError from None
        except NotImplementedError:  # a file system without locks
            lock = SoftFileLock(path)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()
