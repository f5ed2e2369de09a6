"""Step 2 of 6: the names, sizes and bounded texts of one source at one commit."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from modelscope_ext.errors import ModelNotFound, OptionError
from modelscope_ext.metadata.walk import fingerprint, walk
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.paths import check_names
from modelscope_ext.safety.reading import open_inside, parse_json, parse_yaml, read_inside, text_limit, too_large
from modelscope_ext.utils.record import Record, dataclass
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Reader", "Snapshot", "Source"]

#: Reads bytes of one file: name, first byte, number of bytes at most.
Reader = Callable[[str, int, int], bytes]


@dataclass(frozen=True)
class Source(Record):
    """Where a model comes from.

    Attributes:
        hub: ``"local"``, ``"mapping"`` (made in memory), or the hub's name.
        repo: ``"org/name"`` on that hub.
        path: The folder, as the caller named it.
        revision: The branch or tag the caller asked for.
        commit: The commit all files are of.
        subfolder: The folder of the repo that is the model, on a hub; of a local folder it is part of `path`.

    Example:
        >>> str(Source("local", path="./m")), str(Source("modelscope", repo="org/x", revision="v1"))
        ('./m', 'org/x@v1')
    """

    hub: str
    repo: str | None = None
    path: str | None = None
    revision: str | None = None
    commit: str | None = None
    subfolder: str | None = None

    def __str__(self) -> str:
        name = self.path or "/".join(filter(None, (self.repo, self.subfolder))) or f"({self.hub})"
        return f"{name}@{self.revision}" if self.revision and not self.path else name


class Snapshot:
    """Names, sizes and texts of one source at one commit. Make one with `from_folder` or `from_mapping`.

    It does not change after it was made; texts are read on demand, within `limits`.

    Attributes:
        source: Where it comes from.
        names: Relative posix paths of all files, sorted.
        sizes: Bytes by name.
        hashes: sha256 by name, where a hub's listing gives it.
        links: Targets of symbolic links by name (local folders only).
        odd: Names of pipes, devices and sockets, which are in no other attribute (local folders only).
        findings: What the listing itself shows.
        limits: What is too large to be read.
        remote: Of a repo on a hub, `hub.remote.Remote`: every byte that is read may cost a request. Else None.
        mark: Of a local folder, its `fingerprint` when it was listed. Else None.

    Example:
        >>> snapshot = Snapshot.from_mapping({"config.json": '{"model_type": "bert"}'}, {"model.safetensors": 4096})
        >>> snapshot.names, snapshot.document("config.json")
        (('config.json', 'model.safetensors'), {'model_type': 'bert'})
        >>> snapshot.has_text("model.safetensors")
        False
    """

    def __init__(
        self,
        source: Source,
        sizes: Mapping[str, int],
        reader: Reader,
        *,
        texts: frozenset[str] | None = None,
        hashes: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
        odd: frozenset[str] = frozenset(),
        findings: tuple[Finding, ...] = (),
        folder: str | None = None,
        mark: tuple[object, ...] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        remote: Any = None,
        prefetch: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        self.source = source
        self.names = tuple(sorted(sizes))
        self.sizes: Mapping[str, int] = MappingProxyType(dict(sizes))
        self.hashes: Mapping[str, str] = MappingProxyType(dict(hashes or {}))
        self.links: Mapping[str, str] = MappingProxyType(dict(links or {}))
        self.odd = odd
        self.findings = findings
        self.limits = limits
        self.remote = remote
        self.mark = mark
        self._folder = folder
        self._reader = reader
        self._prefetch = prefetch
        self._texts = texts
        self._documents: dict[str, Any] = {}

    @classmethod
    def from_folder(
        cls, path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, source: Source | None = None
    ) -> Snapshot:
        """Return the Snapshot of a local folder; only names are read now.

        Args:
            path: The folder. Links inside it are listed but followed only where they stay in the model.
            limits: What is too large.
            source: Where it comes from; None is the folder itself.

        Raises:
            ModelNotFound: `path` is no folder, or cannot be listed.
            LimitExceeded: More files than `limits.files`.
            MalformedMetadata: Two file names that Unicode calls the same.
        """
        folder = os.fspath(path)
        origin = source or Source("local", path=folder)
        name_of_it = str(origin)
        seen = walk(folder, limits, source=name_of_it)

        def read(name: str, start: int, length: int) -> bytes:
            return read_inside(
                folder, name, start=start, length=length, limits=limits, source=name_of_it, bases=seen.bases
            )

        return cls(
            origin,
            seen.sizes,
            read,
            links=seen.links,
            odd=frozenset(seen.odd),
            findings=tuple(seen.findings),
            folder=folder,
            mark=seen.mark,
            limits=limits,
        )

    @classmethod
    def from_mapping(
        cls,
        texts: Mapping[str, str | bytes],
        sizes: Mapping[str, int] | None = None,
        *,
        source: Source | None = None,
        hashes: Mapping[str, str] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Snapshot:
        """Return a Snapshot of what is given: the texts that are known and the sizes of all other files.

        Args:
            texts: Contents by name; str is UTF-8. For a weight file the first bytes (its header) are enough.
            sizes: Bytes by name, where they differ from the text's or there is no text.
            source: Where it comes from, if not from memory.
            hashes: sha256 by name.
            limits: What is too large.

        Raises:
            PathEscapeRefused: A name that leads out of the model.
            MalformedMetadata: A name that is no usable file name.
            OptionError: A text that is neither str nor bytes, or a size that is no int.
        """
        contents: dict[str, bytes] = {}
        for name, text in texts.items():
            if not isinstance(text, str | bytes):
                raise OptionError(f"texts[{printable(name)!r}]: expected str or bytes, found {type(text).__name__}.")
            contents[name] = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        known = {name: len(data) for name, data in contents.items()}
        for name, size in (sizes or {}).items():
            if type(size) is not int or size < 0:
                raise OptionError(f"sizes[{printable(name)!r}]: expected bytes as an int, found {printable(size)}.")
            known[name] = size
        origin = source or Source("mapping")
        check_names(known, source=str(origin))

        def read(name: str, start: int, length: int) -> bytes:
            return contents[name][start : start + length]

        return cls(origin, known, read, texts=frozenset(contents), hashes=hashes, limits=limits)

    def within(self, limits: Limits) -> Snapshot:
        """Return the same Snapshot with other limits; itself if they are its own."""
        if limits == self.limits:
            return self
        import copy

        other = copy.copy(self)
        other.limits = limits
        other._documents = {}
        return other

    def without(self, names: Iterable[str]) -> Snapshot:
        """Return the same Snapshot as if it had no files of these names: what else is in its folder.

        Example:
            >>> Snapshot.from_mapping({"config.json": "{}", "adapter_config.json": "{}"}).without(["config.json"]).names
            ('adapter_config.json',)
        """
        gone = frozenset(names)
        return self.only(name for name in self.names if name not in gone)

    def only(self, names: Iterable[str]) -> Snapshot:
        """Return the same Snapshot as if it had no files but those of these names.

        Example:
            >>> Snapshot.from_mapping({"config.json": "{}", "README.md": ""}).only(["config.json"]).names
            ('config.json',)
        """
        import copy

        other, kept = copy.copy(self), frozenset(names)
        other.names = tuple(name for name in self.names if name in kept)
        other.sizes = MappingProxyType({name: size for name, size in self.sizes.items() if name in kept})
        other.links = MappingProxyType({name: target for name, target in self.links.items() if name in kept})
        other._documents = {}
        return other

    @staticmethod
    def fingerprint(path: str | os.PathLike[str]) -> tuple[object, ...] | None:
        """Return what changes whenever a file of the folder changes, or None; see `metadata.walk.fingerprint`."""
        return fingerprint(path)

    @cached_property
    def folder(self) -> Path | None:
        """The local folder, or None."""
        from pathlib import Path

        return Path(self._folder) if self._folder is not None else None

    def __contains__(self, name: object) -> bool:
        return name in self.sizes

    def __repr__(self) -> str:
        return f"<Snapshot of {printable(str(self.source))}: {len(self.names)} files>"

    def has_text(self, name: str) -> bool:
        """Return whether the bytes of `name` are here; a Snapshot made in memory may know a file only by its size."""
        return name in self.sizes and (self._texts is None or name in self._texts)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of one file.

        Args:
            name: One of `names`.
            start: First byte.
            length: Bytes at most. None: to the end, if that is within the limit for texts.

        Raises:
            ModelNotFound: There is no such file, or its bytes are not here.
            LimitExceeded: The whole file was asked for and is too large.
            PathEscapeRefused: The file is a link that leaves the model.
            MalformedMetadata: It is no regular file or cannot be read.
        """
        if not self.has_text(name):
            what = "its bytes are not here" if name in self.sizes else f"there are: {listing(self.names)}"
            raise ModelNotFound(f"No file {printable(name)!r} to read in {printable(str(self.source))}: {what}.")
        if length is not None:
            return self._reader(name, start, length)
        limit = text_limit(name, self.limits)
        if self.sizes[name] - start > limit:
            too_large(name, self.sizes[name], limit, str(self.source))
        data = self._reader(name, start, limit + 1)  # it may have grown since it was listed
        if len(data) > limit:
            too_large(name, len(data), limit, str(self.source))
        return data

    def prefetch(self, names: Iterable[str]) -> None:
        """Have those of `names` that will be read fetched together, where they are far away; else do nothing."""
        if self._prefetch is not None:
            self._prefetch([name for name in names if self.has_text(name)])

    def open(self, name: str) -> BinaryIO:
        """Return an open binary file, checked as in `read`; the caller closes it."""
        if self._folder is None:
            return io.BytesIO(self.read(name, 0, self.sizes.get(name, 0)))
        descriptor, _ = open_inside(self._folder, name, source=self._folder)
        return os.fdopen(descriptor, "rb")

    def document(self, name: str, data: bytes | None = None) -> Any:
        """Return the parsed JSON or YAML file `name`; parsed once.

        Args:
            name: One of `names`.
            data: Its content, if the caller has read it already.

        Raises:
            SafetyError: LimitExceeded or MalformedMetadata with file and line, and what `read` raises.
        """
        if name not in self._documents:
            parse = parse_yaml if name.endswith((".yaml", ".yml")) else parse_json
            text = self.read(name) if data is None else data
            self._documents[name] = parse(text, file=name, limits=self.limits, source=str(self.source))
        return self._documents[name]
