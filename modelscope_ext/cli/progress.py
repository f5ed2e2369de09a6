"""Progress on a terminal's stderr; silent everywhere else, with ``-q``, and with HF_HUB_DISABLE_PROGRESS_BARS=1."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from modelscope_ext.cli.output import Output, is_terminal
from modelscope_ext.utils.text import printable

__all__ = ["Counter", "Rows", "Steps", "bar"]

Self = TypeVar("Self", bound="_Line")

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


class _Line:
    """One line on a terminal's stderr, drawn at most ten times a second; leaving the context clears it.

    Attributes:
        shown: Whether a person sees it.
    """

    def __init__(self, output: Output) -> None:
        self.shown = _wanted(output)
        self._stream, self._next, self._drawn = output.stderr, 0.0, False

    def draw(self, text: Callable[[], str]) -> None:
        """Replace the line by `text()`, unless that was done a moment ago."""
        if self.shown and (now := time.monotonic()) >= self._next:
            self._next, self._drawn = now + _INTERVAL, True
            self._stream.write(f"\r\x1b[K{text()[:78]}")
            self._stream.flush()

    def pause(self) -> None:
        """Clear the line, so that other text can be written."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()


class Counter(_Line):
    """One line that says how far a walk has come; use it as a context manager.

    Attributes:
        folders: Folders looked at.
        found: Models found; set by the caller.
    """

    def __init__(self, output: Output, total: int = 0) -> None:
        super().__init__(output)
        self.folders = self.found = 0
        self._total, self._done = total, 0

    def step(self, path: str, *, done: bool = False) -> None:
        """Count one folder; `done` says that another one of the outermost folders was begun."""
        self.folders += 1
        self._done += done
        self.draw(lambda: self._text(path))

    def _text(self, path: str) -> str:
        share = f"{bar(self._done - 1, self._total)} " if self._total else ""
        return f"{share}{self.folders} folders, {self.found} models  {printable(path)}"


class Steps(_Line):
    """A bar for the steps of a long load: call it with a label, the steps done and their number."""

    def __call__(self, label: str, done: int, total: int) -> None:
        """Draw the bar; the last step clears it."""
        if done >= total:
            self.pause()
        else:
            self.draw(lambda: f"{bar(done, total)} {printable(label)}")


class Rows(_Line):
    """A bar for the rows of a batch, with their rate and the time that is left: call it with done, total, errors."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._begun: tuple[float, int] | None = None

    def __call__(self, done: int, total: int, errors: int) -> None:
        """Draw the bar; the first call tells where this run began."""
        if not self.shown:
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, done
        seconds, rows = now - self._begun[0], done - self._begun[1]
        self.draw(lambda: self._text(done, total, errors, rows / seconds if seconds > 0 else 0.0))

    @staticmethod
    def _text(done: int, total: int, errors: int, rate: float) -> str:
        left = f", {duration((total - done) / rate)} left" if rate > 0 else ""
        speed = f"  {rate:,.0f}/s" if rate >= 10 else f"  {rate:.2g}/s" if rate > 0 else ""
        wrong = f"  {errors:,} bad" if errors else ""
        return f"{bar(done, total)} {done:,}/{total:,} rows{speed}{left}{wrong}"


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    Example:
        >>> duration(42), duration(130), duration(7800)
        ('42 s', '2 min 10 s', '2 h 10 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
