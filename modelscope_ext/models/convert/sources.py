"""What is converted: the source behind its gates, its weight files, and what its settings come to in either library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelNotFound, NotAModel, OptionError
from modelscope_ext.models.backends._mindformers.files import documents_of, weight_files
from modelscope_ext.models.backends._mindformers.settings import describing, settings_of
from modelscope_ext.models.backends._mindformers.tensors import inner_size
from modelscope_ext.models.convert.families import from_transformers, to_transformers
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import Resolution
    from modelscope_ext.safety.limits import Limits

__all__ = ["COPIED", "TARGETS", "Read", "Target", "judged"]

#: Files that both libraries read as they are.
COPIED = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md",
    "NOTICE", "NOTICE.txt",
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """What the settings of a folder come to: in mindformers' keys, and as the new config.json."""

    file: str
    model_type: str
    values: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One direction.

    Attributes:
        origin: The backend whose folders are read.
        reads: The format of their weights.
        writes: The format of the new ones.
        read: Reads a folder's settings: (snapshot, dtype, yaml) -> what they come to.
    """

    origin: str
    reads: str
    writes: str
    read: Callable[[Snapshot, str, str | None], Read]


def judged(
    model: Any, row: Target, yaml: str | None, limits: Limits | None, where: Mapping[str, Any]
) -> tuple[Snapshot, Resolution, tuple[str, ...]]:
    """Return the source, the decision about it and its weight files, after the gates that every load passes."""
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.models import gate
    from modelscope_ext.models.request import Request
    from modelscope_ext.models.resolve import Asked, decide

    strange = sorted(set(where) - set(_WHERE))
    if strange:
        raise OptionError(
            f"{strange[0]!r} is no keyword of convert.{did_you_mean(strange[0], _WHERE)} Beyond its own it takes:"
            f" {listing(_WHERE)}"
        )
    request = Request.of({**where, "limits": limits})
    located = {name: value for name, value in request.values.items() if name != "variant"}
    snapshot = open_snapshot(model, **located, limits=request.grants.limits)
    if snapshot.folder is None:
        raise ModelNotFound(f"{printable(str(snapshot.source))} has no folder to read from; pass the folder")
    evidence = collect(snapshot, limits=request.grants.limits)
    asked = Asked(None, row.origin, None, evidence)
    resolution = decide(evidence, asked, installed=False, variant=request.get("variant"))
    files = _weights(snapshot, evidence, resolution, row, yaml)
    gate.gate_a(resolution, evidence, snapshot, request.grants)
    beside = [name for name in (*COPIED, "config.json") if name in snapshot]
    gate.gate_b(resolution, snapshot, (*files, *beside), request.grants)
    return snapshot, resolution, files


#: Keywords that say where the model is.
_WHERE = ("hub", "revision", "subfolder", "variant", "token", "cache_dir", "local_files_only")


def _weights(
    snapshot: Snapshot, evidence: Evidence, resolution: Resolution, row: Target, yaml: str | None
) -> tuple[str, ...]:
    source = printable(str(snapshot.source))
    weights = resolution.weights
    if not weights.files or weights.format != row.reads:
        there = dict.fromkeys(weight.format for weight in evidence.weights)
        advice = next((_ADVICE[form] for form in there if form in _ADVICE), "")
        has = f"has {listing(there)}" if there else "has none"
        raise NotAModel(f"{source}: {_READS[row.reads]} are read here, and it {has}. {advice}".rstrip())
    if row.origin == "transformers":
        return _complete(snapshot, weights.files)
    return weight_files(snapshot, describing(documents_of(snapshot), source, yaml))


_READS = {"safetensors": "weights in safetensors", "mindspore": "MindSpore's .ckpt files"}
_ADVICE = {
    "pickle": "Save it as safetensors first: model.save_pretrained(folder, safe_serialization=True).",
    "mindspore": "Models of mindformers are converted with to='transformers'.",
    "safetensors": "Models of transformers are converted with to='mindformers'.",
}


def _complete(snapshot: Snapshot, files: tuple[str, ...]) -> tuple[str, ...]:
    from modelscope_ext.models.plan import shards_of

    indexes = [name for name in snapshot.names if name.endswith(".safetensors.index.json")]
    lost = [name for name in shards_of(snapshot, (*files, *indexes)) if name not in snapshot]
    if lost:
        raise ModelNotFound(
            f"{printable(str(snapshot.source))} lacks {listing(map(printable, lost))}: the copy is incomplete; fetch"
            " the missing files"
        )
    return files


# Settings of the two libraries


def _of_transformers(snapshot: Snapshot, dtype: str, yaml: str | None) -> Read:
    from modelscope_ext import __version__

    config = _document(snapshot, "config.json")
    generation = snapshot.document("generation_config.json") if "generation_config.json" in snapshot else {}
    where = f"{printable(str(snapshot.source))}: config.json"
    generation = generation if isinstance(generation, Mapping) else {}
    values = from_transformers(config, generation, dtype, where)
    made = {"converted_by": f"modelscope-ext {__version__}", "mindformers_version": "1.8.0", **values}
    return Read("config.json", str(config["model_type"]), values, made)


def _of_mindformers(snapshot: Snapshot, dtype: str, yaml: str | None) -> Read:
    documents = documents_of(snapshot)
    source = str(snapshot.source)
    file = describing(documents, source, yaml)
    settings = settings_of(documents[file], file, source)
    values = dict(settings.values)
    values["intermediate_size"] = inner_size(values)
    settings = replace(settings, values=values)
    config = to_transformers(settings, dtype, f"{printable(source)}: {printable(file)}")
    return Read(file, config["model_type"], values, config)


def _document(snapshot: Snapshot, name: str) -> Mapping[str, Any]:
    document = snapshot.document(name) if name in snapshot and snapshot.has_text(name) else None
    if not isinstance(document, Mapping):
        raise NotAModel(f"{printable(str(snapshot.source))}: {name}: expected a JSON object that describes the model")
    return document


#: The library to convert to -> how.
TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "mindformers": Target("transformers", "safetensors", "mindspore", _of_transformers),
        "transformers": Target("mindformers", "mindspore", "safetensors", _of_mindformers),
    }
)
