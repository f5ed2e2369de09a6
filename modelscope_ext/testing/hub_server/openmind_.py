"""The routes of Modelers' hub (openMind) that its client uses."""

from __future__ import annotations

import base64
from typing import Any

from modelscope_ext.testing.hub_server.content import Data
from modelscope_ext.testing.hub_server.exchange import Call, Reply, Route
from modelscope_ext.testing.hub_server.repos import DEFAULT_BRANCH, Commit, Entry, Repo, iso

__all__ = ["CDN_HOST", "HOST", "ROUTES"]

HOST = "modelers.cn"
CDN_HOST = "cdn.modelers.cn"  # the client follows redirects to hosts of this domain only


def _ok(data: object, status: int = 200) -> Reply:
    return Reply.of({"code": "", "msg": "", "data": data}, status)


def _error(status: int, code: str, message: str) -> Reply:
    return Reply.of({"code": code, "msg": message, "data": None}, status)


def _repo(call: Call) -> Repo | Reply:
    repo = call.repo
    if repo is None:
        return _error(404, "model_not_found", f"there is no model {call.parts['repo']}")
    if repo.private and not repo.admits(call.request.token):
        return _error(401, "no_permission", f"{repo.id} is private")
    return repo


def _state(call: Call) -> tuple[Repo, Commit] | Reply:
    if isinstance(repo := _repo(call), Reply):
        return repo
    revision = call.parts.get("revision") or call.request.query.get("ref") or DEFAULT_BRANCH
    commit = repo.find(revision)
    return (repo, commit) if commit is not None else _error(404, "ref_not_exist", f"there is no {revision}")


def _commit_line(commit: Commit) -> dict[str, Any]:
    created = iso(commit.seconds).replace(".000", "")
    return {"commit_sha": commit.id, "message": commit.message, "created": created}


def _line(row: Entry | str, commit: Commit) -> dict[str, Any]:
    name = row if isinstance(row, str) else row.name
    line = {"path": name, "name": name.rpartition("/")[2], "commit": _commit_line(commit)}
    if isinstance(row, str):
        return {**line, "type": "dir", "size": 0, "etag": "", "is_lfs": False}
    return {**line, "type": "file", "size": row.size, "etag": row.etag, "is_lfs": row.lfs}


def _summary(repo: Repo) -> dict[str, Any]:
    owner, name = repo.id.split("/")
    return {"id": repo.id, "owner": owner, "name": name, "fullname": "", "download_count": 0, "like_count": 0,
            "visibility": "private" if repo.private else "public",
            "labels": {"others": [], "task": None, "frameworks": []}}  # fmt: skip


def _info(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    return _ok({**_summary(repo), "siblings": [{"rfilename": entry.name} for entry in call.entries(commit)]})


def _search(call: Call) -> Reply:
    query = call.request.query
    word, owner = query.get("name", "").lower(), query.get("owner")
    found = [
        _summary(repo)
        for repo in list(call.server.store.repos.values())
        if "openmind" in repo.hubs and (not repo.private or repo.admits(call.request.token))
        if word in repo.id.lower() and owner in (None, repo.id.split("/")[0])
    ]
    return _ok({"total": len(found), "models": found})


def _listing(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    commit = found[1]
    folder = call.request.query.get("path", "")
    rows = call.rows(commit, folder, recursive=False)
    if folder and not rows:
        code = "not_dir" if folder in commit.files else "branch_or_path_not_found"
        return _error(404, code, f"there is no folder {folder}")
    return _ok({"tree": [_line(row, commit) for row in rows], "last_commit": {"commit": _commit_line(commit)}})


def _file_info(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    commit = found[1]
    name = call.request.query.get("path", "")
    entry = next((e for e in call.entries(commit) if e.name == name), None)
    if entry is None:
        is_folder = any(other.startswith(f"{name}/") for other in commit.files)
        return _error(404, "not_file" if is_folder else "branch_or_path_not_found", f"there is no file {name}")
    return _ok({**_line(entry, commit), "branch_last_commit": commit.id, "url": ""})


def _file(call: Call) -> Reply:
    if isinstance(found := _state(call), Reply):
        return found
    repo, commit = found
    if repo.gated and not repo.admits(call.request.token):
        return _error(401, "no_permission", f"access to {repo.id} has to be asked for")
    entry = commit.entry(call.parts["file"])
    if entry is None:
        return _error(404, "branch_or_path_not_found", f"there is no file {call.parts['file']}")
    if entry.lfs and call.server.cdn:
        return Reply.to(call.server.cdn_url(call, commit, entry))
    return Reply.file(entry.content, {"ETag": f'"{entry.etag}"'})


def _account(call: Call) -> Reply:
    if not call.request.authorized:
        return _error(401, "no_permission", "log in first")
    return _ok({"account": "user", "email": "user@example.org"})


def _license(call: Call) -> Reply:
    return _ok(True)


def _writable(call: Call) -> tuple[Repo, Commit] | Reply:
    if isinstance(repo := _repo(call), Reply):
        return repo
    if not call.may_write(repo):
        return _error(403 if call.request.authorized else 401, "no_permission", f"{repo.id} is not yours to write to")
    asked = call.json()
    commit = repo.find(asked.get("ref") or asked.get("branch") or DEFAULT_BRANCH)
    return (repo, commit) if commit is not None else _error(404, "ref_not_exist", "there is no such branch")


def _preupload(call: Call) -> Reply:
    if isinstance(found := _writable(call), Reply):
        return found
    return _ok({"files": [{"path": file["path"], "type": "regular"} for file in call.json()["files"]]})


def _upload(call: Call) -> Reply:
    if isinstance(found := _writable(call), Reply):
        return found
    repo, commit = found
    asked, files = call.json(), dict(commit.files)
    for file in asked["files"]:
        if file["operation"] == "delete":
            files.pop(file["path"], None)
        else:
            files[file["path"]] = Data(base64.b64decode(file["content"]))
    with call.server.store.lock:
        made = repo.commit(asked.get("ref") or DEFAULT_BRANCH, files, asked.get("title") or "Update the files")
    return _ok([{"commit_url": f"{call.base}/models/{repo.id}/commit/{made.id}", "commit_oid": made.id}], 201)


ROUTES: tuple[Route, ...] = (
    Route.at("info", "GET", "/api/v1/model/{repo}", _info),
    Route.at("search", "GET", "/api/v1/model", _search),
    Route.at("account", "GET", "/api/v1/user", _account),
    Route.at("license", "POST", "/api/v1/file/license_check", _license),
    Route.at("listing", "GET", "/api/v1/file/{repo}", _listing),
    Route.at("file-info", "GET", "/api/v1/file/{repo}/info", _file_info),
    Route.at("preupload", "POST", "/api/v1/file/{repo}/pre_upload", _preupload),
    Route.at("commit", "POST", "/api/v1/file/{repo}/upload", _upload),
    Route.at("file", "GET HEAD", "/api/v1/file/{repo}/{revision}/media/{file:path}", _file),
)
