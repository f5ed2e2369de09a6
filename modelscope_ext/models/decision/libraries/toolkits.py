"""Toolkits that train and run their own models: speech, MindSpore, Paddle."""

from __future__ import annotations

from modelscope_ext.models.decision.libraries.row import Library, pip

__all__ = ["ROWS"]

ROWS: tuple[Library, ...] = (
    Library(
        "speechbrain",
        "pytorch",
        pip("speechbrain"),
        "audio-classification",
        ("config.json:speechbrain_interface", "hyperparams.yaml *.ckpt", "hyperparams.yaml label_encoder.txt"),
        infer="speechbrain",
        tags=("speechbrain",),
    ),
    Library(
        "mindformers",
        "mindspore",
        pip("mindformers"),
        "text-generation",
        (
            "*.yaml:model.model_config.type",
            "*.yaml:model.arch.type",
            "*.yaml:trainer.type *.yaml:run_mode",
            "*.yaml:trainer.type *.yaml:context.device_target",
            "config.json:mindformers_version",
            "mindspore_model.ckpt",
            "mindspore_model.ckpt.index.json",
            "mindspore_model-*.ckpt",
            "*.yaml:pretrained_model_dir *.yaml:use_legacy",
        ),
        infer="mindformers",
    ),
    Library(
        "funasr-onnx",
        "onnx",
        pip("funasr-onnx"),
        "automatic-speech-recognition",
        (
            "am.mvn **/*.onnx !model.pt !@safetensors",
            "model_quant.onnx config.yaml !model.pt",
            "vad.mvn **/*.onnx",
            "config.yaml:model_conf *.onnx !model.pt",
        ),
        infer="funasr",
    ),
    Library(
        "funasr",
        "pytorch",
        pip("funasr"),
        "automatic-speech-recognition",
        (
            "configuration.json:model.type=funasr",
            "configuration.json:pipeline.type=funasr-pipeline",
            "configuration.json:model_name_in_hub",
            "am.mvn config.yaml",
            "am.mvn *.pt",
            "am.mvn *.pb",
            "config.yaml:frontend_conf config.yaml:model",
            "config.yaml:model config.yaml:model_conf config.yaml:encoder",
            "config.yaml:model=CAMPPlus",
        ),
        infer="funasr",
    ),
    Library(
        "paddlenlp",
        "paddle",
        pip("paddlenlp"),
        "",
        (
            "model_state.pdparams",
            "model_config.json:init_class",
            "model_config.json:init_args",
            "config.json:paddlenlp_version",
            "model_state-*.pdparams",
        ),
        infer="paddlenlp",
    ),
    Library(
        "paddleocr",
        "paddle",
        pip("paddleocr"),
        "image-to-text",
        (
            "inference.yml:PostProcess",
            "inference.yml:Global.model_name",
            "inference.yml *.pdiparams",
            "inference.yml inference.json",
        ),
        spellings="paddlex",
        infer="paddleocr",
    ),
    Library(
        "paddlespeech",
        "paddle",
        pip("paddlespeech"),
        "text-to-speech",
        ("*.pdz phone_id_map.txt", "speech_stats.npy *.pdz"),
    ),
    Library(
        "paddle",
        "paddle",
        pip("paddlepaddle"),
        "",
        ("*.pdiparams", "*.pdmodel", "*.pdparams"),
        spellings="paddlepaddle paddle-inference",
    ),
)
