"""One call in a child process that is bounded and watched; what it did comes back as data.

An audit hook sees programs and requests to servers, and stops both; inotify sees files outside the model's folder that
are opened, also from C or Rust; a mark says that the folder's own code ran. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["BYTES", "PROCESSOR", "WAITING", "load"]

#: A load hangs after so many seconds of processor, or of waiting; and takes too much after so many bytes more.
PROCESSOR, WAITING, BYTES = 10, 60, 10**9
SERVERS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")


def load(call: Callable[[str], object], folder: Path, temporary: Path) -> dict[str, Any]:
    """Return what was seen of a load in a child of this process."""
    mark = temporary / "mark"
    outside = Watch([folder.parent / "model-outside", folder.parent.parent / "outside"])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.environ["EVIL_MARK"] = str(mark)
        _child(call, str(folder), write)
    os.close(write)
    ended = _waited(child)
    with os.fdopen(read, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines() if line.endswith(b"}")]
    seen = {key: sorted({line[key] for line in lines if key in line}) for key in ("program", "server", "error", "text")}
    if mark.exists():
        seen["program"].append("evil.py")
        mark.unlink()
    return {**seen, "outside": outside.seen(), "ended": ended}


def _child(call: Callable[[str], object], folder: str, write: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 2 * PROCESSOR,) * 2)

    def say(**what: str) -> None:
        os.write(write, json.dumps(what).encode() + b"\n")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(PROGRAMS):
            say(program=str(args[1] if event == "subprocess.Popen" else args[0])[:300])
            raise PermissionError("programs are stopped here")
        if event in SERVERS and not (event == "socket.connect" and isinstance(args[1], str | bytes)):
            say(server=str(args[0] if event != "socket.connect" else args[1][0]))
            raise OSError("there is no network here")

    sys.addaudithook(hook)
    try:
        call(folder)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        say(error=type(error).__name__, text=str(error)[:500])
    os._exit(0)


def _waited(child: int) -> str:
    """Wait for a child within its bounds, and return how it ended if not by itself."""
    first, start = _used(child), time.monotonic()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        used, size = (now - then for now, then in zip(_used(child), first, strict=True))
        late = used > PROCESSOR or time.monotonic() - start > WAITING
        if late or size > BYTES:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung" if late else "memory"
        time.sleep(0.01)
    status = os.waitpid(child, 0)[1]
    return f"signal {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else ""


def _used(child: int) -> tuple[float, int]:
    """Return the seconds of processor and the bytes of memory that a child has used."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The files below some folders that are opened, by whatever language; a link that is not followed opens none."""

    def __init__(self, folders: list[Path]) -> None:
        self.c = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.c.inotify_init1(os.O_NONBLOCK)
        for top in folders:
            for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
                if folder.is_dir() and self.c.inotify_add_watch(self.descriptor, os.fsencode(folder), 0x20) < 0:
                    raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def seen(self) -> list[str]:
        """Return the names of what was opened, and stop."""
        try:
            events = os.read(self.descriptor, 2**20)
        except BlockingIOError:
            events = b""
        os.close(self.descriptor)
        names, at = set(), 0
        while at < len(events):
            length = int.from_bytes(events[at + 12 : at + 16], "little")
            folder = int.from_bytes(events[at + 4 : at + 8], "little") & 0x40000000
            names.update([] if folder else [events[at + 16 : at + 16 + length].rstrip(b"\0").decode()])
            at += 16 + length
        return sorted(names)
