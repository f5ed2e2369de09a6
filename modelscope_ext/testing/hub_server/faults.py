"""Faults that a hub server shows on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelscope_ext.testing.hub_server.exchange import Reply, Request
    from modelscope_ext.testing.hub_server.repos import Entry

__all__ = ["HOSTILE_NAMES", "Fault", "Faults", "When"]

#: Names that a listing must not be believed: each leads out of a folder, or means another file on some system.
HOSTILE_NAMES = (
    "../outside.txt", "../../outside.txt", "a/../../outside.txt", "/outside.txt", "//outside.txt", "..\\outside.txt",
    "C:\\outside.txt", "C:outside.txt", "\\\\host\\share\\outside.txt", "CON", "nul.txt", "a/COM1", "trailing. ",
    "trailing.", "a/./b.txt", "a//b.txt", "nul\0byte.txt", "new\nline.txt", "", ".", "..", "x" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class When:
    """Which requests a fault is for; all that are given must hold.

    Attributes:
        hub: ``"huggingface"``, ``"modelscope"`` or ``"openmind"``.
        repo: Pattern of the repo's id, e.g. ``"org/*"``.
        path: Pattern of the file's name in the repo, or else of the URL's path.
        route: ``"info"``, ``"listing"``, ``"file"`` (also where it redirects to), ``"refs"``, ``"commit"``, ...
        method: ``"GET"``, ``"HEAD"``, ...
        skip: Let as many matching requests pass first.
        times: Then hit as many; None for all.
    """

    hub: str | None = None
    repo: str | None = None
    path: str | None = None
    route: str | None = None
    method: str | None = None
    skip: int = 0
    times: int | None = None

    def fits(self, request: Request) -> bool:
        """Return whether `request` is one of them, `skip` and `times` apart."""
        return (
            self.hub in (None, request.hub)
            and (self.route in (None, request.route) or (self.route, request.route) == ("file", "cdn"))
            and self.method in (None, request.method)
            and _like(self.repo, request.repo)
            and (_like(self.path, request.file) or _like(self.path, request.path))
        )


@dataclass
class Fault:
    """One fault: what it does, to which requests, and how often it did."""

    name: str
    when: When
    #: Changes the answer; on bodies of files only, or on every answer.
    change: Callable[[Reply], None]
    bodies_only: bool = False
    #: Called before the request is answered.
    before: Callable[[], object] | None = None
    #: Changes a line of a listing instead.
    lie: Callable[[Entry], Entry] | None = None
    #: How many requests it has hit.
    hits: int = 0
    seen: int = field(default=0, repr=False)


class Faults:
    """The faults of a server. Each method adds one and returns it; all take the keywords of `When`.

    Example:
        >>> faults = Faults()
        >>> faults.status(503, hub="modelscope", route="listing", times=2).name
        'status 503'
        >>> faults.cut(1000, path="*.safetensors", times=1).hits
        0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def status(self, code: int, *, retry_after: float | None = None, body: bytes = b"", **when: Any) -> Fault:
        """Answer with `code` instead; with ``Retry-After`` (seconds) where that is given."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}

        def change(reply: Reply) -> None:
            reply.replace(code, body or b'{"error": "a fault that was asked for"}', headers)

        return self._add(f"status {code}", change, when)

    def redirect(self, url: str, *, code: int = 302, **when: Any) -> Fault:
        """Answer with a redirect to `url`."""
        return self._add("redirect", lambda reply: reply.replace(code, b"", {"Location": url}), when)

    def header(self, name: str, value: str | None, **when: Any) -> Fault:
        """Give one header another value; None leaves it out."""

        def change(reply: Reply) -> None:
            reply.headers.pop(name, None)
            if value is not None:
                reply.headers[name] = value

        return self._add(f"header {name}", change, when)

    def drop(self, **when: Any) -> Fault:
        """Close the connection instead of answering."""

        def change(reply: Reply) -> None:
            reply.dropped = True

        return self._add("drop", change, when)

    def run(self, action: Callable[[], object], **when: Any) -> Fault:
        """Call `action()` when the request comes, before it is answered: a branch can move in mid-download."""
        return self._add("run", lambda reply: None, when, before=action)

    def stall(self, seconds: float, *, after: int | None = None, **when: Any) -> Fault:
        """Wait before the answer, or in a file's body when `after` bytes of it are sent."""

        def change(reply: Reply) -> None:
            if after is None:
                reply.delay = seconds
            else:
                reply.pauses.append((after, seconds))

        return self._add("stall", change, when, bodies_only=after is not None)

    def drip(self, bytes_per_second: float, **when: Any) -> Fault:
        """Send a file's body slowly."""

        def change(reply: Reply) -> None:
            reply.rate = bytes_per_second

        return self._add("drip", change, when, bodies_only=True)

    def cut(self, after: int, **when: Any) -> Fault:
        """Close the connection when `after` bytes of a file's body are sent, all of them being announced."""

        def change(reply: Reply) -> None:
            reply.cut = after

        return self._add(f"cut after {after}", change, when, bodies_only=True)

    def corrupt(self, offset: int, **when: Any) -> Fault:
        """Give the byte at `offset` of a file another value; the size stays right."""

        def change(reply: Reply) -> None:
            reply.flipped.append(offset)

        return self._add(f"corrupt at {offset}", change, when, bodies_only=True)

    def resize(self, by: int, **when: Any) -> Fault:
        """Send, and announce, `by` bytes more of a file than the listing says (fewer, below zero)."""

        def change(reply: Reply) -> None:
            reply.grown = by

        return self._add(f"resize by {by}", change, when, bodies_only=True)

    def ignore_range(self, **when: Any) -> Fault:
        """Send the whole file with status 200 whatever range was asked for."""

        def change(reply: Reply) -> None:
            reply.range = None

        return self._add("ignore range", change, when, bodies_only=True)

    def listed(self, *, size: int | None = None, sha256: str | None = None, **when: Any) -> Fault:
        """Make listings lie about a file's size or sha256."""

        def lie(entry: Entry) -> Entry:
            return replace(entry, size=entry.size if size is None else size, sha256=sha256 or entry.sha256)

        return self._add("listed", lambda reply: None, when, lie=lie)

    def clear(self) -> None:
        """Heal the server."""
        with self._lock:
            self._faults.clear()

    def take(self, request: Request, *, bodies: bool) -> list[Fault]:
        """Return the faults that hit `request` now, and count them."""
        with self._lock:
            fitting = [f for f in self._faults if f.lie is None and f.bodies_only is bodies and f.when.fits(request)]
            return [fault for fault in fitting if self._hits(fault)]

    def bend(self, entries: Sequence[Entry], request: Request) -> Sequence[Entry]:
        """Return the lines of a listing, with the lies that were asked for."""
        with self._lock:
            lies = [f for f in self._faults if f.lie is not None and replace(f.when, path=None).fits(request)]
        if not lies:
            return entries
        return [self._bent(entry, lies) for entry in entries]

    def _bent(self, entry: Entry, lies: list[Fault]) -> Entry:
        for fault in lies:
            if fault.lie is not None and _like(fault.when.path, entry.name):
                fault.hits += 1
                entry = fault.lie(entry)
        return entry

    def _hits(self, fault: Fault) -> bool:
        turn = fault.seen
        fault.seen += 1
        hit = turn >= fault.when.skip and (fault.when.times is None or turn < fault.when.skip + fault.when.times)
        fault.hits += hit
        return hit

    def _add(
        self,
        name: str,
        change: Callable[[Reply], None],
        when: dict[str, Any],
        *,
        bodies_only: bool = False,
        before: Callable[[], object] | None = None,
        lie: Callable[[Entry], Entry] | None = None,
    ) -> Fault:
        fault = Fault(name, When(**when), change, bodies_only, before, lie)
        with self._lock:
            self._faults.append(fault)
        return fault


def _like(pattern: str | None, value: str | None) -> bool:
    return pattern is None or (value is not None and fnmatchcase(value, pattern))
