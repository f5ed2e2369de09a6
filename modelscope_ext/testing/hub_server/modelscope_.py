"""The routes of ModelScope's hub that clients use."""

from __future__ import annotations

import base64
from typing import Any

from modelscope_ext.testing.hub_server.content import Data
from modelscope_ext.testing.hub_server.exchange import Call, Reply, Route
from modelscope_ext.testing.hub_server.repos import DEFAULT_BRANCH, Commit, Entry, Repo
from modelscope_ext.testing.hub_server.uploads import lines, receive

__all__ = ["ROUTES"]

#: What ModelScope calls the default branch.
_MASTER = "master"


def _ok(data: object) -> Reply:
    return Reply.of({"Code": 200, "Data": data, "Message": "success", "RequestId": "0", "Success": True})


def _error(status: int, message: str) -> Reply:
    return Reply.of({"Code": 10010205001, "Message": message, "RequestId": "0", "Success": False}, status)


def _repo(call: Call) -> Repo | Reply:
    repo = call.repo
    if repo is None or (repo.private and not repo.admits(call.request.token)):
        return _error(404, f"record not found: {call.parts['repo']}")  # a stranger's private repo is no repo
    return repo


def _commit_of(repo: Repo, revision: str) -> Commit | None:
    if revision == _MASTER and _MASTER not in repo.branches:
        return repo.find(DEFAULT_BRANCH)
    return None if revision == DEFAULT_BRANCH else repo.find(revision)


def _state(call: Call) -> tuple[Repo, Commit] | Reply:
    if isinstance(repo := _repo(call), Reply):
        return repo
    revision = call.parts.get("revision") or call.request.query.get("Revision") or _MASTER
    commit = _commit_of(repo, revision)
    return (repo, commit) if commit is not None else _error(404, f"revision not found: {revision}")


