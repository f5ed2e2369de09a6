"""Adding one small file to a repo through the hub's own client: as a pull request where the hub has them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import HubError, ModelScopeExtError
from modelscope_ext.hub.client import need
from modelscope_ext.hub.failures import failure
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.hub.remote import Remote

__all__ = ["Pushed", "can_propose", "push"]


@dataclass(frozen=True)
class Pushed(Record):
    """What became of it.

    Attributes:
        url: Where it can be seen.
        proposed: It is a pull request, which the repo's owner has yet to accept; else it is committed.
    """

    url: str
    proposed: bool


def can_propose(hub: str) -> bool:
    """Whether a hub has pull requests."""
    return hub == "huggingface"


def push(remote: Remote, name: str, data: bytes, message: str) -> Pushed:
    """Add or replace the file `name`.

    Args:
        remote: The repo, at the commit that was looked at.
        name: Of the file in the repo.
        data: Its content.
        message: Of the commit.

    Raises:
        HubError: Not permitted, or the hub failed; the message says what to do.
    """
    hub, endpoint = remote.hub, str(remote.hub.options().get("endpoint", "")).rstrip("/")
    if remote.access.offline:
        raise HubError(f"{remote.asked}: nothing can be pushed while this is offline")
    need(hub)
    try:
        with redirect_stdout(sys.stderr):  # ModelScope's client prints what it does
            url = _PUSHES[hub.name](remote, endpoint, name, data, message)
    except ModelScopeExtError:
        raise
    except Exception as error:
        raise failure(error, remote.asked) from error
    return Pushed(printable(url or f"{endpoint}/{remote.listing.repo}", 300), can_propose(hub.name))


def _huggingface(remote: Remote, endpoint: str, name: str, data: bytes, message: str) -> Any:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint, token=remote.access.token, library_name="modelscope-ext")
    try:
        made = api.create_commit(
            remote.listing.repo,
            [CommitOperationAdd(name, data)],
            commit_message=message,
            revision=remote.listing.revision,
            parent_commit=remote.listing.commit,
            create_pr=True,
        )
    except ValueError as error:
        # huggingface_hub before 1.0 cannot read the address of a repo at an endpoint that it was not imported with; by
        # then the commit is made.
        if "Unable to retrieve user and repo ID" not in str(error):
            raise
        return f"{endpoint}/{remote.listing.repo}/discussions"
    return made.pr_url


def _modelscope(remote: Remote, endpoint: str, name: str, data: bytes, message: str) -> Any:
    from modelscope_hub import HubApi

    api = HubApi(endpoint=endpoint, token=remote.access.token)
    api.upload_file(
        remote.listing.repo, "model", data, name,
        commit_message=message, revision=remote.listing.revision, disable_tqdm=True,
    )  # fmt: skip
    return f"{endpoint}/models/{remote.listing.repo}"


def _openmind(remote: Remote, endpoint: str, name: str, data: bytes, message: str) -> Any:
    from openmind_hub import OmApi

    OmApi().upload_file(
        path_or_fileobj=data, path_in_repo=name, repo_id=remote.listing.repo,
        token=remote.access.token, revision=remote.listing.revision, commit_message=message,
    )  # fmt: skip
    return f"{endpoint}/models/{remote.listing.repo}"


_PUSHES = {"huggingface": _huggingface, "modelscope": _modelscope, "openmind": _openmind}
