"""The beginning of a GGUF file, written by hand: keys, then a vocabulary."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def header(keys: Mapping[str, str | int], *, vocabulary: int) -> bytes:
    """Return a header of `keys` and a vocabulary of that many words; no tensors."""
    pairs = [_text(key) + _value(value) for key, value in keys.items()]
    words = b"".join(_text(f"word-{number}") for number in range(vocabulary))
    pairs.append(_text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, vocabulary) + words)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: str | int) -> bytes:
    return struct.pack("<I", 8) + _text(value) if isinstance(value, str) else struct.pack("<II", 4, value)
