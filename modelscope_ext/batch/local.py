"""The engine ``local``: the model runs in this process, or in several of their own on this machine."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from modelscope_ext.batch.child import Child, portable
from modelscope_ext.batch.work import Chunk, Job, Part, Runner, chunks, failed
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.pipelines.mapping import Failure
from modelscope_ext.utils.processors import processors

if TYPE_CHECKING:
    from modelscope_ext.batch.sources.base import Source

__all__ = ["InProcess", "Processes"]

#: Processes that end one after the other while they load the model, until that is taken for the model's fault.
_STARTS = 3
#: Processes that end one after the other without an answer between them: more than one bad row can cause.
_DEATHS = 12
#: How often a process may end over one row before the row is given up.
_TRIES = 2


class InProcess:
    """The model in this process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._runner = Runner(job)

    def parts(self, source: Source, first: int) -> Iterator[Part]:
        """Yield the parts from the row `first` on."""
        return map(self._runner.run, chunks(source, first, self._job.chunk))

    def close(self) -> None:
        """Give the model's memory back."""
        self._runner.close()


@dataclass
class _Piece:
    """A chunk or a part of one, on its way, and how often a process has ended over it."""

    chunk: Chunk
    whole: _Whole
    deaths: int = 0


@dataclass
class _Whole:
    """What has come back of a chunk."""

    chunk: Chunk
    parts: dict[int, Part] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return sum(part.rows for part in self.parts.values()) == len(self.chunk.rows)

    def joined(self) -> Part:
        parts = [self.parts[first] for first in sorted(self.parts)]
        records = [record for part in parts for record in part.records]
        return Part(self.chunk.first, len(records), records, sum(part.errors for part in parts))


@dataclass
class _Worker:
    child: Child
    ready: bool = False
    piece: _Piece | None = None


class Processes:
    """The model in several processes of their own, loaded once in each.

    A process that ends is replaced and its rows are done again: first together, then batch by batch, then one by one,
    until the row is alone over which processes end. That row becomes an error record.

    Args:
        job: The job.
        count: How many processes.
    """

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count
        self._threads = max(processors() // count, 1)
        self._workers: dict[Connection, _Worker] = {}
        self._started = self._failed_starts = self._deaths = 0
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def parts(self, source: Source, first: int) -> Iterator[Part]:
        """Yield the parts from the row `first` on."""
        return self.map(chunks(source, first, self._job.chunk))

    def map(self, work: Iterable[Chunk]) -> Iterator[Part]:
        """Yield one part a chunk, in order; a few chunks more than there are processes are held at most."""
        coming, more = iter(work), True
        todo: deque[_Piece] = deque()
        under_way: deque[_Whole] = deque()
        while True:
            while more and not todo and len(under_way) < 3 * self._count:
                chunk = next(coming, None)
                if chunk is None:
                    more = False
                    break
                under_way.append(_Whole(chunk))
                todo.append(_Piece(chunk, under_way[-1]))
                self._hand_out(todo)
            self._hand_out(todo)
            while under_way and under_way[0].complete:
                yield under_way.popleft().joined()
            if not more and not under_way:
                return
            if more and not todo and len(under_way) < 3 * self._count:
                continue
            for connection in wait(list(self._workers)):
                self._hear(self._workers[connection], todo)  # type: ignore[index]

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            _, worker = self._workers.popitem()
            worker.child.end()

    def _start(self) -> None:
        child = Child(f"{__name__}:work", self._job, self._started, environment=self._environment())
        self._workers[child.connection] = _Worker(child)
        self._started += 1

    def _environment(self) -> dict[str, str]:
        """Share the processors among the processes, unless somebody has said how many threads are wanted."""
        return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self._threads)}

    def _hand_out(self, todo: deque[_Piece]) -> None:
        for worker in [w for w in self._workers.values() if w.ready and w.piece is None]:
            if not todo:
                return
            worker.piece = todo.popleft()
            try:
                worker.child.connection.send(worker.piece.chunk)
            except OSError:
                self._ended(worker, todo)

    def _hear(self, worker: _Worker, todo: deque[_Piece]) -> None:
        try:
            kind, value = worker.child.connection.recv()
        except (EOFError, OSError):
            self._ended(worker, todo)
            return
        if kind == "failed":
            raise value
        if kind == "ready":
            worker.ready, self._failed_starts = True, 0
        elif worker.piece is not None:
            self._deaths = 0
            worker.piece.whole.parts[value.first] = value
            worker.piece = None

    def _ended(self, worker: _Worker, todo: deque[_Piece]) -> None:
        """Replace a process that has ended, and see to it that its rows are done."""
        del self._workers[worker.child.connection]
        how = worker.child.end(ending=True)
        self._deaths += 1
        if not worker.ready:
            self._failed_starts += 1
        if self._failed_starts >= _STARTS or self._deaths > _DEATHS:
            doing = "while it loaded the model" if self._failed_starts >= _STARTS else "without an answer"
            times = max(self._failed_starts, self._deaths)
            raise ModelScopeExtError(
                f"a process of this batch {how} {doing}, {times} times in a row; if it is memory that is lacking,"
                " take fewer workers or a smaller batch size"
            )
        if worker.piece is not None:
            todo.extendleft(reversed(self._again(worker.piece, how)))
        self._start()

    def _again(self, piece: _Piece, how: str) -> list[_Piece]:
        """Return what is left to do of a piece over which a process has ended."""
        piece.deaths += 1
        rows, first = piece.chunk.rows, piece.chunk.first
        if piece.deaths < _TRIES:
            return [piece]
        if len(rows) == 1:
            said = f"the process that ran this row {how}, {piece.deaths} times"
            piece.whole.parts[first] = failed(self._job, piece.chunk, Failure("WorkerDied", said))
            self._deaths = 0
            return []
        size = self._job.batch_size if len(rows) > self._job.batch_size else 1
        cut = [Chunk(first + at, rows[at : at + size]) for at in range(0, len(rows), size)]
        return [_Piece(one, piece.whole, 0 if size == 1 else 1) for one in cut]


def work(connection: Connection, job: Job, number: int) -> None:
    """What such a process does: load the model, then answer chunks until nobody asks any more."""
    try:
        runner = Runner(job, number)
    except BaseException as error:  # noqa: BLE001 - told to the process that asked
        connection.send(("failed", portable(error)))
        return
    connection.send(("ready", None))
    while True:
        chunk = connection.recv()
        try:
            answer: tuple[str, object] = ("part", runner.run(chunk))
        except Exception as error:  # noqa: BLE001 - no row's fault: those are in the part
            answer = ("failed", portable(error))
        connection.send(answer)
