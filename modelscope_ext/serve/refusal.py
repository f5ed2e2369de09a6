"""A request that is not answered: its status, and the error as each protocol words it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.errors import (
    HubError,
    LimitExceeded,
    MalformedMetadata,
    MissingRequirement,
    OptionError,
    SafetyError,
)
from modelscope_ext.utils.text import printable

__all__ = ["STATUSES", "Refused", "body_of", "refusal_of"]

#: Status -> (OpenAI's type of the error, what it means).
STATUSES: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is not what this address takes; the message says what it takes."),
    401: ("authentication_error", "No API key, or a wrong one."),
    403: ("permission_error", "The request comes from a web page of another origin."),
    404: ("not_found_error", "No such model, or no such address."),
    405: ("invalid_request_error", "The address takes other methods."),
    408: ("timeout_error", "The request took longer than the server allows."),
    413: ("invalid_request_error", "The request, or an input in it, is larger than the server allows."),
    415: ("invalid_request_error", "The body is of another media type, or compressed."),
    421: ("invalid_request_error", "The server does not answer for this host name."),
    422: ("model_error", "The model could not answer this input."),
    429: ("rate_limit_error", "The server is at work on as many requests as it takes."),
    500: ("server_error", "An error of the server."),
    503: ("server_error", "The server is starting or stopping."),
}


class Refused(Exception):
    """A request that gets an error for an answer.

    Args:
        status: A key of `STATUSES`.
        message: What is wrong, and what to do.
        param: The place in the request.
    """

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param


def body_of(refused: Refused, path: str) -> dict[str, Any]:
    """Return the error in the form of the protocol that `path` belongs to.

    Example:
        >>> body_of(Refused(404, "no such model"), "/v2/models/x")
        {'error': 'no such model'}
        >>> body_of(Refused(404, "no such model"), "/v1/models")["error"]["type"]
        'not_found_error'
    """
    if path.startswith("/v2"):
        return {"error": refused.message}
    kind = STATUSES[refused.status][0]
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": str(refused.status)}}


def refusal_of(error: BaseException) -> Refused:
    """Return what a client is told when a model raised `error` over its input.

    Messages of ours name what was wrong with the input; of what a library raises only the kind is told, because its
    text may hold paths of this machine.

    Example:
        >>> refusal_of(OptionError("fill-mask: expected a str")).status, refusal_of(KeyError("x")).status
        (400, 422)
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, OptionError):
        return Refused(400, printable(str(error), 2000))
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Refused(413, "the input needs more memory than there is: send less at once")
    if isinstance(error, LimitExceeded | MalformedMetadata):
        return Refused(400, printable(str(error), 2000))
    if isinstance(error, MissingRequirement):
        return Refused(422, f"the server lacks a package for this input: {printable(str(error), 400)}")
    if isinstance(error, HubError | SafetyError):
        return Refused(422, f"refused: {type(error).__name__}")
    cause = error.__cause__ if error.__cause__ is not None else error
    return Refused(422, f"the model failed on this input ({type(cause).__name__}); its server's log says more")
