"""The folders of a tree that may be models, asked about here and in processes, in one order.

The walk keeps one stack of folders and a few rows, whatever the size of the tree.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.safety.finding import Finding

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["Folder", "Row", "Tree", "error_row", "look"]

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

#: So many folders are asked about here before processes are started: a small tree is done by then.
_HERE = 200

#: Folders sent to a process at a time, and such parcels a process has waiting at most.
_PARCEL, _WAITING = 16, 4


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


def error_row(path: str, error: BaseException) -> Row:
    """Return the row of a folder about which there is only an error."""
    code = getattr(error, "code", None)
    record = {"class": type(error).__name__, "message": str(error) or type(error).__name__}
    return Row(path, "error", {"error": {**record, **({"code": code} if isinstance(code, str) else {})}})


class _Ahead(NamedTuple):
    """Folders that a process is asked about, and the folders in each."""

    rows: Future[list[Row]]
    folders: list[tuple[tuple[str, ...], int]]


@dataclass(frozen=True)
class Tree:
    """A folder and all below it.

    Attributes:
        root: The folder.
        ask: Returns the row of a folder that may be a model; it can be sent to a process.
        step: Called with each folder, and ``done=True`` for one that lies directly in `root`.
        jobs: Processes that ask; few folders are asked about in this one, whatever it is.
    """

    root: str
    ask: Callable[[str], Row]
    step: Callable[..., None]
    jobs: int

    def rows(self) -> Iterator[Row]:
        """Yield a row for every folder that may be a model, depth first; a model's folders are not entered.

        Raises:
            ModelScopeExtError: One of the processes was ended from outside.
        """
        stack = [(self.root, 0)]
        yield from self._here(stack, most=None if self.jobs == 1 else _HERE)
        if not stack:
            return
        from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

        pool = ProcessPoolExecutor(self.jobs, initializer=_leave_interrupts)
        try:
            yield from self._in(pool, stack)
        except BrokenExecutor as error:
            raise ModelScopeExtError(
                f"scan {self.root}: a process that classifies folders was ended from outside, perhaps for want of "
                "memory. Scan with --jobs 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _here(self, stack: list[tuple[str, int]], most: int | None) -> Iterator[Row]:
        """Ask about what is on the stack, about `most` folders at most; what is left stays on it."""
        count = 0
        while stack and count != most:
            path, depth = stack.pop()
            folder = self._looked(path, depth)
            if isinstance(folder, Row):
                yield folder
                continue
            row = self.ask(path) if folder.candidate else None
            if row is not None:
                yield row
                count += 1
            if row is None or row.kind != "model":
                stack.extend((child, depth + 1) for child in folder.children)

    def _in(self, pool: Executor, stack: list[tuple[str, int]]) -> Iterator[Row]:
        """Ask about what is on the stack, some parcels ahead of the row that is next: the order is that of `_here`."""
        ahead: deque[_Ahead | Row] = deque()
        while stack or ahead:
            while stack and len(ahead) < _WAITING * self.jobs:
                ahead.extend(self._sent(pool, stack))
            if not ahead:
                return
            if isinstance(first := ahead.popleft(), Row):
                yield first
                continue
            for row, (children, depth) in zip(first.rows.result(), first.folders, strict=True):
                yield row
                if row.kind != "model" and children:
                    yield from self._in(pool, [(child, depth + 1) for child in children])

    def _sent(self, pool: Executor, stack: list[tuple[str, int]]) -> list[_Ahead | Row]:
        """Send the next parcel from the stack; a folder that cannot be listed ends it, and is a row of its own."""
        paths: list[str] = []
        folders: list[tuple[tuple[str, ...], int]] = []
        failed: list[Row] = []
        while stack and len(paths) < _PARCEL and not failed:
            path, depth = stack.pop()
            folder = self._looked(path, depth)
            if isinstance(folder, Row):
                failed.append(folder)
            elif folder.candidate:
                paths.append(path)
                folders.append((folder.children, depth))
            else:
                stack.extend((child, depth + 1) for child in folder.children)
        return [*([_Ahead(pool.submit(_ask_all, self.ask, paths), folders)] if paths else ()), *failed]

    def _looked(self, path: str, depth: int) -> Folder | Row:
        self.step(path, done=depth == 1)
        try:
            return look(path)
        except OSError as error:
            return error_row(path, error)


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the process that waits for this one."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _ask_all(ask: Callable[[str], Row], paths: list[str]) -> list[Row]:
    return [ask(path) for path in paths]
