"""Step 2 of 6 for a hub: a Snapshot of a listing, which reads what it is asked for and nothing else.

Small files come whole and are checked against the listed hash; of large ones only the blocks that are asked for. What
the client's cache or our own store holds costs no request, and what costs one is kept for the next time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import LimitExceeded, ModelNotFound, ModelScopeExtError
from modelscope_ext.hub import failures
from modelscope_ext.hub.client import checked
from modelscope_ext.hub.digest import verify
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.names import COMMIT
from modelscope_ext.hub.protocol import Access, HubFile, Listing
from modelscope_ext.hub.retry import Deadline, Unusable, at_once, retried
from modelscope_ext.hub.store import BLOCK, Store
from modelscope_ext.hub.web import Web
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.paths import check_name
from modelscope_ext.safety.reading import text_limit
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, printable

if TYPE_CHECKING:
    from modelscope_ext.hub.protocol import Hub

__all__ = ["Remote", "listing_of", "snapshot"]

#: Up to so many bytes a file is fetched whole, whatever part of it is asked for: it can be checked then.
_SMALL = 2**16
#: The largest piece of a large file that is read at once.
_LARGEST_PIECE = 64 * 2**20


@dataclass(frozen=True)
class Remote:
    """A model on a hub: what `Snapshot.remote` holds, and what a download starts from.

    Attributes:
        hub: The hub.
        listing: Its files at one commit, by their names in the repo.
        access: How to ask.
        subfolder: The folder of the repo that is the model, without the final slash; empty for the repo itself.
    """

    hub: Hub
    listing: Listing
    access: Access
    subfolder: str = ""

    @cached_property
    def files(self) -> dict[str, HubFile]:
        """The files of the model, by their names in it."""
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        listed = self.listing.files
        return {file.name[len(prefix) :]: file for file in listed if file.name.startswith(prefix)}

    @property
    def asked(self) -> Asked:
        """What messages name."""
        return Asked(self.hub, self.listing.repo, self.listing.revision, str(self.hub.options().get("endpoint", "")))


def listing_of(hub: Hub, repo: str, revision: str | None, access: Access) -> Listing:
    """Return the listing of a repo, with no request where it can be known without one.

    That is a full commit whose listing was seen before, and everything offline: what the client's cache holds, or else
    what was last seen.

    Raises:
        ModelScopeExtError: See `Hub.listing`.
    """
    store, endpoint = Store.of(access), str(hub.options().get("endpoint", ""))
    pinned = revision is not None and COMMIT.fullmatch(revision) is not None
    kept = store.listing(hub.name, endpoint, repo, _branch(hub, revision)) if pinned or access.offline else None
    if kept is not None:
        asked = Asked(hub, repo, kept.revision, endpoint)
        kept = checked(replace(kept, files=(), offline=access.offline), kept.files, asked, access.limits)
    if kept is not None and pinned:
        return kept
    try:
        listing = hub.listing(repo, revision, access)
    except ModelNotFound:
        if kept is None:
            raise
        return kept
    if not access.offline:
        store.keep_listing(endpoint, listing)
    return listing


def _branch(hub: Hub, revision: str | None) -> str:
    return hub.default if revision in (None, "main", "master") else str(revision)


def snapshot(hub: Hub, repo: str, revision: str | None, access: Access, *, subfolder: str | None = None) -> Snapshot:
    """Return the Snapshot of a hub's repo: listed, nothing read yet.

    Raises:
        ModelNotFound: There is no such repo, revision or subfolder.
        HubError: The hub failed, or refused.
        SafetyError: A listing that cannot be believed.
    """
    below = check_name(subfolder.strip("/"), field="subfolder") if subfolder and subfolder.strip("/") else ""
    remote = Remote(hub, listing_of(hub, repo, revision, access), access, below)
    files, listing = remote.files, remote.listing
    if below and not files:
        folders = {name.rpartition("/")[0] for name in (file.name for file in listing.files)}
        raise ModelNotFound(f"{remote.asked}: has no folder {printable(below)!r}.{did_you_mean(below, folders)}")
    source = Source(hub.name, repo=repo, revision=listing.revision, commit=listing.commit, subfolder=below or None)
    reader = _Reader(remote)
    return Snapshot(
        source,
        {name: file.size for name, file in files.items()},
        reader,
        texts=frozenset(name for name, file in files.items() if reader.has(file)) if listing.offline else None,
        hashes={name: file.sha256 for name, file in files.items() if file.sha256},
        findings=tuple(_odd(name, why) for name, why in listing.left_out),
        limits=access.limits,
        remote=remote,
        prefetch=reader.prefetch,
    )


def _odd(name: str, why: str) -> Finding:
    return Finding("odd-name", "warning", printable(name), None, f"{printable(name)}: left out: {why}")


class _Reader:
    """Reads bytes of the files of one remote model; safe to share by threads."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.store = Store.of(remote.access)
        self._whole: dict[str, bytes] = {}
        self._blocks: dict[tuple[str, int], bytes] = {}

    def __call__(self, name: str, start: int, length: int) -> bytes:
        """Return bytes of the file `name`; see `metadata.snapshot.Reader`."""
        file = self.remote.files[name]
        length = max(min(length, file.size - start), 0)
        if not length:
            return b""
        if file.size <= _SMALL or (length == file.size and length <= text_limit(name, self.remote.access.limits)):
            return self.whole(file)[start : start + length]
        return self._part(file, start, length)

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch the small files among `names` side by side; what fails is left to the reading to report."""
        wanted = [self.remote.files[name] for name in names if name in self.remote.files]
        missing = [file for file in wanted if file.size <= _SMALL and self._here(file) is None]
        if len(missing) < 2 or self.remote.access.offline:
            return
        deadline = Deadline.of(self.remote.access.deadline)
        with Web() as web:
            try:
                at_once([lambda file=file: self._fetched(web, file, deadline) for file in missing], deadline)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - asked again, one by one, by who needs it
                logger.debug("%s: %s", self.remote.asked, printable(repr(error), 300))

    def has(self, file: HubFile) -> bool:
        """Return whether the content of `file` is on this machine."""
        remote = self.remote
        return remote.hub.cached(remote.listing, file, remote.access) is not None or self.store.whole(file) is not None

    def whole(self, file: HubFile) -> bytes:
        """Return the content of `file`."""
        data = self._here(file)
        if data is None:
            deadline = Deadline.of(self.remote.access.deadline)
            with Web() as web:
                data = self._ask(file, lambda: self._fetched(web, file, deadline), deadline)
        return data

    def _here(self, file: HubFile) -> bytes | None:
        """Return the content of `file` if that takes no request."""
        data = self._whole.get(file.name)
        if data is None:
            data = self._from_cache(file, 0, file.size)
            if data is None or verify(data, file) is False:
                data = self.store.whole(file)
            if data is not None:
                self._whole[file.name] = data
        return data

    def _from_cache(self, file: HubFile, start: int, length: int) -> bytes | None:
        path = self.remote.hub.cached(self.remote.listing, file, self.remote.access)
        try:
            if path is None:
                return None
            with path.open("rb") as stream:
                stream.seek(start)
                return stream.read(length)
        except OSError:
            return None

    def _fetched(self, web: Web, file: HubFile, deadline: Deadline) -> bytes:
        data = retried(lambda: self._checked(web, file), deadline)
        self._whole[file.name] = data
        self.store.keep(file, data)
        return data

    def _checked(self, web: Web, file: HubFile) -> bytes:
        data = web.whole(self._address(file), file.size)
        if verify(data, file) is False:
            raise Unusable("other bytes were sent than are listed")
        return data

    def _part(self, file: HubFile, start: int, length: int) -> bytes:
        """Return part of a large file, of which whole blocks are kept."""
        if length > _LARGEST_PIECE:
            raise LimitExceeded(
                f"{self._asked(file)}: {length} bytes were to be read before the model is loaded; at most"
                f" {_LARGEST_PIECE} are.",
                file=file.name,
                source=self.remote.listing.repo,
            )
        found = self._from_cache(file, start, length)
        if found is not None and len(found) == length:
            return found
        first, last = start // BLOCK, (start + length - 1) // BLOCK
        missing = [number for number in range(first, last + 1) if self._block(file, number) is None]
        if missing:
            self._fetch_blocks(file, missing[0], missing[-1])
        data = b"".join(self._blocks[file.name, number] for number in range(first, last + 1))
        return data[start - first * BLOCK :][:length]

    def _block(self, file: HubFile, number: int) -> bytes | None:
        key = (file.name, number)
        if key not in self._blocks:
            kept = self.store.block(self.remote.asked.endpoint, self.remote.listing, file, number)
            if kept is not None:
                self._blocks[key] = kept
        return self._blocks.get(key)

    def _fetch_blocks(self, file: HubFile, first: int, last: int) -> None:
        start = first * BLOCK
        length = min((last + 1) * BLOCK, file.size) - start
        deadline = Deadline.of(self.remote.access.deadline)

        def read() -> bytes:
            data = web.read(self._address(file), start, length)
            if len(data) != length:
                raise Unusable(f"{length} bytes were asked for, {len(data)} were sent")
            return data

        with Web() as web:
            data = self._ask(file, lambda: retried(read, deadline), deadline)
        for number in range(first, last + 1):
            block = data[(number - first) * BLOCK :][:BLOCK]
            self._blocks[file.name, number] = block
            self.store.keep_block(self.remote.asked.endpoint, self.remote.listing, file, number, block)

    def _ask(self, file: HubFile, action: Any, deadline: Deadline) -> bytes:
        """Return what `action` returns; whatever it raises becomes an error of ours."""
        if self.remote.access.offline:
            raise failures.not_cached(self._asked(file))
        try:
            return bytes(at_once([action], deadline)[0])
        except ModelScopeExtError:
            raise
        except Exception as error:
            raise failures.failure(error, self._asked(file)) from error

    def _address(self, file: HubFile) -> Any:
        return self.remote.hub.address(self.remote.listing, file, self.remote.access)

    def _asked(self, file: HubFile) -> Asked:
        return replace(self.remote.asked, file=file.name)
