"""What the hubs' files share: finding out whether a client is installed, and checking what it lists."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, MissingRequirement, PathEscapeRefused, SafetyError
from modelscope_ext.hub.failures import Asked
from modelscope_ext.hub.protocol import HubFile, Listing
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import check_names, fault_of
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.hub.protocol import Hub

__all__ = ["Row", "checked", "need"]

#: Name, size, sha256 and etag of a file, as a client gives them.
Row = tuple[Any, Any, Any, Any]

#: What `web`, `locks` and `progress` use.
_FETCHING = ("requests", "filelock", "tqdm")
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Larger than any file there is.
_MOST_BYTES = 2**50


def need(hub: Hub) -> None:
    """Raise MissingRequirement if the client of `hub`, or what fetches its files, is not installed."""
    wanted = (hub.requires, *_FETCHING)
    missing = [name for name in wanted if importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        raise MissingRequirement(
            f"{hub.title} is asked through {hub.requires}. Not installed: {listing(missing)}. {hub.install}"
        )


def checked(listing: Listing, rows: Iterable[HubFile | Row], asked: Asked, limits: Limits) -> Listing:
    """Return `listing` with its files, sorted by name, after a look at every name, size and hash.

    A name that would lead out of the model refuses the whole; one that is merely unusable on some system is left out.

    Args:
        listing: What is known without the files.
        rows: Files, or name, size, sha256 and etag of each, of any type.
        asked: What was asked for, for messages.
        limits: How many there may be.

    Raises:
        PathEscapeRefused: A name that leads out of the model.
        MalformedMetadata: A name or a size that can be none, or a name that is listed twice.
        LimitExceeded: Too many files.
    """
    files: dict[str, HubFile] = {}
    left_out: dict[str, str] = {}
    for row in rows:
        file = row if isinstance(row, HubFile) else _file(row, asked)
        fault = fault_of(file.name)
        if fault is not None:
            if fault[0] is PathEscapeRefused:
                raise PathEscapeRefused(
                    f"{asked}: the listed name {printable(file.name)!r} was refused: {fault[1]}. Nothing was fetched.",
                    file=printable(file.name),
                    source=asked.repo,
                )
            left_out[file.name] = fault[1]
        elif file.name in files:
            raise _malformed(asked, file.name, "is listed twice")
        else:
            files[file.name] = file
        if len(files) + len(left_out) > limits.files:
            raise LimitExceeded(
                f"{asked}: more than {limits.files} files. If this is one model, pass limits=Limits(files=...).",
                source=asked.repo,
                grant="limits",
            )
    try:
        check_names(files)
    except SafetyError as error:
        raise type(error)(f"{asked}: {error}", file=error.file, source=asked.repo) from error
    for name in files:
        parent = name.rpartition("/")[0]
        if parent in files:
            raise _malformed(asked, parent, "is listed as a file and as a folder")
    chosen = tuple(files[name] for name in sorted(files))
    return replace(listing, files=chosen, left_out=tuple(sorted(left_out.items())))


def _file(row: Row, asked: Asked) -> HubFile:
    name, size, sha256, etag = row
    if not isinstance(name, str):
        raise MalformedMetadata(f"{asked}: a listed file has no name.", source=asked.repo)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MOST_BYTES:
        raise _malformed(asked, name, f"is listed with a size of {printable(size, 40)}; expected bytes")
    return HubFile(name, size, _hash(sha256, _SHA256), _hash(etag, _HEX))


def _malformed(asked: Asked, name: str, text: str) -> MalformedMetadata:
    return MalformedMetadata(f"{asked}: {printable(name)} {text}.", file=printable(name), source=asked.repo)


def _hash(value: Any, form: re.Pattern[str]) -> str | None:
    text = value.strip('"').lower() if isinstance(value, str) else ""
    return text if form.fullmatch(text) else None
