"""Step 5 of 6, diffusers: in which dtype and on which devices the components live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.models.backends._diffusers.folder import Place

__all__ = ["SPREAD", "dtype_of", "put"]

#: Spelling of a dtype in safetensors -> torch's.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
#: Strategies of `device_map`; each component goes as a whole to one device.
SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")


def dtype_of(value: Any, place: Place, files: Iterable[str]) -> Any:
    """Return the torch dtype for all components: the caller's, else the one that most of the weights are stored in.

    diffusers itself would mix them: its own models become float32, those of transformers keep theirs.

    Args:
        value: The caller's, or None.
        place: The folder.
        files: The weights that will be read.
    """
    import torch

    from modelscope_ext.models.backends._transformers.load import as_dtype

    asked = as_dtype(value)
    if isinstance(asked, torch.dtype):
        return asked
    stored: dict[str, int] = {}
    for name in files:
        for dtype, count in _stored(place, name).items():
            stored[dtype] = stored.get(dtype, 0) + count
    known = {name: count for name, count in stored.items() if name in _DTYPES}
    return getattr(torch, _DTYPES[max(known, key=known.__getitem__)]) if known else torch.float32


def _stored(place: Place, name: str) -> Mapping[str, int]:
    """Return the elements of one file by dtype; nothing for a pickle, whose header says none."""
    from modelscope_ext.safety.headers import read_header

    if not name.endswith(".safetensors"):
        return {}
    with (place.path / name).open("rb") as file:

        def read(start: int, count: int) -> bytes:
            file.seek(start)
            return file.read(count)

        size = (place.path / name).stat().st_size
        header = read_header(
            "safetensors", partial(read), size, file=name, limits=place.grants.limits, source=place.name
        )
    return header.dtypes if header is not None else {}


def put(native: Any, device: Any, device_map: Any) -> None:
    """Move a pipeline or component to where the caller wants it.

    Args:
        native: A pipeline, or a single component.
        device: A torch device, where there is no map.
        device_map: A strategy, a device, or a dict of components and devices; None for `device`.

    Raises:
        OptionError: A component that the pipeline does not have.
    """
    import torch

    parts = _modules(native)
    if isinstance(device_map, Mapping):
        _spread(native, parts, {str(name): torch.device(where) for name, where in device_map.items()})
    elif device_map in SPREAD and len(parts) > 1 and torch.accelerator.device_count() > 1:
        _spread(native, parts, _balanced(parts))
    elif device.type != "cpu":
        native.to(device)


def _modules(native: Any) -> dict[str, Any]:
    import torch

    parts = getattr(native, "components", {"": native})
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def _balanced(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Give each component, the largest first, to the accelerator with most memory left."""
    import torch

    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    left = {}
    for number in range(torch.accelerator.device_count()):
        left[number] = torch.accelerator.get_memory_info(number)[0]
    found = {}
    for name in sorted(parts, key=lambda one: -_bytes(parts[one])):
        number = max(left, key=left.__getitem__)
        left[number] -= _bytes(parts[name])
        found[name] = torch.device(kind.type, number)
    return found


def _bytes(module: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())


def _spread(native: Any, parts: Mapping[str, Any], where: Mapping[str, Any]) -> None:
    """Put each component on its device, with hooks that bring its inputs there."""
    from accelerate import dispatch_model

    for name in where:
        if name not in parts:
            raise OptionError(
                f"device_map: {printable(name)!r} is no component with weights.{did_you_mean(name, parts)} There are:"
                f" {listing(parts)}"
            )
    accelerators = [device for device in where.values() if device.type != "cpu"]
    for name, device in where.items():
        if device.type != "cpu":
            dispatch_model(parts[name], device_map={"": device}, force_hooks=True)
        elif accelerators:  # its weights stay; it runs on an accelerator, layer by layer
            state = parts[name].state_dict()
            dispatch_model(
                parts[name], device_map={"": "cpu"}, state_dict=state, force_hooks=True, main_device=accelerators[0]
            )
    native.hf_device_map = {name: str(device) for name, device in where.items()}
