"""What a model of a recognised library is for, read from that library's own files; the rows of `libraries` name these.

Each function takes the Evidence and returns a `Head` (tasks and the fact they rest on), or None when the files don't
say and the row's default holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelscope_ext.models.decision import inference_toolkits as toolkits
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.heads import Head, hinted, infer_head, tasks_of_class
from modelscope_ext.models.resolution import Reason

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["INFER", "pipeline_tasks"]

#: Parts of a diffusers class name (``^``: its beginning) -> tasks, in this order, for pipelines that are in none of its
#: auto mappings.
_PIPELINE_NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Depth2Img", "DepthToImage"), "image-to-image"),
    (("Depth",), "depth-estimation"),
    (("Normals", "NormalEstimation"), "image-normal-estimation"),
    (("Inpaint", "PaintByExample", "RePaint", "Outpaint", "Fill"), "image-inpainting image-to-image"),
    (
        ("ImageToVideo", "Image2Video", "I2V", "VideoDiffusionPipeline", "FramePack", "ConsisID", "Animate2"),
        "image-to-video",
    ),
    (("VideoToVideo", "Video2Video", "V2V"), "video-to-video"),
    (
        (
            "Video",
            "AnimateDiff",
            "Hotshot",
            "Wan",
            "Mochi",
            "LTX",
            "Allegro",
            "Latte",
            "EasyAnimate",
            "CogVideo",
            "T2V",
            "SkyReels",
            "TextToWorld",
            "Animate",
            "MiniMaxH3",
            "Helios",
            "Kandinsky6",
        ),
        "text-to-video",
    ),
    (("Audio", "Music", "AceStep", "DanceDiffusion", "Spectrogram", "Echo"), "text-to-audio"),
    (("ShapEImg2Img", "Zero123", "ImageTo3D"), "image-to-3d"),
    (("ShapE", "TextTo3D"), "text-to-3d"),
    (
        (
            "Img2Img",
            "ImageToImage",
            "Upscale",
            "SuperResolution",
            "InstructPix2Pix",
            "ImageVariation",
            "Edit",
            "Refiner",
            "I2I",
            "Kontext",
            "Redux",
            "Pix2Pix",
        ),
        "image-to-image",
    ),
    (
        ("^DDPM", "^DDIM", "^PNDM", "^ScoreSde", "^KarrasVe", "^LDMPipeline", "^ConsistencyModel", "^DiTPipeline"),
        "unconditional-image-generation",
    ),
    (("DiffusionGemma", "LLaDA"), "text-generation"),
    (("VLM", "Chat"), "image-text-to-text"),
)

#: Component classes of diffusers that are a model of their own.
_COMPONENT_NAMES = (
    (("ControlNet", "T2IAdapter", "MultiAdapter"), "image-to-image"),
    (("MotionAdapter", "UNet3D", "UNetMotion", "Transformer3D"), "text-to-video"),
    (("UNetSpatioTemporal", "I2VGenXL"), "image-to-video"),
    (("UNet2DModel", "DiTTransformer"), "unconditional-image-generation"),
    (("Video", "Wan", "LTX", "Mochi", "CogVideo"), "text-to-video"),
    (("UNet1D", "StableAudio", "AudioLDM"), "text-to-audio"),
    (("UNet2DCondition", "Transformer2D", "PriorTransformer", "StableCascadeUNet", "UVit2D"), "text-to-image"),
)


def _diffusers(evidence: Evidence) -> Head | None:
    for file in ("model_index.json", "modular_model_index.json"):
        name = _class_name(evidence.get(file, "_class_name") or evidence.get(file, "_blocks_class_name"))
        if name:
            return _diffusers_class(evidence, file, name)
    name = _class_name(evidence.get("config.json", "_class_name"))
    if name:
        kind = evidence.get("config.json", "model_type")
        if isinstance(kind, str) and (hint := hinted(kind)):
            return Head((hint[0],), Reason("config.json", "model_type", kind, f"a model for {hint[0]}"))
        coder = name.startswith(("Autoencoder", "VQ", "AsymmetricAutoencoder"))
        for parts, tasks in () if coder else _COMPONENT_NAMES:
            if any(part in name for part in parts):
                text = f"{name} is one component, of a pipeline for {tasks}"
                return Head(tuple(tasks.split()), Reason("config.json", "_class_name", name, text))
        text = f"{name} is one component of a pipeline and does nothing alone"
        return Head((), Reason("config.json", "_class_name", name, text))
    usual = Reason("(table)", "diffusers", "text-to-image", "what models of diffusers are most often for")
    return _base_model(evidence) or Head(("text-to-image",), usual)


def _diffusers_class(evidence: Evidence, file: str, name: str) -> Head | None:
    listed = tables.diffusers().pipelines.get(name)
    if listed:
        return Head(
            pipeline_tasks(name), Reason(file, "_class_name", name, f"diffusers lists {name} under {listed[0]}")
        )
    parts = " ".join((name, *_component_classes(evidence.get(file))))
    tasks = _narrower_pipeline(name) or _narrower_pipeline(parts, video_only=True)
    if tasks:
        return Head(tasks, Reason(file, "_class_name", name, f"named like a pipeline for {tasks[0]}"))
    return Head(("text-to-image",), Reason(file, "_class_name", name, "a pipeline whose name says nothing else"))


def pipeline_tasks(name: str) -> tuple[str, ...]:
    """Return the tasks of a pipeline class of diffusers, its own first; empty where its name says nothing.

    A pipeline that makes pictures of texts also starts from a picture, or fills a part of one: diffusers has a class
    for each that takes the same components. The other way round it need not hold: weights for filling in take more.

    Example:
        >>> pipeline_tasks("StableDiffusionPipeline"), pipeline_tasks("StableDiffusionXLInpaintPipeline")
        (('text-to-image', 'image-to-image', 'image-inpainting'), ('image-inpainting', 'image-to-image'))
    """
    table = tables.diffusers()
    own = _narrower_pipeline(name) or table.pipelines.get(name, ())
    more = table.related.get(name, {}) if own[:1] == ("text-to-image",) else {}
    return tuple(dict.fromkeys((*own, *more)))


def _narrower_pipeline(name: str, *, video_only: bool = False) -> tuple[str, ...]:
    for parts, tasks in _PIPELINE_NAMES:
        if any(name.startswith(part[1:]) if part[0] == "^" else part in name for part in parts):
            return () if video_only and "video" not in tasks else tuple(tasks.split())
    return ("text-to-video",) if video_only and ("UNet3D" in name or "Transformer3D" in name) else ()


def _component_classes(index: object) -> Iterator[str]:
    for value in index.values() if isinstance(index, Mapping) else ():
        if isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str):
            yield value[1]


def _class_name(value: object) -> str | None:
    """`_class_name` is a string, or a list [module, class] for a pipeline that brings its own code."""
    if isinstance(value, list):
        value = next((v for v in reversed(value) if isinstance(v, str)), None)
    return value if isinstance(value, str) and value else None


_PEFT_TASKS: Mapping[str, tuple[str, ...]] = {
    "CAUSAL_LM": ("text-generation",),
    "SEQ_2_SEQ_LM": ("text2text-generation",),
    "SEQ_CLS": ("text-classification",),
    "TOKEN_CLS": ("token-classification",),
    "QUESTION_ANS": ("question-answering",),
    "FEATURE_EXTRACTION": ("feature-extraction",),
}
#: What an adapter of this `task_type` may really be for when its base's name says so.
_PEFT_NARROWER = {
    "text-generation": (
        "image-text-to-text",
        "text-to-speech",
        "translation",
        "audio-text-to-text",
        "video-text-to-text",
        "any-to-any",
        "text-ranking",
        "visual-document-retrieval",
    ),
    "text2text-generation": (
        "translation",
        "summarization",
        "automatic-speech-recognition",
        "text-to-speech",
        "time-series-forecasting",
    ),
    "feature-extraction": ("sentence-similarity", "visual-document-retrieval"),
    "text-classification": ("text-ranking", "image-classification"),
}


def _peft(evidence: Evidence) -> Head | None:
    file = "adapter_config.json"
    base_class = evidence.get(file, "auto_mapping", "base_model_class")
    if isinstance(base_class, str) and (tasks := tasks_of_class(base_class)):
        return Head(tasks, Reason(file, "auto_mapping.base_model_class", base_class, f"the base is for {tasks[0]}"))
    targets = evidence.get(file, "target_modules")
    if "custom_text_proj" in str(targets)[:2000]:
        text = "the projection of a late-interaction retriever of pages"
        return Head(("visual-document-retrieval",), Reason(file, "target_modules", "custom_text_proj", text))
    kind = evidence.get(file, "task_type")
    tasks = _PEFT_TASKS.get(str(kind).upper(), ()) if kind else ()
    base = evidence.get(file, "base_model_name_or_path") or evidence.get(file, "base_model")
    hint = hinted(base)
    if hint and (not tasks or hint[0] in _PEFT_NARROWER.get(tasks[0], ())):
        text = f"the base model is named after {hint[1]!r}"
        return Head(tuple(dict.fromkeys((hint[0], *tasks))), Reason(file, "base_model_name_or_path", base, text))
    if tasks:
        return Head(tasks, Reason(file, "task_type", kind, f"an adapter trained as {kind}"))
    head = _own_model_class(evidence) or infer_head(evidence)
    if head:
        return head
    return _base_model(evidence) or (_default_llm(base) if isinstance(base, str) and not hint else None)


def _own_model_class(evidence: Evidence) -> Head | None:
    name = evidence.get("adapter_config.json", "model_class")
    tasks = tasks_of_class(name) if isinstance(name, str) else ()
    return Head(tasks, Reason("adapter_config.json", "model_class", name, f"for {tasks[0]}")) if tasks else None


def _default_llm(base: str) -> Head:
    text = "adapters of a base without another sign are most often for text generation"
    return Head(("text-generation",), Reason("adapter_config.json", "base_model_name_or_path", base, text))


def _base_model(evidence: Evidence) -> Head | None:
    """The base model that the card names."""
    for fact in evidence.tagged.get("base_model", ()):
        hint = hinted(fact.value)
        if hint:
            return Head(
                (hint[0],), Reason(fact.file, fact.key, fact.value, f"the base model is named after {hint[1]!r}")
            )
    return None


def _sentence_transformers(evidence: Evidence) -> Head | None:
    kind = evidence.get("config_sentence_transformers.json", "model_type")
    if kind == "CrossEncoder":
        reason = Reason("config_sentence_transformers.json", "model_type", kind, "it scores pairs of texts")
        return Head(("text-ranking",), reason)
    for item in evidence.get("modules.json", default=[]) or []:
        name = item.get("type") if isinstance(item, Mapping) else None
        if isinstance(name, str) and ("cross_encoder" in name or name.endswith("LogitScore")):
            return Head(("text-ranking",), Reason("modules.json", "type", name, "it scores pairs of texts"))
        if isinstance(name, str) and ".sparse_encoder." in name:
            reason = Reason("modules.json", "type", name, "it weighs the words of its vocabulary")
            return Head(("feature-extraction", "sentence-similarity"), reason)
    return None


_GGUF_ARCHITECTURES = (
    (("flux", "sd1", "sdxl", "sd3", "aura", "lumina", "qwen_image", "pig"), "text-to-image"),
    (("wan", "ltxv", "hyvid", "cosmos"), "text-to-video"),
    (("whisper", "parakeet"), "automatic-speech-recognition"),
    (("bert", "nomic-bert", "jina-bert", "gemma-embedding"), "feature-extraction"),
    (("t5",), "text2text-generation"),
    (("wavtokenizer", "outetts", "orpheus", "tts"), "text-to-speech"),
    (("clip", "qwen2vl", "qwen3vl", "mllama"), "image-text-to-text"),
)


def _gguf(evidence: Evidence) -> Head | None:
    for name, header in evidence.headers.items():
        architecture = header.metadata.get("general.architecture") if header.format == "gguf" else None
        if isinstance(architecture, str):
            for names, task in _GGUF_ARCHITECTURES:
                if architecture in names:
                    return Head((task,), Reason(name, "general.architecture", architecture, f"for {task}"))
            return Head(("text-generation",), Reason(name, "general.architecture", architecture, "a language model"))
    projector = next((n for n in evidence.names if n.endswith(".gguf") and "mmproj" in n.lower()), None)
    if projector:
        return Head(("image-text-to-text",), Reason(projector, "(name)", projector, "a projector for images beside it"))
    return _base_model(evidence) or _named(evidence)


def _named(evidence: Evidence) -> Head | None:
    """The names of the weight files, and the base model of the card."""
    for weight in evidence.weights:
        hint = hinted(weight.name.rpartition("/")[2])
        if hint:
            return Head(
                (hint[0],), Reason(weight.name, "(name)", weight.name, f"the weights are named after {hint[1]!r}")
            )
    for weight in evidence.weights:
        if hint := hinted(weight.folder):
            text = f"the weights' folder is named after {hint[1]!r}"
            return Head((hint[0],), Reason(weight.name, "(name)", weight.folder, text))
    return _base_model(evidence)


def _heads_named(evidence: Evidence) -> Head | None:
    """The config is of the language half only; the names of tokenizer code or weights tell of a whole that sees."""
    for name in evidence.names:
        if name.endswith(".py") and (hint := hinted(name.rpartition("/")[2])) and hint[0] == "image-text-to-text":
            return Head((hint[0], "text-generation"), Reason(name, "(name)", name, f"named after {hint[1]!r}"))
    return _named(evidence) or infer_head(evidence)


#: Name in a row of `libraries` -> function.
INFER: Mapping[str, Callable[[Evidence], Head | None]] = {
    "ctranslate2": toolkits.ctranslate2,
    "diffusers": _diffusers,
    "espnet": toolkits.espnet,
    "fairseq": toolkits.fairseq,
    "funasr": toolkits.funasr,
    "gguf": _gguf,
    "heads": infer_head,
    "heads_named": _heads_named,
    "keras": lambda evidence: toolkits.keras(evidence) or _named(evidence),
    "mindformers": toolkits.mindformers,
    "mistral": lambda evidence: toolkits.mistral(evidence) or _named(evidence),
    "named": _named,
    "paddlenlp": toolkits.paddlenlp,
    "paddleocr": toolkits.paddleocr,
    "peft": _peft,
    "pyannote": toolkits.pyannote,
    "sentence_transformers": _sentence_transformers,
    "sherpa": toolkits.sherpa,
    "sklearn": toolkits.sklearn,
    "speechbrain": toolkits.speechbrain,
    "timm": toolkits.timm,
    "ultralytics": toolkits.ultralytics,
}
