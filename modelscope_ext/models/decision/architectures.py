"""The claims of the three backends that read Hugging Face's layout: transformers, sentence-transformers, onnxruntime.

A backend's `probe` calls the function of its name here, because what one of them may claim depends on the others: a
config.json of transformers with nothing but ONNX graphs is not transformers', one with a single label is a reranker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.heads import infer_head, label_count, one_label, rewards
from modelscope_ext.models.resolution import Match, Reason, Strength
from modelscope_ext.utils.record import replace

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = [
    "cross_encoder_claim",
    "infer_tasks",
    "onnx_claim",
    "sentence_transformers_claim",
    "transformers_claim",
    "weight_formats",
]

_CONFIG = "config.json"
#: Formats that PyTorch's libraries read.
_TORCH = frozenset(("safetensors", "pickle"))
#: File stems in which transformers looks for weights.
_STEMS = ("model", "pytorch_model", "tf_model", "flax_model")
#: What a tokenizer leaves in a folder.
_TOKENIZERS = frozenset(
    ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model",
     "sentencepiece.bpe.model", "preprocessor_config.json", "processor_config.json")
)  # fmt: skip
#: Endings that the conversion script of Transformers.js gives to the graphs it quantises.
_JAVASCRIPT = ("_quantized", "_fp16", "_int8", "_uint8", "_q8", "_q4", "_q4f16", "_bnb4")


def infer_tasks(evidence: Evidence) -> tuple[tuple[str, ...], tuple[Reason, ...]]:
    """Return the tasks that config.json speaks for, the likeliest first, and why; both empty when it is silent.

    Example:
        >>> from modelscope_ext.metadata.evidence import collect
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> config = '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
        >>> infer_tasks(collect(Snapshot.from_mapping({"config.json": config})))[0]
        ('fill-mask',)
    """
    head = infer_head(evidence)
    return (head.tasks, (head.because,)) if head else ((), ())


def transformers_claim(evidence: Evidence) -> Match | None:
    """Claim a config.json of transformers (known type, class name or `auto_map`) unless its weights are another's."""
    config = evidence.documents.get(_CONFIG)
    if isinstance(config, Mapping):
        reason = _speaks(config)
        if reason is None or "_class_name" in config:
            return None
        formats = weight_formats(evidence)
        if formats and not formats & {"safetensors", "pickle", "h5", "msgpack", "gguf"}:
            return None
        tasks, because = infer_tasks(evidence)
        framework = _framework(formats)
        return Match(
            "transformers",
            Strength.READABLE,
            (reason, *because),
            framework=framework,
            tasks=tasks,
            model_type=_text(config.get("model_type")),
        )
    return _unread_transformers(evidence)


def sentence_transformers_claim(evidence: Evidence) -> Match | None:
    """Claim modules.json, pooling folders, and cross-encoders: text encoders with exactly one label."""
    from modelscope_ext.models.decision.recognised import recognise_one

    match = recognise_one("sentence-transformers", evidence) or cross_encoder_claim(evidence)
    return weaker_without_weights(match, evidence) if match else None


def weaker_without_weights(match: Match, evidence: Evidence) -> Match:
    """Lower a claim of sentence-transformers to folders whose only weights are ONNX graphs."""
    formats = weight_formats(evidence)
    if match.backend == "sentence-transformers" and "onnx" in formats and not formats & _TORCH:
        return replace(match, strength=Strength.POSSIBLE)
    return match


def cross_encoder_claim(evidence: Evidence) -> Match | None:
    """Claim text encoders with exactly one label, and what sentence-transformers saved as a cross-encoder."""
    config = evidence.documents.get(_CONFIG)
    if not isinstance(config, Mapping):
        return None
    own = config.get("sentence_transformers")
    reason = None
    if isinstance(own, Mapping):
        reason = Reason(_CONFIG, "sentence_transformers", "(present)", "saved as a cross-encoder")
    elif one_label(config) and not rewards(evidence):
        reason = Reason(_CONFIG, "id2label", 1, "a text encoder with a single label scores pairs: a cross-encoder")
    if reason is None or not _architecture(config).endswith("ForSequenceClassification"):
        return None
    tasks: tuple[str, ...] = ("text-ranking",)
    if label_count(config) not in (1, None):  # it scores pairs for each of several labels: entailment, not relevance
        tasks = infer_tasks(evidence)[0] or tasks
    return Match(
        "sentence-transformers",
        Strength.FORMAT if isinstance(own, Mapping) else Strength.READABLE,
        (reason,),
        framework="pytorch",
        tasks=tasks,
        model_type=_text(config.get("model_type")),
    )


