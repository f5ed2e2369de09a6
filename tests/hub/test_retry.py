import json
import socket
import ssl
import threading
import time
from email.utils import formatdate

import pytest
import requests
import urllib3

from modelscope_ext.errors import HubError
from modelscope_ext.hub import retry
from modelscope_ext.hub.retry import Deadline, Unusable, after_of, at_once, bounded, is_passing, retried
from modelscope_ext.hub.web import Answered


def answered(status, **headers):
    return Answered(status, headers)


def raised_by(kind, response_status):
    response = requests.Response()
    response.status_code = response_status
    return kind("x", response=response)


def of_untrusted():
    error = requests.exceptions.SSLError("x")
    error.__cause__ = ssl.SSLCertVerificationError("x")
    return error


PASSING = [
    ConnectionResetError(), TimeoutError(), socket.timeout(), BrokenPipeError(),  # noqa: UP041
    requests.ConnectionError(), requests.Timeout(), requests.exceptions.ChunkedEncodingError(),
    urllib3.exceptions.ProtocolError("x"), urllib3.exceptions.ReadTimeoutError(None, "x", "x"),
    requests.exceptions.SSLError("x"), json.JSONDecodeError("x", "", 0),
    requests.exceptions.JSONDecodeError("x", "", 0),
    Unusable("x"), *map(answered, (408, 425, 429, 500, 502, 503, 504)), raised_by(requests.HTTPError, 503),
]  # fmt: skip
LASTING = [
    KeyError("sha"), ValueError("x"), TypeError("x"), HubError("x"), FileNotFoundError(), PermissionError(),
    requests.exceptions.InvalidURL(), requests.exceptions.MissingSchema(), of_untrusted(),
    *map(answered, (400, 401, 403, 404, 410, 416, 451, 501)), raised_by(requests.HTTPError, 404),
]  # fmt: skip


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_asked_again(error, monkeypatch):
    assert is_passing(error)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    calls = []

    def act():
        calls.append(1)
        if len(calls) < 3:
            raise error
        return "done"

    assert (retried(act, Deadline(5)), len(calls)) == ("done", 3)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_will_not_pass_is_asked_once(error):
    assert not is_passing(error)
    calls = []

    def act():
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        retried(act, Deadline(5))
    assert (caught.value, len(calls)) == (error, 1)


def test_it_ends_after_so_many_tries(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    calls = []

    def act():
        calls.append(1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        retried(act, Deadline(60))
    assert len(calls) == retry.TRIES


def test_a_hub_says_how_long_to_wait():
    assert after_of(answered(429, **{"Retry-After": "7"})) == 7
    assert after_of(answered(503, **{"retry-after": " 3 "})) == 3
    assert 8 < after_of(answered(429, **{"Retry-After": formatdate(time.time() + 10, usegmt=True)})) <= 10
    assert after_of(answered(429, **{"Retry-After": formatdate(time.time() - 10, usegmt=True)})) == 0
    for strange in ("", "soon", "-1", "1e9", "9" * 30, "\u0663"):
        assert after_of(answered(429, **{"Retry-After": strange})) is None
    assert after_of(ConnectionResetError()) is None


def test_its_wait_is_kept_and_never_longer_than_the_deadline(monkeypatch):
    slept = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    answers = [answered(429, **{"Retry-After": "2"}), answered(429, **{"Retry-After": "100"})]

    def act():
        raise answers.pop(0)

    with pytest.raises(Answered):
        retried(act, Deadline(50))
    assert (slept, answers) == ([2.0], [])


def test_waits_double_up_to_the_longest(monkeypatch):
    slept = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)

    def act():
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        retried(act, Deadline(600), tries=lambda _: 9)
    for wait, expected in zip(slept, (0.5, 1, 2, 4, 8, 8, 8, 8), strict=True):
        assert expected * 0.75 <= wait <= expected * 1.25


def test_what_hangs_is_given_up_and_keeps_nothing_alive():
    release = threading.Event()
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.2 seconds"):
        bounded(release.wait, Deadline(0.2))
    assert time.monotonic() - before < 2
    assert all(t.daemon for t in threading.enumerate() if t is not threading.main_thread() and "work" in repr(t))
    release.set()


def test_side_by_side_and_in_order():
    both = threading.Barrier(4, timeout=5)
    assert at_once([lambda n=n: (both.wait(), n)[1] for n in range(4)], Deadline(5)) == [0, 1, 2, 3]
    assert at_once([lambda n=n: n for n in range(100)], Deadline(5), workers=3) == list(range(100))
    assert at_once([], Deadline(5)) == []


def test_the_first_failure_ends_it():
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        at_once([lambda: 1, fail, lambda: 2], Deadline(5), workers=1)
    with pytest.raises(KeyboardInterrupt):
        bounded(lambda: (_ for _ in ()).throw(KeyboardInterrupt), Deadline(5))
