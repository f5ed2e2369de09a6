"""Hugging Face, through `huggingface_hub` (0.31 to 2.x).

A listing is one request (`HfApi.model_info` with the files' metadata), which also says the commit. The client's
settings are read here at call time: the client itself reads most of them once, when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelscope_ext.errors import HubError
from modelscope_ext.hub import failures
from modelscope_ext.hub.client import Row, checked, need
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.names import COMMIT, check_repo, check_revision
from modelscope_ext.hub.protocol import Access, Address, HubFile, Listing
from modelscope_ext.hub.retry import Deadline, bounded, retried
from modelscope_ext.hub.snapshots import InSnapshots

__all__ = ["HuggingFace"]

_ENDPOINT = "https://huggingface.co"
#: Seconds that one step of a request may take.
_STEP = 20.0


class HuggingFace(InSnapshots):
    """See `hub.protocol.Hub`."""

    name = "huggingface"
    prefix = "hf"
    title = "Hugging Face"
    default = "main"
    requires = "huggingface-hub"
    install = 'pip install "modelscope-ext[hub]"'
    login = "log in with `hf auth login`, set HF_TOKEN or pass token="

    def listing(self, repo: str, revision: str | None, access: Access) -> Listing:
        """Return what the hub lists; see `Hub.listing`."""
        repo, revision = self._names(repo, revision)
        asked = Asked(self, repo, revision, _endpoint())
        if access.offline:
            return self._cached_listing(asked, access)
        need(self)
        try:
            deadline = Deadline.of(access.deadline)
            commit, rows = bounded(lambda: retried(lambda: _files(asked, access), deadline), deadline)
        except Exception as error:
            raise self._failure(error, asked, access) from error
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise HubError(f"{asked}: the hub's answer names no commit, so that nothing could be pinned to it.")
        return checked(Listing(self.name, repo, revision, commit), rows, asked, access.limits)

    def address(self, listing: Listing, file: HubFile, access: Access) -> Address:
        """Return where the body of `file` is."""
        need(self)
        from huggingface_hub.utils import build_hf_headers

        headers = build_hf_headers(token=_token(access), library_name="modelscope-ext")
        path = f"{quote(listing.repo)}/resolve/{quote(listing.commit, safe='')}/{quote(file.name)}"
        return Address(f"{_endpoint()}/{path}", {name.title(): value for name, value in headers.items()})

    def signed(self, access: Access) -> Access:
        """Return `access` with the token that is sent."""
        need(self)
        from huggingface_hub import get_token

        return access if access.token is not None else replace(access, token=get_token() or "")

    def cache(self, access: Access) -> Path:
        """Return the client's cache by the client's own rules, as the environment is now."""
        if access.cache_dir is not None:
            return access.cache_dir
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            if os.environ.get(name):
                return _expanded(os.environ[name])
        if os.environ.get("HF_HOME"):
            return _expanded(os.environ["HF_HOME"]) / "hub"
        return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"

    def options(self) -> Mapping[str, Any]:
        """Return endpoint and cache as they are now."""
        return {"endpoint": _endpoint(), "cache": str(self.cache(Access()))}

    def _names(self, repo: str, revision: str | None) -> tuple[str, str]:
        revision = self.default if revision in (None, "main", "master") else str(revision)
        return check_repo(repo, hub=self.title, bare=True), check_revision(revision, hub=self.title)

    def _failure(self, error: Exception, asked: Asked, access: Access) -> Exception:
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            return failures.denied(asked, gated=True)
        if isinstance(error, errors.RevisionNotFoundError):
            return failures.no_revision(asked, _refs(asked, access))
        if isinstance(error, errors.RepositoryNotFoundError):
            return failures.no_repo(asked, self.known(access))
        if isinstance(error, errors.OfflineModeIsEnabled):
            return HubError(
                f"{asked}: huggingface_hub was imported while HF_HUB_OFFLINE was set and stays offline in this process."
            )
        return failures.failure(error, asked)


def _files(asked: Asked, access: Access) -> tuple[Any, list[Row]]:
    """Return the commit and the files: of one request, or of two where a mirror leaves the sizes out of the first."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=asked.endpoint, token=_token(access), library_name="modelscope-ext")
    info = api.model_info(asked.repo, revision=asked.revision, files_metadata=True, timeout=_STEP)
    commit, siblings = getattr(info, "sha", None), getattr(info, "siblings", None) or ()
    if isinstance(commit, str) and any(getattr(one, "size", None) is None for one in siblings):
        entries = filter(_is_file, api.list_repo_tree(asked.repo, revision=commit, recursive=True))
        siblings = list(islice(entries, access.limits.files + 1))  # pages without end are no listing
    return commit, [_row(one) for one in siblings]


def _is_file(one: Any) -> bool:
    return hasattr(one, "size")


def _refs(asked: Asked, access: Access) -> tuple[str, ...]:
    """Return branches and tags, for a near miss; nothing where that fails too."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=asked.endpoint, token=_token(access), library_name="modelscope-ext")
    try:
        refs = bounded(lambda: api.list_repo_refs(asked.repo), Deadline(5.0))
        return tuple(str(ref.name) for ref in (*refs.branches, *refs.tags))
    except Exception:  # noqa: BLE001 - the error that is being explained matters more
        return ()


def _row(sibling: Any) -> Row:
    """Return name, size, sha256 and etag of a listed file, unchecked; a large file is named by its sha256."""
    lfs = getattr(sibling, "lfs", None)
    sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    size, name = getattr(sibling, "size", None), getattr(sibling, "rfilename", None)
    return name, size, sha256, sha256 or getattr(sibling, "blob_id", None)


def _token(access: Access) -> str | bool | None:
    """Return the caller's token, False for none at all, or None for the one that the client finds."""
    return False if access.token == "" else access.token


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
