"""Step 5 of 6, transformers: from a local folder to a model: which class, how, where, and with all its weights.

Every call into the library names its trust arguments: ``trust_remote_code``, ``local_files_only``,
``use_safetensors`` and ``weights_only``. What transformers would only warn about (new random weights, an unknown
quantisation that it skips, an adapter that it applies or leaves out by what is installed) is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from modelscope_ext.errors import (
    BackendNotLoadable,
    NotAModel,
    OptionError,
    PickleRefused,
)
from modelscope_ext.models.backends._transformers.deferred import import_modeling, no_values_for_meta
from modelscope_ext.models.backends._transformers.folder import Folder, quantisation, read, refuse_surprises
from modelscope_ext.models.backends._transformers.older import in_older_words
from modelscope_ext.models.backends._transformers.tasks import ROWS
from modelscope_ext.models.backends._transformers.weights import (
    check_cross_encoder,
    check_weights,
    drop_random_pooler,
    warn_of_another_head,
)
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["as_dtype", "choose_auto", "load_model", "pick_device", "tasks_of", "tasks_of_class", "use_safetensors"]

_DTYPES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32"}
#: Where transformers is told to look for an adapter that must not be applied: nowhere.
_NO_ADAPTER = "(no adapter)"
_DTYPES |= {"fp64": "float64", "double": "float64"}


def load_model(
    folder: Folder,
    resolution: Resolution,
    task: str | None,
    options: Mapping[str, Any],
    before_weights: Callable[[], None] = lambda: None,
) -> Any:
    """Return the model for `task`, on its device, in evaluation mode, with all its weights read.

    Args:
        folder: Where to load from; its `config` is set.
        resolution: The decision; the format of its weights is binding.
        task: The task whose head is needed; None for what the architecture names.
        options: `device`, `device_map`, `dtype`, `variant`, `allow_missing_weights`, `attn_implementation`,
            `quantization_config`, `max_memory`, `offload_folder`, `num_labels`, `id2label`, `supplied`,
            `without_adapter`; None where the caller said nothing.
        before_weights: Called once everything else is settled.

    Raises:
        WeightsMismatch: Weights are missing, left over or of another shape.
        OptionError: The architecture has no head for `task`, or an option is of no use.
        MissingRequirement: A package that this model needs is not installed.
        MalformedMetadata, UnknownTypeError, RedirectRefused, PickleRefused: A file that must not be used.
    """
    folder.raw = folder.document("config.json")
    refuse_surprises(folder, adapter=not options.get("without_adapter"))
    import_modeling()  # before the config's class, whose module may import the models' parts
    config = folder.config = in_older_words(read(folder, "config.json", lambda: _load_config(folder)), folder)
    _name_labels(config, options)
    if task == "text-ranking":
        check_cross_encoder(config)
    auto = choose_auto(folder, task)
    strict = not options.get("allow_missing_weights")
    keywords: dict[str, Any] = {
        "config": config,
        "dtype": as_dtype(options.get("dtype")),
        "trust_remote_code": folder.trusts("config.json"),
        "local_files_only": True,
        "use_safetensors": use_safetensors(folder, resolution),
        "weights_only": folder.grants.allow_pickle != "full",
        "ignore_mismatched_sizes": True,  # so that `check_weights` can name them
        "output_loading_info": True,
    }
    for name in ("variant", "attn_implementation", "quantization_config", "max_memory", "offload_folder"):
        if options.get(name) is not None:
            keywords[name] = options[name]
    if options.get("without_adapter"):
        keywords["adapter_kwargs"] = {"subfolder": _NO_ADAPTER}
    device = _place(folder, keywords, options)
    reader = _reader(auto, folder)
    before_weights()
    with no_values_for_meta():
        model, info = read(folder, "its weights", lambda: reader(str(folder.path), **keywords))
    drop_random_pooler(model, info, task)
    check_weights(model, info, folder.name, auto.__name__, strict=strict, supplied=options.get("supplied") or ())
    if not options.get("supplied") and not info.get("missing_keys"):  # else the head is the adapter's, or random
        warn_of_another_head(model, folder.raw.get("architectures") or (), folder.name, task)
    if device is not None:
        model.to(device)
    return model.eval()


def _reader(auto: Any, folder: Folder) -> Callable[..., Any]:
    """Return what reads the weights. A decision model's own method cannot say what was missing: its base's can."""
    if auto.__name__ != "AutoModelForDecision":
        return cast("Callable[..., Any]", auto.from_pretrained)
    from transformers import PreTrainedModel

    [kind] = _classes(auto, type(folder.config))
    return partial(PreTrainedModel.from_pretrained.__func__, kind)


def _name_labels(config: Any, options: Mapping[str, Any]) -> None:
    """Give a configuration as many labels as the options say, and the names that they give."""
    labels, number = options.get("id2label"), options.get("num_labels")
    if number is not None:
        if type(number) is not int or number < 1:
            raise OptionError(f"num_labels={printable(repr(number))}: expected a positive int")
        if config.num_labels != number:
            config.num_labels = number
    if labels is None:
        return
    if not isinstance(labels, Mapping) or not all(type(k) is int and isinstance(v, str) for k, v in labels.items()):
        raise OptionError(f"id2label={printable(repr(labels))}: expected a dict of int and str, e.g. {{0: 'bad'}}")
    if number is not None and len(labels) != number:
        raise OptionError(f"id2label names {len(labels)} labels, and num_labels is {number}: pass one of them")
    config.id2label = dict(labels)
    config.label2id = {label: number for number, label in labels.items()}


def _load_config(folder: Folder) -> Any:
    from transformers import AutoConfig

    if not folder.raw:
        raise NotAModel(f"{folder.name}: transformers needs a config.json, and this folder has none.")
    trusted = folder.trusts("config.json")
    place = str(folder.path)
    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=trusted, local_files_only=True)  # nosec B615 # a folder
    except (KeyError, ValueError) as error:
        kind = folder.raw.get("model_type")
        if "auto_map" not in folder.raw and not _knows(kind):
            import transformers

            raise BackendNotLoadable(
                f"{folder.name}: config.json: model_type {printable(repr(kind))} is unknown to transformers "
                f"{transformers.__version__}. A newer release may know it: pip install -U transformers."
            ) from error
        raise


def _knows(model_type: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def choose_auto(folder: Folder, task: str | None) -> Any:
    """Return the auto class that loads `task`, or what the architecture names when there is no task."""
    import transformers

    named = [str(a) for a in folder.raw.get("architectures") or ()]
    autos = ROWS[task].autos if task else _all_autos()
    fits = [auto for name in autos if _serves(auto := getattr(transformers, name), folder)]
    if not fits:
        kind = folder.raw.get("model_type")
        can = tasks_of(folder)
        raise OptionError(
            f"{folder.name}: {task!r} needs {' or '.join(autos)}, and transformers has none for model_type {kind!r}. "
            f"This model can serve: {listing(can)}.{did_you_mean(task or '', can)}"
        )
    return next((auto for auto in fits if _class_names(auto, folder) & set(named)), fits[0])


def _all_autos() -> tuple[str, ...]:
    """Return AutoModel, then the auto classes of all rows, then the others that transformers has."""
    from transformers.models.auto import modeling_auto

    ours = (auto for row in ROWS.values() for auto in row.autos)
    theirs = (name for name in modeling_auto.__all__ if name.startswith("AutoModelFor"))
    return tuple(dict.fromkeys(("AutoModel", *ours, *theirs)))


def _serves(auto: Any, folder: Folder) -> bool:
    remote = folder.raw.get("auto_map")
    if folder.grants.may_run_code and isinstance(remote, dict) and auto.__name__ in remote:
        return True
    return bool(_classes(auto, type(folder.config)))


def _classes(auto: Any, config: type) -> tuple[Any, ...]:
    """Return the models that an auto class has for a kind of configuration; a model's own class has itself."""
    mapping = getattr(auto, "_model_mapping", None)
    if mapping is None:
        return (auto,) if auto.config_class is config else ()
    if config not in mapping:
        return ()
    found = mapping[config]
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def _class_names(auto: Any, folder: Folder) -> set[str]:
    return {one.__name__ for one in _classes(auto, type(folder.config))}


