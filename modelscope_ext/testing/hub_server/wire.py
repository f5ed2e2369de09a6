"""HTTP: reads a request, lets its hub answer, and sends the answer with the faults that hit it."""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from modelscope_ext.testing.hub_server.content import CHUNK, Generated
from modelscope_ext.testing.hub_server.exchange import Call, Reply, Request, Route, find

if TYPE_CHECKING:
    from modelscope_ext.testing.hub_server.server import HubServer

__all__ = ["Handler", "Listener", "hang_up"]

_GONE = (ConnectionError, TimeoutError, ssl.SSLError, ssl.SSLEOFError)


class Listener(ThreadingHTTPServer):
    """A port on 127.0.0.1 where one hub answers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: HubServer, hub: str, routes: tuple[Route, ...], handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.hub_server, self.hub, self.routes = server, hub, routes
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=f"hub {hub}", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without asking the resolver for this machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember the connection, to close it at the end."""
        connection, address = super().get_request()
        self.hold(connection)
        return connection, address

    def hold(self, connection: socket.socket) -> None:
        """Close `connection` when the listener closes."""
        with self._lock:
            self._open.add(connection)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is over."""
        self.release(request)
        super().shutdown_request(request)

    def release(self, connection: socket.socket) -> None:
        """Take back `hold`."""
        with self._lock:
            self._open.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong here; that a client went away is no error."""
        import sys

        if not isinstance(sys.exc_info()[1], _GONE):
            self.hub_server.errors.append(traceback.format_exc())

    def close(self) -> None:
        """Stop, closing all connections."""
        self.shutdown()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            hang_up(connection)
        self.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server_version = "modelscope-ext-hub-server"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = CHUNK
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: `HubServer.requests` has it all."""

    def _serve(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        listener, server = self.server, self.server.hub_server
        found = find(listener.routes, self.command, url.path)
        host = self.headers.get("Host", "")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        request = Request(
            listener.hub, self.command, unquote(url.path), query, host.rpartition(":")[0] or host,
            self.headers.get("Range"), self._token(),
        )  # fmt: skip
        if found is not None:
            route, parts = found
            request.route, request.repo = route.name, parts.get("repo")
            request.file = parts.get("file") or query.get("FilePath") or query.get("path") or None
        server.requests.append(request)
        call = Call(server, request, found[1] if found else {}, body, f"{self._scheme}://{host}")
        try:
            reply = self._answer(call, found[0] if found else None)
            self._send(reply, request)
        except _GONE:
            self.close_connection = True
        finally:
            request.done = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 - http.server's names

    def _answer(self, call: Call, route: Route | None) -> Reply:
        faults = call.server.faults
        early = faults.take(call.request, bodies=False)
        for fault in early:
            if fault.before is not None:
                fault.before()
        if route is None:
            reply = Reply.of({"error": "no hub has this path"}, 404)
        else:
            try:
                reply = route.answer(call)
            except Exception:  # noqa: BLE001 - it is reported by the server, and must not look like a fault of the hub
                call.server.errors.append(traceback.format_exc())
                reply = Reply.of({"error": "the hub server itself failed"}, 500)
        reply.range = self.headers.get("Range")
        late = faults.take(call.request, bodies=True) if reply.is_file and call.request.method == "GET" else []
        for fault in (*early, *late):
            fault.change(reply)
        call.request.faults = tuple(fault.name for fault in (*early, *late))
        return reply

    def _send(self, reply: Reply, request: Request) -> None:
        if reply.delay:
            self.server.hub_server.wait(reply.delay)
        if reply.dropped:
            self.close_connection = True
            self.wfile.flush()
            hang_up(self.connection)
            return
        start, stop = reply.window()
        request.status = reply.status
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if request.method != "HEAD":
            self._send_body(reply, start, stop, request)
        self.wfile.flush()

    def _send_body(self, reply: Reply, start: int, stop: int, request: Request) -> None:
        whole = not (reply.pauses or reply.rate or reply.cut is not None or reply.flipped or reply.grown)
        if whole and self._kernel_sends(reply, start, stop, request):
            return
        limit = stop if reply.cut is None else min(stop, start + reply.cut)
        if reply.rate:  # a slow line holds little: what was sent is nearly what has arrived
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK // 16)
        pauses = sorted(reply.pauses)
        for piece in _pieces(reply, start, limit):
            while pauses and request.sent >= pauses[0][0]:
                self.wfile.flush()
                self.server.hub_server.wait(pauses.pop(0)[1])
            self.wfile.write(piece)
            request.sent += len(piece)
            if reply.rate:
                self.wfile.flush()
                self.server.hub_server.wait(len(piece) / reply.rate)
        if limit < stop:
            self.wfile.flush()
            self.close_connection = True
            hang_up(self.connection)

    def _kernel_sends(self, reply: Reply, start: int, stop: int, request: Request) -> bool:
        if isinstance(self.connection, ssl.SSLSocket) or (file := reply.content.open()) is None:
            return False
        with file:
            self.wfile.flush()
            while start < stop:
                sent = self.connection.sendfile(file, start, min(8 * CHUNK, stop - start))
                if not sent:
                    raise ConnectionResetError
                start += sent
                request.sent += sent
        return True

    @property
    def _scheme(self) -> str:
        return "https" if isinstance(self.connection, ssl.SSLSocket) else "http"

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _token(self) -> str | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("m_session_id")
        except CookieError:
            return None
        return cookie.value if cookie is not None else None


def _pieces(reply: Reply, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Yield a body in pieces that end where a fault acts."""
    size = 64 * 1024 if reply.rate is None else max(1, min(64 * 1024, int(reply.rate / 20)))
    if not (reply.pauses or reply.rate):
        size = CHUNK
    edges = sorted({start + after for after, _ in reply.pauses if start < start + after < stop})
    at = start
    for edge in (*edges, stop):
        while at < edge:
            end = min(edge, at + size)
            yield from _read(reply, at, end)
            at = end


def _read(reply: Reply, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file between two offsets, with those beyond its end and those to be wrong."""
    at = start
    for piece in reply.content.chunks(start, stop):
        hits = [offset - at for offset in reply.flipped if at <= offset < at + len(piece)]
        at += len(piece)
        if hits:
            changed = bytearray(piece)
            for hit in hits:
                changed[hit] ^= 0xFF
            piece = bytes(changed)
        yield piece
    if at < stop:
        yield from Generated(stop - at, seed=1).chunks()


def hang_up(connection: socket.socket) -> None:
    """Close a connection that another thread may be reading or writing."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()
