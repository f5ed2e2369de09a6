"""Step 6 of 6, diffusers: what a pipeline gives, in the schema of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError

if TYPE_CHECKING:
    from modelscope_ext.models.backends._diffusers.run import Call

__all__ = ["MAKERS"]


def _field(native: Any, *names: str) -> Any:
    """Return the first of these fields of an output; of a tuple its first value."""
    if isinstance(native, tuple):
        return native[0]
    for name in names:
        value = getattr(native, name, None)
        if value is not None:
            return value
    raise ModelScopeExtError(f"the pipeline gave a {type(native).__name__} without {' or '.join(names)}")


def _images(call: Call, native: Any) -> list[Any]:
    found = _field(native, "images", "image")
    return list(found) if isinstance(found, list | tuple) else [found]


def _videos(call: Call, native: Any) -> list[Any]:
    """Return ``{"frames": [PIL image], "fps": number}``; without `fps` where neither call nor pipeline says it."""
    found = _field(native, "frames", "videos", "images")
    fps = next((value for name in ("fps", "frame_rate") if (value := _said(call, name)) is not None), None)
    rate = {} if fps is None else {"fps": fps}
    return [{"frames": list(frames), **rate} for frames in found]


def _said(call: Call, name: str) -> int | float | None:
    """Return an option of the call, or the pipeline's own default for it."""
    parameter = call.parameters.get(name)
    value = call.options.get(name, parameter.default if parameter is not None else None)
    return value if type(value) in (int, float) else None


def _audios(call: Call, native: Any) -> list[Any]:
    """Return ``{"audio": float32 [samples] or [channels, samples], "sampling_rate": hertz}``."""
    import numpy as np

    found = _field(native, "audios", "audio")
    rate = _rate(call.pipe)
    if hasattr(found, "detach"):
        found = found.detach().float().cpu().numpy()
    return [{"audio": np.asarray(one, dtype=np.float32), "sampling_rate": rate} for one in found]


#: Where a pipeline keeps the rate of its sound: (component, place).
_RATES = (("vocoder", "sampling_rate"), ("vae", "sampling_rate"), ("vae", "sample_rate"), ("unet", "sample_rate"))


def _rate(pipe: Any) -> int:
    for component, name in _RATES:
        part = getattr(pipe, component, None)
        for holder in (getattr(part, "config", None), part):
            value = getattr(holder, name, None)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return int(value)
    raise ModelScopeExtError(f"{type(pipe).__name__} does not say the sampling rate of its sound")


MAKERS: Mapping[str, Callable[[Any, Any], list[Any]]] = {"image": _images, "video": _videos, "audio": _audios}
