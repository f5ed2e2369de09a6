"""What the tests proved, written down for the compatibility page: ``pytest --record-compatibility=.compat/pt.json``.

A task of a backend is proven by a test that passed, in which that backend ran the task, and in which `tests.equality`
found the answers equal to the library's own. `assert_equal` takes nothing else; `assert_close`, which also compares our
answers with each other, counts where what it was given comes from `tests.reference`, or from numpy where the graph was
made by hand (`tests.tiny.onnx_.expected`). On a GPU (a file called
``gpu.json``) the comparison is with the CPU, whose answers are compared with the library's elsewhere.

The record names the environment (the file's name), the releases of the libraries that the backend requires, and the
tests. It is complete when a run of all tests, or of all in ``tests/models/backends``, was green.
``scripts/make_compatibility.py`` makes the page of all records.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.models.backend import Backend
from modelscope_ext.models.backends import BUILTINS
from modelscope_ext.utils.distributions import installed
from tests import equality, reference

__all__ = ["Recorder"]

#: The one test whose failure says that this record is missing.
_READER = "tests/test_compatibility.py"

#: So deep inside an answer of the library its parts are known again.
_DEPTH = 4


class Recorder:
    """A plug-in of pytest.

    Attributes:
        path: Where the record goes.
        proven: backend -> task -> test function -> how many of its cases passed.
        engines: The backends that ran, by name.
    """

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.path = path
        self.complete = _is_whole(config)
        self.proven: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self.engines: dict[str, Backend] = {}
        self.answers: dict[int, Any] = {}  # the library's, kept alive so that an id stays one object's
        self.ran: set[tuple[str, str]] = set()
        self.depth = 0
        self.asked = self.compared = False

    def pytest_sessionstart(self) -> None:
        """Listen to backends, to the library's answers and to comparisons."""
        for row in BUILTINS.values():
            module, _, name = row.path.partition(":")
            kind = getattr(__import__(module, fromlist=[name]), name)
            if not hasattr(kind.predict, "__wrapped__"):
                kind.predict = self._listening(kind.predict)
        reference.OBSERVERS.append(self._answered)
        equality.OBSERVERS.append(self._compared)

    def _listening(self, predict: Any) -> Any:
        @functools.wraps(predict)
        def listening(engine: Backend, native: Any, task: str, *args: Any, **options: Any) -> Any:
            self.depth += 1
            try:
                outputs = predict(engine, native, task, *args, **options)
            finally:
                self.depth -= 1
            if not self.depth:  # a backend may hand the work on to another
                self.ran.add((engine.name, task))
                self.engines[engine.name] = engine
            return outputs

        return listening

    def _answered(self, answer: Any) -> None:
        self.asked = True
        self.answers.update((id(part), part) for part in _parts(answer))

    def _compared(self, theirs: Any, *, library: bool) -> None:
        known = library or self.asked or self.path.stem == "gpu"
        self.compared |= known or any(id(part) in self.answers for part in _parts(theirs))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Forget the test before."""
        self.ran.clear()
        self.asked = self.compared = False
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test proved when it has passed."""
        if report.failed and not report.nodeid.startswith(_READER):
            self.complete = False
        if report.when == "call" and report.passed and self.compared:
            for backend, task in self.ran:
                self.proven[backend][task][report.nodeid.partition("[")[0]] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected makes the record incomplete."""
        self.complete &= not report.failed

    def pytest_sessionfinish(self) -> None:
        """Write the record."""
        record = {
            "complete": self.complete,
            "python": platform.python_version(),
            "card": _card(),
            "backends": {
                name: {
                    "versions": _versions(self.engines[name]),
                    "tasks": {task: dict(sorted(tests.items())) for task, tests in sorted(tasks.items())},
                }
                for name, tasks in sorted(self.proven.items())
            },
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _is_whole(config: pytest.Config) -> bool:
    """Whether nothing was left out that could prove something: all tests, or at least those of the backends."""
    if any(config.getoption(name) for name in ("keyword", "deselect", "ignore", "ignore_glob")):
        return False
    backends = Path(__file__).parent / "models" / "backends"
    asked = [Path(arg).resolve() for arg in config.args]
    return config.args_source is config.ArgsSource.TESTPATHS or any(
        one == backends or one in backends.parents for one in asked
    )


def _parts(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield the lists and dicts in `value`, itself included."""
    if isinstance(value, list | tuple | dict):
        if value:
            yield value
        for part in value.values() if isinstance(value, dict) else value:
            if depth and isinstance(part, list | tuple | dict):
                yield from _parts(part, depth - 1)


def _versions(engine: Backend) -> dict[str, str]:
    """Return the installed releases of what the backend requires, without a local part such as ``+cpu``."""
    from packaging.requirements import Requirement

    names = [Requirement(text).name for text in engine.requires]
    found = {name: installed(name) for name in names}
    return {name: one.version.partition("+")[0] for name, one in found.items() if one is not None}


def _card() -> str | None:
    """Return the GPU that torch sees, if it was used at all."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch is not None and torch.cuda.is_available() else None
