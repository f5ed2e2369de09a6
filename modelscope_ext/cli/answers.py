"""A model's answers as text for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.models.media import is_image
from modelscope_ext.pipelines.saving import as_json
from modelscope_ext.utils.text import printable

__all__ = ["as_json", "as_text"]

_NUMBERS = 4  # of a vector, in text


def as_text(value: Any) -> str:
    """Return an answer as one or more lines.

    Example:
        >>> print(as_text([{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}]))
        0.9000  cat
        0.1000  dog
        >>> as_text({"generated_text": "Hi"})
        'Hi'
    """
    if isinstance(value, str):
        return "\n".join(printable(line, 100_000) for line in value.split("\n"))
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        return "\n".join(as_text(item) for item in value)
    if is_image(value):
        return f"{value.mode} image of {value.width} x {value.height} pixels (--save DIR writes it)"
    if callable(getattr(value, "tolist", None)):
        return _of_array(value)
    if isinstance(value, list | tuple) and all(isinstance(item, float) for item in value):
        return "  ".join(f"{item:.4f}" for item in value)
    return printable(value if isinstance(value, str) else repr(value), 2000)


def _of_mapping(value: Mapping[str, Any]) -> str:
    text = value.get("generated_text")
    if len(value) == 1 and isinstance(text, str):
        return as_text(text)
    if isinstance(value.get("labels"), list) and isinstance(value.get("scores"), list):
        return "\n".join(
            f"{score:.4f}  {as_text(label)}" for label, score in zip(value["labels"], value["scores"], strict=False)
        )
    score = value.get("score")
    head = f"{score:.4f}  " if isinstance(score, float) else ""
    rest = {key: item for key, item in value.items() if not (head and key == "score")}
    if len(rest) == 1:
        return head + as_text(next(iter(rest.values())))
    return head + "  ".join(f"{printable(key)}={as_text(item)}" for key, item in rest.items())


def _of_array(value: Any) -> str:
    flat = value.reshape(-1)
    first = " ".join(f"{float(number):.4f}" for number in flat[:_NUMBERS])
    more = " ..." if flat.shape[0] > _NUMBERS else ""
    return f"{value.dtype} {list(value.shape)}  {first}{more}"
