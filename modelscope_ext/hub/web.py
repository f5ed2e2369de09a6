"""Requests for bytes of one file: ranges, bounded, with redirects on which no token travels.

Listings and logins are the clients' work; their downloads always fetch whole files, and so the few kilobytes of
metadata are asked for here, and so are the bodies that `download` resumes. One `Web` serves one operation and keeps
its connections.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from modelscope_ext import __version__
from modelscope_ext.hub.protocol import Address
from modelscope_ext.hub.retry import Unusable

if TYPE_CHECKING:
    import requests

__all__ = ["Answered", "Web"]

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
#: Seconds to wait for a connection, and for the next bytes.
_CONNECT, _READ = 10.0, 20.0
_PIECE = 2**16
#: Where a server ignores Range: bytes that are read and thrown away at most, to get at a range.
_MOST_SKIPPED = 2**20
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)")


class Answered(Exception):
    """An answer that is no success.

    Attributes:
        status_code: Its HTTP status.
        headers: Its headers.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the hub answered {status}")
        self.status_code = status
        self.headers = headers


class Web:
    """Connections of one operation, shared by its threads.

    Example:
        >>> with Web() as web:
        ...     web.session().trust_env
        True
    """

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def session(self) -> requests.Session:
        """Return the session: proxies and certificates as the environment says, no cookies, no password files."""
        with self._lock:
            if self._session is None:
                self._session = _new_session()
            return self._session

    def read(self, address: Address, start: int, length: int) -> bytes:
        """Return bytes of a file, in one request and its redirects.

        Args:
            address: Where it is.
            start: The first byte.
            length: How many, at least 1; fewer come back only where the file ends.

        Raises:
            Answered: The hub refused.
            Unusable: It sent something else than was asked for.
        """
        with self.opened(address, start, length) as (answer, skip):
            data = _body(answer, skip + length)
        return data[skip:]

    def whole(self, address: Address, size: int) -> bytes:
        """Return a whole file whose size in bytes is known.

        Raises:
            Answered: The hub refused.
            Unusable: It sent more or fewer bytes.
        """
        with self.opened(address) as (answer, _):
            declared = _declared(answer)
            if declared is not None and declared != size and not _is_packed(answer):
                raise Unusable(f"{size} bytes are listed, {declared} would be sent")
            data = _body(answer, size + 1)
        if len(data) != size:
            raise Unusable(f"{size} bytes are listed, {'more' if len(data) > size else len(data)} were sent")
        return data

    @contextmanager
    def opened(
        self, address: Address, start: int = 0, length: int | None = None
    ) -> Iterator[tuple[requests.Response, int]]:
        """Yield the answer, its body unread, and how many bytes of the body come before `start`.

        Args:
            address: Where the file is.
            start: The first byte wanted.
            length: How many are wanted; None: to the end.
        """
        ranged = start > 0 or length is not None
        last = "" if length is None else str(start + length - 1)
        with self._answered(address, f"bytes={start}-{last}" if ranged else None) as answer:
            yield answer, _before(answer, start) if ranged else 0

    @contextmanager
    def streamed(self, address: Address, start: int = 0, length: int | None = None) -> Iterator[requests.Response]:
        """Yield the answer with the bytes from `start` on, or, with status 200, with the whole file.

        Args:
            address: Where the file is.
            start: The first byte wanted.
            length: How many are wanted; None: to the end.

        Raises:
            Unusable: The bytes begin elsewhere.
        """
        last = "" if length is None else str(start + length - 1)
        with self._answered(address, f"bytes={start}-{last}" if start or length is not None else None) as answer:
            if answer.status_code == 206:
                _before(answer, start)
            yield answer

    @contextmanager
    def _answered(self, address: Address, wanted: str | None) -> Iterator[requests.Response]:
        headers = {"User-Agent": f"modelscope-ext/{__version__}", "Accept-Encoding": "identity", **address.headers}
        if wanted is not None:
            headers["Range"] = wanted
        answer = self._followed(address.url, headers)
        try:
            yield answer
        finally:
            answer.close()

    def _followed(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Return the answer at the end of the redirects; another host gets no header of the hub's."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self.session().get(
                url, headers=headers, stream=True, allow_redirects=False, timeout=(_CONNECT, _READ)
            )
            if answer.status_code not in _REDIRECTS or not answer.headers.get("Location"):
                if answer.status_code not in (200, 206):
                    answer.close()
                    raise Answered(answer.status_code, answer.headers)
                return answer
            answer.raw.read(_PIECE, decode_content=False)  # read to its end, a connection can be used again
            answer.close()
            target = urljoin(url, answer.headers["Location"])
            _check_step(url, target)
            if _origin(target) != _origin(url):
                headers = {name: value for name, value in headers.items() if name in _NEUTRAL}
            url = target
        raise Unusable(f"more than {_MOST_REDIRECTS} redirects")


#: Headers that another host may see.
_NEUTRAL = ("User-Agent", "Accept-Encoding", "Range")


def _new_session() -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.auth = _as_it_is
    session.cookies.set_policy(_no_cookies())
    session.headers.clear()
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=16, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _as_it_is(request: Any) -> Any:
    """Stand in for a password file (``.netrc``), which requests would prefer to the hub's token."""
    return request


def _no_cookies() -> Any:
    from http.cookiejar import DefaultCookiePolicy

    return DefaultCookiePolicy(allowed_domains=[])


def _check_step(url: str, target: str) -> None:
    there = urlsplit(target)
    if there.scheme not in ("http", "https") or not there.hostname:
        raise Unusable("a redirect to something that is no web address")
    if urlsplit(url).scheme == "https" and there.scheme == "http":
        raise Unusable("a redirect from https to http")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _before(answer: requests.Response, start: int) -> int:
    """Return how many bytes of the body come before `start`, and check that it does not begin after it."""
    if answer.status_code == 200:  # the whole file, although a range was asked for
        if start > _MOST_SKIPPED:
            raise Unusable("the server sends whole files only")
        return start
    found = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if found is None or int(found.group(1)) != start:
        raise Unusable("another range was sent than was asked for")
    return 0


def _declared(answer: requests.Response) -> int | None:
    text = str(answer.headers.get("Content-Length") or "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _is_packed(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _body(answer: requests.Response, most: int) -> bytes:
    """Return at most `most` bytes of the body, unpacked where it was packed although that was not asked for."""
    unpack = zlib.decompressobj(47) if _is_packed(answer) else None
    declared = _declared(answer)
    pieces: list[bytes] = []
    size = received = 0
    while size < most:
        piece = answer.raw.read(min(_PIECE, most - size) if unpack is None else _PIECE, decode_content=False)
        received += len(piece)
        if not piece:
            if declared is not None and received < declared:
                raise Unusable(f"cut off after {received} of {declared} bytes")
            break
        if unpack is not None:
            try:
                piece = unpack.decompress(piece, most - size)
            except zlib.error as error:
                raise Unusable("packed in a way that cannot be read") from error
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
