"""Llama and Qwen2 folders of transformers, written byte by byte: no framework, and every bit pattern in the weights."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I8": 1, "F8_E4M3": 1}
CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def config(kind: str = "llama", dtype: str = "F32", **changed: Any) -> dict[str, Any]:
    """Return a config.json; a key changed to None is left out."""
    names = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    made = {
        "architectures": [CLASSES[kind]], "model_type": kind, "hidden_act": "silu", "vocab_size": 40, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "bos_token_id": 1,
        "eos_token_id": [2, 3], "pad_token_id": 0, "tie_word_embeddings": False, "torch_dtype": names.get(dtype),
        **changed,
    }  # fmt: skip
    return {key: value for key, value in made.items() if value is not None}


def shapes(settings: dict[str, Any]) -> dict[str, list[int]]:
    """Return the tensors of such a model, by transformers' names."""
    width, inner, words = settings["hidden_size"], settings["intermediate_size"], settings["vocab_size"]
    heads = settings["num_attention_heads"]
    keys = width // heads * settings.get("num_key_value_heads", heads)
    found = {"model.embed_tokens.weight": [words, width]}
    for number in range(settings["num_hidden_layers"]):
        layer = f"model.layers.{number}."
        for part, rows in (("q_proj", width), ("k_proj", keys), ("v_proj", keys), ("o_proj", width)):
            found[f"{layer}self_attn.{part}.weight"] = [rows, width]
            bias = settings.get("attention_bias") or (settings["model_type"] == "qwen2" and part != "o_proj")
            if bias:
                found[f"{layer}self_attn.{part}.bias"] = [rows]
        found[f"{layer}mlp.gate_proj.weight"] = found[f"{layer}mlp.up_proj.weight"] = [inner, width]
        found[f"{layer}mlp.down_proj.weight"] = [width, inner]
        found[f"{layer}input_layernorm.weight"] = found[f"{layer}post_attention_layernorm.weight"] = [width]
    found["model.norm.weight"] = [width]
    if not settings.get("tie_word_embeddings"):
        found["lm_head.weight"] = [words, width]
    return found


def size(shape: list[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]], seed: int) -> None:
    """Write tensors of random bits."""
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = at + size(shape) * WIDTHS[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        block = random.Random(seed).randbytes(min(at, 2**24 - 1))  # an odd length: repeats never align
        while at:
            at -= file.write(block[:at])


def build(
    folder: str | Path,
    kind: str = "llama",
    dtype: str = "F32",
    *,
    parts: int = 1,
    dtypes: dict[str, str] | None = None,
    drop: tuple[str, ...] = (),
    more: dict[str, list[int]] | None = None,
    files: dict[str, str] | None = None,
    **changed: Any,
) -> Path:
    """Write a folder of transformers and return it.

    Args:
        folder: Created.
        kind: ``"llama"`` or ``"qwen2"``.
        dtype: Of all tensors, in safetensors' spelling.
        parts: Weight files.
        dtypes: Other dtypes by the end of a name.
        drop: Names of tensors to leave out.
        more: Further tensors, or other shapes.
        files: Further text files.
        **changed: Keys of config.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    settings = config(kind, dtype, **changed)
    (folder / "config.json").write_text(json.dumps(settings))
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    of = dtypes or {}
    tensors = {
        name: (next((d for end, d in of.items() if name.endswith(end)), dtype), shape)
        for name, shape in {**shapes(settings), **(more or {})}.items()
        if name not in drop
    }
    names = list(tensors)
    step = -(-len(names) // parts)
    weight_map = {}
    for number in range(parts):
        own = names[number * step : (number + 1) * step]
        file = "model.safetensors" if parts == 1 else f"model-{number + 1:05}-of-{parts:05}.safetensors"
        safetensors(folder / file, {name: tensors[name] for name in own}, number)
        weight_map |= dict.fromkeys(own, file)
    if parts > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def contents(folder: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Return dtype, shape and bytes of every tensor in the folder's safetensors files."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = (8 + length + at for at in entry["data_offsets"])
            assert name not in found
            found[name] = (entry["dtype"], entry["shape"], data[begin:end])
    return found
