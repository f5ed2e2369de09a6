"""Types and sizes of the keys that decide: checked right after parsing, before anyone relies on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.metadata.declared import CONFIGURATION_KEYS
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import check_name
from modelscope_ext.utils.text import printable

__all__ = ["check_document"]

_NULL = type(None)
_TEXT, _MAP, _TEXTS = (str,), (dict,), (str, list)

# What the top level of a file must be.
_TOP: Mapping[str, tuple[type, str]] = {
    "configuration.json": (dict, "an object"),
    "config.json": (dict, "an object"),
    "model_index.json": (dict, "an object"),
    "adapter_config.json": (dict, "an object"),
    "modules.json": (list, "a list of modules"),
}
# The types of the keys that decide; null is always as good as absent.
_TYPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "config.json": {
        "model_type": _TEXT, "architectures": _TEXTS, "auto_map": _MAP, "_class_name": _TEXTS,
        "id2label": (dict, list), "quantization_config": _MAP,
    },
    "model_index.json": {"_class_name": _TEXTS},
    "adapter_config.json": {
        "peft_type": _TEXT, "task_type": _TEXT, "base_model_name_or_path": _TEXT, "auto_mapping": _MAP,
        "target_modules": (str, list), "rank_pattern": _MAP, "alpha_pattern": _MAP,
    },
    "configuration.json": {
        "framework": _TEXTS, "frameworks": _TEXTS, "backend": _TEXT, "task": _TEXTS, "tasks": _TEXTS,
        "model_type": _TEXTS, "requirement_dependency": _TEXTS, "plugins": _TEXTS, "allow_remote": (bool,),
    },
    ".index.json": {"weight_map": _MAP},
}  # fmt: skip
_NAMES = {str: "a string", dict: "an object", list: "a list", bool: "true or false", int: "an integer",
          float: "a number", _NULL: "null"}  # fmt: skip

# Key -> the limit (a field of Limits) of the size it declares.
_SIZES: Mapping[str, str] = {
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
         "num_decoder_layers", "num_encoder_layers", "depths", "num_blocks", "num_stages", "layers_per_block",
         "transformer_layers_per_block", "num_hidden_groups", "inner_group_num", "num_codebooks", "num_single_layers",
         "mtp_num_layers", "num_nextn_predict_layers", "decoder_depths", "encoder_depths"), "layers"),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "num_attention_heads", "num_key_value_heads", "n_head", "num_heads",
         "head_dim", "block_out_channels", "attention_head_dim", "cross_attention_dim", "r", "lora_r", "rank_pattern",
         "num_experts", "num_local_experts", "n_routed_experts", "n_shared_experts", "moe_num_experts"),
        "width"),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim", "in_features",
         "out_features", "in_channels", "out_channels"), "features"),
    **dict.fromkeys(("vocab_size", "type_vocab_size", "num_embeddings"), "vocabulary"),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "num_train_timesteps", "max_sequence_length"), "steps"),
    **dict.fromkeys(("num_labels", "num_classes"), "labels"),
}  # fmt: skip
# These must be whole numbers above zero where a transformers configuration states them at its top level.
_POSITIVE = frozenset(("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"))
_STRICT = _POSITIVE | {"num_labels", "intermediate_size", "num_key_value_heads", "num_layers", "type_vocab_size"}


def check_document(name: str, document: Any, limits: Limits, *, source: str | None = None) -> None:
    """Check one parsed metadata file.

    Args:
        name: Its relative path.
        document: What was parsed.
        limits: The sizes it may declare.
        source: The model as the caller named it.

    Raises:
        MalformedMetadata: The top level or a deciding key has the wrong type, a size is no whole number.
        LimitExceeded: A size, or the number of labels, beyond the limits.
        PathEscapeRefused: An index of shards, or a list of modules, names something outside the model.

    Example:
        >>> from modelscope_ext.safety.limits import DEFAULT_LIMITS
        >>> check_document("config.json", {"model_type": {}}, DEFAULT_LIMITS)
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.MalformedMetadata: config.json: model_type: expected a string, found an object.
    """
    base = name.rpartition("/")[2]
    top = _TOP.get(base)
    if top is not None and not isinstance(document, top[0]):
        raise MalformedMetadata(
            f"{printable(name)}: expected {top[1]} at the top level, found {_kind(document)}.", file=name, source=source
        )
    kind = ".index.json" if base.endswith(".index.json") else base
    if isinstance(document, dict):
        _check_types(name, document, _TYPES.get(kind, {}), source)
    if base == "modules.json":
        _check_modules(name, document, source)
    elif kind == ".index.json":
        _check_index(name, document, source)
    elif base in ("config.json", "adapter_config.json") or base.endswith("_config.json"):
        _check_sizes(name, document, limits, source, base == "config.json")


def _check_types(
    name: str, document: dict[str, Any], types: Mapping[str, tuple[type, ...]], source: str | None
) -> None:
    if name == "configuration.json" and not _is_ours(document, types):
        return
    for key in types.keys() & document.keys():
        value = document[key]
        if value is not None and not isinstance(value, types[key]):
            expected = " or ".join(_NAMES[t] for t in types[key])
            _malformed(name, key, f"expected {expected}, found {_kind(value)}", source)
        if types[key] is _TEXTS and isinstance(value, list):
            for item in value:
                if item is not None and not isinstance(item, str):
                    _malformed(name, key, f"expected a list of strings, found {_kind(item)} in it", source)


def _is_ours(document: dict[str, Any], types: Mapping[str, tuple[type, ...]]) -> bool:
    """Return whether configuration.json is a model's, so that a wrong type in it is a mistake worth an error."""
    if document.keys() <= CONFIGURATION_KEYS:
        return True
    return any(isinstance(document.get(key), str | list) for key in types.keys() - {"plugins", "backend"})


