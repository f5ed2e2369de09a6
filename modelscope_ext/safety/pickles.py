"""Is a PyTorch checkpoint only plain tensors? Told from its bytes, without unpickling any of it.

Three containers are known: the zip archive of torch >= 1.6, the five pickles of older versions, and (refused) the tar
of the oldest. TorchScript and exported programs are archives too, but programs: refused as such.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

from modelscope_ext.errors import (
    ExecutableFormatRefused,
    LimitExceeded,
    MalformedMetadata,
    PickleRefused,
    SafetyError,
)
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.opcodes import Machine, globals_of
from modelscope_ext.safety.tensor_calls import Refusal, Storage
from modelscope_ext.safety.zips import Member, members
from modelscope_ext.utils.text import printable

__all__ = ["check_pickle", "scan_pickle"]

_ADVICE = (
    "Convert it to safetensors where you trust it; or, if you trust its publisher with your machine, "
    "pass allow_pickle='full'."
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_START = b"\x80\x02\x8a\x0a" + _LEGACY_MAGIC.to_bytes(10, "little")
_PROGRAM = re.compile(
    r"[^/]+/(?:code/|constants\.pkl$|bytecode\.pkl$|archive_format$|models/|data/aotinductor/|.*\.so$)"
)
_PART = re.compile(
    r"[^/]+/(?:data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/\w+|data/[\w.-]{1,64})"
)
_TAR_MAGIC = slice(257, 262)


def check_pickle(
    data: bytes | str | os.PathLike[str] | BinaryIO,
    *,
    file: str,
    grants: Grants | None = None,
    source: str | None = None,
) -> None:
    """Return if a checkpoint holds plain dense tensors only (or the caller granted more); raise otherwise.

    Args:
        data: The bytes, the path, or an open file (`Snapshot.open`) of the checkpoint. Tensors are not read.
        file: Its name inside the model, for messages.
        grants: What the caller permits; None permits plain tensors.
        source: The model as the caller named it.

    Raises:
        PickleRefused: It would call something else, or `allow_pickle` is False.
        ExecutableFormatRefused: It is a program: TorchScript, an exported program, a shared library.
        MalformedMetadata: It is no checkpoint, or an archive that two readers would read differently.
        LimitExceeded: Its pickled part is too large, or a tensor is larger than the bytes it lies in.

    Example:
        >>> import pickle
        >>> check_pickle(pickle.dumps(print), file="pytorch_model.bin", source="./m")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.PickleRefused: Refused to unpickle pytorch_model.bin from ./m (nothing was executed): \
