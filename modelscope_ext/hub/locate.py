"""Step 1 of 6: what a model string means: a local folder, or a repo of a hub."""

# On the path of every resolve(), where pathlib costs more than the system calls:
# ruff: noqa: PTH112, PTH116, PTH118, PTH120

from __future__ import annotations

import os
import re
import stat
from typing import Any, NoReturn

from modelscope_ext.errors import ModelNotFound, OptionError
from modelscope_ext.hub import local_
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["locate", "looks_like_repo", "open_snapshot"]

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def looks_like_repo(model: str) -> bool:
    """Return whether `model` has the form of a hub id, ``org/name``.

    Example:
        >>> looks_like_repo("damo/bert"), looks_like_repo("./bert"), looks_like_repo("a/b/c")
        (True, False, False)
    """
    return _REPO.fullmatch(model) is not None


def locate(
    model: str | os.PathLike[str],
    *,
    hub: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
) -> Source:
    """Return where `model` is. An existing folder always wins.

    Args:
        model: A folder, or a hub id ``org/name``.
        hub: The hub to ask; None or ``"local"`` are what this version knows.
        revision: Branch, tag or commit of a hub's repo; a folder has none.
        subfolder: A folder inside the model that holds it.

    Raises:
        ModelNotFound: There is no such folder; the message says what there is instead and what to do.
        OptionError: `model` is no string or path, or an argument that has no meaning for a folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     locate(folder).hub
        'local'
    """
    name = _name_of(model)
    path = name if not subfolder else os.path.join(name, _below(subfolder))
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = 0
    if not stat.S_ISDIR(mode) or hub not in (None, "local"):
        _not_found(name, path, mode, hub, subfolder)
    if revision is not None:
        logger.warning("%s is a local folder; revision=%s has no meaning for it", printable(name), printable(revision))
    return Source("local", path=path)


def open_snapshot(
    model: str | os.PathLike[str] | Snapshot,
    *,
    hub: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
    limits: Limits | None = None,
    **unused: Any,
) -> Snapshot:
    """Return the Snapshot of `model`: located, listed, nothing read yet.

    A Snapshot is returned as it is. A folder whose name also looks like a hub id is noted in the findings and in the
    log, because the other reading would have been possible.

    Args:
        model: A folder, a hub id or a Snapshot.
        hub: See `locate`.
        revision: See `locate`.
        subfolder: See `locate`.
        limits: What is too large.
        **unused: `token`, `cache_dir`, `local_files_only`: they matter to hubs only.

    Raises:
        ModelNotFound: See `locate`.
        LimitExceeded: More files than allowed.
    """
    if isinstance(model, Snapshot):
        return model
    source = locate(model, hub=hub, revision=revision, subfolder=subfolder)
    folder = source.path or ""
    snapshot = local_.snapshot(folder, limits or DEFAULT_LIMITS)
    name = _name_of(model)
    if hub is None and looks_like_repo(name):
        text = f"{printable(name)} is taken as the local folder of that name, not as a repo of a hub."
        logger.info(text)
        snapshot.findings += (Finding("local-folder", "info", None, None, text),)
    return snapshot


def _name_of(model: object) -> str:
    if not isinstance(model, str | os.PathLike):
        raise OptionError(
            f"model: expected a folder or a hub id (a str or Path), found {printable(type(model).__name__)}."
        )
    name = os.fspath(model)
    if not isinstance(name, str) or not name:
        raise OptionError(f"model={printable(repr(name))}: expected the path of a folder, or org/name.")
    return name


def _below(subfolder: str) -> str:
    from modelscope_ext.safety.paths import check_name

    if not isinstance(subfolder, str):
        raise OptionError(f"subfolder={printable(repr(subfolder))}: expected a str such as 'unet'")
    return check_name(subfolder.strip("/") or ".", field="subfolder")


def _not_found(name: str, path: str, mode: int, hub: str | None, subfolder: str | None) -> NoReturn:
    """Raise ModelNotFound with what there is instead."""
    shown = printable(path)
    if hub not in (None, "local"):
        text = f"hub={printable(hub)!r}: this version opens local folders only. Download {printable(name)} and pass "
        text += "the folder."
    elif stat.S_ISREG(mode):
        folder = printable(os.path.dirname(path) or ".")
        text = f"{shown} is a file. Expected the folder it lies in: pass {folder!r}."
    elif mode:
        text = f"{shown} is neither a file nor a folder. Expected a model's folder."
    elif _URL.match(name):
        text = f"{shown} is a URL. Expected a folder, or org/name; download the model and pass its folder."
    elif subfolder and os.path.isdir(name):
        text = f"{printable(name)} has no folder {printable(subfolder)!r}.{_near(path)}"
    elif looks_like_repo(name):
        text = (
            f"There is no folder {shown} here. As the repo of a hub it cannot be opened by this version: "
            f"hubs arrive with a later one. Download it and pass the folder.{_near(path)}"
        )
    else:
        text = f"There is no folder {shown} (looked in {printable(os.getcwd(), 200)}).{_near(path)}"  # noqa: PTH109
        if name.startswith("~"):
            text += " '~' is not expanded here: pass the full path."
    raise ModelNotFound(text)


def _near(path: str) -> str:
    """Return a hint at a neighbour of nearly that name."""
    parent, _, base = path.rstrip("/").rpartition("/")
    try:
        with os.scandir(parent or ("/" if path.startswith("/") else ".")) as entries:
            near = [entry.name for _, entry in zip(range(500), entries, strict=False) if entry.is_dir()]
    except OSError:
        return ""
    return did_you_mean(base, near)
