"""What is measured, row by row: ours, theirs, and the bound that the project set itself."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.batch import batch
from benchmarks.downloads import DOWNLOADS
from benchmarks.first import FIRST, First
from benchmarks.folders import configuration, plain_transformers
from benchmarks.measure import Timer, modules_after, process, repeated
from benchmarks.models import make


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


_FORBIDDEN = {"torch", "transformers", "numpy", "pydantic", "modelscope", "onnxruntime", "PIL", "yaml", "rich"}


#: What pip writes into the file `modelscope-ext`.
_PROGRAM = "import sys; from modelscope_ext.cli import main; sys.exit(main())"


def _imports_nothing_heavy() -> None:
    found = _FORBIDDEN & modules_after("import modelscope_ext")
    if found:
        raise AssertionError(f"import modelscope_ext imports {sorted(found)}")


def _inspect_imports_nothing_heavy() -> None:
    from modelscope_ext.data import digits_folder

    code = f"from modelscope_ext.cli import main; main(['inspect', {str(digits_folder())!r}])"
    found = (_FORBIDDEN - {"yaml", "rich"}) & modules_after(code)
    if found:
        raise AssertionError(f"inspect imports {sorted(found)}")


def _import(_: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    return (
        ("import modelscope_ext", process("-c", "import modelscope_ext")),
        ("import modelscope", process("-c", "import modelscope")),
    )


def _inspect(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    folder = plain_transformers(scratch / "inspected")
    return (
        ("modelscope-ext inspect DIR", process("-c", _PROGRAM, "inspect", str(folder))),
        ("import optimum's TasksManager", process("-c", "from optimum.exporters.tasks import TasksManager")),
    )


def _inspect_and_nothing(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    folder = plain_transformers(scratch / "bare")
    return (
        ("modelscope-ext inspect DIR", process("-c", _PROGRAM, "inspect", str(folder))),
        ("python -c pass", process("-c", "pass")),
    )


def _reading(folder: Path) -> Callable[[], None]:
    """Return what the fastest possible resolver would have to do: list the folder, read and parse the same files."""
    import orjson

    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot

    needed = {*collect(Snapshot.from_folder(folder)).documents, "README.md"}

    def read() -> None:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.path, entry.stat().st_size) for entry in entries]
        for name, path, _ in found:
            if name in needed:
                with open(path, "rb") as stream:
                    data = stream.read()
                if name.endswith(".json"):
                    orjson.loads(data)

    return read


def _resolve(*, card: bool, again: bool) -> Callable[[Path], tuple[tuple[str, Timer], tuple[str, Timer]]]:
    def make(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
        from modelscope_ext.models.resolve import cache_clear, resolve

        folder = plain_transformers(scratch / "model", card=card)
        forget = (lambda: None) if again else cache_clear
        return (
            ("resolve(folder)", repeated(lambda: resolve(folder), before=forget)),
            ("scandir + orjson, same files", repeated(_reading(folder))),
        )

    return make


def _checks(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """What reading and both gates add to a load, against the load itself by the library."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models import gate
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.gate.unchanged import check_unchanged, marks
    from modelscope_ext.models.loader import files_of
    from modelscope_ext.models.resolve import resolve
    from modelscope_ext.safety.grants import Grants

    folder = Path(make("bert", scratch / "bert"))
    resolution, grants = resolve(folder), Grants()
    engine = BACKENDS.get(resolution.backend)

    def checks() -> None:
        snapshot = Snapshot.from_folder(folder)
        seen = marks(folder, snapshot.names)
        evidence = collect(snapshot)
        gate.gate_a(resolution, evidence, snapshot, grants, engine=engine)
        files = files_of(resolution, snapshot, engine)
        gate.gate_b(resolution, snapshot, files, grants)
        check_unchanged(folder, seen, files, source=str(folder))

    def library() -> None:
        AutoTokenizer.from_pretrained(folder, local_files_only=True)
        AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)

    return (("readers and gates", repeated(checks)), ("from_pretrained, tokenizer and model", repeated(library)))


def _config(size: int) -> Callable[[Path], tuple[tuple[str, Timer], tuple[str, Timer]]]:
    def make(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
        from modelscope.utils.config import Config as TheirConfig

        from modelscope_ext.utils.config import Config

        path = str(configuration(scratch / f"configuration-{size}.json", size))
        if Config.from_file(path).to_dict() != TheirConfig.from_file(path).to_dict():
            raise AssertionError(f"the two read {path} differently")
        # Rounds start with a clean heap, so that neither side pays for the other's garbage.
        return (
            ("Config.from_file", repeated(lambda: Config.from_file(path), before=_tidy(size))),
            ("ModelScope's Config.from_file", repeated(lambda: TheirConfig.from_file(path), before=_tidy(size))),
        )

    return make


def _tidy(size: int) -> Callable[[], object]:
    return gc.collect if size > 50_000 else lambda: None


#: Texts of the rows on batches.
_COUNT = 400


def _first(first: First) -> Row:
    return Row(
        f"first prediction, {first.title}",
        first.sides,
        first.at_most,
        memory=1.02,
        repeats=first.repeats,
        needs=first.needs,
    )


def _batch(size: int) -> Row:
    title = f"{_COUNT} texts through BERT of 105 MB, {size} at a time"
    return Row(title, partial(batch, count=_COUNT, size=size), 1 / 2, repeats=3, needs=("torch",))


_READS, _THEIRS, _OPTIMUM = ("orjson",), ("modelscope",), ("optimum",)

ROWS = {
    "import": Row("import, whole process", _import, 1 / 30, check=_imports_nothing_heavy, needs=("modelscope",)),
    "inspect": Row("inspect, cold", _inspect, 1 / 60, repeats=5, check=_inspect_imports_nothing_heavy, needs=_OPTIMUM),
    "inspect-bare": Row("inspect against an empty Python", _inspect_and_nothing, None, repeats=15),
    "resolve": Row("resolve, first time", _resolve(card=False, again=False), 10, repeats=15, needs=_READS),
    "resolve-card": Row(
        "resolve, with a card (YAML)", _resolve(card=True, again=False), None, repeats=15, needs=_READS
    ),
    "resolve-again": Row("resolve, nothing changed", _resolve(card=True, again=True), 3, repeats=15, needs=_READS),
    "config-300B": Row("Config.from_file, 300 B", _config(300), 1 / 10, repeats=11, needs=_THEIRS),
    "config-100kB": Row("Config.from_file, 100 kB", _config(100_000), 1 / 8, repeats=7, needs=_THEIRS),
    "config-2MB": Row("Config.from_file, 2 MB", _config(2_000_000), 1 / 4, repeats=5, needs=_THEIRS),
    "checks": Row("readers and gates, of a load of 105 MB", _checks, 0.03, needs=("torch", "transformers")),
    **{f"first-{name}": _first(first) for name, first in FIRST.items()},
    **{f"batch-{size}": _batch(size) for size in (8, 32)},
    **{
        f"download-{name}": Row(f"download, {one.title}", one.sides, 1 / 0.9, memory=1.1, repeats=5)
        for name, one in DOWNLOADS.items()
    },
    **{
        f"download-{name}-cpu": Row(f"download, {one.title}: processor", one.processor, 1.1, repeats=3)
        for name, one in DOWNLOADS.items()
    },
}
