"""Step 5 of 6, gate B: do the sizes a configuration declares fit the weights beside it? Asked before anything is built.

A library allocates what the configuration says before it compares that with the checkpoint. So every size is turned
into the fewest elements it must lead to, and those are compared with the bytes that are there: one byte holds eight
elements at most (one bit each), and twice that is let pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_ext.errors import LimitExceeded
from modelscope_ext.utils.text import printable

__all__ = ["check_shapes"]

#: Elements (1 GiB of float32) below which nothing is compared: a machine that loads models has that.
_SMALL = 2**28
_PER_BYTE = 16
#: Keys whose numbers are no dimension of a tensor: amounts of text, seeds, ids, factors, counters of a training.
_NO_SIZE = re.compile(
    r"theta|base|length|window|limit|token|param|flo[sp]|seed|_id$|_ids$|scale|factor|eps|_max|max_|min_|steps|version"
    r"|bytes|samples|epoch|freq|rate|range|threshold|timestep|_time|date|position(?!s)",
    re.IGNORECASE,
)
#: Layers below which their number is not compared with the number of tensors.
_FEW_LAYERS = 512
_BYTES_OF_A_LAYER = 64
_WIDTHS = ("hidden_size", "d_model", "n_embd")
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers")
_INNER = ("intermediate_size", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_source_positions", "max_target_positions")
#: Architectures whose positions are a table that is learned, so that each one costs memory.
_LEARNED = frozenset(
    ("albert", "bart", "bert", "big_bird", "blenderbot", "camembert", "clip_text_model", "deberta", "deberta-v2",
     "distilbert", "electra", "ernie", "gpt2", "gpt_bigcode", "gpt_neo", "layoutlm", "longformer", "marian", "mbart",
     "mpnet", "openai-gpt", "opt", "pegasus", "roberta", "splinter", "xlm-roberta", "xlm", "whisper")
)  # fmt: skip


def check_shapes(configs: Mapping[str, Any], size: int, tensors: int | None, *, source: str) -> None:
    """Compare declared sizes with the weights.

    Args:
        configs: The parsed ``config.json`` files by name.
        size: Bytes of all weight files.
        tensors: How many tensors they hold, where their headers say.
        source: The model as the caller named it.

    Raises:
        LimitExceeded: The configuration declares far more than the weights can hold.

    Example:
        >>> config = {"vocab_size": 2**25, "hidden_size": 2**16}
        >>> check_shapes({"config.json": config}, 4096, 3, source="./m")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.LimitExceeded: config.json: vocab_size declares at least 2199023255552 elements, but the \
weights are 4096 bytes. Nothing was allocated. The configuration belongs to another model, or is hostile.
    """
    for name, document in configs.items():
        for prefix, level in _levels(document):
            _check_layers(name, prefix, level, size, tensors, source)
            for key, elements in (*_declared(level), *_any_size(level)):
                if elements > _SMALL and elements > _PER_BYTE * size:
                    _refuse(name, prefix + key, f"declares at least {elements} elements", size, source)


def _levels(document: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(document, Mapping):
        return
    yield "", document
    for key, value in document.items():
        if isinstance(value, Mapping) and str(key).endswith("_config"):
            yield f"{key}.", value


def _check_layers(
    name: str, prefix: str, level: Mapping[str, Any], size: int, tensors: int | None, source: str
) -> None:
    key, layers = _first(level, _LAYERS)
    most = tensors if tensors is not None else size // _BYTES_OF_A_LAYER
    if layers > _FEW_LAYERS and layers > most:
        _refuse(name, prefix + key, f"declares {layers} layers", size, source)


def _declared(level: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield each key and the fewest elements that it must lead to."""
    width_key, width = _first(level, _WIDTHS)
    _, layers = _first(level, _LAYERS)
    embedded = _whole(level.get("embedding_size")) or _whole(level.get("word_embed_proj_dim")) or width
    yield "vocab_size", _whole(level.get("vocab_size")) * embedded
    yield "type_vocab_size", _whole(level.get("type_vocab_size")) * embedded
    yield "num_labels", _whole(level.get("num_labels")) * width
    yield width_key, max(layers, 1) * width * width
    inner_key, inner = _first(level, _INNER)
    yield inner_key, max(layers, 1) * width * inner
    if level.get("model_type") in _LEARNED:
        for key in _POSITIONS:
            yield key, _whole(level.get(key)) * embedded
    yield "in_features", _whole(level.get("in_features")) * _whole(level.get("out_features"))
    patch = level.get("patch_size")
    side = _whole(max(level["image_size"], default=0, key=_whole) if isinstance(level.get("image_size"), list)
                  else level.get("image_size"))  # fmt: skip
    least = min(map(_whole, patch), default=0) if isinstance(patch, list) else _whole(patch)
    yield "image_size", (side // (least or side or 1)) ** 2 * max(width, 1)
    blocks = level.get("block_out_channels")
    if isinstance(blocks, list):
        yield "block_out_channels", max((_whole(one) for one in blocks), default=0) ** 2


def _any_size(level: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield every other number that may be a dimension: a tensor with that side has at least as many elements."""
    for key, value in level.items():
        if not _NO_SIZE.search(str(key)):
            for one in value if isinstance(value, list) else (value,):
                yield str(key), _whole(one) if isinstance(one, int) else 0


def _first(level: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, int]:
    return next(((key, size) for key in keys if (size := _whole(level.get(key)))), (keys[0], 0))


def _whole(value: Any) -> int:
    """Return a size, or 0 for what is none."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**62
    return int(value) if usable else 0


def _refuse(name: str, key: str, what: str, size: int, source: str) -> None:
    raise LimitExceeded(
        f"{printable(name)}: {printable(key)} {what}, but the weights are {size} bytes. Nothing was allocated. The"
        " configuration belongs to another model, or is hostile.",
        file=name,
        field=key,
        source=source,
    )
