"""Step 5 of 6, mindone: a pipeline's folder, one component after the other, then the class that joins them.

Component classes come out of the closed table that the diffusers backend uses; only then a module is imported. Models
and schedulers are mindone's, tokenizers and image processors transformers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, NotAModel, OptionError, PickleRefused, UnknownTypeError
from modelscope_ext.models.backends._diffusers.folder import CONFIG, Place, refuse_modular
from modelscope_ext.models.backends._diffusers.load import class_of_task, joined, not_served, refuse_task
from modelscope_ext.models.backends._mindone.load import read_model
from modelscope_ext.models.backends._mindone.tasks import PIPELINES
from modelscope_ext.models.backends._mindone.weights import Checkpoint, judge
from modelscope_ext.models.backends._mindspore.device import compute_dtype
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.inference import pipeline_tasks
from modelscope_ext.models.decision.pipeline_index import INDEX, Component, PipelineIndex, weight_files
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["load_pictures", "related", "served"]

Report = Callable[[str, int, int], None]

#: Endings of classes without weights; transformers' own serve every framework.
_PARTS = ("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor", "ImageProcessorFast")


def load_pictures(
    place: Place, resolution: Resolution, options: Mapping[str, Any], device: str, report: Report
) -> tuple[Any, str]:
    """Return the pipeline of the folder for the asked task, and why its dtype is not that of the weights.

    Args:
        place: Where to load from.
        resolution: The decision.
        options: `dtype`, `allow_missing_weights`; None where unsaid.
        device: Where it will run.
        report: Called with a label, the steps done and their number.

    Raises:
        WeightsMismatch, UnknownTypeError, BackendNotLoadable, PickleRefused, NotAModel: As their names say.
        OptionError: The pipeline does not serve the task.
    """
    refuse_modular(place, place.names)
    index = PipelineIndex.of(place.document(INDEX))
    if index is None:
        raise BackendNotLoadable(
            f"{place.name}: {CONFIG}: one component of a pipeline; mindone loads whole pipelines here. Load the folder"
            f" that holds {INDEX}, or the component with framework='pytorch'."
        )
    refuse_task(resolution, index)
    cls = _pipeline_class(place, index, resolution.default_task)
    files = {component.name: _weights(place, component.name) for component in index.components}
    checkpoints = {
        name: Checkpoint.of(place.path, found, place.grants.limits, place.name)
        for name, found in files.items()
        if found
    }
    stored = [checkpoint.dtype for checkpoint in checkpoints.values()]
    usual = max(set(stored), key=stored.count) if stored else "float32"
    dtype, why = compute_dtype(options.get("dtype"), device, default=usual)
    strict = not options.get("allow_missing_weights")
    wanted = frozenset(cls._get_signature_keys(cls)[0])
    classes = {component.name: class_of(place, component) for component in index.components}
    found: dict[str, Any] = {}
    for number, component in enumerate(index.components):
        report(f"Loading {component.name}", number, len(index.components))
        if component.name not in wanted:
            logger.warning("%s: %s is no component of %s: left out", place.name, component.name, cls.__name__)
            continue
        found[component.name] = _component(
            place, component, classes[component.name], checkpoints.get(component.name), dtype, strict=strict
        )
    report("Loaded", len(index.components), len(index.components))
    pipe = place.read(cls.__name__, INDEX, lambda: joined(cls, found, index.absent, index.options, place.name))
    pipe.register_to_config(_name_or_path=str(place.path))
    return pipe, why


def _pipeline_class(place: Place, index: PipelineIndex, task: str | None) -> Any:
    """Return mindone's class for the pipeline that the index names, or for the one that runs `task`."""
    name = class_of_task(index.kind, task)
    known = index.module is None and tables.diffusers().has_pipeline(name)
    found = getattr(import_module("mindone.diffusers"), name, None) if known else None
    if found is None:
        raise BackendNotLoadable(
            f"{place.name}: {INDEX}: _class_name {printable(repr(index.kind))}: mindone has no such pipeline (nothing"
            " was imported for it). Load it with framework='pytorch'."
        )
    return found


def _weights(place: Place, folder: str) -> tuple[str, ...]:
    """Return a component's safetensors; a pickle is refused before mindone is called."""
    files = weight_files(place.names, folder, place.variant)
    if files and not files[0].endswith(".safetensors"):
        raise PickleRefused(
            f"{place.name}: {printable(files[0])}: mindone reads safetensors only (nothing was opened). Load it with"
            " framework='pytorch' and save it again: save_pretrained writes safetensors.",
            source=place.name,
            file=files[0],
        )
    return files


def class_of(place: Place, component: Component) -> Any:
    """Return a component's class, which has to be in the closed table.

    Raises:
        UnknownTypeError: It is not; nothing was imported for it.
        BackendNotLoadable: mindone does not have it.
    """
    table, library, kind = tables.diffusers(), component.library, component.kind
    if not table.has_component(library, kind):
        near = did_you_mean(kind, table.components if library == "diffusers" else table.transformers)
        raise UnknownTypeError(
            f"{place.name}: {INDEX}: {component.name}: {printable(library)}.{printable(kind)} is none of the components"
            f" that are known.{near} It was not imported.",
            source=place.name,
            file=INDEX,
            field=component.name,
        )
    if library == "transformers" and kind.endswith(_PARTS):
        module = "transformers"
    elif library in ("diffusers", "transformers"):
        module = f"mindone.{library}"
    else:
        module = f"mindone.diffusers.pipelines.{library}"
    try:
        found = getattr(import_module(module), "CLIPImageProcessor" if kind == "CLIPFeatureExtractor" else kind, None)
    except ImportError:
        found = None
    if found is None:
        raise BackendNotLoadable(
            f"{place.name}: {INDEX}: {component.name}: {module} has no {printable(kind)}. Load it with"
            " framework='pytorch'."
        )
    return found


