"""Tensors as they lie in weight files: found by their headers, copied in small pieces, never held whole.

Nothing here knows a framework: a tensor is a name, a dtype, a shape and the places of its bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from modelscope_ext.errors import BackendNotLoadable, MalformedMetadata
from modelscope_ext.safety.headers import Header, Read, Spans, safetensors_spans
from modelscope_ext.safety.mindspore_ckpt import ckpt_spans
from modelscope_ext.safety.reading import open_inside
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.safety.limits import Limits

__all__ = ["DTYPES", "PIECE", "Dtype", "Source", "Stored", "shards"]

#: Bytes that are read and written at once.
PIECE = 8 * 2**20


@dataclass(frozen=True)
class Dtype:
    """One kind of number: its names in the two formats, and the bytes of one element."""

    safetensors: str
    mindspore: str
    bytes: int


#: What both formats can hold, by the usual name.
DTYPES: Mapping[str, Dtype] = MappingProxyType(
    {
        "float32": Dtype("F32", "Float32", 4),
        "float16": Dtype("F16", "Float16", 2),
        "bfloat16": Dtype("BF16", "BFloat16", 2),
        "float64": Dtype("F64", "Float64", 8),
        "int64": Dtype("I64", "Int64", 8),
        "int32": Dtype("I32", "Int32", 4),
        "int16": Dtype("I16", "Int16", 2),
        "int8": Dtype("I8", "Int8", 1),
        "uint8": Dtype("U8", "UInt8", 1),
        "bool": Dtype("BOOL", "Bool", 1),
    }
)
_NAMED = {spelling: name for name, row in DTYPES.items() for spelling in (row.safetensors, row.mindspore)}

_SPANS: Mapping[str, Callable[..., tuple[Header, Spans]]] = {
    "safetensors": safetensors_spans,
    "mindspore": ckpt_spans,
}


@dataclass(frozen=True)
class Stored:
    """One tensor in a file.

    Attributes:
        name: Its name there.
        dtype: A key of `DTYPES`.
        shape: Its sides.
        file: The file.
        spans: Where its bytes lie: pieces in order, each its first byte and its length.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    spans: tuple[tuple[int, int], ...]

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return prod(self.shape) * DTYPES[self.dtype].bytes


class Source:
    """The weight files of one folder, opened once, so that what was checked is what is copied. A context manager.

    Args:
        folder: The model's folder.
        files: Their names.
        form: ``"safetensors"`` or ``"mindspore"``.
        limits: What is too large.
        source: The model as the caller named it.

    Raises:
        MalformedMetadata, LimitExceeded, PathEscapeRefused: A file that is not what it says, or leads out.
        BackendNotLoadable: A dtype that one of the formats lacks.
    """

    def __init__(self, folder: Path, files: Iterable[str], form: str, limits: Limits, source: str) -> None:
        self.source = source
        self.tensors: dict[str, Stored] = {}
        self._open: dict[str, BinaryIO] = {}
        with ExitStack() as stack:
            for name in files:
                self._add(folder, name, form, limits, stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _add(self, folder: Path, name: str, form: str, limits: Limits, stack: ExitStack) -> None:
        descriptor, size = open_inside(folder, name, source=self.source)
        file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=0))
        header, spans = _SPANS[form](_reader(file), size, file=name, limits=limits, source=self.source)
        self._open[name] = file
        for tensor in sorted(header.tensors, key=lambda one: spans[one][:1]):
            if tensor in self.tensors:
                raise MalformedMetadata(
                    f"{printable(name)}: {printable(tensor)} is in {printable(self.tensors[tensor].file)} as well;"
                    " expected each tensor once. Nothing was written.",
                    file=name,
                    source=self.source,
                )
            entry = header.tensors[tensor]
            dtype = _NAMED.get(entry.dtype)
            if dtype is None:
                raise BackendNotLoadable(
                    f"{printable(name)}: {printable(tensor)} is {printable(entry.dtype)}, which has no counterpart in"
                    " the other format; convert a copy that is not quantised"
                )
            # MindSpore writes a scalar with the shape (0,)
            scalar = form == "mindspore" and entry.shape == (0,) and any(length for _, length in spans[tensor])
            self.tensors[tensor] = Stored(tensor, dtype, () if scalar else entry.shape, name, spans[tensor])

    def pieces(self, tensor: Stored) -> Iterator[memoryview]:
        """Yield the bytes of a tensor in order, at most `PIECE` at once; a piece is valid until the next is asked for.

        Raises:
            MalformedMetadata: The file was cut short since it was checked.
        """
        file = self._open[tensor.file]
        buffer = memoryview(bytearray(min(PIECE, max((length for _, length in tensor.spans), default=0))))
        for start, length in tensor.spans:
            file.seek(start)
            while length:
                count = file.readinto(buffer[: min(length, len(buffer))])  # type: ignore[attr-defined]
                if not count:
                    raise MalformedMetadata(
                        f"{printable(tensor.file)} was changed while it was read. Nothing was written.",
                        file=tensor.file,
                        source=self.source,
                    )
                yield buffer[:count]
                length -= count


def _reader(file: BinaryIO) -> Read:
    def read(start: int, length: int) -> bytes:
        file.seek(start)
        parts = []
        while length and (data := file.read(length)):
            parts.append(data)
            length -= len(data)
        return b"".join(parts)

    return read


def shards(tensors: Iterable[Stored], most: int) -> list[list[Stored]]:
    """Spread tensors over files of at most `most` bytes, in order; one that is larger gets a file of its own.

    Example:
        >>> parts = [Stored(name, "int8", (6,), "f", ()) for name in "abc"]
        >>> [[tensor.name for tensor in shard] for shard in shards(parts, 12)]
        [['a', 'b'], ['c']]
    """
    found: list[list[Stored]] = [[]]
    room = most
    for tensor in tensors:
        if found[-1] and tensor.bytes > room:
            found.append([])
            room = most
        found[-1].append(tensor)
        room -= tensor.bytes
    return found
