"""MindSpore and numpy as names at the top of a module, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ms", "np", "ops"]


class _Module:
    """A module that is imported with the first look at it."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what looks about, as doctest does, imports nothing
            raise AttributeError(name)
        value = getattr(import_module(self.__name), name)
        setattr(self, name, value)
        return value


np: Any = _Module("numpy")
ms: Any = _Module("mindspore")
ops: Any = _Module("mindspore.ops")
