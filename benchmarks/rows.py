"""What is measured, row by row: ours, theirs, and the bound that the project set itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks import commands, configs, decisions, gates, registries
from benchmarks.batch import batch, batch_growth
from benchmarks.downloads import DOWNLOADS
from benchmarks.first import FIRST, First
from benchmarks.jobs import JOBS
from benchmarks.measure import Timer
from benchmarks.serving import serving


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        title: What a reader sees.
        make: Returns the two sides, (name, timer) each, ours first; called with a scratch folder.
        at_most: The largest ratio of ours to theirs in time that is fine; None for a figure without a bound.
        memory: The same for peak memory; None where it is not measured.
        repeats: How often each side is measured.
        check: Raises when the comparison would not be fair or its claim not true.
        needs: Import names without which it cannot be measured: it belongs to another environment.
    """

    title: str
    make: Callable[[Path], tuple[tuple[str, Timer], tuple[str, Timer]]]
    at_most: float | None
    memory: float | None = None
    repeats: int = 9
    check: Callable[[], None] = field(default=lambda: None)
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What of `needs` is not installed here."""
        return tuple(name for name in self.needs if find_spec(name) is None)


#: Texts of the rows on batches.
_COUNT = 1000

#: By how much one of many may cost more than one of few where what is done grows linearly: caches of the processor and
#: memory that is used for the first time.
_LINEAR = 1.25


def _first(first: First) -> Row:
    return Row(
        f"first prediction, {first.title}",
        first.sides,
        first.at_most,
        memory=first.memory,
        repeats=first.repeats,
        needs=first.needs,
    )


def _batch(size: int) -> Row:
    title = f"{_COUNT:,} texts through BERT of 105 MB, {size} at a time"
    return Row(title, partial(batch, count=_COUNT, size=size), 1 / 2, repeats=3, needs=("torch",))


def _bare(title: str, bound: float, *, terminal: bool) -> Row:
    return Row(title, partial(commands.inspect_bare, terminal=terminal), bound, repeats=15)


def _resolve(title: str, bound: float | None, *, card: bool, again: bool) -> Row:
    return Row(title, partial(decisions.resolve, card=card, again=again), bound, repeats=15, needs=("orjson",))


def _config(title: str, bound: float, size: int, repeats: int) -> Row:
    return Row(
        f"Config.from_file, {title}", partial(configs.read, size=size), bound, repeats=repeats, needs=("modelscope",)
    )


def _operation(name: str, size: int, bound: float | None) -> Row:
    title = f"Config {name}, {_SIZES[size]}"
    return Row(title, partial(configs.operation, name=name, size=size), bound, repeats=7, needs=("modelscope",))


_SIZES = {300: "300 B", 100_000: "100 kB", 2_000_000: "2 MB"}

#: Operation -> the largest ratio that is fine. Writing has no bound of its own.
_OPERATIONS: dict[str, float | None] = {"access": 1 / 1.5, "merge": 1.0, "deepcopy": 1.0, "dump": None}

_SERVER = ("fastapi", "uvicorn", "prometheus_client")
#: Job -> what it needs to be measured, where that is not PyTorch alone.
_JOBS_NEED: dict[str, tuple[str, ...]] = {"ray": ("torch", "ray"), "memory": ()}

ROWS = {
    "import": Row(
        "import, whole process", commands.import_, 1 / 40, check=commands.imports_nothing_heavy, needs=("modelscope",)
    ),
    "inspect": Row(
        "inspect, cold",
        commands.inspect,
        1 / 60,
        repeats=5,
        check=commands.inspect_imports_nothing_heavy,
        needs=("optimum",),
    ),
    "inspect-bare": _bare("inspect --json, cold", 6, terminal=False),
    "inspect-terminal": _bare("inspect on a terminal, cold", 10, terminal=True),
    "resolve": _resolve("resolve, first time", 8, card=False, again=False),
    "resolve-card": _resolve("resolve, with a card (YAML)", None, card=True, again=False),
    "resolve-again": _resolve("resolve, nothing changed", 3, card=True, again=True),
    "scan": Row("scan of 10,000 folders", partial(decisions.scan, count=10_000), 8, repeats=3, needs=("orjson",)),
    "scan-one": Row(
        "scan of 10,000 folders by one process",
        partial(decisions.scan, count=10_000, options=("--jobs", "1")),
        None,
        repeats=3,
        needs=("orjson",),
    ),
    "scan-few": Row("scan of 10 folders", partial(decisions.scan, count=10), None, repeats=5, needs=("orjson",)),
    "scan-growth": Row(
        "scan: one of 100,000 folders / one of 10,000",
        partial(decisions.scan_growth, few=10_000, many=100_000),
        _LINEAR,
        memory=1.1,
        repeats=2,
        needs=("orjson",),
    ),
    "config-300B": _config("300 B", 1 / 10, 300, 11),
    "config-100kB": _config("100 kB", 1 / 8, 100_000, 7),
    "config-2MB": _config("2 MB", 1 / 4, 2_000_000, 5),
    "config-growth": Row(
        "Config.from_file: a kB of 20 MB / a kB of 2 MB",
        partial(configs.growth, small=2_000_000, large=20_000_000),
        _LINEAR,
        repeats=3,
    ),
    **{
        f"{name}-{_SIZES[size].replace(' ', '')}": _operation(name, size, bound)
        for name, bound in _OPERATIONS.items()
        for size in ((300,) if name == "access" else _SIZES)
    },
    "pretty": Row("pretty_text, 100 kB / yapf", partial(configs.pretty, size=100_000), 1 / 20, repeats=3),
    "registry-get": Row("registry, look-up", registries.get, 1 / 2, needs=("modelscope",)),
    "registry-build": Row("registry, build", registries.build, 1 / 2, needs=("modelscope",)),
    "registry-first": Row(
        "registry, import and first build", registries.first_build, 1 / 2, repeats=5, needs=("modelscope",)
    ),
    "checks": Row("readers and gates, of a load of 105 MB", gates.checks, 0.03, needs=("torch", "transformers")),
    **{f"first-{name}": _first(first) for name, first in FIRST.items()},
    **{f"batch-{size}": _batch(size) for size in (8, 32)},
    "serve-steady": Row(
        "16 clients, a model of 20 ms and 1 ms an input: batches against one at a time",
        partial(serving, real=False),
        1 / 2,
        repeats=3,
        needs=_SERVER,
    ),
    "serve-bert": Row(
        "16 clients, BERT of 105 MB on the CPU: batches against one at a time",
        partial(serving, real=True),
        None,
        repeats=3,
        needs=(*_SERVER, "torch"),
    ),
    "batch-growth": Row(
        "texts through a tiny BERT: one of 10,000 / one of 1,000",
        partial(batch_growth, few=1_000, many=10_000),
        _LINEAR,
        repeats=3,
        needs=("torch",),
    ),
    **{
        f"job-{name}": Row(title, make, at_most, memory, repeats, needs=_JOBS_NEED.get(name, ("torch",)))
        for name, (title, make, at_most, memory, repeats) in JOBS.items()
    },
    **{
        f"download-{name}": Row(f"download, {one.title}", one.sides, 1 / 0.9, memory=1.1, repeats=5)
        for name, one in DOWNLOADS.items()
    },
    **{
        f"download-{name}-cpu": Row(f"download, {one.title}: processor", one.processor, 1.1, repeats=3)
        for name, one in DOWNLOADS.items()
    },
}
