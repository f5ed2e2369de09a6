"""Imports that never resolve inside a model's folder, whatever the working directory is."""

# On the path of every prediction, and sys.path holds strings:
# ruff: noqa: PTH100, PTH109, PTH117, PTH118

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

__all__ = ["away_from"]


@contextmanager
def away_from(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Leave a folder, and what lies below it, out of `sys.path` while the body runs.

    A library looks for optional packages (tiktoken, sentencepiece, ...) when it first needs them. Where Python was
    started inside a model's folder, that folder stands first on `sys.path`, and a planted ``tiktoken.py`` would run.

    Example:
        >>> import sys
        >>> sys.path.insert(0, "/model")
        >>> with away_from("/model"):
        ...     "/model" in sys.path
        False
        >>> sys.path.pop(0)
        '/model'
    """
    if folder is None:
        yield
        return
    root = os.getcwd() if folder == "." else _real(os.path.abspath(os.fspath(folder)))
    plain = list(sys.path)
    kept = [entry for entry in plain if not _below(entry, root)]
    if len(kept) == len(plain):
        yield
        return
    sys.path[:] = kept
    try:
        yield
    finally:
        added = [entry for entry in sys.path if entry not in kept]
        sys.path[:] = [*plain, *added]


def _below(entry: object, root: str) -> bool:
    if not isinstance(entry, str):
        return False
    try:
        path = _real(entry) if os.path.isabs(entry) else os.path.realpath(os.path.join(os.getcwd(), entry))
    except OSError:  # the working directory is gone
        return False
    if path == root:
        return True
    # A virtual environment inside the folder is the user's own.
    return path.startswith(root.rstrip(os.sep) + os.sep) and "site-packages" not in path and not _installed(path)


def _installed(path: str) -> bool:
    return path.startswith((_real(sys.prefix) + os.sep, _real(sys.base_prefix) + os.sep))


@lru_cache(maxsize=256)
def _real(path: str) -> str:
    return os.path.realpath(path)