def _describe(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    size = sum(entry.size for entry in call.entries(commit))
    return Reply.of(
        {"success": True, "request_id": "0",
         "data": {"id": repo.id, "private": repo.private, "gated": repo.gated, "tasks": [], "file_size": size,
                  "created_at": "", "last_modified": "", "downloads": 0, "likes": 0, "tags": []}}
    )  # fmt: skip


def _info(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    owner, name = repo.id.split("/")
    size = sum(entry.size for entry in call.entries(commit))
    return _ok(
        {"Name": name, "Path": owner, "Frameworks": [], "Tasks": [], "Tags": [], "Downloads": 0, "StorageSize": size,
         "Visibility": 1 if repo.private else 5, "Revision": _MASTER}
    )  # fmt: skip


def _search(call: Call) -> Reply:
    query = call.request.query
    word, owner = query.get("search", "").lower(), query.get("owner") or query.get("author")
    found = [
        {"id": repo.id, "private": repo.private}
        for repo in list(call.server.store.repos.values())
        if "modelscope" in repo.hubs and (not repo.private or repo.admits(call.request.token))
        if word in repo.id.lower() and owner in (None, repo.id.split("/")[0])
    ]
    size = int(query.get("page_size", "10"))
    first = size * (int(query.get("page_number", "1")) - 1)
    return Reply.of(
        {"success": True, "request_id": "0",
         "data": {"models": found[first : first + size], "total_count": len(found)}}
    )  # fmt: skip


def _line(row: Entry | str, commit: Commit) -> dict[str, Any]:
    name = row if isinstance(row, str) else row.name
    commit_id, seconds = commit.changed.get(name, (commit.id, commit.seconds))
    line = {"Path": name, "Name": name.rpartition("/")[2], "Revision": commit_id, "CommittedDate": seconds,
            "CommitMessage": commit.message, "CommitterName": "user", "InCheck": False}  # fmt: skip
    if isinstance(row, str):
        return {**line, "Type": "tree", "Size": 0, "Sha256": "", "Mode": "16384", "IsLFS": False}
    return {**line, "Type": "blob", "Size": row.size, "Sha256": row.digest, "Mode": "33188", "IsLFS": row.lfs}


def _listing(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    commit = found[1]
    recursive = call.request.query.get("Recursive", "").lower() == "true"
    root = call.request.query.get("Root", "")
    rows = call.rows(commit, root, recursive=recursive)
    if root and not rows:
        return _error(404, f"path not found: {root}")
    return _ok({"Files": [_line(row, commit) for row in rows[: call.server.listing_cap]], "IsVisual": 0})


def _file(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    if repo.gated and not repo.admits(call.request.token):
        return _error(403 if call.request.authorized else 401, f"access to {repo.id} has to be asked for")
    name = call.request.query.get("FilePath", "")
    entry = commit.entry(name)
    if entry is None:
        return _error(404, f"file not found: {name}")
    known = {"X-Linked-ETag": f'"{entry.digest}"', "X-Linked-Size": str(entry.size)}
    if entry.lfs and call.server.cdn:
        return Reply.to(call.server.cdn_url(call, commit, entry), known)
    return Reply.file(entry.content, {**known, "ETag": f'"{entry.digest}"'})


def _revisions(call: Call) -> Reply:
    if isinstance(repo := _repo(call), Reply):
        return repo

    def rows(table: dict[str, str]) -> list[dict[str, Any]]:
        named = {_MASTER if n == DEFAULT_BRANCH else n: repo.commits[c] for n, c in table.items()}
        return [{"Revision": n, "CreatedAt": c.seconds} for n, c in named.items()]

    return _ok({"RevisionMap": {"Branches": rows(repo.branches), "Tags": rows(repo.tags)}})


def _acceleration(call: Call) -> Reply:
    return _ok({"InternalRegionQueryAddress": ""})


def _login(call: Call) -> Reply:
    return _ok({"AccessToken": call.json().get("AccessToken"), "Username": "user", "Email": "user@example.org"})


def _create(call: Call) -> Reply:
    asked = call.json()
    repo = f"{asked.get('Path') or asked.get('Owner')}/{asked.get('Name')}"
    if not call.request.authorized:
        return _error(401, "log in first")
    if repo in call.server.store.repos:
        body = {"Code": 10010101001, "Message": "already exists", "RequestId": "0", "Success": False}
        return Reply.of(body, 400)
    private = asked.get("Visibility") == 1
    call.server.add(repo, {}, private=private, tokens=(call.request.token or "",), hubs=("modelscope",))
    return _ok({"Name": asked.get("Name"), "Path": asked.get("Path")})


def _unwritable(call: Call) -> Reply | None:
    if isinstance(repo := _repo(call), Reply):
        return repo
    if call.may_write(repo):
        return None
    return _error(403 if call.request.authorized else 401, f"{repo.id} is not yours to write to")


def _batch(call: Call) -> Reply:
    return _unwritable(call) or _ok({"objects": lines(call)})


def _commit(call: Call) -> Reply:
    if (refused := _unwritable(call)) is not None:
        return refused
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    asked, files = call.json(), dict(commit.files)
    for action in asked["actions"]:
        if action["action"] == "delete":
            files.pop(action["path"], None)
        elif action["type"] == "normal":
            files[action["path"]] = Data(base64.b64decode(action["content"]))
        elif (blob := call.server.store.blob(action["sha256"])) is not None:
            files[action["path"]] = blob
        else:
            return _error(400, f"{action['path']}: no object {action['sha256']} was uploaded")
    revision = call.parts["revision"]
    branch = DEFAULT_BRANCH if revision == _MASTER and _MASTER not in repo.branches else revision
    with call.server.store.lock:
        made = repo.commit(branch, files, asked["commit_message"])
    return _ok({"oid": made.id, "commit_url": f"{call.base}/models/{repo.id}/commit/{made.id}"})


_V1 = "/api/v1/models/{repo}"
_WRITE = "/api/v1/repos/models/{repo}"

ROUTES: tuple[Route, ...] = (
    Route.at("info", "GET", "/openapi/v1/models/{repo}", _describe),
    Route.at("search", "GET", "/openapi/v1/models", _search),
    Route.at("info", "GET", _V1, _info),
    Route.at("listing", "GET", f"{_V1}/repo/files", _listing),
    Route.at("file", "GET HEAD", f"{_V1}/repo", _file),
    Route.at("refs", "GET", f"{_V1}/revisions", _revisions),
    Route.at("acceleration", "GET", "/api/v1/repos/internalAccelerationInfo", _acceleration),
    Route.at("account", "POST", "/api/v1/login", _login),
    Route.at("create", "POST", "/api/v1/models", _create),
    Route.at("batch", "POST", f"{_WRITE}/info/lfs/objects/batch", _batch),
    Route.at("commit", "POST", f"{_WRITE}/commit/{{revision}}", _commit),
    Route.at("upload", "PUT", "/upload/{sha256}", receive),
)
