"""The server: repositories, faults and what was asked, behind one port for each hub."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from modelscope_ext.testing.hub_server import huggingface_, modelscope_, openmind_
from modelscope_ext.testing.hub_server.content import Content, Files, contents
from modelscope_ext.testing.hub_server.exchange import Call, Reply, Request, Route
from modelscope_ext.testing.hub_server.faults import Faults
from modelscope_ext.testing.hub_server.repos import DEFAULT_BRANCH, HUBS, Commit, Entry, Repo, Store
from modelscope_ext.testing.hub_server.tunnel import TunnelHandler, certify
from modelscope_ext.testing.hub_server.wire import Handler, Listener

__all__ = ["HubServer"]

_SIGNATURE = "signed"


class HubServer:
    """Local folders served as Hugging Face, ModelScope and Modelers, on 127.0.0.1 alone.

    Args:
        hubs: Which of ``"huggingface"``, ``"modelscope"``, ``"openmind"`` to serve.
        cdn: Redirect to another host name for large files, as the real hubs do.
        page_size: Lines of a page of Hugging Face's listing.
        listing_cap: Where ModelScope's listing ends, silently.

    Attributes:
        faults: What goes wrong, see `Faults`.
        requests: What was asked, in order, see `Request`.
        errors: Tracebacks of the server's own failures; leaving the ``with`` block raises them.

    Example:
        >>> from urllib.request import urlopen
        >>> with HubServer(hubs=["huggingface"]) as server:
        ...     _ = server.add("org/model", {"config.json": "{}"})
        ...     url = server.environment()["HF_ENDPOINT"] + "/org/model/resolve/main/config.json"
        ...     urlopen(url).read(), [(r.route, r.file, r.status) for r in server.requests]
        (b'{}', [('file', 'config.json', 200)])
    """

    def __init__(
        self,
        hubs: Collection[str] = HUBS,
        *,
        cdn: bool = True,
        page_size: int = 1000,
        listing_cap: int = 3000,
    ) -> None:
        if unknown := sorted(set(hubs) - set(HUBS)):
            raise ValueError(f"hubs: expected some of {', '.join(HUBS)}, found {', '.join(unknown)}")
        self.hubs = tuple(hub for hub in HUBS if hub in hubs)
        self.cdn, self.page_size, self.listing_cap = cdn, page_size, listing_cap
        self.faults = Faults()
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self.store = Store()
        self._closing = threading.Event()
        self._listeners: dict[str, Listener] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._bundle: Path | None = None

    def __enter__(self) -> HubServer:
        """Return itself; each hub's port opens when it is first asked for."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the ports; raise what failed in the server itself, unless something else is being raised."""
        self.close()
        if self.errors and error is None:
            raise RuntimeError(f"the hub server itself failed {len(self.errors)} times; first:\n{self.errors[0]}")

    def close(self) -> None:
        """Close the ports and all connections."""
        self._closing.set()
        for listener in self._listeners.values():
            listener.close()
        if self._folder is not None:
            self._folder.cleanup()

    def add(
        self,
        repo: str,
        files: Files,
        *,
        revisions: Mapping[str, Files] | None = None,
        tags: Mapping[str, str] | None = None,
        private: bool = False,
        gated: bool = False,
        tokens: Collection[str] = (),
        hubs: Collection[str] = HUBS,
        info: Mapping[str, Any] | None = None,
    ) -> Repo:
        """Add a repository, or replace one.

        Args:
            repo: ``"org/name"``.
            files: Of the default branch, which Hugging Face and Modelers call ``main`` and ModelScope ``master``: a
                folder, or contents by name (text, bytes, a path, `Generated`). Names are not checked.
            revisions: Files of further branches.
            tags: Branch or commit by tag.
            private: Only holders of `tokens` see it.
            gated: Only holders of `tokens` get its files.
            tokens: Who may read, and write. Of a repo without tokens everybody may read, and write with any token.
            hubs: Where it is served.
            info: Further keys of Hugging Face's description, e.g. ``{"pipeline_tag": "fill-mask"}``.
        """
        made = Repo(repo, private, gated, tuple(tokens), tuple(hubs), dict(info or {}))
        for branch, of_branch in {DEFAULT_BRANCH: files, **(revisions or {})}.items():
            made.commit(branch, contents(of_branch), "Add the files")
        for tag, revision in (tags or {}).items():
            if (commit := made.find(revision)) is None:
                raise ValueError(f"tags: {tag!r} names {revision!r}, which is none of {sorted(made.branches)}")
            made.tags[tag] = commit.id
        with self.store.lock:
            self.store.repos[repo] = made
        return made

    def move(self, repo: str, branch: str, files: Files) -> str:
        """Put new files on a branch and return the id of the commit; the old one stays."""
        with self.store.lock:
            return self.store.repos[repo].commit(branch, contents(files)).id

    def commit_id(self, repo: str, revision: str = DEFAULT_BRANCH) -> str:
        """Return the commit that a branch or tag means now."""
        if (commit := self.store.repos[repo].find(revision)) is None:
            raise ValueError(f"{repo} has no revision {revision!r}")
        return commit.id

    def endpoint(self, hub: str) -> str:
        """Return the hub's address. Modelers' is the real one; the way to it is in `environment`."""
        port = self._listener(hub).port
        return f"https://{openmind_.HOST}" if hub == "openmind" else f"http://127.0.0.1:{port}"

    def elsewhere(self, hub: str) -> str:
        """Return the address of the same server under another host's name."""
        port = self._listener(hub).port
        return f"https://{openmind_.CDN_HOST}" if hub == "openmind" else f"http://localhost:{port}"

    def environment(self, *hubs: str) -> dict[str, str]:
        """Return the variables that lead the official clients here.

        The clients read them when they are imported: give them to a new process, or pass `endpoint` to the client.

        Args:
            *hubs: Which; all that are served if none is given.

        Raises:
            ImportError: Modelers is among them and trustme is not installed.
        """
        found = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        for hub in hubs or self.hubs:
            found |= _VARIABLES[hub]
            found[_ENDPOINTS[hub]] = self.endpoint(hub)
            if hub == "openmind":
                proxy, bundle = f"http://127.0.0.1:{self._listener(hub).port}", str(self.bundle)
                found |= {"HTTPS_PROXY": proxy, "https_proxy": proxy}
                found |= {"REQUESTS_CA_BUNDLE": bundle, "SSL_CERT_FILE": bundle}
        return found

    @property
    def bundle(self) -> Path:
        """The certificate to trust, where Modelers is served."""
        self._listener("openmind")
        assert self._bundle is not None
        return self._bundle

    def cdn_url(self, call: Call, commit: Commit, entry: Entry) -> str:
        """Return where a large file is really kept: on a host of another name."""
        at = self.elsewhere(call.request.hub)
        return f"{at}/cdn/{call.parts['repo']}/{commit.id}/{quote(entry.name)}?signature={_SIGNATURE}"

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the server lives.

        Raises:
            ConnectionAbortedError: It was closed.
        """
        if self._closing.wait(seconds):
            raise ConnectionAbortedError("the server was closed")

    def content(self, repo: str, name: str, revision: str = DEFAULT_BRANCH) -> Content:
        """Return what a file holds."""
        return self.store.repos[repo].commits[self.commit_id(repo, revision)].files[name]

    def _listener(self, hub: str) -> Listener:
        if hub not in self.hubs:
            raise ValueError(f"{hub!r} is not served here: HubServer(hubs={list(self.hubs)})")
        with self.store.lock:
            if hub not in self._listeners:
                handler = self._tunnel() if hub == "openmind" else Handler
                self._listeners[hub] = Listener(self, hub, (*_ROUTES[hub], _CDN), handler)
            return self._listeners[hub]

    def _tunnel(self) -> type[Handler]:
        self._folder = tempfile.TemporaryDirectory(prefix="hub-server-")
        self._bundle, context = certify(Path(self._folder.name))
        return type("_Tunnel", (TunnelHandler,), {"context": context})


def _from_cdn(call: Call) -> Reply:
    repo = call.repo
    commit = repo and repo.commits.get(call.parts["commit"])
    entry = commit and commit.entry(call.parts["file"])
    if not entry or call.request.query.get("signature") != _SIGNATURE:
        return Reply.of({"error": "no such object, or the signature is wrong"}, 403)
    return Reply.file(entry.content, {"ETag": f'"{entry.content.sha256}"'})


_CDN = Route.at("cdn", "GET HEAD", "/cdn/{repo}/{commit}/{file:path}", _from_cdn)
_ROUTES = {"huggingface": huggingface_.ROUTES, "modelscope": modelscope_.ROUTES, "openmind": openmind_.ROUTES}
_ENDPOINTS = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT", "openmind": "OPENMIND_HUB_ENDPOINT"}
_VARIABLES = {
    "huggingface": {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"},
    "modelscope": {"MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false"},
    "openmind": {},
}
