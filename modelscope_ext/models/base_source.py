"""Step 5 of 6, adapters: how the model that an adapter changes is opened. It is another source, judged afresh.

An adapter names its base; that is a redirect, which is followed only where the caller names the base himself
(``base_model=``) or permits it (``allow_sources=[...]``). The base then goes the whole way of a load by itself: its own
snapshot, evidence, decision, gates, requirements and plan. What the caller permits for the adapter's code never covers
the base's. A backend says in `Backend.base` where an adapter names its base, and calls `load_base` in its `load`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError, OptionError, SafetyError, SignatureRefused
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.base import Model
from modelscope_ext.models.loader import adopt, load_request, place_of_load, refuse_load_options
from modelscope_ext.models.request import Request
from modelscope_ext.models.resolution import BaseReference, Resolution
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.models.backend import Backend
    from modelscope_ext.safety.grants import Grants

__all__ = ["is_loaded", "load_base"]

#: Options of an adapter's load that hold for its base too.
_PASSED_ON = ("device", "device_map", "dtype", "allow_missing_weights")


def load_base(
    engine: Backend,
    folder: Path,
    resolution: Resolution,
    grants: Grants,
    options: Mapping[str, Any],
    *,
    task: str | None = None,
    backends: Mapping[str, Mapping[str, Any]] | None = None,
    **keywords: Any,
) -> Model:
    """Return the base of the adapter in `folder`, loaded through the package's own way.

    Args:
        engine: The backend that loads the adapter; its `base` says where the base is named.
        folder: The adapter's folder.
        resolution: The decision about the adapter.
        grants: What the caller permits for the adapter.
        options: What `load` was given: `base_model` (a folder, a Snapshot, a `Model`, or a library's own object; else
            the base that the adapter names), and `device`, `device_map`, `dtype` and `allow_missing_weights`, which
            hold for the base.
        task: What the base is to be loaded for; None leaves it to the base's own files.
        backends: The backends whose models the adapter can be applied to, each with further arguments of its load. The
            base's own decision is taken where it is one of them, else the first. None: the base's own decision.
        **keywords: Further arguments of the base's load, whatever its backend.

    Returns:
        The base. Where the caller passed a loaded one it is that very object (`is_loaded`), which is not to be closed.
        Where he names the adapter's own folder it is the model that lies beside the adapter.

    Raises:
        RedirectRefused: The base is named by the adapter only, and the caller did not permit it.
        LimitExceeded: Too many models led here, each to the next.
        OptionError: No base is named, or an option that would change nothing about a loaded one.
        ModelScopeExtError: Whatever the base's own load raises, in the same class, naming where it was named.
    """
    given, source = options.get("base_model"), str(resolution.source)
    passed = {name: options.get(name) for name in _PASSED_ON}
    if is_loaded(given):
        refuse_load_options(passed)
        return given if isinstance(given, Model) else adopt(given, task=task)
    reference = _reference(engine, folder, grants) or BaseReference("(argument)", "base_model")
    if given is not None:
        base, allowed = given, grants.elsewhere()
        where = f"base_model={printable(str(given.source if isinstance(given, Snapshot) else given))}"
    elif reference.name:
        base, allowed = reference.name, grants.for_source(reference.name)
        where = f"{reference.file}: {reference.key}: {printable(reference.name)}"
        permitted = grants.allowed_as(base) or base
        if permitted.startswith(f"{base}@"):
            keywords["revision"] = permitted.removeprefix(f"{base}@")
    else:
        raise OptionError(f"{printable(source)}: {reference.file}: {reference.key} names no base: pass base_model=")
    try:
        snapshot = _snapshot(base, folder, resolution, reference, allowed, keywords.pop("revision", None))
        if backends:
            name = _backend(snapshot, backends, allowed)
            keywords = {**keywords, **backends[name], "backend": name}
        place = {name: value for name, value in place_of_load().items() if name != "hub"}
        request = replace(Request.of({**place, **keywords, **passed, "task": task}), grants=allowed)
        return load_request(snapshot, request)
    except ModelScopeExtError as error:
        raise _told(error, printable(source), where, given is not None) from error


def is_loaded(base: Any) -> bool:
    """Whether `base`, as the caller passed it, is a model that is loaded already.

    Example:
        >>> is_loaded("./base"), is_loaded(None), is_loaded(Model())
        (False, False, True)
    """
    return base is not None and not isinstance(base, str | os.PathLike | Snapshot)


def _reference(engine: Backend, folder: Path, grants: Grants) -> BaseReference | None:
    from modelscope_ext.metadata.evidence import collect

    snapshot = Snapshot.from_folder(folder, limits=grants.limits)
    return engine.base(collect(snapshot, limits=grants.limits))


def _snapshot(
    base: Any, folder: Path, resolution: Resolution, reference: BaseReference, grants: Grants, revision: str | None
) -> Snapshot:
    """Return the base's Snapshot; of the adapter's own folder, what is in it beside the adapter."""
    from modelscope_ext.hub.locate import open_snapshot

    place = place_of_load()
    if isinstance(base, Snapshot) or Path(base).is_dir():
        place.pop("hub", None)
    snapshot = open_snapshot(base, revision=revision, limits=grants.limits, **place)
    if snapshot.folder is None or snapshot.folder.resolve() != folder.resolve():
        return snapshot
    stems = {name.partition(".")[0] for name in resolution.weights.files}
    own = {name for name in snapshot.names if name.partition(".")[0] in stems}
    return snapshot.without({reference.file, *own})


def _backend(snapshot: Snapshot, backends: Mapping[str, Any], grants: Grants) -> str:
    """Return the backend that loads the base."""
    from modelscope_ext.models.resolve import resolve

    chosen = resolve(snapshot, limits=grants.limits).backend
    return chosen if chosen in backends else next(iter(backends))


def _told(error: ModelScopeExtError, source: str, where: str, named: bool) -> ModelScopeExtError:
    """Return the error of the base's load in the same class, saying whose base it is and what would mend it."""
    text = f"{source}: its base ({where}): {error}"
    if isinstance(error, SafetyError):
        if isinstance(error, SignatureRefused):
            text += (
                " verify= holds for the base too: load a base that another signed by itself, with its own verify=, and"
                " pass it as base_model=."
            )
        if error.grant in ("trust_remote_code", "code_sha256"):
            text += (
                " What is permitted for an adapter does not cover its base: load the base by itself, with"
                " Model.from_pretrained(<base>, trust_remote_code=True), and pass that as base_model=."
            )
        return type(error)(text, source=error.source, file=error.file, field=error.field, grant=error.grant)
    if not named:
        text += " To take the base from elsewhere, pass base_model=<folder>."
    try:
        return type(error)(text)
    except TypeError:  # an error of another package, made in its own way
        return ModelScopeExtError(text)
