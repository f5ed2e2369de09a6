"""What a hub is to us: a listing with sizes and hashes, ranges of bytes, and a look into its client's own cache.

One file per hub implements `Hub` (`modelscope_`, `huggingface_`, `openmind_`). `locate` chooses among them, `snapshot`
makes a `Snapshot` of a `Listing`, `download` fetches an exact list of files. Nothing else talks to a hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils.record import Record

__all__ = ["Access", "Address", "Hub", "HubFile", "Listing"]


@dataclass(frozen=True)
class Access:
    """How the caller wants hubs to be asked.

    Attributes:
        token: For the hub that is asked; None takes the one its own client stored, or its variable, and "" none.
        cache_dir: Stands in for the client's own cache; None is the client's own, so that others find our files.
        offline: Open no socket: answer from the cache.
        deadline: Seconds that one operation (a listing, the reading of metadata) may take, retries included; None for
            the usual two minutes. A download has none: it goes on as long as bytes come.
        limits: What is too large to be listed or read.
    """

    token: str | None = field(default=None, repr=False)
    cache_dir: Path | None = None
    offline: bool = False
    deadline: float | None = None
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True)
class HubFile(Record):
    """One file of a listing.

    Attributes:
        name: Relative posix path, checked by `safety.paths`.
        size: Bytes.
        sha256: Of its content, in hex, where the hub's listing gives it.
        etag: What the hub's client names its cached copy by (Hugging Face: git oid or sha256).
    """

    name: str
    size: int
    sha256: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Listing(Record):
    """All files of one repo at one commit.

    Attributes:
        hub: The hub's name, e.g. ``"huggingface"``.
        repo: ``"org/name"``.
        revision: The branch or tag that was asked for, as this hub spells it.
        commit: What all later requests are pinned to; the revision itself on a hub that has no commits.
        files: Sorted by name.
        left_out: Listed names that are no file names on some system, each with why; such a file is never fetched.
        offline: It was read from the cache: nothing is known of files that are not there.
    """

    hub: str
    repo: str
    revision: str
    commit: str
    files: tuple[HubFile, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    offline: bool = False


@dataclass(frozen=True)
class Address:
    """Where one file can be fetched by HTTP, pinned to a commit.

    Attributes:
        url: With its query.
        headers: What the hub wants to see, the token among it: never logged, never sent to another host.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Hub(Protocol):
    """One hub, through its official client. Instances hold no state of a repo and are safe to share by threads."""

    #: ``"modelscope"``, ``"huggingface"``, ``"openmind"``.
    name: str
    #: ``"ms"``, ``"hf"``, ``"om"``: of ``ms:org/name``.
    prefix: str
    #: As people write it: ``"ModelScope"``.
    title: str
    #: Its default branch: ``"main"`` or ``"master"``, which are one name to the caller.
    default: str
    #: The distribution to install for it, e.g. ``"huggingface-hub"``.
    requires: str
    #: The command that installs it, with all that is used here: ``'pip install "modelscope-ext[hub]"'``.
    install: str
    #: How to log in, as the end of a sentence: ``"log in with `ms login`"``.
    login: str

    def listing(self, repo: str, revision: str | None, access: Access) -> Listing:
        """Return what the hub lists, or offline what its client's cache holds.

        Args:
            repo: ``"org/name"``.
            revision: Branch, tag or commit; None for the default branch. ``main`` and ``master`` are one name.
            access: How to ask.

        Raises:
            ModelNotFound: There is no such repo or revision, or offline it is not in the cache.
            HubError: Hub, repo, revision and what to do are in the message.
            OptionError, PathEscapeRefused, MalformedMetadata: An id or revision that can be none, or listed names or
                sizes that can be none.
            LimitExceeded: More files than `Limits.files` allows.
            MissingRequirement: The hub's client is not installed.
        """
        ...

    def address(self, listing: Listing, file: HubFile, access: Access) -> Address:
        """Return where the body of `file` is; no request is made."""
        ...

    def signed(self, access: Access) -> Access:
        """Return `access` with the token that is sent where the caller named none, so that it is looked up once."""
        ...

    def cached(self, listing: Listing, file: HubFile, access: Access) -> Path | None:
        """Return a complete copy in the client's cache, or None; no request.

        Its size is that of the listing; what its bytes are is for the caller to check (`hub.digest.verify`).
        """
        ...

    def folder(self, listing: Listing, access: Access) -> Path:
        """Return the folder in the client's cache that holds this commit's files, whether it exists or not."""
        ...

    def publish(self, listing: Listing, file: HubFile, body: Path, access: Access) -> Path:
        """Move `body`, complete and verified, to where the client looks for `file`, at once or not at all."""
        ...

    def settle(self, listing: Listing, access: Access) -> None:
        """Write what the client needs to find this revision offline (Hugging Face: ``refs/<revision>``)."""
        ...

    def known(self, access: Access) -> tuple[str, ...]:
        """Return the ids of the repos in the client's cache."""
        ...

    def options(self) -> Mapping[str, Any]:
        """Return endpoint and cache folder as they are now, for `modelscope-ext env`; no token."""
        ...
