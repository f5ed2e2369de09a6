"""Step 5 of 6: the closed tables of gate A, as data. A name outside its table is refused, never imported."""

# ruff: noqa: SIM905 - words in a string are read faster than a list of quoted words
from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = [
    "ACTIVATIONS",
    "CODE_RUNNERS",
    "EVALUATED",
    "EXECUTABLE",
    "FLOORS",
    "HUB_COMPONENTS",
    "KERNELS",
    "MIXINS",
    "NO_YAML",
    "PATH_KEYS",
    "PEFT_LIBRARIES",
    "PIPELINE_LIBRARIES",
    "QUANTIZATION",
    "REDIRECTS",
    "SENTENCE_MODULES",
    "SUBFOLDERS",
    "TOKENIZER_FILES",
]

#: Classes that modules.json of sentence-transformers may name (releases 2 to 6), by the last part of the dotted name.
SENTENCE_MODULES = frozenset(
    "Asym BoW CLIPModel CNN Dense Dropout InputModule LSTM LayerNorm LogitScore MLMTransformer Module Normalize Pooling"
    " Router SparseAutoEncoder SparseStaticEmbedding SpladePooling StaticEmbedding Transformer WeightedLayerPooling"
    " WordEmbeddings WordWeights WhitespaceTokenizer WordTokenizer PhraseTokenizer".split()
)

#: Activations that sentence-transformers' files may name.
ACTIVATIONS = frozenset(
    [f"torch.nn.modules.activation.{name}" for name in (
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish PReLU RReLU"
        " ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold".split()
    )]
    + ["torch.nn.modules.linear.Identity"]
    + [f"torch.nn.{name}" for name in "GELU Identity ReLU SiLU Sigmoid Softmax Tanh".split()]
)  # fmt: skip

#: `quantization_config.quant_method` that some release of transformers knows.
QUANTIZATION = frozenset(
    "aqlm auto-round awq bitnet bitsandbytes bitsandbytes_4bit bitsandbytes_8bit compressed-tensors eetq fbgemm_fp8"
    " finegrained_fp8 fouroversix fp8 fp_quant fpquant gguf gptq gptqmodel higgs hqq intel/auto-round int8 metal"
    " modelopt mxfp4 neural_compressor quanto quark sinq spqr torchao vptq".split()
)

#: Libraries whose classes a diffusers pipeline may name.
PIPELINE_LIBRARIES = frozenset(("diffusers", "transformers", "onnxruntime", "optimum", "peft"))
#: Public names of those libraries that are neither pipelines nor components.
MIXINS = frozenset(("PushToHubMixin", "Path", "ModelMixin", "ConfigMixin", "SchedulerMixin"))
#: ... and those that are no components.
HUB_COMPONENTS = MIXINS | {"DiffusionPipeline"}
#: Libraries whose classes an adapter may be made for.
PEFT_LIBRARIES = frozenset(
    ("transformers", "transformers_modules", "diffusers", "peft", "sentence_transformers", "timm", "torch", "trl")
)

#: Keys whose value may be the repo of a compiled kernel (CVE-2026-4372).
KERNELS = frozenset(
    ("_attn_implementation_internal", "_experts_implementation_internal", "attn_implementation", "_attn_implementation",
     "experts_implementation", "_experts_implementation", "kernel_config")
)  # fmt: skip

#: File -> keys of it whose value is another source, which a library would open; `base_model_name_or_path` has a rule.
REDIRECTS: Mapping[str, frozenset[str]] = {
    "processor_config.json": frozenset(("audio_tokenizer_name_or_path",)),
    "preprocessor_config.json": frozenset(("audio_tokenizer_name_or_path", "repo_path")),
    "audio_tokenizer_config.json": frozenset(("audio_tokenizer_name_or_path",)),
    "adapter_config.json": frozenset(("shadow_model",)),
    "sentence_bert_config.json": frozenset(("tokenizer_name_or_path",)),
}

#: Keys whose value some library evaluates as Python -> what it may look like.
EVALUATED: Mapping[str, re.Pattern[str]] = {
    "conv_feature_layers": re.compile(r"[\[\](),\d\s*+]*"),
    "tokenizer_type": re.compile(r"[\w.\-/ ]*"),
    "label_map": re.compile(r"[^()]*"),
}

#: Folders that libraries open though no file names them: transformers' chat templates beside the first.
SUBFOLDERS = frozenset(("additional_chat_templates",))

#: Files whose `PATH_KEYS` a library opens.
TOKENIZER_FILES = frozenset(
    ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
     "speaker_embeddings_path.json", "adapter_config.json")
)  # fmt: skip
PATH_KEYS = frozenset(
    ("vocab_file", "tokenizer_file", "merges_file", "spm_file", "source_spm", "target_spm", "sentencepiece_model_file",
     "target_vocab_file", "bpe_file", "emoji_file", "entity_vocab_file", "lyrics_file", "artists_file", "genres_file",
     "monolingual_vocab_file", "voices", "embeddings", "speaker_embeddings", "semantic_prompt",
     "coarse_prompt", "fine_prompt", "class_info_file", "cache_file", "covariance_file")
)  # fmt: skip

#: Libraries that read no YAML of a model.
NO_YAML = frozenset(
    ("transformers", "sentence-transformers", "onnxruntime", "diffusers", "onediff", "peft", "llama.cpp", "vllm", "mlx")
)

#: Libraries that run Python of a model's folder, for those that have no backend here to say so.
CODE_RUNNERS = frozenset(
    ("transformers", "sentence-transformers", "peft", "diffusers", "modelscope", "mindformers", "mindone", "openmind",
     "onediff", "vllm", "funasr")
)  # fmt: skip

#: Formats of `metadata.weights.FORMATS` that are programs.
EXECUTABLE = frozenset(("torchscript", "exported", "executorch", "llamafile"))

#: Distribution -> (the first safe release, a line of patched older releases or None, only for pickles, why).
FLOORS: Mapping[str, tuple[str, str | None, bool, str]] = {
    "torch": ("2.10", None, True, "torch.load(weights_only=True) could be led to run code (CVE-2026-24747)"),
    "transformers": (
        "5.3",
        "4.57",
        False,
        "a model's config could run code although it was not trusted (CVE-2026-4372, CVE-2026-5241)",
    ),
    "diffusers": ("0.38", None, False, "a pipeline's code ran although it was not trusted (CVE-2026-44513)"),
    "peft": ("0.19", None, False, "an adapter's config could name any module to be imported (peft#3090)"),
    "sentence-transformers": ("6", None, False, "modules.json could import any class"),
}
