"""Step 5 of 6, mindformers: the network of a folder's settings, filled tensor by tensor from its checkpoint.

mindformers' own loading is not used: it takes whatever yaml lies first in the folder, loses the dtypes of a yaml it
wrote itself, holds a checkpoint three times in memory, and goes on with random weights where some are missing. The
classes are mindformers'; which of them, and with which settings, follows from closed tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, OptionError, WeightsMismatch
from modelscope_ext.models.backends._mindformers.arrays import from_bytes
from modelscope_ext.models.backends._mindformers.files import documents_of, weight_files
from modelscope_ext.models.backends._mindformers.settings import Settings, describing, settings_of
from modelscope_ext.models.backends._mindformers.tables import ON_CPU
from modelscope_ext.models.backends._mindformers.tensors import compare, expected, inner_size
from modelscope_ext.models.convert.tensors import Source, Stored
from modelscope_ext.models.resolution import Reason
from modelscope_ext.safety.grants import Grants
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import listing, printable

__all__ = ["SEQUENCE", "Network", "load_network", "read_settings"]

#: Tokens that the CPU side makes room for unless the caller asks for more: the mask of n tokens takes n * n numbers.
SEQUENCE = 4096
_DTYPES = ("compute_dtype", "layernorm_compute_type", "softmax_compute_type", "rotary_dtype", "residual_dtype")
#: Parameters that are no weights: room for keys and values of earlier tokens.
_CACHES = ("key_cache", "value_cache")


@dataclass
class Network:
    """A network with what belongs to it.

    Attributes:
        cell: mindformers' model.
        settings: What the folder says.
        dtypes: The dtype in which each tensor is saved again.
        because: Reasons for what only the load decided.
    """

    cell: Any
    settings: Settings
    dtypes: Mapping[str, str]
    because: dict[str, tuple[Reason, ...]] = field(default_factory=dict)


def read_settings(folder: Path, source: str, grants: Grants, wanted: str | None) -> tuple[Settings, tuple[str, ...]]:
    """Return what a folder says of its model, and the names of its checkpoint files.

    Raises:
        BackendNotLoadable: It registers classes of its own.
    """
    from modelscope_ext.hub.locate import open_snapshot

    snapshot = open_snapshot(str(folder), limits=grants.limits)
    documents = documents_of(snapshot)
    file = describing(documents, source, wanted)
    document = documents[file]
    if isinstance(document, Mapping) and document.get("auto_register"):
        raise BackendNotLoadable(
            f"{printable(source)}: {printable(file)}: auto_register: the model's own classes are not run by this"
            " backend, whatever is trusted; load it with mindformers itself, or register a class for it:"
            " @MODELS.register_module(backend='mindformers')"
        )
    return settings_of(document, file, source), weight_files(snapshot, file)


def load_network(
    folder: Path, source: str, settings: Settings, files: tuple[str, ...], options: Mapping[str, Any], grants: Grants,
    device: str,
) -> Network:  # fmt: skip
    """Build the network and fill it.

    Args:
        folder: The model's folder.
        source: The model as the caller named it.
        settings: What it says of itself.
        files: Its checkpoint files.
        options: `dtype`, `seq_length`, `allow_missing_weights`.
        grants: What the caller permits.
        device: What `_mindspore.device.start` returned.

    Raises:
        WeightsMismatch: Tensors are missing, left over, or of another shape than the settings say.
        OptionError: A dtype that is none for weights, or that the CPU cannot compute in.
    """
    where = f"{printable(source)}: {printable(settings.file)}"
    strict = not options.get("allow_missing_weights")
    with Source(folder, files, "mindspore", grants.limits, source) as stored:
        values = {**settings.values, "intermediate_size": inner_size(settings.values)}
        _check(stored.tensors, values, where, strict)
        held = _usual(stored.tensors)
        values, why = _chosen(values, held, options, device)
        because = _reasons(settings, values, why)
        cell = _built(settings, values)
        _fill(cell, stored, where, strict)
    asked = None if options.get("dtype") in (None, "auto") else str(options["dtype"])
    dtypes = {name: asked or one.dtype for name, one in stored.tensors.items()}
    return Network(cell, settings, dtypes, because)


def _check(tensors: Mapping[str, Stored], values: Mapping[str, Any], where: str, strict: bool) -> None:
    """Hold names and shapes against the settings, before anything is allocated."""
    found = compare({name: one.shape for name, one in tensors.items()}, expected(values), values, "mindformers")
    for what, names in found.problems():
        said = f"{where}: {what}: {listing(map(printable, names), 6)}."
        if strict or names is found.wrong:
            raise WeightsMismatch(
                f"{said} The checkpoint belongs to other settings, or is incomplete."
                + (" Pass allow_missing_weights=True to load it with random ones." if names is found.missing else "")
            )
        logger.warning("%s Continuing, as allow_missing_weights=True asks.", said)


def _usual(tensors: Mapping[str, Stored]) -> str:
    """Return the dtype that most bytes have."""
    sizes: dict[str, int] = {}
    for one in tensors.values():
        sizes[one.dtype] = sizes.get(one.dtype, 0) + one.bytes
    return max(sizes, key=sizes.__getitem__)


def _chosen(
    values: Mapping[str, Any], held: str, options: Mapping[str, Any], device: str
) -> tuple[dict[str, Any], list[tuple[str, Any, str]]]:
    """Return the settings to build with, and those that were changed, each with its new value and why.

    A dtype that the settings leave out, as mindformers does in a yaml of its own, is that of the checkpoint.
    """
    from modelscope_ext.models.backends._mindspore.device import compute_dtype, dtype_name

    chosen, changed = dict(values), []
    if str(options.get("dtype")) == "float64":
        raise OptionError("dtype='float64': mindformers computes in float32, float16 or bfloat16")
    dtype, why = compute_dtype(options.get("dtype"), device, default=held if held != "float64" else "float32")
    chosen["param_init_type"] = dtype_name(dtype)
    asked = options.get("dtype") not in (None, "auto")
    for key in _DTYPES:
        if key not in values and key != "compute_dtype":
            continue
        if key in ("compute_dtype", "residual_dtype") and (asked or key not in values):
            chosen[key] = dtype_name(dtype)
        else:
            one, reason = compute_dtype(None, device, default=values[key])
            chosen[key], why = dtype_name(one), why or reason
    chosen.pop("embedding_init_type", None)  # the embedding is held as the checkpoint holds it, like all the others
    if why:
        changed.append(("compute_dtype", chosen["compute_dtype"], why))
    if device == "cpu":
        for key, value in ON_CPU.items():
            if chosen.get(key, _DEFAULTS.get(key, False)) != value:
                changed.append((key, value, "MindSpore's CPU side has no kernel for it as it stands"))
            chosen[key] = value
        room = options.get("seq_length") or min(chosen.get("seq_length", SEQUENCE), SEQUENCE)
        if room != chosen.get("seq_length"):
            changed.append(("seq_length", room, "tokens that room is made for; seq_length= takes another number"))
        chosen["seq_length"] = room
    elif options.get("seq_length"):
        chosen["seq_length"] = options["seq_length"]
    return chosen, changed


#: What mindformers does where a file says nothing.
_DEFAULTS = {"fused_rms_norm": True}


def _reasons(
    settings: Settings, values: Mapping[str, Any], changed: list[tuple[str, Any, str]]
) -> dict[str, tuple[Reason, ...]]:
    """Say what was changed, in the log and in `explain()`."""
    if not changed:
        return {}
    said = ", ".join(f"{key}={value}" for key, value, _ in changed)
    logger.info("%s: loaded with %s", settings.file, said)
    rows = [
        Reason(settings.file, f"{settings.place}{key}", settings.values.get(key), f"set to {value}: {why}")
        for key, value, why in changed
    ]
    return {"settings": tuple(rows)}


def _built(settings: Settings, values: Mapping[str, Any]) -> Any:
    """Make the network; its parameters get no numbers yet."""
    from modelscope_ext.models.backends._mindformers.library import imported

    row = settings.architecture
    module = imported(row.module)
    from mindspore.nn.utils import no_init_parameters

    config = getattr(module, row.config)(**values)
    with no_init_parameters():
        cell = getattr(module, settings.name)(config)
    return cell.set_train(False)


def _fill(cell: Any, stored: Source, where: str, strict: bool) -> None:
    """Give each parameter its numbers, one tensor at a time."""
    import mindspore
    import numpy as np

    missing = []
    for parameter in cell.get_parameters():
        tensor = stored.tensors.get(parameter.name)
        if tensor is None:
            if not parameter.name.endswith(_CACHES):
                missing.append(parameter.name)
            if parameter.has_init:
                parameter.init_data()
            continue
        data = bytearray(tensor.bytes)
        at = 0
        for piece in stored.pieces(tensor):
            data[at : at + len(piece)] = piece
            at += len(piece)
        array = from_bytes(data, tensor.dtype, tensor.shape)
        made = mindspore.Tensor(np.ascontiguousarray(array))
        if made.dtype != parameter.dtype:
            made = made.astype(parameter.dtype)
        parameter.set_data(made)
    if missing and strict:
        raise WeightsMismatch(
            f"{where}: {len(missing)} parameters of mindformers' network are not in the checkpoint:"
            f" {listing(missing, 6)}. This release of mindformers has another network than 1.8."
        )