def tasks_of(folder: Folder) -> tuple[str, ...]:
    """Return the tasks that transformers has a class for, given this folder's configuration."""
    import transformers

    return tuple(
        task for task, row in ROWS.items() if any(_serves(getattr(transformers, name), folder) for name in row.autos)
    )


def tasks_of_class(model: Any) -> tuple[str, ...]:
    """Return the tasks that a model's own class serves; a classifier with one label ranks first of all."""
    import transformers

    name, found = type(model).__name__, []
    for task, row in ROWS.items():
        if any(name in _names_of(getattr(transformers, auto)) for auto in row.autos):
            found.append(task)
    if "text-ranking" in found:
        found.remove("text-ranking")
        found[:0] = ["text-ranking"] if model.config.num_labels == 1 else []
    return tuple(found)


def _names_of(auto: Any) -> set[str]:
    """Return the names of all models that an auto class leads to; nothing of them is imported."""
    mapping = getattr(auto, "_model_mapping", None)
    if mapping is None:
        return {auto.__name__}
    classes = mapping._model_mapping.values()
    return {name for one in classes for name in (one if isinstance(one, tuple) else (one,))}


def use_safetensors(folder: Folder, resolution: Resolution) -> bool:
    """Return whether the weights are safetensors, as decided; pickles are refused where the caller permits none.

    Raises:
        BackendNotLoadable: Weights of another framework.
        PickleRefused: Pickles, and ``allow_pickle=False``.
    """
    form = resolution.weights.format
    if form is None:
        form = "safetensors" if any(folder.path.glob("*.safetensors")) else "pickle"
    if form not in ("safetensors", "pickle"):
        raise BackendNotLoadable(
            f"{folder.name}: the weights are {form} files, and transformers 5 reads safetensors and PyTorch's .bin. "
            "Convert them with transformers 4, or pick another backend."
        )
    if form == "pickle" and folder.grants.allow_pickle is False:
        raise PickleRefused(
            f"{folder.name}: the weights are pickles, which allow_pickle=False refuses (nothing was opened).",
            source=folder.name,
            grant="allow_pickle",
        )
    return form == "safetensors"