it names builtins.print. Only plain tensors pass. Convert it to safetensors where you trust it; or, if you trust its \
publisher with your machine, pass allow_pickle='full'.
    """
    grants = grants if grants is not None else Grants()
    if grants.allow_pickle is False:
        raise PickleRefused(
            f"Refused to unpickle {_place(file, source)} (nothing was executed): allow_pickle=False. "
            "Pass allow_pickle='weights_only' to accept plain tensors.",
            source=source,
            file=file,
            grant="allow_pickle",
        )
    if grants.allow_pickle == "full":
        return
    with _opened(data) as stream:
        checkpoint = _Checkpoint(stream, file, source, grants.limits)
        try:
            checkpoint.check()
        except Refusal as refusal:
            checkpoint.refuse(refusal)


def scan_pickle(
    data: bytes | str | os.PathLike[str] | BinaryIO,
    *,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
) -> tuple[str, ...]:
    """Return the names of the globals a pickle or checkpoint would import, sorted; nothing is executed or refused.

    Raises:
        MalformedMetadata: It is no pickle.
        LimitExceeded: It is too large.

    Example:
        >>> import pickle
        >>> scan_pickle(pickle.dumps({"f": len}), file="x.pkl")
        ('builtins.len',)
    """
    with _opened(data) as stream:
        checkpoint = _Checkpoint(stream, file, source, limits)
        try:
            return tuple(sorted(set(checkpoint.globals())))
        except Refusal as refusal:
            checkpoint.refuse(refusal)


@contextmanager
def _opened(data: bytes | str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(data, bytes):
        yield io.BytesIO(data)
    elif isinstance(data, str | os.PathLike):
        with open(data, "rb") as stream:
            yield stream
    else:
        yield data


def _place(file: str, source: str | None) -> str:
    return printable(file) + (f" from {printable(source)}" if source else "")


class _Checkpoint:
    """One file under examination."""

    def __init__(self, stream: BinaryIO, file: str, source: str | None, limits: Limits) -> None:
        self.stream = stream
        self.file = file
        self.source = source
        self.limits = limits
        self.size = stream.seek(0, os.SEEK_END)

    def read(self, start: int, length: int) -> bytes:
        self.stream.seek(start)
        return self.stream.read(length)

    def check(self) -> None:
        head = self.read(0, 512)
        if head.startswith(b"PK"):
            self.check_zip()
        elif head[_TAR_MAGIC] == b"ustar":
            raise Refusal("PK", "it is a tar archive of the oldest PyTorch, whose loader runs what it is told")
        elif head.startswith((b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")):
            self.program("a shared library")
        else:
            self.check_legacy(head)

    def globals(self) -> Iterator[str]:
        if self.read(0, 2) != b"PK":
            stream = self.pickled(0, min(self.size, self.limits.pickle_bytes))
            first = stream.read(len(_LEGACY_START))
            stream.seek(0)
            for _ in range(5 if first == _LEGACY_START else 1):
                yield from globals_of(stream)
            return
        for member in self.members().values():
            if member.name.endswith(".pkl") and not member.deflated:
                yield from globals_of(self.pickled(member.start, member.size))

    def members(self) -> Mapping[str, Member]:
        return members(self.read, self.size, file=self.file, limits=self.limits, source=self.source, deflate=True)

    def check_zip(self) -> None:
        """The archive of torch >= 1.6: one ``data.pkl``, and one stored record per storage."""
        found = self.members()
        for name in found:
            if _PROGRAM.match(name):
                self.program("a TorchScript or exported program")
        roots = {name.partition("/")[0] for name in found}
        root = next(iter(roots), "")
        if len(roots) != 1 or f"{root}/data.pkl" not in found:
            self.malformed("an archive without its one data.pkl")
        for name in found:
            if found[name].deflated:
                self.malformed(f"its member {printable(name)!r} is compressed, as no checkpoint's is")
            if not _PART.fullmatch(name):
                self.malformed(f"an archive with an unexpected member {printable(name)!r}")
        order = found.get(f"{root}/byteorder")
        if order is not None and self.read(order.start, min(order.size, 16)) not in (b"little", b"big"):
            self.malformed("an archive of an unknown byte order")

        def storage(wanted: Storage) -> None:
            record = found.get(f"{root}/data/{wanted.key}")
            if record is None or record.size < wanted.bytes:
                raise Refusal("MF", f"its storage {printable(wanted.key)!r} is missing or too short")

        Machine(self.checked(found[f"{root}/data.pkl"]), storage).run()

    def checked(self, member: Member) -> BinaryIO:
        """Return the pickled part, after comparing its checksum."""
        from binascii import crc32

        stream = self.pickled(member.start, member.size)
        if crc32(stream.getbuffer()) != member.crc:
            self.malformed(f"an archive whose {printable(member.name)} has another checksum than it says")
        return stream

    def pickled(self, start: int, size: int) -> io.BytesIO:
        if size > self.limits.pickle_bytes:
            raise Refusal("LM", f"its pickled part has {size} bytes; the limit is {self.limits.pickle_bytes}")
        return io.BytesIO(self.read(start, size))

    def check_legacy(self, head: bytes) -> None:
        """Five pickles (magic, protocol, platform, objects, storage keys), then the storages one after another."""
        wanted: dict[str, Storage] = {}

        def storage(found: Storage) -> None:
            if wanted.setdefault(found.key, found).bytes != found.bytes:
                raise Refusal("MF", f"its storage {printable(found.key)!r} has two sizes")

        stream = self.pickled(0, min(self.size, self.limits.pickle_bytes))
        magic = Machine(stream).run()
        if magic != _LEGACY_MAGIC:
            self.malformed("a pickle, but not one that torch.save wrote")
        Machine(stream).run()
        Machine(stream).run()
        Machine(stream, storage).run()
        keys = Machine(stream).run()
        if type(keys) is not list or sorted(map(str, keys)) != sorted(wanted):
            self.malformed("a checkpoint whose list of storages is not that of its tensors")
        at = stream.tell()
        for key in keys:
            count = self.read(at, 8)
            storage_bytes = wanted[key].bytes
            if len(count) != 8 or int.from_bytes(count, "little") * wanted[key].item != storage_bytes:
                self.malformed(f"a checkpoint whose storage {printable(key)!r} has another size than its tensors say")
            at += 8 + storage_bytes
        if at != self.size:
            self.malformed("a checkpoint with bytes missing or left over at its end")

    def program(self, what: str) -> NoReturn:
        raise ExecutableFormatRefused(
            f"Refused to load {_place(self.file, self.source)} (nothing was executed): it is {what}, which runs when "
            "it is loaded. Ask its publisher for safetensors.",
            source=self.source,
            file=self.file,
        )

    def malformed(self, text: str) -> NoReturn:
        raise MalformedMetadata(
            f"{printable(self.file)}: {text}. Nothing was executed.", source=self.source, file=self.file
        )

    def refuse(self, refusal: Refusal) -> NoReturn:
        """Raise what the machine found as one of our errors."""
        raise _ERRORS[refusal.kind](self, refusal) from refusal


def _pickle_refused(checkpoint: _Checkpoint, refusal: Refusal) -> SafetyError:
    return PickleRefused(
        f"Refused to unpickle {_place(checkpoint.file, checkpoint.source)} (nothing was executed): "
        f"{printable(refusal.text, 200)}. Only plain tensors pass. {_ADVICE}",
        source=checkpoint.source,
        file=checkpoint.file,
        field=printable(refusal.name) if refusal.name else None,
        grant="allow_pickle",
    )


def _malformed(checkpoint: _Checkpoint, refusal: Refusal) -> SafetyError:
    text = f"{printable(checkpoint.file)}: {printable(refusal.text, 300)}. Nothing was executed."
    return MalformedMetadata(text, source=checkpoint.source, file=checkpoint.file)


def _limit(checkpoint: _Checkpoint, refusal: Refusal) -> SafetyError:
    text = f"{printable(checkpoint.file)}: {printable(refusal.text, 300)}. Nothing was allocated."
    return LimitExceeded(text, source=checkpoint.source, file=checkpoint.file)


_ERRORS: Mapping[str, Callable[[_Checkpoint, Refusal], SafetyError]] = {
    "PK": _pickle_refused,
    "MF": _malformed,
    "LM": _limit,
}
