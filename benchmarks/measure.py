"""How things are measured: both sides in turn, each cold process fresh, medians with their spread.

The sides alternate, so that whatever slows the machine down slows both; what is reported is a ratio. Bytecode is kept
in a folder of the run's own and written by a first start of each side that is not counted: neither side compiles its
sources while it is measured, and nothing is written beside them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Timer = Callable[[], float]
"""Does the work once and returns the seconds it took."""


@dataclass(frozen=True)
class Sample:
    """The times of one side.

    Attributes:
        name: What was done.
        seconds: One value a repetition.
    """

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.seconds) < 3:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def alternate(sides: Sequence[tuple[str, Timer]], repeats: int) -> list[Sample]:
    """Run each side once uncounted, then all of them in turn `repeats` times."""
    for _, timer in sides:
        timer()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(repeats):
        for taken, (_, timer) in zip(times, sides, strict=True):
            taken.append(timer())
    return [Sample(name, tuple(taken)) for (name, _), taken in zip(sides, times, strict=True)]


def process(*arguments: str) -> Timer:
    """Time a fresh Python process from its start to its end."""

    def timer() -> float:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments],
            env=_environment(),
            cwd=_scratch(),
            capture_output=True,
            text=True,
            check=False,
        )
        taken = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return taken

    return timer


def repeated(
    work: Callable[[], object], *, before: Callable[[], object] = lambda: None, at_least: float = 0.02
) -> Timer:
    """Time `work` in this process; `before` is not counted.

    One value is the median of as many rounds as last `at_least` seconds: a round in which the processor was taken away
    does not count for much.
    """

    def timer() -> float:
        rounds: list[float] = []
        while sum(rounds) < at_least or len(rounds) < 3:
            before()
            start = time.perf_counter()
            work()
            rounds.append(time.perf_counter() - start)
        return statistics.median(rounds)

    return timer


def modules_after(code: str) -> set[str]:
    """Return the top-level names in `sys.modules` of a fresh process after `code`."""
    script = f"{code}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=_environment(), cwd=_scratch(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


_folder: list[str] = []


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for the files of a run; it is gone afterwards."""
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
    return {**kept, **offline, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": f"{_scratch()}/bytecode"}
