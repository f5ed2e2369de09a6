"""Tiny Llama and Qwen2 folders of transformers, and the same of mindformers, made by this package's own conversion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

CLASSES = {"llama": "Llama", "qwen2": "Qwen2"}
#: Keys of dtypes, which mindformers leaves out of a yaml that it writes.
DTYPES = (
    "param_init_type",
    "compute_dtype",
    "layernorm_compute_type",
    "softmax_compute_type",
    "rotary_dtype",
)


def original(kind: str, folder: str | Path, dtype: str = "float32", **changed: Any) -> Path:
    """Write a tiny model of transformers with its tokenizer, and return the folder.

    Args:
        kind: ``"llama"`` or ``"qwen2"``.
        folder: Created.
        dtype: Of the weights.
        **changed: Keys of its configuration.
    """
    import torch
    import transformers

    from tests.tiny._words import lm_tokenizer

    tokenizer = lm_tokenizer(chat=True)
    sizes = {
        "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**{**sizes, **changed})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{CLASSES[kind]}ForCausalLM")(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(12.0) if weight.dim() > 1 else weight.add_(torch.randn_like(weight) * 0.1)
            model.model.norm.weight.mul_(0.1)  # logits of the order of one, as a trained model has
    model.to(getattr(torch, dtype)).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return Path(folder)


def build(
    kind: str, folder: str | Path, layout: str = "json", dtype: str = "float32", size: str = "2GB", **changed: Any
) -> Path:
    """Write a tiny model of mindformers and return its folder.

    Args:
        kind: ``"llama"`` or ``"qwen2"``.
        folder: Created; the original is beside it, with ``-hf`` after its name.
        layout: ``"json"``, or ``"yaml"`` as mindformers itself writes one.
        dtype: Of the weights.
        size: Of one checkpoint file at most.
        **changed: Keys of transformers' configuration.
    """
    from modelscope_ext.models.convert import convert

    folder = Path(folder)
    source = folder.with_name(f"{folder.name}-hf")
    if not source.is_dir():
        original(kind, source, dtype, **changed)
    convert(source, folder, to="mindformers", max_shard_size=size)
    if layout == "yaml":
        as_yaml(folder)
    return folder


def as_yaml(folder: Path, **changed: Any) -> None:
    """Turn a json folder into a yaml one: no config.json, no dtypes, the keys of a run around it."""
    import yaml

    values = json.loads((folder / "config.json").read_text())
    inner = {k: v for k, v in values.items() if k not in (*DTYPES, "architectures", "model_type")}
    inner |= {"type": "LlamaConfig", "checkpoint_name_or_path": "/no/such/file.ckpt", **changed}
    run = {
        "seed": 0, "run_mode": "predict", "load_checkpoint": "", "trainer": {"type": "CausalLanguageModelingTrainer"},
        "context": {"mode": 0, "device_target": "Ascend"},
        "model": {"arch": {"type": "LlamaForCausalLM"}, "model_config": inner},
    }  # fmt: skip
    (folder / "predict_llama.yaml").write_text(yaml.safe_dump(run))
    (folder / "config.json").unlink()
    (folder / "conversion.json").unlink()
    (folder / "configuration.json").unlink()
    shutil.move(folder / "mindspore_model.ckpt", folder / "predict_llama.ckpt")
