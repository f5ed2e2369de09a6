"""What is installed, read from the names of the metadata folders on `sys.path`; no package is imported.

`importlib.metadata` answers the same questions and costs 25 ms to import, a quarter of what `inspect` may take. The
installer's own records are enough: a folder `<name>-<version>.dist-info` and in it `entry_points.txt` (the PyPA
specifications "Recording installed projects" and "Entry points"). Where `sys.path` holds more than folders, the
standard library is asked after all.

The working directory is never searched: it may be a stranger's model folder with a planted ``x.dist-info``.
"""

# ruff: noqa: PTH110, PTH113, PTH116, PTH118, PTH120 - sys.path holds strings, and this runs at every start
from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["Distribution", "EntryPoint", "canonical_name", "distributions", "entry_points", "installed", "requires"]

_SUFFIXES = (".dist-info", ".egg-info")
_FOLDER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)-(?P<version>\d[^-]*)(-py\d[\d.]*)?\.(dist|egg)-info\Z")
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Distribution(Record):
    """One installed distribution.

    Attributes:
        name: Its normalised name, e.g. ``"sentence-transformers"``.
        version: As recorded by the installer, e.g. ``"2.13.0+cpu"``.
        path: The metadata folder; empty when only the standard library can read it.
    """

    name: str
    version: str
    path: str = ""


@dataclass(frozen=True)
class EntryPoint(Record):
    """One line of an installed package's `entry_points.txt`.

    Attributes:
        group: E.g. ``"modelscope_ext.models"``.
        name: Left of the equals sign.
        value: ``"pkg.mod"`` or ``"pkg.mod:Class"``.
        package: Name and version of the package, e.g. ``"acme-models 1.2"``.
    """

    group: str
    name: str
    value: str
    package: str


def canonical_name(name: str) -> str:
    """Return the normalised name of a distribution (PEP 503).

    Example:
        >>> canonical_name("Sentence_Transformers")
        'sentence-transformers'
    """
    return _SEPARATORS.sub("-", name).lower()


def installed(name: str) -> Distribution | None:
    """Return the installed distribution of that name in any spelling, or None."""
    return distributions().get(canonical_name(name))


def distributions() -> Mapping[str, Distribution]:
    """Return all installed distributions by normalised name; the first on `sys.path` counts, as in an import.

    The answer is kept until a folder of `sys.path` changes, so that an installation is seen at once.
    """
    global _state
    key = _stamps()
    state = _state
    if state is None or state[0] != key:
        table: dict[str, Distribution] = {}
        for folder, _ in key:
            for distribution in _scan(folder):
                table.setdefault(distribution.name, distribution)
        for distribution in _others():
            table.setdefault(distribution.name, distribution)
        state = _state = (key, MappingProxyType(table))
    return state[1]


def entry_points(prefix: str = "modelscope_ext.") -> tuple[EntryPoint, ...]:
    """Return the entry points of installed packages whose group starts with `prefix`, in a fixed order."""
    global _points
    table = distributions()
    if _points is not None and _points[0] is table and _points[1] == prefix:
        return _points[2]
    marker = f"[{prefix}".encode()
    found: list[EntryPoint] = []
    for distribution in table.values():
        text = _read(distribution, "entry_points.txt")
        if marker in text:
            package = f"{distribution.name} {distribution.version}"
            found += [
                EntryPoint(group, name, value, package)
                for group, name, value in _lines(text.decode("utf-8", "replace"))
                if group.startswith(prefix)
            ]
    points = tuple(sorted(found, key=lambda point: (point.group, point.name, point.package)))
    _points = (table, prefix, points)
    return points


def requires(distribution: Distribution) -> tuple[str, ...]:
    """Return the ``Requires-Dist`` strings of an installed distribution, as written."""
    text = _read(distribution, "METADATA") or _read(distribution, "PKG-INFO")
    head = text.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n", 1)[0]
    return tuple(line[14:].strip() for line in head.splitlines() if line.lower().startswith("requires-dist:"))


_LIBRARY = os.path.dirname(os.__file__)
#: The standard library's own places on `sys.path`: nothing is installed into them.
_FIXED = frozenset(
    (_LIBRARY, os.path.join(_LIBRARY, "lib-dynload"),
     os.path.join(os.path.dirname(_LIBRARY), f"python{sys.version_info[0]}{sys.version_info[1]}.zip"))
)  # fmt: skip

#: The folders of `sys.path` with their times of change, and what was found in them.
_state: tuple[tuple[tuple[str, int], ...], Mapping[str, Distribution]] | None = None


#: The last answer of `entry_points`, with what it was read from.
_points: tuple[Mapping[str, Distribution], str, tuple[EntryPoint, ...]] | None = None


def _stamps() -> tuple[tuple[str, int], ...]:
    """Return the folders of `sys.path` but the working directory, with their times of change."""
    found, here = [], None
    for folder in (".", *dict.fromkeys(sys.path)):
        if not folder:  # the working directory
            continue
        if folder in _FIXED:
            found.append((folder, 0))
            continue
        try:
            status = os.stat(folder)
        except OSError:
            continue
        place = (status.st_ino, status.st_dev)
        if folder == ".":
            here = place
        elif place != here:
            found.append((folder, status.st_mtime_ns))
    return tuple(found)


def _scan(folder: str) -> Iterator[Distribution]:
    """Yield what is installed in one folder of `sys.path`."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIXES))
    except OSError:
        return  # an archive, or not ours to read
    for name in names:
        path = os.path.join(folder, name)
        match = _FOLDER.match(name)
        if match:
            # An interrupted removal leaves the empty folder behind; an egg's metadata may be a single file.
            if not name.endswith(".dist-info") or os.path.exists(os.path.join(path, "METADATA")):
                yield Distribution(canonical_name(match["name"]), match["version"], path)
        elif name.endswith(".egg-info"):
            version = re.search(rb"^Version:\s*(\S+)", _bytes(os.path.join(path, "PKG-INFO")), re.MULTILINE)
            if version:
                yield Distribution(canonical_name(name[:-9]), version[1].decode("ascii", "replace"), path)


def _others() -> Iterator[Distribution]:
    """Yield what only the standard library's finders know: archives on `sys.path` and finders of other tools."""
    archives = [folder for folder in sys.path if folder and os.path.isfile(folder)]
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions") and not _known(finder)]
    if archives or finders:
        from importlib import metadata

        groups = [metadata.distributions(path=archives)] if archives else []
        groups += [finder.find_distributions() for finder in finders]
        for group in groups:
            for one in group:
                yield Distribution(canonical_name(one.metadata["Name"]), one.version)


def _known(finder: object) -> bool:
    """Whether `finder` only reads the folders of `sys.path`: the standard library's own, and its backport's."""
    return (getattr(finder, "__module__", None) or "").startswith(("_frozen_importlib", "importlib"))


def _read(distribution: Distribution, name: str) -> bytes:
    if distribution.path:
        return _bytes(os.path.join(distribution.path, name))
    from importlib import metadata

    return (metadata.distribution(distribution.name).read_text(name) or "").encode()


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield group, name and value of each line of an `entry_points.txt`."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield group, name.strip(), value.partition("[")[0].strip()
