"""What a server allows, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass, fields

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings(Record):
    """Limits and habits of a server; each stranger's request is held against them.

    Attributes:
        max_batch: Inputs that run at once.
        max_wait: Seconds that the first input of a batch waits for others while the model is idle; 0 waits for none.
        timeout: Seconds that a request may take, its body and a streamed answer included; 408 after that.
        max_requests: Requests that are answered at the same time; 429 beyond.
        max_bytes: Size of a request's body; 413 beyond. All bodies in memory may have sixteen times as much.
        max_items: Inputs in one request.
        max_text: Characters of one text. What attention takes grows with the square of it.
        max_tokens: Tokens that a request may ask for.
        max_pixels: Pixels of one image, counted before it is decoded.
        max_samples: Samples of one recording, all channels together, counted before it is decoded.
        api_key: What clients send as ``Authorization: Bearer KEY``; None lets everyone in.
        hosts: Names that a request's ``Host`` and ``Origin`` may have; empty for any. It keeps web pages that a user
            of the machine looks at from asking a server on loopback.
        grace: Seconds that requests in flight get when the server is told to stop.

    Raises:
        OptionError: A value of another type, or that is too small.

    Example:
        >>> Settings(max_batch=4).max_batch
        4
    """

    max_batch: int = 16
    max_wait: float = 0.005
    timeout: float = 60.0
    max_requests: int = 128
    max_bytes: int = 16 * 2**20
    max_items: int = 1024
    max_text: int = 32_768
    max_tokens: int = 4096
    max_pixels: int = 50_000_000
    max_samples: int = 60_000_000
    api_key: str | None = None
    hosts: tuple[str, ...] = ()
    grace: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("api_key", "hosts"):
                continue
            kinds = (int,) if field.type == "int" else (int, float)
            if type(value) not in kinds or not (value > 0 or (field.name == "max_wait" and value == 0)):
                what = "whole number" if field.type == "int" else "number"
                raise OptionError(f"{field.name}={printable(repr(value))}: expected a {what} above 0")
        if self.api_key is not None and (not isinstance(self.api_key, str) or not _is_key(self.api_key)):
            raise OptionError("api_key: expected at least one printable ASCII character, and no blanks")

    def __repr__(self) -> str:
        said = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name != "api_key")
        return f"Settings({said}, api_key={'None' if self.api_key is None else '...'})"


def _is_key(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
