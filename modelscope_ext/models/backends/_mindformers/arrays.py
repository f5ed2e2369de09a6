"""Bytes of a checkpoint as numpy arrays, and back; bfloat16, which numpy lacks, as the float32 of the same value."""

from __future__ import annotations

from typing import Any

__all__ = ["from_bytes", "to_bytes"]


def from_bytes(data: bytearray, dtype: str, shape: tuple[int, ...]) -> Any:
    """Return an array over `data`, or a float32 copy of it where it is bfloat16.

    Example:
        >>> from_bytes(bytearray([0x80, 0x3F, 0x20, 0xC0]), "bfloat16", (2,))
        array([ 1. , -2.5], dtype=float32)
    """
    import numpy as np

    if dtype != "bfloat16":
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    halves = np.frombuffer(data, np.uint16).astype(np.uint32)
    halves <<= 16
    return halves.view(np.float32).reshape(shape)


def to_bytes(array: Any, dtype: str) -> memoryview:
    """Return an array's bytes in `dtype`; to bfloat16 it is rounded to the nearest, to even where two are.

    Example:
        >>> import numpy as np
        >>> bytes(to_bytes(np.array([1.0, -2.5], "float32"), "bfloat16")).hex()
        '803f20c0'
    """
    import numpy as np

    if dtype != "bfloat16":
        return memoryview(np.ascontiguousarray(array, np.dtype(dtype))).cast("B")
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    rounded[np.isnan(array)] = 0x7FC0  # rounding would turn some into infinity
    return memoryview(np.ascontiguousarray(rounded)).cast("B")
