"""A batch from its input to its finished folder: `run_batch`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelscope_ext.batch.local import InProcess, Processes
from modelscope_ext.batch.output import OutputFolder
from modelscope_ext.batch.ray_ import Cluster, Ray
from modelscope_ext.batch.records import FORMATS, check_keep, suffix_format
from modelscope_ext.batch.sources import open_source
from modelscope_ext.batch.sources.base import Source
from modelscope_ext.batch.work import Job, Part
from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.models.schemas import schema_of
from modelscope_ext.pipelines.columns import Columns, choose
from modelscope_ext.pipelines.mapping import Failure, window_of
from modelscope_ext.utils.record import Record, plain
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.models.resolution import Resolution

__all__ = ["ENGINES", "Report", "run_batch"]

ENGINES = ("local", "ray")
#: Keywords of a load that change no answer, or that nobody may write down: a batch may go on with others.
_NOT_PINNED = frozenset(("device", "device_map", "token", "cache_dir", "local_files_only", "hub", "revision", "lock"))
#: Rows that are looked at to see which columns there are.
_LOOKED_AT = 100


@dataclass(frozen=True)
class Report(Record):
    """What a batch did.

    Attributes:
        output: The folder.
        rows: Of the input; there is a record of each.
        errors: How many of the records say what was wrong with their row.
        resumed: Rows that were finished before.
        shards: Names of the files, in order.
        seconds: That it took.
    """

    output: str
    rows: int
    errors: int
    resumed: int
    shards: tuple[str, ...]
    seconds: float


class _Engine(Protocol):
    def parts(self, source: Source, first: int) -> Iterator[Part]: ...

    def close(self) -> None: ...


def run_batch(
    model: str | os.PathLike[str],
    input: Any,
    output: str | os.PathLike[str],
    *,
    task: str | None = None,
    columns: Columns = None,
    keep: Iterable[str] | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    format: str | None = None,
    input_format: str | None = None,
    split: str | None = None,
    name: str | None = None,
    resume: bool = False,
    shard_rows: int = 10_240,
    shard_seconds: float = 300,
    engine: str = "local",
    workers: int | None = None,
    devices: Iterable[str] = (),
    address: str | None = None,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    plugins: Iterable[str | os.PathLike[str]] = (),
    stall: float = 600,
    progress: Callable[[int, int, int], None] | None = None,
    **load: Any,
) -> Report:
    """Run a model over every row of a data set and write one record a row, in order.

    A row that cannot be read or answered gets a record that says why. Finished shards are never lost: after a crash
    ``resume=True`` goes on behind them, with no row left out or done twice.

    Args:
        model: A folder or a hub id.
        input: A file (``.jsonl``, ``.csv``, ``.parquet``, ``.txt``), a folder of such files, of images, sounds or
            videos, a data set of Hugging Face's `datasets` (its folder, ``"hf:org/name"``, or a `Dataset`), or a list.
        output: The folder that is written: ``part-00000.jsonl``, ... and ``_manifest.json``.
        task: What to do; default the model's first task.
        columns: The column that is the input, or fields of the input and their columns; default the usual ones.
        keep: Columns that go into the records; of a folder of files their names, where nothing is said.
        options: Options of the task, and fields that are the same for every row.
        batch_size: Rows that run at once.
        format: ``"jsonl"``, ``"csv"`` or ``"parquet"``; default the ending of `output`, or else JSON lines.
        input_format: A key of `modelscope_ext.batch.sources.KINDS`, where the ending does not say it.
        split: Of a data set that has several.
        name: The configuration of a data set that has several.
        resume: Go on where `output` ends; an empty or missing folder is begun.
        shard_rows: After how many rows a shard ends (to the next whole chunk).
        shard_seconds: After how many seconds a shard ends, however few rows it has.
        engine: ``"local"`` or ``"ray"``.
        workers: Processes, or actors of Ray, that have the model; by default it runs in this process, or in one actor.
        devices: Devices of the processes, in turn: ``("cuda:0", "cuda:1")``.
        address: Of a Ray cluster: ``"auto"``, ``"host:6379"``; by default one is started for the job.
        cpus_per_worker: Processors of an actor.
        gpus_per_worker: GPUs of an actor.
        plugins: Wheels for Ray's actors, whose entry points they then have.
        stall: Seconds without an answer after which Ray's driver is replaced.
        progress: Called with the rows done, their number, and how many of them are errors.
        **load: The keywords of `pipeline()`.

    Returns:
        A `Report`.

    Raises:
        OptionError: A value or option nobody takes; `output` holds something else, or was begun with another input,
            model or options, which are named.
        ConfigError: The manifest or a finished shard in `output` was changed.
        ModelScopeExtError: As `pipeline`, and of an engine that cannot go on.

    Example:
        >>> import tempfile
        >>> from modelscope_ext.data import __path__ as data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = run_batch(f"{data[0]}/digits", f"{data[0]}/digits_samples", f"{folder}/out", backend="onnx")
        ...     report.rows, report.errors, report.shards
        (10, 0, ('part-00000.jsonl',))
    """
    begun = time.monotonic()
    _check(engine, workers, batch_size, shard_rows, address)
    kept = None if keep is None else (keep,) if isinstance(keep, str) else tuple(keep)
    model = os.fspath(model)
    pins, resolution, load = _described(model, load, task)
    job_task = _task(resolution, task)
    chunk = window_of(job_task, batch_size)
    source = open_source(input, kind=input_format, split=split, name=name, stride=chunk)
    kept = source.keep if kept is None else kept
    check_keep(kept)
    chosen = _chosen(job_task, source, columns, kept, dict(options or {}))
    job = Job(
        model, load, job_task, dict(options or {}), chosen, kept, batch_size, chunk, _format(format, output),
        source.folder, str(Path(output).absolute()), tuple(devices),
    )  # fmt: skip
    pinned = {"input": source.identity(), "model": pins, "options": _pinned(job)}
    with OutputFolder(
        output, pinned, rows=source.rows, format=job.format, keep=kept, shard_rows=shard_rows,
        shard_seconds=shard_seconds, resume=resume,
    ) as folder:  # fmt: skip
        if folder.next_row < source.rows:
            wheels = tuple(os.fspath(plugin) for plugin in plugins)
            cluster = Cluster(address, workers or 1, cpus_per_worker, gpus_per_worker, wheels, stall)
            made = _engine(job, engine, workers, cluster)
            try:
                _write(made, source, folder, progress)
            finally:
                made.close()
        folder.finish()
        names = tuple(shard.file for shard in folder.shards)
        seconds = round(time.monotonic() - begun, 3)
        return Report(str(output), source.rows, folder.errors, folder.resumed, names, seconds)


def _write(
    engine: _Engine, source: Source, folder: OutputFolder, progress: Callable[[int, int, int], None] | None
) -> None:
    errors = folder.errors
    for part in engine.parts(source, folder.next_row):
        folder.add(part)
        errors += part.errors
        if progress is not None:
            progress(part.first + part.rows, source.rows, errors)


def _engine(job: Job, engine: str, workers: int | None, cluster: Cluster) -> _Engine:
    if engine == "ray":
        return Ray(job, cluster)
    return InProcess(job) if workers is None else Processes(job, workers)


def _check(engine: str, workers: int | None, batch_size: int, shard_rows: int, address: str | None) -> None:
    if engine not in ENGINES:
        raise OptionError(f"engine={printable(engine)!r}: expected {listing(ENGINES)}.{did_you_mean(engine, ENGINES)}")
    for name, value in {"workers": workers, "batch_size": batch_size, "shard_rows": shard_rows}.items():
        if not (name == "workers" and value is None) and (type(value) is not int or value < 1):
            raise OptionError(f"{name}={printable(repr(value))}: expected a whole number of at least 1")
    if address is not None and engine != "ray":
        raise OptionError(f"address={printable(address)!r} is that of a Ray cluster: pass engine='ray' with it")


def _described(model: str, load: dict[str, Any], task: str | None) -> tuple[dict[str, Any], Resolution, dict[str, Any]]:
    """Return what tells this model from another, the decision about it, and the keywords that lead there again."""
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.lock import Lock, apply_lock, make_lock
    from modelscope_ext.models.plan import WHERE
    from modelscope_ext.models.request import Request
    from modelscope_ext.models.resolve import resolve

    model, load = apply_lock(model, load)
    lock = load.get("lock")
    request = Request.of({**load, "task": task})
    where = {name: request.values[name] for name in WHERE if name in request.values}
    snapshot = open_snapshot(model, **where)
    asked = {name: request.values[name] for name in (*_ASKED, "limits") if name in request.values}
    resolution = resolve(snapshot, **asked)
    if resolution.missing:
        raise MissingRequirement(f"{printable(model)}: {'; '.join(resolution.missing)}")
    made = lock if isinstance(lock, Lock) else make_lock(snapshot, **asked)
    commit = snapshot.source.commit
    if commit is not None:  # a branch may move while the job runs
        load = {**load, "revision": commit, "hub": snapshot.source.hub}
        load.pop("model_revision", None)
    files = {file.name: file.hash for file in made.files}
    source = {key: value for key, value in made.source.items() if key not in ("path", "revision")}
    return {"source": source, "decision": dict(made.decision), "files": files}, resolution, load


_ASKED = ("task", "backend", "framework", "cfg_dict", "variant")


def _task(resolution: Resolution, task: str | None) -> str:
    from modelscope_ext.models.tasks import canonical

    found = canonical(task, strict=True) if task is not None else resolution.default_task
    if found is None:
        raise OptionError("no task: nothing says what this model is for; pass one, e.g. task='fill-mask'")
    return found


def _format(format: str | None, output: str | os.PathLike[str]) -> str:
    found = format or suffix_format(os.fspath(output)) or FORMATS[0]
    if found not in FORMATS:
        raise OptionError(f"format={printable(found)!r}: expected {listing(FORMATS)}.{did_you_mean(found, FORMATS)}")
    if found == "parquet":
        from modelscope_ext.batch.sources.parquet_ import arrow

        arrow("")
    return found


def _chosen(task: str, source: Source, columns: Columns, keep: tuple[str, ...], options: dict[str, Any]) -> Columns:
    """Decide which columns are the input, by the first rows that can be read."""
    rows = source.read(0, min(source.rows, _LOOKED_AT))
    row = next((row for row in rows if not isinstance(row, Failure)), None)
    names = tuple(map(str, row)) if isinstance(row, Mapping) else ()
    if unknown := [name for name in keep if names and name not in names]:
        near = did_you_mean(unknown[0], names)
        raise OptionError(
            f"keep: no column {printable(unknown[0])!r}.{near} There are {listing(map(printable, names))}"
        )
    if not names:
        if columns is not None:
            raise OptionError("columns: the rows of this input are no objects with columns")
        return None
    schema = schema_of(task)
    given = [schema.aliases.get(name, name) for name in options]
    return choose(task, names, columns, [name for name in given if name in schema.fields])


def _pinned(job: Job) -> dict[str, Any]:
    """Return what may not change while a batch is done, as JSON types."""
    load = {name: value for name, value in job.load.items() if name not in _NOT_PINNED and value is not None}
    return {
        "task": job.task, "options": plain(job.options), "columns": plain(job.columns), "keep": list(job.keep),
        "batch_size": job.batch_size, "chunk": job.chunk, "format": job.format, "load": plain(load),
    }  # fmt: skip
