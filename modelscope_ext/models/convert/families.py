"""The model types that are converted between transformers and mindformers: their tensors and their settings, as tables.

Both libraries hold the same matrices in the same order; what differs are names and keys. Llama and Qwen2 are one class
in mindformers, `LlamaForCausalLM`, told apart by which projections have a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from modelscope_ext.errors import BackendNotLoadable, ConfigError
from modelscope_ext.models.backends._mindformers.settings import Settings
from modelscope_ext.models.backends._mindformers.tables import DTYPES
from modelscope_ext.utils.text import listing, printable

__all__ = ["FAMILIES", "Family", "family_of", "from_transformers", "to_transformers"]


@dataclass(frozen=True)
class Family:
    """One model type of transformers.

    Attributes:
        name: The ``model_type``.
        architecture: The class in transformers.
        qkv_bias: Whether query, key and value have a bias; None: ``attention_bias`` says so.
        out_bias: Whether the output projection has one; None: ``attention_bias`` says so.
        positions: ``max_position_embeddings`` where config.json leaves it out.
        written: Keys of its config.json that have no counterpart in mindformers.
    """

    name: str
    architecture: str
    qkv_bias: bool | None
    out_bias: bool | None
    positions: int
    written: Mapping[str, Any]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llama": Family("llama", "LlamaForCausalLM", None, None, 2048, {"mlp_bias": False}),
        "qwen2": Family("qwen2", "Qwen2ForCausalLM", True, False, 32768, {"use_sliding_window": False}),
    }
)

#: Key of transformers, key of mindformers, value where config.json leaves it out (None: it has to be there).
_KEYS = (
    ("vocab_size", "vocab_size", None),
    ("hidden_size", "hidden_size", None),
    ("intermediate_size", "intermediate_size", None),
    ("num_hidden_layers", "num_layers", None),
    ("num_attention_heads", "num_heads", None),
    ("rms_norm_eps", "rms_norm_eps", 1e-6),
)
#: Settings of transformers under which mindformers would compute something else -> the value that is understood.
_ONLY: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "hidden_act": ("silu", "swish"),
        "mlp_bias": (False,),
        "use_sliding_window": (False,),
        "pretraining_tp": (1,),
        "quantization_config": (),
        "partial_rotary_factor": (1.0,),
    }
)
#: mindformers' `rms_norm_eps` where a file leaves it out.
_EPSILON = 1e-5
#: Tokens of mindformers' sequence buffer: it pads every input to this length, and takes none that is longer.
_SEQUENCE = 4096


def family_of(config: Mapping[str, Any], where: str) -> Family:
    """Return the row of a config.json of transformers.

    Raises:
        BackendNotLoadable: A model type, or a head, that is not converted; the message names those that are.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise BackendNotLoadable(
            f"{where}: model_type {printable(repr(config.get('model_type')))} is not converted to mindformers; these"
            f" are: {listing(FAMILIES)}"
        )
    given = config.get("architectures") or [family.architecture]
    if given != [family.architecture]:
        raise BackendNotLoadable(
            f"{where}: architectures: {printable(given)} is not converted to mindformers; of {family.name} only"
            f" {family.architecture} is"
        )
    return family


