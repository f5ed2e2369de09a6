"""Reading configuration files: bounded, without copies, with `_base_` inheritance that stays inside one folder."""

# Paths stay strings: they are compared as text before anything is opened.
# ruff: noqa: PTH118, PTH119, PTH120, PTH122

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, OptionError, PathEscapeRefused, RedirectRefused
from modelscope_ext.utils import bounded
from modelscope_ext.utils._config.dict import ConfigDict, own
from modelscope_ext.utils._config.errors import ConfigFileError, ConfigFileNotFound, ConfigKeyError
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["BASE_KEY", "FORMATS", "Loaded", "load", "parse", "read", "refuse_trust"]

BASE_KEY = "_base_"
FORMATS = (".py", ".json", ".yaml", ".yml")
MOST_FILES = 64  # bases of bases included
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least: "C:" is a drive


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with everything it inherits.

    Attributes:
        values: The merged values.
        texts: (absolute path, bytes) of each file that was read, the bases first.
    """

    values: ConfigDict
    texts: tuple[tuple[str, bytes], ...]


@dataclass(slots=True)
class _Reading:
    """What one call of `load` carries down to the bases."""

    trusted: bool
    limits: dict[str, Any]
    root: str
    open: list[str]  # the chain of files that are being read, for cycles
    count: int = 0


def refuse_trust(trust_remote_code: object) -> NoReturn:
    """Raise: "False" or 1 is no decision."""
    raise OptionError(f"trust_remote_code={printable(repr(trust_remote_code), 40)}; expected exactly True or False.")


def limits_of(limits: Any) -> dict[str, Any]:
    """Return the keyword arguments of the bounded parsers from an object with the attributes of `safety.Limits`."""
    if limits is None:
        return {}
    names = {"max_bytes": "json_bytes", "max_depth": "depth", "max_nodes": "nodes", "max_digits": "integer_digits"}
    return {ours: getattr(limits, theirs) for ours, theirs in names.items() if hasattr(limits, theirs)}


def read(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file of at most `max_bytes`, whose size is looked at before it is read."""
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise ConfigFileNotFound(_not_found(path)) from error
    except OSError as error:
        raise ConfigFileError(f"{printable(path, 300)}: cannot be read: {error.strerror}.") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder; name the file in it" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ConfigFileError(f"{printable(path, 300)}: expected a configuration file, but it is {kind}.")
        if status.st_size > max_bytes:
            bounded.too_large(f"{status.st_size} bytes", max_bytes, "json_bytes", file=path, source=None)
        data = os.read(handle, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(handle)


def _not_found(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        there = [entry for entry in os.listdir(folder or ".") if entry.endswith(FORMATS)]
    except OSError:
        return f"{printable(path, 300)}: no such file; the folder {printable(repr(folder), 200)} does not exist."
    hint = did_you_mean(name, there) or f" There: {printable(listing(there), 200)}."
    return f"{printable(path, 300)}: no such file.{hint}"


def parse(data: bytes, kind: str, *, file: str, limits: dict[str, Any]) -> Any:
    """Return the values of JSON or YAML `data`: a ConfigDict; an empty YAML file is empty."""
    if kind == ".json":
        values = bounded.parse_json(data, file=file, make_dict=ConfigDict, **limits)
    else:
        values = own(bounded.parse_yaml(data, file=file, scalar_keys=True, **limits))
        if values is None:
            return ConfigDict()
    if not isinstance(values, ConfigDict):
        names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
        found = names.get(type(values), "a number")
        raise MalformedMetadata(
            f"{printable(file)}: the top level is {found}; expected an object ({{...}} in JSON).", file=file
        )
    return values


def load(path: str, *, trusted: bool, limits: Any = None, base_root: str | None = None) -> Loaded:
    """Read the file at the absolute `path` and all its bases.

    Args:
        path: Absolute path; its ending decides the format.
        trusted: Whether `.py` files may run.
        limits: An object with the attributes of `safety.Limits`, or None for the default ones.
        base_root: The folder that bases may come from; None: the folder of `path`.
    """
    kind = os.path.splitext(path)[1]
    if kind not in FORMATS:
        raise ConfigFileError(
            f"{printable(path, 300)}: the ending {printable(repr(kind))} is no format of a configuration; "
            f"expected one of {', '.join(FORMATS)}."
        )
    reading = _Reading(trusted, limits_of(limits), "", [])
    data = read(path, reading.limits.get("max_bytes", bounded.MAX_BYTES))
    values = _values(data, kind, path, reading, None, "")
    if BASE_KEY not in values:
        return Loaded(values, ((path, data),))
    reading.root = base_root if base_root is not None else os.path.dirname(path)
    return _inherit(values, data, path, reading)


def _values(data: bytes, kind: str, path: str, reading: _Reading, field: str | None, by: str) -> ConfigDict:
    if kind != ".py":
        return parse(data, kind, file=path, limits=reading.limits)  # type: ignore[no-any-return]
    from modelscope_ext.utils._config.python import refuse_unless_trusted, run

    refuse_unless_trusted(reading.trusted, data, path, field=field, by=by)
    return ConfigDict(run(bounded.decode_text(data, file=path), path))


def _inherit(values: ConfigDict, data: bytes, path: str, reading: _Reading) -> Loaded:
    """Merge `values` into the bases that they name."""
    from modelscope_ext.utils._config.merge import merge

    bases = values.pop(BASE_KEY)
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list | tuple) or not all(isinstance(base, str) for base in bases):
        raise MalformedMetadata(
            f"{printable(path, 300)}: {BASE_KEY} is {printable(repr(bases), 60)}; expected a path or a list of paths.",
            file=path,
            field=BASE_KEY,
        )
    reading.open.append(os.path.realpath(path))
    inherited, origin, texts = ConfigDict(), dict[Any, str](), list[tuple[str, bytes]]()
    for base in bases:
        loaded = _load_base(base, path, reading)
        for key in loaded.values:
            if key in inherited:
                raise ConfigKeyError(
                    f"{printable(path, 300)}: the key {printable(repr(key))} is in two of its bases, "
                    f"{printable(origin[key])} and {printable(base)}. Set it in one of them."
                )
            origin[key] = base
        inherited.update(loaded.values)
        texts += loaded.texts
    reading.open.pop()
    return Loaded(merge(values, inherited, lists=False), (*texts, (path, data)))


def _load_base(base: str, by: str, reading: _Reading) -> Loaded:
    path = _base_path(base, by, reading)
    if os.path.realpath(path) in reading.open:
        chain = " -> ".join(printable(os.path.basename(file), 60) for file in [*reading.open, path])
        raise MalformedMetadata(f"{printable(by, 300)}: {BASE_KEY} runs in a circle: {chain}.", file=by, field=BASE_KEY)
    reading.count += 1
    if reading.count >= MOST_FILES:
        raise LimitExceeded(
            f"{printable(by, 300)}: {BASE_KEY} draws in more than {MOST_FILES} files.", file=by, field=BASE_KEY
        )
    kind = os.path.splitext(path)[1]
    if kind not in FORMATS:
        raise ConfigFileError(
            f"{printable(by, 300)}: {BASE_KEY} names {printable(repr(base))}; expected one of {', '.join(FORMATS)}."
        )
    try:
        data = read(path, reading.limits.get("max_bytes", bounded.MAX_BYTES))
    except ConfigFileNotFound as error:
        raise ConfigFileNotFound(f"{printable(by, 300)}: {BASE_KEY} names {printable(repr(base))}. {error}") from error
    values = _values(data, kind, path, reading, BASE_KEY, by)
    if BASE_KEY not in values:
        return Loaded(values, ((path, data),))
    return _inherit(values, data, path, reading)


def _base_path(base: str, by: str, reading: _Reading) -> str:
    """Return the path of `base`, which must be a file below the root and no link out of it."""
    if _URL.match(base):
        raise RedirectRefused(
            f"{printable(by, 300)}: {BASE_KEY} names {printable(repr(base))}, which is another source (nothing was "
            f"opened). Copy that file into the folder and name it by its path.",
            file=by,
            field=BASE_KEY,
        )
    path = os.path.normpath(os.path.join(os.path.dirname(by), base))
    strange = "\\" in base or "\0" in base or not base.strip() or re.match(r"[A-Za-z]:", base)
    if strange or not _is_inside(path, reading.root):
        raise PathEscapeRefused(
            f"{printable(by, 300)}: {BASE_KEY} names {printable(repr(base))}, which is outside "
            f"{printable(reading.root, 200)} (nothing was opened). Move it there, or pass base_root= "
            "with the folder that holds all of them.",
            file=by,
            field=BASE_KEY,
            grant="base_root",
        )
    return path


def _is_inside(path: str, folder: str) -> bool:
    """Return whether `path` names a file below `folder` and is no link out of it (a hub cache's own blobs are fine)."""
    root = os.path.realpath(folder)
    return (_is_below(path, folder) or _is_below(path, root)) and _may_link(os.path.realpath(path), root)


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _may_link(real: str, root: str) -> bool:
    """Return whether a file below `root` may really lie at `real`: below it too, or in the same hub cache's blobs."""
    repo, found, _ = root.partition(os.sep + "snapshots" + os.sep)
    return _is_below(real, root) or (bool(found) and _is_below(real, os.path.join(repo, "blobs")))
