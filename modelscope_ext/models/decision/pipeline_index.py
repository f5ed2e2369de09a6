"""Step 4 of 6: what a pipeline's `model_index.json` names: its class, its components, and the weights of each.

mindone and onediff load the same folders. Nothing here looks at more than names, and nothing is imported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["INDEX", "Component", "PipelineIndex", "component_files", "weight_files"]

INDEX = "model_index.json"

#: Names of a component's weights, by library: diffusers' models, and those of transformers.
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_SHARD = r"-\d{5}-of-\d{5}"
#: Formats of a component's weights, the preferred first: (format, ending).
_ENDINGS = (("safetensors", "safetensors"), ("pickle", "bin"))


@dataclass(frozen=True)
class Component(Record):
    """One entry of the index.

    Attributes:
        name: Its key, which is also its folder, e.g. ``"unet"``.
        library: ``"diffusers"``, ``"transformers"``, the module of a pipeline, or a Python file of the folder.
        kind: The class.
    """

    name: str
    library: str
    kind: str


@dataclass(frozen=True)
class PipelineIndex(Record):
    """What the index says.

    Attributes:
        kind: The pipeline's class.
        module: The Python file (without ``.py``) of the folder that defines it; None for a class of diffusers.
        components: Those that are there; entries of ``[null, null]`` are left out.
        absent: The names of the others.
        options: What else the pipeline is made with, e.g. ``{"requires_safety_checker": False}``.
    """

    kind: str
    module: str | None
    components: tuple[Component, ...]
    absent: tuple[str, ...]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, document: Any) -> PipelineIndex | None:
        """Return what a parsed ``model_index.json`` says, or None where it is no pipeline's.

        Example:
            >>> index = PipelineIndex.of({"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]})
            >>> index.kind, index.components[0].kind
            ('DDPMPipeline', 'UNet2DModel')
        """
        name = document.get("_class_name") if isinstance(document, Mapping) else None
        module = None
        if isinstance(name, list) and len(name) == 2 and all(isinstance(one, str) for one in name):
            module, name = name
        if not isinstance(name, str) or not name:
            return None
        found, absent, options = [], [], {}
        for key, value in document.items():
            if key.startswith("_"):
                continue
            if isinstance(value, list) and len(value) >= 2 and value[0] is None:
                absent.append(key)
            elif isinstance(value, list) and len(value) >= 2 and all(isinstance(one, str) for one in value[:2]):
                found.append(Component(key, value[0], value[1]))
            else:
                options[key] = value
        return cls(name, module, tuple(found), tuple(absent), options)


def weight_files(names: Collection[str], folder: str, variant: str | None = None) -> tuple[str, ...]:
    """Return the weights that a component's folder would be loaded from: one format, one variant, all shards.

    safetensors are taken over PyTorch's ``.bin``, the asked variant over the files without one; a component that has
    no such variant keeps what it has, as in diffusers.

    Example:
        >>> weight_files({"vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.fp16.safetensors"}, "vae")
        ('vae/diffusion_pytorch_model.bin',)
    """
    here = sorted(_inside(names, folder))
    for marked in (variant, None) if variant else (None,):
        for _, ending in _ENDINGS:
            for stem in _STEMS:
                found = _one_model(here, stem, marked, ending)
                if found:
                    return tuple(f"{folder}/{name}" if folder else name for name in found)
    return ()


def _one_model(names: Iterable[str], stem: str, variant: str | None, ending: str) -> list[str]:
    mark = f"\\.{re.escape(variant)}" if variant else ""
    whole = re.compile(rf"{stem}{mark}\.{ending}")
    # The number stands behind the variant, in old folders before it.
    shard = re.compile(rf"{stem}(?:{mark}{_SHARD}|{_SHARD}{mark})\.{ending}")
    names = list(names)
    return [n for n in names if whole.fullmatch(n)] or [n for n in names if shard.fullmatch(n)]


def component_files(names: Collection[str], folder: str, weights: Iterable[str]) -> Iterator[str]:
    """Yield what else is read of a component's folder: settings, vocabularies, and the index of the chosen shards."""
    chosen = {name.rpartition("/")[2] for name in weights}
    for name in sorted(_inside(names, folder)):
        if name.endswith(_SETTINGS) and (not _INDEX_OF_SHARDS.search(name) or _lists(name, chosen)):
            yield f"{folder}/{name}" if folder else name


_SETTINGS = (".json", ".txt", ".model", ".jinja", ".spm", ".tiktoken", ".bpe")
_INDEX_OF_SHARDS = re.compile(r"\.index(\.[\w-]+)?\.json$")


def _lists(index: str, chosen: Collection[str]) -> bool:
    """Whether an index of shards (``stem.ending.index.json``, with a variant anywhere) is that of the chosen files."""
    stem, *marks = index.removesuffix(".json").split(".")
    ending = next((mark for mark in marks if mark in ("safetensors", "bin")), "")
    variants = [mark for mark in marks if mark not in ("safetensors", "bin", "index")]
    mark = f".{variants[0]}" if variants else ""
    pattern = re.compile(rf"{re.escape(stem)}(?:{re.escape(mark)}{_SHARD}|{_SHARD}{re.escape(mark)})\.{ending}")
    return any(pattern.fullmatch(name) for name in chosen)


def _inside(names: Collection[str], folder: str) -> Iterator[str]:
    prefix = f"{folder}/" if folder else ""
    for name in names:
        if name.startswith(prefix) and "/" not in name[len(prefix) :]:
            yield name[len(prefix) :]
