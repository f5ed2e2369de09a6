"""Step 6 of 6: pipeline classes that derive from another package's base, e.g. ModelScope's, run unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelscope_ext.models.hooks import call_hook
from modelscope_ext.pipelines.base import Pipeline

if TYPE_CHECKING:
    from modelscope_ext.models.base import Model

__all__ = ["ForeignPipeline"]


class ForeignPipeline(Pipeline):
    """Hands each input to an instance of `kind`, which was made with the library's own model object.

    Args:
        kind: The class; called with ``model=`` and, if given, ``preprocessor=``.
        model: A `Model`; its `native` is what `kind` gets.
        task: As for `Pipeline`, and so the rest.
        preprocessor: As for `Pipeline`.
        **kwargs: As for `Pipeline`.

    Attributes:
        native: The instance of `kind`.
    """

    def __init__(
        self, kind: Callable[..., Any], model: Model, task: str | None = None, preprocessor: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(model, task, **kwargs)
        more = {} if preprocessor is None else {"preprocessor": preprocessor}
        self.native = kind(model=model.native, **more)

    def _run(self, task: str, items: Iterable[Any], size: int, options: dict[str, Any]) -> Iterator[Any]:
        for item in items:
            self._check_open()
            yield call_hook(self.native, item, {k: v for k, v in options.items() if k != "raw"})

    def _check_options(self, task: str, options: Mapping[str, Any]) -> None:
        """The other package judges its own options."""

    def close(self) -> None:
        """Drop the instance, and the model with it unless the caller brought it."""
        self.native = None
        super().close()
