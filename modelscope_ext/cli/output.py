"""Where the answers go: JSON, plain aligned text, or colours on a terminal; data on stdout, everything else on stderr.

Commands say *what* they have (`document`, `line`, `heading`, `table`, `note`); this module decides how it looks. Every
cell passes through `printable`, because most of them come from a stranger's files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO

from modelscope_ext.cli import exits
from modelscope_ext.utils.logger import no_longer, when_made
from modelscope_ext.utils.text import printable, size

if TYPE_CHECKING:
    import argparse
    import logging
    from types import TracebackType

__all__ = ["Output", "columns", "is_terminal", "padded", "report_error", "size"]

_MARKS = {"\u2713": "green", "\u2717": "bold red", "error": "bold red", "danger": "bold red", "warning": "yellow"}
_HUGE = float("inf")
_CELL = 400  # characters of one cell at most
_NARROW = 24  # columns that the last column of a table should have at least


class Output:
    """What a command prints with.

    Attributes:
        json: Whether stdout carries JSON only.
        quiet: Whether stderr carries errors only.
        verbose: 0 to 2: warnings, what is done, everything.
        colour: Whether stdout is a terminal that shows colours.
    """

    def __init__(
        self, *, json: bool = False, quiet: bool = False, verbose: int = 0, stdout: TextIO | None = None
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = sys.stderr
        self.json, self.quiet, self.verbose = json, quiet, verbose
        self.colour = not json and is_terminal(self.stdout) and _colours_wanted()
        self._handler: Any = None
        self._shows_logs = False
        self._level: int | None = None
        self._console: Any = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Output:
        """Make the output that the common options ask for."""
        return cls(json=args.shape != "text", quiet=args.quiet, verbose=args.verbose)

    def __enter__(self) -> Output:
        for stream in (self.stdout, self.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        if self.verbose:
            self.show_logs()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        no_longer(self._show)
        self._shows_logs = False
        if self._handler is not None:
            from modelscope_ext.utils.logger import logger

            logger.removeHandler(self._handler)
            if self._level is not None:
                logger.setLevel(self._level)

    def show_logs(self) -> None:
        """Send the package's log to stderr, as soon as there is one."""
        if not self._shows_logs:
            self._shows_logs = True
            when_made(self._show)

    def _show(self, logger: logging.Logger) -> None:
        import logging

        self._handler = logging.StreamHandler(self.stderr)
        self._handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        self._handler.setLevel(
            logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)]
        )
        logger.addHandler(self._handler)
        if self.verbose:
            self._level = logger.level
            logger.setLevel(logging.INFO if self.verbose == 1 else logging.DEBUG)

    # What goes to stdout

    def document(self, value: Any) -> None:
        """Print `value` as one indented JSON document."""
        self._write(_dumps(value, indent=2))

    def record(self, value: Any) -> None:
        """Print `value` as one JSON line, at once."""
        self._write(_dumps(value))
        self.stdout.flush()

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line as it is; the caller has escaped it."""
        if self.colour and style:
            from rich.text import Text

            self.console.print(Text(text, style=style), soft_wrap=True)
        else:
            self._write(text)

    def heading(self, text: str) -> None:
        """Print the title of a block."""
        self.line(printable(text, _CELL), style="bold")

    def table(
        self,
        rows: Iterable[Sequence[object]],
        *,
        header: Sequence[str] = (),
        styles: Sequence[str] = (),
        indent: int = 2,
    ) -> None:
        """Print `rows` in aligned columns; the last column is as long as it is."""
        cells = [[_cell(value) for value in row] for row in rows]
        if not cells:
            return
        if self.colour:
            self._coloured_table(cells, header, styles, indent)
            return
        lines = [list(header), *cells] if header else cells
        widths = _widths(lines)
        for row in lines:
            text = "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=False))
            self._write(" " * indent + text.rstrip())

    def _coloured_table(
        self, cells: list[list[str]], header: Sequence[str], styles: Sequence[str], indent: int
    ) -> None:
        """Print a table in colours; what is too long in the last column goes on below itself."""
        from rich.text import Text

        rows, headed = [*([list(header)] if header else []), *cells], bool(header)
        widths = _widths(rows)
        room = self.console.width - indent - sum(width + 2 for width in widths[:-1])
        if room < _NARROW:
            self._rich_table(rows, headed, styles, indent)
            return
        for number, row in enumerate(rows):
            texts = [Text(cell, style=_style(styles, at, cell, headed and not number)) for at, cell in enumerate(row)]
            last = texts.pop() if len(row) == len(widths) else Text()
            for text, width in zip(texts, widths, strict=False):
                text.append(" " * (width + 2 - columns(text.plain)))
            line = Text.assemble(" " * indent, *texts)
            for piece in last.wrap(self.console, room, overflow="fold") or [last]:
                self.console.print(Text.assemble(line, piece), soft_wrap=True)
                line = Text(" " * (self.console.width - room))

    def _rich_table(self, rows: list[list[str]], header: bool, styles: Sequence[str], indent: int) -> None:
        """Print a table in colours where columns before the last have to be folded, too; its import takes 10 ms."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(max(map(len, rows))):
            grid.add_column(overflow="fold")
        for number, row in enumerate(rows):
            texts = [Text(cell, style=_style(styles, at, cell, header and not number)) for at, cell in enumerate(row)]
            if texts:
                texts[0] = Text.assemble(" " * indent, texts[0])
            grid.add_row(*texts)
        self.console.print(grid)

    @property
    def console(self) -> Any:
        """The rich console on stdout; only where `colour` is true."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.stdout, markup=False, highlight=False, emoji=False)
        return self._console

    def tick(self, ok: bool) -> str:
        """Return a tick or a cross, in letters where the stream has no such characters."""
        marks = ("\u2713", "\u2717")
        try:
            "".join(marks).encode(self.stdout.encoding or "ascii")
        except (UnicodeError, LookupError):
            marks = ("ok", "--")
        return marks[0] if ok else marks[1]

    def raw(self, text: str) -> None:
        """Print one line that may hold the command's own escape sequences."""
        self._write(text)

    def piece(self, text: str | None) -> None:
        """Print a part of a line at once; None ends the line."""
        shown = "\n" if text is None else "\n".join(printable(line, 100_000) for line in str(text).split("\n"))
        self.stdout.write(shown)
        self.stdout.flush()

    def _write(self, text: str) -> None:
        self.stdout.write(f"{text}\n")

    # What goes to stderr

    def note(self, text: str) -> None:
        """Say on stderr what was done, unless quiet."""
        if not self.quiet:
            self.stderr.write(f"{text}\n")

    def warn(self, text: str) -> None:
        """Say on stderr what went wrong, quiet or not."""
        self.stderr.write(f"{text}\n")


