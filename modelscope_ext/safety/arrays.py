"""NumPy files: ``.npy`` and ``.npz`` without object arrays, whose shapes fit their bytes.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import os
import re
import zlib
from math import prod
from typing import BinaryIO, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, PickleRefused
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.zips import Member, members
from modelscope_ext.utils.text import printable

__all__ = ["check_array"]

_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 10_000  # NumPy's own bound
_SIMPLE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SaUV]\d{1,9}|[mM]8(?:\[\w+\])?|\?)")
_PREFIX = _HEADER_BYTES + 12


def check_array(data: bytes | BinaryIO, *, file: str, grants: Grants | None = None, source: str | None = None) -> None:
    """Return if a ``.npy`` or ``.npz`` file holds plain arrays only; raise otherwise. Nothing is unpickled.

    Args:
        data: Its bytes, or an open file.
        file: Its name, for messages.
        grants: What the caller permits; ``allow_pickle="full"`` permits object arrays.
        source: The model as the caller named it.

    Raises:
        PickleRefused: An object array, which is a pickle.
        LimitExceeded: A shape larger than the file.
        MalformedMetadata: Neither format.

    Example:
        >>> header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        >>> check_array(bytes([147]) + b"NUMPY" + bytes([1, 0, len(header), 0]) + header, file="mean.npy")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.PickleRefused: Refused to read mean.npy (nothing was executed): an object array, which \
is a pickle. Save it as an array of numbers; or, if you trust its publisher, pass allow_pickle='full'.
    """
    grants = grants if grants is not None else Grants()
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    _Array(stream, file, source, grants).check()


class _Array:
    def __init__(self, stream: BinaryIO, file: str, source: str | None, grants: Grants) -> None:
        self.stream = stream
        self.file = file
        self.source = source
        self.grants = grants
        self.limits: Limits = grants.limits
        self.size = stream.seek(0, os.SEEK_END)

    def read(self, start: int, length: int) -> bytes:
        self.stream.seek(start)
        return self.stream.read(length)

    def check(self) -> None:
        head = self.read(0, _PREFIX)
        if head.startswith(_MAGIC):
            self.check_npy(head, self.size)
        elif head.startswith(b"PK"):
            found = members(self.read, self.size, file=self.file, limits=self.limits, source=self.source, deflate=True)
            for member in found.values():
                self.check_member(member)
        else:
            self.malformed("neither an array nor an archive of arrays")

    def check_member(self, member: Member) -> None:
        if not member.name.endswith(".npy"):
            self.malformed(f"an archive of arrays with an unexpected member {printable(member.name)!r}")
        head = self.read(member.start, min(member.stored, _PREFIX))
        if member.deflated:
            try:
                head = zlib.decompressobj(-15).decompress(head, _PREFIX)
            except zlib.error:
                self.malformed(f"its member {printable(member.name)!r} cannot be decompressed")
        self.check_npy(head, member.size)

    def check_npy(self, head: bytes, size: int) -> None:
        version = head[6:7]
        width = 2 if version == b"\x01" else 4
        length = int.from_bytes(head[8 : 8 + width], "little")
        text = head[8 + width : 8 + width + length]
        if not head.startswith(_MAGIC) or version not in (b"\x01", b"\x02", b"\x03") or len(text) != length:
            self.malformed("an array without a proper header")
        try:
            header = ast.literal_eval(text.decode("utf-8").strip())
            descr, shape = header["descr"], header["shape"]
        except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError, UnicodeDecodeError):
            self.malformed("an array without a proper header")
        if not isinstance(shape, tuple) or any(type(side) is not int or side < 0 for side in shape):
            self.malformed("an array without a proper shape")
        item = self.item_bytes(descr)
        available = size - 8 - width - length
        if prod(shape) * item > available and not self.permitted(descr):
            raise LimitExceeded(
                f"{printable(self.file)}: an array of shape {printable(shape)} in {available} bytes. Nothing was "
                "allocated.",
                file=self.file,
                source=self.source,
            )

    def item_bytes(self, descr: object) -> int:
        """Return bytes of one element; refuse objects."""
        if isinstance(descr, list):
            return sum(
                self.item_bytes(field[1] if isinstance(field, tuple) and len(field) > 1 else "") for field in descr
            )
        if not isinstance(descr, str):
            self.malformed("an array of an unknown type")
        if not _SIMPLE.fullmatch(descr):
            if not self.permitted(descr):
                self.refuse()
            return 1
        digits = re.search(r"\d+", descr)
        return max(int(digits.group()) if digits else 1, 1) * (4 if "U" in descr else 1)

    def permitted(self, descr: object) -> bool:
        return self.grants.allow_pickle == "full" and "O" in str(descr)

    def refuse(self) -> NoReturn:
        place = printable(self.file) + (f" from {printable(self.source)}" if self.source else "")
        raise PickleRefused(
            f"Refused to read {place} (nothing was executed): an object array, which is a pickle. Save it as an array "
            "of numbers; or, if you trust its publisher, pass allow_pickle='full'.",
            file=self.file,
            source=self.source,
            grant="allow_pickle",
        )

    def malformed(self, text: str) -> NoReturn:
        raise MalformedMetadata(f"{printable(self.file)}: {text}.", file=self.file, source=self.source)
