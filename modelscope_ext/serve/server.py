"""One process with uvicorn: it listens, answers until it is told to stop, and then answers what is in flight."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.serve.hosted import hosted
from modelscope_ext.serve.operations import build
from modelscope_ext.serve.settings import Settings
from modelscope_ext.utils.text import printable

__all__ = ["is_loopback", "listen", "reached_at", "serve", "shown"]

#: Seconds after which a connection on which nobody asks anything is closed.
_IDLE = 10
#: Connections that wait to be taken.
_BACKLOG = 2048


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address.

    Example:
        >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OptionError: No such address.
        OSError: It is taken, or not permitted.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise OptionError(f"--host {printable(host)}: no such address ({error})") from error
    family, kind, _, _, address = found[0]
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise OSError(
            error.errno, f"{host}:{port} cannot be listened at: {error.strerror}; choose another --port"
        ) from error
    return made


def reached_at(host: str, settings: Settings, *, anonymous: bool) -> Settings:
    """Return the settings for a server at `host`: on loopback, only requests that name this machine are answered.

    Raises:
        OptionError: Others reach the address, and there is no key.
    """
    if is_loopback(host):
        return replace(settings, hosts=tuple({*settings.hosts, "localhost", "127.0.0.1", "::1", host}))
    if settings.api_key is None and not anonymous:
        raise OptionError(
            f"--host {printable(host)} is reached by others: give a key (--api-key-file FILE, or the environment"
            " variable MODELSCOPE_EXT_API_KEY), or --allow-anonymous"
        )
    return settings


def shown(address: tuple[Any, ...]) -> str:
    """Return a socket's address as clients write it.

    Example:
        >>> shown(("::1", 8000, 0, 0))
        'http://[::1]:8000'
    """
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


def serve(
    models: Any,
    host: str,
    port: int,
    ready: Callable[[str], None] | None,
    settings: Settings,
    *,
    anonymous: bool = False,
) -> None:
    """Serve until told to stop; see `modelscope_ext.serve.run`."""
    import uvicorn

    settings = reached_at(host, settings, anonymous=anonymous)
    held = hosted(models, settings)
    made = listen(host, port)
    with made:
        config = uvicorn.Config(
            build(held, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            http=_protocol(settings.timeout),
            lifespan="on",
            loop="asyncio",
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=math.ceil(settings.grace),
            h11_max_incomplete_event_size=64 * 1024,
        )
        address = shown(made.getsockname())
        server = _server(config, lambda: ready(address) if ready is not None else None)
        before = _calm()
        try:
            server.run(sockets=[made])
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)
    if not server.started:
        raise OSError("the server did not start; its log says why")


def _calm() -> Any:
    """Let SIGTERM end the server and not the process: uvicorn raises it again when it is done."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, lambda number, frame: None)


def _server(config: Any, ready: Callable[[], None]) -> Any:
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc,unused-ignore]
        """Says when requests are taken."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

    return Server(config)


def _protocol(seconds: float) -> Any:
    """Return uvicorn's HTTP in Python, with an end for connections that never ask anything."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):  # type: ignore[misc,unused-ignore]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            asyncio.get_running_loop().call_later(seconds, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Protocol
