"""Inputs from the web: what is allowed, and a fetch that goes there and nowhere else."""

from __future__ import annotations

import http.server
import socket
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import HubError, LimitExceeded, ModelScopeExtError, OptionError, RedirectRefused
from modelscope_ext.safety.urls import CLOSED, Web, from_data_url, is_url


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves what `server.pages` holds: bytes, or a place to go on to; notes every path and header it is asked for."""

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif isinstance(page, str):
            self.send_response(302)
            self.send_header("Location", page)
            self.end_headers()
        else:
            length, data = page if isinstance(page, tuple) else (len(page), page)
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    made.pages, made.asked = {"/cats/1.png": b"meow", "/dogs/1.png": b"woof"}, []
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("https://h.org", "https://h.org/a/b.png", True),
        ("https://h.org/", "https://h.org/a/b.png?size=2", True),
        ("https://h.org/a/", "https://h.org/a/b.png", True),
        ("https://h.org/a/b.png", "https://h.org/a/b.png", True),
        ("https://h.org:443/a/", "https://h.org/a/b.png", True),
        ("https://H.org/a/", "https://h.ORG/a/b.png", True),
        ("https://h.org/a", "https://h.org/a/b.png", False),
        ("https://h.org/a/", "https://h.org/ab.png", False),
        ("https://h.org/a/", "https://h.org/a/../b.png", False),
        ("https://h.org/a/", "https://h.org/a/%2e%2E/b.png", False),
        ("https://h.org/a/b.png", "https://h.org/a/b.png?x=1", False),
        ("https://h.org", "http://h.org/a.png", False),
        ("https://h.org", "https://h.org:8443/a.png", False),
        ("https://h.org", "https://h.org.evil.net/a.png", False),
        ("https://h.org", "https://sub.h.org/a.png", False),
    ],
)
def test_an_entry_allows_itself_its_folder_or_its_host(entry, url, allowed):
    assert (Web.of([entry]).allowed(url) == entry) is allowed


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://user:word@h.org/a.png", "without user or password"),
        ("https://h.org@evil.net/a.png", "without user or password"),
        ("https:///a.png", "expected https://host/path"),
        ("https://h.org\\@evil.net/a.png", "expected https://host/path"),
        ("https://h.org:port/a.png", "no valid URL"),
        ("https://[::1/a.png", "no valid URL"),
        ("file:///etc/passwd", "only http and https can be fetched; pass the path without file:"),
        ("ftp://h.org/a.png", "only http and https"),
        ("gopher://h.org/a", "only http and https"),
        ("https://h.org/a b.png", "blanks and control characters"),
    ],
)
def test_what_is_no_url_of_the_web_is_refused_as_input_and_as_entry(url, says):
    with pytest.raises(OptionError, match=says):
        Web.of(["https://h.org"]).fetch(url)
    with pytest.raises(OptionError, match=f"allow_sources: .*{says}"):
        Web.of([url])


def test_nothing_is_allowed_unless_it_is_said():
    assert Web.of([]) is CLOSED is Web.of(None)
    assert Web.of(["org/base@0a1b", "./folder"]) is CLOSED
    with pytest.raises(
        OptionError, match=r"nothing was opened\): pass allow_sources=\['https://h.org/'\] for that host"
    ):
        CLOSED.fetch("https://h.org/a.png")
    with pytest.raises(OptionError, match="expected a list"):
        Web.of("https://h.org")
    with pytest.raises(OptionError, match="a call takes URLs here"):
        CLOSED.plus(["org/base"])


def test_a_data_url_needs_no_leave_and_opens_nothing():
    assert CLOSED.fetch("data:image/png;base64,aGVsbG8=") == b"hello"
    assert from_data_url("data:,a%20b") == b"a b"
    for broken in ("data:image/png;base64", "data:image/png;base64,?", "data:image/png;base64,aGVsbG8"):
        with pytest.raises(OptionError):
            from_data_url(broken)


@settings(max_examples=200)
@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z.@:/\\%0-9]{0,30}", fullmatch=True))
def test_any_text_is_allowed_only_on_the_host_that_was_named(text):
    web = Web.of(["https://h.org/a/"])
    try:
        entry = web.allowed(text)
    except OptionError:
        return
    if entry is not None:
        parts = urlsplit(text)
        assert (parts.scheme, parts.hostname, parts.port or 443) == ("https", "h.org", 443)
        assert parts.path.startswith("/a/")
        assert ".." not in parts.path.split("/")


@settings(max_examples=100)
@given(st.text(max_size=20))
def test_is_url_takes_no_path_for_one(name):
    assert is_url("https://" + name)
    assert not is_url("./" + name.replace("://", ""))


def test_no_socket_is_opened_before_it_is_allowed():
    """Sockets are blocked here: a look-up of the host alone would fail this test."""
    with pytest.raises(OptionError, match="inputs are fetched only where you say so"):
        Web.of(["https://other.org"]).fetch("https://h.org/a.png")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"],
)
def test_a_name_that_leads_inside_a_network_is_refused(address, monkeypatch):
    """Whoever owns the name may point it at the machine next door, or at a cloud's own metadata."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(2, 1, 6, "", (address, 443))])
    with pytest.raises(RedirectRefused, match=r"an address inside a network \(not opened\)"):
        Web.of(["https://h.org"]).fetch("https://h.org/a.png")


