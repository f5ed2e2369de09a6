"""What a transformers architecture is for: from config.json to tasks, with the reason.

The rules stand in the order in which they are tried; the first that knows something decides. Exact class names come
from transformers' own mappings (`tables`), everything else is a naming convention of that library and those who copy
it: ``<Model>For<Head>``, ``auto_map``, ``id2label``, and keys such as ``vision_config``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelscope_ext.models.decision import conventions, tables
from modelscope_ext.models.resolution import Reason
from modelscope_ext.utils.record import dataclass

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = [
    "Head",
    "compatible",
    "hinted",
    "infer_head",
    "label_count",
    "modalities",
    "one_label",
    "rewards",
    "tasks_of_class",
]


@dataclass(frozen=True)
class Head:
    """What was inferred: the tasks, the likeliest first, and the fact that it rests on."""

    tasks: tuple[str, ...]
    because: Reason


@lru_cache(maxsize=4)  # several claims to one model ask the same
def infer_head(evidence: Evidence, file: str = "config.json") -> Head | None:
    """Return what the transformers config in `file` says its model is for, or None when it says nothing."""
    config = evidence.documents.get(file)
    if not isinstance(config, Mapping):
        return None
    for rule in _RULES:
        head = rule(evidence, config, file)
        if head is not None:
            return head
    return None


def tasks_of_class(
    name: str, *, config: Mapping[str, Any] | None = None, seen: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Return the tasks that a class name stands for, exact names first, naming conventions after; empty for none.

    Args:
        name: E.g. ``"BertForMaskedLM"``.
        config: The config it stands in, which tells an encoder-decoder from a decoder.
        seen: What else the model takes, as `modalities` gives it.

    Example:
        >>> tasks_of_class("BertForMaskedLM"), tasks_of_class("QWenLMHeadModel")
        (('fill-mask',), ('text-generation',))
        >>> tasks_of_class("MolmoForCausalLM", seen=frozenset({"image"}))
        ('image-text-to-text',)
    """
    narrower = conventions.NARROWER.get(name)
    if narrower:
        return narrower
    autos = tables.transformers().of_class(name)
    if autos and autos[0].name == "AutoModelForSpeechSeq2Seq":  # what also makes waveforms is made to speak
        autos = (*(auto for auto in autos if auto.name == "AutoModelForTextToWaveform"), *autos)
    if autos and autos[0].name not in conventions.GENERAL:
        return autos[0].tasks[:1] if autos[0].name == "AutoModelForSeq2SeqLM" else autos[0].tasks
    for part, task in conventions.PARTS:
        if part in name:
            return (task,)
    for endings, task in conventions.ENDINGS:
        if name.endswith(endings) and not (autos and task.startswith("{")):
            return _open_task(task, config or {}, seen, name)
    return autos[0].tasks if autos else ()


def compatible(tasks: tuple[str, ...], architecture: str | None, model_type: object, task: str) -> bool:
    """Say whether a model that is for `tasks` by its files can also serve `task`, so that a tag may be believed."""
    if not tasks or task in tasks or tasks[0] in conventions.HEADLESS:
        return True
    if task in conventions.ALSO.get(tasks[0], ()):
        return True
    if architecture is None and isinstance(model_type, str):
        return any(task in auto.tasks for auto in tables.transformers().of_type(model_type))
    return any(task in auto.tasks for auto in tables.transformers().of_class(architecture or ""))


def modalities(evidence: Evidence, config: Mapping[str, Any]) -> frozenset[str]:
    """Return what the model takes beside text, by the keys of its config and of its preprocessors."""
    found = set()
    keys = config.keys()
    if keys & conventions.VISION_KEYS or {"image_size", "patch_size"} <= keys:
        found.add("image")
    if keys & conventions.AUDIO_KEYS:
        found.add("audio")
    for file in ("preprocessor_config.json", "processor_config.json"):
        found |= _preprocessed(evidence.documents.get(file))
    if any(name.startswith(("image_processing", "vision")) and name.endswith(".py") for name in evidence.basenames):
        found.add("image")
    return frozenset(found)


