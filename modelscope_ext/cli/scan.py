"""`modelscope-ext scan FOLDER`: classify every model below a folder, one row each, as they are found.

The walk keeps one stack of folders and a few rows, whatever the size of the tree. A folder inside a recognised model is
part of it and no row of its own; a folder that cannot be read or understood is a row with its error.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output, padded, size
from modelscope_ext.errors import AmbiguousModel, ModelNotFound, ModelScopeExtError, NotAModel
from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.safety.finding import Finding

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["EXAMPLES", "Row", "configure", "run", "walk"]

EXAMPLES = """\
examples:
  modelscope-ext scan ~/models
  modelscope-ext scan ~/.cache/huggingface/hub --json > models.jsonl
  modelscope-ext scan ./models --format sarif > models.sarif
  modelscope-ext scan /srv/models --jobs 8 --json | jq -r 'select(.backend == "diffusers") | .path'

A folder that is not a model is no row (-v names it); a folder that could not be read is a row with its error. What is
installed does not influence the answers. With --jobs the rows come in the order in which they are done."""

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
    from modelscope_ext.cli.options import add_shape, positive

    parser.add_argument("folder", metavar="FOLDER", help="where to look for models")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="processes that classify (default: 1)")
    add_shape(parser, "what `inspect --security` finds in each, remarks left out; 1 where one is dangerous")


class Row(NamedTuple):
    """What is known about one folder; sendable between processes.

    Attributes:
        path: The folder.
        kind: ``"model"``, ``"error"`` or ``"none"`` (not a model).
        fields: The columns of the answer.
        findings: What `inspect --security` finds, where it was asked for.
    """

    path: str
    kind: str
    fields: dict[str, Any]
    findings: tuple[Finding, ...] = ()


def run(args: argparse.Namespace, output: Output) -> int:
    """Classify what is below the folder; 0 when all of it could be read and there was a model."""
    root = Path(args.folder)
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise ModelNotFound(f"scan needs a folder: {args.folder} {problem}.")
    from modelscope_ext.cli.progress import Counter

    found = failed = 0
    log = _Log() if args.shape == "sarif" else None
    with Counter(output, total=_count_children(root)) as counter:
        for row in _rows(os.fspath(root), args.jobs, counter, security=log is not None):
            if row.kind == "none":
                if output.verbose:
                    counter.pause()
                    output.note(f"not a model: {row.path}: {row.fields['reason']}")
                continue
            found, failed = found + (row.kind == "model"), failed + (row.kind == "error")
            counter.found = found
            if log is not None:
                log.add(row)
                continue
            counter.pause()
            _print(row, output, first=found + failed == 1)
    if log is not None:
        output.document(log.document(args.folder))
        return exits.NEGATIVE if log.dangerous or failed or not found else exits.OK
    if not output.json:
        output.note(f"{found} model(s), {failed} error(s), {counter.folders} folder(s) looked at")
    return exits.NEGATIVE if failed or not found else exits.OK


class _Log:
    """Collects what is dangerous or worth a warning in each model, for one SARIF log."""

    def __init__(self) -> None:
        self.found: list[tuple[Source, list[Finding]]] = []
        self.dangerous = False
        self._environment: set[Finding] = set()  # of the libraries here, not of a model: said once

    def add(self, row: Row) -> None:
        kept = [finding for finding in row.findings if finding.level != "info" and finding not in self._environment]
        self._environment.update(finding for finding in kept if finding.code == "vulnerable-library")
        self.dangerous = self.dangerous or any(finding.level == "danger" for finding in kept)
        self.found.append((Source("local", path=row.path), kept))

    def document(self, folder: str) -> dict[str, Any]:
        from modelscope_ext.models.sarif import root_of, sarif_log

        return sarif_log(self.found, name=f"scan/{folder}", root=root_of(folder))


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


def walk(path: str, security: bool = False) -> Row:
    """Classify one folder; whatever goes wrong is in the row."""
    row = _classified(path)
    return row._replace(findings=tuple(_findings(row))) if security and row.kind != "none" else row


def _findings(row: Row) -> Iterable[Finding]:
    """Return what a load of the model would refuse or need a grant for."""
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.security import security_report

    try:
        return security_report(Snapshot.from_folder(row.path)).findings
    except (ModelScopeExtError, OSError, RecursionError, MemoryError) as error:
        return [Finding("not-read", "warning", None, None, str(error) or type(error).__name__)]


def _classified(path: str) -> Row:
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


def _rows(root: str, jobs: int, counter: Any, *, security: bool = False) -> Iterator[Row]:
    """Yield a row for every folder that may be a model, depth first; a recognised model's folders are not entered."""
    ask = partial(walk, security=security)
    if jobs == 1:
        yield from _rows_here(root, counter, ask)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(jobs) as pool:
        yield from _rows_in_pool(root, jobs, counter, pool, ask)


def _rows_here(root: str, counter: Any, ask: Callable[[str], Row]) -> Iterator[Row]:
    stack = [(root, 0)]
    while stack:
        path, depth = stack.pop()
        counter.step(path, done=depth == 1)
        try:
            folder = look(path)
        except OSError as error:
            yield _error(path, error)
            continue
        row = ask(path) if folder.candidate else None
        if row is not None:
            yield row
        if row is None or row.kind != "model":
            stack.extend((child, depth + 1) for child in folder.children)


def _rows_in_pool(root: str, jobs: int, counter: Any, pool: Executor, ask: Callable[[str], Row]) -> Iterator[Row]:
    from concurrent.futures import FIRST_COMPLETED, wait

    stack: list[tuple[str, int]] = [(root, 0)]
    pending: dict[Future[Row], tuple[tuple[str, ...], int]] = {}
    while stack or pending:
        while stack and len(pending) < 4 * jobs:
            path, depth = stack.pop()
            counter.step(path, done=depth == 1)
            try:
                folder = look(path)
            except OSError as error:
                yield _error(path, error)
                continue
            if folder.candidate:
                pending[pool.submit(ask, path)] = folder.children, depth
            else:
                stack.extend((child, depth + 1) for child in folder.children)
        for future in wait(pending, return_when=FIRST_COMPLETED).done if pending else ():
            children, depth = pending.pop(future)
            row = future.result()
            yield row
            if row.kind != "model":
                stack.extend((child, depth + 1) for child in children)
