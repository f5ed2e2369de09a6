"""Which files a load opens, and whether disk and memory have room for them: counted before anything is fetched."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.resolution import Plan, PlanFile, Resolution
from modelscope_ext.models.room import counted, memory_free, memory_needed
from modelscope_ext.utils.disk import disk_free

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["WHERE", "default_files", "is_metadata", "plan", "plan_of", "shards_of"]

#: Metadata that only ModelScope's own models and libraries without a loader here may read.
_SELDOM_READ = (".jsonl", ".tsv", ".yml")
#: Endings of the files that libraries read beside the weights.
_METADATA = (
    ".json", ".txt", ".model", ".yaml", ".yml", ".jinja", ".tiktoken", ".vocab", ".bpe", ".mvn", ".spm",
    ".pbtxt", ".fst", ".cfg", *_SELDOM_READ,
)  # fmt: skip
#: Metadata in which code may be named.
_WITH_AUTO_MAP = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
#: Files that belong to the repo or to a training run, not to the model.
_NOT_READ = re.compile(
    r"(?:readme|licen[cs]e|notice|.*requirements|changelog|\.?git|citation|contributing|docker|conda|environment"
    r"|mergekit|package(?:-lock)?\.json|robots\.txt|trainer_state|training_args|train_args|sft_args"
    r"|(?:all|train|eval|test|predict)_(?:results?|pred|gold|metrics)|results?\.(?:json|txt)"
    r"|.*metrics\.(?:json|txt)|git_hash|optimizer|scheduler\.(?:pt|bin)|rng_state|events\.out).*",
    re.IGNORECASE,
)
#: Pictures, sound, documents and archives: never part of a model.
_SHOWN = (
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4", ".webm", ".mov", ".wav", ".mp3", ".flac", ".pdf", ".docx",
    ".md", ".ipynb", ".html", ".css", ".js", ".zip", ".rar", ".tgz", ".exe", ".so", ".dll", ".dylib", ".pyc",
)  # fmt: skip
#: Formats of other frameworks' copies.
_COPIES = frozenset(
    ("safetensors", "pickle", "msgpack", "h5", "keras", "saved_model", "tf_checkpoint", "pb", "tflite", "onnx", "rust",
     "coreml", "openvino", "gguf", "ggml", "mindspore", "mindir", "tfjs", "exported", "torchscript", "executorch")
)  # fmt: skip
#: Options that say where a model is, or what may be read of it.
WHERE = ("hub", "revision", "subfolder", "limits", "token", "cache_dir", "local_files_only")
_LARGEST_METADATA = 256 * 2**20


def plan(model: str | Path | Snapshot, **options: Any) -> Plan:
    """Return what a load of `model` would read and need. Nothing is loaded, imported or fetched.

    Of a model on a hub a listing and a few kilobytes of metadata are read.

    Args:
        model: A folder, a hub id, or a Snapshot.
        **options: Those of `resolve`.

    Returns:
        The files by exact name with their bytes, and free disk and memory in bytes.

    Raises:
        ModelScopeExtError: As `resolve`.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> config = '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
        >>> sizes = {"model.safetensors": 400, "README.md": 9, "optimizer.pt": 800}
        >>> [f.name for f in plan(Snapshot.from_mapping({"config.json": config}, sizes), installed=False).files]
        ['config.json', 'model.safetensors']
    """
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.resolve import resolve

    where = {name: options[name] for name in WHERE if name in options}
    snapshot = open_snapshot(model, **where)
    others = {name: value for name, value in options.items() if name not in WHERE or name == "limits"}
    return plan_of(resolve(snapshot, **others), snapshot)


def plan_of(resolution: Resolution, snapshot: Snapshot, names: Iterable[str] | None = None) -> Plan:
    """Return the Plan of a decision that was already made.

    Args:
        resolution: The decision.
        snapshot: What it is about.
        names: The files, where somebody has asked the backend for them already.
    """
    from modelscope_ext.models.builder import BACKENDS

    if names is None and resolution.backend in BACKENDS:
        names = BACKENDS.get(resolution.backend).files(resolution, snapshot)
    chosen = default_files(resolution, snapshot) if names is None else tuple(names)
    here, where = _here(snapshot, chosen)
    files = tuple(PlanFile(n, snapshot.sizes.get(n, 0), snapshot.hashes.get(n), cached=n in here) for n in chosen)
    config = _document(snapshot, "config.json") if "config.json" in chosen else None
    return Plan(
        files,
        sum(file.bytes for file in files),
        sum(file.bytes for file in files if not file.cached),
        disk_free=disk_free(where),
        memory_needed=memory_needed(counted(resolution.weights, snapshot), config),
        memory_free=memory_free(),
    )


def _here(snapshot: Snapshot, names: tuple[str, ...]) -> tuple[frozenset[str], Path | None]:
    """Return which files are on this machine already, and the folder to which the others would go."""
    if snapshot.remote is None:
        return frozenset(names) if snapshot.folder is not None else frozenset(), snapshot.folder
    from modelscope_ext.hub.fetch import cache_of, to_do

    prefix = f"{snapshot.remote.subfolder}/" if snapshot.remote.subfolder else ""
    known = [name for name in names if name in snapshot]
    return frozenset(file.name[len(prefix) :] for file in to_do(snapshot, known).here), cache_of(snapshot)


def default_files(resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the metadata files beside the weights, and the weights that were chosen.

    Metadata are small files with a metadata ending in the model's own folder and in the folders of its weights, and,
    for a pipeline, in every component's folder. Code in the model's own folder is among them only where its metadata
    ask for code (`auto_map`, a module or pipeline class of its own) or ModelScope would import it.
    """
    if not resolution.loadable:
        return _whole_model(resolution, snapshot)
    weights = set(resolution.weights.files)
    folders = {"", *(name.rpartition("/")[0] for name in weights)}
    own = resolution.backend == "modelscope"
    if own or resolution.backend == "mindone":
        folders |= {name.rpartition("/")[0] for name in snapshot.names if name.count("/") == 1}
    endings: tuple[str, ...] = (*_METADATA, ".py") if _asks_for_code(resolution, snapshot) else _METADATA
    endings = endings if own else tuple(ending for ending in endings if ending not in _SELDOM_READ)
    chosen = []
    for name in snapshot.names:
        folder, _, base = name.rpartition("/")
        wanted = folder in folders and snapshot.sizes[name] <= _LARGEST_METADATA and base.lower().endswith(endings)
        if name in weights or (wanted and is_metadata(name, weights)):
            chosen.append(name)
    return tuple(chosen)


