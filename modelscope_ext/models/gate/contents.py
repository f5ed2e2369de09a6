"""Step 5 of 6, gate B: the bytes of exactly the files that will be read, checked before a library sees them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelscope_ext.errors import PickleRefused
from modelscope_ext.metadata.weights import format_of
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.headers import Header, read_header
from modelscope_ext.safety.magic import check_magic, kind_of
from modelscope_ext.safety.reading import open_inside
from modelscope_ext.utils.text import printable

__all__ = ["check_file", "is_pickle"]

_HEAD = 64
#: Formats whose bytes are a pickle, or an archive of one.
_PICKLES = frozenset(("pickle", "pkl"))
_HEADERS = frozenset(("safetensors", "gguf", "mindspore"))


@dataclass(frozen=True)
class Bytes:
    """One opened file: everything is read from this descriptor, so a file swapped later changes nothing."""

    file: BinaryIO
    name: str
    size: int
    folder: Path
    grants: Grants
    source: str
    form: str

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`."""
        self.file.seek(start)
        return self.file.read(count)


def is_pickle(form: str | None) -> bool:
    """Whether files of this format are pickles."""
    return form in _PICKLES


def check_file(
    folder: Path, name: str, names: Iterable[str], grants: Grants, source: str, form: str | None = None
) -> Header | None:
    """Check one file that is about to be read, and return its header where it has one.

    Args:
        folder: The model's folder.
        name: The file's relative name.
        names: All names of the folder; siblings tell formats apart.
        grants: What the caller permits.
        source: The model as the caller named it.
        form: Its format where it is known better than the name tells.

    Raises:
        PathEscapeRefused: It is a link that leaves the model.
        MalformedMetadata: It is not what its name says, or contradicts itself.
        LimitExceeded: It declares more than the limits allow.
        PickleRefused: It is a pickle that is more than plain tensors, or pickles are not permitted.
        ExecutableFormatRefused: It is a program.
    """
    descriptor, size = open_inside(folder, name, source=source)
    with os.fdopen(descriptor, "rb") as file:
        form = form or format_of(name, set(names)) or _by_suffix(name)
        if form is None:
            return None
        opened = Bytes(file, name, size, folder, grants, source, form)
        head = opened.read(0, _HEAD)
        if form != "pickle" or kind_of(head) is not None:
            check_magic(head, form, file=name, source=source)
        check = _CHECKS.get(form)
        return check(opened) if check is not None else None


def _by_suffix(name: str) -> str | None:
    if name.rpartition("/")[2] == "tokenizer.json":
        return "tokenizer"
    return {"npy": "npy", "npz": "npz", "msc": "pkl"}.get(name.rpartition(".")[2].lower())


def _header(opened: Bytes) -> Header | None:
    limits = opened.grants.limits
    return read_header(opened.form, opened.read, opened.size, file=opened.name, limits=limits, source=opened.source)


def _pickle(opened: Bytes) -> None:
    if opened.grants.allow_pickle is False:
        raise PickleRefused(
            f"{printable(opened.name)} is a pickle, and allow_pickle=False refuses every one. Nothing was read. Convert"
            " it to safetensors, or pass allow_pickle='weights_only'.",
            source=opened.source,
            file=opened.name,
            grant="allow_pickle",
        )
    from modelscope_ext.safety.pickles import check_pickle

    check_pickle(opened.file, file=opened.name, grants=opened.grants, source=opened.source)


def _onnx(opened: Bytes) -> None:
    if opened.name.endswith(".onnx"):
        from modelscope_ext.models.backends._onnx.files import external_files

        for other in external_files(opened.folder, opened.name):
            os.close(open_inside(opened.folder, other, source=opened.source)[0])


def _npy(opened: Bytes) -> None:
    from modelscope_ext.safety.arrays import check_array

    check_array(opened.file, file=opened.name, grants=opened.grants, source=opened.source)


def _tokenizer(opened: Bytes) -> None:
    from modelscope_ext.models.gate.tokenizers import check_tokenizer
    from modelscope_ext.safety.reading import too_large

    limit = opened.grants.limits.tokenizer_bytes
    if opened.size > limit:
        too_large(opened.name, opened.size, limit, opened.source)
    check_tokenizer(opened.read(0, opened.size), file=opened.name, source=opened.source)


_CHECKS: Mapping[str, Callable[[Bytes], Header | None]] = {
    **dict.fromkeys(_PICKLES, _pickle),
    **dict.fromkeys(_HEADERS, _header),
    "onnx": _onnx,
    "npy": _npy,
    "npz": _npy,
    "tokenizer": _tokenizer,
}
