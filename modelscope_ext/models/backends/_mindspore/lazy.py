"""MindSpore and numpy as names at the top of a module, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["mint", "ms", "np", "ops"]


class _Module:
    """A module that is imported with the first look at it."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name), name)
        setattr(self, name, value)
        return value


np: Any = _Module("numpy")
ms: Any = _Module("mindspore")
ops: Any = _Module("mindspore.ops")


class _Mint(_Module):
    """`mindspore.mint`, whose names are replaced while we run: never kept."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("mindspore.mint"), name)


mint: Any = _Mint("mindspore.mint")