def is_metadata(name: str, weights: Collection[str] = ()) -> bool:
    """Whether a file beside the weights may be part of the model: no leftover, and no index of other weights.

    Example:
        >>> is_metadata("config.json"), is_metadata("trainer_state.json")
        (True, False)
        >>> is_metadata("pytorch_model.bin.index.json", {"model.safetensors"})
        False
    """
    base = name.rpartition("/")[2]
    if base.startswith(".") or _NOT_READ.fullmatch(base):
        return False
    if not weights or ".index." not in base or not base.endswith(".json"):
        return True
    stem, _, rest = name.partition(".index.")
    stem, _, ending = stem.rpartition(".")  # model, safetensors
    variant = rest.removesuffix("json").strip(".")
    marked = f"{stem}.{variant}" if variant else stem
    return any(w.startswith((f"{marked}-", f"{stem}-")) and w.endswith(f".{ending}") for w in weights)


def _whole_model(resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
    """Return what a library that has no loader here may read: everything but other copies of the weights and leftovers.

    Which files such a library opens is not known, so that too much is better than too little.
    """
    from modelscope_ext.metadata.weights import format_of

    weights, names = set(resolution.weights.files), frozenset(snapshot.names)
    chosen = []
    for name in snapshot.names:
        form = format_of(name, names)
        other = weights and name not in weights and form in _COPIES
        if name in weights or not (other or name.lower().endswith(_SHOWN) or not is_metadata(name, weights)):
            chosen.append(name)
    return tuple(chosen)


def shards_of(snapshot: Snapshot, files: Iterable[str]) -> tuple[str, ...]:
    """Return the weight files that belong to those among `files` by an index, whether they are there or not.

    An index of which nothing is read, of weights in another format or of an older export, counts for nothing.
    """
    names = set(files)
    found: dict[str, None] = {}
    for name in sorted(names):
        document = _document(snapshot, name) if name.endswith(".index.json") else None
        table = document.get("weight_map") if isinstance(document, Mapping) else None
        folder = name.rpartition("/")[0]
        shards = set(table.values()) if isinstance(table, Mapping) else ()
        placed = [f"{folder}/{shard}" if folder else str(shard) for shard in shards]
        if names & set(placed):
            found.update(dict.fromkeys(sorted(placed)))
    return tuple(found)


def _asks_for_code(resolution: Resolution, snapshot: Snapshot) -> bool:
    """Whether the metadata name code of the model's own; the gates decide whether it may run."""
    if resolution.backend == "modelscope":
        return True
    maps = (_document(snapshot, name) for name in _WITH_AUTO_MAP)
    if any(isinstance(document, Mapping) and document.get("auto_map") for document in maps):
        return True
    index, modules = _document(snapshot, "model_index.json"), _document(snapshot, "modules.json")
    if isinstance(index, Mapping) and isinstance(index.get("_class_name"), list):
        return True
    types = [item.get("type") for item in modules if isinstance(item, Mapping)] if isinstance(modules, list) else []
    return any(not str(name).startswith("sentence_transformers.") for name in types)


def _document(snapshot: Snapshot, name: str) -> Any:
    try:
        return snapshot.document(name) if name in snapshot and snapshot.has_text(name) else None
    except ModelScopeExtError:  # reported where it decides something
        return None
