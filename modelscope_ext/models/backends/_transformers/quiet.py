"""Keeping transformers quiet while it works for us, and leaving its settings as they were found.

transformers prints progress bars, hints and warnings to stderr. A library must not: what matters becomes an error or a
line of our own logger. A user who raised transformers' verbosity, or whose terminal may show bars because our logger is
at INFO, keeps them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.shared import Shared

__all__ = ["loading", "quiet", "shows_bars"]

_LOADING = threading.RLock()

#: A variable that transformers' pipelines set for the whole process when they batch.
_LEFT_BEHIND = "TOKENIZERS_PARALLELISM"


def shows_bars() -> bool:
    """Whether a progress bar may be drawn: stderr is a terminal and our logger speaks at INFO."""
    off = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    return not off and sys.stderr is not None and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


@contextmanager
def _silence() -> Iterator[None]:
    from transformers.utils import logging as theirs

    level, bars, filters = theirs.get_verbosity(), theirs.is_progress_bar_enabled(), warnings.filters[:]
    parallelism = os.environ.get(_LEFT_BEHIND)
    if level >= logging.WARNING:
        theirs.set_verbosity(logging.CRITICAL)
    if not shows_bars():
        theirs.disable_progress_bar()
    for package in ("transformers", "torch", "accelerate", "huggingface_hub", "diffusers", "modelscope", "peft"):
        warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
    try:
        yield
    finally:
        if theirs.get_verbosity() == logging.CRITICAL:
            theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
        # Slices of the same list, so that a `catch_warnings` around us still restores what it saved.
        warnings.filters[:] = filters  # type: ignore[index]
        if parallelism is None:
            os.environ.pop(_LEFT_BEHIND, None)


#: Silences transformers' logging, bars and warnings until the last of all threads inside has left.
quiet = Shared(_silence)


@contextmanager
def loading() -> Iterator[None]:
    """Be the only one that loads: transformers sets torch's default dtype and device for the process meanwhile."""
    with _LOADING, quiet():
        yield
