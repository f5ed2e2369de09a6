"""The folder that a job writes: finished shards, and a manifest that names them and what they were made of.

A shard is written beside its place, synced, moved into place, and then entered into the manifest. Whenever the process
ends, whoever goes on finds in the manifest which rows are done; a shard that is not in it is written anew.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from modelscope_ext import __version__
from modelscope_ext.batch.records import Writer, open_writer
from modelscope_ext.batch.work import Part
from modelscope_ext.errors import ConfigError, OptionError
from modelscope_ext.utils.atomic import write_atomic
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

__all__ = ["MANIFEST", "OutputFolder", "Shard"]

#: Names that begin with an underscore are passed over by readers of folders of data.
MANIFEST = "_manifest.json"
_LOCK = "_lock"
_VERSION = 1
_LONGEST = 40  # characters of a value in a message


@dataclass(frozen=True)
class Shard(Record):
    """One finished file: its name, its first row, its rows, how many of them are errors, and its bytes."""

    file: str
    first: int
    rows: int
    errors: int
    bytes: int


class OutputFolder:
    """Takes the parts of a job in order and publishes them as shards; use it as a context manager.

    Args:
        path: The folder.
        pins: What the job is made of: input, model, options, as JSON types.
        rows: Of the input.
        format: Of the records.
        keep: The columns that are kept.
        shard_rows: After how many rows a shard ends.
        shard_seconds: After how many seconds it ends, however few rows it has.
        resume: Go on where the folder ends.

    Attributes:
        shards: What is finished.
        resumed: Rows that were finished before.

    Raises:
        OptionError: Something is in the folder; it was begun with another input, model or options; another process
            writes into it.
        ConfigError: Its manifest cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        pins: Mapping[str, Any],
        *,
        rows: int,
        format: str,
        keep: tuple[str, ...] = (),
        shard_rows: int,
        shard_seconds: float,
        resume: bool = False,
    ) -> None:
        self.path = Path(path)
        self._pins, self._rows = json.loads(json.dumps(pins)), rows
        self._format, self._keep, self._resume = format, keep, resume
        self._most, self._seconds = shard_rows, shard_seconds
        self.shards: list[Shard] = []
        self.resumed = 0
        self._dimensions: int | None = None
        self._open: _Open | None = None
        self._lock: int | None = None

    @property
    def next_row(self) -> int:
        """The first row that is not in a finished shard."""
        return self.shards[-1].first + self.shards[-1].rows if self.shards else 0

    @property
    def errors(self) -> int:
        """Records in the finished shards that say what was wrong with their row."""
        return sum(shard.errors for shard in self.shards)

    def __enter__(self) -> OutputFolder:
        if self.path.exists() and not self.path.is_dir():
            raise OptionError(f"{printable(str(self.path))}: a file of that name is there; expected a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._begin()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.drop()
            self._open = None
        self._release()

    def add(self, part: Part) -> None:
        """Write the next part; it ends its shard where that is large or old enough."""
        begun = self._open
        expected = self.next_row if begun is None else begun.first + begun.rows
        if part.first != expected:
            raise AssertionError(f"row {part.first} came where {expected} was expected")
        if begun is None:
            name = f"part-{len(self.shards):05}.{self._format}"
            begun = self._open = _Open(self.path / name, part.first, self._format, self._keep, self._dimensions)
        begun.write(part)
        if begun.rows >= self._most or time.monotonic() - begun.since >= self._seconds:
            self._publish(begun)

    def finish(self) -> None:
        """Publish what is left, and say in the manifest that all is done."""
        if self._open is not None:
            self._publish(self._open)
        if self.next_row != self._rows:
            raise AssertionError(f"{self.next_row} of {self._rows} rows are done")
        self._write_manifest(finished=True)

    def _publish(self, begun: _Open) -> None:
        size = begun.publish()
        self._open, self._dimensions = None, begun.dimensions
        self.shards.append(Shard(begun.path.name, begun.first, begun.rows, begun.errors, size))
        self._write_manifest()

    def _write_manifest(self, *, finished: bool = False) -> None:
        document = {
            "manifest_version": _VERSION, "made_by": f"modelscope-ext {__version__}", **self._pins,
            "rows": self._rows, "finished": finished, "output_dimensions": self._dimensions,
            "shards": [shard.to_dict() for shard in self.shards],
        }  # fmt: skip
        write_atomic(self.path / MANIFEST, json.dumps(document, ensure_ascii=True, indent=1) + "\n")

    # Going on

    def _begin(self) -> None:
        there = [name for name in os.listdir(self.path) if name != _LOCK]
        manifest = self.path / MANIFEST
        if not manifest.exists():
            if strange := [name for name in there if not _ours(name)]:
                raise OptionError(
                    f"{printable(str(self.path))}: not empty ({printable(strange[0])}), and nothing there says that a"
                    " batch was begun; choose another folder"
                )
        elif not self._resume:
            raise OptionError(
                f"{printable(str(self.path))}: a batch was begun here. resume=True (--resume) goes on with it; for"
                " a new one choose another folder"
            )
        else:
            self._read(manifest)
        self._tidy(there)
        if not manifest.exists():
            self._write_manifest()

    def _read(self, manifest: Path) -> None:
        try:
            document = json.loads(manifest.read_bytes())
            if document["manifest_version"] != _VERSION:
                raise ValueError(f"manifest_version {document['manifest_version']}, expected {_VERSION}")
            begun = {name: document[name] for name in self._pins}
            shards = [Shard(**shard) for shard in document["shards"]]
            self._dimensions = document["output_dimensions"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{printable(str(manifest))}: cannot be read ({printable(str(error), 200)})") from error
        if differ := list(_differences(begun, self._pins)):
            raise OptionError(
                f"{printable(str(manifest))}: this batch was begun otherwise, and its rows would not fit together:"
                f" {'; '.join(differ[:6])}. Give what it was begun with, or choose another folder"
            )
        self._check(shards)
        self.shards, self.resumed = shards, shards[-1].first + shards[-1].rows if shards else 0

    def _check(self, shards: list[Shard]) -> None:
        expected = 0
        for shard in shards:
            file = self.path / shard.file
            found = file.stat().st_size if file.is_file() else None
            if found != shard.bytes or shard.first != expected or not _ours(shard.file):
                state = "is missing" if found is None else f"has {found} bytes, and {shard.bytes} were written"
                raise ConfigError(
                    f"{printable(str(file))}: a finished shard, rows {shard.first} to {shard.first + shard.rows - 1},"
                    f" {state}. Put it back, or begin anew in another folder"
                )
            expected += shard.rows

    def _tidy(self, there: list[str]) -> None:
        """Remove what an interrupted process left: shards that are in no manifest, and halves of them."""
        known = {shard.file for shard in self.shards}
        for name in there:
            if (name.startswith(("part-", ".part-")) and name not in known) or name.startswith(f".{MANIFEST}."):
                (self.path / name).unlink()

    def _take_lock(self) -> None:
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            import fcntl
        except ImportError:  # no POSIX: two processes in one folder are the user's to avoid
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise OptionError(f"{printable(str(self.path))}: another process is writing into this folder") from error

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _ours(name: str) -> bool:
    return name.startswith(("part-", ".part-", f".{MANIFEST}.")) or name in ("files", MANIFEST, _LOCK)


def _differences(begun: Any, now: Any, place: str = "") -> Any:
    if isinstance(begun, dict) and isinstance(now, dict):
        for name in {**begun, **now}:
            yield from _differences(begun.get(name), now.get(name), f"{place}.{name}" if place else name)
    elif begun != now:
        yield f"{printable(place)} was {_short(begun)}, and is {_short(now)}"


def _short(value: Any) -> str:
    return printable(json.dumps(value), _LONGEST)


class _Open:
    """A shard that is being written, beside its place."""

    def __init__(self, path: Path, first: int, format: str, keep: tuple[str, ...], dimensions: int | None) -> None:
        self.path, self.first, self.rows, self.errors = path, first, 0, 0
        self.since = time.monotonic()
        self._beside = path.with_name(f".{path.name}.tmp")
        self._file: BinaryIO = self._beside.open("wb")
        self._writer: Writer = open_writer(format, self._file, keep, dimensions)

    @property
    def dimensions(self) -> int | None:
        return getattr(self._writer, "dimensions", None)

    def write(self, part: Part) -> None:
        self._writer.write(part.records)
        self.rows += part.rows
        self.errors += part.errors

    def publish(self) -> int:
        """Move the file into place and return its bytes."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        self._beside.replace(self.path)
        return size

    def drop(self) -> None:
        with suppress(Exception):
            self._file.close()
        with suppress(OSError):
            self._beside.unlink()
