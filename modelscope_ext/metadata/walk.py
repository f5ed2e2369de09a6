"""One bounded walk over a local folder: names, sizes and links; nothing is opened."""

# On the path of every resolve(), where pathlib costs more than the system calls:
# ruff: noqa: PTH115, PTH116, PTH118

from __future__ import annotations

import os
import stat
import time

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelNotFound
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.safety.reading import bases_of, inside
from modelscope_ext.utils.record import dataclass, field
from modelscope_ext.utils.text import printable

__all__ = ["Listing", "fingerprint", "walk"]

#: Folders of tools, which hold no part of a model.
SKIPPED = frozenset(
    (".git", ".hg", ".svn", ".cache", "__pycache__", ".ipynb_checkpoints", "._____temp", ".huggingface", ".msc_cache")
)
_FRESH_NS = 100_000_000  # a file changed in this span may change again without a new time stamp
_MOST_MARKS = 100_000

#: Of a file its name, size, times of change (ns) and number; of a folder that was listed whole, its name.
_Mark = tuple[str, int, int, int, int] | tuple[str]


@dataclass(frozen=False)
class Listing:
    """What a walk saw.

    Attributes:
        root: The folder.
        sizes: Bytes of every regular file, by its posix path relative to the folder.
        links: The target of every symbolic link, as it is written in the link.
        odd: Names that are neither files nor folders (pipes, devices, sockets) or may not be looked at.
        findings: What a reader should know.
        shared: Files with further names on the disk.
        mark: The `fingerprint` of the folder; None also where something was left out.
    """

    root: str
    sizes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    odd: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    mark: tuple[object, ...] | None = None
    marks: list[_Mark] = field(default_factory=list)
    left_out: bool = False
    _bases: tuple[str, ...] | None = None

    def bases(self) -> tuple[str, ...]:
        """Return the real folders in which the files may lie, see `safety.reading.bases_of`; only links ask."""
        if self._bases is None:
            self._bases = bases_of(self.root)
        return self._bases

    def note(self, code: str, level: str, file: str | None, text: str) -> None:
        """Add a finding about `file`."""
        shown = f"{printable(file)}: {text}" if file else text
        self.findings.append(Finding(code, level, file, None, shown))

    def leave_out(self, code: str, file: str, text: str) -> None:
        """Note an entry that is not listed, and whose changes would therefore not be seen."""
        self.left_out = True
        self.note(code, "warning", file, text)


def walk(root: str, limits: Limits, *, source: str) -> Listing:
    """List the regular files below `root`.

    Raises:
        LimitExceeded: More files than allowed.
        ModelNotFound: `root` is no folder, or cannot be listed.
    """
    seen = Listing(root)
    folders = [("", 0)]
    while folders:
        prefix, depth = folders.pop()
        try:
            entries = os.scandir(os.path.join(root, prefix) if prefix else root)
        except OSError as error:
            if not prefix:
                raise ModelNotFound(f"{printable(source)}: cannot be listed ({error.strerror}).") from error
            seen.leave_out("unreadable", prefix.rstrip("/"), f"cannot be listed ({error.strerror})")
            continue
        with entries:
            for entry in entries:
                _take(entry, prefix + entry.name, seen, folders, depth, limits)
                if len(seen.sizes) > limits.files:
                    raise LimitExceeded(
                        f"{printable(source)}: more than {limits.files} files. If this is one model, pass "
                        "limits=Limits(files=...); for a folder of many models, name one of them.",
                        source=source,
                        grant="limits",
                    )
        seen.marks.append((prefix,))
    _close(seen, source)
    seen.mark = None if seen.left_out else _settled(seen.marks)
    return seen


