"""Writing a file so that readers see the old content or the new one, never half of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["beside", "replacing", "write_atomic"]


def write_atomic(path: str | Path, data: str | bytes, *, durable: bool = True) -> None:
    """Write `data` beside `path` and move it into place; a failure leaves `path` as it was and nothing beside it.

    A link is replaced, not followed: what it points at (a hub's cache, say) is never changed.

    Args:
        path: The file; its folder must exist. An existing file's permissions are kept.
        data: The new content; a str is written as UTF-8 with the line ends it has.
        durable: Wait until it is on the disk. Without, a crash of the machine may leave an empty file.

    Raises:
        OSError: The folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder, "a.json"), "{}")
        ...     [file.name for file in Path(folder).iterdir()], Path(folder, "a.json").read_text()
        (['a.json'], '{}')
    """
    with replacing(path, durable=durable) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replacing(path: str | Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield the file that takes the place of `path` when the block ends, for content that comes piece by piece.

    An error in the block leaves `path` as it was and nothing beside it; else see `write_atomic`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.txt")) as file:
        ...         _ = file.write(b"do") + file.write(b"ne")
        ...     Path(folder, "a.txt").read_text()
        'done'
    """
    target = Path(path)
    with beside(target) as name:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        with suppress(OSError):
            old = target.lstat()
            if stat.S_ISREG(old.st_mode):
                name.chmod(stat.S_IMODE(old.st_mode))


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield a name beside `target`; what the block makes there takes the place of `target` when it ends.

    An error in the block leaves `target` as it was and nothing beside it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with beside(Path(folder, "a.txt")) as name:
        ...         _ = name.write_text("new")
        ...     Path(folder, "a.txt").read_text()
        'new'
    """
    name = target.with_name(f".{target.name[:80]}.{os.getpid():x}{os.urandom(6).hex()}.tmp")
    try:
        yield name
        name.replace(target)
    except BaseException:
        with suppress(OSError):
            name.unlink()
        raise
