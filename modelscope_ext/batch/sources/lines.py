"""Sources that are lines of text in one file: JSON lines, CSV, plain text.

A file is walked once when it is opened: that counts the rows, makes its digest, and notes every so many rows the byte
at which reading can go on.
"""

from __future__ import annotations

import csv
import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from modelscope_ext.batch.sources.base import Source
from modelscope_ext.errors import OptionError
from modelscope_ext.pipelines.mapping import Failure
from modelscope_ext.utils.text import listing, printable

__all__ = ["Csv", "JsonLines", "Lines", "Text"]

#: Bytes of one line, and characters of one field, at most: what is longer is no row but a file of another kind.
_LONGEST = 64 * 2**20
_BOM = b"\xef\xbb\xbf"


class Lines(Source):
    """One file of lines; a subclass says what a row is.

    Args:
        path: The file.
        stride: Every how many rows a place is noted.

    Attributes:
        kind: Its key in `KINDS`.
    """

    kind = ""

    def __init__(self, path: Path, stride: int = 1) -> None:
        self.path = Path(path).absolute()
        self.folder = str(self.path.parent)
        self._stride = max(stride, 1)
        self._places = array("Q")
        self.rows, digest = 0, hashlib.sha256()
        with self.path.open("rb") as file:
            walker = _Walker(file, digest)
            self._begin(walker)
            place = walker.place
            for _ in self._walk(walker, count=True):
                if self.rows % self._stride == 0:
                    self._places.append(place)
                self.rows, place = self.rows + 1, walker.place
        self.bytes, self._sha256 = walker.place, digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return name, size and digest of the file."""
        return {"kind": self.kind, "file": self.path.name, "bytes": self.bytes, "sha256": self._sha256}

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`."""
        stop = min(stop, self.rows)
        if first >= stop:
            return
        with self.path.open("rb") as file:
            at = first // self._stride
            file.seek(self._places[at])
            rows = self._walk(_Walker(file, None, self._places[at]))
            for number in range(at * self._stride, stop):
                row = next(rows, Failure("OSError", f"{self.path.name}: the file has become shorter"))
                if number >= first:
                    yield row

    def _begin(self, walker: _Walker) -> None:
        """Read what stands before the first row."""

    def _walk(self, walker: _Walker, *, count: bool = False) -> Iterator[Any]:
        """Yield the rows; where they are only counted anything will do for one."""
        raise NotImplementedError


class _Walker:
    """Yields the lines of a file as bytes without their end, and knows where it is."""

    def __init__(self, file: BinaryIO, digest: Any = None, place: int = 0) -> None:
        self._file, self._digest, self.place, self.number = file, digest, place, 0

    def __iter__(self) -> Iterator[bytes]:
        while (line := self.next()) is not None:
            yield line

    def next(self) -> bytes | None:
        """Return the next line; of one beyond all bounds its beginning, one byte too long."""
        line = self._take()
        if not line:
            return None
        self.number += 1
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while (more := self._take()) and not more.endswith(b"\n"):
                continue
            return line + b"."
        start = self.place == len(line) and line.startswith(_BOM)
        return line[3 if start else 0 :].rstrip(b"\r\n")

    def _take(self) -> bytes:
        line = self._file.readline(_LONGEST)
        self.place += len(line)
        if self._digest is not None:
            self._digest.update(line)
        return line


def _text(line: bytes) -> str | Failure:
    if len(line) > _LONGEST:
        return Failure("LimitExceeded", f"a line of more than {_LONGEST // 2**20} MiB")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Failure("UnicodeDecodeError", f"expected UTF-8: {error.reason} at byte {error.start} of the line")


class Text(Lines):
    """A row is a line, an empty one too."""

    kind = "text"

    def _walk(self, walker: _Walker, *, count: bool = False) -> Iterator[Any]:
        return iter(walker) if count else map(_text, walker)


class JsonLines(Lines):
    """A row is the JSON value of a line; empty lines are none."""

    kind = "jsonl"

    def _walk(self, walker: _Walker, *, count: bool = False) -> Iterator[Any]:
        lines = (line for line in walker if line.strip())
        return lines if count else map(self._value, lines)

    @staticmethod
    def _value(line: bytes) -> Any:
        text = _text(line)
        if isinstance(text, Failure):
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            return Failure("JSONDecodeError", f"no JSON: {printable(str(error), 200)}, in {printable(text, 80)!r}")


class Csv(Lines):
    """A row is a dict of texts; its keys stand in the first line."""

    kind = "csv"

    def _begin(self, walker: _Walker) -> None:
        self._delimiter = "\t" if self.path.suffix.lower() == ".tsv" else ","
        header = next(self._records(walker), None)
        if header is None:
            raise OptionError(f"{self.path.name}: empty; expected the names of the columns in the first line")
        if isinstance(header, Failure):
            raise OptionError(f"{self.path.name}: the first line cannot be read: {header.message}")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise OptionError(f"{self.path.name}: several columns are named {listing(map(printable, twice))}")
        self.columns = tuple(header)

    def _walk(self, walker: _Walker, *, count: bool = False) -> Iterator[Any]:
        records = self._records(walker)
        return records if count else map(self._row, records)

    def _records(self, walker: _Walker) -> Iterator[list[str] | Failure]:
        """Yield the fields of each record, which may be several lines long."""
        before = csv.field_size_limit()  # the module's, for all who use it: raised while we read, and put back
        reader = csv.reader(self._lines(walker), delimiter=self._delimiter)
        while True:
            begun = walker.number + 1
            csv.field_size_limit(_LONGEST)
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Failure("csv.Error", f"{error}, in {_span(begun, walker.number)}")
                continue
            finally:
                csv.field_size_limit(before)
            if fields:
                yield fields

    @staticmethod
    def _lines(walker: _Walker) -> Iterator[str]:
        """Yield lines with their end, for fields that go on; what is no UTF-8 is kept for `_row` to see."""
        for line in walker:
            yield line.decode("utf-8", "surrogateescape") + "\n"

    def _row(self, fields: list[str] | Failure) -> Any:
        if isinstance(fields, Failure):
            return fields
        if len(fields) != len(self.columns):
            return Failure("csv.Error", f"{len(fields)} fields, and there are {len(self.columns)} columns")
        if any(not field.isascii() and max(field) >= "\udc80" and _broken(field) for field in fields):
            return Failure("UnicodeDecodeError", "expected UTF-8")
        return dict(zip(self.columns, fields, strict=True))


def _span(first: int, last: int) -> str:
    return f"line {first}" if first >= last else f"lines {first} to {last}"


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
