"""What stands before every address: host and origin, the key, how many and how large, and one line in the log.

It is plain ASGI around the whole application, so that a streamed answer counts until its last byte.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from modelscope_ext.serve.call import to_json
from modelscope_ext.serve.log import said
from modelscope_ext.serve.metrics import Metrics
from modelscope_ext.serve.refusal import Refused, body_of
from modelscope_ext.serve.settings import Settings

__all__ = ["OPEN", "Guard", "drain"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Addresses that need no key and always have room: they say only that the server is there.
OPEN = frozenset(("/health", "/v2/health/live", "/v2/health/ready"))
#: Bytes of a refused body that are read and forgotten, so that its sender hears the answer; and seconds for it.
_DRAIN, _DRAIN_SECONDS = 64 * 2**20, 5.0


class Guard:
    """An ASGI application around another.

    Args:
        app: The application.
        settings: Of the server.
        metrics: Of the server.
    """

    def __init__(self, app: Any, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._key = None if settings.api_key is None else settings.api_key.encode("ascii")
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._running = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, sent = time.monotonic(), 0, 0
        scope.setdefault("state", {})
        notes = scope["state"]["notes"] = {"id": uuid.uuid4().hex}
        scope["state"]["deadline"] = started + self._settings.timeout

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self._headers(notes, status)]}
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self._running += 1
        self._metrics.in_flight.set(self._running)
        try:
            refused = self._refusal(scope)
            if refused is None:
                await self._app(scope, receive, watched)
            else:
                await drain(scope, receive)
                await respond(refused, scope["path"], watched)
        except Exception as error:  # noqa: BLE001  the process answers the next request
            said("error", logging.ERROR, error, id=notes["id"])
            if status == 0:
                await respond(
                    Refused(500, f"an error of the server; its log has it as {notes['id']}"), scope["path"], watched
                )
        finally:
            self._running -= 1
            self._metrics.in_flight.set(self._running)
            self._told(scope, notes, status, sent, time.monotonic() - started)

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._hosts:
            host = _host(headers.get(b"host", b""))
            if host not in self._hosts:
                return Refused(421, "this server does not answer for that host; --allow-host adds a name")
        origin = headers.get(b"origin")
        if (
            origin is not None
            and self._hosts
            and (urlsplit(origin.decode("latin-1")).hostname or "") not in self._hosts
        ):
            return Refused(403, "a web page of another origin asks; --allow-host adds its host")
        if scope["path"] in OPEN:
            return None
        if self._key is not None and not hmac.compare_digest(_bearer(headers.get(b"authorization", b"")), self._key):
            return Refused(401, "expected the header `Authorization: Bearer KEY` with this server's key")
        if self._running > self._settings.max_requests:
            return Refused(429, f"{self._settings.max_requests} requests are being answered: ask again in a moment")
        return None

    @staticmethod
    def _headers(notes: dict[str, Any], status: int) -> list[tuple[bytes, bytes]]:
        out = [(b"x-request-id", notes["id"].encode("ascii")), (b"x-content-type-options", b"nosniff")]
        more = {401: (b"www-authenticate", b"Bearer"), 429: (b"retry-after", b"1"), 503: (b"retry-after", b"1")}
        return [*out, more[status]] if status in more else out

    def _told(self, scope: Scope, notes: dict[str, Any], status: int, sent: int, seconds: float) -> None:
        operation = notes.get("operation", "other")
        self._metrics.request(operation, status, seconds)
        fields = {
            "method": scope["method"][:16],
            "operation": operation,
            "status": status,
            "seconds": round(seconds, 4),
        }
        said(
            "request",
            id=notes["id"],
            **fields,
            **{k: v for k, v in notes.items() if k not in ("id", "operation")},
            sent=sent,
        )


async def respond(refused: Refused, path: str, send: Send) -> None:
    """Send a refusal."""
    data = to_json(body_of(refused, path))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode("ascii"))]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def drain(scope: Scope, receive: Receive) -> None:
    """Read what is left of a body and forget it, up to a bound: who is still sending would not hear the answer."""
    read = 0

    async def rest() -> None:
        nonlocal read
        while read < _DRAIN:
            message = await receive()
            read += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(rest(), _DRAIN_SECONDS)
    except asyncio.TimeoutError:
        return


def _bearer(value: bytes) -> bytes:
    kind, _, key = value.partition(b" ")
    return key.strip() if kind.lower() == b"bearer" else b""


def _host(value: bytes) -> str:
    """Return the name in a ``Host`` header, without its port.

    Example:
        >>> _host(b"LOCALHOST:8000"), _host(b"[::1]:8000")
        ('localhost', '::1')
    """
    text = value.decode("latin-1").lower()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
