"""Keeping diffusers quiet while it works for us, and leaving its settings as they were found."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_ext.models.backends._transformers import quiet as theirs
from modelscope_ext.models.backends._transformers.quiet import shows_bars

__all__ = ["loading", "quiet", "shows_bars"]

_LOCK = threading.RLock()
_state: dict[str, Any] = {"depth": 0}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the logging, bars and warnings of diffusers and transformers until the last thread inside has left."""
    with theirs.quiet():
        with _LOCK:
            if _state["depth"] == 0:
                _silence()
            _state["depth"] += 1
        try:
            yield
        finally:
            with _LOCK:
                _state["depth"] -= 1
                if _state["depth"] == 0:
                    _restore()


def _silence() -> None:
    from diffusers.utils import logging as library

    _state["level"] = library.get_verbosity()
    _state["bars"] = library.is_progress_bar_enabled()
    if _state["level"] >= logging.WARNING:
        library.set_verbosity(logging.CRITICAL)
    if not shows_bars():
        library.disable_progress_bar()
    # Put back with transformers' own, which saved the list before.
    warnings.filterwarnings("ignore", module=r"diffusers(\.|$)")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"modelscope_ext(\.|$)")


def _restore() -> None:
    from diffusers.utils import logging as library

    if library.get_verbosity() == logging.CRITICAL:
        library.set_verbosity(_state["level"])
    if _state["bars"]:
        library.enable_progress_bar()


@contextmanager
def loading() -> Iterator[None]:
    """Be the only one that loads, quietly, and leave torch's random numbers as they were."""
    import torch

    with theirs.loading(), quiet(), torch.random.fork_rng(devices=[]):
        yield
