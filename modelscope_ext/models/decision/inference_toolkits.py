"""What a model of a speech, vision or Paddle toolkit is for, read from that toolkit's own files; see `inference`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelscope_ext.models.decision.heads import Head, infer_head, tasks_of_class
from modelscope_ext.models.resolution import Reason

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = [
    "ctranslate2",
    "espnet",
    "fairseq",
    "funasr",
    "keras",
    "mindformers",
    "mistral",
    "paddlenlp",
    "paddleocr",
    "pyannote",
    "sherpa",
    "sklearn",
    "speechbrain",
    "timm",
    "ultralytics",
]

_SPEECHBRAIN = (
    (("ASR", "Transducer", "Whisper", "StreamingASR", "CTC"), "automatic-speech-recognition"),
    (
        ("Tacotron", "FastSpeech", "HIFIGAN", "DiffWave", "Vocoder", "MSTacotron", "UnitHIFIGAN", "TTS"),
        "text-to-speech",
    ),
    (("Separation", "Enhancement", "Enhance", "WaveformEnhancement"), "audio-to-audio"),
    (("SpeakerRecognition", "EncoderClassifier", "Classifier", "AudioClassifier"), "audio-classification"),
    (("VAD",), "voice-activity-detection"),
    (("GraphemeToPhoneme", "G2P", "SLU", "EndToEndSLU"), "text2text-generation"),
)


def speechbrain(evidence: Evidence) -> Head | None:
    """Return what a model of speechbrain is for."""
    name = evidence.get("config.json", "speechbrain_interface")
    for parts, task in _SPEECHBRAIN:
        if isinstance(name, str) and any(part in name for part in parts):
            return Head((task,), Reason("config.json", "speechbrain_interface", name, f"an interface for {task}"))
    if evidence.has("tokenizer.ckpt") or evidence.has("asr.ckpt") or evidence.has("lm.ckpt"):
        return Head(
            ("automatic-speech-recognition",), Reason("tokenizer.ckpt", "(name)", "tokenizer.ckpt", "it writes text")
        )
    tags = " ".join(evidence.yaml_tags.get("hyperparams.yaml", ()))
    for parts, task in _SPEECHBRAIN:
        if any(f".{part}" in tags for part in parts):
            return Head((task,), Reason("hyperparams.yaml", "(tags)", tags[:80], f"built of parts for {task}"))
    if evidence.has("label_encoder.txt"):
        reason = Reason("label_encoder.txt", "(name)", "label_encoder.txt", "it has a set of labels")
        return Head(("audio-classification",), reason)
    return None


_FUNASR = (
    (("vad",), "voice-activity-detection"),
    (("punc", "cttransformer", "ct-transformer"), "token-classification"),
    (("campplus", "eres2net", "speaker", "sv_"), "speaker-verification"),
    (("emotion2vec",), "audio-classification"),
    (("fsmnkws", "kws"), "keyword-spotting"),
    (("monotonicaligner", "timestamp"), "speech-timestamp"),
    (("qwenaudio", "qwen-audio"), "audio-text-to-text"),
    (
        ("paraformer", "sensevoice", "whisper", "conformer", "transducer", "asr", "uniasr"),
        "automatic-speech-recognition",
    ),
)


def funasr(evidence: Evidence) -> Head | None:
    """Return what a model of funasr is for."""
    for file in ("config.yaml", "configuration.yaml"):
        document = evidence.documents.get(file)
        if not isinstance(document, Mapping):
            continue
        for key in ("model", *document):
            words = f"{key} {document.get(key)}" if key == "model" else str(key)
            head = _first(
                _FUNASR, words.lower(), Reason(file, str(key), document.get(key) if key == "model" else key, "")
            )
            if head:
                return head
    for name in evidence.names:
        head = _first(_FUNASR, name.rpartition("/")[2].lower(), Reason(name, "(name)", name, ""))
        if head and head.tasks[0] != "automatic-speech-recognition":
            return head
    return None


def paddlenlp(evidence: Evidence) -> Head | None:
    """Return what a model of paddlenlp is for."""
    for path in (("init_class",), ("init_args", 0, "init_class")):
        name = evidence.get("model_config.json", *path)
        if not isinstance(name, str):
            continue
        tasks = tasks_of_class(name)
        reason = Reason("model_config.json", ".".join(map(str, path)), name, f"the class {name}")
        if name.endswith("Discriminator"):
            return Head(("feature-extraction",), reason)
        if tasks and tasks[0] != "feature-extraction":
            return Head(tasks, reason)
        if name.startswith(("GPT", "Llama", "OPT", "Bloom", "ChatGLM", "Qwen")):
            return Head(("text-generation",), reason)
        if tasks:
            return Head(tasks, reason)
    head = infer_head(evidence)
    return head or Head(
        ("feature-extraction",), Reason("model_config.json", "(default)", None, "a model without a head")
    )


_PADDLEOCR = (
    (("layout", "table_cell", "_det", "-det", "detection"), "object-detection"),
    (("vl",), "image-text-to-text"),
    (("cls", "orientation", "ori_"), "image-classification"),
    (("unwarp", "uvdoc"), "image-to-image"),
)


def paddleocr(evidence: Evidence) -> Head | None:
    """Return what a model of paddleocr is for."""
    name = evidence.get("inference.yml", "Global", "model_name")
    text = str(name or "").lower()
    return _first(_PADDLEOCR, text, Reason("inference.yml", "Global.model_name", name, "")) if text else None


def ctranslate2(evidence: Evidence) -> Head | None:
    """Return what a model of ctranslate2 is for."""
    config = evidence.documents.get("config.json")
    keys = config.keys() if isinstance(config, Mapping) else set()
    if evidence.has("preprocessor_config.json") or {"alignment_heads", "suppress_ids", "lang_ids"} & keys:
        reason = Reason("config.json", "alignment_heads", "(present)", "a converted Whisper")
        return Head(("automatic-speech-recognition",), reason)
    if "layer_norm_epsilon" in keys and "decoder_start_token" not in keys and not evidence.match("*source_vocab*"):
        reason = Reason("config.json", "decoder_start_token", None, "no decoder start: a decoder-only model")
        return Head(("text-generation",), reason)
    return None


def espnet(evidence: Evidence) -> Head | None:
    """Return what a model of espnet is for."""
    table = (
        (("tts",), "text-to-speech"),
        (("enh", "sep"), "audio-to-audio"),
        (("asr", "s2t"), "automatic-speech-recognition"),
        (("st_", "mt_"), "translation"),
        (("spk", "diar"), "speaker-verification"),
    )
    folders = [name for name in evidence.names if name.startswith("exp/")]
    return next((h for name in folders if (h := _first(table, name, Reason(name, "(name)", name, "")))), None)


def pyannote(evidence: Evidence) -> Head | None:
    """Return what a model of pyannote is for."""
    name = str(
        evidence.get("config.yaml", "pipeline", "name") or evidence.get("config.yaml", "model", "_target_") or ""
    )
    table = (
        (("diarization",), "speaker-diarization"),
        (("embedding",), "speaker-verification"),
        (("segmentation", "voice_activity", "vad"), "voice-activity-detection"),
    )
    return _first(table, name.lower(), Reason("config.yaml", "pipeline.name", name, ""))


def timm(evidence: Evidence) -> Head | None:
    """Return what a model of timm is for."""
    for path in (("num_classes",), ("pretrained_cfg", "num_classes")):
        if evidence.get("config.json", *path) == 0:
            return Head(("image-feature-extraction",), Reason("config.json", ".".join(path), 0, "no classifier on top"))
    return None


def ultralytics(evidence: Evidence) -> Head | None:
    """Return what a model of ultralytics is for."""
    table = (
        (("-seg",), "image-segmentation"),
        (("-cls",), "image-classification"),
        (("-pose",), "keypoint-detection"),
    )
    tasks = {"segment": "image-segmentation", "classify": "image-classification", "pose": "keypoint-detection"}
    declared = evidence.get("args.yaml", "task") or evidence.get("config.json", "task")
    if declared in tasks:
        return Head((tasks[declared],), Reason("args.yaml", "task", declared, "trained for it"))
    heads = [_first(table, w.name.lower(), Reason(w.name, "(name)", w.name, "")) for w in evidence.weights]
    return heads[0] if heads and all(heads) else None  # a family in one repo: the detectors are the usual ones


def fairseq(evidence: Evidence) -> Head | None:
    """Return what a model of fairseq is for."""
    config = evidence.documents.get("config.yaml")
    if not isinstance(config, Mapping):
        return None
    if "vocoder" in config or "pitch_max" in str(config.get("features", "")):
        reason = Reason("config.yaml", "vocoder", "(present)", "its features go through a vocoder")
        return Head(("text-to-speech",), reason)
    if "input_channels" in config or "input_feat_per_channel" in config:
        reason = Reason("config.yaml", "input_feat_per_channel", "(present)", "it takes speech features")
        return Head(("automatic-speech-recognition",), reason)
    return None


def sklearn(evidence: Evidence) -> Head | None:
    """Return what a model of sklearn is for."""
    task = evidence.get("config.json", "sklearn", "task")
    known = {"text-classification", "tabular-classification", "tabular-regression"}
    return Head((task,), Reason("config.json", "sklearn.task", task, "skops wrote it")) if task in known else None


_KERAS_TASKS = (
    (("CausalLM",), "text-generation"),
    (("Seq2SeqLM",), "text2text-generation"),
    (("MaskedLM",), "fill-mask"),
    (("TextClassifier",), "text-classification"),
    (("ImageClassifier",), "image-classification"),
    (("ObjectDetector",), "object-detection"),
    (("ImageSegmenter",), "image-segmentation"),
    (("TextToImage",), "text-to-image"),
    (("AudioToText",), "automatic-speech-recognition"),
)


def keras(evidence: Evidence) -> Head | None:
    """Return what a model of Keras Hub is for."""
    name = evidence.get("task.json", "class_name")
    return _first(_KERAS_TASKS, name, Reason("task.json", "class_name", name, "")) if isinstance(name, str) else None


def mistral(evidence: Evidence) -> Head | None:
    """Return what a model in Mistral's own format is for: its params.json has the encoders that it adds to the text."""
    for key, task in (("vision_encoder", "image-text-to-text"), ("multimodal", "audio-text-to-text")):
        if evidence.get("params.json", key):
            return Head((task,), Reason("params.json", key, "(present)", f"a language model for {task}"))
    return None


