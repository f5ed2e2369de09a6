"""Step 5 of 6: classes in ModelScope's own form are built and run unchanged.

Such a class is made with the folder (`__init__(model_dir, **kwargs)`, or `_instantiate(**kwargs)` where it has one) and
the keys of configuration.json's ``model`` but ``type``, as ModelScope does it, and its `forward` works on one input. It
may derive from this package's `Model` or from any other class; the latter is wrapped, and is the wrapper's `native`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelscope_ext.models.base import Model
from modelscope_ext.models.hooks import call_hook, named, overrides
from modelscope_ext.models.resolution import Resolution

__all__ = ["ModelScopeModel", "build", "is_form", "loads_itself", "options_of"]

#: Options of a load that such classes know by these names.
_PASSED = ("device",)
#: Never taken from a file: what is permitted, and where things are.
_WITHHELD = frozenset(
    ("type", "model_dir", "trust_remote_code", "allow_pickle", "allow_sources", "code_sha256", "allow_remote")
)


class ModelScopeModel(Model):
    """An instance of a class that derives from another package's base; it is `native`."""

    def predict(self, task: str, inputs: Sequence[Any], **options: Any) -> list[Any]:
        """Hand each input to the instance: its `preprocess`, if it has one, then a call of it."""
        native = self.native
        prepare = getattr(native, "preprocess", None)
        outputs = []
        for item in inputs:
            value = call_hook(prepare, item, options) if callable(prepare) else item
            outputs.append(call_hook(native, value, {k: v for k, v in options.items() if k not in _OURS}))
        return outputs

    def call_options(self, task: str) -> frozenset[str] | None:
        """Any option: the class judges them."""
        return None


_OURS = frozenset(("raw", "batch_size"))


def is_form(kind: Any) -> bool:
    """Whether `kind` is a class in ModelScope's form, or a function that makes a model.

    Example:
        >>> class Theirs:
        ...     def __init__(self, model_dir): ...
        >>> is_form(Theirs), is_form(Model)
        (True, False)
    """
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        return True
    return not overrides(kind, "load", Model) and (overrides(kind, "__init__", Model) or hasattr(kind, "_instantiate"))


def loads_itself(kind: Any) -> bool:
    """Whether `kind` can load without a backend."""
    return is_form(kind) or overrides(kind, "load", Model)


def options_of(kind: Any) -> tuple[tuple[str, ...], bool]:
    """Return the keywords that `kind` takes when it is loaded, and whether it takes any."""
    if is_form(kind):
        return named(getattr(kind, "_instantiate", None) or _initialiser(kind))
    return named(kind.load)


def _initialiser(kind: Any) -> Any:
    if not isinstance(kind, type):
        return kind

    def bound(model_dir: Any) -> None: ...

    from inspect import signature

    with suppress(TypeError, ValueError):
        parameters = list(signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]
        bound.__signature__ = signature(bound).replace(parameters=parameters)  # type: ignore[attr-defined]
    return bound


def build(
    kind: Any, folder: Path, resolution: Resolution, configuration: Mapping[str, Any], options: Mapping[str, Any]
) -> Model:
    """Make an instance as ModelScope's `Model.from_pretrained` does, and return it, wrapped if need be.

    Args:
        kind: The class.
        folder: The model's folder.
        resolution: The decision.
        configuration: configuration.json; the keys of its ``model`` are arguments, what is permitted is not.
        options: The load's options; of ours, only those that such classes know are passed.
    """
    section = configuration.get("model")
    arguments = {k: v for k, v in section.items() if k not in _WITHHELD} if isinstance(section, Mapping) else {}
    names, takes_any = options_of(kind)
    for name, value in options.items():
        ours = name in _COMMON
        if value is not None and (not ours or name in _PASSED) and (takes_any or name in names):
            arguments[name] = value
    if hasattr(kind, "_instantiate"):
        made = kind._instantiate(model_dir=str(folder), **arguments)
    else:
        made = kind(str(folder), **arguments)
    _dress(made, folder, configuration)
    if isinstance(made, Model):
        made._loaded = made
        made._single = True
        return made
    wrapper = ModelScopeModel()
    wrapper._loaded = made
    return wrapper


#: Options of every load; a class in ModelScope's form gets none of them but `_PASSED`.
_COMMON = frozenset(
    ("task", "device", "device_map", "dtype", "variant", "cfg_dict", "base_model", "allow_missing_weights", "grants")
)


def _dress(made: Any, folder: Path, configuration: Mapping[str, Any]) -> None:
    """Set what ModelScope sets on an instance after it was made."""
    from modelscope_ext.utils.config import Config

    said = Config(dict(configuration))
    for name, value in {"model_dir": str(folder), "cfg": said, "pipeline": said.get("pipeline")}.items():
        if value is not None and not getattr(made, name, None):
            with suppress(AttributeError, TypeError):
                setattr(made, name, value)
