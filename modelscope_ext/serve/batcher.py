"""One model's queue and thread: inputs that wait are run together, each in a batch of those with the same options."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from modelscope_ext.serve.refusal import Refused

__all__ = ["Batcher"]

_END = object()


@dataclass(eq=False)
class _Job:
    """One input, and where its answer goes."""

    item: Any
    options: Mapping[str, Any]
    then: Callable[[Any], Any] | None
    answer: asyncio.Future[Any]
    alone: Callable[[], Any] | None = None
    arrived: float = field(default_factory=time.monotonic)


class Batcher:
    """Runs the inputs of one model in its one thread.

    While the thread is at work inputs gather; when it is free, those that came first and all others with the same
    options go together, at most `most` of them. An idle model waits `wait` seconds for more than one.

    Args:
        run: Called in the thread with a list of inputs and the options they share; returns one answer each.
        name: Of the thread.
        most: Inputs that run at once.
        wait: Seconds.
        seen: Told of each batch: its size, and the seconds it took.
    """

    def __init__(
        self,
        run: Callable[[list[Any], Mapping[str, Any]], Sequence[Any]],
        *,
        name: str = "model",
        most: int = 16,
        wait: float = 0.005,
        seen: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._run, self._most, self._wait, self._seen = run, most, wait, seen
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: dict[Hashable, deque[_Job]] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return sum(map(len, self._waiting.values()))

    async def __aenter__(self) -> Batcher:
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer what waits, then end the thread."""
        self._closed = True
        self._news.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)

    async def submit(
        self, item: Any, options: Mapping[str, Any], key: Hashable = None, then: Callable[[Any], Any] | None = None
    ) -> Any:
        """Return the answer for one input; `then` is called with it in the thread, and its result is returned.

        Args:
            item: The input.
            options: Of the call.
            key: The same for inputs whose options are equal.
            then: For work that belongs to the model's thread, e.g. counting tokens.
        """
        return await self._put(key, _Job(item, options, then, asyncio.get_running_loop().create_future()))

    async def alone(self, work: Callable[[], Any]) -> Any:
        """Return what `work` gives in the thread, when its turn comes."""
        future = asyncio.get_running_loop().create_future()
        return await self._put(object(), _Job(None, {}, None, future, alone=work))

    async def stream(self, start: Callable[[], Iterator[Any]]) -> AsyncIterator[Any]:
        """Yield the pieces of what `start` returns, which is walked in the thread and closed when the reader leaves."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        left = threading.Event()

        def put(piece: Any) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def walk() -> None:
            try:
                walker = start()
                try:
                    for piece in walker:
                        if left.is_set():
                            break
                        put(piece)
                finally:
                    close = getattr(walker, "close", None)
                    if close is not None:
                        close()
                put(_END)
            except BaseException as error:  # noqa: BLE001  it is raised again where the pieces are read
                put(_Failure(error))

        answer = self._put(object(), _Job(None, {}, None, loop.create_future(), alone=walk))
        try:
            while (piece := await pieces.get()) is not _END:
                if isinstance(piece, _Failure):
                    raise piece.error
                yield piece
        finally:
            left.set()
            answer.cancel()

    def _put(self, key: Hashable, job: _Job) -> asyncio.Future[Any]:
        if self._closed:
            raise Refused(503, "the server is stopping: ask again when it is back")
        self._waiting.setdefault(key, deque()).append(job)
        self._news.set()
        return job.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while jobs := await self._batch():
            started = time.monotonic()
            answers = await loop.run_in_executor(self._thread, self._answers, jobs)
            self._seen(len(jobs), time.monotonic() - started)
            for job, (ok, answer) in zip(jobs, answers, strict=True):
                if job.answer.done():
                    continue  # nobody waits any more
                if ok:
                    job.answer.set_result(answer)
                else:
                    job.answer.set_exception(answer)

    async def _batch(self) -> list[_Job]:
        """Return the next inputs to run, an empty list when there will be none."""
        while True:
            self._news.clear()
            key = self._oldest()
            if key is _NOTHING:
                if self._closed:
                    return []
                await self._news.wait()
                continue
            jobs = self._waiting[key]
            left = jobs[0].arrived + self._wait - time.monotonic()
            if len(jobs) < self._most and left > 0 and not self._closed and jobs[0].alone is None:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), left)
                continue
            return [jobs.popleft() for _ in range(min(len(jobs), self._most))]

    def _oldest(self) -> Hashable | None:
        """Return the key whose first input came first; inputs that nobody waits for are dropped."""
        for key, jobs in list(self._waiting.items()):
            if any(job.answer.done() for job in jobs):
                self._waiting[key] = jobs = deque(job for job in jobs if not job.answer.done())
            if not jobs:
                del self._waiting[key]
        return min(self._waiting, key=lambda key: self._waiting[key][0].arrived, default=_NOTHING)

    # In the thread

    def _answers(self, jobs: Sequence[_Job]) -> list[tuple[bool, Any]]:
        """Return (True, answer) or (False, error) for each; what fails together is tried one by one."""
        try:
            if jobs[0].alone is not None:
                return [(True, jobs[0].alone())]
            answers = self._run([job.item for job in jobs], jobs[0].options)
        except BaseException as error:  # noqa: BLE001  whatever a model does, its thread lives on
            return [(False, _told(error))] if len(jobs) == 1 else [self._answers([job])[0] for job in jobs]
        return [self._finished(job, answer) for job, answer in zip(jobs, answers, strict=True)]

    @staticmethod
    def _finished(job: _Job, answer: Any) -> tuple[bool, Any]:
        try:
            return True, job.then(answer) if job.then is not None else answer
        except BaseException as error:  # noqa: BLE001
            return False, _told(error)


@dataclass
class _Failure:
    error: BaseException


_NOTHING = object()


def _told(error: BaseException) -> Exception:
    """Return an error that a future can hold: StopIteration and what is no Exception cannot."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.__cause__ = error
    return told
