"""What a process does that runs a model over rows: load it once, then turn chunks of rows into records.

A `Job` says everything about the work and can be sent to another process; a `Runner` has the model. Chunks are the
same whatever runs them, and so are their records: the same rows share a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelscope_ext.batch.files import RowFiles
from modelscope_ext.batch.records import encode
from modelscope_ext.models.schemas import schema_of
from modelscope_ext.pipelines.columns import Columns
from modelscope_ext.pipelines.mapping import Answer, Failure, Mapper
from modelscope_ext.safety.urls import is_url

if TYPE_CHECKING:
    from modelscope_ext.batch.sources.base import Source

__all__ = ["Chunk", "Job", "Part", "Runner", "chunks", "failed"]

#: Kinds of inputs of which a text is a path.
_MEDIA = frozenset(("image", "images", "audio", "video"))


@dataclass(frozen=True)
class Job:
    """What is done to every row.

    Attributes:
        model: A folder or a hub id.
        load: Keywords of `pipeline()`, with the commit in the place of a branch.
        task: A canonical task name.
        options: Options of the task.
        columns: The columns that are the input, already chosen.
        keep: Columns that go into the records.
        batch_size: Rows that run at once.
        chunk: Rows in a chunk.
        format: Of the records.
        folder: To which paths in the rows are relative; None where they are not.
        output: Into which folder pictures and sounds of the answers go.
        devices: Of the processes, in turn; none where `load` says it.
    """

    model: str
    load: Mapping[str, Any]
    task: str
    options: Mapping[str, Any]
    columns: Columns
    keep: tuple[str, ...]
    batch_size: int
    chunk: int
    format: str
    folder: str | None
    output: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Rows that one process works on at a time, and the number of the first."""

    first: int
    rows: list[Any]


@dataclass(frozen=True)
class Part:
    """The records of a chunk.

    Attributes:
        first: The number of the first row.
        rows: How many.
        records: One a row: bytes of the output file, or for Parquet a dict.
        errors: How many of them say what was wrong with their row.
    """

    first: int
    rows: int
    records: list[Any] = field(repr=False)
    errors: int = 0


def chunks(source: Source, first: int, size: int) -> Iterator[Chunk]:
    """Yield the chunks of a source, the rows before `first` left out."""
    rows: list[Any] = []
    for row in source.read(first, source.rows):
        rows.append(row)
        if len(rows) == size:
            yield Chunk(first, rows)
            first, rows = first + size, []
    if rows:
        yield Chunk(first, rows)


class Runner:
    """A loaded model at work on a job.

    Args:
        job: The job.
        number: Of this process among several, which chooses its device.

    Raises:
        ModelScopeExtError: As `pipeline`; an option that the task does not take.
    """

    def __init__(self, job: Job, number: int = 0) -> None:
        from modelscope_ext.pipelines.builder import pipeline

        place: dict[str, Any] = {"device": job.devices[number % len(job.devices)]} if job.devices else {}
        self._job = job
        self._pipe = pipeline(job.task, job.model, **job.load, **place)
        try:
            self._mapper = Mapper(
                self._pipe,
                columns=job.columns,
                chosen=True,
                batch_size=job.batch_size,
                web=self._pipe._web,
                options=job.options,
            )
        except BaseException:
            self.close()
            raise
        self._files = RowFiles(job.output)
        self._kinds = _kinds(job.task)

    def run(self, chunk: Chunk) -> Part:
        """Return the records of a chunk."""
        rows = chunk.rows if self._job.folder is None or not self._kinds else [self._placed(r) for r in chunk.rows]
        answers = self._mapper(rows, chunk.first)
        return _part(self._job, chunk, answers, self._files)

    def close(self) -> None:
        """Give the model's memory back."""
        self._pipe.close()

    def _placed(self, row: Any) -> Any:
        """Return a row with its paths made those of this process, whose working directory may be another."""
        if isinstance(row, str):
            return self._path(row) if None in self._kinds else row
        if not isinstance(row, Mapping):
            return row
        columns = self._job.columns
        if isinstance(columns, str):
            names = [columns] if None in self._kinds else []
        else:
            names = [name for key, name in (columns or {}).items() if key in self._kinds]
        return {**row, **{name: self._path(row[name]) for name in names if name in row}}

    def _path(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._path(one) for one in value]
        if not isinstance(value, str) or is_url(value) or not self._job.folder:
            return value
        return os.path.join(self._job.folder, value)  # noqa: PTH118 - one a row


def failed(job: Job, chunk: Chunk, failure: Failure) -> Part:
    """Return the records of a chunk that nobody can run."""
    answers = [Answer(number, error=failure) for number in range(chunk.first, chunk.first + len(chunk.rows))]
    return _part(job, chunk, answers, RowFiles(job.output))


def _part(job: Job, chunk: Chunk, answers: list[Answer], files: RowFiles) -> Part:
    records, errors = [], 0
    for row, answer in zip(chunk.rows, answers, strict=True):
        kept = {name: row.get(name) for name in job.keep} if isinstance(row, Mapping) else dict.fromkeys(job.keep)
        record, ok = encode(job.format, answer, kept, files)
        records.append(record)
        errors += not ok
    return Part(chunk.first, len(chunk.rows), records, errors)


def _kinds(task: str) -> frozenset[str | None]:
    """Return the fields of a task that are paths; None stands for an input without fields."""
    schema = schema_of(task)
    if schema.input == "talk":
        return frozenset(("image", "images", "audio", "audios", "video", "videos"))
    if schema.input in _MEDIA:
        return frozenset((None,))
    found: set[str | None] = {name for name, kind in schema.fields.items() if kind.rstrip("?") in _MEDIA}
    return frozenset(found)
