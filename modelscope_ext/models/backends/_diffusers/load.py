"""Step 5 of 6, diffusers: from a local folder to a pipeline: each component by itself, then the class that joins them.

`DiffusionPipeline.from_pretrained` would do the same, but passes neither ``local_files_only`` nor
``output_loading_info`` on to its components, and fetches what a combined pipeline's card names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, NotAModel, OptionError, RemoteCodeRefused
from modelscope_ext.models.backends._diffusers.components import load_component, load_single
from modelscope_ext.models.backends._diffusers.folder import Place, refuse_modular
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.pipeline_index import INDEX, PipelineIndex
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["class_for", "dtype_of", "load_native", "related", "tasks_of"]

#: Spelling of a dtype in safetensors -> torch's.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}

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
    options = {**options, "dtype": dtype_of(options.get("dtype"), resolution)}
    index = PipelineIndex.of(place.document(INDEX))
    if index is None:
        if "config.json" not in place.names:
            raise NotAModel(
                f"{place.name}: neither {INDEX} nor config.json is there, so nothing says what its weights belong to."
                " Copy it from the model it was made from."
            )
        report("Loading weights", 0, 1)
        model = load_single(place, options)
        report("Loaded", 1, 1)
        return model
    cls = class_for(place, index, options.get("task"))
    wanted = _expected(cls)
    found: dict[str, Any] = {}
    for number, component in enumerate(index.components):
        report(f"Loading {component.name}", number, len(index.components))
        if component.name not in wanted:
            logger.warning("%s: %s is no component of %s: left out", place.name, component.name, cls.__name__)
            continue
        found[component.name] = load_component(place, component, options)
    report("Loaded", len(index.components), len(index.components))
    return _joined(place, index, cls, found)


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
    name = table.related.get(index.kind, {}).get(task or "", index.kind)
    found = getattr(diffusers, name, None) if table.has_pipeline(name) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        why = _why_not(found)
        raise BackendNotLoadable(
            f"{place.name}: {INDEX}: _class_name {printable(repr(name))} {why or 'is no pipeline that can be loaded:'}"
            f" diffusers {diffusers.__version__} is installed.{did_you_mean(name, {*table.pipelines, *table.others})}"
            + ("" if why else " A newer release may have it: pip install -U diffusers.")
        )
    return found


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


def _joined(place: Place, index: PipelineIndex, cls: Any, found: dict[str, Any]) -> Any:
    """Make the pipeline of its components; those that it can do without are None."""
    wanted, takes = cls._get_signature_keys(cls)
    parameters = inspect.signature(cls.__init__).parameters
    optional = {
        *cls._optional_components,
        *index.absent,
        *(n for n, p in parameters.items() if p.default is not p.empty),
    }
    lacking = sorted(set(wanted) - set(found) - optional)
    if lacking:
        raise NotAModel(
            f"{place.name}: {INDEX}: {cls.__name__} needs {listing(lacking)}, and the index does not name"
            f" {'it' if len(lacking) == 1 else 'them'}. It has {listing(found)}."
        )
    absent = {name: None for name in wanted if name not in found and name in {*cls._optional_components, *index.absent}}
    said = {name: value for name, value in index.options.items() if name in takes and name not in found}
    pipe = place.read(
        cls.__name__, INDEX, lambda: cls(**found, **{k: v for k, v in absent.items() if k not in said}, **said)
    )
    pipe.register_to_config(_name_or_path=str(place.path))
    return pipe


def tasks_of(pipe: Any) -> tuple[str, ...]:
    """Return the tasks that a pipeline's class serves, its own first."""
    table = tables.diffusers()
    name = type(pipe).__name__
    return tuple(dict.fromkeys((*table.pipelines.get(name, ()), *table.related.get(name, ()))))


def dtype_of(value: Any, resolution: Resolution) -> Any:
    """Return the torch dtype for all components: the caller's, else the one most of the weights are stored in.

    diffusers itself would mix them: its own models become float32, transformers' keep theirs.
    """
    import torch

    from modelscope_ext.models.backends._transformers.load import as_dtype

    asked = as_dtype(value)
    if isinstance(asked, torch.dtype):
        return asked
    stored = {name: count for name, count in resolution.weights.dtypes.items() if name in _DTYPES}
    return getattr(torch, _DTYPES[max(stored, key=stored.__getitem__)]) if stored else torch.float32


def related(loaded: Any, task: str) -> Any:
    """Return the pipeline that runs `task`: the loaded one, or the related class with the same components.

    Raises:
        OptionError: A single component, or a task that these components do not serve.
    """
    import diffusers

    pipe = loaded.native
    name = type(pipe).__name__
    if not isinstance(pipe, diffusers.DiffusionPipeline):
        raise OptionError(
            f"{name} is one component of a pipeline and runs no task alone: load the folder that holds the whole"
            f" pipeline (its {INDEX} names this component), or use the component itself as `model.native`"
        )
    table = tables.diffusers()
    wanted = table.related.get(name, {}).get(task)
    if wanted is None or wanted == name:
        return pipe
    made = loaded.parts.setdefault("related", {})
    if task not in made:
        # Without a dtype the library would cast the shared components to float32.
        made[task] = getattr(diffusers, wanted).from_pipe(pipe, dtype=pipe.dtype)
    return made[task]
