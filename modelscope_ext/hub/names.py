"""Ids and revisions of hubs: what a string may look like before it becomes part of a URL or of a folder's name.

The rules are those of POSIX and of Windows on every system, so that what works on one machine works on all.
"""

from __future__ import annotations

import re

from modelscope_ext.errors import OptionError
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.text import printable

__all__ = ["COMMIT", "PREFIXES", "check_repo", "check_revision", "looks_like_repo", "split_prefix"]

#: Of ``ms:org/name`` -> the hub's name.
PREFIXES = {"ms": "modelscope", "hf": "huggingface", "om": "openmind"}
#: A full commit: nothing that is fetched at one can change.
COMMIT = re.compile(r"[0-9a-f]{40}")

_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_REPO = re.compile(rf"{_PART}/{_PART}")
_BARE = re.compile(_PART)
_REVISION = re.compile(r"[A-Za-z0-9_][\w.+/-]{0,254}", re.ASCII)


def looks_like_repo(model: str) -> bool:
    """Return whether `model` has the form of a hub id, ``org/name``.

    Example:
        >>> looks_like_repo("damo/bert"), looks_like_repo("./bert"), looks_like_repo("a/b/c")
        (True, False, False)
    """
    return _REPO.fullmatch(model) is not None


def split_prefix(model: str) -> tuple[str | None, str]:
    """Return the hub that a prefix names, or None, and what follows it.

    Example:
        >>> split_prefix("hf:org/x"), split_prefix("org/x"), split_prefix("C:/x")
        (('huggingface', 'org/x'), (None, 'org/x'), (None, 'C:/x'))
    """
    prefix, colon, rest = model.partition(":")
    hub = PREFIXES.get(prefix.lower()) if colon and not rest.startswith(("/", "\\")) else None
    return (hub, rest) if hub else (None, model)


def check_repo(repo: object, *, hub: str, bare: bool = False) -> str:
    """Return `repo` unchanged if it can be an id on a hub, and a folder's name on every system.

    Args:
        repo: ``"org/name"``.
        hub: The hub's title, for the message.
        bare: An id without an owner is one too (Hugging Face's ``gpt2``).

    Raises:
        PathEscapeRefused: It would lead out of a folder.
        OptionError: It is no id.

    Example:
        >>> check_repo("org/x", hub="ModelScope")
        'org/x'
        >>> check_repo("org/x?y=1", hub="ModelScope")
        Traceback (most recent call last):
        ...
        modelscope_ext.errors.OptionError: 'org/x?y=1' is no id of a model on ModelScope; expected org/name, of \
letters, digits, '_', '-' and '.'. Nothing was asked.
    """
    _refuse_faults(repo, f"id on {hub}")
    text = str(repo)
    well_formed = _REPO.fullmatch(text) or (bare and _BARE.fullmatch(text))
    # An owner's "--" could not be told from the "--" that stands for "/" in the names of the clients' folders.
    if not well_formed or ".." in text or "--" in text.partition("/")[0] or text.lower().endswith(".git"):
        at = " A branch, tag or commit is passed as revision=." if "@" in text else ""
        raise OptionError(
            f"{printable(repr(text))} is no id of a model on {hub}; expected org/name, of letters, digits, '_', '-' and"
            f" '.'.{at} Nothing was asked."
        )
    return text


def check_revision(revision: object, *, hub: str) -> str:
    """Return `revision` unchanged if it can be a branch, tag or commit, and a folder's name on every system.

    Raises:
        PathEscapeRefused: It would lead out of a folder.
        OptionError: It is no revision.

    Example:
        >>> check_revision("refs/pr/1", hub="Hugging Face"), check_revision("v1.0", hub="ModelScope")
        ('refs/pr/1', 'v1.0')
    """
    _refuse_faults(revision, "revision")
    text = str(revision)
    if not _REVISION.fullmatch(text) or ".." in text or text.endswith((".lock", "/")):
        raise OptionError(
            f"revision={printable(repr(text))}: expected a branch, tag or commit of {hub}, of letters, digits, '_',"
            " '-', '.', '+' and '/'. Nothing was asked."
        )
    return text


def _refuse_faults(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise OptionError(f"{what}: expected a str, found {printable(type(text).__name__)}.")
    fault = fault_of(text)
    if fault is not None:
        raise fault[0](f"{what} {printable(repr(text))} was refused: {fault[1]}. Nothing was asked.")
