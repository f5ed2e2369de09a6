"""What a file really is, by its first bytes, whatever its name says."""

from __future__ import annotations

from collections.abc import Mapping

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.utils.text import printable

__all__ = ["LFS_POINTER", "check_magic", "is_lfs_pointer", "kind_of"]

#: How a git-LFS pointer begins (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    (b"GGUF", "GGUF file"),
    (b"FUGG", "GGUF file"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x7fELF", "shared library"),
    (b"MZ", "Windows program"),
    (b"\xcf\xfa\xed\xfe", "macOS program"),
    (LFS_POINTER, "git-LFS pointer"),
    (b"\x1f\x8b", "gzip file"),
    (b"<!DOCTYPE html", "web page"),
    (b"<html", "web page"),
)
# Format of a weight file -> what its bytes must be.
_EXPECTED: Mapping[str, tuple[str, ...]] = {
    "gguf": ("GGUF file",),
    "h5": ("HDF5 file",),
    "keras": ("zip archive", "HDF5 file"),
    "pickle": ("zip archive", "pickle"),
}
# What can never be hidden behind these formats' names.
_NEVER: Mapping[str, tuple[str, ...]] = {
    "safetensors": ("zip archive", "pickle", "HDF5 file", "GGUF file", "NumPy array", "shared library", "gzip file"),
    "onnx": ("zip archive", "pickle", "shared library", "Windows program", "macOS program", "gzip file"),
    "msgpack": ("zip archive", "shared library"),
    "mindspore": ("zip archive", "pickle", "HDF5 file", "shared library", "gzip file"),
}


def kind_of(head: bytes) -> str | None:
    """Return what begins with these bytes (8 or more), or None when nothing known does.

    Example:
        >>> kind_of(bytes.fromhex("80024b01")), kind_of(b"{}      ")
        ('pickle', None)
    """
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    if len(head) > 2 and head[0] == 0x80 and 1 < head[1] <= 5 and head[2] > 0x1F and not _is_length(head):
        return "pickle"
    return None


def _is_length(head: bytes) -> bool:
    """Whether these are the length of a safetensors header followed by its opening brace."""
    return head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def is_lfs_pointer(data: bytes) -> bool:
    """Return whether a file is a git-LFS pointer in place of its content."""
    return data.startswith(LFS_POINTER)


def check_magic(head: bytes, form: str, *, file: str, source: str | None = None) -> None:
    """Check that a weight file's first bytes fit its format.

    Args:
        head: The first bytes, 64 are enough.
        form: The format its name promises, as in `metadata.weights.FORMATS`.
        file: Its name, for messages.
        source: The model as the caller named it.

    Raises:
        MalformedMetadata: It is something else, e.g. a pickle called model.safetensors.

    Example:
        >>> check_magic(b"GGUF", "gguf", file="m.gguf")
    """
    kind = kind_of(head)
    expected = _EXPECTED.get(form)
    wrong = kind in _NEVER.get(form, ()) or (expected is not None and kind not in expected)
    if kind == "git-LFS pointer":
        raise MalformedMetadata(
            f"{printable(file)}: a git-LFS pointer, not the file itself. Fetch it with 'git lfs pull'.",
            file=file,
            source=source,
        )
    if wrong:
        raise MalformedMetadata(
            f"{printable(file)}: its first bytes are those of {_article(kind or 'another format')}, not of {form}. "
            "Nothing was loaded.",
            file=file,
            source=source,
        )


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOUH' and not noun.startswith('pickle') else 'a'} {noun}"
