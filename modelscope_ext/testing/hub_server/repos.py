"""Repositories as a hub keeps them: commits, branches and tags, and who may see them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from modelscope_ext.testing.hub_server.content import Content, Data

__all__ = ["DEFAULT_BRANCH", "HUBS", "Commit", "Entry", "Repo", "Store", "is_large", "iso", "tree"]

HUBS = ("huggingface", "modelscope", "openmind")
#: As Hugging Face and Modelers call it; ModelScope calls the same branch ``master``.
DEFAULT_BRANCH = "main"
_EPOCH = 1_700_000_000  # commits carry times, and a second server of the same files should give the same ones
_LFS_SUFFIXES = (
    ".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".onnx", ".ot", ".pdparams", ".pt", ".pth", ".safetensors",
    ".tflite", ".zip",
)  # fmt: skip
_LFS_SIZE = 10 << 20


def iso(seconds: int) -> str:
    """Return a time as the hubs write it.

    Example:
        >>> iso(1_700_000_000)
        '2023-11-14T22:13:20.000Z'
    """
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def is_large(name: str, size: int) -> bool:
    """Return whether a hub keeps such a file by Git LFS.

    Example:
        >>> is_large("model.safetensors", 10), is_large("config.json", 10), is_large("tokenizer.json", 11 << 20)
        (True, False, True)
    """
    return size > _LFS_SIZE or (size > 0 and name.endswith(_LFS_SUFFIXES))


@dataclass(frozen=True)
class Entry:
    """One line of a listing. It says what the content is, unless a fault makes it lie."""

    name: str
    content: Content
    size: int
    lfs: bool
    sha256: str | None = None

    @property
    def digest(self) -> str:
        """The sha256 that the listing gives, in hex."""
        return self.sha256 or self.content.sha256

    @property
    def oid(self) -> str:
        """The id of the git blob: of the LFS pointer for a large file."""
        return Data(self.content.pointer).blob_id if self.lfs else self.content.blob_id

    @property
    def etag(self) -> str:
        """What Hugging Face and Modelers name a cached copy by."""
        return self.digest if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    """One state of a repo."""

    id: str
    files: Mapping[str, Content]
    message: str
    parent: str | None
    number: int
    #: The commit that last changed each file: its id, and when it was made.
    changed: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False, compare=False)
    trees: dict[tuple[str, bool], Sequence[Entry | str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def seconds(self) -> int:
        """When it was made, in seconds since 1970."""
        return _EPOCH + 60 * self.number

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The files in the order of the listing."""
        return tuple(Entry(n, c, c.size, is_large(n, c.size)) for n, c in self.files.items())

    def entry(self, name: str) -> Entry | None:
        """Return one file."""
        if (content := self.files.get(name)) is None:
            return None
        return Entry(name, content, content.size, is_large(name, content.size))


@dataclass
class Repo:
    """One repository.

    Attributes:
        id: ``"org/name"``.
        private: Only holders of one of `tokens` see it.
        gated: Everybody sees what it holds, only holders of one of `tokens` get its files.
        tokens: See `private` and `gated`; they may also write.
        hubs: Where it is served.
        info: Further keys of Hugging Face's description, e.g. ``{"pipeline_tag": "fill-mask"}``.
    """

    id: str
    private: bool = False
    gated: bool = False
    tokens: Collection[str] = ()
    hubs: Collection[str] = HUBS
    info: Mapping[str, Any] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        """Return the commit of a branch, tag, pull request or commit id."""
        for table in (self.branches, self.tags, self.pulls):
            if revision in table:
                return self.commits[table[revision]]
        return self.commits.get(revision)

    def commit(self, branch: str, files: Mapping[str, Content], message: str = "Update the files") -> Commit:
        """Make a commit on a branch, new or old, or on a pull request, and return it."""
        table = self.pulls if branch.startswith("refs/pr/") else self.branches
        parent, number = table.get(branch), len(self.commits)
        held = (f"{name!r} {content.label()}" for name, content in sorted(files.items()))
        text = "\n".join([self.id, branch, str(parent), str(number), message, *held])
        name_of_it = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        made = Commit(name_of_it, dict(sorted(files.items())), message, parent, number)
        before = self.commits[parent] if parent is not None else None
        for name, content in made.files.items():
            old = before.files.get(name) if before is not None else None
            same = old is not None and (old is content or (old.size, old.sha256) == (content.size, content.sha256))
            made.changed[name] = before.changed[name] if same and before is not None else (made.id, made.seconds)
        self.commits[made.id] = made
        table[branch] = made.id
        return made

    def admits(self, token: str | None) -> bool:
        """Return whether the holder of `token` may read the files, and write."""
        return token in self.tokens if token else False


class Store:
    """All repositories, and the large files that were uploaded but not committed yet."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repos: dict[str, Repo] = {}
        self.uploads: dict[str, Content] = {}

    def find(self, repo: str, hub: str) -> Repo | None:
        """Return a repository that is served by `hub`."""
        found = self.repos.get(repo)
        return found if found is not None and hub in found.hubs else None

    def blob(self, sha256: str) -> Content | None:
        """Return an uploaded or committed large file by its sha256."""
        if (found := self.uploads.get(sha256)) is not None:
            return found
        every = (e for r in self.repos.values() for c in r.commits.values() for e in c.entries if e.lfs)
        return next((entry.content for entry in every if entry.digest == sha256), None)


def tree(entries: Iterable[Entry], folder: str, *, recursive: bool) -> list[Entry | str]:
    """Return the files below a folder, each folder (a str) before what it holds.

    Args:
        entries: All files.
        folder: Below which folder, ``""`` for the root.
        recursive: Also what lies deeper.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    rows: list[Entry | str] = []
    seen = set()
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        parts = entry.name[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            above = prefix + "/".join(parts[:depth])
            if above not in seen:
                seen.add(above)
                rows.append(above)
        if recursive or len(parts) == 1:
            rows.append(entry)
    return rows
