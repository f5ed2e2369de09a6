"""One bar for a whole download, weighted by bytes: on a terminal's stderr, where nobody has switched bars off."""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType
from typing import Any

from modelscope_ext.utils.logger import logger

__all__ = ["Progress", "quiet"]

#: Set by the command line: no bars, whatever the terminal.
quiet: bool = False


class Progress:
    """A bar drawn by tqdm, which every hub's client brings along; use it as a context manager.

    Args:
        label: What is fetched.
        total: Bytes altogether.
        arrived: Bytes that an earlier call has fetched.
        wanted: True draws it, False does not; None draws it where a person looks.
    """

    def __init__(self, label: str, total: int, arrived: int = 0, *, wanted: bool | None = None) -> None:
        self._bar: Any = None
        if total <= 0 or not (_looks() if wanted is None else wanted):
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(
            total=total, initial=arrived, desc=label, unit="B", unit_scale=True, file=sys.stderr, dynamic_ncols=True,
            mininterval=0.1, leave=False,
        )  # fmt: skip

    def add(self, count: int) -> None:
        """Say that `count` more bytes are here; fewer where it is negative. From any thread."""
        if self._bar is not None:
            with self._bar.get_lock():
                self._bar.update(count)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _looks() -> bool:
    off = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    stream = sys.stderr
    terminal = stream is not None and hasattr(stream, "isatty") and stream.isatty()
    return terminal and not off and not quiet and logger.isEnabledFor(logging.WARNING)