def sherpa(evidence: Evidence) -> Head | None:
    """Return what a model of sherpa is for."""
    if evidence.has("lexicon.txt") or any(name.startswith("espeak-ng-data/") for name in evidence.names):
        return Head(("text-to-speech",), Reason("lexicon.txt", "(name)", "lexicon.txt", "it pronounces text"))
    return None


def mindformers(evidence: Evidence) -> Head | None:
    """Return what a model of mindformers is for."""
    table = (
        (("TextClassification",), "text-classification"),
        (("TokenClassification",), "token-classification"),
        (("QuestionAnswering",), "question-answering"),
        (("MaskedLanguageModeling",), "fill-mask"),
        (("ImageClassification",), "image-classification"),
        (("ZeroShotImageClassification",), "zero-shot-image-classification"),
        (("Translation",), "translation"),
        (("ImageToText", "MultiModal"), "image-text-to-text"),
        (("CausalLanguageModeling",), "text-generation"),
    )
    for file, document in sorted(evidence.documents.items()):
        trainer = document.get("trainer") if isinstance(document, Mapping) else None
        name = trainer.get("type") if isinstance(trainer, Mapping) else None
        if isinstance(name, str) and (head := _first(table, name, Reason(file, "trainer.type", name, ""))):
            return head
    return infer_head(evidence)


def _first(table: tuple[tuple[tuple[str, ...], str], ...], text: str, reason: Reason) -> Head | None:
    for parts, task in table:
        if any(part in text for part in parts):
            return Head((task,), Reason(reason.file, reason.key, reason.value, f"named after a model for {task}"))
    return None
