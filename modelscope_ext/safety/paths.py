"""File names that strangers wrote: in a hub's listing, an index of shards, a field of a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelscope_ext.errors import MalformedMetadata, PathEscapeRefused, SafetyError
from modelscope_ext.utils.text import printable

__all__ = ["check_name", "check_names", "fault_of"]

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DRIVE = re.compile(r".:")  # Windows takes any one character for a drive
_NAME_BYTES = 1024
_PART_BYTES = 255


def fault_of(name: object) -> tuple[type[SafetyError], str] | None:
    r"""Return what is wrong with `name` as a relative posix path, on any operating system, or None.

    Example:
        >>> fault_of("unet/model.safetensors") is None
        True
        >>> fault_of("..\\x")[1]
        'it holds a backslash'
    """
    if not isinstance(name, str):
        return MalformedMetadata, f"expected a file name (a string), found {type(name).__name__}"
    if not name:
        return MalformedMetadata, "it is empty"
    if _CONTROL.search(name):
        return MalformedMetadata, "it holds a control character"
    if len(name.encode()) > _NAME_BYTES:
        return MalformedMetadata, f"it is longer than {_NAME_BYTES} bytes"
    if "\\" in name:
        return PathEscapeRefused, "it holds a backslash"
    if name.startswith("/") or _DRIVE.match(name):
        return PathEscapeRefused, "it is absolute"
    parts = name.split("/")
    if ".." in parts:
        return PathEscapeRefused, "it leads out of the model's folder"
    for part in parts:
        if part in ("", "."):
            return MalformedMetadata, "it has an empty part or a '.'"
        if part[-1] in " .":
            return MalformedMetadata, "a part of it ends in a space or a dot"
        if len(part.encode()) > _PART_BYTES:
            return MalformedMetadata, f"a part of it is longer than {_PART_BYTES} bytes"
        if _RESERVED.fullmatch(part):
            return MalformedMetadata, "a part of it is a device name on Windows"
    return None


def check_name(name: object, *, file: str | None = None, field: str | None = None, source: str | None = None) -> str:
    """Return `name` unchanged if it names a file inside the model on every operating system.

    ``~``, ``$HOME`` and ``%USERPROFILE%`` are ordinary characters here and are never expanded.

    Args:
        name: A relative posix path.
        file: The file that holds the name, for the message.
        field: The key in that file.
        source: The model as the caller named it.

    Raises:
        PathEscapeRefused: It is absolute, has ``..``, a backslash or a drive letter.
        MalformedMetadata: It is no usable name: empty, control characters, too long, a trailing space, a Windows
            device, or not in Unicode's composed form (NFC), in which a second name could look the same.

    Example:
        >>> check_name("~/x.bin")
        '~/x.bin'
        >>> check_name("../x", file="model.safetensors.index.json", field="weight_map.a")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.PathEscapeRefused: model.safetensors.index.json: weight_map.a: the file name '../x' was \
refused: it leads out of the model's folder. Expected a relative path inside the model; nothing was opened.
    """
    fault = fault_of(name)
    if fault is None and isinstance(name, str) and _composed(name) != name:
        fault = MalformedMetadata, "it is not in Unicode's composed form (NFC)"
    if fault is None:
        return str(name)
    kind, text = fault
    where = "".join(f"{printable(part)}: " for part in (file, field) if part)
    raise kind(
        f"{where}the file name {printable(name)!r} was refused: {text}. "
        "Expected a relative path inside the model; nothing was opened.",
        file=file,
        field=field,
        source=source,
    )


def check_names(names: Iterable[str], *, source: str | None = None) -> None:
    """Check a whole listing: every name by itself, and no two that are one name on another system.

    Raises:
        PathEscapeRefused: A name leads out of the model.
        MalformedMetadata: A name is unusable, or two differ only in how Unicode composes them.

    Example:
        >>> check_names(["a/b.json", "README.md"])
    """
    seen: dict[str, str] = {}
    for name in names:
        if not (type(name) is str and name.isascii()):
            fault = fault_of(name)
            if fault is None:
                twin = seen.setdefault(_composed(name), name)
                if twin != name:
                    raise MalformedMetadata(
                        f"The file names {printable(twin)!r} and {printable(ascii(name))} are one name in Unicode's "
                        "composed form; which one is meant cannot be told.",
                        file=name,
                        source=source,
                    )
                continue
        check_name(name, field="file list", source=source)


def _composed(name: str) -> str:
    import unicodedata

    return name if name.isascii() else unicodedata.normalize("NFC", name)
