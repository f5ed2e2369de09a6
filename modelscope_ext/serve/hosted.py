"""A pipeline as a server holds it: with a name, a thread, and a queue that makes batches."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.schemas import Schema, schema_of
from modelscope_ext.serve.batcher import Batcher
from modelscope_ext.serve.intake import options_of, refuse_unserved, sealed
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.settings import Settings
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.pipelines.base import Pipeline

__all__ = ["Hosted", "check_name", "hosted", "name_of"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Kinds of input that are ready as they come; the others are decoded in a thread of their own.
_LIGHT = frozenset(("text", "pair", "texts", "chat", "seed"))


def name_of(model: str) -> str:
    """Return the name under which a model is served: the last part of its folder or hub id.

    Raises:
        OptionError: It cannot stand in an address.

    Example:
        >>> name_of("org/tiny-llama"), name_of("./models/bert/")
        ('tiny-llama', 'bert')
    """
    name = PurePath(model).name
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{printable(model)!r} gives no name for an address; name it yourself: NAME={printable(model)}"
        )
    return name


def check_name(name: Any) -> None:
    """Raise OptionError for a name that cannot stand in an address."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(f"{printable(repr(name))}: a model's name is letters, digits, '.', '_' and '-', at most 64")


def hosted(models: Any, settings: Settings) -> dict[str, Hosted]:
    """Return the models of a server by name.

    Args:
        models: Name -> pipeline, or one pipeline, which gets its model's name.
        settings: Of the server.

    Raises:
        OptionError: No model, a name that cannot stand in an address, or a task whose inputs nobody describes.
    """
    from modelscope_ext.pipelines.base import Pipeline

    if isinstance(models, Pipeline):
        source = models.resolution.source if models.resolution else None
        models = {name_of(str(source.repo or source.path or "model") if source else "model"): models}
    if not isinstance(models, Mapping) or not models:
        raise OptionError("models: expected a pipeline, or a dict of name and pipeline, with at least one")
    for name, pipe in models.items():
        check_name(name)
        if not isinstance(pipe, Pipeline):
            raise OptionError(
                f"models[{name!r}]: expected a pipeline, got {type(pipe).__name__}; make it by pipeline(...)"
            )
        refuse_unserved(pipe.task)
    return {name: Hosted(name, pipe, settings) for name, pipe in models.items()}


class Hosted:
    """One model of a server.

    Args:
        name: In addresses.
        pipe: The pipeline.
        settings: Of the server.

    Attributes:
        task: What it does.
        known: The options of a call; None where it takes any.
        since: When it was loaded, in seconds since 1970.
    """

    def __init__(self, name: str, pipe: Pipeline, settings: Settings) -> None:
        self.name, self.pipe, self.settings = name, pipe, settings
        self.task = str(pipe.task)
        self.known = pipe.model.call_options(self.task) if hasattr(pipe.model, "call_options") else None
        self.since = int(time.time())
        self.batcher: Batcher | None = None

    @property
    def schema(self) -> Schema:
        """What the task takes and gives."""
        return schema_of(self.task)

    @property
    def streams(self) -> bool:
        """Whether its answers are texts that come piece by piece."""
        return self.task == "text-generation"

    def start(self, seen: Callable[[int, float], None]) -> Batcher:
        """Return the queue, which begins to work when it is entered."""
        self.batcher = Batcher(
            self._run, name=self.name, most=self.settings.max_batch, wait=self.settings.max_wait, seen=seen
        )
        return self.batcher

    def takes(self, option: str) -> bool:
        """Whether a call may pass this option."""
        return self.known is None or option in self.known

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a request, checked."""
        return options_of(given, self.known, self.settings)

    async def sealed(self, value: Any) -> Any:
        """Return one input of a request in the form that the model gets; see `intake.sealed`."""
        if self.schema.input in _LIGHT:
            return sealed(self.task, value, self.settings)
        return await asyncio.to_thread(sealed, self.task, value, self.settings)

    async def ask(
        self, items: Sequence[Any], options: Mapping[str, Any], then: Callable[[Any, Any], Any] | None = None
    ) -> list[Any]:
        """Return one answer for each sealed input; `then` is called with the input and its answer in the thread.

        Raises:
            Exception: What the model raised for the first input that it cannot answer.
        """
        key = json.dumps(options, sort_keys=True)
        queue = self._queue()

        def after(item: Any) -> Callable[[Any], Any] | None:
            return None if then is None else lambda answer: then(item, answer)

        waits = [asyncio.ensure_future(queue.submit(item, options, key, after(item))) for item in items]
        try:
            return list(await asyncio.gather(*waits))
        finally:
            for one in waits:
                one.cancel()

    def stream(self, item: Any, options: Mapping[str, Any]) -> AsyncIterator[str]:
        """Yield the answer to one sealed input piece by piece."""

        def start() -> Iterator[Any]:
            return iter(self.pipe(item, stream=True, **options))

        return self._queue().stream(start)

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Return what `work` gives when the model's thread is free to do it."""
        return await self._queue().alone(work)

    def count(self, item: Any) -> int | None:
        """Return how many tokens a text or chat has; to be called in the model's thread."""
        count = getattr(self.pipe.model, "count_tokens", None)
        try:
            return count(item) if count is not None else None
        except Exception:  # noqa: BLE001  a count is no reason to lose an answer
            return None

    def _queue(self) -> Batcher:
        if self.batcher is None:
            raise Refused(503, "the server is starting: ask again in a moment")
        return self.batcher

    def _run(self, items: list[Any], options: Mapping[str, Any]) -> list[Any]:
        return list(self.pipe(iter(items), batch_size=len(items), **options))
