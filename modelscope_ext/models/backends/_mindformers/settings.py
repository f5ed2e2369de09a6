"""Which file of a mindformers folder describes the model, and what it says: read by our readers, checked, no import.

Two layouts: a yaml of a run with ``model.arch`` and ``model.model_config`` beside a ``.ckpt``, and config.json beside
``mindspore_model.ckpt`` or its index. Where both are there the yaml counts, as in mindformers itself. Paths in either
(``checkpoint_name_or_path``, ``load_checkpoint``, ``pretrained_model_dir``) are never followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    ConfigError,
    LimitExceeded,
    NotAModel,
    UnknownTypeError,
)
from modelscope_ext.models.backends._mindformers.tables import ARCHITECTURES, DTYPES, NOT_SERVED, Architecture
from modelscope_ext.utils.record import dataclass
from modelscope_ext.utils.text import listing, printable

__all__ = ["Settings", "architecture_in", "describing", "is_run", "settings_of"]

#: Numbers that the weights' sizes follow from; one that is missing would be mindformers' default, a 7B model's.
_NEEDED = ("hidden_size", "num_layers", "num_heads", "vocab_size")
#: Sizes beyond which no model is believed: tables of these lengths are made before a weight is read.
_MOST = {
    "num_layers": 10_000, "hidden_size": 2**18, "num_heads": 2**18, "vocab_size": 2**26, "intermediate_size": 2**26,
    "max_position_embedding": 2**22, "seq_length": 2**22, "multiple_of": 2**20, "batch_size": 2**16,
    "num_blocks": 2**20, "block_size": 2**16,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a folder says of its model.

    Attributes:
        file: The file that says it.
        place: Where in it, e.g. ``"model.model_config."``; empty for config.json.
        name: The model's class, a key of `ARCHITECTURES`.
        values: The settings that reach mindformers, checked.
        document: All that the file says.
    """

    file: str
    place: str
    name: str
    values: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def architecture(self) -> Architecture:
        """The row of the class."""
        return ARCHITECTURES[self.name]


def describing(documents: Mapping[str, Any], source: str, wanted: str | None = None) -> str:
    """Return the name of the file that describes the model.

    Args:
        documents: The parsed files by name.
        source: The model as the caller named it.
        wanted: The caller's choice among several.

    Raises:
        AmbiguousModel: Several yaml files do.
        NotAModel: None does, or not the wanted one.

    Example:
        >>> describing({"run.yaml": {"model": {"model_config": {"type": "LlamaConfig"}}}, "config.json": {}}, "m")
        'run.yaml'
    """
    runs = sorted(name for name, document in documents.items() if is_run(name, document))
    if wanted is not None:
        if wanted in runs or (wanted == "config.json" and wanted in documents):
            return wanted
        raise NotAModel(
            f"{printable(source)}: yaml={printable(repr(wanted))}: no such file describes a model of mindformers; "
            f"these do: {listing(runs) or 'none'}"
        )
    if len(runs) > 1:
        raise AmbiguousModel(
            f"{printable(source)}: {listing(map(printable, runs))} each describe a model; pass yaml= with one of them"
        )
    if runs:
        return runs[0]
    if isinstance(documents.get("config.json"), Mapping):
        return "config.json"
    raise NotAModel(
        f"{printable(source)}: no file describes the model: expected NAME.yaml with model.arch and model.model_config,"
        " or config.json, beside the .ckpt"
    )


def is_run(name: str, document: Any) -> bool:
    """Whether a file is a yaml that describes a model of mindformers."""
    model = document.get("model") if isinstance(document, Mapping) else None
    inside = isinstance(model, Mapping) and isinstance(model.get("model_config"), Mapping)
    return name.endswith((".yaml", ".yml")) and "/" not in name and inside


def architecture_in(document: Any) -> str | None:
    """Return the model's class as a file names it, or None; config.json may leave it to its ``model_type``.

    Example:
        >>> architecture_in({"model": {"arch": {"type": "LlamaForCausalLM"}, "model_config": {}}})
        'LlamaForCausalLM'
        >>> architecture_in({"model_type": "llama", "num_layers": 2})
        'LlamaForCausalLM'
    """
    if not isinstance(document, Mapping):
        return None
    model = document.get("model")
    if isinstance(model, Mapping):
        arch = model.get("arch")
        name = arch.get("type") if isinstance(arch, Mapping) else None
    else:
        given = document.get("architectures")
        name = given[0] if isinstance(given, list) and given else given
        if name is None:
            kind = document.get("model_type")
            name = next((n for n, row in ARCHITECTURES.items() if row.model_type == kind), None)
    return name if isinstance(name, str) else None


