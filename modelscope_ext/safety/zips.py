"""A strict reader of zip directories, for archives whose other readers disagree about what is in them.

Every zip has two descriptions of its members: a central directory and a header before each member. Scanners read one,
loaders the other, and attacks live in the difference. Here both must agree, members must not be compressed (unless
asked for), nothing may stand before, between or after them, and no two names may differ in case only.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.safety.headers import Read
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.text import printable

__all__ = ["Member", "members"]

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_DESCRIPTOR, _UTF8 = 8, 2048  # the only flags that change nothing about what is stored
_DESCRIPTOR_SIZES = (0, 12, 16, 20, 24)
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True)
class Member:
    """One stored file: name, first byte of its content, sizes in bytes, CRC-32, and whether it is compressed."""

    name: str
    start: int
    size: int
    stored: int
    crc: int
    deflated: bool = False


def members(
    read: Read, size: int, *, file: str, limits: Limits, source: str | None = None, deflate: bool = False
) -> dict[str, Member]:
    """Return the members of a zip archive by name, after checking both of its descriptions.

    Args:
        read: Reads bytes of the archive.
        size: Its size in bytes.
        file: Its name, for messages.
        limits: How many members (as tensors) and how long names may be.
        source: The model as the caller named it.
        deflate: Accept compressed members.

    Raises:
        MalformedMetadata: Anything a plain writer would not have written.
        LimitExceeded: Too many members.

    Example:
        >>> import io, zipfile
        >>> from modelscope_ext.safety.limits import DEFAULT_LIMITS
        >>> archive = io.BytesIO()
        >>> with zipfile.ZipFile(archive, "w") as z:
        ...     z.writestr("a/version", "3")
        >>> data = archive.getvalue()
        >>> list(members(lambda start, n: data[start:start + n], len(data), file="m.bin", limits=DEFAULT_LIMITS))
        ['a/version']
    """
    return _Archive(read, size, file, limits, source, deflate).members()


class _Archive:
    def __init__(self, read: Read, size: int, file: str, limits: Limits, source: str | None, deflate: bool) -> None:
        self.read = read
        self.size = size
        self.file = file
        self.limits = limits
        self.source = source
        self.methods = (_STORED, _DEFLATED) if deflate else (_STORED,)

    def members(self) -> dict[str, Member]:
        count, length, start = self.directory()
        if count > self.limits.tensors + 64 or length > (count + 1) * (self.limits.name_bytes + 128):
            raise LimitExceeded(
                f"{printable(self.file)}: a zip archive of {count} members; the limit is {self.limits.tensors}. "
                "If you trust the file, pass limits=Limits(tensors=...).",
                file=self.file,
                source=self.source,
                grant="limits",
            )
        table = self.exactly(start, length)
        found: list[tuple[int, int, Member, bool]] = []
        at = 0
        for _ in range(count):
            at, entry = self.central(table, at)
            found.append(entry)
        if at != length:
            self.refuse("its central directory has another length than it says")
        self.contiguous(found, start)
        return self.unique([entry[2] for entry in found])

    def directory(self) -> tuple[int, int, int]:
        """Return number of members, length and first byte of the central directory."""
        if self.size < _END.size:
            self.refuse("too short for a zip archive")
        end = _END.unpack(self.exactly(self.size - _END.size, _END.size))
        if end[0] != b"PK\x05\x06" or end[7]:
            self.refuse("it does not end as a zip archive does (bytes or a comment were appended)")
        if end[1] or end[2]:
            self.refuse("it is a part of a split zip archive")
        count, length, start, after = end[4], end[5], end[6], self.size - _END.size
        before = self.size - _END.size - _LOCATOR.size
        locator = _LOCATOR.unpack(self.exactly(before, _LOCATOR.size)) if before >= 0 else (b"", 0, 0, 0)
        if locator[0] == b"PK\x06\x07":
            wide = _END64.unpack(self.exactly(locator[2], _END64.size))
            if wide[0] != b"PK\x06\x06" or locator[2] + _END64.size != before:
                self.refuse("its 64-bit directory is not where it should be")
            for narrow, full, value in (
                (count, _FULL16, wide[7]),
                (length, _FULL32, wide[8]),
                (start, _FULL32, wide[9]),
            ):
                if narrow not in (full, value):
                    self.refuse("its two directories disagree")
            count, length, start, after = wide[7], wide[8], wide[9], locator[2]
        if start + length != after:
            self.refuse("bytes stand before it or between its parts")
        return count, length, start

    def central(self, table: bytes, at: int) -> tuple[int, tuple[int, int, Member, bool]]:
        """Read one entry of the central directory and compare it with the member's own header."""
        if at + _CENTRAL.size > len(table):
            self.refuse("its central directory is cut off")
        (
            magic,
            _,
            _,
            flags,
            method,
            _,
            _,
            crc,
            stored,
            size,
            name_length,
            extra_length,
            comment,
            disk,
            _,
            _,
            offset,
        ) = _CENTRAL.unpack_from(table, at)
        after = at + _CENTRAL.size + name_length + extra_length + comment
        if magic != b"PK\x01\x02" or after > len(table) or comment or disk:
            self.refuse("its central directory is damaged")
        raw = table[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
        extra = table[at + _CENTRAL.size + name_length : after]
        size, stored, offset = self.wide(extra, size, stored, offset)
        name = self.name(raw)
        if flags & ~(_DESCRIPTOR | _UTF8):
            self.refuse(f"its member {printable(name)!r} is encrypted or marked in an unusual way (flags {flags:#x})")
        if method not in self.methods:
            self.refuse(f"its member {printable(name)!r} is compressed; checkpoints store their tensors as they are")
        if method == _STORED and size != stored:
            self.refuse(f"its member {printable(name)!r} has two sizes")
        start = self.local(name, raw, offset, flags, method, size, stored, crc)
        member = Member(name, start, size, stored, crc, method == _DEFLATED)
        return after, (offset, start + stored, member, bool(flags & _DESCRIPTOR))

    def local(
        self, name: str, raw: bytes, offset: int, flags: int, method: int, size: int, stored: int, crc: int
    ) -> int:
        """Check the header that stands before a member; return the first byte of its content."""
        head = self.exactly(offset, _LOCAL.size)
        magic, _, lflags, lmethod, _, _, lcrc, lstored, lsize, name_length, extra_length = _LOCAL.unpack(head)
        length: int = name_length
        same = magic == b"PK\x03\x04" and lflags == flags and lmethod == method
        later = bool(flags & _DESCRIPTOR)  # sizes and checksum follow the content
        for mine, theirs in ((lsize, size), (lstored, stored), (lcrc, crc)):
            same = same and (mine in (theirs, _FULL32) or (later and mine == 0))
        if not same or self.exactly(offset + _LOCAL.size, name_length) != raw:
            self.refuse(f"its member {printable(name)!r} has another name, size or method in its own header")
        return offset + _LOCAL.size + length + int(extra_length)

    def wide(self, extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
        """Replace saturated fields by those of the 64-bit extra field."""
        values: list[int] = []
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                if values or length % 8 > 4 or at + 4 + length > len(extra):
                    self.refuse("a 64-bit field in it is damaged")
                values = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            at += 4 + length
        sizes = [size, stored, offset]
        for index, value in enumerate(sizes):
            if value == _FULL32:
                if not values:
                    self.refuse("a 64-bit field in it is missing")
                sizes[index] = values.pop(0)
        return sizes[0], sizes[1], sizes[2]

    def name(self, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("a member's name is not UTF-8")
        fault = fault_of(name)
        if fault is not None:
            self.refuse(f"its member {printable(name)!r}: {fault[1]}")
        return name

    def contiguous(self, found: list[tuple[int, int, Member, bool]], directory: int) -> None:
        """Check that members follow each other without a gap from the first byte to the directory."""
        expected = 0
        slack: tuple[int, ...] = (0,)
        for offset, end, member, described in sorted(found, key=lambda entry: entry[0]):
            if offset - expected not in slack:
                self.refuse(f"bytes stand before its member {printable(member.name)!r}, or it overlaps another")
            expected, slack = end, _DESCRIPTOR_SIZES if described else (0,)
        if directory - expected not in slack:
            self.refuse("bytes stand between its members and its directory")

    def unique(self, found: list[Member]) -> dict[str, Member]:
        """Refuse names that are equal without regard to case: PyTorch looks them up that way."""
        seen: dict[str, str] = {}
        for member in found:
            other = seen.setdefault(member.name.casefold(), member.name)
            if other is not member.name:
                self.refuse(f"it has two members called {printable(member.name)!r}")
        return {member.name: member for member in found}

    def exactly(self, start: int, length: int) -> bytes:
        data = self.read(start, length) if 0 <= start <= self.size else b""
        if len(data) != length:
            self.refuse("it is cut off, or points outside itself")
        return data

    def refuse(self, text: str) -> NoReturn:
        raise MalformedMetadata(
            f"{printable(self.file)}: not a zip archive as PyTorch or NumPy write it: {text}. Nothing was loaded.",
            file=self.file,
            source=self.source,
        )
