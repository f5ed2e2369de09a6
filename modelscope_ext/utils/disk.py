"""How much room a disk has."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["disk_free"]


def disk_free(folder: Path | None = None) -> int | None:
    """Return the bytes free where `folder` is, or will be; None where the system does not tell.

    Example:
        >>> disk_free(Path("not/there/yet")) == disk_free() or "another program wrote in between"
        True
    """
    path = (folder or Path.cwd()).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
