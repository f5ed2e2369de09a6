"""Runtimes with converted weights: ONNX, compilers, accelerators."""

from __future__ import annotations

from modelscope_ext.models.decision.libraries.row import NO_TORCH, Library, pip

__all__ = ["ROWS"]

ROWS: tuple[Library, ...] = (
    Library(
        "onnxruntime-genai", "onnx", pip("onnxruntime-genai"), "text-generation", ("genai_config.json",), infer="heads"
    ),
    Library("piper", "onnx", pip("piper-tts"), "text-to-speech", ("**/*.onnx.json",), spellings="piper-tts"),
    Library(
        "sherpa-onnx",
        "onnx",
        pip("sherpa-onnx"),
        "automatic-speech-recognition",
        (
            "tokens.txt *encoder*.onnx *decoder*.onnx !config.json",
            "tokens.txt *joiner*.onnx",
            "tokens.txt lexicon.txt *.onnx",
            "tokens.txt espeak-ng-data/** *.onnx",
        ),
        spellings="sherpa k2 icefall",
        infer="sherpa",
    ),
    Library(
        "triton",
        "onnx",
        pip("tritonclient"),
        "",
        ("config.pbtxt", "*/config.pbtxt"),
        spellings="tritonserver triton-inference-server",
    ),
    Library(
        "mlc-llm",
        "tvm",
        pip("mlc-llm"),
        "text-generation",
        (
            "mlc-chat-config.json",
            "params_shard_0.bin ndarray-cache.json",
            "params_shard_0.bin tensor-cache.json",
            "params/mlc-chat-config.json",
        ),
        spellings="mlc mlc-ai web-llm",
    ),
    Library(
        "mlx",
        "mlx",
        pip("mlx-lm"),
        "text-generation",
        (
            "config.json:quantization.group_size !config.json:quantization_config.quant_method",
            "weights.npz config.json",
            "weights.*.npz config.json",
            "**/*.safetensors config.json:quantization.bits !config.json:quantization_config.quant_method",
        ),
        spellings="mlx-lm mlx-vlm mlx-audio mlx-whisper mlx-image mlx-community mlx-swift mlx-embeddings",
        infer="heads",
        tags=("mlx",),
    ),
    Library(
        "ctranslate2",
        "ctranslate2",
        pip("ctranslate2"),
        "translation",
        (
            "model.bin vocabulary.txt",
            "model.bin vocabulary.json",
            "model.bin shared_vocabulary.*",
            "model.bin source_vocabulary.*",
            "@ct2",
        ),
        spellings="faster-whisper ct2",
        infer="ctranslate2",
    ),
    Library(
        "nemo",
        "pytorch",
        pip('"nemo_toolkit[all]"'),
        "automatic-speech-recognition",
        ("**/*.nemo !@safetensors", "context/io.json weights/**", "model_config.yaml model_weights.ckpt"),
        spellings="nemo-toolkit nvidia-nemo",
        infer="named",
    ),
    Library(
        "espnet",
        "pytorch",
        pip("espnet"),
        "automatic-speech-recognition",
        ("meta.yaml exp/**", "exp/*/config.yaml", "exp/*/*.pth data/**"),
        spellings="espnet2",
        infer="espnet",
    ),
    Library(
        "pyannote-audio",
        "pytorch",
        pip("pyannote.audio"),
        "voice-activity-detection",
        (
            "config.yaml:pipeline.name=pyannote*",
            "config.yaml:model._target_=pyannote*",
            "config.yaml:task.VAD",
            "config.yaml:version config.yaml:pipeline.params",
        ),
        spellings="pyannote pyannote.audio",
        infer="pyannote",
    ),
    Library(
        "openvino",
        "openvino",
        pip('"optimum[openvino]"'),
        "",
        (
            f"openvino_model.xml {NO_TORCH}",
            f"openvino_*_model.xml {NO_TORCH}",
            f"*.xml @openvino {NO_TORCH}",
            f"**/openvino_*.xml {NO_TORCH}",
        ),
        spellings="optimum-intel openvino-genai",
        infer="heads",
    ),
    Library(
        "rkllm",
        "rknn",
        pip("rkllm-toolkit"),
        "text-generation",
        ("**/*.rkllm", "**/librkllmrt.so"),
        spellings="rkllm-toolkit",
        infer="heads_named",
    ),
    Library(
        "rknn",
        "rknn",
        pip("rknn-toolkit2"),
        "",
        ("**/*.rknn",),
        spellings="rknn-toolkit2 rknn-toolkit-lite2",
        infer="named",
    ),
)
