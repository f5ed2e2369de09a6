"""Step 5 of 6: a lock file, which says exactly what was loaded, so that the same can be loaded again, or not at all.

It names the source with its commit, each file that is read with its hash, the decision, and the versions of the
libraries that make the result what it is. Its form is `models/data/lock.schema.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext import __version__
from modelscope_ext.errors import ConfigError, LockMismatch, OptionError
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import Resolution

__all__ = ["Lock", "LockedFile", "apply_lock", "make_lock", "read_lock"]

_VERSION = 1
_MOST_BYTES = 64 * 2**20
_PIECE = 2**20
_DECIDED = ("framework", "backend", "model_type", "format", "variant")
_PREFIX = {"modelscope": "ms", "huggingface": "hf", "openmind": "om"}


@dataclass(frozen=True)
class LockedFile(Record):
    """One file: its name, its bytes, and its hash, ``"sha256:..."`` or git's ``"git:..."`` as the hub lists it."""

    name: str
    bytes: int
    hash: str


@dataclass(frozen=True)
class Lock(Record):
    """What a lock file says.

    Attributes:
        source: ``hub``, ``repo``, ``revision``, ``commit``, ``subfolder``; of a folder ``hub`` (``"local"``) and
            ``path``.
        files: Exactly the files that a load reads.
        decision: ``framework``, ``backend``, ``tasks``, ``model_type``, ``format`` and ``variant`` of the weights.
        libraries: Versions of the libraries that the load needs, by distribution.
        lock_version: Of this form.
        made_by: The release that wrote it.
    """

    source: Mapping[str, str | None]
    files: tuple[LockedFile, ...]
    decision: Mapping[str, Any]
    libraries: Mapping[str, str]
    lock_version: int = _VERSION
    made_by: str = field(default=f"modelscope-ext {__version__}")

    @property
    def model(self) -> str:
        """The model string that leads to the source."""
        if self.source.get("hub") == "local":
            return str(self.source.get("path"))
        return f"{_PREFIX.get(str(self.source.get('hub')), self.source.get('hub'))}:{self.source.get('repo')}"

    def text(self) -> str:
        """Return the file's content."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    def check_libraries(self) -> None:
        """Refuse other versions than those that the lock names.

        Raises:
            LockMismatch: Naming each.
        """
        from modelscope_ext.utils.distributions import installed

        drift = []
        for name, version in self.libraries.items():
            found = installed(name)
            if found is None or found.version != version:
                has = found.version if found is not None else "nothing"
                drift.append(f"{printable(name)}: {printable(version)} is locked, {printable(has)} is installed")
        self._refuse(drift, "Install what is locked, or make a new lock.")

    def check_decision(self, resolution: Resolution, commit: str | None) -> None:
        """Refuse another commit, or another decision about the same files.

        Raises:
            LockMismatch: Naming each difference.
        """
        locked = self.source.get("commit")
        drift = []
        if None not in (locked, commit) and commit != locked:  # a folder has none
            drift.append(f"commit: {printable(locked)} is locked, found {printable(commit)}")
        found = _decision(resolution)
        for key in _DECIDED:
            if self.decision.get(key) != found[key]:
                drift.append(f"{key}: {printable(self.decision.get(key))} is locked, found {printable(found[key])}")
        tasks = self.decision.get("tasks") or []
        if found["tasks"] != tasks and not (set(found["tasks"]) <= set(tasks) and found["tasks"]):
            drift.append(f"tasks: {listing(map(printable, tasks))} are locked, found {listing(found['tasks'])}")
        self._refuse(drift, "Make a new lock if that is meant.")

    def check_files(self, snapshot: Snapshot, names: Iterable[str]) -> None:
        """Refuse other files, sizes or hashes than those of the lock; a folder's files are read for that.

        Raises:
            LockMismatch: Naming each difference.
        """
        wanted, locked = set(names), {file.name: file for file in self.files}
        drift = [f"{printable(name)}: is not in the lock" for name in sorted(wanted - set(locked))]
        drift += [f"{printable(name)}: is locked, and would not be read" for name in sorted(set(locked) - wanted)]
        for name in sorted(wanted & set(locked)):
            file = locked[name]
            if snapshot.sizes.get(name) != file.bytes:
                drift.append(f"{printable(name)}: {file.bytes} bytes are locked, found {snapshot.sizes.get(name)}")
            elif (found := _hash_like(snapshot, name, file.hash)) != file.hash:
                drift.append(f"{printable(name)}: {printable(file.hash)} is locked, found {printable(found)}")
        self._refuse(drift, "The model has changed: make a new lock if that is meant.")

    def _refuse(self, drift: list[str], advice: str) -> None:
        if drift:
            more = f" (and {len(drift) - 5} more)" if len(drift) > 5 else ""
            raise LockMismatch(f"{printable(self.model)} is not what is locked: {'; '.join(drift[:5])}{more}. {advice}")


def make_lock(model: Any, **options: Any) -> Lock:
    """Return the lock of a model as it is now. Nothing is fetched where the hub lists hashes.

    Args:
        model: A hub id, or a folder.
        **options: Those of `resolve`.

    Raises:
        ModelScopeExtError: As `resolve`.
    """
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.plan import WHERE, plan_of
    from modelscope_ext.models.resolve import resolve

    snapshot = open_snapshot(model, **{name: options[name] for name in WHERE if name in options})
    resolution = resolve(snapshot, **{k: v for k, v in options.items() if k not in WHERE or k == "limits"})
    source = {key: value for key, value in snapshot.source.to_dict().items() if value is not None}
    files = tuple(LockedFile(f.name, f.bytes, _hash_of(snapshot, f.name)) for f in plan_of(resolution, snapshot).files)
    return Lock(source, files, _decision(resolution), dict(_versions(resolution)))


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Return what a lock file says.

    Raises:
        ConfigError: It cannot be read, or is no lock of this form.
        OptionError: `path` is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise OptionError(f"lock={printable(repr(path))}: expected the path of a lock file")
    from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
    from modelscope_ext.safety.reading import parse_json

    name = printable(os.fspath(path))
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"lock={name}: cannot be read ({printable(error.strerror)})") from error
    limits = Limits(json_bytes=_MOST_BYTES, nodes=max(DEFAULT_LIMITS.nodes, 2_000_000))
    document = parse_json(data, file=name, limits=limits)
    try:
        return _of_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"lock={name}: no lock file of this form ({printable(str(error))}). Expected what `modelscope-ext lock"
            " MODEL -o FILE` writes."
        ) from error


def _of_document(document: Any) -> Lock:
    if document["lock_version"] != _VERSION:
        raise ValueError(f"lock_version {document['lock_version']}, expected {_VERSION}")
    files = tuple(LockedFile(_text(f["name"]), _count(f["bytes"]), _text(f["hash"])) for f in document["files"])
    source = {_text(key): value if value is None else _text(value) for key, value in document["source"].items()}
    if "hub" not in source or not ({"repo", "path"} & set(source)):
        raise ValueError("source: expected hub and repo, or path")
    libraries = {_text(name): _text(version) for name, version in document["libraries"].items()}
    decision = dict(document["decision"])
    return Lock(source, files, decision, libraries, _VERSION, _text(document.get("made_by", "")))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected bytes, found {value!r:.40}")
    return value


def apply_lock(model: Any, keywords: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model and the keywords of a load that the keyword `lock` pins; unchanged where there is none.

    Raises:
        LockMismatch: The call asks for another model, revision, backend or variant than the lock names.
        ConfigError, OptionError: See `read_lock`.
    """
    given = dict(keywords)
    path = given.pop("lock", None)
    if path is None:
        return model, given
    lock = path if isinstance(path, Lock) else read_lock(path)
    folder = isinstance(model, str | os.PathLike) and Path(model).is_dir()
    if model is None:
        model = lock.model
    elif not folder and str(model).partition(":")[2] != lock.source.get("repo") and model != lock.source.get("repo"):
        raise LockMismatch(f"model: {printable(lock.model)} is locked, and the call asks for {printable(str(model))}.")
    pinned = {"variant": lock.decision.get("variant"), "backend": lock.decision.get("backend")}
    if not folder and lock.source.get("hub") != "local":
        pinned |= {"hub": lock.source.get("hub"), "subfolder": lock.source.get("subfolder")}
        pinned["revision"] = lock.source.get("commit") or lock.source.get("revision")
    revision = given.pop("model_revision", None) or given.get("revision")
    known = revision in (lock.source.get("revision"), lock.source.get("commit"))
    given["revision"] = None if known else revision
    for name, value in pinned.items():
        asked = given.get(name)
        if asked is not None and asked != value and not (name in ("hub", "backend") and _same(name, asked, value)):
            raise LockMismatch(f"{name}: {printable(value)} is locked, and the call asks for {printable(str(asked))}.")
        given[name] = value
    lock.check_libraries()
    return model, {**given, "lock": lock}


