"""What Hugging Face and Modelers share: the half of a hub that is answered by a cache in the layout of `hub.layout`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from modelscope_ext.hub import failures, layout
from modelscope_ext.hub.client import checked
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.protocol import Access, HubFile, Listing

__all__ = ["InSnapshots"]


class InSnapshots(ABC):
    """The look-ups of `hub.protocol.Hub` that take no request."""

    name: str
    default: str

    @abstractmethod
    def cache(self, access: Access) -> Path:
        """Return the folder of the client's cache, as the environment is now."""

    def cached(self, listing: Listing, file: HubFile, access: Access) -> Path | None:
        """Return a copy in the client's cache."""
        return layout.find(self._storage(listing.repo, access), listing.commit, file)

    def folder(self, listing: Listing, access: Access) -> Path:
        """Return the folder of this commit in the client's cache."""
        return layout.snapshot_of(self._storage(listing.repo, access), listing.commit)

    def publish(self, listing: Listing, file: HubFile, body: Path, access: Access) -> Path:
        """Move `body` into the client's cache."""
        return layout.place(self._storage(listing.repo, access), listing, file, body)

    def settle(self, listing: Listing, access: Access) -> None:
        """Write which commit the revision is at."""
        layout.settled(self._storage(listing.repo, access), listing)

    def known(self, access: Access) -> tuple[str, ...]:
        """Return the ids of the repos in the client's cache."""
        return layout.known_in(self.cache(access))

    def _storage(self, repo: str, access: Access) -> Path:
        return layout.storage_of(self.cache(access), repo)

    def _cached_listing(self, asked: Asked, access: Access) -> Listing:
        storage, revision = self._storage(asked.repo, access), asked.revision or self.default
        commit = layout.commit_of(storage, revision)
        if commit is None:
            raise failures.not_cached(asked, self.known(access))
        found = Listing(self.name, asked.repo, revision, commit, offline=True)
        return checked(found, layout.files_in(layout.snapshot_of(storage, commit)), asked, access.limits)
