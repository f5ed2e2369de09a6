"""Step 5 of 6: a loaded model. One class for all libraries; its own object is `native`, a call away.

The hooks of a subclass stand in the order in which they are called: `load`, `preprocess`, `forward`, `postprocess`.
Each works on a list: one entry per input, in order. Classes written for ModelScope (`__init__(model_dir, **kw)`,
`_instantiate`, `forward` on one input) need no change: see `models/modelscope_form.py`.

Example:
    >>> class Shouting(Model):
    ...     def postprocess(self, outputs, **options):
    ...         return [{**one, "label": one["label"].upper()} for one in outputs]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.hooks import call_hook, library_errors, named, overrides
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.imports import away_from
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.models.export import Export
    from modelscope_ext.utils.config import Config

__all__ = ["Model"]

Self = TypeVar("Self", bound="Model")

#: What a closed model still says of itself.
_AFTER_CLOSE = frozenset(("resolution", "tasks", "framework", "backend", "model_type", "device", "_closed"))

_HOOKS = ("preprocess", "forward", "postprocess")


class Model:
    """A model that was loaded, or the base of a class that says how.

    Attributes:
        tasks: Canonical task names, the default first. On a class: those it serves.
        framework: E.g. ``"pytorch"``.
        backend: The library, e.g. ``"transformers"``.
        model_type: The architecture in the library's own words.
        requirement_dependency: PEP 508 strings, checked before loading.
        resolution: The decision this model was loaded by; None on a class.
        device: Where it lives, e.g. ``"cpu"``.
        model_dir: The folder it was loaded from, or an empty string.
    """

    tasks: tuple[str, ...] = ()
    framework: str | None = None
    backend: str | None = None
    model_type: str | tuple[str, ...] | None = None
    requirement_dependency: tuple[str, ...] = ()
    resolution: Resolution | None = None
    device: str = "cpu"
    model_dir: str = ""

    _loaded: Any = None
    _engine: Backend | None = None
    _configuration: Mapping[str, Any] = {}
    _closed: bool = False
    _single: bool = False  # its hooks work on one input, as ModelScope's do

    def __init__(self, model_dir: str | PathLike[str] | None = None, *args: Any, **kwargs: Any) -> None:
        if model_dir is not None:
            self.model_dir = str(model_dir)

    # Loading

    @classmethod
    def from_pretrained(
        cls: type[Self],
        model_name_or_path: Any = None,
        cfg_dict: Any = None,
        **keywords: Any,
    ) -> Self:
        """Load a model. On `Model` the resolved class is returned, on a subclass that subclass, or an error.

        Args:
            model_name_or_path: A folder, a hub id, or a Snapshot; ``lock=`` names the model as well.
            cfg_dict: A Config (ours or ModelScope's), ConfigDict or dict that replaces configuration.json whole; it
                is never written to.
            **keywords: The keywords of `modelscope_ext.pipeline`.

        Raises:
            OptionError: An argument nobody takes, or a str as `cfg_dict`.
            ModelNotFound, NotAModel, AmbiguousModel, RequirementError, BackendNotLoadable, SafetyError,
            WeightsMismatch: As the messages say.
        """
        if isinstance(cfg_dict, str):
            raise OptionError(
                f"cfg_dict={printable(cfg_dict)!r}: expected a Config, ConfigDict or dict. A branch or commit is given"
                f" as revision={printable(cfg_dict)!r}, a file as cfg_dict=Config.from_file(...)."
            )
        from modelscope_ext.models.loader import load

        wanted = None if cls is Model else cls
        return cast("Self", load(model_name_or_path, model_class=wanted, cfg_dict=cfg_dict, **keywords))

    @classmethod
    def load(cls, folder: Path, resolution: Resolution, **options: Any) -> Any:
        """Return the library's own object, `Loaded`, or an instance of the class. Override to load it yourself.

        The default hands over to the backend. Nothing but the folder's gated files may be read here.

        Args:
            folder: The local folder.
            resolution: The decision.
            **options: `grants`, `device`, `device_map`, `dtype`, `variant`, `task`, `cfg_dict`, `base_model`,
                `allow_missing_weights`, and what the caller passed for the backend.
        """
        from modelscope_ext.models.builder import BACKENDS

        return BACKENDS.get(resolution.backend).load(folder, resolution, **options)

    # Running, in call order

    def preprocess(self, inputs: list[Any], **options: Any) -> Any:
        """Turn the inputs into what `forward` takes. Override; the default changes nothing."""
        return inputs

    def forward(self, inputs: Any, **options: Any) -> Any:
        """Run the model. Override; the default is the backend's `predict` with its own pre- and postprocessing."""
        if self._engine is None:
            raise ModelScopeExtError(
                f"{type(self).__name__} has no forward() and no backend to run it; override forward(inputs, **options)"
            )
        task = options.pop("task")
        with library_errors(f"{self._engine.name} failed at {task}"), away_from(self.__dict__.get("model_dir")):
            return list(self._engine.predict(self._loaded, task, inputs, **options))

    def postprocess(self, outputs: Any, **options: Any) -> Any:
        """Turn what `forward` gave into the task's schema. Override; the default changes nothing."""
        return outputs

    def check_task(self, task: str | None) -> None:
        """Raise OptionError where the backend cannot run `task` with what it loaded. Usually not overridden."""
        self._check_open()
        if self._engine is not None and not overrides(type(self), "forward", Model):
            self._engine.check_task(self._loaded, task)

    def predict(self, task: str, inputs: Sequence[Any], **options: Any) -> list[Any]:
        """Return one output per input, in order, in the task's schema. Usually not overridden.

        Args:
            task: A canonical task name.
            inputs: Items as `schemas.normalise` makes them; never empty.
            **options: Options of the task; ``raw=True`` gives the library's own outputs.
        """
        self._check_open()
        options = {**options, "task": task}
        if self._single:
            outputs = [self._hooked(item, options) for item in inputs]
        else:
            outputs = self._hooked(list(inputs), options)
        own = any(overrides(type(self), name, Model) for name in _HOOKS)
        maker = f"the hooks of {type(self).__name__}" if own else self._maker()
        if not isinstance(outputs, Iterable) or isinstance(outputs, str | Mapping):
            raise ModelScopeExtError(
                f"{task}: {maker} gave {type(outputs).__name__} for {len(inputs)} inputs; expected a list with one"
                " output each"
            )
        outputs = list(outputs)
        if len(outputs) != len(inputs):
            raise ModelScopeExtError(
                f"{task}: {len(outputs)} outputs for {len(inputs)} inputs from {maker}; expected one each"
            )
        return outputs

    def _hooked(self, value: Any, options: Mapping[str, Any]) -> Any:
        value = call_hook(self.preprocess, value, options)
        value = call_hook(self.forward, value, options)
        return value if options.get("raw") else call_hook(self.postprocess, value, options)

    def stream(self, task: str, item: Any, **options: Any) -> Iterator[Any]:
        """Yield the output for one input piece by piece, where the backend can."""
        self._check_open()
        if self._engine is None or overrides(type(self), "forward", Model):
            raise OptionError(f"{self._maker()} cannot stream")
        [item] = call_hook(self.preprocess, [item], {**options, "task": task})
        try:
            return self._engine.stream(self._loaded, task, item, **options)
        except NotImplementedError as error:
            raise OptionError(f"stream=True: {self._maker()} cannot stream {task!r}") from error

    def count_tokens(self, item: Any) -> int | None:
        """Return how many tokens the model reads for a text or a chat; None where nothing tells."""
        self._check_open()
        return self._engine.count_tokens(self._loaded, item) if self._engine is not None else None

    def call_options(self, task: str) -> frozenset[str] | None:
        """Return the options a call may pass for `task`; None where any may."""
        names: set[str] = set()
        engine = self._engine
        if engine is not None:
            names.update(engine.call_options.get("*", ()), engine.call_options.get(task, ()))
        for name in _HOOKS:
            if overrides(type(self), name, Model):
                more, takes_any = named(getattr(self, name))
                if takes_any and engine is None:
                    return None
                names.update(more)
        return frozenset(names - {"task", "raw", "batch_size"})

    # What belongs to it

    @property
    def native(self) -> Any:
        """The library's own object."""
        self._check_open()
        return self._loaded.native if isinstance(self._loaded, Loaded) else self._loaded

    @property
    def parts(self) -> dict[str, Any]:
        """What the backend loaded beside `native`: tokenizer, processor, label names."""
        self._check_open()
        return self._loaded.parts if isinstance(self._loaded, Loaded) else {}

    @property
    def config(self) -> Config:
        """configuration.json, or the `cfg_dict` that replaced it, completed by what was decided."""
        from modelscope_ext.models.declare import complete_configuration
        from modelscope_ext.utils.config import Config

        known = self._configuration
        return Config(complete_configuration(self.resolution, known) if self.resolution else dict(known))

    @property
    def default_task(self) -> str | None:
        """The task a pipeline runs when the caller names none."""
        return self.tasks[0] if self.tasks else None

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write the model and a complete configuration.json into `folder`, which is made if need be.

        Keys of an existing or loaded configuration.json that mean nothing here are kept.

        Raises:
            ModelScopeExtError: Neither the backend nor the library's object can save.
        """
        self._check_open()
        if not isinstance(folder, str | PathLike) or not str(folder):
            raise OptionError(f"save_pretrained: expected a folder (a str or Path), got {printable(repr(folder))}")
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise OptionError(f"save_pretrained: {printable(str(target))} is a file; expected a folder")
        made = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        try:
            wrote = self._save(target)
        except Exception:
            if made and not any(target.iterdir()):
                target.rmdir()
            raise
        if self.resolution is not None:
            _write_configuration(target, _of_backend(self.resolution, wrote), self._configuration)

    def export(self, folder: str | PathLike[str], *, to: str = "onnx", **options: Any) -> Export:
        """Write a checked copy in another format into `folder`; see `modelscope_ext.models.export.export`.

        Args:
            folder: The folder to make.
            to: The format.
            **options: `task`, `opset`, `tolerance`, `overwrite`.
        """
        from modelscope_ext.models.export import export

        self._check_open()
        return export(self, folder, to=to, **options)

    def _save(self, target: Path) -> str | None:
        """Write the model; return the backend that it was written for, where that is another than its own."""
        if self._engine is not None:
            try:
                return self._engine.save(self._loaded, target)
            except NotImplementedError as error:
                raise ModelScopeExtError(f"{self._maker()} cannot save its models") from error
        elif callable(getattr(self.native, "save_pretrained", None)) and self.native is not self:
            self.native.save_pretrained(str(target))
        else:
            raise ModelScopeExtError(f"{self._maker()} cannot be saved: it has no save_pretrained()")
        return None

    def close(self) -> None:
        """Drop the library's object and give its memory back.

        A closed model cannot be used again; closing twice is fine.
        """
        if self._closed:
            return
        from modelscope_ext.models.memory import release

        engine, loaded = self._engine, self._loaded
        self._closed = True
        for name in set(self.__dict__) - _AFTER_CLOSE:
            del self.__dict__[name]
        try:
            if engine is not None:
                engine.close(loaded)
        finally:
            if isinstance(loaded, Loaded):
                loaded.parts.clear()
                loaded.native = None
            del loaded
            release()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the library's own object; of a class in ModelScope's form, its `forward` and `postprocess`."""
        native = self.native
        return self.postprocess(self.forward(*args, **kwargs)) if native is self else native(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Only for what the class lacks. Private names and an unfinished instance must not lead anywhere.
        if not name.startswith("_") and self.__dict__.get("_loaded") is not None:
            native = self.native
            if native is not self and hasattr(native, name):
                return getattr(native, name)
        closed = " (the model is closed)" if self.__dict__.get("_closed") else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{closed}")

    def __repr__(self) -> str:
        said = [f"task={self.default_task!r}", f"backend={self.backend!r}"]
        if self.resolution is not None:
            said.append(f"source={printable(str(self.resolution.source))!r}")
        return f"{type(self).__name__}({', '.join(said)}{', closed' if self._closed else ''})"

    # For the loader

    def _attach(
        self,
        loaded: Any,
        resolution: Resolution,
        *,
        engine: Backend | None = None,
        configuration: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Make an instance whole after its class was made; called once, by the loader."""
        self._loaded = loaded
        self._engine = engine
        self._configuration = dict(configuration or {})
        if isinstance(loaded, Loaded):
            self.device = loaded.device
            self._configuration.update(loaded.declares)
            resolution = replace(resolution, because={**resolution.because, **loaded.because})
        self.resolution = resolution
        self.tasks = resolution.tasks
        self.framework = resolution.framework
        self.backend = resolution.backend
        self.model_type = resolution.model_type
        self.requirement_dependency = resolution.requirement_dependency
        if folder is not None:
            self.model_dir = str(folder)

    def _check_open(self) -> None:
        if self._closed:
            raise ModelScopeExtError(f"{self!r} was closed, and its memory given back; load it again to use it")

    def _maker(self) -> str:
        return f"backend {self._engine.name!r}" if self._engine is not None else type(self).__name__


def _of_backend(resolution: Resolution, name: str | None) -> Resolution:
    """Return the decision as it would be for another backend; itself for None."""
    if name is None or name == resolution.backend:
        return resolution
    from modelscope_ext.models.builder import BACKENDS

    engine = BACKENDS.get(name)
    needs = (*engine.requires, *(n for n in resolution.requirement_dependency if n not in _own_needs(resolution)))
    return replace(resolution, backend=name, requirement_dependency=tuple(dict.fromkeys(needs)))


def _own_needs(resolution: Resolution) -> tuple[str, ...]:
    from modelscope_ext.models.builder import BACKENDS

    return BACKENDS.get(resolution.backend).requires if resolution.backend in BACKENDS else ()


def _write_configuration(folder: Path, resolution: Resolution, known: Mapping[str, Any]) -> None:
    """Write a complete configuration.json: what was decided, and the keys that it or the loaded one had."""
    from modelscope_ext.models.declare import NAME, complete_configuration, document_text
    from modelscope_ext.safety.reading import parse_json, read_inside
    from modelscope_ext.utils.atomic import write_atomic

    document = parse_json(read_inside(folder, NAME), file=NAME) if (folder / NAME).is_file() else {}
    existing = document if isinstance(document, Mapping) else {}
    complete = complete_configuration(resolution, {**existing, **known}, replace=_DECIDED)
    write_atomic(folder / NAME, document_text(complete))


#: Fields of configuration.json that a saved model states anew.
_DECIDED = ("model_type", "framework", "backend", "tasks", "requirement_dependency")
