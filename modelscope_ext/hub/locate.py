"""Step 1 of 6: what a model string means: a local folder, or a repo of a hub.

An existing folder wins, unless ``hub=`` names a hub. Else the string is an id, and the hubs are asked in this order:
the one that ``hub=`` or a prefix (``ms:``, ``hf:``, ``om:``) names, else those of ``MODELSCOPE_EXT_HUB``, else
ModelScope.
"""

# On the path of every resolve(), where pathlib costs more than the system calls:
# ruff: noqa: PTH112, PTH116, PTH118, PTH120

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NoReturn

from modelscope_ext.errors import HubError, MissingRequirement, ModelNotFound, OptionError
from modelscope_ext.hub import local_
from modelscope_ext.hub.names import looks_like_repo, split_prefix
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils.text import did_you_mean, printable

if TYPE_CHECKING:
    from modelscope_ext.hub.protocol import Access

__all__ = ["locate", "looks_like_repo", "open_snapshot"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def locate(
    model: str | os.PathLike[str],
    *,
    hub: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
) -> tuple[Source, ...]:
    """Return where `model` may be, in the order in which to look; a folder is the only place. Nothing is asked.

    Args:
        model: A folder, or a hub id ``org/name``, ``hf:org/name``.
        hub: The hub to ask, or ``"local"`` for folders only.
        revision: Branch, tag or commit of a hub's repo; a folder has none.
        subfolder: A folder inside the model that holds it.

    Raises:
        ModelNotFound: It is neither a folder nor an id; the message says what there is instead and what to do.
        OptionError: `model` is no string or path, an unknown hub, or two that contradict each other.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [source.hub for source in locate(folder)]
        ['local']
        >>> [(source.hub, source.repo) for source in locate("hf:org/x")]
        [('huggingface', 'org/x')]
    """
    name = _name_of(model)
    path = name if not subfolder else os.path.join(name, _below(subfolder))
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = 0
    prefixed, repo = split_prefix(name)
    named = _named_hub(hub, prefixed)
    folder = stat.S_ISDIR(mode)
    may_be_repo = not (folder and hub is None) and named != "local" and _may_be_repo(repo, named)
    if folder and not may_be_repo:
        if revision is not None:
            from modelscope_ext.utils.logger import logger

            text = "%s is a local folder; revision=%s has no meaning for it"
            logger.warning(text, printable(name), printable(revision))
        return (Source("local", path=path),)
    if not may_be_repo or (named is None and (mode or os.path.isdir(name))):
        _not_found(name, path, mode, subfolder)
    from modelscope_ext.hub.hubs import order

    hubs = (named,) if named else order()
    return tuple(Source(one, repo=repo, revision=revision, subfolder=subfolder) for one in hubs)


def open_snapshot(
    model: str | os.PathLike[str] | Snapshot,
    *,
    hub: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
    limits: Limits | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
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
        token: For the hub; None takes the one its client stored, False none.
        cache_dir: Stands in for the cache of the hub's client.
        local_files_only: Open no socket: look into the cache.

    Raises:
        ModelNotFound: See `locate`; on a hub, that it has no such model, and which hubs were asked.
        HubError: A hub could not be asked, or refused.
        LimitExceeded: More files than allowed.
    """
    if isinstance(model, Snapshot):
        return model
    sources = locate(model, hub=hub, revision=revision, subfolder=subfolder)
    if sources[0].hub != "local":
        from modelscope_ext.hub.hubs import access_of

        name = _name_of(model)
        either = sources[0].repo == name and hub is None
        here = f" There is no folder {printable(name)} here either.{_near(name)}" if either else ""
        return _first(sources, access_of(token, cache_dir, local_files_only, limits), here)
    snapshot = local_.snapshot(sources[0].path or "", limits or DEFAULT_LIMITS)
    name = _name_of(model)
    if hub is None and looks_like_repo(split_prefix(name)[1]):
        from modelscope_ext.utils.logger import logger

        text = f"{printable(name)} is taken as the local folder of that name, not as a repo of a hub."
        logger.info(text)
        snapshot.findings += (Finding("local-folder", "info", None, None, text),)
    return snapshot


def _first(sources: tuple[Source, ...], access: Access, here: str) -> Snapshot:
    """Return the Snapshot of the first source that exists; a hub that cannot be asked is passed over, and said so.

    A hub that has the model but refuses it ends the search: another hub's repo of that name may be another model.

    Args:
        sources: Where to look.
        access: How to ask.
        here: What is to be said of this machine's folders where no hub has the model.
    """
    import logging

    from modelscope_ext.hub.hubs import hub_of
    from modelscope_ext.hub.remote import snapshot
    from modelscope_ext.utils.logger import logger

    failed: list[tuple[str, HubError | ModelNotFound | MissingRequirement]] = []
    for source in sources:
        hub = hub_of(source.hub)
        logger.info("%s: asking for %s", hub.title, printable(str(source)))
        try:
            found = snapshot(hub, source.repo or "", source.revision, access, subfolder=source.subfolder)
        except (HubError, ModelNotFound, MissingRequirement) as error:
            if getattr(error, "refused", False) or (len(sources) == 1 and not isinstance(error, ModelNotFound)):
                raise
            logger.log(logging.WARNING if len(sources) > 1 else logging.DEBUG, "%s", error)
            failed.append((hub.title, error))
            continue
        logger.info("%s: %s is at %s", hub.title, printable(str(source)), printable(found.source.commit or ""))
        return found
    last = failed[-1][1]
    if len(failed) == 1:
        raise ModelNotFound(f"{last}{here}") from last
    kind = ModelNotFound if all(isinstance(error, ModelNotFound) for _, error in failed) else HubError
    asked = ", ".join(title for title, _ in failed)
    reasons = " ".join(printable(str(error), 260) for _, error in failed)
    raise kind(f"{printable(sources[0].repo)} was found on none of {asked}. {reasons}{here}") from last


def _named_hub(hub: str | None, prefixed: str | None) -> str | None:
    if hub is None:
        return prefixed
    from modelscope_ext.hub.hubs import name_of

    named = "local" if hub == "local" else name_of(hub)
    if prefixed not in (None, named):
        raise OptionError(f"hub={printable(hub)!r} contradicts the prefix of the model, which means {prefixed}.")
    return named


def _may_be_repo(repo: str, named: str | None) -> bool:
    """Whether a string is taken for an id; where a hub is named, it decides itself what is none."""
    return looks_like_repo(repo) or (named is not None and not repo.startswith((".", "/", "~", "\\")))


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


def _not_found(name: str, path: str, mode: int, subfolder: str | None) -> NoReturn:
    """Raise ModelNotFound with what there is instead."""
    shown = printable(path)
    if stat.S_ISREG(mode):
        folder = printable(os.path.dirname(path) or ".")
        text = f"{shown} is a file. Expected the folder it lies in: pass {folder!r}."
    elif mode and not stat.S_ISDIR(mode):
        text = f"{shown} is neither a file nor a folder. Expected a model's folder."
    elif _URL.match(name):
        text = f"{shown} is a URL. Expected a folder, or org/name, where hf: or ms: in front says which hub."
    elif subfolder and os.path.isdir(name):
        text = f"{printable(name)} has no folder {printable(subfolder)!r}.{_near(path)}"
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
