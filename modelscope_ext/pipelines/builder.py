"""Step 6 of 6: `pipeline()`, the call most users make. It only delegates: options, model, pipeline class."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.builder import canonical_condition
from modelscope_ext.models.hooks import call_hook
from modelscope_ext.models.tasks import TASKS, canonical
from modelscope_ext.pipelines.base import Pipeline
from modelscope_ext.safety.urls import Web
from modelscope_ext.utils.registry import Registry, build_from_cfg, default_group
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.models.base import Model

__all__ = ["PIPELINES", "build_pipeline", "pipeline"]

#: Pipeline classes by name and by what they are for; other packages join by the entry-point group of that name.
PIPELINES = Registry("pipelines", entry_points="modelscope_ext.pipelines", normalise=canonical_condition)


def pipeline(
    task: str | None = None,
    model: Any = None,
    preprocessor: Any = None,
    config_file: str | PathLike[str] | None = None,
    pipeline_name: str | None = None,
    framework: str | None = None,
    device: Any = None,
    model_revision: str | None = None,
    ignore_file_pattern: Any = None,
    trust_remote_code: bool = False,
    *,
    backend: str | None = None,
    hub: Any = None,
    revision: str | None = None,
    cfg_dict: Any = None,
    dtype: Any = None,
    device_map: Any = None,
    batch_size: int | None = None,
    variant: str | None = None,
    subfolder: str | None = None,
    base_model: Any = None,
    allow_missing_weights: bool = False,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    allow_pickle: str | bool = "weights_only",
    allow_sources: Any = (),
    code_sha256: str | None = None,
    limits: Any = None,
    verify: Any = None,
    lock: str | PathLike[str] | None = None,
    **backend_kwargs: Any,
) -> Pipeline:
    """Load a model and return what runs it.

    Args:
        task: What to do, in any spelling; default the model's first task.
        model: A folder, a hub id, a Snapshot, a `Model`, a library's own object, or a list (its first item counts).
        preprocessor: Called on each input before the model; for a library's own object its tokenizer or processor.
        config_file: A file that replaces configuration.json.
        pipeline_name: The name of a registered pipeline class.
        framework: E.g. ``"pytorch"``, in any spelling.
        device: ``"cpu"``, ``"cuda"`` (``"gpu"``), ``"npu"``, ``"cuda:1"``, ...; not together with `device_map`.
        model_revision: Other spelling of `revision`.
        ignore_file_pattern: Patterns of files that are not fetched.
        trust_remote_code: Permit the Python that comes with this model. Exactly True or False.
        backend: The library that loads it.
        hub: The hub, or hubs in order.
        revision: Branch, tag or commit.
        cfg_dict: A dict or Config that replaces configuration.json.
        dtype: ``"float16"``, ``torch.bfloat16``, ``"auto"``, ...
        device_map: How weights are spread over devices.
        batch_size: Inputs that run at once; default 1.
        variant: Of the weight files, e.g. ``"fp16"``.
        subfolder: The model's folder inside `model`.
        base_model: The base of an adapter.
        allow_missing_weights: Accept weights that are newly initialised.
        token: For the hub.
        cache_dir: Where fetched files go.
        local_files_only: Contact no hub.
        allow_pickle: ``"weights_only"``, ``"full"`` or False.
        allow_sources: Other sources this model may lead to, and URLs that inputs may be fetched from: one URL, or a
            host or folder of them (``"https://example.org/cats/"``).
        code_sha256: The digest of the code that `trust_remote_code` permits.
        limits: A `Limits`.
        verify: Load only what this signer signed (OpenSSF Model Signing; needs the extra `signing`): a PEM file with
            the public key or with certificates, or a dict; see `modelscope_ext.safety.signer.Signer`.
        lock: A file that `modelscope-ext lock` wrote: exactly that is loaded. It names the model too.
        **backend_kwargs: The options of the backend.

    Returns:
        A `Pipeline`: call it with one input, a list, or a generator.

    Raises:
        OptionError: An argument that nobody takes, or a value that nobody knows; it names the nearest.
        ModelNotFound, NotAModel, AmbiguousModel: Of the resolution.
        HubError, DiskFull, MemoryTooSmall: Of the hub, and of what there is room for.
        LockMismatch: It is not what `lock` names.
        RequirementError, BackendNotLoadable, SafetyError, WeightsMismatch: Of the load.

    Example:
        >>> from modelscope_ext import data
        >>> folder = data.__path__[0]
        >>> with pipeline(model=f"{folder}/digits", backend="onnx") as pipe:
        ...     pipe.task, pipe(f"{folder}/digits_samples/3.png", top_k=1)[0]["label"]
        ('image-classification', '3')
    """
    keywords = {
        "task": task, "config_file": config_file, "framework": framework, "device": device,
        "model_revision": model_revision, "ignore_file_pattern": ignore_file_pattern,
        "trust_remote_code": trust_remote_code, "backend": backend, "hub": hub, "revision": revision,
        "cfg_dict": cfg_dict, "dtype": dtype, "device_map": device_map, "variant": variant, "subfolder": subfolder,
        "base_model": base_model, "allow_missing_weights": allow_missing_weights, "token": token,
        "cache_dir": cache_dir, "local_files_only": local_files_only, "allow_pickle": allow_pickle,
        "allow_sources": allow_sources, "code_sha256": code_sha256, "limits": limits, "verify": verify, "lock": lock,
        **backend_kwargs,
    }  # fmt: skip
    if lock is not None and model is None:
        from modelscope_ext.models.lock import read_lock

        model = read_lock(lock).model
    model = _one_model(task, model)
    web = Web.of(allow_sources, limits)
    loaded, owned, preprocessor = _loaded(model, preprocessor, keywords, web)
    made = _made(loaded, _task_of(loaded, task), preprocessor, pipeline_name, batch_size, owned)
    made._web = web
    return made


def build_pipeline(cfg: Any, task_name: str | None = None, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build the registered pipeline that ``cfg["type"]`` names, as ModelScope's function of that name.

    Args:
        cfg: A mapping with ``type``; its other keys are arguments.
        task_name: The task under which the name is looked up.
        default_args: Arguments that `cfg` does not have.
    """
    return build_from_cfg(cfg, PIPELINES, group_key=task_name or default_group, default_args=default_args)


