"""Modelers (openMind), through `openmind-hub`, which is an extra: ``pip install modelscope-ext[openmind]``.

A listing is one request for each folder and one for the commit of the branch. A file that does not exist is never asked
for: the client notes such a miss in its cache in a way that hides the files that are there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from modelscope_ext.errors import HubError, OptionError
from modelscope_ext.hub import failures
from modelscope_ext.hub.client import Row, checked, need
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.names import COMMIT, check_repo, check_revision
from modelscope_ext.hub.protocol import Access, Address, HubFile, Listing
from modelscope_ext.hub.retry import Deadline, bounded, retried
from modelscope_ext.hub.snapshots import InSnapshots

__all__ = ["OpenMind"]

_ENDPOINT = "https://modelers.cn"
#: The client's rules for ids and revisions.
_OWNER = re.compile(r"[A-Za-z][\w.-]{2,39}", re.ASCII)


class OpenMind(InSnapshots):
    """See `hub.protocol.Hub`."""

    name = "openmind"
    prefix = "om"
    title = "Modelers"
    default = "main"
    requires = "openmind-hub"
    install = 'pip install "modelscope-ext[openmind]"'
    login = "pass token= with one of https://modelers.cn/my/tokens"

    def listing(self, repo: str, revision: str | None, access: Access) -> Listing:
        """Return what the hub lists; see `Hub.listing`."""
        repo, revision = self._names(repo, revision)
        asked = Asked(self, repo, revision, _endpoint())
        if access.offline:
            return self._cached_listing(asked, access)
        need(self)
        deadline = Deadline.of(access.deadline)
        try:
            rows, commit = bounded(lambda: retried(lambda: _tree(asked, access), deadline), deadline)
        except Exception as error:
            raise self._failure(error, asked, access) from error
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise HubError(f"{asked}: the hub's answer names no commit, so that nothing could be pinned to it.")
        return checked(Listing(self.name, repo, revision, commit), rows, asked, access.limits)

    def address(self, listing: Listing, file: HubFile, access: Access) -> Address:
        """Return where the body of `file` is."""
        path = f"{quote(listing.repo)}/{quote(listing.commit, safe='')}/media/{quote(file.name)}"
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        return Address(f"{_endpoint()}/api/v1/file/{path}", headers)

    def signed(self, access: Access) -> Access:
        """Return `access` with the token that is sent."""
        return access

    def cache(self, access: Access) -> Path:
        """Return the client's cache by the client's own rules, as the environment is now."""
        if access.cache_dir is not None:
            return access.cache_dir
        home = os.environ.get("XDG_CACHE_HOME")
        return (Path(home).expanduser() if home else Path.home() / ".cache") / "openmind" / "hub"

    def options(self) -> Mapping[str, Any]:
        """Return endpoint and cache as they are now."""
        return {"endpoint": _endpoint(), "cache": str(self.cache(Access()))}

    def _names(self, repo: str, revision: str | None) -> tuple[str, str]:
        revision = self.default if revision in (None, "main", "master") else str(revision)
        repo = check_repo(repo, hub=self.title)
        if not _OWNER.fullmatch(repo.partition("/")[0]):
            raise OptionError(f"{repo!r} is no id on {self.title}: an owner's name has 3 to 40 characters.")
        return repo, check_revision(revision, hub=self.title)

    def _failure(self, error: Exception, asked: Asked, access: Access) -> Exception:
        import openmind_hub as client

        if isinstance(error, client.RevisionNotFoundError):
            return failures.no_revision(asked)
        if isinstance(error, client.RepositoryNotFoundError | client.EntryNotFoundError):
            return failures.no_repo(asked, self.known(access))
        return failures.failure(error, asked)


def _tree(asked: Asked, access: Access) -> tuple[list[Row], str | None]:
    """Return the files, and the commit of the branch."""
    from openmind_hub import OmApi

    api = OmApi(endpoint=asked.endpoint)
    options = {"revision": asked.revision, "token": access.token or None}
    rows = [_row(one) for one in api.list_repo_tree(asked.repo, recursive=True, **options) if hasattr(one, "size")]
    if COMMIT.fullmatch(asked.revision or "") or not rows:
        return rows, asked.revision
    from openmind_hub import get_om_file_metadata

    query = urlencode({"ref": asked.revision, "path": rows[0][0]})
    about = get_om_file_metadata(f"{asked.endpoint}/api/v1/file/{asked.repo}/info?{query}", token=access.token or None)
    return rows, about.commit_hash


def _row(file: Any) -> Row:
    """Return name, size, sha256 and etag of a listed file, unchecked; a large file is named by its sha256."""
    etag = getattr(file, "blob_id", None)
    return file.path, file.size, etag if getattr(file, "lfs", None) else None, etag


def _endpoint() -> str:
    return (os.environ.get("OPENMIND_HUB_ENDPOINT") or _ENDPOINT).rstrip("/")
