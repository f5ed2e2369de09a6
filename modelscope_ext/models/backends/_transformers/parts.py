"""Step 5 of 6, transformers: the tokenizer and the processors of a folder, and what kind a given one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.errors import MalformedMetadata, MissingRequirement, ModelScopeExtError, NotAModel
from modelscope_ext.models.backends._transformers.folder import DESCRIBING, Folder, missing_package
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["check_vocabulary", "kind_of", "load_part"]

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


def load_part(folder: Folder, kind: str) -> Any:
    """Return the tokenizer or a processor of the folder.

    Args:
        folder: Where to load from.
        kind: A key of `_PARTS`; ``a|b`` returns the first that can be loaded.

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


def _load_one_part(folder: Folder, kind: str) -> Any:
    import transformers

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
