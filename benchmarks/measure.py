"""How things are measured: both sides in turn, each cold process fresh, medians with their spread.

The sides alternate, so that whatever slows the machine down slows both; what is reported is a ratio. Bytecode is kept
in a folder of the run's own and written by a first start of each side that is not counted: neither side compiles its
sources while it is measured, and nothing is written beside them.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """What doing it once took.

    Attributes:
        seconds: Wall time.
        peak: The process's largest resident size in bytes; None where no process of its own did the work.
    """

    seconds: float
    peak: int | None = None


Timer = Callable[[], Cost]
"""Does the work once and returns what it took."""


@dataclass(frozen=True)
class Sample:
    """One quantity of one side.

    Attributes:
        name: What was done.
        values: One a repetition, in seconds or bytes.
    """

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """In the unit of the values."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.values) < 3:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4)
        return (high - low) / 2 / self.median


def alternate(sides: Sequence[tuple[str, Timer]], repeats: int) -> list[list[Cost]]:
    """Run each side once uncounted, then all of them in turn `repeats` times; return each side's costs."""
    for _, timer in sides:
        timer()
    costs: list[list[Cost]] = [[] for _ in sides]
    for _ in range(repeats):
        for taken, (_, timer) in zip(costs, sides, strict=True):
            taken.append(timer())
    return costs


def process(*arguments: str, terminal: bool = False) -> Timer:
    """Time a fresh Python process from its start to its end; with `terminal` it writes to one."""

    def timer() -> Cost:
        start = time.perf_counter()
        code, said = (_on_terminal if terminal else _captured)([sys.executable, *_profiled(*arguments)])
        taken = time.perf_counter() - start
        if code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {code}: {said[-2000:]}")
        return Cost(taken)

    return timer


def _captured(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, env=_environment(), cwd=_scratch(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def _on_terminal(command: list[str]) -> tuple[int, str]:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env={**_environment(), "TERM": "xterm-256color", "COLUMNS": "100"}, cwd=_scratch(),
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as child:  # fmt: skip
        os.close(theirs)
        said = bytearray()
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other end was closed
                break
            if not piece:
                break
            said += piece
        os.close(ours)
    return child.returncode, said.decode("utf-8", "replace")


class Answering:
    """A fresh Python process that prints an answer: the time from its start to the answer, and its peak memory.

    It is started and watched by a bare Python, because a process inherits the largest size of the one that starts it.

    Args:
        code: What it runs.
        *arguments: Its `sys.argv[1:]`.
        status: How it must end; None: it does not matter.

    Attributes:
        answer: What it printed last, read as JSON; None before the first run.
        lines: How many lines it printed.
    """

    def __init__(self, code: str, *arguments: str, status: int | None = 0) -> None:
        self.command = (sys.executable, "-u", "-c", code, *arguments)  # an answer is seen when it is printed
        self.status = status
        self.answer: Any = None
        self.lines = 0

    def __call__(self) -> Cost:
        """Run it once."""
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _WATCH, *self.command[:2], *_profiled(*self.command[2:])],
            env=_environment(),
            cwd=_scratch(),
            capture_output=True,
            text=True,
            check=False,
        )
        seen = json.loads(done.stdout) if done.returncode == 0 else {"status": done.returncode}
        if "seconds" not in seen or self.status not in (None, seen["status"]):
            raise RuntimeError(f"{self.command[3:]} ended with {seen['status']}: {done.stderr[-2000:]}")
        self.answer, self.lines = json.loads(seen["answer"]), seen["lines"]
        return Cost(seen["seconds"], seen["peak"])


_WATCH = """
import json, os, subprocess, sys, time
start, answer, lines = time.perf_counter(), "", 0
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
for line in child.stdout:
    answer, seconds, lines = line, time.perf_counter() - start, lines + 1
_, status, used = os.wait4(child.pid, 0)
child.returncode = status
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if answer:
    print(json.dumps({"status": status, "answer": answer, "lines": lines, "seconds": seconds, "peak": peak}))
else:
    print(json.dumps({"status": status or "nothing to say"}))
"""


def repeated(
    work: Callable[[], object], *, before: Callable[[], object] = lambda: None, at_least: float = 0.02, rounds: int = 3
) -> Timer:
    """Time `work` in this process; `before` is not counted.

    One value is the median of at least `rounds` rounds, and of as many as last `at_least` seconds: a round in which
    the processor was taken away does not count for much.
    """

    def timer() -> Cost:
        taken: list[float] = []
        while sum(taken) < at_least or len(taken) < rounds:
            before()
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        return Cost(statistics.median(taken))

    return timer


def each(timer: Timer, count: float) -> Timer:
    """Return a timer whose seconds are those of one of `count`; the memory is that of all."""

    def once() -> Cost:
        cost = timer()
        return Cost(cost.seconds / count, cost.peak)

    return once


def modules_after(code: str) -> set[str]:
    """Return the top-level names in `sys.modules` of a fresh process after `code`."""
    script = f"{code}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=_environment(), cwd=_scratch(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def profile(timer: Timer) -> pstats.Stats:
    """Do a timer's work once under cProfile: what runs in this process, or in the last one that was started for it."""
    here, file = cProfile.Profile(), Path(_scratch()) / "profile"
    _profile.append(str(file))
    try:
        here.runcall(timer)
    finally:
        _profile.pop()
    return pstats.Stats(str(file)) if file.exists() else pstats.Stats(here)


def _profiled(*arguments: str) -> tuple[str, ...]:
    """Return the arguments of a Python process, such that it leaves a profile where one is asked for."""
    if not _profile or arguments[0] != "-c":
        return arguments
    code = f"""
import cProfile
profile, scope = cProfile.Profile(), {{"__name__": "__main__"}}
try:
    profile.runctx(compile({arguments[1]!r}, "<row>", "exec"), scope, scope)
finally:
    profile.dump_stats({_profile[-1]!r})
"""
    return ("-c", code, *arguments[2:])


_profile: list[str] = []
_folder: list[str] = []


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for the files of a run or, inside it, of one row; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _folder.append(folder)
        try:
            yield Path(folder)
        finally:
            _folder.pop()


def _scratch() -> str:
    return _folder[-1]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, **offline, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": f"{_folder[0]}/bytecode"}
