"""Step 5 of 6, gate A: what its rules look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import BaseReference, Resolution
    from modelscope_ext.safety.grants import Grants

__all__ = ["Case", "walk"]


@dataclass(frozen=True)
class Case:
    """What the rules look at.

    Attributes:
        resolution: The decision.
        evidence: The facts.
        snapshot: The source, for documents the evidence does not hold.
        grants: What the caller permits.
        runs_code: Whether the chosen backend would run a model's Python at all.
        base_model: The adapter's base as the caller named it, if he did.
        base: Where an adapter of the chosen backend names its base; None for a model of its own.
    """

    resolution: Resolution
    evidence: Evidence
    snapshot: Snapshot
    grants: Grants
    runs_code: bool = True
    base_model: Any = None
    base: BaseReference | None = None

    @property
    def source(self) -> str:
        """The model as the caller named it."""
        return str(self.snapshot.source)

    @cached_property
    def documents(self) -> Mapping[str, Any]:
        """The metadata files that a library would read, also those that decide nothing; indexes of shards left out."""
        found = {name: doc for name, doc in self.evidence.documents.items() if not name.endswith(".index.json")}
        for name in self.snapshot.names:
            base = name.rpartition("/")[2]
            read = base in _ALSO_READ or (base == "config.json" and name.count("/") <= 2)
            if read and name not in found and self.snapshot.has_text(name):
                found[name] = self.snapshot.document(name)
        return found

    @cached_property
    def _places(self) -> Mapping[str, list[tuple[str, str, Any]]]:
        places: dict[str, list[tuple[str, str, Any]]] = {}
        for name, document in self.documents.items():
            for place, key, value in walk(document):
                places.setdefault(key, []).append((name, place, value))
        return places

    def keys(self, *keys: str) -> Iterator[tuple[str, str, Any]]:
        """Yield file, dotted place and value of every key of these names, however deep it lies."""
        for key in keys:
            yield from self._places.get(key, ())

    def named(self, base: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the documents of that file name, in whatever folder."""
        for name, document in self.documents.items():
            if name.rpartition("/")[2] == base and isinstance(document, Mapping):
                yield name, document


#: Read by libraries though they say nothing about framework, backend or task.
_ALSO_READ = frozenset(
    ("sentence_bert_config.json", "router_config.json", "wordembedding_config.json", "processor_config.json",
     "tokenizer_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "adapter_config.json",
     "speaker_embeddings_path.json", "audio_tokenizer_config.json", "modules.json", "generation_config.json")
)  # fmt: skip


def walk(value: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted place, key, value) for every key of nested dicts and lists."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else str(key)
            yield at, str(key), inner
            yield from walk(inner, at)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{place}[{number}]")
