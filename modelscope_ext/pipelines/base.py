"""Step 6 of 6: one way to run every model: one input gives one output, a list a list, a generator a generator.

The hooks of a subclass stand in call order, each on one input, as in ModelScope: `preprocess`, `forward`,
`postprocess`. A pipeline without them hands batches to its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.hooks import call_hook, named, overrides
from modelscope_ext.models.inputs import text_length
from modelscope_ext.models.schemas import is_lazy, normalise, schema_of
from modelscope_ext.pipelines.arguments import MISSING, gather
from modelscope_ext.safety.urls import CLOSED, Web
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.models.base import Model
    from modelscope_ext.models.resolution import Resolution
    from modelscope_ext.pipelines.columns import Columns
    from modelscope_ext.pipelines.mapping import Answer

__all__ = ["Pipeline"]

Self = TypeVar("Self", bound="Pipeline")

_HOOKS = ("preprocess", "forward", "postprocess")


class Pipeline:
    """A model and the task it runs.

    Args:
        model: A `Model`.
        task: A canonical task name; default the model's own.
        preprocessor: Called on each input before the model: a callable, or a list of them.
        batch_size: Inputs that run at once where a call does not say; default 1, whose results depend on no neighbour.
        owns_model: Whether closing the pipeline closes the model.
        **kwargs: Arguments of ModelScope's pipelines that mean nothing here (`config_file`, `device`, `auto_collate`).

    Attributes:
        task: The task it runs.
        model: The `Model`.
        resolution: The decision the model was loaded by.

    Example:
        >>> class Shouting(Pipeline):
        ...     def preprocess(self, inputs):
        ...         return inputs.lower()
        ...
        ...     def postprocess(self, inputs):
        ...         return {**inputs, "label": inputs["label"].upper()}
        >>> Shouting(model=None, task="text-classification").task
        'text-classification'
    """

    #: Tasks a registered subclass serves; the first is its default.
    tasks: tuple[str, ...] = ()
    #: What of the web inputs may come from, by ``pipeline(allow_sources=...)``.
    _web: Web = CLOSED

    def __init__(
        self,
        model: Model,
        task: str | None = None,
        preprocessor: Any = None,
        *,
        batch_size: int | None = None,
        owns_model: bool = False,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.task = task or getattr(model, "default_task", None) or (self.tasks[0] if self.tasks else None)
        self.preprocessor = preprocessor
        _steps(preprocessor)  # so that what cannot be called is refused here
        self.batch_size = _batch_size(batch_size)
        self._owns_model = owns_model
        self._closed = False

    @property
    def resolution(self) -> Resolution | None:
        """The decision the model was loaded by."""
        return getattr(self.model, "resolution", None)

    # Hooks, in call order; override all or any to work on one input at a time

    def preprocess(self, inputs: Any, **options: Any) -> Any:
        """Turn one input into what `forward` takes. Override; the default calls the preprocessor, if there is one."""
        for step in _steps(self.preprocessor):
            inputs = step(inputs)
        return inputs

    def forward(self, inputs: Any, **options: Any) -> Any:
        """Run the model on one input. Override; the default is `Model.predict`."""
        return self.model.predict(self._task(), [inputs], **options)[0]

    def postprocess(self, inputs: Any, **options: Any) -> Any:
        """Turn what `forward` gave into the task's schema. Override; the default changes nothing."""
        return inputs

    # Calling; usually not overridden

    def __call__(
        self,
        inputs: Any = MISSING,
        *args: Any,
        batch_size: int | None = None,
        raw: bool = False,
        stream: bool = False,
        allow_sources: Iterable[Any] = (),
        **options: Any,
    ) -> Any:
        """Run the task.

        Args:
            inputs: One input, a list of them, or anything that can be walked; see `models/inputs.py`.
            *args: The task's further arguments by position, e.g. the candidate labels.
            batch_size: Inputs that run at once; default the pipeline's.
            raw: Return the library's own outputs.
            stream: Yield one answer piece by piece.
            allow_sources: URLs, or hosts and folders of them (``"https://example.org/cats/"``), that inputs of this
                call may be fetched from, beside those of ``pipeline(allow_sources=...)``.
            **options: Options of the task, and its fields by name (``question=..., context=...``).

        Returns:
            One output, a list of outputs, or a generator of outputs: as `inputs` was. With `stream`, a generator of
            pieces.

        Raises:
            OptionError: An input or option the task does not take, or a URL that is not allowed.
            RedirectRefused, LimitExceeded, HubError: Of a URL that is.
        """
        self._check_open()
        task = self._task()
        inputs, options = gather(task, inputs, args, options)
        self._check_options(task, options)
        if type(raw) is not bool or type(stream) is not bool:
            raise OptionError(f"raw={raw!r}, stream={stream!r}: expected True or False")
        size = _batch_size(batch_size) or self.batch_size or 1
        web = self._web.plus(allow_sources)
        if raw:
            options["raw"] = True
        if stream:
            return self._stream(task, inputs, options, web)
        if is_lazy(inputs):
            return self._walk(task, inputs, size, options, web)
        items, single = normalise(task, inputs, web=web)
        outputs = self._all(task, items, size, options)
        return outputs[0] if single else outputs

    def map(
        self,
        rows: Iterable[Any],
        *,
        columns: Columns = None,
        batch_size: int | None = None,
        raw: bool = False,
        allow_sources: Iterable[Any] = (),
        **options: Any,
    ) -> Iterator[Answer]:
        """Run the task over rows of data, as many as there are: one answer each, in order.

        A row that cannot be answered gives an answer that says why, and the others are not touched by it. Rows are
        taken a window at a time (16 batches of texts, 4 of anything else), so that memory does not grow with them.

        Args:
            rows: Inputs, or rows with the input in one or more columns: a list, a generator, a data set.
            columns: The column that is the input, or fields of the input and their columns; default those that have
                the fields' names, or a usual one (``"text"``, ``"image"``, ...). The first row decides.
            batch_size: Rows that run at once; default the pipeline's.
            raw: Give the library's own outputs.
            allow_sources: As in a call.
            **options: Options of the task, and fields that are the same for every row.

        Returns:
            A generator of `Answer`: `row`, and either `output` or `error`.

        Raises:
            OptionError: An option that the task does not take; a column that is not there.

        Example:
            >>> from modelscope_ext import pipeline
            >>> from modelscope_ext.data import digits_folder, digits_samples
            >>> rows = [{"id": 7, "image": str(digits_samples()[3])}, {"id": 8, "image": "none.png"}]
            >>> with pipeline(model=digits_folder(), backend="onnx") as pipe:
            ...     for answer in pipe.map(rows):
            ...         answer.row, answer.error.type if answer.error else answer.output[0]["label"]
            (0, '3')
            (1, 'OptionError')
        """
        from modelscope_ext.pipelines.mapping import Mapper, answers

        self._check_open()
        if isinstance(rows, str | bytes | Mapping) or not (hasattr(rows, "__iter__") or hasattr(rows, "__getitem__")):
            raise OptionError(f"map: expected rows, got one {type(rows).__name__}; call the pipeline for one input")
        if type(raw) is not bool:
            raise OptionError(f"raw={raw!r}: expected True or False")
        size = _batch_size(batch_size) or self.batch_size or 1
        web = self._web.plus(allow_sources)
        options = {**options, "raw": True} if raw else options
        return answers(self, rows, Mapper(self, columns=columns, batch_size=size, web=web, options=options))

    def _walk(self, task: str, inputs: Any, size: int, options: dict[str, Any], web: Web) -> Iterator[Any]:
        """Yield outputs as inputs come; at most one batch is held."""
        first = 0
        for batch in _batches(_items(inputs), size):
            items, _ = normalise(task, batch, first=first, batch=True, web=web)
            yield from self._run(task, items, size, options)
            first += len(batch)

    def _all(self, task: str, items: list[Any], size: int, options: dict[str, Any]) -> list[Any]:
        """Return one output per normalised item, in their order, with texts of like length in one batch."""
        if size == 1 or self._one_by_one or not schema_of(task).by_length:
            return list(self._run(task, items, size, options))
        given = list(items)
        order = sorted(
            range(len(given)), key=lambda number: -text_length(given[number])
        )  # what is too long fails first
        outputs: list[Any] = [None] * len(given)
        for number, output in zip(order, self._run(task, (given[n] for n in order), size, options), strict=True):
            outputs[number] = output
        return outputs

    def _run(self, task: str, items: Iterable[Any], size: int, options: dict[str, Any]) -> Iterator[Any]:
        """Yield one output per normalised item, `size` at a time."""
        for batch in _batches(items, size):
            self._check_open()
            if self._one_by_one:
                yield from (self._one(item, options) for item in batch)
            else:
                ready = [Pipeline.preprocess(self, item) for item in batch]
                yield from self.model.predict(task, ready, **options, batch_size=len(ready))

    @property
    def _one_by_one(self) -> bool:
        return any(overrides(type(self), name, Pipeline) for name in _HOOKS)

    def _one(self, item: Any, options: Mapping[str, Any]) -> Any:
        raw = options.get("raw", False)
        value = call_hook(self.preprocess, item, options)
        value = call_hook(self.forward, value, options)
        return value if raw else call_hook(self.postprocess, value, options)

    def _stream(self, task: str, inputs: Any, options: dict[str, Any], web: Web) -> Iterator[Any]:
        if self._one_by_one:
            raise OptionError(f"stream=True: {type(self).__name__} has hooks of its own, which give whole answers")
        if is_lazy(inputs):
            raise OptionError("stream=True answers one input at a time: call the pipeline once for each")
        items, single = normalise(task, inputs, web=web)
        if not single:
            raise OptionError(f"stream=True answers one input at a time; got a list of {len(items)}")
        return self.model.stream(task, Pipeline.preprocess(self, items[0]), **options)

    def _task(self) -> str:
        if self.task is None:
            raise OptionError("no task: nothing says what this model is for; pass one, e.g. pipeline('fill-mask', ...)")
        return self.task

    def _check_options(self, task: str, options: Mapping[str, Any]) -> None:
        known = self._options(task)
        if known is None:
            return
        for name in options:
            if name not in known:
                takes = {*known, "batch_size", "raw", "stream", "allow_sources"}
                raise OptionError(
                    f"{task}: unknown option {printable(name)!r}.{did_you_mean(name, takes)} This model takes:"
                    f" {listing(takes, 40)}."
                )

        top_k = options.get("top_k")
        if top_k is not None and "max_new_tokens" not in known and (type(top_k) is not int or top_k < 1):
            raise OptionError(
                f"{task}: top_k={printable(repr(top_k))}: expected a whole number of at least 1, or None for all"
            )

    def _options(self, task: str) -> frozenset[str] | None:
        """Return the options a call may pass; None where any may."""
        known = self.model.call_options(task) if hasattr(self.model, "call_options") else None
        if not self._one_by_one:
            return known
        names: set[str] = set(known or ())
        for hook in _HOOKS:
            if overrides(type(self), hook, Pipeline):
                more, takes_any = named(getattr(self, hook))
                if takes_any:
                    return None
                names.update(more)
        return frozenset(names)

    # Closing

    def close(self) -> None:
        """Give the model's memory back, unless the caller brought the model along. Closing twice is fine."""
        self._closed = True
        if self._owns_model:
            self.model.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ModelScopeExtError(f"{self!r} was closed; make it again with pipeline(...) to use it")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, model={self.model!r})"


def _steps(preprocessor: Any) -> tuple[Callable[[Any], Any], ...]:
    if preprocessor is None:
        return ()
    steps = tuple(preprocessor) if isinstance(preprocessor, list | tuple) else (preprocessor,)
    for step in steps:
        if not callable(step):
            raise OptionError(
                f"preprocessor: expected something that can be called with one input, got {type(step).__name__}"
                f" {printable(repr(step), 60)}"
            )
    return steps


def _batch_size(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise OptionError(f"batch_size={printable(repr(value))}: expected a whole number of at least 1")
    return value


def _items(inputs: Any) -> Iterator[Any]:
    """Walk what can be walked: by `iter`, which falls back to ``[0]``, ``[1]``, ... for data sets."""
    return iter(inputs)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    walker = iter(items)
    for first in walker:
        yield list(chain((first,), islice(walker, size - 1)))
