"""The structure of a MindSpore ``.ckpt``: a protobuf message, walked without protobuf and without reading a tensor.

Message ``Checkpoint``: repeated ``Value {tag = 1: name, tensor = 2: {dims = 1, tensor_type = 2, tensor_content = 3}}``
(mindspore/ccsrc/utils/checkpoint.proto). A large parameter is cut into several consecutive values of one name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.safety.headers import Header, Read, Spans, Tensor
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.text import printable

__all__ = ["ITEM_BYTES", "ckpt_header", "ckpt_spans"]

#: Tensor type -> bytes of one element.
ITEM_BYTES: Mapping[str, int] = {
    "Bool": 1, "Int8": 1, "UInt8": 1, "Int16": 2, "UInt16": 2, "Float16": 2, "BFloat16": 2, "Int32": 4, "UInt32": 4,
    "Float32": 4, "Int64": 8, "UInt64": 8, "Float64": 8, "Int4": 1, "Complex64": 8, "Complex128": 16, "HiFloat8": 1,
    "Float8E4M3FN": 1, "Float8E5M2": 1,
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_DIMENSIONS = 32
_TRAILER = b"crc_num"
_BLOCK = 2**16

Field = tuple[int, int, int, int]  # number, wire type, value or first byte, length


def ckpt_header(
    read: Read, size: int, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None
) -> Header:
    """Read and check the structure of a MindSpore checkpoint.

    Args:
        read: Reads bytes of the file.
        size: Bytes of the whole file.
        file: Its name, for messages.
        limits: Number of tensors and of elements.
        source: The model as the caller named it.

    Raises:
        MalformedMetadata: Not such a file, a shape that does not fit its bytes, or a parameter's name that is no name.
        LimitExceeded: Too many parameters, or a shape beyond the limits.

    Example:
        >>> tensor = bytes([8, 2]) + bytes([18, 7]) + b"Float32" + bytes([26, 8]) + bytes(8)
        >>> value = bytes([10, 1]) + b"w" + bytes([18, len(tensor)]) + tensor
        >>> data = bytes([10, len(value)]) + value
        >>> ckpt_header(lambda start, n: data[start:start + n], len(data), file="m.ckpt").tensors["w"]
        Tensor(dtype='Float32', shape=(2,))
    """
    return ckpt_spans(read, size, file=file, limits=limits, source=source)[0]


def ckpt_spans(
    read: Read, size: int, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None
) -> tuple[Header, Spans]:
    """Return what `ckpt_header` does, and where each parameter's bytes lie; MindSpore cuts large ones into pieces.

    Example:
        >>> tensor = bytes([8, 2]) + bytes([18, 7]) + b"Float32" + bytes([26, 8]) + bytes(8)
        >>> value = bytes([10, 1]) + b"w" + bytes([18, len(tensor)]) + tensor
        >>> data = bytes([10, len(value)]) + value
        >>> ckpt_spans(lambda start, n: data[start:start + n], len(data), file="m.ckpt")[1]
        {'w': ((20, 8),)}
    """
    walker = _Walker(read, size, file, limits, source)
    header = walker.header()
    return header, {name: tuple(pieces) for name, pieces in walker.spans.items()}


class _Walker:
    def __init__(self, read: Read, size: int, file: str, limits: Limits, source: str | None) -> None:
        self.read = read
        self.size = size
        self.file = file
        self.limits = limits
        self.source = source
        self.block = b""
        self.block_start = 0
        self.spans: dict[str, list[tuple[int, int]]] = {}

    def header(self) -> Header:
        end = self.end()
        shapes: dict[str, Tensor] = {}
        last = None
        for pieces, (number, wire, start, length) in enumerate(self.fields(0, end)):
            if number != 1 or wire != _BYTES:
                self.refuse(f"an unknown field {number}")
            if pieces >= self.limits.tensors:
                self.beyond(f"more than {self.limits.tensors} parameters", "tensors")
            name, tensor, content = self.value(start, start + length)
            if name in shapes and (name != last or shapes[name] != tensor):
                self.refuse(f"the parameter {printable(name)!r} appears twice")
            shapes[name] = tensor
            self.spans.setdefault(name, []).extend(content)
            last = name
        if not shapes:
            self.refuse("no parameters in it")
        for name, tensor in shapes.items():
            self.compare(name, tensor, sum(length for _, length in self.spans[name]))
        return Header("mindspore", {}, shapes)

    def end(self) -> int:
        """Return where the message ends: a checksum may follow it."""
        tail = self.read(max(self.size - 64, 0), 64)
        at = tail.rfind(_TRAILER)
        return self.size - len(tail) + at if at >= 0 else self.size

    def value(self, start: int, end: int) -> tuple[str, Tensor, list[tuple[int, int]]]:
        """Return name, dtype and shape, and the pieces of content of one value."""
        name: str | None = None
        tensor: tuple[Tensor, list[tuple[int, int]]] | None = None
        for number, wire, at, length in self.fields(start, end):
            if number == 1 and wire == _BYTES and name is None:
                name = self.name(at, length)
            elif number == 2 and wire == _BYTES and tensor is None:
                tensor = self.tensor(at, at + length)
            else:
                self.refuse(f"a parameter with an unknown field {number}")
        if name is None or tensor is None:
            self.refuse("a parameter without a name or a tensor")
        return name, *tensor

    def tensor(self, start: int, end: int) -> tuple[Tensor, list[tuple[int, int]]]:
        shape: list[int] = []
        dtype: str | None = None
        content: list[tuple[int, int]] = []
        for number, wire, at, length in self.fields(start, end):
            if number == 1 and wire == _VARINT:
                shape.append(at)
            elif number == 1 and wire == _BYTES:
                shape += self.packed(at, at + length)
            elif number == 2 and wire == _BYTES and length <= 64 and dtype is None:
                dtype = self.take(at, length).decode("ascii", "replace")
            elif number == 3 and wire == _BYTES:
                content.append((at, length))
            else:
                self.refuse(f"a tensor with an unknown field {number}")
            if len(shape) > _MOST_DIMENSIONS:
                self.refuse("a tensor of too many dimensions")
        if dtype is None:
            self.refuse("a tensor without a type")
        return Tensor(dtype, tuple(shape)), content

    def compare(self, name: str, tensor: Tensor, content: int) -> None:
        """Check that a shape and its bytes agree; a scalar is written with the shape (0,)."""
        if any(side > self.limits.elements for side in tensor.shape) or tensor.elements > self.limits.elements:
            self.beyond(f"parameter {printable(name)!r} of shape {printable(tensor.shape)}", "elements")
        item = ITEM_BYTES.get(tensor.dtype)
        if item is None:  # strings and the like, which carry no shape
            return
        elements = 1 if tensor.shape == (0,) and content else tensor.elements
        if elements * item != content:
            self.refuse(
                f"parameter {printable(name)!r}: {printable(tensor.dtype)} {printable(tensor.shape)} does not take "
                f"{content} bytes"
            )

    def name(self, at: int, length: int) -> str:
        if not 0 < length <= self.limits.name_bytes:
            self.refuse(f"a parameter's name of {length} bytes")
        try:
            name = self.take(at, length).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("a parameter's name is not UTF-8")
        if fault_of(name.replace(" ", "_")) is not None:
            self.refuse(f"a parameter called {printable(name)!r}")
        return name

    def packed(self, at: int, end: int) -> Iterator[int]:
        while at < end:
            value, at = self.varint(at, end)
            yield value

    def fields(self, at: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between two bytes; contents of length-delimited ones are not read."""
        while at < end:
            key, at = self.varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = self.varint(at, end)
                yield number, wire, value, 0
                continue
            if wire not in (_FIXED64, _BYTES, _FIXED32):
                self.refuse("not the structure of a MindSpore checkpoint")
            length, at = self.varint(at, end) if wire == _BYTES else (8 if wire == _FIXED64 else 4, at)
            if length > end - at:
                self.refuse("it is cut off, or a part of it is longer than the whole")
            yield number, wire, at, length
            at += length

    def varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte(at) if at < end else 0xFF
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            self.refuse("not the structure of a MindSpore checkpoint")
        return value, at

    def byte(self, at: int) -> int:
        offset = at - self.block_start
        if not 0 <= offset < len(self.block):
            self.block = self.read(at, _BLOCK)
            self.block_start = at
            offset = 0
            if not self.block:
                self.refuse("it is cut off")
        return self.block[offset]

    def take(self, at: int, length: int) -> bytes:
        offset = at - self.block_start
        if offset >= 0 and offset + length <= len(self.block):
            return self.block[offset : offset + length]
        data = self.read(at, length)
        if len(data) != length:
            self.refuse("it is cut off")
        return data

    def refuse(self, text: str) -> NoReturn:
        raise MalformedMetadata(
            f"{printable(self.file)}: not a MindSpore checkpoint that can be trusted: {text}. Nothing was loaded.",
            file=self.file,
            source=self.source,
        )

    def beyond(self, text: str, limit: str) -> NoReturn:
        raise LimitExceeded(
            f"{printable(self.file)}: {text}; the limit is {getattr(self.limits, limit)}. Nothing was allocated. "
            f"If you trust the file, pass limits=Limits({limit}=...).",
            file=self.file,
            source=self.source,
            grant="limits",
        )
