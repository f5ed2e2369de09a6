"""The one way in which hubs are asked again: what is worth it, how long to wait, and when to stop.

Whatever a client raises is judged here by what it is, not by whose it is: an answer's status, or a failure of the
connection. Waiting doubles, a hub's own ``Retry-After`` is obeyed, and all of it together ends at a deadline, also
where a server sends one byte a minute.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeVar

from modelscope_ext.errors import ModelScopeExtError

__all__ = ["Deadline", "Unusable", "after_of", "at_once", "bounded", "is_passing", "retried", "status_of"]

T = TypeVar("T")

#: How often one thing is asked at most.
TRIES = 5
#: Seconds before the second try; doubled before each further one, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
#: Seconds that one operation may take where the caller sets no limit.
PATIENCE = 120.0

_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504, 520, 522, 523, 524))
#: Libraries whose exceptions are failures of a connection, unless an answer's status says otherwise.
_TRANSPORTS = frozenset(("httpx", "httpx2", "httpcore", "httpcore2", "h11", "urllib3", "requests", "http", "ssl"))
#: Of those, what no second try mends: a wrong address, a certificate that is not trusted.
_LASTING = (
    "InvalidURL",
    "InvalidSchema",
    "MissingSchema",
    "UnsupportedProtocol",
    "LocationParseError",
    "InvalidHeader",
)


class Unusable(Exception):
    """An answer that cannot be what was asked for: cut off, or with bytes that are not the listed ones."""


class Deadline:
    """When to stop, on the monotonic clock.

    Example:
        >>> Deadline(60.0).left() <= 60.0, Deadline.of(None).left() <= PATIENCE
        (True, True)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def of(cls, seconds: float | None) -> Deadline:
        """Return the deadline that a caller asks for, or the usual one."""
        return cls(PATIENCE if seconds is None else seconds)

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(self._end - time.monotonic(), 0.0)


def retried(action: Callable[[], T], deadline: Deadline, *, tries: Callable[[Exception], int] = lambda _: TRIES) -> T:
    """Return what `action` returns, asked again where that may help. To be called within `bounded` or `at_once`.

    Args:
        action: Asks once.
        deadline: When to give up.
        tries: Returns how often to ask at most where an error of this kind comes.

    Raises:
        Exception: What `action` raised last, as it was raised.
        TimeoutError: The deadline has passed.
    """
    wait = FIRST_WAIT
    for number in count(1):
        try:
            return action()
        except Exception as error:
            if number >= tries(error) or not is_passing(error):
                raise
            asked = after_of(error)
            pause = asked if asked is not None else min(wait, LONGEST_WAIT) * random.uniform(0.75, 1.25)
            if pause >= deadline.left():
                raise
            time.sleep(pause)
            wait *= 2
    raise AssertionError("unreachable")


def bounded(action: Callable[[], T], deadline: Deadline) -> T:
    """Return what `action` returns, or give up on it when the deadline passes, wherever it may hang.

    Raises:
        TimeoutError: It did not end in time; its thread is left to itself and does not keep the process alive.
    """
    return at_once([action], deadline)[0]


def at_once(actions: Iterable[Callable[[], T]], deadline: Deadline, *, workers: int = 8) -> list[T]:
    """Return what each of `actions` returns, asked side by side, in their order.

    Raises:
        Exception: The first failure, in their order.
        TimeoutError: Not all ended in time.
    """
    waiting = list(enumerate(actions))[::-1]
    count = len(waiting)
    results: dict[int, T] = {}
    failures: dict[int, BaseException] = {}
    lock, ended = threading.Lock(), threading.Condition()

    def work() -> None:
        while True:
            with lock:
                if not waiting or failures:
                    return
                number, action = waiting.pop()
            try:
                results[number] = action()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                failures[number] = error
            with ended:
                ended.notify()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, count))]
    for thread in threads:
        thread.start()
    with ended:
        done = ended.wait_for(lambda: len(results) == count or failures, timeout=deadline.left())
    if failures:
        raise failures[min(failures)]
    if not done:
        raise TimeoutError(f"no complete answer within {deadline.seconds:g} seconds")
    return [results[number] for number in range(count)]


def is_passing(error: BaseException) -> bool:
    """Return whether asking again may help.

    Example:
        >>> is_passing(ConnectionResetError()), is_passing(KeyError("sha"))
        (True, False)
    """
    if isinstance(error, ModelScopeExtError):
        return False
    status = status_of(error)
    if status is not None and status >= 400:
        return status in _PASSING
    if isinstance(error, Unusable):
        return True
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__]
    if any(name in _LASTING for _, name in kinds) or _is_untrusted(error):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any(module in _TRANSPORTS for module, _ in kinds) or any(name == "JSONDecodeError" for _, name in kinds)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an exception carries, or None."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def after_of(error: BaseException) -> float | None:
    """Return the seconds that a hub asks to wait, or None."""
    known = getattr(error, "retry_after", None)
    if isinstance(known, int | float):
        return max(float(known), 0.0)
    headers: Any = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None) or {}
    text = str(headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate was refused, however deep in the chain of causes that is said."""
    for _ in range(8):
        if error is None:
            return False
        if type(error).__name__ == "SSLCertVerificationError" or "CERTIFICATE_VERIFY_FAILED" in str(error)[:2000]:
            return True
        error = error.__cause__ or error.__context__
    return False
