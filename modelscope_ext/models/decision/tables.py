"""The generated tables in `data/`, read once on first use.

They are made from the libraries' own mappings by ``scripts/make_tables.py``; nothing here imports those libraries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["AutoClass", "DiffusersTable", "TransformersTable", "diffusers", "modelscope", "transformers"]

_DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class AutoClass:
    """One of transformers' auto classes and the tasks it stands for, the usual one first."""

    name: str
    tasks: tuple[str, ...]


class TransformersTable:
    """Which auto classes load which architecture and which `model_type`, the most telling first."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.library: str = data["library"]
        self.autos = tuple(AutoClass(name, tuple(tasks)) for name, tasks in data["autos"])
        self._classes: dict[str, list[int]] = data["classes"]
        self._types: dict[str, list[int]] = data["types"]
        self._folded: dict[str, str] | None = None

    def of_class(self, architecture: str) -> tuple[AutoClass, ...]:
        """Return the auto classes of an architecture, empty for one that transformers does not have."""
        indices = self._classes.get(architecture)
        if indices is None:
            indices = self._classes.get(self._unfold(architecture), [])
        return tuple(self.autos[i] for i in indices)

    def of_type(self, model_type: str) -> tuple[AutoClass, ...]:
        """Return the auto classes that have an entry for a `model_type`."""
        return tuple(self.autos[i] for i in self._types.get(model_type, ()))

    def knows_type(self, model_type: object) -> bool:
        """Say whether transformers has a configuration of that `model_type`."""
        return isinstance(model_type, str) and model_type in self._types

    def has_head(self, model_type: object, auto: str) -> bool:
        """Say whether a `model_type` has an entry under an auto class."""
        return isinstance(model_type, str) and any(self.autos[i].name == auto for i in self._types.get(model_type, ()))

    def _unfold(self, architecture: str) -> str:
        """Return the library's spelling of a class that is written with other capitals."""
        if self._folded is None:
            self._folded = {name.lower(): name for name in self._classes}
        return self._folded.get(architecture.lower(), architecture)


@dataclass(frozen=True)
class DiffusersTable:
    """diffusers' pipelines with the tasks of its auto mappings, the other pipelines, and the component classes."""

    library: str
    pipelines: Mapping[str, tuple[str, ...]]
    others: frozenset[str]
    components: frozenset[str]


@dataclass(frozen=True)
class ModelScopeTable:
    """The types of ModelScope's own index: name -> the tasks it is registered for, in ModelScope's spelling."""

    library: str
    models: Mapping[str, tuple[str, ...]]
    pipelines: Mapping[str, tuple[str, ...]]


def _read(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((_DATA / name).read_bytes())
    return data


@lru_cache(maxsize=1)
def transformers() -> TransformersTable:
    """Return the table of transformers' architectures."""
    return TransformersTable(_read("transformers.json"))


@lru_cache(maxsize=1)
def diffusers() -> DiffusersTable:
    """Return the table of diffusers' classes."""
    data = _read("diffusers.json")
    return DiffusersTable(
        data["library"],
        {name: tuple(tasks) for name, tasks in data["pipelines"].items()},
        frozenset(data["others"]),
        frozenset(data["components"]),
    )


@lru_cache(maxsize=1)
def modelscope() -> ModelScopeTable:
    """Return the table of ModelScope's registered types."""
    data = _read("modelscope.json")
    rows = ({name: tuple(tasks) for name, tasks in data[kind].items()} for kind in ("models", "pipelines"))
    return ModelScopeTable(data["library"], *rows)
