"""ModelScope, through `modelscope-hub`.

A listing is one request up to 3,000 files; beyond that the client walks the folders. The hub names no commit of a
branch, but of every file the commit that last changed it: at the newest of these all listed files are as listed, so
that one is what later requests are pinned to. Every file's sha256 is in the listing, and everything is checked against
it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from modelscope_ext.errors import LimitExceeded
from modelscope_ext.hub import failures
from modelscope_ext.hub.client import Row, checked, need
from modelscope_ext.hub.digest import verify_file
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.layout import files_in, put
from modelscope_ext.hub.names import COMMIT, check_repo, check_revision
from modelscope_ext.hub.protocol import Access, Address, HubFile, Listing
from modelscope_ext.hub.retry import TRIES, Deadline, bounded, retried, status_of

__all__ = ["ModelScope"]

_ENDPOINT = "https://modelscope.cn"


class ModelScope:
    """See `hub.protocol.Hub`."""

    name = "modelscope"
    prefix = "ms"
    title = "ModelScope"
    default = "master"
    requires = "modelscope-hub"
    install = 'pip install "modelscope-ext[hub]"'
    login = "log in with `ms login`, set MODELSCOPE_API_TOKEN or pass token="

    def listing(self, repo: str, revision: str | None, access: Access) -> Listing:
        """Return what the hub lists; see `Hub.listing`."""
        repo, revision = self._names(repo, revision)
        asked = Asked(self, repo, revision, _endpoint())
        if access.offline:
            return self._cached_listing(asked, access)
        need(self)
        try:
            deadline = Deadline.of(access.deadline)
            rows = bounded(lambda: retried(lambda: _rows(asked, access), deadline, tries=_tries), deadline)
        except Exception as error:
            raise self._failure(error, asked, access) from error
        found = Listing(self.name, repo, revision, _commit(rows) or revision)
        found = checked(found, (_row(row) for row in rows if not _is_folder(row)), asked, access.limits)
        return replace(found, left_out=(*found.left_out, *_cut_short(rows, asked)))

    def address(self, listing: Listing, file: HubFile, access: Access) -> Address:
        """Return where the body of `file` is."""
        query = urlencode({"Revision": listing.commit, "FilePath": file.name})
        token = _token(access)
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
        return Address(f"{_endpoint()}/api/v1/models/{quote(listing.repo)}/repo?{query}", headers)

    def signed(self, access: Access) -> Access:
        """Return `access` with the token that is sent."""
        return replace(access, token=_token(access) or "")

    def cached(self, listing: Listing, file: HubFile, access: Access) -> Path | None:
        """Return a copy in the client's cache, in one of the layouts that it has had."""
        folders = _folders(listing.repo, (listing.revision, listing.commit), access)
        for folder in (*folders, *_oldest(listing, access)):
            path = folder / file.name
            with suppress(OSError):
                if path.is_file() and path.stat().st_size == file.size:
                    return path
        return next(_same_elsewhere(listing, file, access), None)

    def folder(self, listing: Listing, access: Access) -> Path:
        """Return the folder of this revision in the client's cache: where it looks first."""
        return next(_present(listing.repo, (listing.revision,), access), _snapshot(listing, access))

    def publish(self, listing: Listing, file: HubFile, body: Path, access: Access) -> Path:
        """Move `body` into the client's cache."""
        target = self.folder(listing, access) / file.name
        put(body, target)
        return target

    def settle(self, listing: Listing, access: Access) -> None:
        """Do nothing: the client finds a revision by the name of its folder."""

    def known(self, access: Access) -> tuple[str, ...]:
        """Return the ids of the repos in the client's cache."""
        return tuple(sorted(set(_known(_cache(access)))))

    def options(self) -> Mapping[str, Any]:
        """Return endpoint and cache as they are now."""
        return {"endpoint": _endpoint(), "cache": str(_cache(Access()))}

    def _names(self, repo: str, revision: str | None) -> tuple[str, str]:
        revision = self.default if revision in (None, "main", "master") else str(revision)
        return check_repo(repo, hub=self.title), check_revision(revision, hub=self.title)

    def _cached_listing(self, asked: Asked, access: Access) -> Listing:
        revision = asked.revision or "master"
        folder = next(_present(asked.repo, (revision,), access), None)
        if folder is None:
            raise failures.not_cached(asked, self.known(access))
        found = Listing(self.name, asked.repo, revision, revision, offline=True)
        return checked(found, files_in(folder), asked, access.limits)

    def _failure(self, error: Exception, asked: Asked, access: Access) -> Exception:
        from modelscope_hub import errors

        if isinstance(error, errors.NotExistError):
            revisions = _revisions(asked, access)
            if revisions and asked.revision not in revisions:
                return failures.no_revision(asked, revisions)
            return failures.no_repo(asked, self.known(access))
        return failures.failure(error, asked)


def _api(access: Access) -> Any:
    from modelscope_hub import HubApi
    from modelscope_hub.config import HubConfig

    return HubApi(config=HubConfig(endpoint=_endpoint(), cache_dir=_cache(access), token=access.token))


#: Answers that the client asks again for by itself; a second layer of as many tries would only take longer
#: (modelscope-hub 0.5.1: _legacy_api.py). A connection that fails is asked for again as well.
_REPEATED = frozenset((None, 429, 500, 502, 503, 504))


