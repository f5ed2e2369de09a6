"""State of the whole process that several threads want changed at the same time, and left as it was found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["Shared"]


class Shared:
    """A context that all threads share: entered with the first of them, left with the last.

    What two threads save and restore by themselves is restored in the wrong order sooner or later.

    Args:
        context: What makes the context manager that changes the process and restores it.

    Example:
        >>> @contextmanager
        ... def loud():
        ...     print("in")
        ...     yield
        ...     print("out")
        >>> shared = Shared(loud)
        >>> with shared(), shared():
        ...     print("twice")
        in
        twice
        out
    """

    def __init__(self, context: Callable[[], AbstractContextManager[None]]) -> None:
        self._context = context
        self._lock = threading.RLock()
        self._inside = 0
        self._entered: AbstractContextManager[None] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Be inside while the body runs."""
        with self._lock:
            if self._entered is None:
                entered = self._context()
                entered.__enter__()
                self._entered = entered
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    entered, self._entered = self._entered, None
                    entered.__exit__(None, None, None)
