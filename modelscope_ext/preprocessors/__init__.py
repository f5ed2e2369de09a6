"""Preprocessors that contributors register, by field (``"nlp"``, ``"cv"``, ...) and name, as in ModelScope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.utils.registry import Registry, build_from_cfg, default_group

__all__ = ["PREPROCESSORS", "build_preprocessor"]

#: Preprocessor classes; other packages join by the entry-point group of that name.
PREPROCESSORS = Registry("preprocessors", entry_points="modelscope_ext.preprocessors")


def build_preprocessor(cfg: Any, field_name: str | None = None, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build the registered preprocessor that ``cfg["type"]`` names, as ModelScope's function of that name.

    Args:
        cfg: A mapping (a Config too) with ``type``; its other keys are arguments. It is not changed.
        field_name: The field under which the name is looked up, e.g. ``"nlp"``.
        default_args: Arguments that `cfg` does not have.

    Raises:
        RegistryError: Nobody registered that name in the field.

    Example:
        >>> with PREPROCESSORS.temporary():
        ...     _ = PREPROCESSORS.register_module("nlp", "lower", str)
        ...     build_preprocessor({"type": "lower", "object": 3}, "nlp")
        '3'
    """
    return build_from_cfg(cfg, PREPROCESSORS, group_key=field_name or default_group, default_args=default_args)
