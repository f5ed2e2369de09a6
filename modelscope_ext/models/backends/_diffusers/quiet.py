"""Keeping diffusers quiet while it works for us, and leaving its settings as they were found."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from modelscope_ext.models.backends._transformers import quiet as theirs
from modelscope_ext.models.backends._transformers.quiet import shows_bars
from modelscope_ext.utils.shared import Shared

__all__ = ["loading", "quiet", "shows_bars"]


@contextmanager
def _silence() -> Iterator[None]:
    from diffusers.utils import logging as library

    with theirs.quiet():  # which puts back the list of filters as well
        level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
        if level >= logging.WARNING:
            library.set_verbosity(logging.CRITICAL)
        if not shows_bars():
            library.disable_progress_bar()
        warnings.filterwarnings("ignore", module=r"diffusers(\.|$)")
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"modelscope_ext(\.|$)")
        try:
            yield
        finally:
            if library.get_verbosity() == logging.CRITICAL:
                library.set_verbosity(level)
            if bars:
                library.enable_progress_bar()


#: Silences the logging, bars and warnings of diffusers and transformers until the last of all threads inside has left.
quiet = Shared(_silence)


@contextmanager
def loading() -> Iterator[None]:
    """Be the only one that loads, quietly, and leave torch's random numbers as they were."""
    import torch

    with theirs.loading(), quiet(), torch.random.fork_rng(devices=[]):
        yield
