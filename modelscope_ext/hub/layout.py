"""The cache layout that Hugging Face's client made and openMind's took over.

``models--org--name/{blobs/<etag>, snapshots/<commit>/<file> -> blob, refs/<revision>}``: see
https://huggingface.co/docs/huggingface_hub/guides/manage-cache. The client has no call that adds a file to it, and
looking a file up takes a few system calls, and so the layout is read and written here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelscope_ext.hub.names import COMMIT
from modelscope_ext.hub.protocol import HubFile, Listing
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.atomic import beside, write_atomic

__all__ = [
    "blob_of",
    "commit_of",
    "files_in",
    "find",
    "known_in",
    "link",
    "place",
    "put",
    "settled",
    "snapshot_of",
    "storage_of",
]

_ETAG = re.compile(r"[0-9a-f]{40,64}")
_FOLDER = re.compile(r"models--(.+)")
_REF_BYTES = 256
_MOST_LISTED = 100_000


def storage_of(cache: Path, repo: str) -> Path:
    """Return the folder of one repo.

    Example:
        >>> storage_of(Path("c"), "org/x").name
        'models--org--x'
    """
    return cache / "--".join(("models", *repo.split("/")))


def snapshot_of(storage: Path, commit: str) -> Path:
    """Return the folder of one commit's files."""
    return storage / "snapshots" / commit


def blob_of(storage: Path, file: HubFile) -> Path | None:
    """Return where the content of `file` lies, whether it exists or not; None where the hub named no etag."""
    return storage / "blobs" / file.etag if file.etag and _ETAG.fullmatch(file.etag) else None


def find(storage: Path, commit: str, file: HubFile) -> Path | None:
    """Return a copy of `file` of the listed size: at this commit, or the same content fetched for another one."""
    for path in (snapshot_of(storage, commit) / file.name, blob_of(storage, file)):
        with suppress(OSError):
            if path is not None and path.is_file() and path.stat().st_size == file.size:
                return path
    return None


def commit_of(storage: Path, revision: str) -> str | None:
    """Return the commit that `revision` was at when the client last looked, if its files are here."""
    commit = revision
    if not COMMIT.fullmatch(revision):
        try:
            with (storage / "refs" / revision).open("r", encoding="ascii") as stream:
                commit = stream.read(_REF_BYTES).strip()
        except (OSError, ValueError):
            return None
    usable = COMMIT.fullmatch(commit) and snapshot_of(storage, commit).is_dir()
    return commit if usable else None


def files_in(folder: Path) -> Iterator[HubFile]:
    """Yield the files below `folder` whose names are usable; broken links count for nothing."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for base in sorted(names):
            path = Path(root, base)
            name = path.relative_to(folder).as_posix()
            count += 1
            if count > _MOST_LISTED:
                return
            if fault_of(name) is not None:
                continue
            with suppress(OSError):
                if path.is_file():
                    etag = Path(path.readlink()).name if path.is_symlink() else ""
                    yield HubFile(name, path.stat().st_size, etag=etag if _ETAG.fullmatch(etag) else None)


def known_in(cache: Path) -> tuple[str, ...]:
    """Return the ids of the repos in a cache."""
    try:
        found = [_FOLDER.fullmatch(name) for name in os.listdir(cache)]
    except OSError:
        return ()
    return tuple(sorted(match.group(1).replace("--", "/", 1) for match in found if match))


def place(storage: Path, listing: Listing, file: HubFile, body: Path) -> Path:
    """Move `body` to where the client looks for `file`, and return that path."""
    blob = blob_of(storage, file)
    target = snapshot_of(storage, listing.commit) / file.name
    if blob is None:
        put(body, target)
        return target
    put(body, blob)
    link(blob, target)
    return target


def link(blob: Path, target: Path) -> None:
    """Make `target` stand for `blob`: by a relative link as the client makes it, or by a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with beside(target) as name:
        try:
            name.symlink_to(os.path.relpath(blob, target.parent))
        except OSError:
            shutil.copyfile(blob, name)


def settled(storage: Path, listing: Listing) -> None:
    """Write which commit the revision is at, so that the client finds it offline."""
    if listing.revision == listing.commit:
        return
    ref = storage / "refs" / listing.revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(ref, listing.commit, durable=False)  # empty, it names no commit, and the hub is asked again


def put(body: Path, target: Path) -> None:
    """Put `body` in place of `target` at once; from another disk it is copied beside it first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        body.replace(target)
    except OSError:
        with beside(target) as name:
            shutil.copyfile(body, name)
        body.unlink()
