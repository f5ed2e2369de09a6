"""Do the tensors of a folder fit what its settings describe? Asked of names and shapes before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.errors import WeightsMismatch
from modelscope_ext.models.backends._mindformers.tensors import Expected, compare, expected
from modelscope_ext.models.convert.tensors import Stored
from modelscope_ext.utils.text import listing, printable

__all__ = ["matched"]


def matched(
    tensors: Mapping[str, Stored], values: Mapping[str, Any], names: str, where: str
) -> tuple[list[tuple[Expected, Stored]], tuple[str, ...]]:
    """Return each expected tensor with the stored one, in the order of the files, and the names that are left out.

    Args:
        tensors: What the files hold, by name.
        values: The settings, in mindformers' keys.
        names: ``"transformers"`` or ``"mindformers"``: whose names the files have.
        where: File and model, for messages.

    Raises:
        WeightsMismatch: A tensor is missing, left over, or of another shape.
    """
    wanted = {getattr(one, names): one for one in expected(values)}
    found = compare({name: one.shape for name, one in tensors.items()}, wanted.values(), values, names)
    for what, some in found.problems():
        raise WeightsMismatch(f"{where}: {what}: {listing(map(printable, some), 6)}. Nothing was written.")
    return [(wanted[name], tensor) for name, tensor in tensors.items() if name in wanted], found.computed