def _check_modules(name: str, document: list[Any], source: str | None) -> None:
    for number, item in enumerate(document):
        if not isinstance(item, dict):
            _malformed(name, f"[{number}]", f"expected an object, found {_kind(item)}", source)
        for key in ("type", "path"):
            if not isinstance(item.get(key, ""), str):
                _malformed(name, f"[{number}].{key}", f"expected a string, found {_kind(item[key])}", source)
        if item.get("path"):
            check_name(item["path"], file=name, field=f"[{number}].path", source=source)


def _check_index(name: str, document: Any, source: str | None) -> None:
    """Check the names of the shards; the folder of the index is what they are relative to."""
    if not isinstance(document, dict):
        _malformed(name, "", f"expected an object at the top level, found {_kind(document)}", source)
    for key, shard in (document.get("weight_map") or {}).items():
        if not isinstance(shard, str):
            _malformed(name, f"weight_map.{printable(key, 60)}", f"expected a file name, found {_kind(shard)}", source)
    for shard in set((document.get("weight_map") or {}).values()):
        check_name(shard, file=name, field="weight_map", source=source)


def _check_sizes(name: str, document: Any, limits: Limits, source: str | None, strict: bool) -> None:
    if not isinstance(document, dict):
        return
    strict = strict and isinstance(document.get("model_type"), str)
    _check_level(name, "", document, limits, source, strict)
    for key, value in document.items():
        if isinstance(value, dict) and key.endswith("_config"):
            _check_level(name, key + ".", value, limits, source, False)


def _check_level(
    name: str, prefix: str, level: dict[str, Any], limits: Limits, source: str | None, strict: bool
) -> None:
    for key in _SIZES.keys() & level.keys():
        limit = getattr(limits, _SIZES[key])
        value = level[key]
        if type(value) is int and 0 < value <= limit:  # nearly always
            continue
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        for size in parts:
            if strict and key in _STRICT and size is not None:
                _check_whole(name, prefix + key, size, 1 if key in _POSITIVE else 0, source)
            if isinstance(size, int | float) and size > limit:
                _too_much(name, prefix + key, size, _SIZES[key], limit, source)
    _check_labels(name, prefix, level, limits, source)


def _check_whole(name: str, key: str, size: Any, least: int, source: str | None) -> None:
    whole = isinstance(size, int | float) and not isinstance(size, bool) and size == size // 1
    if not whole or size < least:
        shown = _kind(size) if not isinstance(size, int | float) or isinstance(size, bool) else printable(size, 40)
        _malformed(name, key, f"expected a whole number of at least {least}, found {shown}", source)


def _check_labels(name: str, prefix: str, level: dict[str, Any], limits: Limits, source: str | None) -> None:
    listed = level.get("id2label")
    count = len(listed) if isinstance(listed, dict | list) else 0
    if count > limits.labels:
        _too_much(name, prefix + "id2label", count, "labels", limits.labels, source)
    for key in ("num_labels", "num_classes"):
        declared = level.get(key)
        if isinstance(declared, int) and declared > max(limits.unlisted_labels, count):
            _too_much(name, prefix + key, declared, "unlisted_labels", limits.unlisted_labels, source)


def _malformed(name: str, key: str, text: str, source: str | None) -> NoReturn:
    where = f"{printable(name)}: {key}: " if key else f"{printable(name)}: "
    raise MalformedMetadata(f"{where}{text}.", file=name, field=key or None, source=source)


def _too_much(name: str, key: str, size: object, limit_name: str, limit: int, source: str | None) -> NoReturn:
    raise LimitExceeded(
        f"{printable(name)}: {key} declares {printable(size, 40)}; the limit is {limit}. Nothing was allocated. "
        f"If that is right, pass limits=Limits({limit_name}=...).",
        file=name,
        field=key,
        source=source,
        grant="limits",
    )


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
