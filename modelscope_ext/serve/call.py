"""One request on its way through the server: what it asks, how long it may take, and how it is answered in pieces."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.serve.hosted import Hosted
from modelscope_ext.serve.refusal import Refused, body_of, refusal_of
from modelscope_ext.serve.settings import Settings
from modelscope_ext.utils import bounded
from modelscope_ext.utils.text import listing, printable

__all__ = ["Call", "json_of", "to_json"]

T = TypeVar("T")

#: Bodies larger than this are parsed in a thread, so that other requests go on.
_LARGE = 256 * 1024
#: Characters of a name that a message repeats.
_NAMES = 60


class Call:
    """One request.

    Args:
        models: Of the server, by name.
        settings: Of the server.
        path: Of the request.
        parameters: Out of the path.
        headers: Lower-case name -> value.
        data: The body.
        deadline: When it has to be answered, on `time.monotonic`'s clock.

    Attributes:
        body: The body as JSON, once it was read.
        head: How many bytes of the body are JSON, where tensors follow; None where all are.
        received: Bytes of the body that came.
        named: The model it is for, once that is known.
    """

    def __init__(
        self,
        models: Mapping[str, Hosted],
        settings: Settings,
        *,
        path: str = "",
        parameters: Mapping[str, str] = {},
        headers: Mapping[str, str] = {},
        data: bytes = b"",
        deadline: float = float("inf"),
    ) -> None:
        self.models, self.settings = models, settings
        self.path, self.parameters, self.headers, self.data = path, parameters, headers, data
        self.deadline = deadline
        self.body: Any = None
        self.named: str | None = None
        self.head: int | None = None
        self.received = 0

    def model(self, name: str) -> Hosted:
        """Return the model of that name.

        Raises:
            Refused: 404, naming those that there are.
        """
        if name not in self.models:
            known = listing(self.models)
            raise Refused(404, f"no model {printable(name, _NAMES)!r} here; there are: {known}", "model")
        self.named = name
        return self.models[name]

    async def within(self, answer: Awaitable[T]) -> T:
        """Return what `answer` gives, if it comes in time.

        Raises:
            Refused: 408.
        """
        left = self.deadline - time.monotonic()
        try:
            return await asyncio.wait_for(answer, None if left == float("inf") else max(left, 0))
        except asyncio.TimeoutError as error:
            raise Refused(408, f"no answer within {self.settings.timeout:g} seconds: ask for less at once") from error

    def split(self) -> None:
        """Find where the JSON of a binary request ends.

        Raises:
            Refused: 400, of a length that is none.
        """
        said = self.headers.get("inference-header-content-length")
        if said is None:
            return
        if not (said.isascii() and said.isdecimal() and int(said[:12]) <= len(self.data)):
            raise Refused(400, "Inference-Header-Content-Length: expected at most the bytes of the body")
        self.head = int(said[:12])

    async def read_json(self) -> None:
        """Parse the body.

        Raises:
            Refused: 400, of what is no JSON, or deeper or larger than any request needs to be.
        """
        data = self.data if self.head is None else self.data[: self.head]
        self.body = json_of(data) if len(data) <= _LARGE else await asyncio.to_thread(json_of, data)

    async def events(self, chunks: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
        """Yield server-sent events: one for each chunk, and ``[DONE]``. What goes wrong becomes the last event."""
        try:
            while True:
                try:
                    chunk = await self.within(chunks.__anext__())
                except StopAsyncIteration:
                    break
                yield b"data: " + to_json(chunk) + b"\n\n"
        except Exception as error:  # noqa: BLE001  the status is sent already: it can only be said in the stream
            yield b"data: " + to_json(body_of(refusal_of(error), self.path)) + b"\n\n"
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        yield b"data: [DONE]\n\n"


def json_of(data: bytes) -> Any:
    """Return the JSON of a body.

    Example:
        >>> json_of(b'{"a": NaN}')
        Traceback (most recent call last):
        modelscope_ext.serve.refusal.Refused: the body is no JSON that is read here: NaN is not JSON; expected a number
    """
    try:
        return bounded.parse_json(
            data, file="the body", max_bytes=len(data) + 1, max_depth=32, max_nodes=10_000_000, max_digits=40
        )
    except (MalformedMetadata, LimitExceeded) as error:
        said = printable(str(error), 300).removeprefix("the body, ").removeprefix("the body: ").partition(". ")[0]
        raise Refused(400, f"the body is no JSON that is read here: {said}") from error


def to_json(value: Any) -> bytes:
    """Return a value as JSON in ASCII, which has a form for every str."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
