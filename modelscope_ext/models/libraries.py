"""The table of libraries whose models are recognised by their files or their card: one row each, as data.

A row's `features` are alternatives; each is a text of conditions that must all hold:

=====================  =====================================================================================
``am.mvn``             a file of that name in the model's folder (``*`` and ``?`` match, ``**/`` any depth)
``config.json:a.b``    that metadata file was read and has the key (lists are searched through)
``config.json:a=x*``   ... and its value, or one of its values, matches
``@pickle``            there is a weight file of that format
``!condition``         the condition does not hold
=====================  =====================================================================================

The rows stand in the order of precedence: where the formats of two libraries are in one folder, the upper one wins.
`tasks` is what a model of the library is for when nothing else says; `infer` names a function of `inference`.
Adding a library is adding a row here and its two fixtures (a match and a near miss) in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelscope_ext.utils.record import Record

__all__ = ["LIBRARIES", "SPELLINGS", "Library"]


@dataclass(frozen=True)
class Library(Record):
    """One recognised library.

    Attributes:
        name: Its name, also the backend's name in a Resolution.
        framework: What its models run in.
        install: The command that installs it.
        tasks: The default tasks, blank-separated, canonical.
        features: Alternatives that recognise its files; see the module's docstring.
        spellings: Other names in `library_name`, lower case with hyphens, blank-separated.
        infer: A function of `inference` that knows better than `tasks`.
        needs_files: True where a card that names it is wrong unless the files show it.
    """

    name: str
    framework: str
    install: str
    tasks: str = ""
    features: tuple[str, ...] = ()
    spellings: str = ""
    infer: str = ""
    needs_files: bool = False
    tags: tuple[str, ...] = field(default=())


def _pip(name: str) -> str:
    return f"pip install {name}"


_NO_TORCH = "!@safetensors !@pickle"

LIBRARIES: tuple[Library, ...] = (
    Library(
        "diffusers", "pytorch", 'pip install "modelscope-ext[diffusers]"', "text-to-image",
        (
            "model_index.json:_class_name", "modular_model_index.json:_class_name", "modular_model_index.json:_blocks_class_name",
            "config.json:_class_name !config.json:model_type !config.json:architectures", "pytorch_lora_weights.safetensors",
            "pytorch_lora_weights.bin", "diffusion_pytorch_model*.safetensors", "diffusion_pytorch_model*.bin",
            "model_index.json unet/config.json vae/config.json !model_index.json:*", "config.json:_diffusers_version",
            "transformer/config.json vae/config.json scheduler/scheduler_config.json !model_index.json:*",
            "modular_model_index.json !modular_model_index.json:*", "unet/config.json vae/config.json", "scheduler/scheduler_config.json",
        ),
        spellings="diffusion stable-diffusion", infer="diffusers", needs_files=True, tags=("diffusers", "stable-diffusion"),
    ),
    Library("setfit", "pytorch", _pip("setfit"), "text-classification", ("config_setfit.json",)),
    Library("pylate", "pytorch", _pip("pylate"), "sentence-similarity text-ranking", ("modules.json:type=pylate.*",)),
    Library(
        "colpali-engine", "pytorch", _pip("colpali-engine"), "visual-document-retrieval",
        (
            "config.json:architectures=Col[A-Z]* !config.json:architectures=*ForRetrieval !config.json:architectures=ColBERT*",
            "config.json:architectures=BiQwen*",
        ),
        spellings="colpali colqwen vidore",
    ),
    Library(
        "sentence-transformers", "pytorch", 'pip install "modelscope-ext[sentence-transformers]"', "sentence-similarity",
        (
            "modules.json:type=sentence_transformers.*", "modules.json !modules.json:*", "1_Pooling/config.json config.json",
            "config_sentence_transformers.json !config.json:architectures=*ForCausalLM !config.json:architectures=*ForConditionalGeneration"
            " !adapter_config.json config.json",
        ),
        spellings="sbert sentence-transformer", infer="sentence_transformers",
        tags=("sentence-transformers",),
    ),
    Library(
        "adapters", "pytorch", _pip("adapters"), "", ("adapter_config.json:model_class adapter_config.json:config",),
        spellings="adapter-transformers", infer="peft",
    ),
    Library(
        "peft", "pytorch", 'pip install "modelscope-ext[peft]"', "",
        (
            "adapter_config.json !adapter_config.json:model_class !adapter_config.json:adapter_layers", "adapter_model.safetensors",
            "adapter_model.bin",
        ),
        infer="peft", needs_files=True, tags=("peft",),
    ),
    Library("gliner", "pytorch", _pip("gliner"), "token-classification", ("gliner_config.json",)),
    Library("span-marker", "pytorch", _pip("span-marker"), "token-classification", ("config.json:model_type=span-marker",),
            spellings="span-marker-ner spanmarker"),
    Library("chronos", "pytorch", _pip("chronos-forecasting"), "time-series-forecasting", ("config.json:chronos_config",),
            spellings="chronos-forecasting"),
    Library("uni2ts", "pytorch", _pip("uni2ts"), "time-series-forecasting", ("config.json:patch_sizes config.json:num_layers !config.json:model_type",),
            spellings="moirai"),
    Library("colbert", "pytorch", _pip("colbert-ai"), "text-ranking feature-extraction",
            ("config.json:architectures=HF_ColBERT", "config.json:architectures=ColBERT*", "artifact.metadata"), spellings="colbert-ai"),
    Library(
        "speechbrain", "pytorch", _pip("speechbrain"), "audio-classification",
        ("config.json:speechbrain_interface", "hyperparams.yaml *.ckpt", "hyperparams.yaml label_encoder.txt"), infer="speechbrain",
    ),
    Library(
        "mindformers", "mindspore", _pip("mindformers"), "text-generation",
        (
            "*.yaml:model.model_config.type", "*.yaml:model.arch.type", "*.yaml:trainer.type *.yaml:run_mode",
            "*.yaml:trainer.type *.yaml:context.device_target", "config.json:mindformers_version", "mindspore_model.ckpt",
            "mindspore_model.ckpt.index.json", "mindspore_model-*.ckpt", "*.yaml:pretrained_model_dir *.yaml:use_legacy",
        ),
        infer="mindformers",
    ),
    Library(
        "funasr-onnx", "onnx", _pip("funasr-onnx"), "automatic-speech-recognition",
        ("am.mvn **/*.onnx !model.pt !@safetensors", "model_quant.onnx config.yaml !model.pt", "vad.mvn **/*.onnx", "config.yaml:model_conf *.onnx !model.pt"),
        infer="funasr",
    ),
    Library(
        "funasr", "pytorch", _pip("funasr"), "automatic-speech-recognition",
        (
            "configuration.json:model.type=funasr", "configuration.json:pipeline.type=funasr-pipeline", "configuration.json:model_name_in_hub",
            "am.mvn config.yaml", "am.mvn *.pt", "am.mvn *.pb", "config.yaml:frontend_conf config.yaml:model",
            "config.yaml:model config.yaml:model_conf config.yaml:encoder", "config.yaml:model=CAMPPlus",
        ),
        infer="funasr",
    ),
    Library(
        "paddlenlp", "paddle", _pip("paddlenlp"), "",
        ("model_state.pdparams", "model_config.json:init_class", "model_config.json:init_args", "config.json:paddlenlp_version", "model_state-*.pdparams"),
        infer="paddlenlp",
    ),
    Library(
        "paddleocr", "paddle", _pip("paddleocr"), "image-to-text",
        ("inference.yml:PostProcess", "inference.yml:Global.model_name", "inference.yml *.pdiparams", "inference.yml inference.json"),
        spellings="paddlex", infer="paddleocr",
    ),
    Library("paddlespeech", "paddle", _pip("paddlespeech"), "text-to-speech", ("*.pdz phone_id_map.txt", "speech_stats.npy *.pdz")),
    Library("paddle", "paddle", _pip("paddlepaddle"), "", ("*.pdiparams", "*.pdmodel", "*.pdparams"), spellings="paddlepaddle paddle-inference"),
    Library("onnxruntime-genai", "onnx", _pip("onnxruntime-genai"), "text-generation", ("genai_config.json",), infer="heads"),
    Library("piper", "onnx", _pip("piper-tts"), "text-to-speech", ("**/*.onnx.json",), spellings="piper-tts"),
    Library("sherpa-onnx", "onnx", _pip("sherpa-onnx"), "automatic-speech-recognition",
            ("tokens.txt *encoder*.onnx *decoder*.onnx !config.json", "tokens.txt *joiner*.onnx", "tokens.txt lexicon.txt *.onnx", "tokens.txt espeak-ng-data/** *.onnx"),
            spellings="sherpa k2 icefall", infer="sherpa"),
    Library("triton", "onnx", _pip("tritonclient"), "", ("config.pbtxt", "*/config.pbtxt"), spellings="tritonserver triton-inference-server"),
    Library("mlc-llm", "tvm", _pip("mlc-llm"), "text-generation",
            ("mlc-chat-config.json", "params_shard_0.bin ndarray-cache.json", "params_shard_0.bin tensor-cache.json", "params/mlc-chat-config.json"), spellings="mlc mlc-ai web-llm"),
    Library(
        "mlx", "mlx", _pip("mlx-lm"), "text-generation",
        (
            "config.json:quantization.group_size !config.json:quantization_config.quant_method", "weights.npz config.json",
            "weights.*.npz config.json", "**/*.safetensors config.json:quantization.bits !config.json:quantization_config.quant_method",
        ),
        spellings="mlx-lm mlx-vlm mlx-audio mlx-whisper mlx-image mlx-community mlx-swift mlx-embeddings", infer="heads",
    ),
    Library(
        "ctranslate2", "ctranslate2", _pip("ctranslate2"), "translation",
        tuple(f"model.bin {words}" for words in ("vocabulary.txt", "vocabulary.json", "shared_vocabulary.*", "source_vocabulary.*"))
        + ("@ct2",), spellings="faster-whisper ct2", infer="ctranslate2",
    ),
    Library("nemo", "pytorch", _pip('"nemo_toolkit[all]"'), "automatic-speech-recognition",
            ("**/*.nemo !@safetensors", "context/io.json weights/**", "model_config.yaml model_weights.ckpt"), spellings="nemo-toolkit nvidia-nemo", infer="named"),
    Library("espnet", "pytorch", _pip("espnet"), "automatic-speech-recognition",
            ("meta.yaml exp/**", "exp/*/config.yaml", "exp/*/*.pth data/**"), spellings="espnet2", infer="espnet"),
    Library("pyannote-audio", "pytorch", _pip("pyannote.audio"), "voice-activity-detection",
            ("config.yaml:pipeline.name=pyannote*", "config.yaml:model._target_=pyannote*", "config.yaml:task.VAD", "config.yaml:version config.yaml:pipeline.params"),
            spellings="pyannote pyannote.audio", infer="pyannote"),
    Library(
        "openvino", "openvino", _pip('"optimum[openvino]"'), "",
        (f"openvino_model.xml {_NO_TORCH}", f"openvino_*_model.xml {_NO_TORCH}", f"*.xml @openvino {_NO_TORCH}", f"**/openvino_*.xml {_NO_TORCH}"),
        spellings="optimum-intel openvino-genai", infer="heads",
    ),
    Library("rkllm", "rknn", _pip("rkllm-toolkit"), "text-generation", ("**/*.rkllm", "**/librkllmrt.so"), spellings="rkllm-toolkit", infer="heads_named"),
    Library("rknn", "rknn", _pip("rknn-toolkit2"), "", ("**/*.rknn",), spellings="rknn-toolkit2 rknn-toolkit-lite2", infer="named"),
    Library(
        "timm", "pytorch", _pip("timm"), "image-classification",
        ("config.json:architecture config.json:pretrained_cfg", "config.json:architecture config.json:num_features", "config.json:architecture config.json:num_classes !config.json:model_type"),
        spellings="pytorch-image-models", infer="timm",
    ),
    Library("open-clip", "pytorch", _pip("open_clip_torch"), "zero-shot-image-classification",
            ("open_clip_config.json", "open_clip_pytorch_model.bin !config.json !configuration.json", "open_clip_model.safetensors !config.json"), spellings="open-clip-torch openclip"),
    Library("bertopic", "pytorch", _pip("bertopic"), "text-classification", ("topics.json topic_embeddings.*", "ctfidf_config.json", "topics.json config.json:embedding_model")),
    Library("flair", "pytorch", _pip("flair"), "token-classification", ("best-model.pt loss.tsv", "final-model.pt training.log", "pytorch_model.bin loss.tsv", "final-model.pt loss.tsv")),
    Library("spacy", "pytorch", _pip("spacy"), "token-classification", ("meta.json config.cfg", "*/config.cfg */meta.json")),
    Library("stanza", "pytorch", _pip("stanza"), "token-classification", ("models/default.zip", "models/tokenize/*.pt", "models/default_*.zip")),
    Library("allennlp", "pytorch", _pip("allennlp"), "", ("weights.th config.json", "config.json:dataset_reader", "weights.th vocabulary/**", "**/weights.th"), infer="named"),
    Library("asteroid", "pytorch", _pip("asteroid"), "audio-to-audio", ("conf.yml best_model.pth", "conf.yml *.pth final_metrics.json")),
    Library("coqui-tts", "pytorch", _pip("coqui-tts"), "text-to-speech", ("config.json:audio.sample_rate config.json:model !config.json:model_type", "config.json:model_args.tts_model*", "config.json:model=xtts", "speakers_xtts.pth"), spellings="tts coqui"),
    Library("kokoro", "pytorch", _pip("kokoro"), "text-to-speech", ("config.json:istftnet",)),
    Library("audiocraft", "pytorch", _pip("audiocraft"), "text-to-audio", ("compression_state_dict.bin", "state_dict.bin compression_state_dict.bin")),
    Library("ultralytics", "pytorch", _pip("ultralytics"), "object-detection",
            ("yolo*.pt !config.json", "**/yolov*.pt !config.json", "args.yaml:imgsz args.yaml:task", "args.yaml:model=yolo*"), spellings="yolo yolov5 yolov8 yolo11 ultralyticsplus", infer="ultralytics"),
    Library("detectron2", "pytorch", "pip install git+https://github.com/facebookresearch/detectron2", "object-detection",
            ("**/*.yaml:MODEL.META_ARCHITECTURE", "model_final.pth", "config.yaml:MODEL.BACKBONE"), infer="named"),
    Library("mmdet", "pytorch", _pip("mmdet"), "object-detection", ("mmdet_config.py", "**/*.log.json *.pth configs/**", "config.py epoch_*.pth", "vis_data/config.py"), spellings="mmdetection openmmlab mmengine mmsegmentation mmpretrain"),
    Library(
        "fairseq", "pytorch", _pip("fairseq"), "translation",
        ("config.yaml:vocab_filename", "dict.txt *.pt !config.json", "dict.*.txt *.pt", "checkpoint_best.pt dict.*.txt", "config.yaml:input_feat_per_channel"), infer="fairseq",
    ),
    Library("mistral-inference", "pytorch", _pip("mistral-inference"), "text-generation",
            ("params.json consolidated*.safetensors !config.json", "params.json tekken.json !config.json", "params.json tokenizer.model.v* !config.json"), spellings="mistral-common mistral", infer="named"),
    Library("llama-models", "pytorch", _pip("llama-models"), "text-generation", ("params.json consolidated.*.pth !config.json", "params.json:dim consolidated*.pth"), spellings="llama-stack llama"),
    Library("rwkv", "pytorch", _pip("rwkv"), "text-generation", ("RWKV*.pth", "rwkv*.pth"), spellings="rwkv-lm"),
    Library("exllamav2", "pytorch", _pip("exllamav2"), "text-generation", ("config.json:quantization_config.quant_method=exl2", "measurement.json config.json output*.safetensors", "output.safetensors config.json job_new.json"), spellings="exllama exllamav3 exl2 exl3", infer="heads"),
    Library("tensorrt-llm", "tensorrt", _pip("tensorrt-llm"), "text-generation",
            ("config.json:build_config config.json:pretrained_config", "rank0.engine", "config.json:pretrained_config.architecture", "rank0.safetensors config.json"), spellings="trt-llm tensorrtllm"),
    Library("tensorrt", "tensorrt", _pip("tensorrt"), "", ("**/*.engine !config.json:model_type", "*.trt", "*.plan"), infer="named"),
    Library("vllm", "pytorch", _pip("vllm"), "text-generation", ("speculator_config.json",), infer="heads"),
    Library("sglang", "pytorch", _pip("sglang"), "text-generation", (), infer="heads"),
    Library("lerobot", "pytorch", _pip("lerobot"), "robotics", ("config.json:input_features config.json:output_features", "train_config.json policy_preprocessor.json", "config.json:input_shapes config.json:output_shapes")),
    Library("stable-baselines3", "pytorch", _pip("stable-baselines3"), "reinforcement-learning", ("config.json:policy_class", "*.zip results.json replay.mp4", "args.yml *.zip env_kwargs.yml"), spellings="sb3 sb3-contrib rl-zoo3"),
    Library("sample-factory", "pytorch", _pip("sample-factory"), "reinforcement-learning", ("sf_log.txt", "cfg.json checkpoint_p0/**")),
    Library("ml-agents", "onnx", _pip("mlagents"), "reinforcement-learning", ("configuration.yaml:behaviors", "run_logs/training_status.json", "*.nn configuration.yaml"), spellings="mlagents unity-ml-agents"),
    Library("unity-sentis", "sentis", "Unity Package Manager: com.unity.sentis", "", ("**/*.sentis",), spellings="sentis unity", infer="named"),
    Library("sklearn", "sklearn", _pip("scikit-learn skops"), "tabular-classification",
            ("config.json:sklearn", "**/*.skops", "*sklearn*.joblib !config.json:model_type", "sklearn_model.pkl", "*.joblib !config.json !@safetensors !@pickle !@onnx"), spellings="scikit-learn skops", infer="sklearn"),
    Library("xgboost", "xgboost", _pip("xgboost"), "tabular-classification", ("*.ubj", "xgb*.json !config.json", "*xgboost*.model"), spellings="xgb"),
    Library("lightgbm", "lightgbm", _pip("lightgbm"), "tabular-classification", ("lightgbm*.txt", "lgbm*.txt", "*lightgbm*.model", "lgb*.txt"), spellings="lgbm"),
    Library("catboost", "catboost", _pip("catboost"), "tabular-classification", ("**/*.cbm",)),
    Library("fasttext", "fasttext", _pip("fasttext"), "text-classification", ("**/*.ftz", "lid.*.bin", "cc.*.bin", "wiki.*.bin", "@fasttext"), spellings="fast-text"),
    Library("fastai", "pytorch", _pip("fastai"), "image-classification", ("model.pkl pyproject.toml", "learner.pkl", "export.pkl !config.json")),
    Library(
        "gguf", "ggml", _pip("llama-cpp-python"), "text-generation", ("**/*.gguf !@safetensors !adapter_config.json !pytorch_model.bin !pytorch_model.bin.index.json", "*mmproj*.gguf", "params template *.gguf"),
        spellings="llama.cpp llama-cpp llama-cpp-python gguf-connector ollama lmstudio", infer="gguf", needs_files=True,
    ),
    Library("ggml", "ggml", "build whisper.cpp or ggml from source", "automatic-speech-recognition", ("ggml-*.bin", "@ggml"), spellings="whisper.cpp whisper-cpp", infer="named"),
    Library("llamafile", "ggml", "download the file and run it", "text-generation", ("**/*.llamafile",)),
    Library(
        "keras", "tensorflow", _pip("keras"), "",
        (
            "keras_metadata.pb", f"**/*.keras {_NO_TORCH}", "metadata.json model.weights.h5", "config.json:registered_name config.json:module=keras*",
            "task.json preprocessor.json *.weights.h5", "model.weights.h5", f"*.h5 !config.json {_NO_TORCH}", f"tf_model.h5 !config.json {_NO_TORCH}",
        ),
        spellings="keras-hub keras-nlp keras-cv tf-keras keras3", infer="named",
    ),
    Library("tensorflow", "tensorflow", _pip("tensorflow"), "", (f"saved_model.pb {_NO_TORCH}", f"*/saved_model.pb {_NO_TORCH}", f"@tf_checkpoint !config.json {_NO_TORCH}", f"**/frozen_*graph.pb {_NO_TORCH}"), spellings="tf tf2 saved-model tf-hub tensorflow-hub", infer="named"),
    Library("tflite", "tflite", _pip("ai-edge-litert"), "", (f"**/*.tflite {_NO_TORCH} !@onnx", f"**/*.litertlm {_NO_TORCH}"), spellings="litert litert-lm mediapipe ai-edge-litert", infer="named"),
    Library("coreml", "coreml", _pip("coremltools"), "", (f"**/*.mlmodel {_NO_TORCH} !@onnx", f"**/*.mlpackage/** {_NO_TORCH} !@onnx", f"**/*.mlmodelc/** {_NO_TORCH} !@onnx"), spellings="coremltools core-ml whisperkit", infer="named"),
    Library("tfjs", "tensorflow", "npm install @tensorflow/tfjs", "", ("@tfjs", "model.json group1-shard*.bin"), spellings="tf.js tensorflow.js tensorflowjs", infer="named"),
    Library("ncnn", "ncnn", _pip("ncnn"), "", ("@ncnn", "*.ncnn.param"), infer="named"),
    Library("mnn", "mnn", _pip("MNN"), "text-generation", ("@mnn", "llm.mnn", "llm_config.json *.mnn"), infer="named"),
    Library("qai-hub", "qnn", _pip("qai-hub-models"), "", ("**/*.dlc", "**/*.qnn*.bin"), spellings="pytorch-qualcomm qualcomm qnn snpe qai-hub-models", infer="named"),
    Library("mindspore", "mindspore", _pip("mindspore"), "", (f"@mindspore {_NO_TORCH}", f"@mindir {_NO_TORCH}", "**/*.mindir"), spellings="mindspore-lite mindnlp mindcv mindocr mindaudio mindyolo", infer="named"),
    Library("mindone", "mindspore", _pip("mindone"), "", (), infer="heads"),
    Library("openmind", "pytorch", _pip("openmind"), "", (), infer="heads"),
    Library("diffsynth", "pytorch", _pip("diffsynth"), "text-to-image", (), spellings="diffsynth-studio diffsynth-engine", infer="named"),
    Library("optimum-habana", "pytorch", _pip("optimum-habana"), "", (), spellings="habana"),
    Library("executorch", "executorch", _pip("executorch"), "", ("**/*.pte",), infer="heads"),
    Library("xtuner", "pytorch", _pip("xtuner"), "text-generation", ("xtuner_config.py !adapter_config.json",), infer="heads"),
    Library("transformers", "pytorch", 'pip install "modelscope-ext[transformers]"', "", (), spellings="huggingface hf", infer="heads"),
    Library("onnxruntime", "onnx", 'pip install "modelscope-ext[onnx]"', "", (), spellings="onnx ort optimum optimum-onnx optimum-onnxruntime onnx-community", infer="heads"),
    Library("transformers.js", "onnx", 'pip install "modelscope-ext[onnx]"', "", (), spellings="transformersjs transformers-js", infer="heads"),
    Library("modelscope", "pytorch", 'pip install "modelscope-ext[modelscope]"', "", (), spellings="ms"),
)  # fmt: skip

#: Spelling of a library in a card or an argument (lower case, hyphens) -> the row's name.
SPELLINGS: Mapping[str, str] = {
    spelling: row.name for row in LIBRARIES for spelling in (row.name, *row.spellings.split())
}
