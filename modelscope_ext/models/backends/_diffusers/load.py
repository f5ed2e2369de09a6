"""Step 5 of 6, diffusers: from a local folder to a pipeline: each component by itself, then the class that joins them.

`DiffusionPipeline.from_pretrained` would do the same, but passes neither ``local_files_only`` nor
``output_loading_info`` on to its components, and fetches what a combined pipeline's card names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, NotAModel, OptionError, RemoteCodeRefused
from modelscope_ext.models.backends._diffusers.components import load_component, load_single
from modelscope_ext.models.backends._diffusers.folder import Place, refuse_modular
from modelscope_ext.models.backends._diffusers.placing import dtype_of
from modelscope_ext.models.backends._diffusers.schedulers import exchange
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.inference import pipeline_tasks
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex, weight_files
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = [
    "check_task",
    "class_for",
    "class_of_task",
    "joined",
    "load_native",
    "not_served",
    "refuse_task",
    "related",
    "tasks_of",
]

Report = Callable[[str, int, int], None]


def load_native(place: Place, resolution: Resolution, options: Mapping[str, Any], report: Report) -> Any:
    """Return the pipeline of the folder for the asked task, or the single component that the folder is.

    Args:
        place: Where to load from.
        resolution: The decision.
        options: `task`, `dtype`, `device`, `device_map`, `allow_missing_weights`, `scheduler`; None where unsaid.
        report: Called with a label, the steps done and their number.
    """
    refuse_modular(place, place.names)
    index = PipelineIndex.of(place.document(INDEX))
    folders = [""] if index is None else [component.name for component in index.components]
    files = [name for folder in folders for name in weight_files(place.names, folder, place.variant)]
    options = {**options, "dtype": dtype_of(options.get("dtype"), place, files)}
    if index is None:
        _refuse_scheduler(options, "a single component")
        if "config.json" not in place.names:
            raise BackendNotLoadable(
                f"{place.name}: neither {INDEX} nor config.json is there, so nothing says what its weights belong to."
                " Copy it from the model it was made from. A checkpoint in one file, or a word learned by textual"
                " inversion, is recognised but not loaded: diffusers takes the missing configuration from another"
                " source (from_single_file, load_textual_inversion)."
            )
        report("Loading weights", 0, 1)
        model = load_single(place, options)
        report("Loaded", 1, 1)
        return model
    refuse_task(resolution, index)
    cls = class_for(place, index, resolution.default_task)
    wanted = _expected(cls)
    found: dict[str, Any] = {}
    for number, component in enumerate(index.components):
        report(f"Loading {component.name}", number, len(index.components))
        if component.name not in wanted:
            logger.warning("%s: %s is no component of %s: left out", place.name, component.name, cls.__name__)
            continue
        found[component.name] = load_component(place, component, options)
    report("Loaded", len(index.components), len(index.components))
    pipe = place.read(cls.__name__, INDEX, lambda: joined(cls, found, index.absent, index.options, place.name))
    pipe.register_to_config(_name_or_path=str(place.path))
    if options.get("scheduler") is not None:
        exchange(pipe, options["scheduler"], place.name)
    return pipe


def refuse_task(resolution: Resolution, index: PipelineIndex) -> None:
    """Refuse the caller's task where the pipeline's class is known to serve others."""
    serves = pipeline_tasks(index.kind)
    if serves and any(finding.code == "task-not-served" for finding in resolution.findings):
        raise not_served(resolution.tasks[0], index.kind, serves)


def not_served(task: str, name: str, serves: tuple[str, ...]) -> OptionError:
    """Return the error for a task that a pipeline's class does not serve."""
    return OptionError(
        f"{name} does not serve {printable(task)!r}; it serves {listing(serves)}.{did_you_mean(task, serves)}"
    )


def _refuse_scheduler(options: Mapping[str, Any], what: str) -> None:
    if options.get("scheduler") is not None:
        raise OptionError(f"scheduler={printable(repr(options['scheduler']))}: {what} has no scheduler to exchange")


