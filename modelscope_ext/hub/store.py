"""What was read of hubs before: small files by their content's hash, blocks of large ones, and listings by commit.

It lies beside the clients' caches, not in them: theirs hold what a load fetched, and a few files more would look to
them like a whole model. All that is kept here can be had again; where it cannot be written nothing is lost but time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscope_ext.hub.digest import content_id, verify
from modelscope_ext.hub.names import COMMIT
from modelscope_ext.hub.protocol import Access, HubFile, Listing
from modelscope_ext.utils.atomic import write_atomic

__all__ = ["BLOCK", "Store"]

#: Bytes of a block of a large file.
BLOCK = 2**15
#: A file that is larger is kept in blocks, or not at all.
_LARGEST = 16 * 2**20
_LARGEST_LISTING = 32 * 2**20


class Store:
    """The folder in which they lie: ``MODELSCOPE_EXT_CACHE``, else where the system keeps caches of users.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store, file = Store(Path(folder)), HubFile("a", 2, etag="9e26dfeeb6e641a33dae4961196235bdb965b21b")
        ...     store.keep(file, b"{}")
        ...     store.whole(file)
        b'{}'
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, access: Access) -> Store:
        """Return the store of a call."""
        if access.cache_dir is not None:
            return cls(access.cache_dir / ".modelscope_ext")
        if os.environ.get("MODELSCOPE_EXT_CACHE"):
            return cls(Path(os.environ["MODELSCOPE_EXT_CACHE"]).expanduser())
        from platformdirs import user_cache_path

        return cls(user_cache_path("modelscope_ext", appauthor=False))

    def whole(self, file: HubFile) -> bytes | None:
        """Return the content of `file` if it is here and unchanged."""
        name = content_id(file)
        data = self._read(("files", name[:2], name), file.size) if name else None
        return data if data is not None and verify(data, file) else None

    def keep(self, file: HubFile, data: bytes) -> None:
        """Keep the content of `file`, which is known to be the listed one."""
        name = content_id(file)
        if name and len(data) <= _LARGEST:
            self._write(("files", name[:2], name), data)

    def block(self, endpoint: str, listing: Listing, file: HubFile, number: int) -> bytes | None:
        """Return one block of a large file, as this hub sent it: part of a file cannot be checked."""
        name = _name_of(endpoint, listing, file)
        data = self._read(("blocks", name[:2], name, str(number)), BLOCK) if name else None
        expected = min(BLOCK, file.size - number * BLOCK)
        return data if data is not None and len(data) == expected else None

    def keep_block(self, endpoint: str, listing: Listing, file: HubFile, number: int, data: bytes) -> None:
        """Keep one block of a large file."""
        name = _name_of(endpoint, listing, file)
        if name:
            self._write(("blocks", name[:2], name, str(number)), data)

    def listing(self, hub: str, endpoint: str, repo: str, revision: str) -> Listing | None:
        """Return the listing of a commit, or the last one of a branch or tag; None where there is none."""
        place = _place(hub, endpoint, repo)
        commit: str | None = revision
        if not COMMIT.fullmatch(revision):
            kept = self._read((*place, "refs", _digest(revision)), 64)
            commit = kept.decode("ascii", "replace") if kept else None
        if commit is None or not COMMIT.fullmatch(commit):
            return None
        data = self._read((*place, commit), _LARGEST_LISTING)
        return _listing(data, hub, repo, revision, commit) if data else None

    def keep_listing(self, endpoint: str, listing: Listing) -> None:
        """Keep the listing of a commit, and which commit its revision was at."""
        if not COMMIT.fullmatch(listing.commit):
            return
        place = _place(listing.hub, endpoint, listing.repo)
        rows = [[file.name, file.size, file.sha256, file.etag] for file in listing.files]
        data = json.dumps({"files": rows, "left_out": listing.left_out}).encode()
        if len(data) <= _LARGEST_LISTING:
            self._write((*place, listing.commit), data)
            if listing.revision != listing.commit:
                self._write((*place, "refs", _digest(listing.revision)), listing.commit.encode())

    def _read(self, parts: tuple[str, ...], most: int) -> bytes | None:
        try:
            with self.root.joinpath(*parts).open("rb") as stream:
                data = stream.read(most + 1)
        except OSError:
            return None
        return data if len(data) <= most else None

    def _write(self, parts: tuple[str, ...], data: bytes) -> None:
        path = self.root.joinpath(*parts)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _place(hub: str, endpoint: str, repo: str) -> tuple[str, ...]:
    return "listings", _digest(f"{hub}\n{endpoint}\n{repo}")


def _name_of(endpoint: str, listing: Listing, file: HubFile) -> str | None:
    """Return what names a file of one hub for good, or None where a branch may move under its name."""
    known = content_id(file)
    if known is None and not COMMIT.fullmatch(listing.commit):
        return None
    return _digest("\n".join((listing.hub, endpoint, listing.repo, listing.commit, file.name, known or "")))


def _listing(data: bytes, hub: str, repo: str, revision: str, commit: str) -> Listing | None:
    """Return what `Store.keep_listing` wrote; None where it is anything else."""
    try:
        document: Mapping[str, Any] = json.loads(data)
        files = tuple(HubFile(*row) for row in document["files"])
        left_out = tuple((str(name), str(why)) for name, why in document["left_out"])
    except (ValueError, TypeError, KeyError):
        return None
    return Listing(hub, repo, revision, commit, files, left_out)
