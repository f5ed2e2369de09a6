"""What a piece of code did to the process: files opened, modules asked for, sockets, programs; and what it left behind.

An audit hook (PEP 578) cannot be removed, so one is installed on first use and listens only inside `witness()`.
"""

from __future__ import annotations

import builtins
import importlib
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Record", "left_behind", "offline", "state", "witness"]

_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")
_SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


@dataclass
class Record:
    """What happened inside one `witness()`.

    Attributes:
        opened: Files and folders that Python opened or listed, absolute.
        imported: Top-level names of modules that were asked for, loaded already or not.
        sockets: Addresses.
        programs: Programs that were started.
        executed: Files whose code was compiled or run.
        listener: Called with each file or folder as it is opened, on the stack of whoever opens it.
    """

    opened: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    listener: Callable[[str], None] | None = None

    def below(self, folder: Path) -> list[str]:
        """Return what was opened inside `folder`, as names relative to it."""
        root = os.path.realpath(folder) + os.sep
        return sorted({name[len(root) :] for name in self.opened if name.startswith(root)})

    def ran_below(self, folder: Path) -> list[str]:
        """Return the code files inside `folder` that were compiled or run."""
        root = os.path.realpath(folder) + os.sep
        return sorted({name[len(root) :] for name in self.executed if name.startswith(root)})


_local = threading.local()
_lock = threading.Lock()
_installed: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    record: Record | None = getattr(_local, "record", None)
    if record is None or getattr(_local, "busy", False):
        return
    _local.busy = True
    try:
        _note(record, event, args)
    finally:
        _local.busy = False


def _note(record: Record, event: str, args: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and args and isinstance(args[0], str | bytes | os.PathLike):
        record.opened.append(os.path.realpath(os.fsdecode(args[0])))
        if record.listener is not None:
            record.listener(record.opened[-1])
    elif event.startswith(_PROGRAMS):
        record.programs.append(str(args[0]) if args else event)
    elif event in _SOCKETS:
        record.sockets.append(f"{event} {args[1:]}")
    elif event in ("compile", "exec") and args:
        code = args[0] if event == "exec" else (args[1] if len(args) > 1 else None)
        name = getattr(code, "co_filename", code)
        if isinstance(name, str) and name and not name.startswith("<"):
            record.executed.append(os.path.realpath(name))


@contextmanager
def witness() -> Iterator[Record]:
    """Yield a `Record` that fills while the body runs, for this thread.

    Example:
        >>> with witness() as seen:
        ...     import json
        >>> seen.imported
        ['json']
    """
    with _lock:
        if not _installed:
            sys.addaudithook(_hook)
            _installed.append(True)
    record = Record()
    plain_import, plain_module = builtins.__import__, importlib.import_module

    def spying_import(name: str, *args: Any, **kwargs: Any) -> Any:
        level = args[3] if len(args) > 3 else kwargs.get("level", 0)
        if not level and getattr(_local, "record", None) is record:
            record.imported.append(name.partition(".")[0])
        return plain_import(name, *args, **kwargs)

    def spying_module(name: str, package: str | None = None) -> Any:
        if not name.startswith(".") and getattr(_local, "record", None) is record:
            record.imported.append(name.partition(".")[0])
        return plain_module(name, package)

    builtins.__import__, importlib.import_module = spying_import, spying_module
    _local.record = record
    try:
        yield record
    finally:
        _local.record = None
        builtins.__import__, importlib.import_module = plain_import, plain_module


@contextmanager
def offline() -> Iterator[list[str]]:
    """Yield a list of what asked for the network while the body ran; each request fails as without a connection.

    Example:
        >>> import contextlib, socket
        >>> with offline() as used, contextlib.suppress(OSError):
        ...     socket.create_connection(("localhost", 80))
        >>> used
        ["getaddrinfo ('localhost', 80)"]
    """
    import socket

    used: list[str] = []
    plain = {name: getattr(socket, name) for name in ("socket", "getaddrinfo", "gethostbyname")}

    def refuse(name: str) -> Any:
        def refused(*args: Any, **kwargs: Any) -> Any:
            used.append(f"{name} {args[:2]}")
            raise socket.gaierror(f"{name}: the network is off")

        return refused

    class Socket(plain["socket"]):  # type: ignore[misc, valid-type]
        def __new__(cls, family: int = -1, *args: Any, **kwargs: Any) -> Any:
            if family == getattr(socket, "AF_UNIX", None):
                return plain["socket"](family, *args, **kwargs)
            return refuse("socket")(family)

    socket.socket = Socket  # type: ignore[misc]
    socket.getaddrinfo, socket.gethostbyname = refuse("getaddrinfo"), refuse("gethostbyname")
    try:
        yield used
    finally:
        for name, value in plain.items():
            setattr(socket, name, value)


def state() -> dict[str, Any]:
    """Return what a load must leave as it found it."""
    found: dict[str, Any] = {
        "the working directory": os.getcwd(),  # noqa: PTH109
        "sys.path": list(sys.path),
        "the environment": dict(os.environ),
        "the warning filters": list(warnings.filters),
        "the recursion limit": sys.getrecursionlimit(),
        "random's state": random.getstate(),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found["numpy's random state"] = repr(numpy.random.get_state())
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch's random state"] = torch.get_rng_state().tolist()
        found["torch's default dtype"] = torch.get_default_dtype()
    return found


def left_behind(before: dict[str, Any]) -> list[str]:
    """Return the names of what differs from `before`."""
    after = state()
    return [name for name, value in before.items() if after[name] != value]
