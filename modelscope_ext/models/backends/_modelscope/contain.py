"""Step 5 of 6, ModelScope: the process around it. Quiet, offline, no pickle beyond tensors, everything left as found.

ModelScope logs to stderr at INFO and prints to stdout, asks its hub for what a class misses, reads pickles in ways of
its own, and draws random numbers while it builds a network. None of that may reach the caller.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.requirement import is_installed
from modelscope_ext.utils.shared import Shared

__all__ = ["Asked", "loading", "offline", "running"]

_LOADING = threading.RLock()
#: Guards the counters below, for moments only.
_LOCK = threading.RLock()
#: torch reads both when a file is loaded; the first makes every load one of tensors only, the second undoes that.
_FORCE, _UNDO = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


class Offline(ModelScopeExtError):
    """ModelScope asked for an address; no OSError, which HTTP clients would try again for many seconds."""


@dataclass
class Asked:
    """What asked for the network.

    Attributes:
        hosts: The names that were asked for, in order.
    """

    hosts: list[str] = field(default_factory=list)


@contextmanager
def loading(*, pickles: bool, code: Path | None = None) -> Iterator[Asked]:
    """Be the only one that loads with ModelScope.

    Args:
        pickles: Whether the caller permits full unpickling.
        code: Where copies of the model's own code go, if it may run.
    """
    with _LOADING, ExitStack() as stack:
        stack.enter_context(running())  # outside, so that another thread's silence cannot outlive ours
        stack.enter_context(_same_process())
        if not pickles:
            stack.enter_context(_tensors_only())
        if code is not None:
            stack.enter_context(_own_registry(code))
        yield stack.enter_context(offline())


@contextmanager
def running() -> Iterator[None]:
    """Silence ModelScope's logger, and send what it prints to stderr, where it disturbs no output."""
    theirs = logging.getLogger("modelscope")
    mine = _Passes()
    theirs.addFilter(mine)
    try:
        with _printing_to_stderr(), _quiet_transformers():
            yield
    finally:
        theirs.removeFilter(mine)


@contextmanager
def _stderr_for_stdout() -> Iterator[None]:
    plain, ours = sys.stdout, sys.stderr
    sys.stdout = ours
    try:
        yield
    finally:
        if sys.stdout is ours:
            sys.stdout = plain


_printing_to_stderr = Shared(_stderr_for_stdout)


class _Passes(logging.Filter):
    """Hands ModelScope's messages to our logger's debug level and lets none through."""

    def filter(self, record: logging.LogRecord) -> bool:
        logger.debug("modelscope: %s", record.getMessage())
        return False


def _quiet_transformers() -> Any:
    if not is_installed("transformers"):
        return nullcontext()
    from modelscope_ext.models.backends._transformers.quiet import quiet

    return quiet()


@contextmanager
def _same_process() -> Iterator[None]:
    """Put back random states, warning filters, environment, search path and working directory."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state()
    environment, path, cwd = dict(os.environ), list(sys.path), os.getcwd()  # noqa: PTH109
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        sys.path[:] = path
        os.chdir(cwd)
        for name in {*os.environ} - {*environment}:
            del os.environ[name]
        os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Make every `torch.load` one with ``weights_only=True``, whatever the caller in ModelScope says."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _UNDO)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


#: Threads inside `offline`, with what they asked for.
_offline: dict[int, Asked] = {}


@contextmanager
def offline() -> Iterator[Asked]:
    """Refuse this thread every look-up of an address while the body runs, and note what it asked for."""
    asked, thread = Asked(), threading.get_ident()
    outer = _offline.get(thread)
    with _LOCK:
        if not _offline:
            _replace_lookup()
        _offline[thread] = asked
    try:
        yield asked
    finally:
        with _LOCK:
            if outer is None:
                del _offline[thread]
            else:
                _offline[thread] = outer
            if not _offline and socket.getaddrinfo is _lookup.get("ours"):
                socket.getaddrinfo = _lookup["plain"]


#: The system's look-up while ours stands in its place, and ours.
_lookup: dict[str, Any] = {}


def _replace_lookup() -> None:
    plain = socket.getaddrinfo

    def looked_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked = _offline.get(threading.get_ident())
        if asked is None:
            return plain(host, *args, **kwargs)
        asked.hosts.append(str(host))
        raise Offline(f"no connection to {host} is made for a local folder")

    _lookup.update(plain=plain, ours=looked_up)
    socket.getaddrinfo = looked_up


@contextmanager
def _own_registry(code: Path) -> Iterator[None]:
    """Keep what the model's own code registers, imports and leaves on the disk to this one load."""
    from modelscope.utils import plugins

    from modelscope_ext.models.backends._modelscope.library import registries

    base, modules = plugins.BASE_MODULE_DIR, set(sys.modules)
    before = [{group: dict(kinds) for group, kinds in one.modules.items()} for one in registries()]
    plugins.BASE_MODULE_DIR = str(code)
    try:
        yield
    finally:
        plugins.BASE_MODULE_DIR = base
        for one, groups in zip(registries(), before, strict=True):
            one.modules.clear()
            one.modules.update(groups)
        for name in [name for name in sys.modules if name not in modules and _lies_in(name, code)]:
            del sys.modules[name]


def _lies_in(name: str, folder: Path) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(folder)