@pytest.mark.enable_socket
def test_a_fetch_gives_the_bytes(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert Web.of([server.url]).fetch(f"{server.url}/cats/1.png") == b"meow"
    assert Web.of([f"{server.url}/cats/"]).fetch(f"{server.url}/cats/1.png") == b"meow"
    [first, _] = server.asked
    assert not {"Cookie", "Authorization", "Referer"} & set(first[1])
    with pytest.raises(OptionError):
        Web.of([f"{server.url}/cats/"]).fetch(f"{server.url}/dogs/1.png")
    assert len(server.asked) == 2


@pytest.mark.enable_socket
def test_a_redirect_stays_where_it_is_allowed(server):
    other = "http://localhost:1/x.png"
    server.pages |= {"/cats/2.png": "1.png", "/cats/3.png": "/dogs/1.png", "/cats/4.png": other, "/cats/5.png": "5.png"}
    server.pages |= {
        "/cats/6.png": "file:///etc/passwd",
        "/cats/7.png": "//127.0.0.1:1/a",
        "/cats/8.png": "https:/1.png",
    }
    web = Web.of([f"{server.url}/cats/"])
    assert web.fetch(f"{server.url}/cats/2.png") == b"meow"
    with pytest.raises(
        RedirectRefused, match=r"within its host, but outside what is allowed: .*/dogs/1.png \(not opened\)"
    ):
        web.fetch(f"{server.url}/cats/3.png")
    for number in (4, 6, 7, 8):
        with pytest.raises(RedirectRefused, match=r"to another place: .*\(not opened\)"):
            web.fetch(f"{server.url}/cats/{number}.png")
    with pytest.raises(RedirectRefused, match="more than 3 redirects"):
        web.fetch(f"{server.url}/cats/5.png")
    assert "/dogs/1.png" not in [path for path, _ in server.asked]


@pytest.mark.enable_socket
def test_a_body_is_bounded(server):
    server.pages |= {
        "/said": (None, b"x" * 2000),
        "/lies": (10**12, b"x"),
        "/short": (50, b"x" * 20),
        "/fits": b"x" * 1000,
    }
    web = Web.of([server.url], {"input_bytes": 1000})
    assert len(web.fetch(f"{server.url}/fits")) == 1000
    for path in ("/said", "/lies"):
        with pytest.raises(LimitExceeded, match=r"larger than 1000 bytes; pass limits={'input_bytes': ...}"):
            web.fetch(server.url + path)
    with pytest.raises(HubError, match="broke off after 20 of 50 bytes"):
        web.fetch(f"{server.url}/short")


@pytest.mark.enable_socket
def test_a_host_that_fails_is_told_as_ours(server):
    web = Web.of([server.url, "http://127.0.0.1:1"])
    with pytest.raises(HubError, match="the host answered 404"):
        web.fetch(f"{server.url}/none")
    with pytest.raises(HubError, match="could not be fetched") as caught:
        web.fetch("http://127.0.0.1:1/a.png")
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value, ModelScopeExtError)


def test_the_address_that_was_judged_is_the_one_that_is_opened(monkeypatch):
    """A name is looked up once; a second look-up could give another answer."""
    looked, opened = [], []

    def look(host, *args, **keywords):
        looked.append(host)
        return [(2, 1, 6, "", ("8.8.8.8", 443))]

    def refuse(address, **keywords):
        opened.append(address)
        raise OSError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(HubError, match="refused"):
        Web.of(["https://h.org"]).fetch("https://h.org/a.png")
    assert (looked, opened) == (["h.org"], [("8.8.8.8", 443)])