def hinted(names: object) -> tuple[str, str] | None:
    """Return (task, matched words) for a model's name that people give to one kind of model.

    Example:
        >>> hinted("openai/whisper-tiny"), hinted("meta-llama/Llama-3-8B")
        (('automatic-speech-recognition', 'whisper'), None)
    """
    if not isinstance(names, str):
        return None
    text = names.replace("\\", "/").replace("_", "-").lower()
    text = "/".join(text.rstrip("/").split("/")[-3:])
    for pattern, task in _hint_patterns():
        found = pattern.search(text)
        if found:
            return task, found.group()
    return None


@lru_cache(maxsize=1)
def _hint_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compile the names of families on first use: most models never ask for them."""
    return tuple(
        (re.compile(rf"(?<![a-z])(?:{pattern})(?![a-z])", re.ASCII), task) for pattern, task in conventions.FAMILIES
    )


def label_count(config: Mapping[str, Any]) -> int | None:
    """Return the number of labels that a config declares, None when it leaves transformers' default of two."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    count = config.get("num_labels", config.get("_num_labels"))
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _preprocessed(document: object) -> set[str]:
    if not isinstance(document, Mapping):
        return set()
    found = set()
    keys = document.keys()
    if keys & {"image_processor_type", "image_mean", "do_resize", "crop_size", "image_processor", "min_pixels"}:
        found.add("image")
    if (
        keys & {"sampling_rate", "feature_extractor", "audio_padding", "audio_processor", "n_fft"}
        and "image" not in found
    ):
        found.add("audio")
    return found


def _open_task(task: str, config: Mapping[str, Any], seen: frozenset[str], name: str) -> tuple[str, ...]:
    """Settle what `{chat}` and `{encoder}` mean for this config."""
    if task == "{chat}":
        if "Video" in name:
            return ("video-text-to-text",)
        if {"image", "audio"} <= seen or (seen and config.keys() & conventions.MAKES_KEYS):
            return ("any-to-any",)
        if "image" in seen:
            return ("image-text-to-text",)
        if "audio" in seen:
            return ("audio-text-to-text",)
        if config.get("is_encoder_decoder") is True or "Seq2Seq" in name:
            return ("text2text-generation",)
        return ("text-generation",)
    if task == "{encoder}":
        has_text = bool(config.keys() & ({"vocab_size", "text_config"} | conventions.WRITES_KEYS))
        if "audio" in seen and "text_model_id" in config:
            return ("audio-text-to-text",)
        if seen and config.keys() & conventions.WRITES_KEYS:
            return _open_task("{chat}", config, seen, name)
        return ("image-feature-extraction",) if "image" in seen and not has_text else ("feature-extraction",)
    return (task,)


def one_label(config: Mapping[str, Any]) -> bool:
    """Whether this is a text encoder with a single label and no regression: it scores pairs, a cross-encoder."""
    if label_count(config) != 1 or config.get("problem_type") in ("regression", "multi_label_classification"):
        return False
    if not (_architecture(config) or "").endswith("ForSequenceClassification"):
        return False
    table, model_type = tables.transformers(), config.get("model_type")
    return table.has_head(model_type, "AutoModelForMaskedLM") or not table.knows_type(model_type)


def rewards(evidence: Evidence) -> bool:
    """Whether the card's tags call it a reward model: it has one label, too, and scores answers."""
    tags = evidence.tagged.get("tags", ())
    return any(str(fact.value).lower().replace("_", "-").startswith("reward") for fact in tags)


