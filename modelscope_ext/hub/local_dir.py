"""A folder of the user's own as the place to download to: ``modelscope-ext download --local-dir``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelscope_ext.errors import PathEscapeRefused
from modelscope_ext.hub.digest import verify_file
from modelscope_ext.hub.protocol import Access, Address, Hub, HubFile, Listing
from modelscope_ext.utils.atomic import beside
from modelscope_ext.utils.text import printable

__all__ = ["LocalDir"]


class LocalDir:
    """A hub whose files go to `target` instead of its client's cache; what that has already is copied from there.

    Args:
        hub: The hub that is asked.
        target: The folder; made when it is not there.
    """

    def __init__(self, hub: Hub, target: Path) -> None:
        self.hub, self.target = hub, target.absolute()
        self.name, self.prefix, self.title = hub.name, hub.prefix, hub.title
        self.requires, self.install, self.login, self.default = hub.requires, hub.install, hub.login, hub.default

    def listing(self, repo: str, revision: str | None, access: Access) -> Listing:
        """Return what the hub lists."""
        return self.hub.listing(repo, revision, access)

    def address(self, listing: Listing, file: HubFile, access: Access) -> Address:
        """Return where the body of `file` is."""
        return self.hub.address(listing, file, access)

    def signed(self, access: Access) -> Access:
        """Return `access` with the token that is sent."""
        return self.hub.signed(access)

    def cached(self, listing: Listing, file: HubFile, access: Access) -> Path | None:
        """Return the copy in the folder, else a verified one of the client's cache."""
        place = self.target / file.name
        try:
            if place.is_file() and place.stat().st_size == file.size:
                return place
        except OSError:
            pass
        found = self.hub.cached(listing, file, access)
        return found if found is not None and verify_file(found, file) is not False else None

    def folder(self, listing: Listing, access: Access) -> Path:
        """Return the folder."""
        return self.target

    def publish(self, listing: Listing, file: HubFile, body: Path, access: Access) -> Path:
        """Move `body` into the folder; a copy where it belongs to the client's cache.

        Raises:
            PathEscapeRefused: A folder on the way is a link that leads out.
        """
        place = self.target / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        root = os.path.realpath(self.target)
        if os.path.commonpath((root, os.path.realpath(place.parent))) != root:
            raise PathEscapeRefused(
                f"{printable(file.name)}: {printable(str(place.parent))} is a link that leads out of"
                f" {printable(str(self.target))}. Nothing was written there.",
                file=file.name,
                source=listing.repo,
            )
        own = body.stat().st_nlink == 1 and os.path.commonpath((root, os.path.realpath(body))) == root
        if own:  # else it is the cache's too, and whoever edits the folder must not change that
            body.replace(place)
            return place
        with beside(place) as name:
            shutil.copyfile(body, name)
        return place

    def settle(self, listing: Listing, access: Access) -> None:
        """Do nothing: a folder has no revisions."""

    def known(self, access: Access) -> tuple[str, ...]:
        """Return the ids of the repos in the client's cache."""
        return self.hub.known(access)

    def options(self) -> Mapping[str, Any]:
        """Return endpoint and cache of the hub."""
        return self.hub.options()
