"""Making a folder so that others see the whole of it or nothing: written beside its place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import printable

__all__ = ["publish", "staging", "target_folder"]


def target_folder(output: str | PathLike[str], *, overwrite: bool, mark: str, what: str) -> Path:
    """Return the folder to make, after the checks that need nothing but a look at it.

    Args:
        output: As the caller gave it. Its parent has to exist.
        overwrite: Whether an earlier one may be replaced.
        mark: A file that every earlier one has; what lacks it is never replaced.
        what: What is made, e.g. ``"export"``.

    Raises:
        OptionError: It is there already, it is no folder, or its parent is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     target_folder(Path(parent, "new"), overwrite=False, mark="made.json", what="copy").name
        'new'
    """
    if not isinstance(output, str | PathLike) or not str(output):
        raise OptionError(f"output: expected a folder (a str or Path), got {printable(repr(output))}")
    target = Path(output).absolute()
    if not target.parent.is_dir():
        raise OptionError(f"{printable(str(target.parent))} is not there; make it first, the {what} goes into it")
    if not (target.exists() or target.is_symlink()):
        return target
    if target.is_symlink() or not target.is_dir():
        raise OptionError(f"{printable(str(target))} is there and is no folder; give another name")
    if not any(target.iterdir()):
        return target
    if not overwrite:
        raise OptionError(f"{printable(str(target))} is there already; pass overwrite=True (--overwrite) to replace it")
    if not (target / mark).is_file():
        raise OptionError(
            f"{printable(str(target))} is there and is not an earlier {what} (it has no {mark}), so it is not "
            "replaced; give another name"
        )
    return target


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; whatever ends the block, it is gone afterwards, unless it was published.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with staging(Path(parent, "new")) as folder:
        ...         _ = Path(folder, "a").write_text("1")
        ...         publish(folder, Path(parent, "new"))
        ...     sorted(path.name for path in Path(parent).rglob("*"))
        ['a', 'new']
    """
    folder = target.with_name(f".{target.name[:100]}.{os.getpid():x}{os.urandom(8).hex()}.tmp")
    try:
        folder.mkdir()  # inside: Ctrl-C may come as soon as it is there
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path) -> None:
    """Rename the finished folder into place; an earlier one goes only when the new one stands."""
    if not target.exists():
        folder.rename(target)
        return
    old = folder.with_suffix(".old")
    target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
