"""Findings that only the whole folder shows: code that comes along, grants that files try to give themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.metadata.weights import WeightFile
from modelscope_ext.safety.finding import Finding
from modelscope_ext.utils.text import listing, printable

__all__ = ["remarks"]

_POINTER_BYTES = 512


def remarks(
    snapshot: Snapshot, documents: Mapping[str, Any], weights: tuple[WeightFile, ...], with_grants: list[str]
) -> list[Finding]:
    """Return the findings about a folder as a whole.

    Args:
        snapshot: The source.
        documents: Its parsed metadata files.
        weights: Its weight files.
        with_grants: The documents in which the word ``trust_remote_code`` occurs.
    """
    return [*_code(snapshot), *_grants(documents, with_grants), *_pointers(snapshot, weights)]


def _code(snapshot: Snapshot) -> Iterator[Finding]:
    code = [name for name in snapshot.names if name.endswith((".py", ".so", ".pyd", ".dll", ".sh", ".pth.py"))]
    if code:
        yield Finding(
            "code-files", "info", code[0], None,
            f"{len(code)} code file{'s' if len(code) > 1 else ''} in the folder, not run: "
            + listing(printable(name, 60) for name in code) + ".",
        )  # fmt: skip


def _grants(documents: Mapping[str, Any], with_grants: list[str]) -> Iterator[Finding]:
    for name in with_grants:
        for key in _keys(documents.get(name), ""):
            yield Finding(
                "grant-in-file", "warning", name, key,
                f"{printable(name)}: {printable(key)} asks for remote code; only the caller can grant that. Ignored.",
            )  # fmt: skip


def _keys(value: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted places where a document sets trust_remote_code to something true."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "trust_remote_code" and item:
                yield f"{prefix}{key}"
            elif isinstance(item, Mapping | list):
                yield from _keys(item, f"{prefix}{key}.")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _keys(item, f"{prefix.removesuffix('.')}[{number}].")


def _pointers(snapshot: Snapshot, weights: tuple[WeightFile, ...]) -> Iterator[Finding]:
    """Weights that are git-LFS pointers: small, and they say so."""
    from modelscope_ext.errors import ModelScopeExtError
    from modelscope_ext.safety.magic import is_lfs_pointer

    if snapshot.remote is not None:  # a hub lists the files themselves
        return
    small = [w.name for w in weights if w.bytes < _POINTER_BYTES and snapshot.has_text(w.name)]
    pointers = []
    for name in small[:64]:
        try:
            if is_lfs_pointer(snapshot.read(name, 0, 64)):
                pointers.append(name)
        except ModelScopeExtError:
            continue
    if pointers:
        yield Finding(
            "lfs-weights", "warning", pointers[0], None,
            f"{listing(printable(name, 60) for name in pointers)}: git-LFS pointers, not the weights themselves. "
            "Run 'git lfs pull' in the folder.",
        )  # fmt: skip
