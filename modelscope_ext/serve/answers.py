"""A model's answers as JSON: arrays become lists, pictures, sounds and videos ``data:`` URLs, which are inputs too."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from math import isfinite
from typing import Any

from modelscope_ext.models import types as t
from modelscope_ext.models.encode import animated, wav
from modelscope_ext.models.media import is_image

__all__ = ["TEXTS", "as_json", "data_url"]

#: Types of answers that are a text.
TEXTS: tuple[Any, ...] = (
    t.Generated,
    t.Generated | list[t.Generated],
    t.Text,
    t.Text | list[t.Text],
    t.Transcript,
    t.Translation | list[t.Translation],
    t.Summary | list[t.Summary],
)

#: Frames a second of a video whose model does not say.
_FPS = 8.0


def data_url(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` URL.

    Example:
        >>> data_url(b"hi", "text/plain")
        'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def as_json(value: Any) -> Any:
    """Return an answer in JSON types; a number that is none becomes null.

    Example:
        >>> as_json({"label": "a", "score": float("nan"), "box": (1, 2)})
        {'label': 'a', 'score': None, 'box': [1, 2]}
    """
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if is_image(value):
        return _png(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if str(getattr(value, "dtype", "")) == "bool" and getattr(value, "ndim", 0) == 2:
        return _mask(value)
    if callable(getattr(value, "tolist", None)):
        return as_json(value.tolist())
    return str(value)


def _of_mapping(value: Mapping[Any, Any]) -> Any:
    rate, frames = value.get("sampling_rate"), value.get("frames")
    if isinstance(rate, int) and hasattr(value.get("audio"), "dtype"):
        return {**value, "audio": data_url(wav(value["audio"], rate), "audio/wav")}
    if isinstance(frames, list) and frames and all(map(is_image, frames)):
        return {**value, "frames": data_url(animated(frames, value.get("fps") or _FPS), "image/apng")}
    return {str(key): as_json(item) for key, item in value.items()}


def _png(image: Any) -> str:
    data = BytesIO()
    image.save(data, "PNG")
    return data_url(data.getvalue(), "image/png")


def _mask(array: Any) -> str:
    from PIL import Image

    return _png(Image.fromarray(array))
