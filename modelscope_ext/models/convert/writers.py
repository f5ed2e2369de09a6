"""The two formats of weights, written tensor by tensor in small pieces.

safetensors: https://github.com/huggingface/safetensors#format. MindSpore's ``.ckpt``: a protobuf message ``Checkpoint``
of repeated ``Value {tag = 1, tensor = 2: {dims = 1, tensor_type = 2, tensor_content = 3}}``
(mindspore/ccsrc/utils/checkpoint.proto), in which a large parameter is several consecutive values of one tag.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelscope_ext.models.convert.tensors import DTYPES, Stored

__all__ = ["FORMATS", "Format", "write_weights"]

#: Yields a tensor's bytes.
Pieces = Callable[[Stored], Iterator[memoryview]]
#: Told how many bytes were written.
Tell = Callable[[Stored, int], None]

#: Bytes of one value of a MindSpore checkpoint: MindSpore's own SLICE_SIZE; protobuf allows no field of 2 GiB.
SLICE = 512 * 2**20
_ALIGNMENT = 8


@dataclass(frozen=True)
class Format:
    """How one format is written.

    Attributes:
        name: ``"safetensors"`` or ``"mindspore"``.
        single: The file's name where there is one.
        part: Its name where there are several, with ``{number}`` and ``{count}``.
        index: The name of the index of several.
        write: Writes one file.
        overhead: Bytes of one tensor beyond its content, at most.
    """

    name: str
    single: str
    part: str
    index: str
    write: Callable[[BinaryIO, Sequence[tuple[str, Stored]], Pieces, Tell], None]
    overhead: int = 4096


def write_weights(
    folder: Path, form: Format, parts: Sequence[Sequence[tuple[str, Stored]]], pieces: Pieces, tell: Tell
) -> tuple[str, ...]:
    """Write the tensors of each part, under their new names, into one file each, and an index where there are several.

    Args:
        folder: Where.
        form: A row of `FORMATS`.
        parts: New name and tensor, by file.
        pieces: Yields a tensor's bytes.
        tell: Called after each piece.

    Returns:
        The files' names, the index last.
    """
    names = []
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name = form.single if len(parts) == 1 else form.part.format(number=number, count=len(parts))
        with (folder / name).open("xb", buffering=0) as file:
            form.write(file, part, pieces, tell)
        weight_map |= {new: name for new, _ in part}
        names.append(name)
    if len(parts) > 1:
        total = sum(tensor.bytes for part in parts for _, tensor in part)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / form.index).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        names.append(form.index)
    return tuple(names)


def _safetensors(file: BinaryIO, part: Sequence[tuple[str, Stored]], pieces: Pieces, tell: Tell) -> None:
    # Wide elements first, so that every tensor begins at a multiple of its element's size.
    ordered = sorted(part, key=lambda one: -DTYPES[one[1].dtype].bytes)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in ordered:
        dtype = DTYPES[tensor.dtype].safetensors
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + tensor.bytes]}
        at += tensor.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    _put(file, len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        for piece in pieces(tensor):
            _put(file, piece)
            tell(tensor, len(piece))


def _mindspore(file: BinaryIO, part: Sequence[tuple[str, Stored]], pieces: Pieces, tell: Tell) -> None:
    for name, tensor in part:
        room = 0
        left = tensor.bytes
        if not left:
            _put(file, _value(name, tensor, 0))
        for piece in pieces(tensor):
            while len(piece):
                if not room:
                    room = min(left, SLICE)
                    _put(file, _value(name, tensor, room))
                count = min(room, len(piece))
                _put(file, piece[:count])
                tell(tensor, count)
                room -= count
                left -= count
                piece = piece[count:]


def _value(name: str, tensor: Stored, content: int) -> bytes:
    """Return what precedes `content` bytes of a tensor in the message."""
    dims = tensor.shape or (0,)  # MindSpore writes a scalar with the shape (0,)
    shape = b"".join(b"\x08" + _varint(side) for side in dims)
    inner = shape + _field(2, DTYPES[tensor.dtype].mindspore.encode()) + b"\x1a" + _varint(content)
    value = _field(1, name.encode()) + b"\x12" + _varint(len(inner) + content) + inner
    return b"\x0a" + _varint(len(value) + content) + value


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _put(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of `data`: an unbuffered file may take less at once."""
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


FORMATS: Mapping[str, Format] = {
    "safetensors": Format(
        "safetensors",
        "model.safetensors",
        "model-{number:05}-of-{count:05}.safetensors",
        "model.safetensors.index.json",
        _safetensors,
    ),
    "mindspore": Format(
        "mindspore",
        "mindspore_model.ckpt",
        "mindspore_model-{number:05}-of-{count:05}.ckpt",
        "mindspore_model.ckpt.index.json",
        _mindspore,
    ),
}
