"""Step 5 of 6, diffusers: folders that hold low-rank weights only, and the pipeline that they change.

The pipeline is another source: `models.base_source` opens it, where the caller names or permits it. diffusers only
warns about keys that belong to nothing; here that, and an adapter that changes nothing, is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import MissingRequirement, OptionError, WeightsMismatch
from modelscope_ext.models.backends._diffusers.folder import Place
from modelscope_ext.models.resolution import BaseReference
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["active", "apply", "check_installed", "lora_file", "reference", "remove", "save"]

#: The adapter's name in the pipeline, unlike any that a caller gives his own.
_NAME = "modelscope_ext"
_DESCRIBED = ("model_index.json", "modular_model_index.json", "config.json", "adapter_config.json")
_ENDINGS = (".safetensors", ".bin")
#: What stands before the word "weight" in the key of a matrix, in the spellings of peft and of diffusers' own.
_MATRICES = (".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.", ".lora_linear_layer.down.", ".lora_linear_layer.up.")
#: Keys under which a file of low-rank weights may name its base.
_KEYS = ("base_model", "base_model_name_or_path")


def lora_file(names: frozenset[str]) -> str | None:
    """Return the file of low-rank weights of a folder that holds nothing else, or None.

    Example:
        >>> lora_file(frozenset({"pytorch_lora_weights.safetensors", "README.md"}))
        'pytorch_lora_weights.safetensors'
        >>> lora_file(frozenset({"pytorch_lora_weights.safetensors", "model_index.json"})) is None
        True
    """
    if names & set(_DESCRIBED):
        return None
    whole = [f"pytorch_lora_weights{ending}" for ending in _ENDINGS]
    own = next((name for name in whole if name in names), None)
    rooted = sorted(n for n in names if "/" not in n and n.endswith(_ENDINGS[0]) and "lora" in n.lower())
    return own or (rooted[0] if len(rooted) == 1 else None)


def reference(evidence: Evidence) -> BaseReference | None:
    """Return what the card, or the weights' own metadata, call the base; None where the folder is no adapter."""
    file = lora_file(frozenset(evidence.names))
    if file is None:
        return None
    for fact in evidence.tagged.get("base_model", ()):
        if isinstance(fact.value, str) and fact.value:
            return BaseReference(fact.file, "base_model", fact.value)
    header = evidence.headers.get(file)
    for key, name in _named(header.metadata if header is not None else {}):
        return BaseReference(file, key, name)
    return BaseReference(file, "base_model")


