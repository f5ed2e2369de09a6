"""Step 5 of 6: the framework's shared libraries are mapped by a thread while Python still works on other things.

The system's loader needs a third of a second for PyTorch's and no Python meanwhile; `import torch` finds them there.
Nothing of PyTorch's own is run or changed: what cannot be mapped is left to the import, which says why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from threading import Thread
from types import MappingProxyType

__all__ = ["map_libraries"]

#: Framework -> its package, and the libraries in it in the order in which its import maps them. The first one is opened
#: for all to see, as PyTorch does (torch/__init__.py, `_load_global_deps`); the others have no Python in them.
_LIBRARIES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {"pytorch": ("torch", ("lib/libtorch_global_deps.so", "lib/libtorch_cpu.so"))}
)


def map_libraries(framework: str | None) -> Thread | None:
    """Start mapping the libraries of `framework`.

    Args:
        framework: The framework that is about to be imported.

    Returns:
        The thread that does it, which nobody needs to wait for; None where there is nothing to do: the framework is
        imported already, is not installed, has no row here, or the system is another one than Linux.

    Example:
        >>> map_libraries("no such framework") is None
        True
    """
    package, names = _LIBRARIES.get(framework or "", ("", ()))
    if not names or package in sys.modules or sys.platform != "linux":
        return None
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    thread = Thread(target=_map, args=([Path(spec.origin).parent / name for name in names],), daemon=True)
    thread.start()
    return thread


def _map(paths: list[Path]) -> None:
    import ctypes

    # `ctypes.CDLL(path)` holds Python's lock while the system's loader works, and the other threads stand still. A
    # function that is called through ctypes does not, dlopen among them.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    scope = ctypes.RTLD_GLOBAL
    for path in paths:
        if not dlopen(os.fsencode(path), os.RTLD_NOW | scope):
            return
        scope = ctypes.RTLD_LOCAL
