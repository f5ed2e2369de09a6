"""Step 6 of 6: many rows through a pipeline: one answer a row, in order, and a bad row's answer says what was wrong.

Rows are taken a window at a time. Inside one the texts of like length share a batch, as in a call with a list; where a
batch fails it is cut in halves until only the rows that cannot be answered have failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.inputs import text_length
from modelscope_ext.models.schemas import normalise, schema_of
from modelscope_ext.pipelines.columns import Columns, choose, pick
from modelscope_ext.safety.urls import CLOSED, Web
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.pipelines.base import Pipeline

__all__ = ["Answer", "Failure", "Mapper", "answers", "window_of"]

#: Batches in a window: enough of them for texts of like length to meet, few enough to hold in memory.
_BATCHES = 16
#: The same for pictures and sounds, which are large, and which nothing is won by sorting.
_FEW_BATCHES = 4


@dataclass(frozen=True)
class Failure(Record):
    """Why a row has no output; as a row, one that could not be read.

    Attributes:
        type: The error's class.
        message: What it says.
    """

    type: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return an error's class and text."""
        return cls(type(error).__name__, printable(str(error) or type(error).__name__, 2000))


@dataclass(frozen=True)
class Answer(Record):
    """What became of one row.

    Attributes:
        row: Its number, from 0.
        output: As the task's schema says; None where there is an error.
        error: Why there is no output; None where there is one.

    Example:
        >>> Answer(3, error=Failure("OptionError", "expected a str")).to_dict()
        {'row': 3, 'output': None, 'error': {'type': 'OptionError', 'message': 'expected a str'}}
    """

    row: int
    output: Any = None
    error: Failure | None = None


def window_of(task: str, batch_size: int) -> int:
    """Return how many rows are taken at a time.

    Example:
        >>> window_of("text-classification", 8), window_of("image-classification", 8)
        (128, 32)
    """
    return batch_size * (_BATCHES if schema_of(task).by_length else _FEW_BATCHES)


def answers(pipe: Pipeline, rows: Iterable[Any], mapper: Mapper) -> Iterator[Answer]:
    """Yield one answer a row, in order, holding one window of rows at most."""
    walker, first = iter(rows), 0
    size = window_of(mapper.task, mapper.batch_size)
    while window := list(islice(walker, size)):
        yield from mapper(window, first)
        first += len(window)


class Mapper:
    """Answers windows of rows.

    Args:
        pipe: What runs them.
        columns: The columns that are the input, as `choose` takes them.
        chosen: Whether they were chosen already, so that the first row has no say.
        batch_size: Rows that run at once.
        web: What of the web inputs may come from.
        options: Options of the task, and fields that are the same for every row.

    Attributes:
        task: The pipeline's task.
        batch_size: As given.

    Raises:
        OptionError: An option that the task does not take.
    """

    def __init__(
        self,
        pipe: Pipeline,
        *,
        columns: Columns = None,
        chosen: bool = False,
        batch_size: int = 1,
        web: Web = CLOSED,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = pipe._task()
        self.batch_size = batch_size
        self._pipe, self._columns, self._web = pipe, columns, web
        schema = schema_of(self.task)
        spelled = {name: schema.aliases.get(name, name) for name in options or ()}
        self._constant = {spelled[k]: v for k, v in (options or {}).items() if spelled[k] in schema.fields}
        self._options = {k: v for k, v in (options or {}).items() if spelled[k] not in schema.fields}
        pipe._check_options(self.task, {k: v for k, v in self._options.items() if k != "raw"})
        self._chosen = chosen

    def __call__(self, rows: Sequence[Any], first: int = 0) -> list[Answer]:
        """Return one answer for each of `rows`, of which the first has the number `first`."""
        self._pipe._check_open()
        self._choose(rows)
        found: dict[int, Answer] = {}
        size = len(rows) if schema_of(self.task).by_length else self.batch_size
        for start in range(0, len(rows), max(size, 1)):
            self._window(rows[start : start + size], first + start, found)
        return [found[first + number] for number in range(len(rows))]

    def _choose(self, rows: Sequence[Any]) -> None:
        """Decide by the first row that can be read which columns are the input; later rows change nothing."""
        if self._chosen:
            return
        row = next((row for row in rows if not isinstance(row, Failure)), None)
        if row is None:
            return
        if isinstance(row, Mapping):
            self._columns = choose(self.task, tuple(map(str, row)), self._columns, tuple(self._constant))
        self._chosen = True

    def _window(self, rows: Sequence[Any], first: int, found: dict[int, Answer]) -> None:
        items: list[tuple[int, Any]] = []
        for number, row in enumerate(rows, first):
            if isinstance(row, Failure):
                found[number] = Answer(number, error=row)
                continue
            try:
                item = pick(row, self._columns, self._constant)
                [ready], _ = normalise(self.task, [item], first=number, batch=True, web=self._web)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is that row's answer
                found[number] = Answer(number, error=Failure.of(error))
            else:
                items.append((number, ready))
        if schema_of(self.task).by_length:
            items.sort(key=lambda one: -text_length(one[1]))
        for start in range(0, len(items), self.batch_size):
            self._run(items[start : start + self.batch_size], found)

    def _run(self, batch: list[tuple[int, Any]], found: dict[int, Answer]) -> None:
        """Answer one batch, or where that fails its halves."""
        try:
            outputs = list(self._pipe._run(self.task, [item for _, item in batch], len(batch), dict(self._options)))
            if len(outputs) != len(batch):
                raise ModelScopeExtError(f"{self._pipe!r} gave {len(outputs)} outputs for {len(batch)} inputs")
        except Exception as error:  # noqa: BLE001 - see above; a lack of memory too is answered by a smaller batch
            if len(batch) == 1:
                found[batch[0][0]] = Answer(batch[0][0], error=Failure.of(error))
                return
            half = len(batch) // 2
            self._run(batch[:half], found)
            self._run(batch[half:], found)
            return
        for (number, _), output in zip(batch, outputs, strict=True):
            found[number] = Answer(number, output)
