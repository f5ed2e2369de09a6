"""The inputs that are measured: a plain transformers folder and configuration files of three sizes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_size": 32,
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "intermediate_size": 64,
    "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "model_type": "bert",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "transformers_version": "5.23.0",
    "type_vocab_size": 2,
    "vocab_size": 1000,
}

_CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-classification
tags:
- sentiment
---
# A classifier

Text for its readers.
"""


def plain_transformers(folder: Path, *, card: bool = True) -> Path:
    """Write what `save_pretrained` writes for a small text classifier, and a card; the weights are zeros."""
    folder.mkdir()
    words = {f"word{number}": number for number in range(1000)}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": {"type": "WordPiece", "vocab": words}}
    tokenizer_config = {"tokenizer_class": "BertTokenizer", "model_max_length": 64, "do_lower_case": True}
    special = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]"}
    files = {
        "config.json": _CONFIG,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": tokenizer_config,
        "special_tokens_map.json": special,
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
    if card:
        (folder / "README.md").write_text(_CARD, encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    header = {"__metadata__": {"format": "pt"}}
    for layer in range(30):
        offsets = [layer * 4096, (layer + 1) * 4096]
        header[f"bert.encoder.{layer}.weight"] = {"dtype": "F32", "shape": [32, 32], "data_offsets": offsets}  # type: ignore[dict-item]
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(30 * 4096))
    return folder


def _hook(number: int) -> dict[str, object]:
    names = [f"metric{number}", "accuracy"]
    options = {"ratio": number / 7, "names": names, "none": None}
    return {"type": "EvaluationHook", "interval": number, "by_epoch": True, "options": options}


def configuration(path: Path, size: int) -> Path:
    """Write a configuration.json of about `size` bytes, nested as ModelScope's are."""
    value: dict[str, object] = {
        "framework": "pytorch",
        "task": "text-classification",
        "model": {"type": "bert", "hidden_size": 768, "dropout": 0.1},
        "pipeline": {"type": "text-classification"},
        "preprocessor": {"type": "sen-cls-tokenizer", "first_sequence": "sentence", "label2id": {"neg": 0, "pos": 1}},
    }
    hooks = {f"hook{number}": _hook(number) for number in range(max(0, size - 300) // len(json.dumps(_hook(1000))))}
    if hooks:
        value["train"] = hooks
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