def _one_model(task: str | None, model: Any) -> Any:
    """Return the model the caller means, or say how the call is written."""
    if isinstance(model, list | tuple):
        if not model:
            raise OptionError("model: an empty list; pass a folder, a hub id or a Model")
        model = model[0]
    if task is not None and not isinstance(task, str):
        raise OptionError(
            f"task: expected a str such as 'text-classification', got {type(task).__name__}; if that is the model,"
            " write pipeline(model=...)"
        )
    if model is not None:
        _refuse_swapped(task, model)
        return model
    if task is None:
        raise OptionError("no model: write pipeline(model='./folder') or pipeline('text-classification', './folder')")
    if canonical(task) not in TASKS:
        raise OptionError(
            f"{printable(task)!r} stands where the task belongs. If it is a model, write"
            f" pipeline(model={printable(task)!r}); if it is a task, nobody knows it, and a model is missing."
        )
    raise OptionError(f"no model for the task {printable(task)!r}: write pipeline({printable(task)!r}, './folder')")


def _refuse_swapped(task: str | None, model: Any) -> None:
    if task is None or canonical(task) in TASKS or not isinstance(model, str) or canonical(model) not in TASKS:
        return
    if not Path(model).is_dir():
        task, model = printable(repr(model)), printable(repr(task))
        raise OptionError(f"the task comes first, then the model: write pipeline({task}, {model})")


def _loaded(model: Any, preprocessor: Any, keywords: dict[str, Any], web: Web) -> tuple[Model, bool, Any]:
    """Return the loaded model, whether it was loaded for this pipeline, and the preprocessor that is left to call."""
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models import loader
    from modelscope_ext.models.base import Model

    if isinstance(model, str | PathLike | Snapshot):
        return loader.load(model, **keywords), True, preprocessor
    said = [one for one in keywords["allow_sources"] or () if one not in web.sources]
    limits = None if web.sources else keywords["limits"]  # with a model that is loaded, both are of inputs only
    loader.refuse_load_options({**keywords, "allow_sources": tuple(said), "limits": limits})
    if isinstance(model, Model):
        return model, False, preprocessor
    return loader.adopt(model, task=keywords["task"], preprocessor=preprocessor), False, None


def _task_of(model: Model, task: str | None) -> str | None:
    if task is None:
        return None
    name = canonical(str(task)) or str(task)
    if model.tasks and name not in model.tasks:
        raise OptionError(
            f"{model!r} does not serve {name!r}; it serves {listing(model.tasks)}.{did_you_mean(name, model.tasks)}"
        )
    return name


def _made(
    model: Model, task: str | None, preprocessor: Any, name: str | None, batch_size: int | None, owned: bool
) -> Pipeline:
    """Choose the pipeline class: by name, by its conditions, by configuration.json's `pipeline.type`, or our own."""
    kind = _kind(model, task or model.default_task, name)
    if kind is Pipeline:
        model.check_task(task or model.default_task)
    if not (isinstance(kind, type) and issubclass(kind, Pipeline)):
        from modelscope_ext.pipelines.foreign import ForeignPipeline

        return ForeignPipeline(kind, model, task, preprocessor, batch_size=batch_size, owns_model=owned)
    arguments = {"task": task, "preprocessor": preprocessor, "batch_size": batch_size, "owns_model": owned}
    made: Pipeline = call_hook(kind, model, arguments)
    if task is not None:
        made.task = task
    made._owns_model = owned
    return made


def _kind(model: Model, task: str | None, name: str | None) -> Any:
    if name is not None:
        return PIPELINES.get(name, **({"task": task} if task else {}))
    kind = model.model_type if isinstance(model.model_type, str) else None
    entry = PIPELINES.select(task=task, backend=model.backend, framework=model.framework, model_type=kind)
    if entry is not None:
        return entry.load()
    declared = model._configuration.get("pipeline")  # `config` would import what completes it
    native = declared.get("type") if isinstance(declared, Mapping) else None
    if isinstance(native, str) and any(one.name == native for one in PIPELINES):
        return PIPELINES.get(native, **({"task": task} if task else {}))
    return Pipeline
