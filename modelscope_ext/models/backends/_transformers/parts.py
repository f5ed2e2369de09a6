"""Step 5 of 6, transformers: the tokenizer and the processors of a folder, and what kind a given one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    MissingRequirement,
    ModelScopeExtError,
    NotAModel,
)
from modelscope_ext.models.backends._transformers.folder import DESCRIBING, Folder, missing_package
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["check_vocabulary", "kind_of", "load_part", "parts_to_save"]

#: Kind of part -> (auto class, files that hold it, the likeliest first).
_PARTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tokenizer": (
        "AutoTokenizer",
        (
            *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"),
            *("sentencepiece.bpe.model", "source.spm", "bpe.codes", "tekken.json", "prophetnet.tokenizer"),
        ),
    ),
    "image_processor": ("AutoImageProcessor", ("preprocessor_config.json", "processor_config.json")),
    "feature_extractor": ("AutoFeatureExtractor", ("preprocessor_config.json", "processor_config.json")),
    "video_processor": (
        "AutoVideoProcessor",
        ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json"),
    ),
    "processor": ("AutoProcessor", ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")),
}

#: Files of a decision head that lies beside a model's weights, in a format of its own.
_HEADS = ("head.safetensors", "readout.safetensors", "decision_config.json", "judge_config.json")


def load_part(folder: Folder, kind: str) -> Any:
    """Return the tokenizer or a processor of the folder.

    Args:
        folder: Where to load from.
        kind: A key of `_PARTS`, or ``decision_config``; ``a|b`` returns the first that can be loaded.

    Raises:
        NotAModel: The folder has no file for it.
        MalformedMetadata: It has, but they cannot be used.
        MissingRequirement: A package that it needs is not installed.
    """
    first: ModelScopeExtError | None = None
    for one in kind.split("|"):
        try:
            return _load_one_part(folder, one)
        except (NotAModel, MalformedMetadata, MissingRequirement) as error:
            first = first or error
    assert first is not None
    raise first


def parts_to_save(parts: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the tokenizer, the processors and the settings that belong to a model, those of its folder included.

    Args:
        parts: What was loaded beside the model; ``folder`` is where the rest lies.
    """
    folder = parts.get("folder")
    for kind in (*_PARTS, "decision_config"):
        part = parts.get(kind)
        if part is None and folder is not None and folder.path.is_dir():
            if kind == "decision_config" and not (folder.path / "decision.json").is_file():
                continue
            with suppress(ModelScopeExtError):  # the folder has none of this kind, or none that can be used
                part = load_part(folder, kind)
        if part is not None:
            yield part


def _load_one_part(folder: Folder, kind: str) -> Any:
    import transformers

    if kind == "decision_config":
        return _decision_config(folder)
    name, files = _PARTS[kind]
    there = [file for file in files if (folder.path / file).is_file()]
    if not there:
        raise NotAModel(
            f"{folder.name}: there is no {kind.replace('_', ' ')}: none of {listing(files)} is in the folder. Copy it "
            "from the model it was trained from, or pass one as tokenizer= or processor=."
        )
    trusted = folder.trusts(*DESCRIBING)
    try:
        part = getattr(transformers, name).from_pretrained(
            str(folder.path), trust_remote_code=trusted, local_files_only=True
        )
    except ImportError as error:
        raise missing_package(folder, there[0], error) from error
    except Exception as error:
        detail = printable(" ".join(str(error).split()), 400)
        # The settings were parsed before; what the library could not read is the vocabulary, if there is one.
        blamed = next((file for file in there if not file.endswith("_config.json")), there[0])
        raise MalformedMetadata(
            f"{folder.name}: the {kind.replace('_', ' ')} in {blamed} cannot be used "
            f"({type(error).__name__}: {detail})",
            source=folder.name,
            file=blamed,
        ) from error
    if isinstance(part, transformers.ProcessorMixin) != (kind == "processor"):
        # AutoProcessor gives a lone tokenizer where there is no processor, the others a whole processor.
        part = getattr(part, kind, None)
    if part is None:
        raise NotAModel(f"{folder.name}: {there[0]} describes no {kind.replace('_', ' ')}.")
    if kind == "tokenizer":
        check_vocabulary(folder, part)
    logger.debug("%s: loaded %s as %s", folder.name, there[0], type(part).__name__)
    return part


def _decision_config(folder: Folder) -> Any:
    """Return the settings of a model that answers typed questions, read here: the library would follow any path."""
    from transformers.decision import DecisionConfig

    beside = [name for name in _HEADS if (folder.path / name).is_file()]
    if beside and folder.raw.get("model_type") != "jev":
        raise BackendNotLoadable(
            f"{folder.name}: {beside[0]}: a decision head lies beside the weights in a format of its own, and answers"
            " without it would be another model's. Load it with transformers.JevForDecision and save it again."
        )
    said = folder.document("decision.json")
    template = folder.path / "decision_template.jinja"
    if template.is_file():
        said["chat_template"] = template.read_text(encoding="utf-8")
    try:
        settings = DecisionConfig(**{k: v for k, v in said.items() if k in DecisionConfig.__dataclass_fields__})
    except Exception as error:
        raise MalformedMetadata(
            f"{folder.name}: decision.json cannot be used: {printable(str(error), 200)}",
            source=folder.name,
            file="decision.json",
        ) from error
    if settings.adapter:
        raise BackendNotLoadable(
            f"{folder.name}: decision.json: adapter names {printable(settings.adapter)}, a LoRA in a folder of its own,"
            " which is not loaded here. Merge it into the weights first."
        )
    return settings


def check_vocabulary(folder: Folder, tokenizer: Any) -> None:
    """Refuse a tokenizer whose vocabulary is not there: transformers 5 would make an empty one of its settings."""
    names = dict(getattr(type(tokenizer), "vocab_files_names", None) or {})
    whole = (*(n for k, n in names.items() if k == "tokenizer_file"), "tokenizer.json", "tekken.json")
    needed = [names[k] for k in ("vocab_file", "merges_file") if k in names]
    there = any((folder.path / name).is_file() for name in whole) or any(folder.path.glob("*.tiktoken"))
    missing = [name for name in needed if not (folder.path / name).is_file()]
    if missing and not there and type(tokenizer).__module__.startswith("transformers."):
        raise NotAModel(
            f"{folder.name}: the tokenizer has settings but no vocabulary: tokenizer.json is not in the folder, and "
            f"neither is {listing(missing)}. Copy it from the model it was trained from, or pass one as tokenizer=."
        )


def kind_of(part: Any) -> str | None:
    """Return the name under which transformers' pipelines take `part`, or None for something else."""
    import transformers

    for kind, base in (
        ("tokenizer", "PreTrainedTokenizerBase"),
        ("processor", "ProcessorMixin"),
        ("video_processor", "BaseVideoProcessor"),
        ("image_processor", "ImageProcessingMixin"),
        ("feature_extractor", "FeatureExtractionMixin"),
    ):
        cls = getattr(transformers, base, None)
        if cls is not None and isinstance(part, cls):
            return kind
    return None
