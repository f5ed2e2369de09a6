"""Step 5 of 6, ModelScope: the one place that imports it.

After ``import modelscope`` the attribute `modelscope.utils` is transformers' module, so everything is imported by the
full name of its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.models.decision.native import NativeType
from modelscope_ext.utils.text import printable

__all__ = ["build", "check_vocabulary", "preprocessor_of", "registries"]

#: A vocabulary may be smaller than the network's table of embeddings, which is often filled up, but not by so much.
_LEAST = 0.75


def registries() -> tuple[Any, ...]:
    """Return the registries that a model's own code may register with."""
    from modelscope.models.builder import BACKBONES, HEADS, MODELS
    from modelscope.pipelines.builder import PIPELINES
    from modelscope.preprocessors.builder import PREPROCESSORS

    return MODELS, BACKBONES, HEADS, PIPELINES, PREPROCESSORS


def build(folder: Path, native: NativeType, *, device: str, trusted: bool, arguments: Mapping[str, Any]) -> Any:
    """Return ModelScope's pipeline for the staged folder.

    Args:
        folder: Absolute: a relative path is looked for on the hub first, which takes 15 s.
        native: The types and the task, which is always passed.
        device: As ModelScope writes it, e.g. ``"cpu"`` or ``"cuda:0"``.
        trusted: Whether the model's own code is imported, as the caller permits.
        arguments: Further arguments of the pipeline's class.
    """
    from modelscope.pipelines import pipeline

    named = {} if trusted else {"pipeline_name": native.pipeline}
    return pipeline(
        native.task,
        model=str(folder),
        device=device,
        preprocessor=preprocessor_of(folder, native),
        trust_remote_code=trusted,
        external_engine_for_llm=False,
        **named,
        **arguments,
    )


def check_vocabulary(pipe: Any, source: str) -> None:
    """Raise where the vocabulary is not the network's: transformers takes a file cut short for a small vocabulary.

    Raises:
        MalformedMetadata: It has far fewer words than the network.
    """
    preprocessor, model = getattr(pipe, "preprocessor", None), getattr(pipe, "model", None)
    wrapper = getattr(preprocessor, "nlp_tokenizer", preprocessor)
    tokenizer: Any = getattr(wrapper, "tokenizer", None)
    words = getattr(getattr(model, "config", None), "vocab_size", None)
    if not hasattr(tokenizer, "get_vocab") or not isinstance(words, int):
        return
    known = len(set(tokenizer.get_vocab().values()))
    if known < _LEAST * words:
        raise MalformedMetadata(
            f"{printable(source)}: the vocabulary of the tokenizer has {known} words, and the model {words}: its file"
            " is damaged, or of another model. Fetch it again.",
            source=source,
        )


def preprocessor_of(folder: Path, native: NativeType) -> Any:
    """Return the preprocessor that the pipeline's class fails to make itself, or None."""
    make = _PREPROCESSORS.get(native.pipeline or "")
    return make(folder) if make is not None else None


def _document_segmentation(folder: Path) -> Any:
    """ModelScope 1.38 to 1.40 pass ``trust_remote_code`` to a class that does not take it."""
    from modelscope_ext.safety.reading import parse_json

    config = parse_json((folder / "config.json").read_bytes(), file="config.json")
    length = config.get("max_position_embeddings", 512) if isinstance(config, Mapping) else 512
    module = import_module("modelscope.preprocessors.nlp.document_segmentation_preprocessor")
    return module.DocumentSegmentationTransformersPreprocessor(str(folder), length)


_PREPROCESSORS = {"document-segmentation": _document_segmentation}