def from_transformers(
    config: Mapping[str, Any], generation: Mapping[str, Any], dtype: str, where: str
) -> dict[str, Any]:
    """Return the settings of mindformers for a config.json of transformers (4 or 5).

    Args:
        config: The file.
        generation: generation_config.json, which may know the token to pad with.
        dtype: The weights' dtype, e.g. ``"bfloat16"``.
        where: File and model, for messages.

    Raises:
        BackendNotLoadable: A setting under which mindformers would compute something else.
        ConfigError: A size that is missing or no number.
    """
    family = family_of(config, where)
    for key, values in _ONLY.items():
        if config.get(key) is not None and config[key] not in values:
            _unsupported(where, key, config[key], f"mindformers computes {listing(map(repr, values)) or 'none'} only")
    made: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    for theirs, ours, default in _KEYS:
        made[ours] = _number(config, theirs, default, where)
    heads = made["num_heads"]
    made["n_kv_heads"] = _number(config, "num_key_value_heads", heads, where)
    if made["hidden_size"] % heads or config.get("head_dim") not in (None, made["hidden_size"] // heads):
        _unsupported(where, "head_dim", config.get("head_dim"), f"mindformers has {made['hidden_size']} / {heads} only")
    positions = _number(config, "max_position_embeddings", family.positions, where)
    bias = bool(config.get("attention_bias", False))
    made |= {
        "max_position_embedding": positions,
        "seq_length": min(positions, _SEQUENCE),
        "qkv_has_bias": bias if family.qkv_bias is None else family.qkv_bias,
        "attn_proj_has_bias": bias if family.out_bias is None else family.out_bias,
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
        **_rope(config, where),
        **_tokens(config, generation, made["vocab_size"]),
        "do_sample": False,
        "param_init_type": dtype if dtype in DTYPES else "float32",
        "compute_dtype": dtype if dtype in DTYPES else "float32",
        "layernorm_compute_type": "float32",
        "softmax_compute_type": "float32",
        "rotary_dtype": "float32",
        "use_past": False,
        "use_flash_attention": False,
    }
    return made


def _tokens(config: Mapping[str, Any], generation: Mapping[str, Any], vocabulary: int) -> dict[str, Any]:
    """Return the special tokens. mindformers sees nothing where the token to pad with stands: it must occur in no text.

    Where no file names one it is the vocabulary's last, which tokenizers of these families leave unused.
    """
    found = {key: config.get(key, generation.get(key)) for key in ("bos_token_id", "eos_token_id")}
    pads = (config.get("pad_token_id"), generation.get("pad_token_id"))
    pad = next((one for one in pads if type(one) is int and 0 <= one < vocabulary), vocabulary - 1)
    return {**{key: value for key, value in found.items() if value is not None}, "pad_token_id": pad}


def _rope(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return how positions are encoded; transformers 5 has one dict for what were two keys."""
    new = config.get("rope_parameters")
    new = new if isinstance(new, Mapping) else {}
    old = config.get("rope_scaling")
    scaling = dict(old if isinstance(old, Mapping) else new)
    theta = new.get("rope_theta", scaling.pop("rope_theta", config.get("rope_theta", 10000.0)))
    scaling.pop("rope_theta", None)
    legacy = scaling.pop("type", None)
    kind = scaling.pop("rope_type", legacy) or "default"
    theta = _number({"rope_theta": theta}, "rope_theta", None, where)
    if kind == "default":
        return {"theta": float(theta), "extend_method": "None", "scaling_factor": 1.0}
    if kind not in _ROPE:
        _unsupported(where, "rope_scaling.rope_type", kind, f"these are converted: default, {listing(_ROPE)}")
    method, keys = _ROPE[kind]
    values = {key: float(_number(scaling, key, None, where, "rope_scaling.")) for key in keys}
    unknown = sorted(set(scaling) - set(keys) - {"original_max_position_embeddings"})
    if unknown:
        _unsupported(where, f"rope_scaling.{unknown[0]}", scaling[unknown[0]], f"{kind} has {listing(keys)}")
    if "original_max_position_embeddings" in values:
        values["original_max_position_embeddings"] = int(values["original_max_position_embeddings"])
    factor = values if len(keys) > 1 else values["factor"]
    return {"theta": float(theta), "extend_method": method, "scaling_factor": factor}


#: How transformers scales positions -> mindformers' name for it, and the numbers it needs. mindformers' own "linear"
#: refuses every factor; its "PI" divides positions instead of frequencies, which is the same.
_ROPE: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "linear": ("PI", ("factor",)),
        "llama3": (
            "LLAMA3",
            ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
        ),
    }
)


def to_transformers(settings: Settings, dtype: str, where: str) -> dict[str, Any]:
    """Return the config.json of transformers for settings of mindformers; both transformers 4 and 5 read it.

    Raises:
        BackendNotLoadable: A setting that no model type of `FAMILIES` has.
        ConfigError: A size that is missing.
    """
    values = settings.values
    if values.get("qkv_concat"):
        _unsupported(where, f"{settings.place}qkv_concat", True, "split the matrices with mindformers first")
    qkv, out = bool(values.get("qkv_has_bias")), bool(values.get("attn_proj_has_bias"))
    family = FAMILIES["qwen2" if qkv and not out else "llama"]
    if out and not qkv:
        _unsupported(where, f"{settings.place}attn_proj_has_bias", True, "transformers has it with qkv_has_bias only")
    made: dict[str, Any] = {"architectures": [family.architecture], "model_type": family.name, "hidden_act": "silu"}
    for theirs, ours, default in _KEYS:
        made[theirs] = _number(values, ours, _EPSILON if default else None, where, settings.place)
    positions = values.get("max_position_embedding") or values.get("seq_length") or 2048
    made |= {
        "num_key_value_heads": values.get("n_kv_heads") or values["num_heads"],
        "max_position_embeddings": positions,
        "tie_word_embeddings": bool(values.get("tie_word_embeddings")),
        "rope_theta": float(values.get("theta", 10000.0)),
        "rope_scaling": _scaling(values, settings, where),
        "bos_token_id": values.get("bos_token_id", 1),
        "eos_token_id": values.get("eos_token_id", 2),
        "pad_token_id": values.get("pad_token_id", 0),
        "torch_dtype": dtype,
        "use_cache": True,
        **family.written,
    }
    if family.qkv_bias is None:
        made["attention_bias"] = qkv
    return made


def _scaling(values: Mapping[str, Any], settings: Settings, where: str) -> dict[str, Any] | None:
    method, factor = values.get("extend_method") or "None", values.get("scaling_factor", 1.0)
    if method == "None":
        return None
    known = {name: (kind, keys) for kind, (name, keys) in _ROPE.items()}
    if method not in known:
        _unsupported(where, f"{settings.place}extend_method", method, f"these are converted: None, {listing(known)}")
    kind, keys = known[method]
    given = factor if isinstance(factor, Mapping) else {"factor": factor}
    numbers = {key: _number(given, key, None, where, f"{settings.place}scaling_factor.") for key in keys}
    return {"rope_type": kind, **numbers}


def _number(values: Mapping[str, Any], key: str, default: float | None, where: str, place: str = "") -> Any:
    value = values.get(key)
    if value is None:
        value = default
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{where}: {place}{key}: expected a number above 0, found {printable(repr(value), 60)}")
    return value


def _unsupported(where: str, key: str, value: Any, why: str) -> NoReturn:
    raise BackendNotLoadable(f"{where}: {key} is {printable(repr(value), 60)}, which is not converted: {why}")
