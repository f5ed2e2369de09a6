"""Step 5 of 6, gate A: the Python that a model's files ask to run: which files that would be, and their digest.

Imports inside the folder are followed by the text of relative imports, as transformers does it; nothing is parsed,
compiled or imported here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelscope_ext.errors import RemoteCodeRefused
from modelscope_ext.safety.grants import NO_REMOTE_CODE, Grants
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = ["CodeRequest", "code_digest", "code_files", "module_file", "refuse_code"]

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+\.([\w.]*)[ \t]+import[ \t]+\(?([\w, \t]*)|import[ \t]+\.([\w.]+))", re.MULTILINE
)
_MOST_FILES = 200
_SHOWN = 3


@dataclass(frozen=True)
class CodeRequest:
    """One place in a model's files that asks for its Python to be run.

    Attributes:
        file: The metadata file.
        field: The dotted key in it.
        value: What stands there.
        module: The Python file it leads to; None where it names none.
    """

    file: str
    field: str
    value: str
    module: str | None = None

    @property
    def names_file(self) -> bool:
        """Whether it names a file of this model: not a mere wish for trust, nor another source (gate A's redirects)."""
        return self.field.rpartition(".")[2] != "trust_remote_code" and "--" not in self.value


def module_file(reference: str, names: Iterable[str], folder: str = "") -> str | None:
    """Return the file inside the model that ``module.Class`` or ``module`` would import, or None.

    Example:
        >>> module_file("evil.Model", {"evil.py"}), module_file("os.system", {"evil.py"})
        ('evil.py', None)
    """
    parts = reference.split(".")
    prefix = f"{folder}/" if folder else ""
    for end in range(len(parts), 0, -1):
        path = prefix + "/".join(parts[:end])
        for name in (f"{path}.py", f"{path}/__init__.py"):
            if name in names:
                return name
    return None


def code_files(snapshot: Snapshot, start: Iterable[str]) -> tuple[str, ...]:
    """Return the Python files in `start` and those they import from the folder, sorted."""
    found: set[str] = set()
    todo = [name for name in start if name in snapshot]
    while todo and len(found) < _MOST_FILES:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _imported(snapshot, name)
    return tuple(sorted(found))


def _imported(snapshot: Snapshot, name: str) -> list[str]:
    if not snapshot.has_text(name):
        return []
    text = snapshot.read(name)
    folder = name.rpartition("/")[0]
    out = []
    for dotted, imported, plain in _IMPORT.findall(text):
        path = (dotted or plain).decode()
        at = folder
        while path.startswith("."):  # each further dot is one folder up
            path, at = path[1:], at.rpartition("/")[0]
        modules = [path] if path else [part.strip().split(" ")[0] for part in imported.decode().split(",")]
        out += [hit for module in modules if module and (hit := module_file(module, snapshot.sizes, at))]
    return out


def code_digest(snapshot: Snapshot, names: Iterable[str]) -> str | None:
    """Return the sha256 that stands for the bytes of `names`; None for no files, or where their bytes are not here.

    Of one file it is that file's sha256. Of several it is the sha256 of the lines ``<sha256>  <name>`` in the order of
    the names, as ``sha256sum`` prints them.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> code_digest(Snapshot.from_mapping({"a.py": b""}), ["a.py"])[:8]
        'e3b0c442'
    """
    sums = [(_sha256(snapshot, name), name) for name in sorted(names)]
    if not sums or not all(digest for digest, _ in sums):
        return None
    if len(sums) == 1:
        return sums[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in sums).encode()).hexdigest()


def _sha256(snapshot: Snapshot, name: str) -> str | None:
    if snapshot.has_text(name):
        return hashlib.sha256(snapshot.read(name)).hexdigest()
    return snapshot.hashes.get(name)


def refuse_code(requests: list[CodeRequest], snapshot: Snapshot, grants: Grants) -> None:
    """Return only if the caller permits exactly this code.

    Raises:
        RemoteCodeRefused: Not permitted, permitted for other bytes, revoked by the environment, or not in the folder.
    """
    first = requests[0]
    files = code_files(snapshot, [request.module for request in requests if request.module])
    digest = code_digest(snapshot, files)
    source = str(snapshot.source)
    head, grant = _head(first, source), "trust_remote_code"
    if grants.revoked:
        why, grant = f" {NO_REMOTE_CODE} is set, which no argument overrules.", ""
    elif not grants.trust_remote_code:
        why = f" Would run: {_shown(files, digest)}. Read it, then pass trust_remote_code=True."
        if not files:
            why = " If you trust whoever wrote it, pass trust_remote_code=True."
    elif grants.code_sha256 is not None and grants.code_sha256 != digest:
        grant = "code_sha256"
        why = f" Its digest differs: {digest or 'not known here'}; code_sha256 permits {grants.code_sha256}."
    else:
        lost = next((request for request in requests if request.module is None and request.names_file), None)
        if lost is None:
            return
        first, grant = lost, ""
        head = _head(lost, source)
        why = " There is no such file in the folder, so there is nothing that could be permitted."
    raise RemoteCodeRefused(head + why, source=source, file=first.file, field=first.field, grant=grant or None)


def _head(request: CodeRequest, source: str) -> str:
    what = f"{printable(request.file)}: {printable(request.field)} names {printable(request.value)}."
    return f"Refused to run code from {printable(source)} (nothing was executed). {what}"


def _shown(files: tuple[str, ...], digest: str | None) -> str:
    names = ", ".join(printable(name, 60) for name in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return f"{names}{more} sha256:{digest or '(its bytes are not here yet)'}"