def as_dtype(value: Any) -> Any:
    """Return a torch dtype, or ``"auto"``: the checkpoint's own, as transformers 5 does.

    Raises:
        OptionError: A name that is no dtype of torch.
    """
    if value is None or value == "auto":
        return "auto"
    import torch

    if isinstance(value, torch.dtype):
        return value
    name = str(value).removeprefix("torch.")
    found = getattr(torch, _DTYPES.get(name, name), None)
    if not isinstance(found, torch.dtype):
        known = ["auto", "float16", "bfloat16", "float32", "float64", *_DTYPES]
        raise OptionError(f"dtype={printable(repr(value))}: no dtype of torch.{did_you_mean(name, known)}")
    return found


def pick_device(value: Any) -> Any:
    """Return the torch device for the option `device`: as named, or an accelerator where there is one, else the CPU.

    Raises:
        OptionError: A device that this machine or this build of torch does not have.
    """
    import torch

    if value is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device(found.type if found is not None else "cpu")
    name = "cuda" + value[3:] if isinstance(value, str) and value.startswith("gpu") else value
    try:
        device = torch.device(f"cuda:{name}" if isinstance(name, int) and name >= 0 else "cpu" if name == -1 else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        has = [f"{a}:{i}" for a in _accelerators() for i in range(torch.accelerator.device_count())]
        raise OptionError(
            f"device={printable(repr(value))} cannot be used here: this build of torch and this machine have"
            f" {listing(['cpu', *has])}. Leave device= out to take what there is."
        ) from error
    return device


def _accelerators() -> list[str]:
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return [found.type] if found is not None else []


def _place(folder: Folder, keywords: dict[str, Any], options: Mapping[str, Any]) -> Any:
    """Add `device_map` to `keywords` where the library must place the weights itself, else return the device."""
    device_map = options.get("device_map")
    if device_map is not None:
        if options.get("device") is not None:
            raise OptionError("device and device_map exclude each other: pass one of them.")
        from modelscope_ext.models.backends._transformers.inputs import need

        need("accelerate", "device_map")
        keywords["device_map"] = device_map
        return None
    device = pick_device(options.get("device"))
    if quantisation(folder) or options.get("quantization_config") is not None:
        keywords["device_map"] = {"": device}
        return None
    return device
