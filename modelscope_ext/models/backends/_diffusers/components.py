"""Step 5 of 6, diffusers: one component: its class out of the closed table, its files, all of its weights.

Every call into a library names its trust arguments. What diffusers and transformers only warn about (tensors that are
missing and would be random, that are left over, that have another shape) is an error that names the component.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelscope_ext.errors import (
    BackendNotLoadable,
    MissingRequirement,
    NotAModel,
    PickleRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from modelscope_ext.models.backends._diffusers.folder import CONFIG, Place
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.pipeline_index import INDEX, Component, weight_files
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["class_of", "load_component", "load_single"]

#: Old names of classes in transformers.
_RENAMED = {"CLIPFeatureExtractor": "CLIPImageProcessor"}
_ADVICE = (
    "Copy the component's whole folder again, or pass allow_missing_weights=True to get one whose missing weights are"
    " random."
)


def load_component(place: Place, component: Component, options: Mapping[str, Any]) -> Any:
    """Return one component of a pipeline, in evaluation mode, with all its weights read.

    Args:
        place: The pipeline's folder.
        component: An entry of its index.
        options: `dtype` (a torch dtype), `allow_missing_weights`.

    Raises:
        UnknownTypeError: A class outside the closed table.
        NotAModel: Its folder or files are not there.
        WeightsMismatch: Weights are missing, left over or of another shape.
        MissingRequirement, MalformedMetadata, PickleRefused: As their names say.
    """
    cls = class_of(place, component)
    inside = any(name.startswith(f"{component.name}/") for name in place.names)
    if not inside and not (place.path / "scheduler_config.json").is_file():
        raise NotAModel(
            f"{place.name}: {INDEX}: {component.name} is a {component.kind}, and there is no folder {component.name}/:"
            " the copy is incomplete; fetch it too"
        )
    return _load(place, component.name if inside else "", cls, options)


def load_single(place: Place, options: Mapping[str, Any]) -> Any:
    """Return the one component that a folder with ``config.json`` and ``_class_name`` is."""
    kind = place.document(CONFIG).get("_class_name")
    component = Component("", "diffusers", str(kind))
    cls = class_of(place, component, CONFIG)
    if component.kind.endswith("Scheduler"):
        raise BackendNotLoadable(
            f"{place.name}: {CONFIG}: a {component.kind} has no weights and does nothing alone; pass its name as"
            " scheduler= when the pipeline is loaded"
        )
    return _load(place, "", cls, options)


def class_of(place: Place, component: Component, file: str = INDEX) -> Any:
    """Return a component's class: of the closed table, or of the folder's own code where the caller permits it.

    Raises:
        UnknownTypeError: Neither; nothing was imported for it.
        MissingRequirement: A class that needs a package which is not installed.
    """
    table = tables.diffusers()
    library, kind = component.library, component.kind
    own = f"{component.name}/{library}.py"
    if not table.has_component(library, kind) and own in place.names and place.grants.may_run_code:
        return _own_class(place, component)
    if not table.has_component(library, kind):
        near = did_you_mean(kind, table.components if library == "diffusers" else table.transformers)
        where = f"{file}: {component.name}" if component.name else f"{file}: _class_name"
        raise UnknownTypeError(
            f"{place.name}: {where}: {printable(library)}.{printable(kind)} is none of the components that"
            f" {table.library} takes.{near} It was not imported. A newer release of modelscope-ext may know it.",
            source=place.name,
            file=file,
            field=component.name or "_class_name",
        )
    kind = _RENAMED.get(kind, kind)
    if library in ("diffusers", "transformers"):
        cls = getattr(import_module(library), kind, None)
    else:
        import diffusers.pipelines

        cls = getattr(getattr(diffusers.pipelines, library, None), kind, None)
        if cls is None:
            cls = _defined_in(library, kind)
    if cls is None:
        version = getattr(sys.modules.get(library), "__version__", "the installed release")
        raise BackendNotLoadable(
            f"{place.name}: {file}: {component.name or '_class_name'}: {library} {version} has no {kind}; a newer"
            f" release may have it: pip install -U {library if library == 'transformers' else 'diffusers'}"
        )
    if ".dummy_" in cls.__module__:
        try:
            cls()
        except ImportError as error:
            detail = printable(" ".join(str(error).split()), 300)
            raise MissingRequirement(f"{place.name}: {component.name} ({kind}) cannot be used: {detail}") from error
    return cls


def _defined_in(library: str, kind: str) -> Any:
    """Return a class that a pipeline's module defines but does not export."""
    import pkgutil

    import diffusers.pipelines

    found = getattr(diffusers.pipelines, library, None)
    for info in pkgutil.iter_modules(getattr(found, "__path__", ())):
        module = import_module(f"diffusers.pipelines.{library}.{info.name}")
        if hasattr(module, kind):
            return getattr(module, kind)
    return None


def _own_class(place: Place, component: Component) -> Any:
    from diffusers.utils import get_class_from_dynamic_module

    return place.read(
        f"the code of {component.name}",
        f"{component.name}/{component.library}.py",
        lambda: get_class_from_dynamic_module(
            str(place.path / component.name),
            module_file=f"{component.library}.py",
            class_name=component.kind,
            local_files_only=True,
            trust_remote_code=place.grants.may_run_code,
        ),
    )


