"""Libraries built on top of transformers or beside it, with a format of their own in the same folders."""

from __future__ import annotations

from modelscope_ext.models.decision.libraries.row import Library, pip

__all__ = ["ROWS"]

ROWS: tuple[Library, ...] = (
    Library(
        "diffusers",
        "pytorch",
        'pip install "modelscope-ext[diffusers]"',
        "",
        (
            "model_index.json:_class_name",
            "modular_model_index.json:_class_name",
            "modular_model_index.json:_blocks_class_name",
            "config.json:_class_name !config.json:model_type !config.json:architectures",
            "pytorch_lora_weights.safetensors",
            "pytorch_lora_weights.bin",
            "learned_embeds.*",
            "**/ip-adapter*.safetensors",
            "**/ip-adapter*.bin",
            "diffusion_pytorch_model*.safetensors",
            "diffusion_pytorch_model*.bin",
            "model_index.json unet/config.json vae/config.json !model_index.json:*",
            "config.json:_diffusers_version",
            "transformer/config.json vae/config.json scheduler/scheduler_config.json !model_index.json:*",
            "modular_model_index.json !modular_model_index.json:*",
            "unet/config.json vae/config.json",
            "scheduler/scheduler_config.json",
        ),
        spellings="diffusion stable-diffusion",
        infer="diffusers",
        needs_files=True,
        tags=("diffusers", "stable-diffusion"),
    ),
    Library("setfit", "pytorch", pip("setfit"), "text-classification", ("config_setfit.json",)),
    Library(
        "model2vec",
        "pytorch",
        pip("model2vec"),
        "sentence-similarity feature-extraction",
        ("config.json:model_type=model2vec",),
    ),
    Library("pylate", "pytorch", pip("pylate"), "sentence-similarity text-ranking", ("modules.json:type=pylate.*",)),
    Library(
        "colpali-engine",
        "pytorch",
        pip("colpali-engine"),
        "visual-document-retrieval",
        (
            "config.json:architectures=Col[A-Z]* !config.json:architectures=*ForRetrieval"
            " !config.json:architectures=ColBERT*",
            "config.json:architectures=BiQwen*",
        ),
        spellings="colpali colqwen vidore",
    ),
    Library(
        "sentence-transformers",
        "pytorch",
        'pip install "modelscope-ext[sentence-transformers]"',
        "sentence-similarity feature-extraction",
        (
            "modules.json:type=sentence_transformers.*",
            "modules.json !modules.json:*",
            "1_Pooling/config.json config.json",
            "config_sentence_transformers.json config.json !adapter_config.json !config.json:architectures=*ForCausalLM"
            " !config.json:architectures=*ForConditionalGeneration",
        ),
        spellings="sbert sentence-transformer",
        infer="sentence_transformers",
        tags=("sentence-transformers",),
    ),
    Library(
        "adapters",
        "pytorch",
        pip("adapters"),
        "",
        ("adapter_config.json:model_class adapter_config.json:config",),
        spellings="adapter-transformers",
        infer="peft",
    ),
    Library(
        "peft",
        "pytorch",
        'pip install "modelscope-ext[peft]"',
        "",
        (
            "adapter_config.json !adapter_config.json:model_class !adapter_config.json:adapter_layers",
            "adapter_model.safetensors",
            "adapter_model.bin",
        ),
        infer="peft",
        needs_files=True,
        tags=("peft",),
    ),
    Library("gliner", "pytorch", pip("gliner"), "token-classification", ("gliner_config.json",)),
    Library(
        "span-marker",
        "pytorch",
        pip("span-marker"),
        "token-classification",
        ("config.json:model_type=span-marker",),
        spellings="span-marker-ner spanmarker",
    ),
    Library(
        "chronos",
        "pytorch",
        pip("chronos-forecasting"),
        "time-series-forecasting",
        ("config.json:chronos_config",),
        spellings="chronos-forecasting",
    ),
    Library(
        "uni2ts",
        "pytorch",
        pip("uni2ts"),
        "time-series-forecasting",
        ("config.json:patch_sizes config.json:num_layers !config.json:model_type",),
        spellings="moirai",
    ),
    Library(
        "colbert",
        "pytorch",
        pip("colbert-ai"),
        "text-ranking feature-extraction",
        ("config.json:architectures=HF_ColBERT", "config.json:architectures=ColBERT*", "artifact.metadata"),
        spellings="colbert-ai",
    ),
)