def settings_of(document: Any, file: str, source: str) -> Settings:
    """Check what `file` says and return it.

    Raises:
        UnknownTypeError: Its class, or the class of its settings, is no name of mindformers.
        BackendNotLoadable: A class or a setting of mindformers that is not served.
        ConfigError: A value of a wrong type, or a size that is missing.
        LimitExceeded: A size that no model has.
    """
    where = f"{printable(source)}: {printable(file)}"
    if not isinstance(document, Mapping):
        raise ConfigError(f"{where}: expected a mapping, found {type(document).__name__}")
    run = isinstance(document.get("model"), Mapping)
    inner = document["model"].get("model_config") if run else document
    place = "model.model_config." if run else ""
    name = architecture_in(document)
    if name is None or name not in ARCHITECTURES or not isinstance(inner, Mapping):
        _refuse(name, where, "model.arch.type" if run else "architectures", file, source)
    row = ARCHITECTURES[name]
    kind = inner.get("type")
    if kind is not None and kind != row.config:
        _refuse(kind, where, f"{place}type", file, source, (row.config,))
    for key, why in NOT_SERVED.items():
        if _asks(key, inner.get(key)):
            raise BackendNotLoadable(
                f"{where}: {place}{key}: {why} is not served here; load it with mindformers itself,"
                " or remove the key if it means nothing"
            )
    values = {key: inner[key] for key in row.keys if inner.get(key) is not None}
    missing = [f"{place}{key}" for key in _NEEDED if key not in values]
    if missing:
        raise ConfigError(f"{where}: {listing(missing)}: not there, so nothing says how large the model is")
    for key, problem in _problems(values, row):
        raise ConfigError(f"{where}: {place}{key}: {problem}")
    for key, most in _MOST.items():
        if values.get(key, 0) > most:
            raise LimitExceeded(
                f"{where}: {place}{key}: {values[key]} is beyond what any model has ({most}). Nothing was allocated.",
                file=file,
                field=f"{place}{key}",
                source=source,
            )
    return Settings(file, place, name, values, document)


def _asks(key: str, value: Any) -> bool:
    """Whether a setting that is not served is really set: files often carry its neutral form."""
    if key == "moe_config":
        return isinstance(value, Mapping) and isinstance(value.get("expert_num"), int) and value["expert_num"] > 1
    return bool(value)


def _problems(values: Mapping[str, Any], row: Architecture) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        kinds = row.keys[key]
        if isinstance(value, bool) is not (kinds == (bool,)) or not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            yield key, f"expected {names}, found {printable(repr(value), 60)}"
        elif kinds == (str,) and key != "extend_method" and value not in DTYPES:
            yield key, f"expected one of {listing(DTYPES)}, found {printable(repr(value), 60)}"
        elif isinstance(value, list) and not (value and all(type(one) is int for one in value)):
            yield key, f"expected whole numbers, found {printable(repr(value), 60)}"
    small = [key for key in (*_MOST, "n_kv_heads") if key in values and values[key] < 1]
    for key in small:
        yield key, f"expected at least 1, found {values[key]}"
    heads, width = values.get("num_heads", 1), values.get("hidden_size", 1)
    if small:
        return
    if width % heads:
        yield "num_heads", f"{heads} heads do not divide the hidden_size of {width}"
    if heads % values.get("n_kv_heads", 1):
        yield "n_kv_heads", f"{values['n_kv_heads']} do not divide the {heads} heads"


def _refuse(
    name: Any, where: str, key: str, file: str, source: str, served: tuple[str, ...] = tuple(ARCHITECTURES)
) -> NoReturn:
    if isinstance(name, str) and name.isidentifier() and name[:1].isupper():
        raise BackendNotLoadable(
            f"{where}: {key} is {printable(name)}, which is not served here; served: {listing(served)}. Load it with"
            " mindformers itself, or register a class for it: @MODELS.register_module(backend='mindformers')"
        )
    if name is None:
        raise ConfigError(f"{where}: {key} is not there; expected one of {listing(served)}")
    raise UnknownTypeError(
        f"{where}: {key} names {printable(name)}, which is not in the closed table of mindformers' classes"
        f" ({listing(served)}). It was not imported, and no argument permits it.",
        file=file,
        field=key,
        source=source,
    )
