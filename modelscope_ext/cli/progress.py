"""Progress on a terminal's stderr; silent everywhere else, with ``-q``, and with HF_HUB_DISABLE_PROGRESS_BARS=1."""

from __future__ import annotations

import os
import time
from types import TracebackType

from modelscope_ext.cli.output import Output, is_terminal
from modelscope_ext.utils.text import printable

__all__ = ["Counter", "Steps", "bar"]

_INTERVAL = 0.1  # seconds between two redraws


def bar(done: int, total: int, width: int = 20) -> str:
    """Return a bar of `width` characters.

    Example:
        >>> bar(3, 6, 10)
        '[#####.....]'
    """
    filled = width * min(done, total) // total if total else 0
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _wanted(output: Output) -> bool:
    """Whether a person looks who has not switched bars off: by ``-q``, or by huggingface_hub's variable."""
    off = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    return not off and not output.quiet and is_terminal(output.stderr)


class Counter:
    """One line that says how far a walk has come; use it as a context manager.

    Attributes:
        folders: Folders looked at.
        found: Models found; set by the caller.
    """

    def __init__(self, output: Output, total: int = 0) -> None:
        self.folders = self.found = 0
        self._stream = output.stderr
        self._shown = _wanted(output)
        self._total, self._done = total, 0
        self._drawn, self._next = False, 0.0

    def step(self, path: str, *, done: bool = False) -> None:
        """Count one folder; `done` says that another one of the outermost folders was begun."""
        self.folders += 1
        self._done += done
        if self._shown and (now := time.monotonic()) >= self._next:
            self._next, self._drawn = now + _INTERVAL, True
            share = f"{bar(self._done - 1, self._total)} " if self._total else ""
            text = f"{share}{self.folders} folders, {self.found} models  {printable(path)}"
            self._stream.write(f"\r\x1b[K{text[:78]}")
            self._stream.flush()

    def pause(self) -> None:
        """Clear the line, so that other text can be written."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def __enter__(self) -> Counter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()


class Steps:
    """A bar for the steps of a long load: call it with a label, the steps done and their number.

    Attributes:
        shown: Whether a person sees it.
    """

    def __init__(self, output: Output) -> None:
        self.shown = _wanted(output)
        self._stream, self._next, self._drawn = output.stderr, 0.0, False

    def __call__(self, label: str, done: int, total: int) -> None:
        """Draw the bar, at most ten times a second; the last step clears it."""
        if not self.shown:
            return
        if done >= total:
            self._clear()
        elif (now := time.monotonic()) >= self._next:
            self._next, self._drawn = now + _INTERVAL, True
            self._stream.write(f"\r\x1b[K{bar(done, total)} {printable(label)}")
            self._stream.flush()

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()