def _named(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the metadata of a safetensors file call the base: by a key of their own, or in diffusers' settings."""
    for key in _KEYS:
        if isinstance(metadata.get(key), str) and metadata[key]:
            yield key, metadata[key]
    try:
        settings = json.loads(metadata.get("lora_adapter_metadata") or "{}")
    except (ValueError, TypeError, RecursionError):
        return
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if name.rpartition(".")[2] in _KEYS and isinstance(value, str) and value:
            yield f"lora_adapter_metadata.{name}", value


def check_installed(place: Place) -> None:
    """Refuse to begin without peft, which diffusers applies low-rank weights with."""
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise MissingRequirement(
            f"{place.name}: low-rank weights are applied with peft, which is not installed: pip install peft"
        )


def apply(place: Place, pipe: Any, file: str, scale: Any, *, strict: bool) -> None:
    """Apply the low-rank weights in `file` to a pipeline.

    Args:
        place: The adapter's folder.
        pipe: The library's pipeline; changed in place.
        file: The weights.
        scale: How strongly, 1.0 where None.
        strict: Whether weights that belong to nothing are an error.

    Raises:
        WeightsMismatch: Weights that belong to no layer of the pipeline, or that change nothing.
        OptionError: A pipeline that takes none, or a scale that is no number.
    """
    if not hasattr(pipe, "load_lora_weights"):
        raise OptionError(f"{place.name}: {type(pipe).__name__} takes no low-rank weights: pass another base_model=")
    if scale is not None and (type(scale) not in (int, float) or scale <= 0):
        raise OptionError(f"lora_scale={printable(repr(scale))}: expected a number above 0, e.g. 0.8")
    where = {"weight_name": file, "local_files_only": True, "use_safetensors": file.endswith(".safetensors")}
    what = f"the low-rank weights in {file}"
    given = place.read(what, file, lambda: pipe.lora_state_dict(str(place.path), **where))
    given = given[0] if isinstance(given, tuple) else given
    try:
        pipe.load_lora_weights(str(place.path), adapter_name=_NAME, **where)
    except (ValueError, RuntimeError, KeyError) as error:
        detail = printable(" ".join(str(error).split()), 400)
        raise WeightsMismatch(
            f"{place.name}: {what} do not fit {type(pipe).__name__}: {detail}. Pass the base they were made for as"
            " base_model=."
        ) from error
    _check_all_used(place, pipe, file, given, strict=strict)
    if not any(layer.get_delta_weight(_NAME).any() for _, layer in _layers(pipe)):
        raise WeightsMismatch(f"{place.name}: {what} change nothing: every product of theirs is zero.")
    if scale is not None:
        pipe.set_adapters([_NAME], adapter_weights=[float(scale)])


def active(pipe: Any) -> tuple[str, ...]:
    """Return the adapters that are in use in a pipeline."""
    return tuple(pipe.get_active_adapters()) if hasattr(pipe, "get_active_adapters") else ()


def remove(pipe: Any, before: tuple[str, ...]) -> None:
    """Take the adapter off a pipeline again, and put those back into use that were so before."""
    if not hasattr(pipe, "get_list_adapters"):
        return
    there = {name for names in pipe.get_list_adapters().values() for name in names}
    if there - {_NAME}:
        if before:
            pipe.set_adapters(list(before))
        pipe.delete_adapters(_NAME)
    elif there:
        pipe.unload_lora_weights()


def _layers(pipe: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that hold the adapter, with their dotted places below the pipeline."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, part in pipe.components.items():
        for place, module in part.named_modules() if hasattr(part, "named_modules") else ():
            if isinstance(module, BaseTunerLayer) and _NAME in getattr(module, "lora_A", {}):
                yield f"{name}.{place}", module


def _check_all_used(place: Place, pipe: Any, file: str, given: Mapping[str, Any], *, strict: bool) -> None:
    """Compare the places of the weights with the layers that took some."""
    taken = {name for name, _ in _layers(pipe)}
    lost = sorted({at for key in given if (at := _place_of(key)) is not None and at not in taken})
    if not lost and taken:
        return
    text = f"{place.name}: {file}: {len(lost)} of its low-rank weights belong to no layer of {type(pipe).__name__}"
    text += f" ({listing(map(printable, lost), 6)})."
    if strict or not taken:
        raise WeightsMismatch(f"{text} They were made for another model: pass it as base_model=.")
    logger.warning("%s Continuing, as allow_missing_weights=True asks.", text)


def _place_of(key: str) -> str | None:
    """Return the dotted place of the layer that a key belongs to; None for a key that is no matrix.

    Example:
        >>> _place_of("unet.mid_block.attentions.0.to_q.lora_A.weight"), _place_of("unet.to_q.alpha")
        ('unet.mid_block.attentions.0.to_q', None)
    """
    for mark in (
        ".lora_A.",
        ".lora_B.",
        ".lora.down.",
        ".lora.up.",
        ".lora_linear_layer.down.",
        ".lora_linear_layer.up.",
    ):
        if mark in key:
            return key.partition(mark)[0]
    return None


def save(folder: Path, own: Path, file: str, base: str) -> None:
    """Write the low-rank weights into `folder`, with a card that names their base."""
    import shutil

    shutil.copyfile(own / file, folder / file)
    card = folder / "README.md"
    if not card.exists():
        name = json.dumps(base)
        card.write_text(f"---\nlibrary_name: diffusers\nbase_model: {name}\ntags:\n- lora\n---\n", encoding="utf-8")
