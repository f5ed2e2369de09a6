"""Step 5 of 6, diffusers: what a folder holds, which of its files are read, and the library's errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    MissingRequirement,
    ModelScopeExtError,
    NotAModel,
    WeightsMismatch,
)
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex, component_files, weight_files
from modelscope_ext.safety.grants import Grants
from modelscope_ext.utils.text import printable

__all__ = ["Place", "planned", "refuse_modular"]

_T = TypeVar("_T")

CONFIG = "config.json"


@dataclass(frozen=True)
class Place:
    """A local folder and what may be done with it.

    Attributes:
        path: The folder.
        name: How the user named it, for messages.
        grants: What the caller permits.
        variant: Of the weights, as the caller asked.
    """

    path: Path
    name: str
    grants: Grants
    variant: str | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The relative names of the files in the folder and in the folders right below it."""
        found = [
            *self.path.iterdir(),
            *(inner for one in self.path.iterdir() if one.is_dir() for inner in one.iterdir()),
        ]
        return frozenset(file.relative_to(self.path).as_posix() for file in found if file.is_file())

    def document(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the folder, or an empty dict where there is none."""
        if not (self.path / name).is_file():
            return {}
        from modelscope_ext.safety.reading import parse_json

        data = (self.path / name).read_bytes()
        value = parse_json(data, file=name, limits=self.grants.limits, source=self.name)
        return value if isinstance(value, dict) else {}

    def read(self, what: str, file: str, call: Callable[[], _T]) -> _T:
        """Run `call`, and turn what the library raises into an error that names the part and what mends it."""
        try:
            return call()
        except (ModelScopeExtError, MemoryError):
            raise
        except Exception as error:
            raise _translated(self, what, file, error) from error


def planned(names: Collection[str], index: PipelineIndex | None, variant: str | None) -> tuple[str, ...]:
    """Return exactly the files that a load reads: of the components in the index, or of the one component it is.

    Args:
        names: All names of the folder.
        index: What ``model_index.json`` says, or None for a single component.
        variant: Of the weights.
    """
    if index is None:
        weights = weight_files(names, "", variant)
        return tuple(sorted({*(n for n in (CONFIG,) if n in names), *weights, *component_files(names, "", weights)}))
    found = {INDEX, *(n for n in (f"{index.module}.py",) if n in names)}
    for component in index.components:
        code = (f"{component.name}/{component.library}.py", f"{component.library}.py")
        found.update(name for name in code if name in names)
        weights = weight_files(names, component.name, variant)
        found |= {*weights, *component_files(names, component.name, weights)}
        if component.library == "diffusers" and not any(n.startswith(f"{component.name}/") for n in names):
            found |= {n for n in ("scheduler_config.json",) if n in names and component.kind.endswith("Scheduler")}
    return tuple(sorted(found))


def refuse_modular(place: Place, names: Collection[str]) -> None:
    """Refuse what is recognised as diffusers', but is no pipeline that can be made from its files alone.

    Raises:
        BackendNotLoadable: A modular pipeline: its blocks are put together by code, and its components lie elsewhere.
    """
    index = place.document(INDEX)
    triple = next((key for key, v in index.items() if isinstance(v, list) and len(v) == 3 and key[:1] != "_"), None)
    if "modular_model_index.json" not in names and triple is None:
        return
    file = INDEX if triple else "modular_model_index.json"
    if INDEX in names and triple is None:
        return  # a whole pipeline lies beside it
    raise BackendNotLoadable(
        f"{place.name}: {file}" + (f": {printable(triple)}" if triple else "") + ": a modular pipeline of diffusers. It"
        " is recognised, not loaded: its components may come from other repositories, and its blocks are put together"
        " by code. Load it with diffusers.ModularPipeline.from_pretrained, or take the repository's model_index.json"
        " form."
    )


def _translated(place: Place, what: str, file: str, error: Exception) -> Exception:
    detail = printable(" ".join(str(error).split()), 400)
    kind = type(error).__name__
    if isinstance(error, ImportError):
        name = getattr(error, "name", None)
        advice = f" pip install {name}" if name else ""
        return MissingRequirement(f"{place.name}: {what} needs a package that is not installed: {detail}{advice}")
    if "expected shape" in detail or "size mismatch" in detail or "shapes did not match" in detail:
        return WeightsMismatch(f"{place.name}: {what}: the weights do not fit {file}: {detail}")
    if kind == "SafetensorError" or isinstance(error, EOFError):
        return MalformedMetadata(f"{place.name}: {what} is damaged: {detail}", source=place.name)
    if isinstance(error, OSError):
        return NotAModel(f"{place.name}: {what} cannot be found by diffusers: {detail}")
    return MalformedMetadata(f"{place.name}: {what} cannot be used ({kind}: {detail})", source=place.name, file=file)
