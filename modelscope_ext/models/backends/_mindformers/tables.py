"""The closed tables of mindformers: what may be built of a folder, and with which settings. Nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from modelscope_ext.utils.record import dataclass

__all__ = ["ARCHITECTURES", "DTYPES", "LLAMA_KEYS", "NOT_SERVED", "ON_CPU", "Architecture"]

#: What mindformers computes in.
DTYPES = ("float32", "float16", "bfloat16")

#: What a value may be.
_Kinds = tuple[type, ...]
_INT: _Kinds = (int,)
_NUMBER: _Kinds = (int, float)
_BOOL: _Kinds = (bool,)
_TEXT: _Kinds = (str,)

#: Keys of a Llama's settings that reach mindformers, each with the types it may have; null leaves mindformers' default.
#: Everything else in a file is left out: what is for many devices or for training, and every path.
LLAMA_KEYS: Mapping[str, _Kinds] = MappingProxyType(
    {
        **dict.fromkeys(
            ("seq_length", "hidden_size", "num_layers", "num_heads", "n_kv_heads", "max_position_embedding",
             "intermediate_size", "vocab_size", "multiple_of", "bos_token_id", "pad_token_id", "ignore_token_id",
             "max_decode_length", "block_size", "num_blocks", "top_k", "batch_size"), _INT,
        ),
        **dict.fromkeys(("rms_norm_eps", "theta", "repetition_penalty", "top_p", "ffn_dim_multiplier"), _NUMBER),
        **dict.fromkeys(
            ("qkv_has_bias", "attn_proj_has_bias", "qkv_concat", "tie_word_embeddings", "do_sample", "use_past",
             "use_flash_attention", "fused_rms_norm", "use_rope_slice", "is_dynamic", "rmsnorm_compute_2d"), _BOOL,
        ),
        **dict.fromkeys(
            ("compute_dtype", "param_init_type", "layernorm_compute_type", "softmax_compute_type", "rotary_dtype",
             "residual_dtype", "embedding_init_type", "extend_method"), _TEXT,
        ),
        "scaling_factor": (int, float, dict),
        "eos_token_id": (int, list),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """One model class of mindformers that is served.

    Attributes:
        config: The class of its settings.
        module: Where both are; imported only from here, never because a file says so.
        model_type: The name in config.json.
        keys: Settings that reach mindformers, with the types they may have.
    """

    config: str
    module: str
    model_type: str
    keys: Mapping[str, _Kinds]


#: The name in ``arch.type``, or in ``architectures`` of config.json -> what it is.
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {"LlamaForCausalLM": Architecture("LlamaConfig", "mindformers.models.llama", "llama", LLAMA_KEYS)}
)

#: Settings that mindformers 1.8 has and that lead to another model, or to none on one device -> why it is not served.
NOT_SERVED: Mapping[str, str] = MappingProxyType(
    {
        "moe_config": "a mixture of experts",
        "pet_config": "an adapter of mindformers",
        "quant_config": "quantised weights",
        "quantization_config": "quantised weights",
        "parallel_decoding_params": "parallel decoding",
        "llm_backend": "another engine",
    }
)

#: What the CPU lacks, or has no kernel for -> the setting that does the same with what it has.
ON_CPU: Mapping[str, bool] = MappingProxyType(
    {
        "fused_rms_norm": False,
        "use_rope_slice": True,
        "use_flash_attention": False,
        "use_past": False,
        "is_dynamic": False,
        "rmsnorm_compute_2d": False,
    }
)
