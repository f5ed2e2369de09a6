"""`modelscope-ext scan FOLDER`: classify every model below a folder, one row each, as they are found.

The walk keeps one stack of folders and a few rows, whatever the size of the tree. Large trees are classified by as many
processes as there are processors. A folder inside a recognised model is
part of it and no row of its own; a folder that cannot be read or understood is a row with its error.
"""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output, padded, size
from modelscope_ext.errors import AmbiguousModel, ModelNotFound, ModelScopeExtError, NotAModel

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["EXAMPLES", "Row", "configure", "run", "walk"]

EXAMPLES = """\
examples:
  modelscope-ext scan ~/models
  modelscope-ext scan ~/.cache/huggingface/hub --json > models.jsonl
  modelscope-ext scan /srv/models --jobs 8 --json | jq -r 'select(.backend == "diffusers") | .path'

A folder that is not a model is no row (-v names it); a folder that could not be read is a row with its error. What is
installed does not influence the answers. The rows come in the same order with any number of processes; a scan of few
folders starts none."""

#: Folders that hold no models of their own: tools' caches and what a hub's client keeps beside the files.
_SKIPPED = frozenset(("__pycache__", "node_modules", "lost+found"))

#: In one repo of Hugging Face's cache (known by its `snapshots`) the files' bytes and the names of revisions.
_CACHE = frozenset(("blobs", "refs"))

#: A folder is asked about only if a file with one of these endings lies directly in it.
_ENDINGS = (
    ".json", ".yaml", ".yml", ".toml", ".cfg", ".pbtxt", ".nemo", ".safetensors", ".bin", ".pt", ".pth", ".ckpt",
    ".onnx", ".gguf", ".ggml", ".h5", ".keras", ".msgpack", ".pb", ".tflite", ".mlmodel", ".mlpackage", ".pdparams",
    ".pdmodel", ".pdiparams", ".xml", ".rknn", ".rkllm", ".engine", ".plan", ".npz", ".mar", ".pkl", ".joblib",
    ".model", ".om", ".mindir", ".pte", ".mnn", ".param",
)  # fmt: skip

_WIDTHS = (12, 22, 32, 10)
_HEADER = ("framework", "backend", "task", "weights", "path")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    from modelscope_ext.cli.options import positive

    parser.add_argument("folder", metavar="FOLDER", help="where to look for models")
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="processes that classify (default: as many as there are processors)"
    )


class Row(NamedTuple):
    """What is known about one folder; sendable between processes.

    Attributes:
        path: The folder.
        kind: ``"model"``, ``"error"`` or ``"none"`` (not a model).
        fields: The columns of the answer.
    """

    path: str
    kind: str
    fields: dict[str, Any]


def run(args: argparse.Namespace, output: Output) -> int:
    """Classify what is below the folder; 0 when all of it could be read and there was a model."""
    root = Path(args.folder)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ModelNotFound(f"scan needs a folder: {args.folder} {problem}.")
    from modelscope_ext.cli.progress import Counter

    found = failed = 0
    with Counter(output, total=_count_children(root)) as counter:
        for row in _rows(os.fspath(root), args.jobs or _processors(), counter):
            if row.kind == "none":
                if output.verbose:
                    counter.pause()
                    output.note(f"not a model: {row.path}: {row.fields['reason']}")
                continue
            found, failed = found + (row.kind == "model"), failed + (row.kind == "error")
            counter.pause()
            _print(row, output, first=found + failed == 1)
            counter.found = found
    if not output.json:
        output.note(f"{found} model(s), {failed} error(s), {counter.folders} folder(s) looked at")
    return exits.NEGATIVE if failed or not found else exits.OK


def _print(row: Row, output: Output, *, first: bool) -> None:
    if output.json:
        output.record({"path": row.path, **row.fields})
        return
    if first:
        output.line(_columns(_HEADER), style="dim")
    fields = row.fields
    if row.kind == "error":
        error = fields["error"]
        output.line(_columns(("error", error["class"], "", "", f"{row.path}: {error['message']}")), style="red")
        return
    tasks = fields["tasks"]
    values = (fields["framework"], fields["backend"], tasks[0] if tasks else "?", size(fields["bytes"]), row.path)
    output.line(_columns(values))


def _columns(values: tuple[str | None, ...]) -> str:
    from modelscope_ext.utils.text import printable

    cells = [printable(value or "?" if i < 3 else value or "", 1000) for i, value in enumerate(values)]
    return " ".join(padded(cell, width) for cell, width in zip(cells, (*_WIDTHS, 0), strict=True)).rstrip()


# Which folders are asked about


class Folder(NamedTuple):
    """What one listing of a folder says: whether it may be a model, and the folders in it."""

    candidate: bool
    children: tuple[str, ...]


def look(path: str) -> Folder:
    """List one folder; links to folders are not followed, hidden ones are left out."""
    children, candidate = {}, False
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                children[entry.name] = entry.path
            else:
                candidate = candidate or entry.name.lower().endswith(_ENDINGS)
    skipped = _SKIPPED | _CACHE if "snapshots" in children else _SKIPPED
    names = sorted(children.keys() - skipped, reverse=True)
    return Folder(candidate, tuple(children[name] for name in names))


