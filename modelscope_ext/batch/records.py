"""The records of a job and the files they go into: JSON lines, CSV, Parquet. One record a row of the input.

| column | what |
|---|---|
| ``row`` | the row's number, from 0 |
| those of `keep` | as they were; in CSV and Parquet what is no text as JSON |
| ``output`` | the answer, as JSON; in Parquet a vector is a list of numbers |
| ``error`` | null, or ``{"type", "message"}``: why there is no output |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.pipelines.mapping import Answer, Failure
from modelscope_ext.pipelines.saving import as_json
from modelscope_ext.utils.text import listing

if TYPE_CHECKING:
    from modelscope_ext.batch.files import RowFiles

__all__ = ["FORMATS", "Writer", "check_keep", "encode", "open_writer"]

#: The formats, which are the endings of the files.
FORMATS = ("jsonl", "csv", "parquet")
_OWN = ("row", "output", "error")


def check_keep(keep: tuple[str, ...]) -> None:
    """Refuse columns that would stand twice in a record.

    Raises:
        OptionError: Naming them.
    """
    twice = [name for name in keep if name in _OWN or keep.count(name) > 1]
    if twice:
        raise OptionError(f"keep: {listing(dict.fromkeys(twice))} would stand twice in a record")


def encode(format: str, answer: Answer, kept: Mapping[str, Any], files: RowFiles) -> tuple[Any, bool]:
    """Return the record of one row, and whether it has an output."""
    error, output = answer.error, None
    if error is None:
        try:
            output = files.of_row(answer.row, answer.output)
            if not (format == "parquet" and _is_vector(output)):
                output = as_json(output)
        except (OptionError, OSError) as problem:
            error, output = Failure.of(problem), None
    said = None if error is None else error.to_dict()
    return _ENCODERS[format](answer.row, {name: _kept(v) for name, v in kept.items()}, output, said), error is None


def _kept(value: Any) -> Any:
    try:
        return as_json(value)
    except OptionError:  # bytes of a picture, say
        return str(value) if not isinstance(value, bytes) else f"{len(value)} bytes"


def _jsonl(row: int, kept: dict[str, Any], output: Any, error: Any) -> bytes:
    record = {"row": row, **kept, "output": output, "error": error}
    return _json(record) + b"\n"


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character, which only an escape can write
        return json.dumps(value).encode()


def _csv(row: int, kept: dict[str, Any], output: Any, error: Any) -> bytes:
    fields = [str(row), *map(_cell, kept.values()), _cell(output), _cell(error)]
    return _csv_line(fields)


def _csv_line(fields: list[str]) -> bytes:
    quoted = [f'"{f.replace(chr(34), chr(34) * 2)}"' if any(c in f for c in ',"\r\n') else f for f in fields]
    return (",".join(quoted) + "\r\n").encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value).decode()


def _parquet(row: int, kept: dict[str, Any], output: Any, error: Any) -> dict[str, Any]:
    cells = {name: None if value is None else _cell(value) for name, value in kept.items()}
    answer = output if output is None or _is_vector(output) else _json(output).decode()
    return {"row": row, **cells, "output": answer, "error": None if error is None else _json(error).decode()}


_ENCODERS = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}


def _is_vector(value: Any) -> bool:
    """Whether an output is an array of one dimension, or two: a vector a token."""
    return hasattr(value, "tolist") and getattr(value, "ndim", 0) in (1, 2) and getattr(value.dtype, "kind", "") == "f"


class Writer:
    """Takes records and writes them into one file, from its first byte to its last.

    Args:
        file: Open for writing.
        keep: The columns that are kept.
    """

    def __init__(self, file: BinaryIO, keep: tuple[str, ...]) -> None:
        self._file = file

    def write(self, records: list[Any]) -> None:
        """Write the records of a chunk."""
        self._file.write(b"".join(records))

    def close(self) -> None:
        """Write what stands at the end; the file stays open."""


class _Csv(Writer):
    def __init__(self, file: BinaryIO, keep: tuple[str, ...]) -> None:
        super().__init__(file, keep)
        file.write(_csv_line(["row", *keep, "output", "error"]))


class _Parquet(Writer):
    """One row group a chunk, or more chunks where they are small; what an output is the first one says."""

    _ROWS = 4096  # of a row group at least

    def __init__(self, file: BinaryIO, keep: tuple[str, ...], dimensions: int | None = None) -> None:
        super().__init__(file, keep)
        self._keep, self.dimensions = keep, dimensions
        self._waiting: list[dict[str, Any]] = []
        self._writer: Any = None

    def write(self, records: list[Any]) -> None:
        self._waiting += records
        if len(self._waiting) >= self._ROWS and (self._known() or len(self._waiting) > 16 * self._ROWS):
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _known(self) -> bool:
        if self.dimensions is None:
            first = next((r["output"] for r in self._waiting if r["output"] is not None), None)
            if first is not None:
                self.dimensions = first.ndim if _is_vector(first) else 0
        return self.dimensions is not None

    def _flush(self) -> None:
        from modelscope_ext.batch.sources.parquet_ import arrow

        self._known()
        pa = arrow("")
        kind = pa.string()
        for number in range(self.dimensions or 0):
            kind = pa.list_(pa.float32() if number == 0 else kind)
        texts = [(name, pa.string()) for name in self._keep]
        schema = pa.schema([("row", pa.int64()), *texts, ("output", kind), ("error", pa.string())])
        if self._writer is None:
            self._writer = arrow("parquet").ParquetWriter(self._file, schema)
        for record in self._waiting:
            value = record["output"]
            if value is not None and (value.ndim if _is_vector(value) else 0) != (self.dimensions or 0):
                raise ModelScopeExtError(
                    f"row {record['row']}: Parquet takes outputs of one form, and this one differs from those before"
                    " it; write JSON lines (--format jsonl)"
                )
            if _is_vector(value):
                record["output"] = value.astype("float32").tolist()
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=schema))
        self._waiting = []


def open_writer(format: str, file: BinaryIO, keep: tuple[str, ...], dimensions: int | None) -> Writer:
    """Return what writes records in a format.

    Args:
        format: One of `FORMATS`.
        file: Open for writing.
        keep: The columns that are kept.
        dimensions: Of Parquet's outputs: 0 texts, 1 or 2 vectors, None where no file before this one had any.
    """
    if format == "parquet":
        return _Parquet(file, keep, dimensions)
    return {"jsonl": Writer, "csv": _Csv}[format](file, keep)


def suffix_format(output: str | Path) -> str | None:
    """Return the format that an output's name says, or None."""
    ending = Path(output).suffix.lower().lstrip(".")
    return ending if ending in FORMATS else None
