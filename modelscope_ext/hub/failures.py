"""What went wrong with a hub, as an error that names hub, repo and revision, and says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import HubError, ModelNotFound, ModelScopeExtError
from modelscope_ext.hub.retry import Unusable, after_of, status_of
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.hub.protocol import Hub

__all__ = ["Asked", "denied", "failure", "no_repo", "no_revision", "not_cached"]


@dataclass(frozen=True)
class Asked:
    """What a hub was asked for.

    Attributes:
        hub: The hub.
        repo: ``"org/name"``.
        revision: Branch, tag or commit; None for the default branch.
        endpoint: The address of the hub that was asked.
        file: The file, where it was one.
    """

    hub: Hub
    repo: str
    revision: str | None = None
    endpoint: str = ""
    file: str | None = None

    @property
    def address(self) -> str:
        """The endpoint as it may be shown: without user and password."""
        return printable(re.sub(r"//[^/@\s]*@", "//***@", self.endpoint), 200)

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        where = f" ({self.address})" if self.endpoint else ""
        what = f": {printable(self.file)}" if self.file else ""
        return f"{self.hub.title}{where}: {printable(self.repo)}{printable(at)}{what}"


def no_repo(asked: Asked, known: Iterable[str] = ()) -> ModelNotFound:
    """Return the error for a repo that does not exist, or is hidden from who asks.

    Args:
        asked: What was asked for.
        known: Ids in the client's cache, for a near miss.
    """
    others = [prefix for prefix in ("ms", "hf", "om") if prefix != asked.hub.prefix]
    elsewhere = " or ".join(f"{prefix}:{printable(asked.repo)}" for prefix in others)
    return ModelNotFound(
        f"{asked}: there is no such model, or it is private.{_near(asked.repo, known)} Check the name; if it is "
        f"private, {asked.hub.login}. On another hub it would be {elsewhere}."
    )


def no_revision(asked: Asked, known: Iterable[str] = ()) -> ModelNotFound:
    """Return the error for a branch, tag or commit that does not exist; `known` are those that do."""
    there = sorted(known)
    has = f" There are: {listing(map(printable, there))}." if there else ""
    return ModelNotFound(
        f"{asked}: the model has no such branch, tag or commit.{did_you_mean(asked.revision or '', there)}{has}"
    )


def denied(asked: Asked, *, gated: bool = False) -> HubError:
    """Return the error for a repo that exists but is not for who asks; it is marked as `refused`."""
    page = f"{asked.address}/{asked.repo}" if asked.endpoint else "its page"
    todo = f"accept its terms at {page} and {asked.hub.login}" if gated else asked.hub.login
    what = "the model is gated: its owner asks for consent" if gated else "access was denied"
    error = HubError(f"{asked}: {what}. To get it, {todo}.")
    error.refused = True
    return error


def not_cached(asked: Asked, known: Iterable[str] = ()) -> ModelNotFound:
    """Return the error for what is not here while no socket may be opened."""
    return ModelNotFound(
        f"{asked}: not in the cache, and this is offline.{_near(asked.repo, known)} Fetch it once with the network: "
        f"leave out local_files_only=True, and unset HF_HUB_OFFLINE and MODELSCOPE_EXT_OFFLINE."
    )


def failure(error: BaseException, asked: Asked) -> ModelScopeExtError:
    """Return the error for whatever a client or a connection raised; the caller chains it.

    Nothing that a stranger wrote (an answer's body) is quoted, and no token can be: of an exception only its kind is.
    """
    if isinstance(error, ModelScopeExtError):
        return error
    status, wait = status_of(error), after_of(error)
    if status in (401, 403):
        return denied(asked, gated=_header(error, "X-Error-Code") == "GatedRepo")
    if status == 404 and asked.file:
        return HubError(f"{asked}: listed, but not there (404). The model may have changed a moment ago: ask again.")
    if status == 404:
        return no_repo(asked)
    if status == 429:
        when = f" It asks to wait {wait:.0f} seconds." if wait is not None else ""
        return HubError(f"{asked}: too many requests (429).{when} Wait, or {asked.hub.login} for a higher limit.")
    if status is not None:
        return HubError(f"{asked}: the hub failed ({status}). Ask again later.")
    if isinstance(error, Unusable):
        return HubError(f"{asked}: {printable(str(error))}; asked several times. Nothing of it was used.")
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return HubError(f"{asked}: no answer in time ({printable(str(error))}). {_CONNECTION}")
    kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    if not isinstance(error, OSError) and isinstance(error, ValueError | TypeError | AttributeError | LookupError):
        return HubError(f"{asked}: the hub's answer could not be understood ({printable(kind)}).")
    return HubError(f"{asked}: could not be reached ({printable(kind)}). {_CONNECTION}")


def _header(error: BaseException, name: str) -> str | None:
    headers: Any = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None) or {}
    found = headers.get(name) or headers.get(name.lower())
    return str(found) if found else None


_CONNECTION = (
    "Check the connection, the proxy and the hub's endpoint; local_files_only=True takes what is in the cache."
)


def _near(repo: str, known: Iterable[str]) -> str:
    return did_you_mean(repo, known)
