"""Do the tensors of a folder fit what its settings describe? Asked of names and shapes before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelscope_ext.errors import WeightsMismatch
from modelscope_ext.models.convert.families import Expected
from modelscope_ext.models.convert.tensors import Stored
from modelscope_ext.utils.text import listing, printable

__all__ = ["matched"]

#: Computed from the settings by every library; older checkpoints of Llama still hold them.
_COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
#: May be missing where both ends share the embedding, and may be there all the same.
_TIED = "lm_head.weight"


def matched(
    tensors: Mapping[str, Stored], wanted: Iterable[Expected], values: Mapping[str, Any], names: str, where: str
) -> tuple[list[tuple[Expected, Stored]], tuple[str, ...]]:
    """Return each expected tensor with the stored one, in the order of the files, and the names that are left out.

    Args:
        tensors: What the files hold, by name.
        wanted: What the settings describe.
        values: The settings, in mindformers' keys.
        names: ``"transformers"`` or ``"mindformers"``: whose names the files have.
        where: File and model, for messages.

    Raises:
        WeightsMismatch: A tensor is missing, left over, or of another shape.
    """
    by_name = {getattr(one, names): one for one in wanted}
    tied = bool(values.get("tie_word_embeddings"))
    missing = [name for name in by_name if name not in tensors and not (tied and name == _TIED)]
    computed = tuple(name for name in tensors if name not in by_name and _COMPUTED.fullmatch(name))
    strange = [name for name in tensors if name not in by_name and name not in computed]
    wrong = [
        f"{name} {list(tensors[name].shape)}, not {list(one.shape)}"
        for name, one in by_name.items()
        if name in tensors and tensors[name].shape != one.shape
    ]
    problems = (
        ("missing", missing),
        ("none of the model's", strange),
        ("of another shape than its settings say", wrong),
    )
    for what, found in problems:
        if found:
            raise WeightsMismatch(
                f"{where}: {len(found)} of the tensors are {what}: {listing(map(printable, found), 6)}. Nothing was"
                " written."
            )
    return [(by_name[name], tensor) for name, tensor in tensors.items() if name in by_name], computed