def _tries(error: Exception) -> int:
    return 2 if status_of(error) in _REPEATED else TRIES


def _rows(asked: Asked, access: Access) -> list[Any]:
    # `HubApi.list_repo_files` makes records of the entries, without the commits.
    rows = _api(access).legacy.list_repo_files(asked.repo, "model", revision=asked.revision)
    return [row for row in rows if isinstance(row, Mapping)]


def _cut_short(rows: list[Any], asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield the folders of which the hub lists no more than a part, without saying so.

    Raises:
        LimitExceeded: That is the repo's own folder: nobody knows what is in it.
    """
    from modelscope_hub import constants

    most = constants.REPO_FILES_TRUNCATION_LIMIT
    folders = Counter(str(row.get("Path")).rpartition("/")[0] for row in rows)
    for folder in sorted(name for name, count in folders.items() if count >= most):
        if not folder:
            raise LimitExceeded(f"{asked}: its folder holds {most} files or more, of which the hub lists no more.")
        yield folder, f"it holds {most} files or more, and the hub lists no more of a folder"


def _is_folder(row: Mapping[str, Any]) -> bool:
    return row.get("Type") == "tree"


def _row(row: Mapping[str, Any]) -> Row:
    """Return name, size, sha256 and etag of a listed file, unchecked."""
    return row.get("Path"), row.get("Size"), row.get("Sha256"), None


def _commit(rows: list[Any]) -> str | None:
    """Return the newest commit that changed a listed file, if one is the newest beyond doubt."""
    dated = [(row.get("CommittedDate"), row.get("Revision")) for row in rows if not _is_folder(row)]
    dates = [date for date, _ in dated if isinstance(date, int)]
    if not dates or len(dates) != len(dated):
        return None
    last = max(dates)
    newest = {commit for date, commit in dated if date == last}
    commit = newest.pop() if len(newest) == 1 else None
    return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else None


def _revisions(asked: Asked, access: Access) -> tuple[str, ...]:
    """Return branches and tags, to tell a wrong revision from a wrong repo; nothing where that fails too."""
    try:
        rows = bounded(lambda: _api(access).list_repo_revisions(asked.repo, "model"), Deadline(5.0))
        return tuple(str(row["Revision"]) for row in rows if isinstance(row, Mapping) and row.get("Revision"))
    except Exception:  # noqa: BLE001 - the error that is being explained matters more
        return ()


def _token(access: Access) -> str | None:
    """Return the caller's token, else the one that the client stored or its variable holds."""
    if access.token is not None:
        return access.token or None
    need(ModelScope())
    from modelscope_hub.config import HubConfig

    return HubConfig(endpoint=_endpoint()).token or None


def _endpoint() -> str:
    text = (os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or _ENDPOINT).strip()
    return (text if text.lower().startswith(("http://", "https://")) else f"https://{text}").rstrip("/")


def _cache(access: Access) -> Path:
    if access.cache_dir is not None:
        return access.cache_dir
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope").expanduser()


def _snapshot(listing: Listing, access: Access) -> Path:
    return _cache(access) / "models" / listing.repo.replace("/", "--") / "snapshots" / listing.revision


def _folders(repo: str, revisions: tuple[str, ...], access: Access) -> Iterator[Path]:
    """Yield the folders in which a repo's files may lie, as the client looks for them.

    Its releases up to 1.37 had one folder for all revisions, which is taken for the default one.
    """
    cache = _cache(access)
    owner, name = repo.split("/")
    if "master" in revisions:
        for base in (cache / "models", cache / "hub" / "models"):
            yield base / owner / name.replace(".", "___")
    for revision in dict.fromkeys(revisions):
        yield cache / "models" / f"{owner}--{name}" / "snapshots" / revision


def _oldest(listing: Listing, access: Access) -> Iterator[Path]:
    """Yield the folder of the oldest releases, which the client no longer looks at: its files are as good as any."""
    if listing.revision == "master":
        yield _cache(access) / "hub" / listing.repo
        yield _cache(access) / "hub" / listing.repo.replace(".", "___")


def _same_elsewhere(listing: Listing, file: HubFile, access: Access) -> Iterator[Path]:
    """Yield copies with the listed hash that were fetched for another revision: a branch's are those of its commit."""
    snapshots = _snapshot(listing, access).parent
    for revision in _names_in(snapshots) if file.sha256 else ():
        path = snapshots / revision / file.name
        with suppress(OSError):
            status = path.stat()
            if status.st_size == file.size and _is_listed(path, status.st_mtime_ns, status.st_ino, file):
                yield path


@lru_cache(4096)
def _is_listed(path: Path, changed: int, inode: int, file: HubFile) -> bool:
    return verify_file(path, file) is True


def _present(repo: str, revisions: tuple[str, ...], access: Access) -> Iterator[Path]:
    """Yield those of `_folders` that hold anything."""
    for folder in _folders(repo, revisions, access):
        with suppress(OSError):
            if any(folder.iterdir()):
                yield folder


def _known(cache: Path) -> Iterator[str]:
    for base in (cache / "models", cache / "hub" / "models", cache / "hub"):
        for owner in _names_in(base):
            if "--" in owner:
                yield owner.replace("--", "/", 1)
            elif owner not in ("models", "datasets", "temp", "_github"):
                yield from (f"{owner}/{name.replace('___', '.')}" for name in _names_in(base / owner))


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