def _component(
    place: Place, component: Component, cls: Any, checkpoint: Checkpoint | None, dtype: Any, *, strict: bool
) -> Any:
    """Load one component by what kind of class it is."""
    name, path = component.name, str(place.path / component.name)
    inside = any(one.startswith(f"{name}/") for one in place.names)
    if not inside:
        raise NotAModel(
            f"{place.name}: {INDEX}: {name} is a {component.kind}, and there is no folder {name}/: the copy is"
            " incomplete; fetch it too"
        )
    if cls.__name__.endswith("Scheduler"):
        return place.read(name, f"{name}/*.json", lambda: cls.from_pretrained(path, local_files_only=True))
    if cls.__module__.startswith("transformers."):
        return place.read(name, f"{name}/*.json", lambda: _part(cls, place, name))
    if checkpoint is None or f"{name}/{CONFIG}" not in place.names:
        raise NotAModel(f"{place.name}: {name}/ holds no safetensors, or no {CONFIG}: the copy is incomplete")
    if component.library == "diffusers":
        return _own_model(place, name, cls, dtype, strict=strict)
    return _text_model(place, name, cls, checkpoint, dtype, strict=strict)


def _part(cls: Any, place: Place, name: str) -> Any:
    """Return a tokenizer or processor. transformers 5 leaves out the files that a slow tokenizer reads."""
    import transformers

    needed = getattr(cls, "vocab_files_names", {})
    if needed and f"{name}/tokenizer.json" in place.names and not _has_vocabulary(place, name, needed):
        cls = getattr(transformers, f"{cls.__name__}Fast", transformers.PreTrainedTokenizerFast)
    part = cls.from_pretrained(str(place.path / name), local_files_only=True, trust_remote_code=False)
    if isinstance(part, transformers.PreTrainedTokenizerBase):
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.parts import check_vocabulary

        check_vocabulary(Folder(place.path / name, f"{place.name}: {name}", place.grants), part)
    return part


def _has_vocabulary(place: Place, name: str, needed: Mapping[str, str]) -> bool:
    return all(f"{name}/{file}" in place.names for key, file in needed.items() if key in ("vocab_file", "merges_file"))


def _own_model(place: Place, name: str, cls: Any, dtype: Any, *, strict: bool) -> Any:
    marked = place.variant is not None and any(
        f".{place.variant}" in one for one in weight_files(place.names, name, place.variant)
    )
    keywords = {
        "use_safetensors": True,
        "variant": place.variant if marked else None,
        "local_files_only": True,
        "ignore_mismatched_sizes": True,  # so that `judge` can name them
        "output_loading_info": True,
        "mindspore_dtype": dtype,
    }
    path = str(place.path / name)
    model, info = place.read(name, f"{name}/{CONFIG}", lambda: cls.from_pretrained(path, **keywords))
    judge(model, info, place.name, strict=strict, what=name)
    return model.set_train(False)


def _text_model(place: Place, name: str, cls: Any, checkpoint: Checkpoint, dtype: Any, *, strict: bool) -> Any:
    from modelscope_ext.models.backends._transformers.folder import Folder, refuse_surprises

    where = Folder(place.path / name, f"{place.name}: {name}", place.grants)
    where.raw = where.document(CONFIG)
    if where.raw.get("quantization_config") is not None:
        raise BackendNotLoadable(f"{where.name}: {CONFIG}: quantization_config: mindone takes plain weights only")
    refuse_surprises(where)
    marked = place.variant is not None and any(f".{place.variant}" in path.name for path in checkpoint.files)
    config = place.read(
        name,
        f"{name}/{CONFIG}",
        lambda: cls.config_class.from_pretrained(str(where.path), local_files_only=True),
    )
    variant = place.variant if marked else None
    return read_model(where, cls, config, dtype, variant, "", strict=strict)


def served(pipe: Any, kind: str | None = None) -> tuple[str, ...]:
    """Return the tasks that a pipeline serves here, its own first."""
    return tuple(task for task in pipeline_tasks(kind or type(pipe).__name__) if task in PIPELINES)


def related(loaded: Any, task: str) -> Any:
    """Return the pipeline that runs `task`: the loaded one, or one of the related class with the same components.

    Raises:
        OptionError: These components do not serve the task, or mindone has no such class.
    """
    pipe = loaded.native
    kind = loaded.parts.get("kind") or type(pipe).__name__
    serves = served(pipe, kind)
    if serves and task not in serves:
        raise not_served(task, kind, serves)
    wanted = class_of_task(kind, task)
    if wanted == type(pipe).__name__:
        return pipe
    made = loaded.parts.setdefault("related", {})
    if task not in made:
        cls = getattr(import_module("mindone.diffusers"), wanted, None)
        if cls is None:
            raise OptionError(f"{task}: mindone has no {wanted}, which would run it; it serves {listing(serves)}")
        made[task] = joined(cls, pipe.components, (), dict(pipe.config), wanted)
    return made[task]