def _take(
    entry: os.DirEntry[str],
    name: str,
    seen: Listing,
    folders: list[tuple[str, int]],
    depth: int,
    limits: Limits,
) -> None:
    """Sort one entry in."""
    if not name.isascii() or not entry.name.isprintable() or "\\" in name or len(name) > 200:
        fault = fault_of(name)
        if fault is not None:
            seen.leave_out("odd-name", name, f"not listed: {fault[1]}")
            return
    if entry.is_symlink():
        _link(name, seen)
    elif entry.is_dir(follow_symlinks=False):
        if entry.name in SKIPPED:
            return
        if depth >= limits.folder_depth:
            seen.leave_out("too-deep", name, f"not entered: more than {limits.folder_depth} folders deep")
            return
        folders.append((name + "/", depth + 1))
    else:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            seen.leave_out("unreadable", name, f"cannot be looked at ({error.strerror})")
            return
        seen.marks.append(_mark(entry.name, status))
        if not stat.S_ISREG(status.st_mode):
            seen.odd.add(name)
            seen.note("odd-file", "danger", name, "neither a file nor a folder; never opened")
            return
        if status.st_nlink > 1:
            seen.shared.append(name)
        seen.sizes[name] = status.st_size


def _link(name: str, seen: Listing) -> None:
    path = os.path.join(seen.root, name)
    try:
        seen.links[name] = target = os.readlink(path)
        real = os.path.realpath(path)
        status = os.stat(real)
    except OSError:
        seen.leave_out("broken-link", name, "a symbolic link to nothing; taken as absent")
        return
    seen.marks.append(_mark(name.rpartition("/")[2], status))
    bases = seen.bases()
    if inside(bases, real) is None and real != bases[0]:
        seen.note("link-escape", "danger", name, "a symbolic link that leaves the model's folder; never followed")
        if not stat.S_ISDIR(status.st_mode):
            seen.sizes[name] = len(target)
    elif stat.S_ISDIR(status.st_mode):
        seen.note("folder-link", "info", name, "a symbolic link to a folder of the model; not followed")
    elif stat.S_ISREG(status.st_mode):
        seen.sizes[name] = status.st_size
    else:
        seen.odd.add(name)
        seen.note("odd-file", "danger", name, "a link to neither a file nor a folder; never opened")


def _close(seen: Listing, source: str) -> None:
    """Add the findings that need the whole listing."""
    if seen.shared:
        several = f" (and {len(seen.shared) - 1} more)" if len(seen.shared) > 1 else ""
        seen.findings.append(
            Finding(
                "hard-link", "info", seen.shared[0], None,
                f"{printable(seen.shared[0])}{several} has further names elsewhere on this disk (hard links).",
            )
        )  # fmt: skip
    if not all(map(str.isascii, seen.sizes)):
        import unicodedata

        composed: dict[str, str] = {}
        for name in sorted(seen.sizes):
            twin = composed.setdefault(unicodedata.normalize("NFC", name), name)
            if twin != name:
                raise MalformedMetadata(
                    f"The file names {printable(ascii(twin))} and {printable(ascii(name))} are one name in Unicode's "
                    "composed form; which one is meant cannot be told.",
                    file=name,
                    source=source,
                )


def fingerprint(folder: str | os.PathLike[str]) -> tuple[object, ...] | None:
    """Return what changes whenever a file of `folder` changes, or None if that cannot be told.

    One scandir per folder and one stat per file. None means: do not remember anything about this folder; it cannot be
    listed, or it was changed a moment ago and could change again within the same time stamp.

    Example:
        >>> fingerprint("/no/such/folder") is None
        True
    """
    marks: list[_Mark] = []
    folders = [("", os.fspath(folder))]
    try:
        while folders:
            prefix, path = folders.pop()
            with os.scandir(path) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        marks.append(_mark(entry.name, entry.stat()))
                    elif entry.name not in SKIPPED:
                        folders.append((f"{prefix}{entry.name}/", entry.path))
            if len(marks) > _MOST_MARKS:
                return None
            marks.append((prefix,))
    except OSError:
        return None
    return _settled(marks)


def _mark(name: str, status: os.stat_result) -> _Mark:
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _settled(marks: list[_Mark]) -> tuple[_Mark, ...] | None:
    """Return the marks of a folder, None if they are too many or too young to be told from the next change."""
    newest = max((mark[3] for mark in marks if len(mark) > 1), default=0)
    return None if newest > time.time_ns() - _FRESH_NS or len(marks) > _MOST_MARKS else tuple(marks)
