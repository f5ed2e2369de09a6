"""One request for one URL that the caller allowed: to an address that was looked at first, bounded in size and time."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, quote, urlsplit

from modelscope_ext.errors import HubError, LimitExceeded, RedirectRefused
from modelscope_ext.utils.text import printable

__all__ = ["get"]

#: Seconds that one step of a connection may take.
_PATIENCE = 20.0
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 2**16
#: What stays as it is in a path; other characters are percent-encoded, as browsers do.
_KEPT = "/%:@!$&'()*+,;=~-._?"


def get(url: str, entry: str, *, most: int, end: float) -> bytes | str:
    """Make one request and return the body, or, as a str, where the answer says to look instead.

    Args:
        url: The URL, which has been allowed.
        entry: The entry of ``allow_sources=`` that allows it.
        most: The largest size, in bytes.
        end: When to give up, on the clock of `time.monotonic`.

    Raises:
        RedirectRefused: The host's address is not public, and the entry does not name it.
        LimitExceeded: The body is larger than `most`.
        HubError: The host failed, or took too long.
    """
    parts = urlsplit(url)
    try:
        connection = _connection(parts, _addresses(parts, entry))
        try:
            path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT)
            connection.request("GET", path, headers={"User-Agent": "modelscope-ext", "Accept-Encoding": "identity"})
            answer = connection.getresponse()
            if answer.status in _REDIRECTS and answer.headers.get("Location"):
                return str(answer.headers["Location"])
            if answer.status != 200:
                raise HubError(f"{printable(url)}: the host answered {answer.status} {printable(answer.reason)}")
            return _body(url, answer, most, end)
        finally:
            connection.close()
    except HubError:
        raise
    except (RedirectRefused, LimitExceeded):
        raise
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise HubError(f"{printable(url)} could not be fetched: {printable(str(error) or repr(error))}") from error


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _addresses(parts: SplitResult, entry: str) -> list[str]:
    """Look the host up; refuse an address that is not public, unless the entry names it or `localhost` itself."""
    host = str(parts.hostname)
    named = urlsplit(entry).hostname == host and (host == "localhost" or _is_address(host))
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM)]
    for one in found:
        if not named and not _is_public(one):
            raise RedirectRefused(
                f"{printable(host)} stands for {one}, an address inside a network (not opened). If that is meant, name"
                f" the address itself: allow_sources=['{parts.scheme}://{one}/'].",
                grant="allow_sources",
            )
    return found


def _is_public(address: str) -> bool:
    """Whether an address is one of the public internet.

    Example:
        >>> [_is_public(a) for a in ("8.8.8.8", "127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1", "169.254.169.254")]
        [True, False, False, False, False]
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    plain = getattr(found, "ipv4_mapped", None) or found
    return bool(plain.is_global and not plain.is_multicast)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connection(parts: SplitResult, addresses: list[str]) -> http.client.HTTPConnection:
    """Return an open connection to the first address that answers; TLS is spoken for the host's name."""
    host, port = str(parts.hostname), _port(parts)
    plain = _opened(addresses, port)
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
        connection.sock = plain
        return connection
    context = ssl.create_default_context()
    try:
        sock = context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
    connection.sock = sock
    return connection


def _opened(addresses: list[str], port: int) -> socket.socket:
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=_PATIENCE)
        except OSError as error:
            failure = failure or error
    raise failure or OSError("the host has no address")


def _body(url: str, answer: http.client.HTTPResponse, most: int, end: float) -> bytes:
    said, size = answer.headers.get("Content-Length") or "", 0
    pieces: list[bytes] = []
    declared = int(said) if said.isdigit() and len(said) < 20 else 0
    while max(size, declared) <= most:
        if time.monotonic() > end:
            raise HubError(f"{printable(url)}: the host is too slow; download it and pass the path")
        piece = answer.read(_PIECE)
        if not piece:
            if size < declared:
                raise HubError(f"{printable(url)}: the host broke off after {size} of {declared} bytes")
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise LimitExceeded(
        f"{printable(url)} is larger than {most} bytes; pass limits={{'input_bytes': ...}} to permit more",
        grant="limits",
    )
