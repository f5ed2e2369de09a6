"""Step 5 of 6: the files that were judged are the files that were loaded (C20).

Libraries open files by name, after the gates have read them. What a file is on the disk (its device and inode, size
and times) is noted before anything is read and compared after the load: a file that was swapped in between makes the
load fail, and its result is dropped.
"""

# On the path of every load, where pathlib costs more than the system calls:
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.utils.text import printable

__all__ = ["check_unchanged", "marks"]

Mark = tuple[int, int, int, int, int]


def marks(folder: Path, names: Iterable[str]) -> dict[str, Mark]:
    """Return what each file is on the disk; files that are not there are left out.

    Args:
        folder: The model's folder.
        names: Relative posix paths.
    """
    root = os.fspath(folder)
    found: dict[str, Mark] = {}
    for name in names:
        try:
            status = os.stat(os.path.join(root, name))
        except OSError:
            continue
        found[name] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def check_unchanged(folder: Path, before: Mapping[str, Mark], files: Iterable[str], *, source: str) -> None:
    """Raise MalformedMetadata for the first of `files` that is no longer what it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = Path(name)
        ...     _ = (folder / "config.json").write_text("{}")
        ...     seen = marks(folder, ["config.json"])
        ...     check_unchanged(folder, seen, ["config.json"], source="./m")
    """
    after = marks(folder, files)
    for name in files:
        if before.get(name) != after.get(name):
            raise MalformedMetadata(
                f"{printable(name)} was changed while {printable(source)} was loaded: what was checked is not what was"
                " read. The result was dropped. Load it again when nobody writes into the folder.",
                file=name,
                source=source,
            )
