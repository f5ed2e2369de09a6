"""The header of a GGUF file: its key-value pairs, and dtype and shape of its tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.safety.headers import Header, Read, Tensor
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils.text import printable

__all__ = ["FILE_TYPES", "TENSOR_TYPES", "gguf_header"]

#: Tensor type -> name, elements in a block, bytes of a block.
TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip

#: ``general.file_type`` -> the quantisation's usual name.
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip

_SCALARS: Mapping[int, struct.Struct] = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_KEPT = 64  # elements of an array that are kept; vocabularies are only counted
_CHUNK = 2**18
_MOST_DIMENSIONS = 4
_MOST_ALIGNMENT = 2**16


def gguf_header(
    read: Read,
    size: int,
    *,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    enough: int | None = None,
) -> Header:
    """Read and check the header of a GGUF file.

    Args:
        read: Reads bytes of the file.
        size: Bytes of the whole file.
        file: Its name, for messages.
        limits: Bytes of the header (`gguf_bytes`), number of tensors.
        source: The model as the caller named it.
        enough: Read at most so many bytes: where the header is longer, the keys up to there and no tensor. The keys
            that say what the model is come first, then a vocabulary of megabytes.

    Returns:
        The header. Arrays of more than 64 items are replaced by their length under ``<key>.length``; the name of
        ``general.file_type`` is added as ``quantization``.

    Raises:
        MalformedMetadata: Not a GGUF file, one that contradicts itself, or another byte order or version.
        LimitExceeded: Metadata or tensors beyond the limits.
    """
    return _Reader(read, size, file, limits, source, enough).header()


class _Enough(Exception):
    """As many bytes were read as were asked for."""


class _Reader:
    """Reads forward through the header, fetching the file in growing pieces."""

    def __init__(
        self, read: Read, size: int, file: str, limits: Limits, source: str | None, enough: int | None
    ) -> None:
        self.read = read
        self.size = size
        self.file = file
        self.limits = limits
        self.source = source
        self.enough = size if enough is None else enough
        self.data = b""
        self.at = 0

    def header(self) -> Header:
        magic, version = self.take(4), self.number(_U32)
        if magic != b"GGUF":
            self.refuse("not a GGUF file")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            what = "big-endian" if swapped in (2, 3) else f"version {version}"
            self.refuse(f"a GGUF file of another kind ({what}); versions 2 and 3, little-endian, are known")
        tensors, pairs = self.number(_U64), self.number(_U64)
        if tensors > self.limits.tensors or pairs > self.limits.tensors:
            self.beyond(f"{max(tensors, pairs)} tensors or keys", "tensors")
        metadata: dict[str, Any] = {}
        try:
            for _ in range(pairs):
                self.pair(metadata)
            described = [self.tensor() for _ in range(tensors)]
        except _Enough:
            self.name_quantisation(metadata)
            return Header("gguf", metadata, complete=False)
        alignment = metadata.get("general.alignment", 32)
        known = type(alignment) is int and 0 < alignment <= _MOST_ALIGNMENT and alignment % 8 == 0
        if not known:
            self.refuse(f"an alignment of {printable(alignment)}")
        start = -(-self.at // alignment) * alignment
        found: dict[str, Tensor] = {}
        for name, kind, shape, offset in described:
            found[name] = self.placed(name, kind, shape, offset, start, alignment)
        if len(found) != len(described):
            self.refuse("it has two tensors of one name")
        self.name_quantisation(metadata)
        return Header("gguf", metadata, found)

    def pair(self, metadata: dict[str, Any]) -> None:
        key = self.text(65535)
        kind = self.number(_U32)
        if key in metadata or f"{key}.length" in metadata:
            self.refuse(f"the key {printable(key)!r} appears twice")
        if kind == _ARRAY:
            self.array(key, metadata)
        else:
            metadata[key] = self.value(kind, key)

    def value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self.text(self.limits.gguf_bytes)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            self.refuse(f"{printable(key)}: unknown type {kind}")
        return self.number(scalar)

    def array(self, key: str, metadata: dict[str, Any]) -> None:
        kind, count = self.number(_U32), self.number(_U64)
        scalar = _SCALARS.get(kind)
        least = scalar.size if scalar else 8
        if (scalar is None and kind != _STRING) or count > (self.size - self.at) // least:
            self.refuse(f"{printable(key)}: an array of {count} items of type {kind} in a file of {self.size} bytes")
        if count <= _KEPT:
            metadata[key] = [self.value(kind, key) for _ in range(count)]
            return
        metadata[f"{key}.length"] = count
        if scalar:
            self.skip(count * scalar.size)
        else:
            self.skip_texts(count)

    def skip_texts(self, count: int) -> None:
        """Walk over a vocabulary: the hot loop of this module."""
        unpack, at, data = _U64.unpack_from, self.at, self.data
        end = len(data) - 8
        for _ in range(count):
            if at > end:
                self.at = at
                self.fill(8)
                data = self.data
                end = len(data) - 8
            at += 8 + unpack(data, at)[0]
        self.at = at
        self.fill(0)

    def tensor(self) -> tuple[str, int, tuple[int, ...], int]:
        name = self.text(self.limits.name_bytes)
        dimensions = self.number(_U32)
        if not 0 < dimensions <= _MOST_DIMENSIONS:
            self.refuse(f"tensor {printable(name)!r} has {dimensions} dimensions")
        shape = tuple(self.number(_U64) for _ in range(dimensions))
        return name, self.number(_U32), shape[::-1], self.number(_U64)

    def placed(self, name: str, kind: int, shape: tuple[int, ...], offset: int, start: int, alignment: int) -> Tensor:
        """Check that a tensor lies inside the file."""
        elements = prod(shape)
        if not elements or any(side > self.limits.elements for side in shape) or elements > self.limits.elements:
            self.refuse(f"tensor {printable(name)!r} has the shape {printable(shape)}")
        label, block, block_bytes = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
        if shape[-1] % block:
            self.refuse(f"tensor {printable(name)!r}: rows of {shape[-1]} elements in blocks of {block}")
        if offset % alignment or start + offset + elements // block * block_bytes > self.size:
            self.refuse(f"tensor {printable(name)!r} lies outside the file, or unaligned")
        return Tensor(label, shape)

    def name_quantisation(self, metadata: dict[str, Any]) -> None:
        file_type = metadata.get("general.file_type")
        if isinstance(file_type, int) and file_type in FILE_TYPES:
            metadata["quantization"] = FILE_TYPES[file_type]

    def text(self, most: int) -> str:
        length = self.number(_U64)
        if length > most or length > self.size - self.at:
            self.refuse(f"a string of {length} bytes in a file of {self.size}")
        return self.take(length).decode("utf-8", "replace")

    def number(self, form: struct.Struct) -> Any:
        self.fill(form.size)
        value = form.unpack_from(self.data, self.at)[0]
        self.at += form.size
        return value

    def take(self, length: int) -> bytes:
        self.fill(length)
        piece = self.data[self.at : self.at + length]
        self.at += length
        return piece

    def skip(self, length: int) -> None:
        self.fill(length)
        self.at += length

    def fill(self, length: int) -> None:
        """See that `length` bytes from here on are read."""
        needed = self.at + length
        if needed <= len(self.data):
            return
        if needed > self.size:
            self.refuse("it ends in the middle of its header")
        if needed > self.enough:
            raise _Enough
        if needed > self.limits.gguf_bytes:
            self.beyond(f"a header of more than {needed} bytes", "gguf_bytes")
        while needed > len(self.data):
            length = max(_CHUNK, len(self.data), needed - len(self.data))
            more = self.read(
                len(self.data), min(length, self.limits.gguf_bytes - len(self.data), self.enough - len(self.data))
            )
            if not more:
                self.refuse("it ends in the middle of its header")
            self.data += more

    def refuse(self, text: str) -> NoReturn:
        raise MalformedMetadata(f"{printable(self.file)}: {text}.", file=self.file, source=self.source)

    def beyond(self, text: str, limit: str) -> NoReturn:
        raise LimitExceeded(
            f"{printable(self.file)}: {text}; the limit is {getattr(self.limits, limit)}. "
            f"If you trust the file, pass limits=Limits({limit}=...).",
            file=self.file,
            source=self.source,
            grant="limits",
        )