def onnx_claim(evidence: Evidence) -> Match | None:
    """Claim ONNX graphs: alone they can be read by nothing else, beside other weights they are a second way."""
    graphs = [w.name for w in evidence.weights if w.format == "onnx" and w.name.endswith(".onnx")]
    if not graphs:
        return None
    graphs.sort(key=lambda name: (name.count("/"), not name.rpartition("/")[2].startswith("model."), name))
    others = weight_formats(evidence) - {"onnx"}
    tasks, because = _embeds(evidence) or infer_tasks(evidence)
    javascript = next((g for g in graphs if g.startswith("onnx/") and g[:-5].endswith(_JAVASCRIPT)), None)
    alone = not others or (_CONFIG not in evidence.name_set and graphs[0].count("/") == 0)
    name, shown = ("transformers.js", javascript) if javascript and alone else ("onnxruntime", graphs[0])
    text = "ONNX graphs and no other weights" if alone else "ONNX graphs beside other weights"
    return Match(
        name,
        Strength.READABLE if alone else Strength.POSSIBLE,
        (Reason(str(shown), "(name)", shown, text), *because),
        framework="onnx",
        tasks=tasks,
        model_type=_text(evidence.get(_CONFIG, "model_type")),
    )


def _embeds(evidence: Evidence) -> tuple[tuple[str, ...], tuple[Reason, ...]] | None:
    """Graphs in a folder of sentence-transformers are for what that folder is for, whatever config.json says."""
    from modelscope_ext.models.decision.recognised import library, recognise_one

    match = recognise_one("sentence-transformers", evidence)
    row = library("sentence-transformers")
    if match is None or row is None:
        return None
    return match.tasks or tuple(row.tasks.split()), match.because


def weight_formats(evidence: Evidence) -> set[str]:
    """Return the formats of the weights in the model's own folder, and of ONNX graphs below it."""
    formats = {w.format for w in evidence.weights if not w.folder or (w.format == "onnx" and w.folder == "onnx")}
    if formats:
        return formats
    below = {w.format for w in evidence.weights}
    return below if below == {"onnx"} else {w.format for w in evidence.weights if "/" not in w.folder} & {"onnx"}


def _speaks(config: Mapping[str, Any]) -> Reason | None:
    """Return the key by which this config.json is one of transformers."""
    model_type, auto_map = config.get("model_type"), config.get("auto_map")
    if tables.transformers().knows_type(model_type):
        return Reason(_CONFIG, "model_type", model_type, f"transformers knows models of type {model_type}")
    architecture = _architecture(config)
    if isinstance(auto_map, Mapping) and auto_map:
        return Reason(_CONFIG, "auto_map", sorted(map(str, auto_map)), "transformers loads it through the model's code")
    if architecture:
        return Reason(_CONFIG, "architectures", architecture, "a class in transformers' own form")
    if isinstance(model_type, str) and model_type and config.keys() & _OWN_KEYS:
        return Reason(_CONFIG, "model_type", model_type, "a model type beside keys of transformers")
    if "transformers_version" in config:
        return Reason(_CONFIG, "transformers_version", config["transformers_version"], "transformers wrote it")
    if len(config.keys() & _OWN_KEYS) >= 5:
        keys = sorted(config.keys() & _OWN_KEYS)
        return Reason(_CONFIG, "(keys)", keys, "keys of a transformers config")
    return None


_OWN_KEYS = frozenset(
    ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "torch_dtype", "dtype", "id2label",
     "transformers_version", "intermediate_size", "layer_norm_eps", "initializer_range", "text_config", "vision_config",
     "max_position_embeddings", "d_model", "tie_word_embeddings", "pad_token_id")
)  # fmt: skip


def _unread_transformers(evidence: Evidence) -> Match | None:
    """Weights under transformers' names, while config.json is absent or could not be read."""
    weight = next((w for w in evidence.weights if not w.folder and _stem(w.name) in _STEMS), None)
    unread = _CONFIG in evidence.name_set
    tokenizer = next((name for name in sorted(_TOKENIZERS) if name in evidence.name_set), None)
    if unread and (weight or tokenizer):
        text = "config.json is there but could not be read; the other files are laid out as transformers does"
        reason = Reason(_CONFIG, "(unread)", evidence.unreadable.get(_CONFIG, "content not known"), text)
    elif weight and tokenizer and weight.format in ("safetensors", "pickle"):
        reason = Reason(weight.name, "(name)", weight.name, "weights under transformers' file name, beside a tokenizer")
    else:
        return None
    tasks = _tasks_of_files(evidence)
    framework = _framework(weight_formats(evidence))
    return Match("transformers", Strength.POSSIBLE, (reason,), framework=framework, tasks=tasks)


def _tasks_of_files(evidence: Evidence) -> tuple[str, ...]:
    """Guess from the files alone: what generates has generation settings or a chat template; old encoders have none."""
    if evidence.name_set & {"generation_config.json", "chat_template.jinja", "chat_template.json"}:
        seen = evidence.name_set & {"preprocessor_config.json", "processor_config.json"}
        return ("image-text-to-text",) if seen else ("text-generation",)
    if evidence.name_set & {"vocab.txt", "sentencepiece.bpe.model", "merges.txt"}:
        return ("fill-mask",)
    return ()


def _framework(formats: set[str]) -> str:
    if formats and not formats & {"safetensors", "pickle"}:
        if "h5" in formats:
            return "tensorflow"
        if "msgpack" in formats:
            return "jax"
    return "pytorch"


def _stem(name: str) -> str:
    return name.partition(".")[0].partition("-0")[0]


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    if isinstance(names, str):
        return names
    return next((n for n in names if isinstance(n, str)), "") if isinstance(names, list | tuple) else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