def _load(place: Place, folder: str, cls: Any, options: Mapping[str, Any]) -> Any:
    """Load what lies in `folder` with `cls`, by what kind of class it is."""
    from diffusers import ModelMixin

    what, path = folder or cls.__name__, str(place.path / folder)
    prefix = f"{folder}/" if folder else ""
    if isinstance(cls, type) and issubclass(cls, ModelMixin):
        return _diffusers_model(place, folder, cls, options)
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if isinstance(cls, type) and issubclass(cls, PreTrainedModel):
        return _transformers_model(place, folder, cls, options)
    trusted: dict[str, Any] = {"local_files_only": True}
    if not cls.__module__.startswith("diffusers."):
        trusted["trust_remote_code"] = False
    file = f"{prefix}scheduler_config.json" if cls.__name__.endswith("Scheduler") else f"{prefix}*.json"
    part = place.read(what, file, lambda: cls.from_pretrained(path, **trusted))
    if isinstance(part, PreTrainedTokenizerBase):
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.parts import check_vocabulary

        check_vocabulary(Folder(place.path / folder, f"{place.name}: {what}", place.grants), part)
    return part


def _weights(place: Place, folder: str) -> dict[str, Any]:
    """Return the keywords that say which weights are read: format and variant."""
    files = weight_files(place.names, folder, place.variant)
    if not files:
        where = folder or "the folder"
        raise NotAModel(
            f"{place.name}: {where} holds no weights that PyTorch reads (expected safetensors or .bin): the copy is"
            " incomplete, or they are another framework's"
        )
    pickles = files[0].endswith(".bin")
    if pickles and place.grants.allow_pickle is False:
        raise PickleRefused(
            f"{place.name}: {files[0]} is a pickle, which allow_pickle=False refuses (nothing was opened).",
            source=place.name,
            file=files[0],
            grant="allow_pickle",
        )
    marked = place.variant is not None and f".{place.variant}" in files[0]
    return {
        "use_safetensors": not pickles,
        "variant": place.variant if marked else None,
        "local_files_only": True,
        "output_loading_info": True,
    }


def _diffusers_model(place: Place, folder: str, cls: Any, options: Mapping[str, Any]) -> Any:
    what, path = folder or cls.__name__, str(place.path / folder)
    keywords = {**_weights(place, folder), "torch_dtype": options["dtype"]}
    file = f"{folder}/{CONFIG}" if folder else CONFIG
    if not (place.path / file).is_file():
        raise NotAModel(f"{place.name}: {file} is not there: the copy is incomplete; fetch it too")
    model, info = place.read(what, file, lambda: cls.from_pretrained(path, **keywords))
    missing = sorted(info["missing_keys"])
    _judge(place, what, model, missing, sorted(info["unexpected_keys"]), [], options)
    if missing:
        fresh = cls.from_config(model.config).to(options["dtype"])
        fresh.load_state_dict({k: v for k, v in model.state_dict().items() if v.device.type != "meta"}, strict=False)
        model = fresh
    return model.eval()


def _transformers_model(place: Place, folder: str, cls: Any, options: Mapping[str, Any]) -> Any:
    from modelscope_ext.models.backends._transformers.weights import left_over

    what, path = folder or cls.__name__, str(place.path / folder)
    keywords = _weights(place, folder)
    if keywords["variant"] is None:
        del keywords["variant"]
    keywords |= {
        "dtype": options["dtype"],
        "trust_remote_code": False,
        "weights_only": place.grants.allow_pickle != "full",
        "ignore_mismatched_sizes": True,  # so that they can be named
    }
    file = f"{folder}/{CONFIG}" if folder else CONFIG
    if not (place.path / file).is_file():
        raise NotAModel(f"{place.name}: {file} is not there: the copy is incomplete; fetch it too")
    model, info = place.read(what, file, lambda: cls.from_pretrained(path, **keywords))
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    odd = sorted(f"{name} is {tuple(a)}, not {tuple(b)}" for name, a, b in info.get("mismatched_keys") or ())
    named = {entry.partition(" ")[0] for entry in odd}
    missing = sorted(set(info.get("missing_keys") or ()) - tied - named)
    _judge(place, what, model, missing, left_over(model, info.get("unexpected_keys") or ()), odd, options)
    return model.eval()


def _judge(
    place: Place,
    what: str,
    model: Any,
    missing: list[str],
    extra: list[str],
    odd: list[str],
    options: Mapping[str, Any],
) -> None:
    """Raise WeightsMismatch, or warn with `allow_missing_weights`, naming the component and the tensors."""
    problems = [
        f"{len(keys)} {text} ({listing(map(printable, keys), 6)})"
        for text, keys in (
            ("tensors are not in its weights and would be random", missing),
            ("tensors of its weights have another shape than its config.json says", odd),
            ("tensors of its weights have no place in it", extra),
        )
        if keys
    ]
    if not problems:
        return
    message = f"{place.name}: {what} ({type(model).__name__}): {'; '.join(problems)}."
    if not options.get("allow_missing_weights"):
        raise WeightsMismatch(f"{message} {_ADVICE}")
    logger.warning("%s Continuing, as allow_missing_weights=True asks.", message)
