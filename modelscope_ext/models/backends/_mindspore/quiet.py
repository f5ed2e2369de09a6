"""Keeping MindSpore and the libraries on it quiet while they work for us, and leaving their settings as they were.

MindSpore's C++ side writes to stderr by a level that it reads from ``GLOG_v`` when it is imported; a user who has set
that variable keeps it.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from typing import Any

from modelscope_ext.utils.shared import Shared

__all__ = ["loading", "quiet"]

#: Packages whose Python loggers and warnings are silenced; MindSpore's own logger is called by its name.
_PACKAGES = ("mindspore", "MindSpore", "mindone", "mindformers", "transformers", "diffusers", "huggingface_hub")
#: Modules that print the pace of each step to stdout.
_PRINTING = ("mindone.transformers.generation.utils",)
#: The variable that MindSpore's C++ side reads its level from, and the level CRITICAL.
_LEVEL, _SILENT = "GLOG_v", "4"

_LOADING = threading.RLock()


@contextmanager
def _silence() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in _PACKAGES}
    filters = warnings.filters[:]
    path = sys.path[:]  # MindSpore appends to it when it compiles its first kernels
    for name, level in levels.items():
        # A user who asked a library for more than warnings keeps it.
        if level in (logging.NOTSET, logging.WARNING, logging.ERROR):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    for name in _PRINTING:
        if name in sys.modules:
            vars(sys.modules[name])["print"] = _nothing
    try:
        yield
    finally:
        for name, level in levels.items():
            if logging.getLogger(name).level == logging.CRITICAL:
                logging.getLogger(name).setLevel(level)
        for name in _PRINTING:
            if name in sys.modules:
                vars(sys.modules[name]).pop("print", None)
        if sys.path != path:
            sys.path[:] = path
        # A slice of the same list, so that a `catch_warnings` around us still restores what it saved.
        warnings.filters[:] = filters  # type: ignore[index]


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in for `print` in a module."""


#: Silences loggers and warnings of the libraries until the last of all threads inside has left.
quiet = Shared(_silence)


@contextmanager
def loading() -> Iterator[None]:
    """Be the only one that loads, quietly; MindSpore, where it is imported meanwhile, is silent from the start.

    numpy's random numbers, of which it makes the weights that are then replaced, are left as they were.
    """
    with _LOADING, quiet(), _silent_import(), _silent_stdout():
        import numpy as np

        state = np.random.get_state()
        try:
            yield
        finally:
            np.random.set_state(state)


def _silent_stdout() -> AbstractContextManager[Any]:
    """Hold back what mindone prints to stdout when it is first imported, which would break a command's output."""
    return nullcontext() if "mindone.transformers" in sys.modules else redirect_stdout(io.StringIO())


@contextmanager
def _silent_import() -> Iterator[None]:
    if "mindspore" in sys.modules or _LEVEL in os.environ:
        yield
        return
    os.environ[_LEVEL] = _SILENT
    try:
        import mindspore  # noqa: F401 - reads the variable

        yield
    finally:
        os.environ.pop(_LEVEL, None)
