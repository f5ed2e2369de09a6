"""Every library of the table: one folder that it recognises, and a near miss that must not match."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelscope_ext.errors import NotAModel
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.decision.features import View, met_all
from modelscope_ext.models.decision.libraries import LIBRARIES, SPELLINGS
from modelscope_ext.models.decision.recognised import (
    find,
    is_bare_card,
    precedence,
    recognise,
    recognise_one,
    tagged_library,
)
from modelscope_ext.models.resolve import resolve

_BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
_LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def card(**keys: Any) -> dict[str, Any]:
    return {"README.md": "---\n" + "\n".join(f"{k}: {json.dumps(v)}" for k, v in keys.items()) + "\n---\n"}


#: Library -> (files that are its own, files that look like it and are not). A value is a text (str), a document (dict
#: or list) or a size in bytes.
FIXTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "diffusers": (
        {"model_index.json": {"_class_name": "FluxPipeline"}, "vae/config.json": {"_class_name": "AutoencoderKL"}},
        {"model_index.json": {"layer.0": {"offset": 0, "size": 8}}, "main.cpp": 9},
    ),
    "setfit": (
        {"config_setfit.json": {"labels": None}, "model_head.pkl": 9},
        {"model_head.pkl": 9, "modules.json": []},
    ),
    "model2vec": (
        {"config.json": {"model_type": "model2vec"}, "model.safetensors": 9},
        {"config.json": {"model_type": "bert"}},
    ),
    "pylate": (
        {"modules.json": [{"idx": 0, "type": "pylate.models.Dense.Dense"}], "config.json": _BERT},
        {"modules.json": [{"idx": 0, "type": "sentence_transformers.models.Dense"}], "config.json": _BERT},
    ),
    "colpali-engine": (
        {"config.json": {"model_type": "qwen2_vl", "architectures": ["ColQwen2"]}},
        {"config.json": {"model_type": "colpali", "architectures": ["ColPaliForRetrieval"]}},
    ),
    "sentence-transformers": (
        {"modules.json": [{"idx": 0, "type": "sentence_transformers.models.Transformer"}], "config.json": _BERT},
        {"config_sentence_transformers.json": {"prompts": {}}, "config.json": _LLAMA},
    ),
    "adapters": (
        {"adapter_config.json": {"config": {"non_linearity": "relu"}, "model_class": "BertModel", "name": "ner"}},
        {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "x/y"}},
    ),
    "peft": (
        {
            "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "x/y"},
            "adapter_model.safetensors": 9,
        },
        {"adapter_config.json": {"config": {}, "model_class": "BertModel"}},
    ),
    "gliner": (
        {"gliner_config.json": {"model_name": "x"}, "pytorch_model.bin": 9},
        {"gliner.py": 9, "pytorch_model.bin": 9},
    ),
    "span-marker": ({"config.json": {"model_type": "span-marker"}}, {"config.json": {"model_type": "bert"}}),
    "chronos": (
        {
            "config.json": {
                "model_type": "t5",
                "architectures": ["T5ForConditionalGeneration"],
                "chronos_config": {"n_tokens": 9},
            }
        },
        {"config.json": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}},
    ),
    "uni2ts": (
        {"config.json": {"patch_sizes": [8], "num_layers": 6, "d_model": 384}},
        {"config.json": {"patch_size": 8, "num_layers": 6}},
    ),
    "colbert": ({"config.json": {"model_type": "bert", "architectures": ["HF_ColBERT"]}}, {"config.json": _BERT}),
    "speechbrain": (
        {"config.json": {"speechbrain_interface": "EncoderASR"}, "hyperparams.yaml": "a: 1\n"},
        {"hyperparams.yaml": "lr: 0.1\n", "train.py": 9},
    ),
    "mindformers": (
        {
            "run.yaml": "trainer:\n  type: CausalLanguageModelingTrainer\nrun_mode: predict\n"
            "model:\n  model_config:\n    type: LlamaConfig\n"
        },
        {"run.yaml": "trainer: pytorch_lightning\nmodel: resnet\n"},
    ),
    "funasr-onnx": (
        {"am.mvn": 9, "model_quant.onnx": 9, "config.yaml": "frontend_conf:\n  fs: 16000\n"},
        {"model_quant.onnx": 9},
    ),
    "funasr": (
        {"am.mvn": 9, "model.pt": 9, "config.yaml": "model: Paraformer\nfrontend_conf:\n  fs: 16000\n"},
        {"model.pt": 9, "config.yaml": "model: resnet50\nepochs: 3\n"},
    ),
    "paddlenlp": (
        {"model_state.pdparams": 9, "model_config.json": {"init_class": "BertForSequenceClassification"}},
        {"model_config.json": {"hidden": 3}, "weights.pdparams": 9},
    ),
    "paddleocr": (
        {
            "inference.yml": "Global:\n  model_name: PP-OCRv5_mobile_rec\nPostProcess:\n  name: CTC\n",
            "inference.pdiparams": 9,
        },
        {"inference.yml": "steps: []\n"},
    ),
    "paddlespeech": ({"snapshot_iter_1.pdz": 9, "phone_id_map.txt": 9, "speech_stats.npy": 9}, {"phone_id_map.txt": 9}),
    "paddle": ({"inference.pdmodel": 9, "inference.pdiparams": 9}, {"inference.onnx": 9}),
    "onnxruntime-genai": (
        {"genai_config.json": {"model": {"type": "phi3"}}, "model.onnx": 9},
        {"generation_config.json": {}, "model.onnx": 9},
    ),
    "piper": ({"en_US-amy-low.onnx": 9, "en_US-amy-low.onnx.json": 9}, {"en_US-amy-low.onnx": 9}),
    "sherpa-onnx": (
        {"tokens.txt": 9, "encoder.int8.onnx": 9, "decoder.onnx": 9, "joiner.onnx": 9},
        {"tokens.txt": 9, "model.onnx": 9},
    ),
    "triton": ({"config.pbtxt": 9, "1/model.onnx": 9}, {"1/model.onnx": 9, "config.txt": 9}),
    "mlc-llm": (
        {"mlc-chat-config.json": {"model_lib": "x"}, "params_shard_0.bin": 9},
        {"config.json": _LLAMA, "pytorch_model.bin": 9},
    ),
    "mlx": (
        {"config.json": {**_LLAMA, "quantization": {"group_size": 64, "bits": 4}}, "model.safetensors": 9},
        {"config.json": {**_LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}}, "model.safetensors": 9},
    ),
    "ctranslate2": (
        {"model.bin": 9, "shared_vocabulary.txt": 9, "config.json": {"bos_token": "<s>", "unk_token": "<unk>"}},
        {"model.bin": 9, "vocab.txt": 9},
    ),
    "nemo": ({"stt_en_conformer_ctc_small.nemo": 9}, {"nemo.py": 9, "model.pt": 9}),
    "espnet": (
        {"meta.yaml": "espnet: 0.10\n", "exp/asr_train/config.yaml": 9, "exp/asr_train/valid.pth": 9},
        {"meta.yaml": "a: 1\n"},
    ),
    "pyannote-audio": (
        {
            "config.yaml": "version: 3.1.0\npipeline:\n"
            "  name: pyannote.audio.pipelines.SpeakerDiarization\n  params: {}\n"
        },
        {"config.yaml": "pipeline:\n  steps: 3\n"},
    ),
    "openvino": (
        {"openvino_model.xml": 9, "openvino_model.bin": 9, "config.json": _BERT},
        {"config.json": _BERT, "model.safetensors": 9, "openvino/openvino_model.xml": 9},
    ),
    "rkllm": ({"qwen2-w8a8.rkllm": 9, "config.json": _LLAMA}, {"rkllm.py": 9, "config.json": _LLAMA}),
    "rknn": ({"vision.rknn": 9}, {"rknn.md": 9, "vision.onnx": 9}),
    "timm": (
        {
            "config.json": {"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": {"tag": "a1_in1k"}},
            "model.safetensors": 9,
        },
        {"config.json": {"model_type": "resnet", "architectures": ["ResNetForImageClassification"]}},
    ),
    "open-clip": (
        {"open_clip_config.json": {"model_cfg": {}}, "open_clip_pytorch_model.bin": 9},
        {"config.json": {"model_type": "clip", "architectures": ["CLIPModel"]}, "open_clip_config.json": {}},
    ),
    "bertopic": (
        {"topics.json": 9, "topic_embeddings.safetensors": 9, "config.json": {"calculate_probabilities": False}},
        {"topics.json": 9},
    ),
    "flair": ({"final-model.pt": 9, "training.log": 9, "loss.tsv": 9}, {"model.pt": 9, "training.log": 9}),
    "spacy": (
        {"meta.json": 9, "config.cfg": 9, "ner/model": 9, "vocab/strings.json": 9},
        {"meta.json": 9, "setup.cfg": 9},
    ),
    "stanza": ({"models/default.zip": 9, "models/tokenize/ewt.pt": 9}, {"models/model.zip": 9}),
    "allennlp": ({"weights.th": 9, "config.json": {"dataset_reader": {"type": "srl"}}}, {"weights.pth": 9}),
    "asteroid": ({"conf.yml": "optim: {}\n", "best_model.pth": 9}, {"conf.yml": "a: 1\n"}),
    "coqui-tts": (
        {"config.json": {"model": "vits", "audio": {"sample_rate": 22050}}, "best_model.pth": 9},
        {"config.json": {"model": "vits", "lr": 1}},
    ),
    "kokoro": (
        {"config.json": {"istftnet": {"gen_istft_n_fft": 20}}, "kokoro-v1_0.pth": 9},
        {"config.json": {"n_fft": 20}, "model.pth": 9},
    ),
    "audiocraft": ({"state_dict.bin": 9, "compression_state_dict.bin": 9}, {"state_dict.bin": 9}),
    "ultralytics": ({"yolov8n.pt": 9}, {"model.pt": 9, "yolo.md": 9}),
    "detectron2": (
        {"config.yaml": "MODEL:\n  META_ARCHITECTURE: GeneralizedRCNN\n", "model.pth": 9},
        {"config.yaml": "MODEL: resnet\n", "model.pth": 9},
    ),
    "mmdet": ({"config.py": 9, "epoch_12.pth": 9}, {"config.py": 9, "best.pth": 9}),
    "fairseq": ({"dict.en.txt": 9, "dict.de.txt": 9, "model.pt": 9}, {"dict.json": 9, "model.pt": 9}),
    "mistral-inference": (
        {"params.json": {"dim": 4096}, "consolidated.safetensors": 9, "tekken.json": 9},
        {"params.json": {"lr": 1}, "train.py": 9},
    ),
    "llama-models": (
        {"params.json": {"dim": 4096}, "consolidated.00.pth": 9, "tokenizer.model": 9},
        {"params.json": {"dim": 4096}},
    ),
    "rwkv": ({"RWKV-x060-World-1B6.pth": 9}, {"rwkv.py": 9}),
    "exllamav2": (
        {"config.json": {**_LLAMA, "quantization_config": {"quant_method": "exl2"}}, "output.safetensors": 9},
        {"config.json": {**_LLAMA, "quantization_config": {"quant_method": "awq"}}, "model.safetensors": 9},
    ),
    "tensorrt-llm": (
        {
            "config.json": {
                "pretrained_config": {"architecture": "LlamaForCausalLM"},
                "build_config": {"max_batch_size": 1},
            },
            "rank0.engine": 9,
        },
        {"config.json": _LLAMA},
    ),
    "tensorrt": ({"unet.engine": 9}, {"engine.py": 9}),
    "vllm": (
        {**card(library_name="vllm"), "config.json": _LLAMA},
        {**card(tags=["vllm-compatible"]), "config.json": _LLAMA},
    ),
    "sglang": (
        {**card(library_name="sglang"), "config.json": _LLAMA},
        {**card(tags=["sglang-like"]), "config.json": _LLAMA},
    ),
    "lerobot": (
        {
            "config.json": {"type": "act", "input_features": {"a": 1}, "output_features": {"b": 1}},
            "model.safetensors": 9,
        },
        {"config.json": {"type": "act", "hidden": 3}},
    ),
    "stable-baselines3": (
        {"config.json": {"policy_class": {":type:": "x"}, "verbose": 1}, "ppo-LunarLander-v2.zip": 9},
        {"config.json": {"policy": "x"}, "data.zip": 9},
    ),
    "sample-factory": (
        {"cfg.json": 9, "sf_log.txt": 9, "checkpoint_p0/best.pth": 9},
        {"cfg.json": 9, "checkpoint/best.pth": 9},
    ),
    "ml-agents": (
        {"configuration.yaml": "behaviors:\n  Huggy: {}\n", "Huggy.onnx": 9},
        {"configuration.yaml": "a: 1\n", "Huggy.onnx": 9},
    ),
    "unity-sentis": ({"model.sentis": 9}, {"sentis.cs": 9}),
    "sklearn": (
        {"model.skops": 9, "config.json": {"sklearn": {"task": "tabular-regression"}}},
        {"config.json": {"task": "tabular-regression"}},
    ),
    "xgboost": ({"model.ubj": 9}, {"model.json": 9}),
    "lightgbm": ({"lightgbm_model.txt": 9}, {"model.txt": 9}),
    "catboost": ({"model.cbm": 9}, {"catboost_info.md": 9}),
    "fasttext": ({"lid.176.ftz": 9}, {"model.txt": 9}),
    "fastai": ({"model.pkl": 9, "pyproject.toml": 9}, {"model.pkl": 9}),
    "gguf": ({"llama-3-8b-Q4_K_M.gguf": 9}, {"config.json": _LLAMA, "model.safetensors": 9, "llama.gguf": 9}),
    "ggml": ({"ggml-base.en.bin": 9}, {"pytorch_model.bin": 9}),
    "llamafile": ({"llava.llamafile": 9}, {"llamafile.md": 9}),
    "keras": (
        {"saved_model.pb": 9, "keras_metadata.pb": 9, "variables/variables.index": 9},
        {"config.json": _BERT, "model.safetensors": 9, "tf_model.h5": 9},
    ),
    "tensorflow": (
        {"saved_model.pb": 9, "variables/variables.index": 9},
        {"config.json": _BERT, "model.safetensors": 9, "saved_model.pb": 9},
    ),
    "tflite": ({"model.tflite": 9}, {"model.tflite": 9, "model.safetensors": 9, "config.json": _BERT}),
    "coreml": (
        {"Model.mlpackage/Data/weights/weight.bin": 9, "Model.mlpackage/Manifest.json": 9},
        {"coreml/Model.mlmodel": 9, "config.json": _BERT, "model.safetensors": 9},
    ),
    "tfjs": ({"model.json": 9, "group1-shard1of2.bin": 9, "group1-shard2of2.bin": 9}, {"model.json": 9}),
    "ncnn": ({"model.ncnn.param": 9, "model.ncnn.bin": 9}, {"model.params.md": 9}),
    "mnn": ({"llm.mnn": 9, "llm.mnn.weight": 9, "llm_config.json": 9}, {"llm_config.json": 9}),
    "qai-hub": ({"model.dlc": 9}, {"dlc.md": 9}),
    "mindspore": ({"model.mindir": 9}, {"mindir.py": 9}),
    "mindone": ({**card(library_name="mindone"), "model_index.json": 9}, {**card(tags=["mindones"])}),
    "onediff": ({**card(library_name="onediff")}, {**card(tags=["onediffs"])}),
    "openmind": (card(library_name="openmind", frameworks=["MindSpore"]), card(tags=["openminded"])),
    "diffsynth": (card(library_name="DiffSynth-Studio"), card(tags=["diffsynthesis"])),
    "optimum-habana": (card(library_name="optimum-habana"), card(tags=["gaudi"])),
    "executorch": ({"model.pte": 9}, {"pte.md": 9}),
    "xtuner": (
        {"xtuner_config.py": 9, "epoch_1.pth": 9},
        {"xtuner_config.py": 9, "adapter_config.json": {"peft_type": "LORA"}},
    ),
    "transformers": (card(library_name="transformers"), card(tags=["transformer"])),
    "onnxruntime": (card(library_name="onnx"), card(tags=["onnx-like"])),
    "transformers.js": (card(library_name="Transformers.js"), card(tags=["javascript"])),
    "modelscope": (card(library_name="ModelScope"), card(tags=["scope"])),
}


def snapshot(files: dict[str, Any]) -> Snapshot:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in files.items() if not isinstance(v, int)}
    return Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)})


def claimed(files: dict[str, Any]) -> set[str]:
    evidence = collect(snapshot(files))
    tag = tagged_library(evidence)
    return {match.backend for match in recognise(evidence)} | ({tag[0].name} if tag else set())


def test_at_least_35_libraries_and_a_fixture_for_each_row() -> None:
    names = [row.name for row in LIBRARIES]
    assert len(names) == len(set(names)) >= 35
    assert set(names) == set(FIXTURES)


@pytest.mark.parametrize("row", LIBRARIES, ids=lambda row: row.name)
def test_positive_and_near_miss(row: Any) -> None:
    positive, near = FIXTURES[row.name]
    assert row.name in claimed(positive)
    assert row.name not in claimed(near)
    info = resolve(snapshot(positive), installed=False)
    assert info.backend == row.name
    assert info.because["backend"][0].text
    if row.framework and row.name not in ("openmind",):
        assert info.framework == row.framework
    if not info.loadable:
        text = info.explain()
        assert row.name in text and "cannot be loaded by this package yet" in text and row.install in text


@pytest.mark.parametrize("row", LIBRARIES, ids=lambda row: row.name)
def test_the_card_alone_names_it_in_any_spelling(row: Any) -> None:
    for spelling in (row.name, row.name.upper(), *row.spellings.split()):
        assert find(spelling) is row
        evidence = collect(snapshot(card(library_name=spelling)))
        assert is_bare_card(evidence)
        assert resolve(snapshot(card(library_name=spelling)), installed=False).backend == row.name


def test_spellings_are_not_shared() -> None:
    seen: dict[str, str] = {}
    for row in LIBRARIES:
        for spelling in {row.name, *row.spellings.split()}:
            assert seen.setdefault(spelling, row.name) == row.name
            assert spelling == spelling.lower().replace("_", "-")
    assert seen == dict(SPELLINGS)


def test_the_upper_row_wins_where_two_formats_are_in_one_folder() -> None:
    files = {**FIXTURES["setfit"][0], **FIXTURES["sentence-transformers"][0]}
    info = resolve(snapshot(files), installed=False)
    assert info.backend == "setfit" and precedence("setfit") < precedence("sentence-transformers")
    assert info.alternatives[0].backend == "sentence-transformers"
    assert any(f.code == "backend-contradiction" for f in info.findings)


def test_a_library_that_the_table_does_not_have_is_still_named() -> None:
    info = resolve(snapshot(card(library_name="brand_new-lib", pipeline_tag="text-to-3d")), installed=False)
    assert (info.backend, info.loadable, info.default_task) == ("brand-new-lib", False, "text-to-3d")
    with pytest.raises(NotAModel):
        resolve(snapshot(card(library_name="custom")), installed=False)


def test_features_search_documents_names_and_formats() -> None:
    files = {"config.json": {"a": [{"b": "one"}, {"b": "two"}], "model_type": "x"}, "deep/er/w.gguf": 9, "w.bin": 9}
    view = View(collect(snapshot(files)))
    assert met_all(view, "config.json:a.b=t*") is not None
    assert met_all(view, "config.json:a.c") is None
    assert met_all(view, "config.json:* !config.json:z") is not None
    assert met_all(view, "**/*.gguf @gguf") is not None
    assert met_all(view, "*.gguf") is None
    assert met_all(view, "deep/*.gguf") is None and met_all(view, "deep/*/*.gguf") is not None
    assert met_all(view, "w.?in") is not None and met_all(view, "v*.bin") is None
    assert recognise_one("gguf", view.evidence) is not None
