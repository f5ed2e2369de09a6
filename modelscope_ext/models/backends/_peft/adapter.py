"""Step 5 of 6, peft: what an adapter's files say, read before its base is opened.

The names and shapes of its weights tell which parts of the base they bring (a head that was trained along, a larger
vocabulary) and whether the sizes that adapter_config.json declares are those of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, LimitExceeded, NotAModel
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.safety.grants import Grants
from modelscope_ext.utils.text import listing, printable

__all__ = ["CONFIG", "Adapter", "read_adapter"]

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

#: Kinds of adapters whose effect `effect.py` can tell. peft has more, some of which open further sources by themselves.
TYPES = frozenset(
    ("LORA", "ADALORA", "LOHA", "LOKR", "VERA", "FOURIERFT", "IA3", "OFT", "BOFT", "HRA", "LN_TUNING",
     "PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")
)  # fmt: skip
#: ... of which these add tokens to the input rather than change weights.
PROMPTS = frozenset(("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"))
#: Keys of adapter_config.json that declare how much peft allocates.
_SIZES = (
    "r", "init_r", "num_virtual_tokens", "n_frequency", "encoder_hidden_size", "oft_block_size", "boft_block_size",
)  # fmt: skip
_SMALL = 4096
#: Ends of module names that hold a classifier's last layer.
_LAST_LAYERS = ("classifier", "score", "out_proj", "logits_proj", "qa_outputs")
_PREFIX = "base_model.model."
#: Parts of the names of weights that a tuner adds, rather than brings in place of the base's.
_TUNED = (
    ".lora_", ".ia3_", ".hada_", ".lokr_", ".oft_", ".boft_", ".hra_", ".vera_", ".fourierft_", ".ln_tuning_",
    ".trainable_tokens", ".token_adapter",
)  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """An adapter's files.

    Attributes:
        folder: Where they lie.
        source: How the user named the adapter, for messages.
        config: adapter_config.json.
        shapes: Shape of each tensor in its weights, by name.
        labels: Names of labels that a config.json beside it has, by number.
    """

    folder: Path
    source: str
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The kind of adapter, e.g. ``"LORA"``."""
        return str(self.config.get("peft_type")).upper()

    @property
    def is_prompt(self) -> bool:
        """Whether it adds tokens to the input and leaves the base's weights alone."""
        return self.type in PROMPTS

    @property
    def brings(self) -> Mapping[str, tuple[int, ...]]:
        """Names, as in the base, and shapes of the weights that it brings in place of the base's."""
        whole = ((name, shape) for name, shape in self.shapes.items() if not any(part in name for part in _TUNED))
        named = ((name.removeprefix(_PREFIX), shape) for name, shape in whole if name.startswith(_PREFIX))
        return {name.replace(".base_layer.", "."): shape for name, shape in named}

    @property
    def num_labels(self) -> int | None:
        """How many labels the classifier has that the adapter brings; None where it brings none.

        Nobody writes the number into an adapter: the shape of its head has it.
        """
        sizes = (
            shape[0]
            for name, shape in self.brings.items()
            if name.endswith(".weight") and len(shape) == 2 and name.split(".")[-2] in _LAST_LAYERS
        )
        return next(sizes, None)


def read_adapter(folder: Path, resolution: Resolution, grants: Grants) -> Adapter:
    """Return what the files of the adapter in `folder` say.

    Raises:
        NotAModel: One of its two files is missing.
        BackendNotLoadable: A kind of adapter of which nothing is known here.
        LimitExceeded: It declares far more than its weights hold.
    """
    source = str(resolution.source)
    config = _document(folder, CONFIG, grants, source)
    if not config:
        raise NotAModel(f"{printable(source)}: there is no {CONFIG}, which says what kind of adapter this is.")
    name = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise NotAModel(
            f"{printable(source)}: there are no weights: neither {' nor '.join(_WEIGHTS)} is in the folder."
        )
    labels = _labels(_document(folder, "config.json", grants, source))
    adapter = Adapter(folder, source, config, dict(_shapes(folder, name, grants, source)), labels)
    if adapter.type not in TYPES:
        raise BackendNotLoadable(
            f"{printable(source)}: {CONFIG}: peft_type: {printable(repr(config.get('peft_type')))} is none of the kinds"
            f" whose effect can be checked here: {listing(sorted(TYPES), 20)}. Load it with peft itself:"
            " PeftModel.from_pretrained(model, folder)."
        )
    _check_sizes(adapter)
    return adapter


def _document(folder: Path, name: str, grants: Grants, source: str) -> dict[str, Any]:
    from modelscope_ext.safety.reading import parse_json, read_inside

    if not (folder / name).is_file():
        return {}
    document = parse_json(
        read_inside(folder, name, limits=grants.limits, source=source), file=name, limits=grants.limits, source=source
    )
    return document if isinstance(document, dict) else {}


def _labels(config: Mapping[str, Any]) -> dict[int, str]:
    labels = config.get("id2label")
    named = labels.items() if isinstance(labels, Mapping) else ()
    return {int(number): str(label) for number, label in named if str(number).isdigit()}


def _shapes(folder: Path, name: str, grants: Grants, source: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and shapes; gate B has judged the bytes, so that a pickle holds plain tensors only."""
    if name.endswith(".safetensors"):
        from modelscope_ext.safety.headers import safetensors_header
        from modelscope_ext.safety.reading import read_inside

        read = partial(_read, partial(read_inside, folder, name, source=source))
        size = (folder / name).stat().st_size
        header = safetensors_header(read, size, file=name, limits=grants.limits, source=source)
        yield from ((key, tensor.shape) for key, tensor in header.tensors.items())
        return
    import torch

    found = torch.load(folder / name, map_location="meta", weights_only=True)
    yield from ((key, tuple(tensor.shape)) for key, tensor in found.items())


def _read(read: Any, start: int, length: int) -> bytes:
    data: bytes = read(start=start, length=length)
    return data


def _check_sizes(adapter: Adapter) -> None:
    """Refuse sizes that the file does not bear out, before anything is allocated by them."""
    largest = max((size for shape in adapter.shapes.values() for size in shape), default=0)
    patterns = adapter.config.get("rank_pattern")
    declared = {name: adapter.config.get(name) for name in _SIZES}
    declared |= {f"rank_pattern.{k}": v for k, v in patterns.items()} if isinstance(patterns, Mapping) else {}
    for name, value in declared.items():
        if type(value) is int and value > max(_SMALL, largest):
            raise LimitExceeded(
                f"{CONFIG}: {printable(name)} is {value}, but no tensor of the adapter has a dimension above {largest}."
                " Nothing was allocated. The configuration belongs to another adapter, or is hostile.",
                source=adapter.source, file=CONFIG, field=name,
            )  # fmt: skip
