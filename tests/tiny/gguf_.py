"""Tiny GGUF files, written with `gguf.GGUFWriter` from tiny models of transformers: `build("llama", folder)`.

The tokenizer is byte-level, with a handful of merges. Rows are multiples of 32, as quantised blocks need.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_CHAT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' ' }}{% endfor %}assistant:"


def vocabulary() -> tuple[list[str], list[str]]:
    """Return the tokens, special ones first, and the merges."""
    from tokenizers import pre_tokenizers

    merges = ["t h", "th e", "c a", "ca t", "d o", "do g"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return ["<unk>", "<s>", "</s>", *alphabet, *(m.replace(" ", "") for m in merges)], merges


def model(architecture: str, *, seed: int = 0) -> Any:
    """Return the tiny model of transformers that is written as `architecture`, ``"llama"`` or ``"qwen2"``."""
    import torch
    import transformers

    kind = {"llama": "Llama", "qwen2": "Qwen2"}[architecture]
    tokens, _ = vocabulary()
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokens), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = getattr(transformers, f"{kind}ForCausalLM")(config)
        with torch.no_grad():
            for name, weight in made.named_parameters():
                weight.mul_(12.0) if weight.dim() > 1 else weight.add_(torch.randn_like(weight) * 0.1)
                assert weight.shape[-1] % 32 == 0, name
    return made.eval()


def build(
    architecture: str, folder: str | Path, *quantised: str, seed: int = 0, name: str = "tiny-{}.gguf", **metadata: Any
) -> Path:
    """Write the tiny model into `folder`, one file for each of `quantised` (default ``"F32"``), and return the folder.

    Args:
        architecture: ``"llama"`` or ``"qwen2"``.
        folder: Created when it is not there.
        *quantised: ``"F32"``, ``"F16"``, ``"Q8_0"``, ``"Q4_0"``, ...
        seed: Of the random weights.
        name: Of the files, with ``{}`` for the quantisation.
        **metadata: ``arch`` writes another ``general.architecture``, ``blocks`` another number of layers; ``drop``
            leaves out tensors that hold it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = model(architecture, seed=seed)
    for kind in quantised or ("F32",):
        _write(
            made,
            metadata.get("arch", architecture),
            folder / name.format(kind),
            kind,
            metadata.get("drop"),
            metadata.get("blocks"),
        )
    return folder


def _write(made: Any, architecture: str, path: Path, kind: str, drop: str | None, blocks: int | None) -> None:
    import gguf

    config, (tokens, merges) = made.config, vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_file_type(getattr(gguf.LlamaFileType, {"F32": "ALL_F32"}.get(kind, f"MOSTLY_{kind}")))
    writer.add_block_count(blocks or config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_CHAT)
    for name, values in tensors(made).items():
        if drop is None or drop not in name:
            _add(writer, name, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(made: Any) -> dict[str, Any]:
    """Return the weights by their names in GGUF; Llama's queries and keys with their rows in llama.cpp's order."""
    import gguf

    config = made.config
    arch = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[config.model_type]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    found = {}
    for key, weight in made.state_dict().items():
        values = weight.numpy()
        if config.model_type == "llama" and ("q_proj" in key or "k_proj" in key):
            heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
            halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        stem, _, tail = key.rpartition(".")
        found[f"{names.get_name(stem)}.{tail}"] = values
    return found


def _add(writer: Any, name: str, values: Any, kind: str) -> None:
    import gguf
    import numpy as np

    if values.ndim == 1 or kind == "F32":
        writer.add_tensor(name, values.astype(np.float32))
    elif kind == "F16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        form = getattr(gguf.GGMLQuantizationType, kind)
        writer.add_tensor(name, gguf.quants.quantize(values, form), raw_dtype=form)
