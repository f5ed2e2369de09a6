"""The CPU replacements, in pieces: each module adds its rows to one table when it is imported; `all_rows` has them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from modelscope_ext.models.backends._mindspore.rows import Row

__all__ = ["MODULES", "all_rows"]

MODULES = (
    "creation",
    "random",
    "algebra",
    "reduction",
    "ordering",
    "indexing",
    "activation",
    "normalisation",
    "convolution",
    "pooling",
    "padding",
    "resizing",
    "methods",
)


def all_rows() -> Mapping[str, Row]:
    """Return every row by the name of what it replaces.

    Example:
        >>> all_rows()["Embedding"].is_kernel, all_rows()["mint.empty"].is_kernel
        (True, False)
    """
    rows: dict[str, Row] = {}
    for module in MODULES:
        table = import_module(f"{__name__}.{module}").TABLE
        rows |= table.rows
    return rows
