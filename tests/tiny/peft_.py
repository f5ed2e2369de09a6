"""Tiny random adapters with their bases, by name: `build("lora", folder)` writes `folder/base` and `folder/adapter`.

The bases are those of `tests.tiny.transformers_`; the adapters are made by peft itself, with random weights, so that
they change every answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.tiny import transformers_

_ATTENTION = ["q_proj", "v_proj"]


def _lora(**options: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 2, "lora_alpha": 16, "init_lora_weights": False, "target_modules": _ATTENTION, **options})


def _of(name: str, **options: Any) -> Any:
    import peft

    return getattr(peft, name)(**options)


#: name -> (family of the base, its auto class, its task, the adapter's configuration).
FAMILIES: Mapping[str, tuple[str, str, str, Callable[[], Any]]] = {
    "lora": ("text-generation", "AutoModelForCausalLM", "text-generation", lambda: _lora(task_type="CAUSAL_LM")),
    "dora": (
        "qwen2", "AutoModelForCausalLM", "text-generation",
        lambda: _lora(task_type="CAUSAL_LM", use_dora=True, target_modules="all-linear"),
    ),
    "pissa": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _lora(task_type="CAUSAL_LM", init_lora_weights="pissa"),
    ),
    "embeddings": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _lora(task_type="CAUSAL_LM", modules_to_save=["embed_tokens", "lm_head"], bias="all"),
    ),
    "adalora": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("AdaLoraConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, init_r=2, target_r=1,
                    total_step=10, init_lora_weights=False),
    ),
    "ia3": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("IA3Config", task_type="CAUSAL_LM", target_modules=[*_ATTENTION, "down_proj"],
                    feedforward_modules=["down_proj"], init_ia3_weights=False),
    ),
    "loha": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("LoHaConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, r=2, init_weights=False),
    ),
    "lokr": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("LoKrConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, r=2, init_weights=False),
    ),
    "vera": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("VeraConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, r=2, init_weights=False),
    ),
    "fourierft": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("FourierFTConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, n_frequency=10),
    ),
    "oft": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("OFTConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, r=0, oft_block_size=4,
                    init_weights=False),
    ),
    "boft": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("BOFTConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, boft_block_size=4,
                    init_weights=False),
    ),
    "hra": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("HRAConfig", task_type="CAUSAL_LM", target_modules=_ATTENTION, r=2, init_weights=False),
    ),
    "ln-tuning": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("LNTuningConfig", task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
    ),
    "prompt": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("PromptTuningConfig", task_type="CAUSAL_LM", num_virtual_tokens=3),
    ),
    "prefix": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("PrefixTuningConfig", task_type="CAUSAL_LM", num_virtual_tokens=3),
    ),
    "p-tuning": (
        "text-generation", "AutoModelForCausalLM", "text-generation",
        lambda: _of("PromptEncoderConfig", task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8),
    ),
    "classifier": (
        "feature-extraction", "AutoModelForSequenceClassification", "text-classification",
        lambda: _lora(task_type="SEQ_CLS", target_modules=["query", "value"], modules_to_save=["classifier"]),
    ),
    "prompted-classifier": (
        "text-classification", "AutoModelForSequenceClassification", "text-classification",
        lambda: _of("PromptTuningConfig", task_type="SEQ_CLS", num_virtual_tokens=3),
    ),
    "tokens": (
        "feature-extraction", "AutoModelForTokenClassification", "token-classification",
        lambda: _lora(task_type="TOKEN_CLS", target_modules=["query", "value"], modules_to_save=["classifier"]),
    ),
    "features": (
        "feature-extraction", "AutoModel", "feature-extraction",
        lambda: _lora(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"]),
    ),
    "seq2seq": (
        "text2text-generation", "AutoModelForSeq2SeqLM", "text2text-generation",
        lambda: _lora(task_type="SEQ_2_SEQ_LM", target_modules=["q", "v"]),
    ),
    "answers": (
        "question-answering", "AutoModelForQuestionAnswering", "question-answering",
        lambda: _lora(task_type="QUESTION_ANS", target_modules=["query", "value"]),
    ),
    "pictures": (
        "image-classification", "AutoModelForImageClassification", "image-classification",
        lambda: _lora(target_modules=["q_proj", "v_proj", "query", "value"], modules_to_save=["classifier"]),
    ),
}  # fmt: skip


def build(name: str, folder: str | Path, *, seed: int = 0, labels: int = 3, factor: float = 1.0) -> Path:
    """Write the base and the adapter `name` into `folder` and return the adapter's folder.

    Args:
        name: A key of `FAMILIES`.
        folder: Gets two subfolders, `base` and `adapter`.
        seed: Of the random weights.
        labels: How many labels the head has that is trained along, where the base has no head of its own.
        factor: What the adapter's weights are multiplied by; 0 makes one that changes nothing.
    """
    import torch
    import transformers
    from peft import get_peft_model

    family, auto, _, config = FAMILIES[name]
    base = transformers_.build(family, Path(folder) / "base", seed=seed)
    heads = {"num_labels": labels} if family == "feature-extraction" and auto != "AutoModel" else {}
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = getattr(transformers, auto).from_pretrained(base, local_files_only=True, **heads)
        model = get_peft_model(model, config())
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * (0.5 if "modules_to_save" in key else 0.1)).mul_(factor)
        model.save_pretrained(Path(folder) / "adapter", save_embedding_layers=False)
    (Path(folder) / "adapter" / "README.md").unlink(missing_ok=True)
    return Path(folder) / "adapter"