def _widths(rows: list[list[str]]) -> list[int]:
    """Return how many columns of a terminal each column of a table takes."""
    return [max(columns(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows)))]


def _style(styles: Sequence[str], column: int, cell: str, header: bool) -> str:
    own = "dim" if header else _MARKS.get(cell, "")
    return " ".join(filter(None, (styles[column] if column < len(styles) else "", own)))


def report_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Print `error` as one message on stderr, and as JSON on stdout with ``--json``; return its exit code."""
    code = exits.code_of(error)
    kind, name = type(error), getattr(error, "code", None)
    message = _message(error)
    label = f"{kind.__name__} [{name}]" if isinstance(name, str) else kind.__name__
    sys.stderr.write(f"modelscope-ext: error: {label}: {message}\n")
    verbose = any(a in ("--verbose", "-v", "-vv") for a in arguments)
    cause = error.__cause__
    while verbose and cause is not None:
        sys.stderr.write(f"  caused by {type(cause).__name__}: {_message(cause)}\n")
        cause = cause.__cause__
    if code == 9:
        sys.stderr.write("This is a fault of modelscope-ext; please report it with the output of --debug.\n")
    if "--json" in arguments or "--format=json" in arguments or ("--format", "json") in pairwise(arguments):
        fields = {key: getattr(error, key) for key in ("code", "file", "field", "grant") if _known(error, key)}
        record = {"error": {"class": kind.__name__, "message": message, "exit": code, **fields}}
        sys.stdout.write(_dumps(record) + "\n")
    return code


def _known(error: BaseException, key: str) -> bool:
    return isinstance(getattr(error, key, None), str)


def _message(error: BaseException) -> str:
    """Return the message of `error`, line breaks kept, everything else that could steer a terminal escaped."""
    lines = str(error).splitlines() or [type(error).__name__]
    return "\n".join(printable(line, 2000) for line in lines)


def is_terminal(stream: TextIO) -> bool:
    """Say whether a person looks at `stream`."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def _colours_wanted() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    from importlib.util import find_spec

    return find_spec("rich") is not None


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: East Asian wide characters take two, combining ones none.

    Example:
        >>> columns("abc"), columns("\u65e5\u672c"), columns("e\u0301")
        (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, width: int) -> str:
    """Return `text` filled with blanks to `width` columns."""
    return text + " " * (width - columns(text))


def _cell(value: object) -> str:
    return "" if value is None else printable(value if isinstance(value, str) else str(value), _CELL)


def _dumps(value: Any, indent: int | None = None) -> str:
    import json

    try:
        return json.dumps(value, indent=indent, default=_plain, allow_nan=False)
    except ValueError:  # NaN and infinity, which JSON does not have
        return json.dumps(_finite(json.loads(json.dumps(value, default=_plain))), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace what is no number by None in what `json.loads` returned."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -_HUGE < value < _HUGE else value


def _plain(value: Any) -> Any:
    from modelscope_ext.utils.record import Record, plain

    return value.to_dict() if isinstance(value, Record) else plain(value)
