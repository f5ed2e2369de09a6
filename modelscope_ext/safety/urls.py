"""Inputs from the web, only where the caller says so: which URL is allowed, and a fetch that goes nowhere else.

A URL is opened where ``allow_sources=`` names it, its folder (an entry that ends in ``/``) or its host. The address is
looked up once and connected to, so that a name cannot point at one machine when it is judged and at another when it is
opened. An address that is not public is opened only where the entry itself names it. Redirects stay on the host and
within what is allowed; no proxy is used, no cookie or credential is sent, and the environment is not read.

Example:
    >>> web = Web.of(["https://example.org/cats/", "org/base"])
    >>> web.allowed("https://example.org/cats/1.png"), web.allowed("https://example.org/dogs/1.png")
    ('https://example.org/cats/', None)
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlsplit

from modelscope_ext.errors import OptionError, RedirectRefused
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

__all__ = ["CLOSED", "Web", "from_data_url", "is_url"]

_SCHEMES = ("http", "https")
_OTHERS = ("file:", "ftp:", "ftps:", "s3:", "gs:", "hf:", "oss:", "data:")
#: Seconds that all of a fetch may take, redirects included.
_WHOLE = 120.0


def is_url(value: str) -> bool:
    """Whether a str is a URL rather than a path.

    Example:
        >>> is_url("https://example.org/a.png"), is_url("data:image/png;base64,AA"), is_url("C:/a.png"), is_url("a.png")
        (True, True, False, False)
    """
    head = value[:16].lower()
    return head.startswith(("http://", "https://", *_OTHERS)) or "://" in head


def from_data_url(url: str) -> bytes:
    """Return the bytes that a ``data:`` URL holds; nothing is opened.

    Raises:
        OptionError: It is none, or not well formed.

    Example:
        >>> from_data_url("data:text/plain;base64,aGk=")
        b'hi'
    """
    head, comma, body = url.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise OptionError(f"{printable(url, 60)}: expected data:<type>;base64,<data>")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body), validate=True)
    except binascii.Error as error:
        raise OptionError(f"{printable(url, 60)}: not valid base64 ({error})") from error


@dataclass(frozen=True)
class Web(Record):
    """What of the web the caller lets inputs come from.

    Attributes:
        sources: The entries of ``allow_sources=`` that are URLs; the others name models and are not for here.
        limits: Of what is fetched: `Limits.input_bytes`.
    """

    sources: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    @classmethod
    def of(cls, sources: Iterable[Any] = (), limits: Any = None) -> Web:
        """Return the URLs among the entries of ``allow_sources=``.

        Raises:
            OptionError: An entry that is a URL but not one that can be allowed.
        """
        if sources is not None and not isinstance(sources, list | tuple | set | frozenset):
            raise OptionError(f"allow_sources={printable(repr(sources))}: expected a list of sources.")
        urls = tuple(one for one in sources or () if isinstance(one, str) and is_url(one))
        for one in urls:
            _parts(one, "allow_sources: ")
        return cls(urls, Limits.of(limits)) if urls or limits is not None else CLOSED

    def plus(self, sources: Iterable[Any]) -> Web:
        """Return the same with further entries of ``allow_sources=``, all of which have to be URLs.

        Raises:
            OptionError: An entry that is none, which would allow nothing.

        Example:
            >>> CLOSED.plus(["https://example.org"]).sources
            ('https://example.org',)
        """
        if not sources:
            return self
        more = Web.of(sources)
        for one in sources:
            if one not in more.sources:
                raise OptionError(
                    f"allow_sources={printable(repr(one))}: a call takes URLs here, e.g. 'https://example.org/cats/'"
                )
        return Web((*self.sources, *more.sources), self.limits)

    def allowed(self, url: str) -> str | None:
        """Return the entry that allows `url`, or None. Same scheme, host and port; the same path or one below it."""
        asked = _parts(url)
        if ".." in asked.path.split("/") or "%2e" in asked.path.lower():
            return None
        for entry in self.sources:
            has = _parts(entry)
            if (has.scheme, has.hostname, _port(has)) != (asked.scheme, asked.hostname, _port(asked)):
                continue
            whole = has.path in ("", "/") and not has.query
            below = has.path.endswith("/") and not has.query and asked.path.startswith(has.path)
            if whole or below or (has.path, has.query) == (asked.path, asked.query):
                return entry
        return None

    def fetch(self, url: str) -> bytes:
        """Return what lies at `url`.

        Raises:
            OptionError: No URL of the web, or not allowed.
            RedirectRefused: It leads to another host, to something not allowed, or to an address that is not public.
            LimitExceeded: Larger than `Limits.input_bytes`.
            HubError: The host failed, or took too long.
        """
        if url[:5].lower() == "data:":
            return from_data_url(url)
        entry = self.allowed(url)
        if entry is None:
            raise _not_allowed(url)
        from modelscope_ext.safety._fetch import get

        end = time.monotonic() + _WHOLE
        for _ in range(self.limits.redirect_depth + 1):
            found = get(url, entry, most=self.limits.input_bytes, end=end)
            if isinstance(found, bytes):
                return found
            url, entry = self._next(url, found)
        raise RedirectRefused(f"{printable(url)}: more than {self.limits.redirect_depth} redirects", grant="limits")

    def _next(self, url: str, target: str) -> tuple[str, str]:
        there = urljoin(url, target)
        same = _is_web(there) and _origin(there) == _origin(url)
        entry = self.allowed(there) if same else None
        if entry is None:
            what = "within its host, but outside what is allowed" if same else "to another place"
            raise RedirectRefused(
                f"{printable(url)} leads {what}: {printable(there)} (not opened). If you trust it, pass it as the input"
                f" and allow_sources=[{printable(there)!r}].",
                grant="allow_sources",
            )
        return there, entry


CLOSED = Web()


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in _SCHEMES
    except ValueError:
        return False


def _parts(url: str, where: str = "") -> SplitResult:
    """Return the parts of a URL of the web, or say why it is none."""
    try:
        parts = urlsplit(url)
        _port(parts)
    except ValueError as error:
        raise OptionError(f"{where}{printable(url)} is no valid URL ({printable(str(error))})") from error
    if parts.scheme not in _SCHEMES:
        advice = "pass the path without file:" if parts.scheme == "file" else "download it first and pass the path"
        raise OptionError(f"{where}{printable(url)}: only http and https can be fetched; {advice}")
    if not parts.hostname or parts.username is not None or parts.password is not None or "\\" in url:
        raise OptionError(
            f"{where}{printable(parts.hostname or url)}: expected https://host/path, without user or password"
        )
    if not url.isprintable() or " " in url:
        raise OptionError(f"{where}{printable(url)}: blanks and control characters have no place in a URL")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, _port(parts)


def _not_allowed(url: str) -> OptionError:
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}/"
    return OptionError(
        f"{printable(url)} is a URL, and inputs are fetched only where you say so (nothing was opened): pass"
        f" allow_sources=[{printable(host)!r}] for that host, or download it and pass the path"
    )
