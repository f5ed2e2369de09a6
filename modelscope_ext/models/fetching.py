"""Fetching a model without loading it: the plan's files, or those that patterns name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.resolution import Plan, PlanFile
from modelscope_ext.utils.disk import disk_free
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["Fetched", "fetch_model", "matching"]


@dataclass(frozen=True)
class Fetched(Record):
    """What was fetched, or would be.

    Attributes:
        source: The model, with its commit.
        folder: Where its files are.
        plan: The files; `PlanFile.cached` says which were there before.
        whole_bytes: What a copy of the whole repository would take.
    """

    source: Any
    folder: str
    plan: Plan
    whole_bytes: int


def fetch_model(
    model: Any,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    local_dir: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
    verify: Any = None,
    **options: Any,
) -> Fetched:
    """Fetch what a load of `model` would read, into the cache of the hub's client or into a folder.

    Args:
        model: A hub id.
        include: Patterns (``*.json``) of files to fetch instead of the plan's, of the whole repository.
        exclude: Patterns of files to leave out.
        local_dir: A folder of your own to put them into, instead of the cache.
        dry_run: Fetch nothing, only say what would be fetched.
        workers: Files on their way at once; None for 8.
        progress: See `modelscope_ext.hub.download.download`.
        verify: Whose signature the files have to bear, as `pipeline` takes it; its file is fetched with them.
        **options: Those of `resolve`: `hub`, `revision`, `variant`, `token`, `cache_dir`, ...

    Raises:
        OptionError: `model` is a folder, or no file is left.
        SignatureRefused: The files are not what the signer of `verify` signed; they are where they were fetched to.
        ModelScopeExtError: Of the resolution, the hub or the disk.
    """
    from modelscope_ext.hub.download import download
    from modelscope_ext.hub.fetch import to_do
    from modelscope_ext.hub.local_dir import LocalDir
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.gate.signature import check_signature, check_signer
    from modelscope_ext.models.plan import WHERE
    from modelscope_ext.safety.grants import Grants

    grants = Grants.of(verify=verify, local_files_only=options.get("local_files_only", False))
    snapshot = open_snapshot(model, **{name: options[name] for name in WHERE if name in options})
    if snapshot.remote is None:
        raise OptionError(f"{printable(str(snapshot.source))} is no repository of a hub: there is nothing to fetch")
    if local_dir is not None:
        snapshot.remote = replace(snapshot.remote, hub=LocalDir(snapshot.remote.hub, Path(local_dir).expanduser()))
    check_signer(grants, str(snapshot.source))
    names, needed = _chosen(snapshot, tuple(include), tuple(exclude), options)
    if grants.verify is not None and grants.verify.signature in snapshot:
        names = tuple(dict.fromkeys((*names, grants.verify.signature)))
    remote = snapshot.remote
    here = {file.name for file in to_do(snapshot, names).here}
    files = tuple(
        PlanFile(n, snapshot.sizes[n], snapshot.hashes.get(n), cached=remote.files[n].name in here) for n in names
    )
    folder = remote.hub.folder(remote.listing, remote.access)
    plan = Plan(
        files,
        sum(file.bytes for file in files),
        sum(file.bytes for file in files if not file.cached),
        disk_free=disk_free(folder),
        memory_needed=needed,
    )
    if not dry_run:
        in_repo = [remote.files[name].name for name in names]
        folder = download(remote.hub, remote.listing, in_repo, remote.access, workers=workers, progress=progress)
        if grants.verify is not None:
            check_signature(folder / remote.subfolder, names, grants.verify, snapshot)
    return Fetched(snapshot.source, str(folder), plan, sum(snapshot.sizes.values()))


def _chosen(
    snapshot: Snapshot, include: tuple[str, ...], exclude: tuple[str, ...], options: dict[str, Any]
) -> tuple[tuple[str, ...], Any]:
    """Return the names to fetch, and the memory a load of them would need, where they are a plan's."""
    from modelscope_ext.models.plan import WHERE, plan_of
    from modelscope_ext.models.resolve import resolve

    needed: Any = {}
    if include:
        names = matching(snapshot.names, include)
    else:
        others = {name: value for name, value in options.items() if name not in WHERE or name == "limits"}
        plan = plan_of(resolve(snapshot, **others), snapshot)
        names, needed = tuple(file.name for file in plan.files), plan.memory_needed
    names = tuple(name for name in names if not matching((name,), exclude))
    if not names:
        raise OptionError(
            f"{printable(str(snapshot.source))}: no file is left by include={printable(list(include))} and"
            f" exclude={printable(list(exclude))}. There are: {listing(map(printable, snapshot.names))}"
        )
    return names, needed


def matching(names: Iterable[str], patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a pattern fits; a pattern that ends in a slash fits a whole folder.

    Example:
        >>> matching(["a.json", "unet/b.bin", "unet/c.json"], ["*.json"])
        ('a.json', 'unet/c.json')
        >>> matching(["a.json", "unet/b.bin"], ["unet/"])
        ('unet/b.bin',)
    """
    whole = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in whole))
