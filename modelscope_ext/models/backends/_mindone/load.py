"""Step 5 of 6, mindone: a folder in transformers' layout to a model of MindSpore, with all its weights.

Every call names its trust arguments: ``trust_remote_code=False``, ``local_files_only``, ``use_safetensors`` and
``weights_only``. The class comes out of mindone's own mapping from transformers' configuration classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, NotAModel, OptionError, PickleRefused
from modelscope_ext.models.backends._mindone.tasks import ROWS
from modelscope_ext.models.backends._mindone.weights import Checkpoint, drop_random_pooler, judge
from modelscope_ext.models.backends._mindspore.device import compute_dtype
from modelscope_ext.models.backends._transformers.folder import Folder, read, refuse_surprises
from modelscope_ext.models.backends._transformers.older import in_older_words
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.text import listing, printable

__all__ = ["class_for", "load_model", "read_model"]


def load_model(
    folder: Folder,
    resolution: Resolution,
    task: str | None,
    options: Mapping[str, Any],
    device: str,
    before_weights: Callable[[], None],
) -> tuple[Any, str]:
    """Return the model for `task` in evaluation mode, and why its dtype is not that of the checkpoint, if it is not.

    Args:
        folder: Where to load from; its `config` is set.
        resolution: The decision; the weights it names are read.
        task: The task whose head is needed; None for what the architecture names.
        options: `dtype`, `variant`, `allow_missing_weights`; None where the caller said nothing.
        device: Where it will run.
        before_weights: Called once everything else is settled.

    Raises:
        WeightsMismatch: Weights are missing, left over or of another shape.
        OptionError: mindone has no head of this architecture for `task`, or the dtype is of no use.
        BackendNotLoadable: mindone lacks the architecture, or the weights are quantised.
        PickleRefused, MalformedMetadata, NotAModel: As their names say.
    """
    folder.raw = folder.document("config.json")
    if not folder.raw:
        raise NotAModel(f"{folder.name}: config.json is not there or empty; mindone reads the architecture from it")
    if folder.raw.get("quantization_config") is not None:
        raise BackendNotLoadable(
            f"{folder.name}: config.json: quantization_config: mindone computes with plain weights only. Load it with"
            " framework='pytorch', or take the model it was quantised from."
        )
    refuse_surprises(folder)
    config = folder.config = read(folder, "config.json", lambda: _config(folder))
    cls = class_for(folder, task)
    files = _weights(folder, resolution)
    checkpoint = Checkpoint.of(folder.path, files, folder.grants.limits, folder.name)
    dtype, why = compute_dtype(options.get("dtype"), device, default=checkpoint.dtype)
    before_weights()
    variant = options.get("variant") or resolution.weights.variant
    model = read_model(folder, cls, config, dtype, variant, task, strict=not options.get(_LAX))
    return model, why


_LAX = "allow_missing_weights"


def read_model(
    folder: Folder,
    cls: Any,
    config: Any,
    dtype: Any,
    variant: str | None,
    task: str | None,
    *,
    strict: bool,
) -> Any:
    """Return a model of the class `cls` with all its weights."""
    keywords: dict[str, Any] = {
        "config": config,
        "dtype": dtype,
        "trust_remote_code": False,
        "local_files_only": True,
        "use_safetensors": True,
        "weights_only": True,
        "ignore_mismatched_sizes": True,  # so that `judge` can name them
        "output_loading_info": True,
        **({"variant": variant} if variant else {}),
    }
    path = str(folder.path)
    model, info = read(folder, "its weights", lambda: cls.from_pretrained(path, **keywords))
    drop_random_pooler(model, info, task)
    judge(model, info, folder.name, strict=strict)
    return model.set_train(False)


def _config(folder: Folder) -> Any:
    from transformers import AutoConfig

    place = str(folder.path)
    config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)  # nosec B615 # a folder
    return in_older_words(config, folder)


def class_for(folder: Folder, task: str | None) -> Any:
    """Return mindone's class for the folder's architecture and `task`."""
    from mindone.transformers.models.auto import modeling_auto

    kind = type(folder.config)
    named = [name for name in folder.raw.get("architectures") or () if isinstance(name, str)]
    autos = ROWS[task].autos if task else _autos_of(modeling_auto, named)
    for auto in autos:
        mapping = getattr(modeling_auto, auto)._model_mapping
        try:
            found = mapping[kind]
        except KeyError:  # the mapping holds names of configurations that it has no class for
            continue
        kinds = found if isinstance(found, tuple | list) else (found,)
        return next((one for one in kinds if one.__name__ in named), kinds[0])
    what = f"no head of {kind.__name__} for {task}" if task else f"none of {listing(map(printable, named or ['?']))}"
    error = OptionError if task and _known(modeling_auto, kind) else BackendNotLoadable
    raise error(
        f"{folder.name}: config.json: model_type {printable(repr(folder.raw.get('model_type')))}: mindone has {what}."
        " Pass task= with what it was trained for, or load it with framework='pytorch'."
    )


def _known(modeling_auto: Any, kind: Any) -> bool:
    return kind in modeling_auto.AutoModel._model_mapping


def _autos_of(modeling_auto: Any, named: list[str]) -> list[str]:
    """Return the auto classes that lead to one of the classes in config.json, else the bare model's."""
    autos = [name for name in vars(modeling_auto) if name.startswith("AutoModel")]
    return [name for name in autos if _leads(getattr(modeling_auto, name), named)] or ["AutoModel"]


def _leads(auto: Any, named: list[str]) -> bool:
    mapping = getattr(auto, "_model_mapping", None)
    names = mapping._model_mapping.values() if mapping is not None else ()
    flat = {one for name in names for one in (name if isinstance(name, tuple | list) else (name,))}
    return bool(flat & set(named))


def _weights(folder: Folder, resolution: Resolution) -> tuple[str, ...]:
    """Return the safetensors to read; anything else is refused before mindone is called."""
    files = resolution.weights.files
    if resolution.weights.format == "safetensors" and files:
        return files
    if not files:
        raise NotAModel(f"{folder.name}: there are no weights in the folder: the copy is incomplete")
    raise PickleRefused(
        f"{folder.name}: {printable(files[0])}: mindone reads safetensors only (nothing was opened). Load it with"
        " framework='pytorch' and save it again: save_pretrained writes safetensors.",
        source=folder.name,
        file=files[0],
    )
