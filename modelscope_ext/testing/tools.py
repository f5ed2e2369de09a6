"""What the conformance checks share: the attributes a test class sets, loading through the package, and comparing."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import NotAModel
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.outputs import difference
from modelscope_ext.models.schemas import normalise

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.models.base import Model
    from modelscope_ext.testing.nested import Wanted

__all__ = ["GARBAGE", "PLANTED", "Tools", "check", "described_in", "evidence_of", "holders_of", "plant", "raises"]

#: Files that a stranger's folder may hold and nobody may run; each leaves a mark if it is.
PLANTED = ("evil.py", "sitecustomize.py", "conftest.py", "__init__.py", "setup.py", "custom_generate/generate.py")
GARBAGE = b"\x00\xffgarbage that no loader may read\n"


class Tools:
    """The attributes and helpers of `BackendConformance`, which explains them."""

    backend: type[Backend]
    task: ClassVar[str]
    inputs: ClassVar[Sequence[Any]]
    load_options: ClassVar[Mapping[str, Any]] = {}
    predict_options: ClassVar[Mapping[str, Any]] = {}
    call_values: ClassVar[Mapping[str, Any]] = {}
    load_values: ClassVar[Mapping[str, Any]] = {}
    libraries: ClassVar[tuple[str, ...] | None] = None
    damage: ClassVar[tuple[str, ...] | None] = None
    nested: ClassVar[Mapping[str, Wanted | None]] = {}
    saves: ClassVar[bool] = True
    has_raw: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-5

    def make_folder(self, tmp_path: Path) -> Path:
        """Return a folder with a tiny real model of the library. Override."""
        raise NotImplementedError("make_folder(tmp_path) returns a folder with a tiny model")

    def near_misses(self, tmp_path: Path) -> Iterable[Path]:
        """Yield folders that look alike but are not this library's. Override."""
        raise NotImplementedError(
            "override near_misses(tmp_path): yield folders that look alike but are not this library's; an empty folder"
            " is tried anyway"
        )

    def _libraries(self) -> tuple[str, ...]:
        if self.libraries is not None:
            return self.libraries
        from packaging.requirements import Requirement

        return tuple(Requirement(spec).name.replace("-", "_") for spec in self.backend.requires)

    @contextmanager
    def _registered(self) -> Iterator[None]:
        from modelscope_ext.models.builder import BACKENDS

        with BACKENDS.temporary():
            BACKENDS.register(self.backend.name, self.backend, force=True)
            yield

    def _load(self, folder: Path, **options: Any) -> Model:
        from modelscope_ext.models import loader

        with self._registered():
            named = {"backend": self.backend.name, "task": self.task}
            return loader.load(folder, **{**named, **self.load_options, **options})

    @contextmanager
    def _loaded(self, folder: Path, **options: Any) -> Iterator[Model]:
        model = self._load(folder, **options)
        try:
            yield model
        finally:
            model.close()

    @contextmanager
    def _running(self, folder: Path, how: str, **options: Any) -> Iterator[Model]:
        """Load, and blame the backend for a load that fails."""
        model = self._try(lambda: self._load(folder, **options), f"load: {how}")
        try:
            yield model
        finally:
            model.close()

    def _try(self, act: Any, what: str) -> Any:
        try:
            return act()
        except Exception as error:
            raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error

    def _predict(self, model: Model) -> list[Any]:
        items = normalise(self.task, list(self.inputs))[0]
        return model.predict(self.task, items, batch_size=len(items), **self.predict_options)

    def _files(self, folder: Path) -> tuple[str, ...]:
        from modelscope_ext.metadata.snapshot import Snapshot
        from modelscope_ext.models.resolve import resolve

        snapshot = Snapshot.from_folder(folder)
        with self._registered():
            resolution = resolve(snapshot, backend=self.backend.name, task=self.task)
        return tuple(self.backend().files(resolution, snapshot))

    def _compare(self, expected: Sequence[Any], got: Sequence[Any], what: str) -> None:
        found = difference(list(expected), list(got), self.tolerance)
        check(found is None, f"{what} gives other outputs: {found}")


def check(holds: bool, message: str) -> None:
    """Raise AssertionError with `message` unless it holds, also under ``python -O``."""
    if not holds:
        raise AssertionError(message)


def raises(kind: type[Exception], act: Any, what: str) -> None:
    """Raise AssertionError unless `act()` raises `kind`."""
    try:
        act()
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__} instead of {kind.__name__}: {error}") from error
    raise AssertionError(f"{what} was accepted; expected {kind.__name__}")


def evidence_of(folder: Path) -> Evidence:
    """Return what the files of `folder` say."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot

    return collect(Snapshot.from_folder(folder))


def described_in(folder: Path) -> frozenset[str]:
    """Return what `resolve` itself reads: metadata that a backend need not plan."""
    with suppress(NotAModel):
        return frozenset((*evidence_of(folder).documents, *evidence_of(folder).unreadable, "README.md"))
    return frozenset()


def plant(folder: Path, text: str = "raise RuntimeError('this must not run')\n", libraries: Sequence[str] = ()) -> None:
    """Put code into the folder that nobody may run."""
    for name in (*PLANTED, *(f"{library}.py" for library in libraries), "json.py", "sentencepiece.py", "tiktoken.py"):
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def holders_of(value: Any) -> str:
    """Name the types that still refer to `value`."""
    return ", ".join(sorted({type(one).__name__ for one in gc.get_referrers(value)} - {"frame"})) or "a C extension"