def _architecture(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    if isinstance(names, str):
        return names
    return next((n for n in names if isinstance(n, str) and n), None) if isinstance(names, list | tuple) else None


def _by_special_params(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """An encoder-decoder with generation settings for exactly one task was trained for that task."""
    architecture = _architecture(config)
    if not architecture or tasks_of_class(architecture, config=config)[:1] != ("text2text-generation",):
        return None
    model_type = config.get("model_type")
    family = conventions.SEQ2SEQ.get(model_type) if isinstance(model_type, str) else None
    if family:
        text = f"models of type {model_type} are trained for {family}"
        return Head((family, "text2text-generation"), Reason(file, "model_type", model_type, text))
    params = config.get("task_specific_params")
    if isinstance(params, Mapping) and len(params) == 1:
        (key,) = params
        task = next((t for t in ("summarization", "translation") if str(key).startswith(t)), None)
        if task:
            text = f"its only task-specific settings are for {task}"
            return Head((task, "text2text-generation"), Reason(file, "task_specific_params", key, text))
    return None


#: A codebook or several: more tokens than another language needs.
_CODES = 20_000


def _by_codec_tokens(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """A text model whose vocabulary grew by tens of thousands of tokens speaks: they are the codes of an audio codec.

    Llama 3 has 128,256 tokens (its rope type is "llama3"), Qwen2 and Qwen3 at most 152,064. Another language needs
    fewer.
    """
    vocabulary, rope = config.get("vocab_size"), config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(vocabulary, int) or _architecture(config) not in conventions.PLAIN_TEXT:
        return None
    llama3 = isinstance(rope, Mapping) and "llama3" in (rope.get("rope_type"), rope.get("type"))
    base = 128_256 if llama3 else 152_064 if config.get("model_type") in ("qwen2", "qwen3") else None
    if base is None or vocabulary < base + _CODES:
        return None
    text = f"{vocabulary - base} tokens more than its family's text vocabulary: the codes of an audio codec"
    return Head(("text-to-speech", "text-generation"), Reason(file, "vocab_size", vocabulary, text))


def _by_own_name(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """A language model whose checkpoint was called a speaking one."""
    architecture = _architecture(config)
    if not architecture or tasks_of_class(architecture)[:1] != ("text-generation",):
        return None
    name = config.get("_name_or_path")
    hint = hinted(name)
    if hint and hint[0] in ("text-to-speech", "text-ranking"):
        return Head((hint[0], "text-generation"), Reason(file, "_name_or_path", name, f"named after {hint[1]!r}"))
    return None


def _by_one_label(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """A text encoder with one label."""
    if not one_label(config):
        return None
    if rewards(evidence):
        return Head(("text-classification",), Reason("README.md", "tags", "reward", "the card calls it a reward model"))
    text = "a text encoder with a single label scores pairs of texts"
    return Head(("text-ranking", "text-classification"), Reason(file, "id2label", 1, text))


def _by_class(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """The class in `architectures`: exact, by `model_type` where the class is new, or by its ending."""
    architecture = _architecture(config)
    if not architecture:
        return None
    autos = tables.transformers().of_class(architecture)
    model_type = config.get("model_type")
    if autos or architecture in conventions.NARROWER:
        tasks = _pretrained(architecture, model_type) or tasks_of_class(architecture)
        if tasks == ("feature-extraction",) and autos and autos[0].name in conventions.GENERAL:
            tasks = _open_task("{encoder}", config, modalities(evidence, config), architecture)
        loader = f" and is loaded by {autos[0].name}" if autos else ""
        if tasks[:1] == ("text-classification",) and _entails(config):
            tasks = (*tasks, "zero-shot-classification")
        text = f"architecture {architecture} is for {tasks[0]}{loader}"
        return Head(tasks, Reason(file, "architectures", architecture, text))
    if architecture == "Model":  # a private class: the labels and the type say more
        return None
    seen = modalities(evidence, config)
    if architecture.endswith("ForConditionalGeneration") and not seen and isinstance(model_type, str):
        head = _by_type(evidence, config, file)
        if head:
            return head
    auto_map = config.get("auto_map")
    writes = isinstance(auto_map, Mapping) and not auto_map.keys().isdisjoint(_WRITERS)
    if writes and tasks_of_class(architecture) in (("feature-extraction",), ("image-feature-extraction",), ()):
        return None  # ChatGLMModel: `auto_map` says that it generates
    tasks = tasks_of_class(architecture, config=config, seen=seen)
    if not tasks:
        return None
    if tasks == ("feature-extraction",) and isinstance(auto_map, Mapping) and _GENERATES in evidence.name_set:
        text = f"its own class {architecture} has settings for generation"
        return Head(_open_task("{chat}", config, seen, architecture), Reason(_GENERATES, "(name)", _GENERATES, text))
    also = f", which also takes {' and '.join(sorted(seen))}" if seen and tasks[0].endswith("to-text") else ""
    text = f"the name {architecture} follows the convention for {tasks[0]}{also}"
    return Head(tasks, Reason(file, "architectures", architecture, text))


_GENERATES = "generation_config.json"
_WRITERS = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")


def _entails(config: Mapping[str, Any]) -> bool:
    """Whether one of the labels is an entailment, as zero-shot classification needs it."""
    labels = config.get("id2label")
    few = isinstance(labels, Mapping) and len(labels) <= 3
    return few and any(str(label).lower().startswith("entail") for label in labels.values())  # type: ignore[union-attr]


def _by_auto_map(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, Mapping):
        return None
    for key, task in conventions.AUTO_MAP:
        if key in auto_map:
            tasks = _open_task(task, config, modalities(evidence, config), str(auto_map[key]))
            return Head(tasks, Reason(file, f"auto_map.{key}", auto_map[key], f"registered for {key}"))
    return None


def _by_labels(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """Labels without a known class: a classifier of whatever its `model_type` takes."""
    model_type = config.get("model_type")
    if not isinstance(config.get("id2label"), Mapping) or not isinstance(model_type, str):
        return None
    for auto in tables.transformers().of_type(model_type):
        if auto.name in conventions.CLASSIFIERS:
            text = f"it has labels, and {model_type} models that have are for {auto.tasks[0]}"
            return Head(auto.tasks, Reason(file, "id2label", len(config["id2label"]), text))
    return None


def _by_type(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """The `model_type` alone, or a class name that stands there instead."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return None
    autos = {auto.name: auto for auto in tables.transformers().of_type(model_type)}
    name = next((n for n in conventions.USUAL if n in autos), None) or next(iter(autos), None)
    if name:
        tasks = autos[name].tasks[:1] if name == "AutoModelForSeq2SeqLM" else autos[name].tasks
        text = f"{model_type} models are most often saved with the head of {name}"
        return Head(tasks, Reason(file, "model_type", model_type, text))
    tasks = (
        tasks_of_class(model_type, config=config, seen=modalities(evidence, config)) if model_type[0].isupper() else ()
    )
    return Head(tasks, Reason(file, "model_type", model_type, f"named like a class for {tasks[0]}")) if tasks else None


def _by_keys(evidence: Evidence, config: Mapping[str, Any], file: str) -> Head | None:
    """Keys of a language model or of a tower that sees or hears, and nothing that names a class."""
    for keys, task in conventions.SHAPES:
        if keys <= config.keys():
            return Head((task,), Reason(file, "(keys)", sorted(keys), "sizes that only one kind of model has"))
    seen = modalities(evidence, config)
    if seen and config.keys() & {"text_config", "llm_config", "vocab_size"}:
        tasks = _open_task("{chat}", config, seen, "")
        return Head(
            tasks, Reason(file, "(keys)", sorted(seen), f"a language model that takes {' and '.join(sorted(seen))}")
        )
    return None


def _pretrained(architecture: str, model_type: object) -> tuple[str, ...]:
    """A text encoder saved with all its pre-training heads fills masks; ELECTRA's discriminator has no such head."""
    table = tables.transformers()
    if architecture.endswith("ForPreTraining") and not architecture.startswith("Electra"):
        if table.has_head(model_type, "AutoModelForMaskedLM"):
            return ("fill-mask", "feature-extraction")
        if table.has_head(model_type, "AutoModelForImageClassification"):
            return ("image-feature-extraction",)
    return ()


_Rule = Callable[["Evidence", Mapping[str, Any], str], "Head | None"]
_RULES: tuple[_Rule, ...] = (
    _by_special_params,
    _by_codec_tokens,
    _by_own_name,
    _by_one_label,
    _by_class,
    _by_auto_map,
    _by_labels,
    _by_type,
    _by_keys,
)
