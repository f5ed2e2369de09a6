"""Layouts as they are found on hubs, rebuilt by hand: what each resolves to without a card or a configuration.json."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.resolve import resolve

LLM = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 32000}
VISION = {"vision_config": {"hidden_size": 64}}
AUDIO = {"audio_config": {"d_model": 64}}
PIXELS = {"preprocessor_config.json": {"image_processor_type": "CLIPImageProcessor", "image_mean": [0.5]}}
SOUND = {"preprocessor_config.json": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}}
POOLED = {
    "modules.json": [{"idx": 0, "type": "sentence_transformers.models.Transformer"}],
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
}


def config(architecture: str | None = None, model_type: str | None = None, **keys: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"config.json": {**keys}, "model.safetensors": 9}
    if architecture:
        found["config.json"]["architectures"] = [architecture]
    if model_type:
        found["config.json"]["model_type"] = model_type
    return found


def custom(*autos: str, **keys: Any) -> dict[str, Any]:
    return {"auto_map": {"AutoConfig": "configuration_x.X", **dict.fromkeys(autos, "modeling_x.X")}, **keys}


def labels(*names: str) -> dict[str, Any]:
    return {"id2label": {str(number): name for number, name in enumerate(names)}}


def pipeline(name: str | list[str], **parts: str) -> dict[str, Any]:
    index = {"_class_name": name, "_diffusers_version": "0.30", **{k: ["diffusers", v] for k, v in parts.items()}}
    return {"model_index.json": index, "unet/diffusion_pytorch_model.safetensors": 9}


def adapter(base: str, kind: str | None = None, **keys: Any) -> dict[str, Any]:
    document = {"peft_type": "LORA", "base_model_name_or_path": base, "task_type": kind, **keys}
    return {"adapter_config.json": document, "adapter_model.safetensors": 9}


#: (what it is, files, backend, framework, default task)
TRANSFORMERS: list[tuple[str, dict[str, Any], str]] = [
    ("decoder", config("Qwen2ForCausalLM", "qwen2", **LLM), "text-generation"),
    (
        "decoder of its own code",
        config("BaichuanForCausalLM", "baichuan", **custom("AutoModelForCausalLM")),
        "text-generation",
    ),
    (
        "base class that generates",
        config(
            "ChatGLMModel",
            "chatglm",
            **custom("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"),
        ),
        "text-generation",
    ),
    ("old head name", config("QWenLMHeadModel", "qwen", **custom("AutoModelForCausalLM")), "text-generation"),
    ("state space", config("MambaForCausalLM", "mamba"), "text-generation"),
    ("encoder", config("BertForMaskedLM", "bert"), "fill-mask"),
    ("no class", config(None, "deberta-v2", **LLM), "fill-mask"),
    (
        "neither class nor type",
        config(None, None, type_vocab_size=2, num_attention_heads=2, intermediate_size=9, **LLM),
        "fill-mask",
    ),
    ("pre-training heads", config("BertForPreTraining", "bert"), "fill-mask"),
    ("discriminator", config("ElectraForPreTraining", "electra"), "feature-extraction"),
    ("encoder without head", config("RobertaModel", "roberta"), "feature-extraction"),
    ("encoder of its own code", config("NomicBertModel", "nomic_bert", **custom("AutoModel")), "feature-extraction"),
    ("classifier", config("BertForSequenceClassification", "bert", **labels("bad", "good")), "text-classification"),
    ("default labels", config("BertForSequenceClassification", "bert"), "text-classification"),
    ("reward model", config("LlamaForSequenceClassification", "llama", **labels("LABEL_0")), "text-classification"),
    (
        "regression",
        config("BertForSequenceClassification", "bert", problem_type="regression", **labels("LABEL_0")),
        "text-classification",
    ),
    ("tagger", config("BertForTokenClassification", "bert", **labels("O", "B-PER")), "token-classification"),
    ("reader", config("RobertaForQuestionAnswering", "roberta"), "question-answering"),
    ("page reader", config("LayoutLMForQuestionAnswering", "layoutlm"), "document-question-answering"),
    ("table reader", config("TapasForQuestionAnswering", "tapas"), "table-question-answering"),
    ("choices", config("BertForMultipleChoice", "bert"), "multiple-choice"),
    (
        "encoder-decoder",
        config(
            "T5ForConditionalGeneration", "t5", task_specific_params={"summarization": {}, "translation_en_to_de": {}}
        ),
        "text2text-generation",
    ),
    (
        "summariser",
        config("BartForConditionalGeneration", "bart", task_specific_params={"summarization": {"num_beams": 4}}),
        "summarization",
    ),
    ("translator by family", config("MarianMTModel", "marian"), "translation"),
    ("translator of many", config("M2M100ForConditionalGeneration", "m2m_100"), "translation"),
    ("summariser by family", config("PegasusForConditionalGeneration", "pegasus"), "summarization"),
    (
        "bart without head",
        config("BartModel", "bart", task_specific_params={"summarization": {}}),
        "feature-extraction",
    ),
    (
        "speaking Llama 3",
        config("LlamaForCausalLM", "llama", vocab_size=156940, rope_scaling={"rope_type": "llama3"}),
        "text-to-speech",
    ),
    (
        "Llama 3",
        config("LlamaForCausalLM", "llama", vocab_size=128256, rope_scaling={"rope_type": "llama3"}),
        "text-generation",
    ),
    ("large vocabulary of words", config("LlamaForCausalLM", "llama", vocab_size=256000), "text-generation"),
    ("speaking Qwen", config("Qwen2ForCausalLM", "qwen2", vocab_size=217652), "text-to-speech"),
    ("Qwen", config("Qwen2ForCausalLM", "qwen2", vocab_size=152064), "text-generation"),
    ("speaking by name", config("LlamaForCausalLM", "llama", _name_or_path="org/Some-TTS-3B"), "text-to-speech"),
    ("sees", config("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", **VISION), "image-text-to-text"),
    (
        "sees, its own code",
        config(
            "InternVLChatModel", "internvl_chat", **custom("AutoModel", "AutoModelForCausalLM"), **VISION, llm_config={}
        ),
        "image-text-to-text",
    ),
    (
        "sees, a name that says nothing",
        config("MiniCPMV", "minicpmv", **custom("AutoModel", "AutoModelForCausalLM"), **VISION),
        "image-text-to-text",
    ),
    (
        "sees, by its preprocessor",
        {**config("MolmoForCausalLM", "molmo", **custom("AutoModelForCausalLM")), **PIXELS},
        "image-text-to-text",
    ),
    (
        "sees, by a key of older code",
        config("LlavaQwenForCausalLM", "llava_qwen", mm_vision_tower="openai/clip", **LLM),
        "image-text-to-text",
    ),
    (
        "sees, old name",
        config("QWenLMHeadModel", "qwen", visual={"width": 1664}, **custom("AutoModelForCausalLM")),
        "image-text-to-text",
    ),
    (
        "sees, a new spelling of a known type",
        config("LightOnOCRForConditionalGeneration", "mistral3"),
        "image-text-to-text",
    ),
    (
        "sees films",
        config("Videollama2MistralForCausalLM", "videollama2_mistral", mm_vision_tower="x"),
        "video-text-to-text",
    ),
    (
        "sees films, own code",
        config("CogVLMVideoForCausalLM", None, **custom("AutoModelForCausalLM"), **VISION),
        "video-text-to-text",
    ),
    ("hears", config("Qwen2AudioForConditionalGeneration", "qwen2_audio", **AUDIO), "audio-text-to-text"),
    (
        "hears, its own code",
        config("UltravoxModel", "ultravox", **custom("AutoModel"), text_model_id="x", **AUDIO),
        "audio-text-to-text",
    ),
    (
        "sees and hears",
        config("MiniCPMO", "minicpmo", **custom("AutoModel", "AutoModelForCausalLM"), **VISION, **AUDIO),
        "any-to-any",
    ),
    ("sees, hears and speaks", config("Qwen2_5OmniModel", "qwen2_5_omni"), "any-to-any"),
    ("caption", config("BlipForConditionalGeneration", "blip"), "image-to-text"),
    ("OCR", {**config("VisionEncoderDecoderModel", "vision-encoder-decoder"), **PIXELS}, "image-to-text"),
    ("questions to pictures", config("ViltForQuestionAnswering", "vilt"), "visual-question-answering"),
    ("pictures by text", config("CLIPModel", "clip"), "zero-shot-image-classification"),
    ("text half of it", config("CLIPTextModel", "clip_text_model"), "feature-extraction"),
    ("picture classifier", config("ViTForImageClassification", "vit"), "image-classification"),
    ("pictures without head", config("ViTModel", "vit"), "image-feature-extraction"),
    ("detector", config("DetrForObjectDetection", "detr"), "object-detection"),
    ("detector by words", config("GroundingDinoForObjectDetection", "grounding-dino"), "zero-shot-object-detection"),
    ("segments", config("SegformerForSemanticSegmentation", "segformer"), "image-segmentation"),
    (
        "segments, its own code",
        config("BriaRMBG", "SegformerForSemanticSegmentation", **custom("AutoModelForImageSegmentation")),
        "image-segmentation",
    ),
    ("masks", config("SamModel", "sam"), "mask-generation"),
    ("depth", config("DepthAnythingForDepthEstimation", "depth_anything"), "depth-estimation"),
    ("films", config("VideoMAEForVideoClassification", "videomae"), "video-classification"),
    ("super-resolution", config("Swin2SRForImageSuperResolution", "swin2sr"), "image-to-image"),
    ("CTC", {**config("Wav2Vec2ForCTC", "wav2vec2"), **SOUND}, "automatic-speech-recognition"),
    ("Whisper", config("WhisperForConditionalGeneration", "whisper"), "automatic-speech-recognition"),
    (
        "sound classifier",
        config("Wav2Vec2ForSequenceClassification", "wav2vec2", **labels("a", "b")),
        "audio-classification",
    ),
    (
        "sound classifier, private class",
        {**config("Model", "wav2vec2", **labels("a", "b", "c")), **SOUND},
        "audio-classification",
    ),
    ("speaks", config("VitsModel", "vits"), "text-to-speech"),
    (
        "speaks, its own code",
        config("ParlerTTSForConditionalGeneration", "parler_tts", audio_encoder={}),
        "text-to-speech",
    ),
    ("music", config("MusicgenForConditionalGeneration", "musicgen"), "text-to-audio"),
    ("voice to voice", config("SpeechT5ForSpeechToSpeech", "speecht5"), "audio-to-audio"),
    ("forecasts", config("TinyTimeMixerForPrediction", "tinytimemixer"), "time-series-forecasting"),
    (
        "forecasts, its own code",
        config("TimeMoeForPrediction", "time_moe", **custom("AutoModelForCausalLM")),
        "time-series-forecasting",
    ),
    ("retrieves pages", config("ColQwen2ForRetrieval", "colqwen2"), "visual-document-retrieval"),
    ("acts", config("OpenVLAForActionPrediction", "openvla", **custom("AutoModelForVision2Seq")), "robotics"),
    ("folds", config("EsmForProteinFolding", "esm"), "protein-structure"),
    ("config alone", {"config.json": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}}, "text-generation"),
    ("config unread", {"config.json": 900, "pytorch_model.bin": 9, "vocab.txt": 9}, "fill-mask"),
    (
        "config a pointer",
        {
            "config.json": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "model.safetensors": 9,
            "generation_config.json": {},
            "tokenizer.json": 9,
        },
        "text-generation",
    ),
]

OTHERS: list[tuple[str, dict[str, Any], str, str, str | None]] = [
    (
        "old popular repo",
        {
            **config("BertForMaskedLM", "bert"),
            "pytorch_model.bin": 9,
            "tf_model.h5": 9,
            "flax_model.msgpack": 9,
            "onnx/model.onnx": 9,
            "openvino/openvino_model.xml": 9,
            "coreml/m.mlpackage/x": 9,
        },
        "transformers",
        "pytorch",
        "fill-mask",
    ),
    (
        "flax alone",
        {"config.json": {"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "flax_model.msgpack": 9},
        "transformers",
        "jax",
        "fill-mask",
    ),
    (
        "cross-encoder",
        config("BertForSequenceClassification", "bert", **labels("LABEL_0")),
        "sentence-transformers",
        "pytorch",
        "text-ranking",
    ),
    (
        "cross-encoder of its own code",
        config(
            "NewForSequenceClassification", "new", **custom("AutoModelForSequenceClassification"), **labels("LABEL_0")
        ),
        "sentence-transformers",
        "pytorch",
        "text-ranking",
    ),
    (
        "cross-encoder of today",
        config(
            "ModernBertForSequenceClassification",
            "modernbert",
            sentence_transformers={"version": "4"},
            **labels("LABEL_0"),
        ),
        "sentence-transformers",
        "pytorch",
        "text-ranking",
    ),
    ("embedder", {**config("BertModel", "bert"), **POOLED}, "sentence-transformers", "pytorch", "sentence-similarity"),
    (
        "embedder that was a decoder",
        {**config("Qwen3ForCausalLM", "qwen3"), **POOLED},
        "sentence-transformers",
        "pytorch",
        "sentence-similarity",
    ),
    (
        "embedder without modules.json",
        {**config("BertModel", "bert"), "config_sentence_transformers.json": {}, "1_Pooling/config.json": {}},
        "sentence-transformers",
        "pytorch",
        "sentence-similarity",
    ),
    (
        "embedder as an adapter",
        {**adapter("BAAI/bge-m3", "FEATURE_EXTRACTION"), **POOLED},
        "sentence-transformers",
        "pytorch",
        "sentence-similarity",
    ),
    (
        "a causal LM beside its config",
        {**config("LlamaForCausalLM", "llama"), "config_sentence_transformers.json": {}},
        "transformers",
        "pytorch",
        "text-generation",
    ),
    (
        "exported",
        {
            "config.json": {"model_type": "bert", "architectures": ["BertForTokenClassification"]},
            "onnx/model.onnx": 9,
            "tokenizer.json": 9,
        },
        "onnxruntime",
        "onnx",
        "token-classification",
    ),
    (
        "exported in the root",
        {"config.json": {"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "model.onnx": 9},
        "onnxruntime",
        "onnx",
        "image-classification",
    ),
    (
        "exported for JavaScript",
        {
            "config.json": {"model_type": "bert", "architectures": ["BertModel"]},
            "onnx/model.onnx": 9,
            "onnx/model_quantized.onnx": 9,
        },
        "transformers.js",
        "onnx",
        "feature-extraction",
    ),
    ("one graph", {"model.onnx": 9}, "onnxruntime", "onnx", None),
    (
        "GGUF",
        {
            "m-Q4_K_M.gguf": 9,
            "m-Q8_0.gguf": 9,
            "config.json": {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        },
        "gguf",
        "ggml",
        "text-generation",
    ),
    ("GGUF that sees", {"m-Q4_K_M.gguf": 9, "mmproj-model-f16.gguf": 9}, "gguf", "ggml", "image-text-to-text"),
    ("GGUF that draws", {"flux1-dev-Q4_0.gguf": 9}, "gguf", "ggml", "text-to-image"),
    (
        "GGUF beside an unrelated Keras file",
        {"ggml-model-q4_0.gguf": 9, "model.h5": 9},
        "gguf",
        "ggml",
        "text-generation",
    ),
    (
        "AWQ",
        config("LlamaForCausalLM", "llama", quantization_config={"quant_method": "awq", "bits": 4}),
        "transformers",
        "pytorch",
        "text-generation",
    ),
    (
        "MLX",
        config(
            "Qwen3ForCausalLM",
            "qwen3",
            quantization={"group_size": 64, "bits": 4},
            quantization_config={"group_size": 64, "bits": 4},
        ),
        "mlx",
        "mlx",
        "text-generation",
    ),
    ("text-to-image", pipeline("StableDiffusionXLPipeline"), "diffusers", "pytorch", "text-to-image"),
    ("inpainting", pipeline("StableDiffusionInpaintPipeline"), "diffusers", "pytorch", "image-inpainting"),
    ("film", pipeline("TextToVideoSDPipeline"), "diffusers", "pytorch", "text-to-video"),
    ("film from a picture", pipeline("StableVideoDiffusionPipeline"), "diffusers", "pytorch", "image-to-video"),
    (
        "film by its parts",
        pipeline("SomethingXLPipeline", unet="UNet3DConditionModel"),
        "diffusers",
        "pytorch",
        "text-to-video",
    ),
    ("sound", pipeline("AudioLDM2Pipeline"), "diffusers", "pytorch", "text-to-audio"),
    ("depth by diffusion", pipeline("MarigoldDepthPipeline"), "diffusers", "pytorch", "depth-estimation"),
    ("edits", pipeline("StableDiffusionInstructPix2PixPipeline"), "diffusers", "pytorch", "image-to-image"),
    ("without text", pipeline("DDPMPipeline"), "diffusers", "pytorch", "unconditional-image-generation"),
    ("its own pipeline", pipeline(["pipeline", "StableMaterialsPipeline"]), "diffusers", "pytorch", "text-to-image"),
    (
        "ControlNet",
        {"config.json": {"_class_name": "ControlNetModel"}, "diffusion_pytorch_model.safetensors": 9},
        "diffusers",
        "pytorch",
        "image-to-image",
    ),
    (
        "VAE",
        {"config.json": {"_class_name": "AutoencoderKL"}, "diffusion_pytorch_model.safetensors": 9},
        "diffusers",
        "pytorch",
        None,
    ),
    ("LoRA", {"pytorch_lora_weights.safetensors": 9}, "diffusers", "pytorch", "text-to-image"),
    ("textual inversion", {"learned_embeds.safetensors": 9}, "diffusers", "pytorch", "text-to-image"),
    ("checkpoint in one file", {"sd_xl_base_1.0.safetensors": 9}, "diffusers", "pytorch", "text-to-image"),
    ("adapter of an LLM", adapter("meta-llama/Llama-2-7b-hf", "CAUSAL_LM"), "peft", "pytorch", "text-generation"),
    (
        "adapter beside its base",
        {**config("LlamaForCausalLM", "llama"), **adapter("x/y", "CAUSAL_LM")},
        "peft",
        "pytorch",
        "text-generation",
    ),
    ("adapter of a VLM", adapter("Qwen/Qwen2.5-VL-7B-Instruct", "CAUSAL_LM"), "peft", "pytorch", "image-text-to-text"),
    (
        "adapter of Whisper",
        adapter("openai/whisper-small", None, auto_mapping={"base_model_class": "WhisperForConditionalGeneration"}),
        "peft",
        "pytorch",
        "automatic-speech-recognition",
    ),
    ("adapter that classifies", adapter("roberta-base", "SEQ_CLS"), "peft", "pytorch", "text-classification"),
    ("adapter that tags", adapter("bert-base-cased", "TOKEN_CLS"), "peft", "pytorch", "token-classification"),
    ("adapter of T5", adapter("google/flan-t5-base", "SEQ_2_SEQ_LM"), "peft", "pytorch", "text2text-generation"),
    ("adapter of NLLB", adapter("facebook/nllb-200-distilled-600M", "SEQ_2_SEQ_LM"), "peft", "pytorch", "translation"),
    (
        "adapter of a picture model",
        adapter("google/vit-base-patch16-224", None),
        "peft",
        "pytorch",
        "image-classification",
    ),
    ("adapter of a generator", adapter("runwayml/stable-diffusion-v1-5", None), "peft", "pytorch", "text-to-image"),
    ("adapter of who knows", adapter("./out/checkpoint", None), "peft", "pytorch", "text-generation"),
    (
        "adapter that retrieves pages",
        adapter("google/paligemma-3b", "FEATURE_EXTRACTION", target_modules="(.*(custom_text_proj).*$)"),
        "peft",
        "pytorch",
        "visual-document-retrieval",
    ),
    (
        "faster-whisper",
        {
            "model.bin": 9,
            "vocabulary.txt": 9,
            "tokenizer.json": 9,
            "config.json": {"alignment_heads": [[1, 0]], "lang_ids": [1], "suppress_ids": []},
        },
        "ctranslate2",
        "ctranslate2",
        "automatic-speech-recognition",
    ),
    (
        "FunASR",
        {
            "am.mvn": 9,
            "model.pt": 9,
            "tokens.json": 9,
            "config.yaml": "model: Paraformer\nfrontend_conf:\n  fs: 16000\n",
        },
        "funasr",
        "pytorch",
        "automatic-speech-recognition",
    ),
    (
        "FunASR that hears silence",
        {"am.mvn": 9, "model.pt": 9, "config.yaml": "model: FsmnVADStreaming\nfrontend_conf:\n  fs: 16000\n"},
        "funasr",
        "pytorch",
        "voice-activity-detection",
    ),
    (
        "FunASR that punctuates",
        {"model.pt": 9, "config.yaml": "model: CTTransformer\nmodel_conf:\n  a: 1\nencoder: SANMEncoder\n"},
        "funasr",
        "pytorch",
        "token-classification",
    ),
    (
        "FunASR as ONNX",
        {"am.mvn": 9, "model_quant.onnx": 9, "config.yaml": "frontend_conf:\n  fs: 16000\n"},
        "funasr-onnx",
        "onnx",
        "automatic-speech-recognition",
    ),
    (
        "timm without classifier",
        {"config.json": {"architecture": "vit_small", "num_classes": 0, "pretrained_cfg": {}}, "model.safetensors": 9},
        "timm",
        "pytorch",
        "image-feature-extraction",
    ),
    (
        "MindFormers json",
        {"config.json": {"model_type": "llama", "mindformers_version": "1.3"}, "mindspore_model.ckpt": 9},
        "mindformers",
        "mindspore",
        "text-generation",
    ),
    (
        "chronos in T5's clothes",
        config("T5ForConditionalGeneration", "t5", chronos_config={"n_tokens": 4096}),
        "chronos",
        "pytorch",
        "time-series-forecasting",
    ),
]


def snapshot(files: dict[str, Any]) -> Snapshot:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in files.items() if not isinstance(v, int)}
    return Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)})


@pytest.mark.parametrize(("name", "files", "task"), TRANSFORMERS, ids=[row[0] for row in TRANSFORMERS])
def test_transformers(name: str, files: dict[str, Any], task: str) -> None:
    info = resolve(snapshot(files), installed=False)
    assert (info.backend, info.framework, info.default_task) == ("transformers", "pytorch", task), info.explain()
    assert info.because["tasks"] and info.because["backend"] and info.because["framework"]


@pytest.mark.parametrize(("name", "files", "backend", "framework", "task"), OTHERS, ids=[row[0] for row in OTHERS])
def test_other_layouts(name: str, files: dict[str, Any], backend: str, framework: str, task: str | None) -> None:
    info = resolve(snapshot(files), installed=False)
    assert (info.backend, info.framework, info.default_task) == (backend, framework, task), info.explain()
