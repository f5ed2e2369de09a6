"""Which tensors a model of mindformers has, by the names of both libraries, and how a folder's differ from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["TIED", "Compared", "Expected", "compare", "expected", "inner_size"]

#: May be missing where both ends share the embedding, and may be there all the same.
TIED = "lm_head.weight"
#: Computed from the settings by every library; older checkpoints of Llama still hold them.
_COMPUTED = re.compile(r"model\.layers\.\d+\.(?:self_attn|attention)\.rotary_emb\.inv_freq")


@dataclass(frozen=True)
class Expected:
    """One tensor of a model: its names in both libraries, and its shape."""

    transformers: str
    mindformers: str
    shape: tuple[int, ...]


#: Tensors of one layer: name in transformers, name in mindformers, sides. ``q``: query width, ``k``: key width.
_LAYER = (
    ("self_attn.o_proj.weight", "attention.wo.weight", ("h", "q")),
    ("mlp.down_proj.weight", "feed_forward.w2.weight", ("h", "i")),
    ("input_layernorm.weight", "attention_norm.weight", ("h",)),
    ("post_attention_layernorm.weight", "ffn_norm.weight", ("h",)),
)
_SEPARATE = (
    ("self_attn.q_proj.weight", "attention.wq.weight", ("q", "h")),
    ("self_attn.k_proj.weight", "attention.wk.weight", ("k", "h")),
    ("self_attn.v_proj.weight", "attention.wv.weight", ("k", "h")),
    ("mlp.gate_proj.weight", "feed_forward.w1.weight", ("i", "h")),
    ("mlp.up_proj.weight", "feed_forward.w3.weight", ("i", "h")),
)
#: With ``qkv_concat`` mindformers holds these in one matrix each, which transformers has not.
_JOINED = (
    ("", "attention.w_qkv.weight", ("qkv", "h")),
    ("", "feed_forward.w_gate_hidden.weight", ("ii", "h")),
)
_JOINED_BIAS = (("", "attention.w_qkv.bias", ("qkv",)),)
_QKV_BIAS = (
    ("self_attn.q_proj.bias", "attention.wq.bias", ("q",)),
    ("self_attn.k_proj.bias", "attention.wk.bias", ("k",)),
    ("self_attn.v_proj.bias", "attention.wv.bias", ("k",)),
)
_OUT_BIAS = (("self_attn.o_proj.bias", "attention.wo.bias", ("h",)),)


def expected(values: Mapping[str, Any]) -> Iterator[Expected]:
    """Yield every tensor of the model that mindformers' settings describe.

    Args:
        values: Settings of mindformers, checked.

    Example:
        >>> sizes = dict(vocab_size=9, hidden_size=4, intermediate_size=6, num_layers=1, num_heads=2, n_kv_heads=1)
        >>> [one.shape for one in expected(sizes) if one.transformers.endswith("k_proj.weight")]
        [(2, 4)]
    """
    width, vocabulary = values["hidden_size"], values["vocab_size"]
    keys = width // values["num_heads"] * (values.get("n_kv_heads") or values["num_heads"])
    inner = values["intermediate_size"]
    sides = {"h": width, "q": width, "k": keys, "i": inner, "qkv": width + 2 * keys, "ii": 2 * inner}
    joined, biased = bool(values.get("qkv_concat")), bool(values.get("qkv_has_bias"))
    rows = [*_LAYER, *(_JOINED if joined else _SEPARATE)]
    rows += (_JOINED_BIAS if joined else _QKV_BIAS) if biased else ()
    rows += _OUT_BIAS if values.get("attn_proj_has_bias") else ()
    yield Expected("model.embed_tokens.weight", "model.tok_embeddings.embedding_weight", (vocabulary, width))
    for number in range(values["num_layers"]):
        layer = f"model.layers.{number}."
        for theirs, ours, shape in rows:
            yield Expected(layer + theirs, layer + ours, tuple(sides[side] for side in shape))
    yield Expected("model.norm.weight", "model.norm_out.weight", (width,))
    yield Expected("lm_head.weight", "lm_head.weight", (vocabulary, width))


@dataclass(frozen=True)
class Compared:
    """How the tensors of a folder differ from the expected ones.

    Attributes:
        missing: Expected, and not there.
        strange: There, and none of the model's.
        wrong: Of another shape; name, found and expected shape.
        computed: There, and computed anew by every library.
    """

    missing: tuple[str, ...]
    strange: tuple[str, ...]
    wrong: tuple[str, ...]
    computed: tuple[str, ...]

    def problems(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what is wrong, in words, with the names."""
        for what, found in (
            ("missing", self.missing),
            ("none of the model's", self.strange),
            ("of another shape than the settings say", self.wrong),
        ):
            if found:
                yield f"{len(found)} of the tensors are {what}", found


def compare(
    shapes: Mapping[str, tuple[int, ...]], wanted: Iterable[Expected], values: Mapping[str, Any], names: str
) -> Compared:
    """Hold the tensors of a folder against the expected ones.

    Args:
        shapes: What is there.
        wanted: What `expected` yields.
        values: Settings of mindformers.
        names: ``"transformers"`` or ``"mindformers"``: whose names the folder has.

    Example:
        >>> one = Expected("model.norm.weight", "model.norm_out.weight", (4,))
        >>> compare({"model.norm.weight": (5,)}, [one], {}, "transformers").wrong
        ('model.norm.weight [5], not [4]',)
    """
    meant = {getattr(one, names): one.shape for one in wanted}
    tied = bool(values.get("tie_word_embeddings"))
    computed = tuple(name for name in shapes if name not in meant and _COMPUTED.fullmatch(name))
    return Compared(
        missing=tuple(name for name in meant if name not in shapes and not (tied and name == TIED)),
        strange=tuple(name for name in shapes if name not in meant and name not in computed),
        wrong=tuple(
            f"{name} {list(shapes[name])}, not {list(shape)}"
            for name, shape in meant.items()
            if name in shapes and shapes[name] != shape
        ),
        computed=computed,
    )


def inner_size(values: Mapping[str, Any]) -> int:
    """Return `intermediate_size`, or what mindformers computes where it is left out.

    Example:
        >>> inner_size({"hidden_size": 4096}), inner_size({"hidden_size": 8, "intermediate_size": 24})
        (11008, 24)
    """
    if values.get("intermediate_size") is not None:
        return int(values["intermediate_size"])
    size = 4 * values["hidden_size"]
    if values.get("ffn_dim_multiplier") is not None:
        size = int((values["ffn_dim_multiplier"] + 0.01) * size)
    size, step = int(2 * size / 3), values.get("multiple_of", 256)
    return int(step * ((size + step - 1) // step))
