"""Step 5 of 6: what loading and closing do to the process's memory.

Importing and loading make half a million objects that stay, and Python's cyclic collector would walk them again and
again: a third of a first prediction's time. Here it looks at every object once, while it is young, so that what is
garbage by then (8 MB after the imports of transformers) is used again. Closing gives memory back: cycles are collected
and the C library is asked to return its free pages, which it would otherwise keep for later.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["eased_collector", "release"]

#: Objects made between two looks of the collector, and a number of looks that no load reaches.
_YOUNG, _NEVER = 20_000, 1_000_000


class _Depth:
    """How many loads are under way in all threads, and whether what they made was taken out of the collector's way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loads = 0
        self.thresholds = gc.get_threshold()
        self.frozen = False


_depth = _Depth()


@contextmanager
def eased_collector() -> Iterator[None]:
    """Let the cyclic collector look only at young objects while the body runs, and at none of them afterwards.

    Nests, also across threads: the last to leave restores what the first found. A caller who uses `gc.freeze()` or
    has switched the collector off keeps his own arrangement.

    Example:
        >>> import gc
        >>> before = gc.get_threshold()
        >>> with eased_collector():
        ...     gc.get_threshold()[0] > before[0]
        True
        >>> gc.get_threshold() == before
        True
    """
    with _depth.lock:
        if _depth.loads == 0:
            _depth.thresholds = gc.get_threshold()
            young = _depth.thresholds[0]  # 0 is another way to switch the collector off
            gc.set_threshold(young and max(_YOUNG, young), _NEVER, _NEVER)
        _depth.loads += 1
    try:
        yield
    finally:
        with _depth.lock:
            _depth.loads -= 1
            if _depth.loads == 0:
                gc.set_threshold(*_depth.thresholds)
                works = gc.isenabled() and _depth.thresholds[0]
                if works and (_depth.frozen or gc.get_freeze_count() == 0):
                    gc.freeze()
                    _depth.frozen = True


def release() -> None:
    """Collect what was let go of and return free pages to the system."""
    with _depth.lock:
        if _depth.frozen:
            gc.unfreeze()  # else cycles of the closed model would never be collected
            _depth.frozen = False
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