def _same(name: str, asked: Any, value: Any) -> bool:
    if name == "hub":
        from modelscope_ext.hub.hubs import name_of

        return bool(name_of(asked) == value)
    from modelscope_ext.models.backends import canonical_backend

    return bool(canonical_backend(asked) == value)


def _decision(resolution: Resolution) -> dict[str, Any]:
    weights = resolution.weights
    return {
        "framework": resolution.framework,
        "backend": resolution.backend,
        "tasks": list(resolution.tasks),
        "model_type": resolution.model_type,
        "format": weights.format,
        "variant": weights.variant,
    }


def _versions(resolution: Resolution) -> Iterator[tuple[str, str]]:
    """Yield the installed versions of what the load needs; of what is missing there is none to hold on to."""
    from modelscope_ext.utils.distributions import installed
    from modelscope_ext.utils.requirement import check_requirements

    names = {check.name for check in check_requirements(resolution.requirement_dependency) if check.name}
    for name in sorted(names):
        found = installed(name)
        if found is not None:
            yield found.name, found.version


def _hash_of(snapshot: Snapshot, name: str) -> str:
    """Return the hash that the hub lists, or else the sha256 of the bytes."""
    known = _listed(snapshot, name)
    return known if known is not None else _computed(snapshot, name, "sha256")


def _hash_like(snapshot: Snapshot, name: str, wanted: str) -> str:
    """Return the hash of the kind of `wanted`: as listed where the hub lists that kind."""
    known, kind = _listed(snapshot, name), wanted.partition(":")[0]
    return known if known is not None and known.startswith(f"{kind}:") else _computed(snapshot, name, kind)


def _listed(snapshot: Snapshot, name: str) -> str | None:
    if snapshot.remote is None:
        return None
    from modelscope_ext.hub.digest import content_id

    known = content_id(snapshot.remote.files[name])
    return None if known is None else f"{'sha256' if len(known) == 64 else 'git'}:{known}"


def _computed(snapshot: Snapshot, name: str, kind: str) -> str:
    size = snapshot.sizes[name]
    digest = hashlib.sha256() if kind != "git" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with snapshot.open(name) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return f"{'git' if kind == 'git' else 'sha256'}:{digest.hexdigest()}"