def _count_children(root: Path) -> int:
    try:
        return len(look(os.fspath(root)).children)
    except OSError:
        return 0


def walk(path: str) -> Row:
    """Classify one folder; whatever goes wrong is in the row."""
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolve import resolve

    try:  # the folder is known to be one, and is asked about once: neither located nor remembered
        resolution = resolve(Snapshot.from_folder(path), installed=False)
    except NotAModel as error:
        return Row(path, "none", {"reason": str(error)})
    except AmbiguousModel as error:  # e.g. several models one level down: they are asked about one by one
        return Row(path, "none", {"reason": str(error)})
    except (ModelScopeExtError, OSError, RecursionError, MemoryError) as error:
        return _error(path, error)
    return Row(path, "model", {
        "framework": resolution.framework,
        "backend": resolution.backend,
        "tasks": list(resolution.tasks),
        "model_type": resolution.model_type,
        "format": resolution.weights.format,
        "bytes": resolution.weights.bytes,
        "loadable": resolution.loadable,
        "requirement_dependency": list(resolution.requirement_dependency),
        "findings": [finding.code for finding in resolution.findings],
    })  # fmt: skip


def _error(path: str, error: BaseException) -> Row:
    code = getattr(error, "code", None)
    record = {"class": type(error).__name__, "message": str(error) or type(error).__name__}
    return Row(path, "error", {"error": {**record, **({"code": code} if isinstance(code, str) else {})}})


# Classifying them, here and in processes

#: So many folders are classified here before processes are started: a small scan is over by then.
_HERE = 200

#: Folders sent to a process at a time, and such parcels a process has waiting at most.
_PARCEL, _WAITING = 16, 4


class _Ahead(NamedTuple):
    """Folders that a process is classifying, and the folders in each."""

    rows: Future[list[Row]]
    folders: list[tuple[tuple[str, ...], int]]


def _rows(root: str, jobs: int, counter: Any) -> Iterator[Row]:
    """Yield a row for every folder that may be a model, depth first; a recognised model's folders are not entered."""
    stack = [(root, 0)]
    yield from _rows_here(stack, counter, most=None if jobs == 1 else _HERE)
    if not stack:
        return
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

    pool = ProcessPoolExecutor(jobs, initializer=_leave_interrupts)
    try:
        yield from _rows_in_pool(stack, _WAITING * jobs, counter, pool)
    except BrokenExecutor as error:
        raise ModelScopeExtError(
            f"scan {root}: a process that classifies folders was ended from outside, perhaps for want of memory. "
            "Scan with --jobs 1."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _rows_here(stack: list[tuple[str, int]], counter: Any, most: int | None) -> Iterator[Row]:
    """Classify what is on the stack, `most` folders at most; what is left stays on it."""
    count = 0
    while stack and count != most:
        path, depth = stack.pop()
        folder = _looked(path, depth, counter)
        if isinstance(folder, Row):
            yield folder
            continue
        row = walk(path) if folder.candidate else None
        if row is not None:
            yield row
            count += 1
        if row is None or row.kind != "model":
            stack.extend((child, depth + 1) for child in folder.children)


def _rows_in_pool(stack: list[tuple[str, int]], most: int, counter: Any, pool: Executor) -> Iterator[Row]:
    """Classify what is on the stack, `most` parcels ahead of the row that is next: the order is that of one process."""
    ahead: deque[_Ahead | Row] = deque()
    while stack or ahead:
        while stack and len(ahead) < most:
            ahead.extend(_sent(stack, counter, pool))
        if not ahead:
            return
        if isinstance(first := ahead.popleft(), Row):
            yield first
            continue
        for row, (children, depth) in zip(first.rows.result(), first.folders, strict=True):
            yield row
            if row.kind != "model" and children:
                yield from _rows_in_pool([(child, depth + 1) for child in children], most, counter, pool)


def _sent(stack: list[tuple[str, int]], counter: Any, pool: Executor) -> list[_Ahead | Row]:
    """Send the next parcel from the stack; a folder that cannot be listed ends it, and is a row of its own."""
    paths: list[str] = []
    folders: list[tuple[tuple[str, ...], int]] = []
    failed: list[Row] = []
    while stack and len(paths) < _PARCEL and not failed:
        path, depth = stack.pop()
        folder = _looked(path, depth, counter)
        if isinstance(folder, Row):
            failed.append(folder)
        elif folder.candidate:
            paths.append(path)
            folders.append((folder.children, depth))
        else:
            stack.extend((child, depth + 1) for child in folder.children)
    return [*([_Ahead(pool.submit(_walk_all, paths), folders)] if paths else ()), *failed]


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the process that waits for this one."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _walk_all(paths: list[str]) -> list[Row]:
    return [walk(path) for path in paths]


def _looked(path: str, depth: int, counter: Any) -> Folder | Row:
    counter.step(path, done=depth == 1)
    try:
        return look(path)
    except OSError as error:
        return _error(path, error)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
