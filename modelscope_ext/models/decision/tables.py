"""The generated tables in `data/`, read once on first use.

They are made from the libraries' own mappings by ``scripts/make_tables.py``; nothing here imports those libraries.
"""

# ruff: noqa: PTH118, PTH120 - at the start of every short command, where pathlib takes longer than reading
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from modelscope_ext.utils.record import dataclass

__all__ = ["AutoClass", "DiffusersTable", "TransformersTable", "diffusers", "modelscope", "transformers"]

_DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")


@dataclass(frozen=True)
class AutoClass:
    """One of transformers' auto classes and the tasks it stands for, the usual one first."""

    name: str
    tasks: tuple[str, ...]


class TransformersTable:
    """Which auto classes load which architecture and which `model_type`, the most telling first.

    `gguf` holds the ``general.architecture`` of the GGUF files that transformers makes a language model of.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.library: str = data["library"]
        self.autos = tuple(AutoClass(name, tuple(tasks)) for name, tasks in data["autos"])
        self._classes: dict[str, list[int]] = data["classes"]
        self._types: dict[str, list[int]] = data["types"]
        self.gguf = frozenset(data["gguf"])
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
    """The closed table of what a folder of diffusers may name.

    Attributes:
        library: The release it was made from.
        pipelines: Pipeline class -> the tasks of diffusers' auto mappings.
        others: The pipeline classes that are in none of them.
        related: Pipeline class -> task -> the class that runs it with the same components.
        components: Models and schedulers of diffusers.
        schedulers: Scheduler class -> those that can be made of its configuration.
        own: Module of a pipeline -> the component classes defined in it.
        transformers: Tokenizers, processors and encoders of transformers that pipelines take.
    """

    library: str
    pipelines: Mapping[str, tuple[str, ...]]
    others: frozenset[str]
    related: Mapping[str, Mapping[str, str]]
    components: frozenset[str]
    schedulers: Mapping[str, frozenset[str]]
    own: Mapping[str, frozenset[str]]
    transformers: frozenset[str]

    def has_pipeline(self, name: str) -> bool:
        """Say whether diffusers has a pipeline class of that name."""
        return name in self.pipelines or name in self.others

    def has_component(self, library: str, name: str) -> bool:
        """Say whether a pipeline may be made with the class `name` of `library`, as ``model_index.json`` has them.

        Example:
            >>> table = diffusers()
            >>> table.has_component("diffusers", "AutoencoderKL"), table.has_component("os", "system")
            (True, False)
        """
        if library == "diffusers":
            return name in self.components
        if library == "transformers":
            return name in self.transformers or bool(transformers().of_class(name))
        return name in self.own.get(library, ())


@dataclass(frozen=True)
class ModelScopeTable:
    """The types of ModelScope's own index: name -> the tasks it is registered for, in ModelScope's spelling."""

    library: str
    models: Mapping[str, tuple[str, ...]]
    pipelines: Mapping[str, tuple[str, ...]]
    needs: Mapping[tuple[str, str, str], tuple[str, ...]]

    def needs_of(self, kind: str, name: str | None, task: str | None) -> tuple[str, ...]:
        """Return what a type needs installed beyond what every type does.

        Args:
            kind: ``"models"`` or ``"pipelines"``.
            name: The type.
            task: A task it is registered for.
        """
        return self.needs.get((kind, name or "", task or ""), ())


def _read(name: str) -> dict[str, Any]:
    with open(os.path.join(_DATA, name), "rb") as file:
        data: dict[str, Any] = json.load(file)
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
        data["related"],
        frozenset(data["components"]),
        {name: _others(name, row, data["schedulers"]["*"]) for name, row in data["schedulers"].items() if name != "*"},
        {name: frozenset(row) for name, row in data["own"].items()},
        frozenset(data["transformers"]),
    )


def _others(name: str, row: list[str], shared: list[str]) -> frozenset[str]:
    return frozenset((shared if row == ["*"] else row) + [name])


@lru_cache(maxsize=1)
def modelscope() -> ModelScopeTable:
    """Return the table of ModelScope's registered types."""
    data = _read("modelscope.json")
    kinds = ("models", "pipelines")
    models, pipelines = ({name: tuple(tasks) for name, tasks in data[kind].items()} for kind in kinds)
    needs = {
        (kind, name, task): tuple(data["needs"][number])
        for kind in kinds
        for name, tasks in data[kind].items()
        for task, number in tasks.items()
    }
    return ModelScopeTable(data["library"], models, pipelines, needs)
