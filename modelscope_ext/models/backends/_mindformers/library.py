"""Importing mindformers without what it leaves behind: log files in the working directory and a handler of warnings."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from modelscope_ext.utils.logger import logger

__all__ = ["imported"]

#: Where mindformers writes its logs; a user who has set one keeps it.
_PLACES = ("LOG_MF_PATH", "LOCAL_DEFAULT_PATH")
#: The name under which its logger is found instead of one that is named after a folder.
_NAME = "-modelscope-ext"


def imported(module: str) -> Any:
    """Import a module of mindformers; its logs go to this package's logger unless the user has said where to.

    mindformers opens its log files with the first line it logs, in ``./output/log``, and replaces
    `warnings.showwarning` for the whole process. To be called inside `_mindspore.quiet.loading`.
    """
    if "mindformers" not in sys.modules:
        with _kept_handler(), _elsewhere(), _unwarned():
            import_module("mindformers")
    _redirect()
    with _unwarned():
        return import_module(module)


@contextmanager
def _kept_handler() -> Iterator[None]:
    shown = warnings.showwarning
    try:
        yield
    finally:
        warnings.showwarning = shown


@contextmanager
def _unwarned() -> Iterator[None]:
    """Let nobody hear what the dozens of packages that mindformers imports warn of when they are compiled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Let what is logged during the import go into a folder that is gone afterwards."""
    if any(name in os.environ for name in _PLACES):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_PLACES[0]] = folder
        try:
            yield
        finally:
            os.environ.pop(_PLACES[0], None)
            for name in [n for n in logging.root.manager.loggerDict if n.startswith("mindformers") and folder in n]:
                for handler in list(logging.getLogger(name).handlers):
                    handler.close()


def _redirect() -> None:
    theirs: Any = import_module("mindformers.tools.logger")
    if any(name in os.environ for name in _PLACES) or f"mindformers{_NAME}" in theirs.logger_list:
        return
    theirs.get_log_path = lambda: _NAME  # where its lines go is a part of its logger's name
    own = logging.getLogger(f"mindformers{_NAME}")
    own.handlers[:] = [_Forward()]
    own.propagate = False
    own.setLevel(logging.DEBUG)
    theirs.logger_list.append(own.name)


class _Forward(logging.Handler):
    """Hands a line on as ours, one level lower: what matters is said by this package itself."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.log(logging.DEBUG, "mindformers: %s", record.getMessage())
