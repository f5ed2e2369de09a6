"""The routes of Hugging Face's hub that clients use."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from modelscope_ext.testing.hub_server.content import Data
from modelscope_ext.testing.hub_server.exchange import Call, Reply, Route
from modelscope_ext.testing.hub_server.repos import DEFAULT_BRANCH, Commit, Entry, Repo, is_large, iso
from modelscope_ext.testing.hub_server.uploads import batch, receive

__all__ = ["ROUTES"]


def _error(status: int, code: str, message: str, **headers: str) -> Reply:
    return Reply.of({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message, **headers})


def _refused(call: Call) -> Reply | None:
    """Return why the sender does not see the repo, or None."""
    repo = call.repo
    if repo is None or (repo.private and not repo.admits(call.request.token)):
        status = 404 if call.request.authorized else 401  # the real hub answers strangers with 401, also for no repo
        return _error(status, "RepoNotFound", "Repository not found")
    return None


def _state(call: Call) -> tuple[Repo, Commit] | Reply:
    """Return repo and commit that were asked for, or the error."""
    if (refused := _refused(call)) is not None:
        return refused
    repo = call.repo
    assert repo is not None
    revision = call.parts.get("revision", DEFAULT_BRANCH)
    commit = repo.find(revision)
    if commit is None:
        return _error(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")
    return repo, commit


def _line(row: Entry | str) -> dict[str, Any]:
    if isinstance(row, str):
        return {"type": "directory", "oid": Data(row.encode()).blob_id, "size": 0, "path": row}
    entry = row
    line: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": entry.name}
    if entry.lfs:
        line["lfs"] = {"oid": entry.digest, "size": entry.size, "pointerSize": len(entry.content.pointer)}
    return line


def _info(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    siblings = []
    for entry in call.entries(commit):
        sibling: dict[str, Any] = {"rfilename": entry.name}
        if call.request.query.get("blobs") in ("true", "True", "1"):
            sibling |= {"size": entry.size, "blobId": entry.oid}
            if entry.lfs:
                pointer = len(entry.content.pointer)
                sibling["lfs"] = {"sha256": entry.digest, "size": entry.size, "pointerSize": pointer}
        siblings.append(sibling)
    return Reply.of({**_summary(repo, commit), "siblings": siblings})


def _summary(repo: Repo, commit: Commit) -> dict[str, Any]:
    return {
        "_id": repo.id, "id": repo.id, "modelId": repo.id, "author": repo.id.split("/")[0], "sha": commit.id,
        "lastModified": iso(commit.seconds), "createdAt": iso(0), "private": repo.private,
        "gated": "auto" if repo.gated else False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
        "spaces": [], **repo.info,
    }  # fmt: skip


def _search(call: Call) -> Reply:
    query = call.request.query
    word, author = query.get("search", "").lower(), query.get("author")
    found = [
        _summary(repo, commit)
        for repo in list(call.server.store.repos.values())
        if "huggingface" in repo.hubs and (not repo.private or repo.admits(call.request.token))
        if word in repo.id.lower() and author in (None, repo.id.split("/")[0])
        if (commit := repo.find(DEFAULT_BRANCH)) is not None
    ]
    return Reply.of(found[: int(query.get("limit", "1000"))])


def _tree(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    commit = found[1]
    recursive = call.request.query.get("recursive", "").lower() in ("true", "1")
    rows = call.rows(commit, call.parts.get("file", ""), recursive=recursive)
    if not rows and "file" in call.parts:
        return _error(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.id})
    size = min(int(call.request.query.get("limit", call.server.page_size)), call.server.page_size)
    first = int(call.request.query.get("cursor", "0"))
    headers = {}
    if first + size < len(rows):
        at = f"{call.base}/api/models/{call.parts['repo']}/tree/{quote(call.parts['revision'], safe='')}"
        if "file" in call.parts:
            at += "/" + quote(call.parts["file"])
        kept = "&".join(f"{k}={quote(v)}" for k, v in call.request.query.items() if k != "cursor")
        headers["Link"] = f'<{at}?{kept}&cursor={first + size}>; rel="next"'
    return Reply.of([_line(row) for row in rows[first : first + size]], headers=headers)


def _paths(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    asked = call.form("paths")
    rows = call.rows(found[1], "", recursive=True)
    return Reply.of([_line(row) for row in rows if (row if isinstance(row, str) else row.name) in asked])


def _refs(call: Call) -> Reply:
    if (refused := _refused(call)) is not None:
        return refused
    repo = call.repo
    assert repo is not None

    def rows(table: dict[str, str], form: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": form.format(n), "targetCommit": c} for n, c in table.items()]

    return Reply.of(
        {"branches": rows(repo.branches, "refs/heads/{}"), "converts": [], "tags": rows(repo.tags, "refs/tags/{}"),
         "pullRequests": rows(repo.pulls, "{}")}
    )  # fmt: skip


def _commits(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    lines, at = [], commit.id
    while at in repo.commits:
        one = repo.commits[at]
        lines.append({"id": one.id, "title": one.message, "message": "", "date": iso(one.seconds), "authors": []})
        at = one.parent or ""
    return Reply.of(lines)


def _file(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    if repo.gated and not repo.admits(call.request.token):
        status = 403 if call.request.authorized else 401
        return _error(status, "GatedRepo", f"Access to model {repo.id} is restricted.")
    known = {"X-Repo-Commit": commit.id}
    entry = commit.entry(call.parts["file"])
    if entry is None:
        return _error(404, "EntryNotFound", "Entry not found", **known)
    if not entry.lfs:
        return Reply.file(entry.content, {**known, "ETag": f'"{entry.etag}"'})
    known |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.digest}"'}
    if call.server.cdn:
        return Reply.to(call.server.cdn_url(call, commit, entry), known)
    return Reply.file(entry.content, {**known, "ETag": f'"{entry.digest}"'})


def _agents(call: Call) -> Reply:
    return Reply.of({"error": "Not found"}, 404)


def _whoami(call: Call) -> Reply:
    if not call.request.authorized:
        return Reply.of({"error": "Invalid username or password."}, 401)
    return Reply.of({"type": "user", "name": "user", "fullname": "user", "orgs": [], "auth": {"type": "access_token"}})


def _create(call: Call) -> Reply:
    asked = call.json()
    if not call.request.authorized:
        return Reply.of({"error": "Invalid username or password."}, 401)
    repo = f"{asked.get('organization') or 'user'}/{asked['name']}"
    url = f"{call.base}/{repo}"
    if repo in call.server.store.repos:
        return Reply.of({"error": "You already created this model repo", "url": url, "name": repo}, 409)
    private = bool(asked.get("private"))
    call.server.add(repo, {}, private=private, tokens=(call.request.token or "",), hubs=("huggingface",))
    return Reply.of({"url": url, "name": repo, "id": repo, "private": private})


def _yaml(call: Call) -> Reply:
    return Reply.of({"errors": [], "warnings": []})


def _writable(call: Call) -> tuple[Repo, Commit] | Reply:
    if isinstance(found := _state(call), Reply) or call.may_write(found[0]):
        return found
    message = "You don't have the rights to write to this repository"
    return Reply.of({"error": message}, 403 if call.request.authorized else 401, {"X-Error-Message": message})


def _preupload(call: Call) -> Reply:
    if isinstance(found := _writable(call), Reply):
        return found
    lines, commit = [], found[1]
    for asked in call.json()["files"]:
        old = commit.entry(asked["path"])
        form = "lfs" if is_large(asked["path"], int(asked["size"])) else "regular"
        lines.append({"path": asked["path"], "uploadMode": form, "shouldIgnore": False, "oid": old and old.oid})
    return Reply.of({"files": lines})


def _commit(call: Call) -> Reply:
    if isinstance(found := _writable(call), Reply):
        return found
    repo, commit = found
    store, files, header = call.server.store, dict(commit.files), {"summary": "Update"}
    for line in call.body.splitlines():
        asked = json.loads(line)
        value = asked["value"]
        match asked["key"]:
            case "header":
                header = value
            case "file":
                files[value["path"]] = Data(base64.b64decode(value["content"]))
            case "lfsFile":
                if (blob := store.blob(value["oid"])) is None:
                    return _error(400, "BadRequest", f"{value['path']}: no object {value['oid']} was uploaded")
                files[value["path"]] = blob
            case "deletedFile":
                files.pop(value["path"], None)
            case "deletedFolder":
                files = {n: c for n, c in files.items() if not n.startswith(value["path"].rstrip("/") + "/")}
            case other:
                return _error(400, "BadRequest", f"unknown operation {other}")
    if header.get("parentCommit") not in (None, commit.id):
        return _error(412, "PreconditionFailed", "A commit has happened since. Please refresh and try again.")
    with store.lock:
        pull = len(repo.pulls) + 1 if call.request.query.get("create_pr") else None
        branch = call.parts["revision"] if pull is None else f"refs/pr/{pull}"
        made = repo.commit(branch, files, header["summary"])
    url = f"{call.base}/{repo.id}"
    return Reply.of(
        {"success": True, "commitOid": made.id, "commitUrl": f"{url}/commit/{made.id}", "hookOutput": "",
         "pullRequestUrl": None if pull is None else f"{url}/discussions/{pull}"}
    )  # fmt: skip


def _batch(call: Call) -> Reply:
    return found if isinstance(found := _writable(call), Reply) else batch(call)


ROUTES: tuple[Route, ...] = (
    Route.at("info", "GET", "/api/models/{repo}/revision/{revision}", _info),
    Route.at("listing", "GET", "/api/models/{repo}/tree/{revision}", _tree),
    Route.at("listing", "GET", "/api/models/{repo}/tree/{revision}/{file:path}", _tree),
    Route.at("paths", "POST", "/api/models/{repo}/paths-info/{revision}", _paths),
    Route.at("refs", "GET", "/api/models/{repo}/refs", _refs),
    Route.at("commits", "GET", "/api/models/{repo}/commits/{revision}", _commits),
    Route.at("preupload", "POST", "/api/models/{repo}/preupload/{revision}", _preupload),
    Route.at("commit", "POST", "/api/models/{repo}/commit/{revision}", _commit),
    Route.at("info", "GET", "/api/models/{repo}", _info),
    Route.at("search", "GET", "/api/models", _search),
    Route.at("agents", "GET", "/api/agent-harnesses", _agents),
    Route.at("account", "GET", "/api/whoami-v2", _whoami),
    Route.at("create", "POST", "/api/repos/create", _create),
    Route.at("yaml", "POST", "/api/validate-yaml", _yaml),
    Route.at("batch", "POST", "/{repo}.git/info/lfs/objects/batch", _batch),
    Route.at("upload", "PUT", "/upload/{sha256}", receive),
    Route.at("file", "GET HEAD", "/{repo}/resolve/{revision}/{file:path}", _file),
)
