"""One request and its reply, before it goes out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from modelscope_ext.testing.hub_server.content import Content, Data
from modelscope_ext.testing.hub_server.repos import Commit, Entry, Repo, tree

if TYPE_CHECKING:
    from modelscope_ext.testing.hub_server.server import HubServer

__all__ = ["Call", "Reply", "Request", "Route", "find"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Request:
    """What a client asked for and what it got: one line of `HubServer.requests`.

    Attributes:
        hub: ``"huggingface"``, ``"modelscope"``, ``"openmind"``, or ``"proxy"`` for a tunnel to another host.
        method: E.g. ``"GET"``.
        path: Of the URL, unquoted, without the query.
        query: Of the URL; of a repeated key the last value.
        host: The host that was asked, as the client spelled it, without the port.
        range: The ``Range`` header.
        token: The token that was sent, however it was sent.
        route: What it was for: ``"info"``, ``"listing"``, ``"file"``, ``"other"`` for a path that no hub knows, ...
        repo: ``"org/name"``.
        file: Name of a file in the repo.
        status: Of the reply; 0 while it is being worked on, or where the connection was dropped without one.
        sent: Bytes of the body that were handed to the system. The client may not have read them all.
        faults: Names of the faults that hit it.
        done: It is finished, well or not.
    """

    hub: str
    method: str
    path: str
    query: dict[str, str]
    host: str
    range: str | None
    token: str | None = field(repr=False)
    route: str = "other"
    repo: str | None = None
    file: str | None = None
    status: int = 0
    sent: int = 0
    faults: tuple[str, ...] = ()
    done: bool = False

    @property
    def authorized(self) -> bool:
        """A token was sent."""
        return self.token is not None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can carry it, but whether there was a token instead of the token."""
        return {**{k: v for k, v in asdict(self).items() if k != "token"}, "authorized": self.authorized}


@dataclass
class Reply:
    """An answer, and how it is sent. Faults change it; the fields below `range` are theirs alone."""

    status: int
    headers: dict[str, str]
    content: Content
    #: The body is that of a file: it can be asked for in part, and faults may hit it.
    is_file: bool = False
    range: str | None = None
    dropped: bool = False
    delay: float = 0
    pauses: list[tuple[int, float]] = field(default_factory=list)
    rate: float | None = None
    cut: int | None = None
    flipped: list[int] = field(default_factory=list)
    grown: int = 0

    @classmethod
    def of(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """Return the reply that carries `value` as JSON."""
        data = json.dumps(value).encode()
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, Data(data))

    @classmethod
    def file(cls, content: Content, headers: Mapping[str, str]) -> Reply:
        """Return the reply that carries a file."""
        return cls(200, {"Content-Type": "application/octet-stream", **headers}, content, is_file=True)

    @classmethod
    def to(cls, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Return a redirect."""
        return cls(302, {**(headers or {}), "Location": url}, Data(b""))

    def replace(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Become another answer."""
        self.status, self.content, self.headers = status, Data(body), dict(headers)
        self.is_file, self.range = False, None

    def window(self) -> tuple[int, int]:
        """Return the first byte to send and the one after the last, and set status and headers accordingly."""
        size = max(0, self.content.size + self.grown)
        if not self.is_file:
            return 0, size
        self.headers["Accept-Ranges"] = "bytes"
        found = _RANGE.fullmatch(self.range or "")
        if found is None or found.group() == "bytes=-":
            return 0, size
        first, last = found.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= size or stop <= start:
            self.status, self.headers["Content-Range"] = 416, f"bytes */{size}"
            return 0, 0
        self.status, self.headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        return start, stop


@dataclass
class Call:
    """One request as the hub's routes see it."""

    server: HubServer
    request: Request
    #: What the route's pattern found, unquoted.
    parts: dict[str, str]
    body: bytes
    #: ``http://127.0.0.1:8000``: where the client found this hub.
    base: str

    @property
    def repo(self) -> Repo | None:
        """The repository that was asked for, if this hub has it."""
        return self.server.store.find(self.parts["repo"], self.request.hub)

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body or b"{}")

    def form(self, name: str) -> list[str]:
        """Return the values of a field of the body, whether it is JSON or a form."""
        if self.body.lstrip()[:1] == b"{":
            found = self.json().get(name, [])
            return found if isinstance(found, list) else [found]
        return [value for key, value in parse_qsl(self.body.decode()) if key == name]

    def entries(self, commit: Commit) -> Sequence[Entry]:
        """Return the lines of the listing."""
        return self.server.faults.bend(commit.entries, self.request)

    def rows(self, commit: Commit, folder: str, *, recursive: bool) -> Sequence[Entry | str]:
        """Return the files below a folder of the listing, each folder (a str) before what it holds."""
        entries = self.entries(commit)
        if entries is not commit.entries:
            return tree(entries, folder, recursive=recursive)
        known = commit.trees
        if (folder, recursive) not in known:
            known[folder, recursive] = tree(entries, folder, recursive=recursive)
        return known[folder, recursive]

    def may_write(self, repo: Repo) -> bool:
        """Return whether the sender may write."""
        token = self.request.token
        return repo.admits(token) if repo.tokens else token is not None


@dataclass(frozen=True)
class Route:
    """Requests of one form, and who answers them."""

    name: str
    methods: str
    pattern: re.Pattern[str]
    answer: Callable[[Call], Reply]

    @classmethod
    def at(cls, name: str, methods: str, path: str, answer: Callable[[Call], Reply]) -> Route:
        """Return a route of `path`, where ``{x}`` stands for a part and ``{x:path}`` for several."""
        pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", path)
        pattern = pattern.replace("{repo}", "(?P<repo>[^/]+/[^/]+)")
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        return cls(name, methods, re.compile(pattern), answer)


def find(routes: Iterable[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a request, and the parts of its path, which is still quoted."""
    for route in routes:
        if method in route.methods.split() and (found := route.pattern.fullmatch(path)) is not None:
            return route, {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
    return None