def class_for(place: Place, index: PipelineIndex, task: str | None) -> Any:
    """Return the pipeline's class, or the one that runs `task` with the same components.

    Raises:
        BackendNotLoadable: A class that neither the table nor the installed release has.
        RemoteCodeRefused: A class that comes as Python of the folder, and may not run.
    """
    import diffusers

    if index.module is not None:
        return _own_class(place, index)
    table = tables.diffusers()
    name = class_of_task(index.kind, task)
    found = getattr(diffusers, name, None) if table.has_pipeline(name) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        why = _why_not(found)
        raise BackendNotLoadable(
            f"{place.name}: {INDEX}: _class_name {printable(repr(name))} {why or 'is no pipeline that can be loaded:'}"
            f" diffusers {diffusers.__version__} is installed.{did_you_mean(name, {*table.pipelines, *table.others})}"
            + ("" if why else " A newer release may have it: pip install -U diffusers.")
        )
    return found


def class_of_task(name: str, task: str | None) -> str:
    """Return the class that runs `task` with the components of the class `name`: mostly itself."""
    serves = pipeline_tasks(name)
    related = tables.diffusers().related.get(name, {})
    return related.get(task or "", name) if task in serves else name


def _why_not(found: Any) -> str | None:
    """Say what a stand-in for a class lacks."""
    if found is None or ".dummy_" not in getattr(found, "__module__", ""):
        return None
    needs = getattr(found, "_backends", ())
    return f"needs {listing(needs)}, which is not all installed here:"


def _own_class(place: Place, index: PipelineIndex) -> Any:
    file = f"{index.module}.py"
    if not place.grants.may_run_code:
        raise RemoteCodeRefused(
            f"{place.name}: {INDEX}: _class_name: the pipeline {printable(index.kind)} comes as code of this folder"
            f" ({printable(file)}; nothing was executed). Read it, then pass trust_remote_code=True.",
            source=place.name,
            file=INDEX,
            field="_class_name",
            grant="trust_remote_code",
        )
    from diffusers.utils import get_class_from_dynamic_module

    return place.read(
        f"the code in {file}",
        file,
        lambda: get_class_from_dynamic_module(
            str(place.path),
            module_file=file,
            class_name=index.kind,
            local_files_only=True,
            trust_remote_code=place.grants.may_run_code,
        ),
    )


def _expected(cls: Any) -> frozenset[str]:
    return frozenset(cls._get_signature_keys(cls)[0])


def joined(cls: Any, found: Mapping[str, Any], absent: Iterable[str], options: Mapping[str, Any], source: str) -> Any:
    """Make a pipeline of its components; those that it can do without are None."""
    wanted, takes = cls._get_signature_keys(cls)
    free = {*cls._optional_components, *absent}
    defaults = {
        name for name, one in inspect.signature(cls.__init__).parameters.items() if one.default is not one.empty
    }
    lacking = sorted(set(wanted) - set(found) - free - defaults)
    if lacking:
        raise NotAModel(
            f"{source}: {INDEX}: {cls.__name__} needs {listing(lacking)}, which the index does not name. It has"
            f" {listing(found)}."
        )
    parts = {name: found.get(name) for name in wanted if name in found or name in free}
    return cls(**parts, **{name: value for name, value in options.items() if name in takes and name not in parts})


def tasks_of(pipe: Any) -> tuple[str, ...]:
    """Return the tasks that a pipeline's class serves, its own first."""
    return pipeline_tasks(type(pipe).__name__)


def check_task(loaded: Any, task: str | None) -> str:
    """Return the class that runs `task` with the loaded components.

    Raises:
        OptionError: A single component, or a task that these components do not serve.
    """
    import diffusers

    name = type(loaded.native).__name__
    if not isinstance(loaded.native, diffusers.DiffusionPipeline):
        raise OptionError(
            f"{name} is one component of a pipeline and runs no task alone: {INDEX} and the components beside it are"
            f" missing. Load the folder that holds the whole pipeline, or use the component as `model.native`."
        )
    base = loaded.parts.get("kind", name)  # the class of the folder, which may be loaded as a related one
    serves = pipeline_tasks(base)
    if task is not None and serves and task not in serves:
        raise not_served(task, base, serves)
    return name if task is None else class_of_task(base, task)


def related(loaded: Any, task: str) -> Any:
    """Return the pipeline that runs `task`: the loaded one, or one of the related class with the same components.

    `DiffusionPipeline.from_pipe` would do the same, but casts the components, which the two share.

    Raises:
        OptionError: As `check_task`.
    """
    import diffusers

    pipe, wanted = loaded.native, check_task(loaded, task)
    if wanted == type(pipe).__name__ or loaded.parts.get("own"):
        return pipe
    made = loaded.parts.setdefault("related", {})
    if task not in made:
        cls = getattr(diffusers, wanted)
        made[task] = joined(cls, pipe.components, (), dict(pipe.config), wanted)
    return made[task]
