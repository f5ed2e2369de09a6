"""A model's answers as JSON: arrays become lists, pictures, sounds and videos ``data:`` URLs, which are inputs too."""

from __future__ import annotations

import base64
from typing import Any

from modelscope_ext.models import types as t
from modelscope_ext.models.encode import with_media
from modelscope_ext.pipelines.saving import as_json as json_types

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


def data_url(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` URL.

    Example:
        >>> data_url(b"hi", "text/plain")
        'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def as_json(value: Any) -> Any:
    """Return an answer in JSON types; a number that is none becomes null, what JSON has no form for its text.

    Example:
        >>> as_json({"label": "a", "score": float("nan"), "box": (1, 2)})
        {'label': 'a', 'score': None, 'box': [1, 2]}
    """
    return json_types(with_media(value, data_url), str)
