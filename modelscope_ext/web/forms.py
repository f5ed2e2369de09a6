"""Inputs of the page: for each kind of input the component that asks for it, and how its value becomes an input."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelscope_ext.models.schemas import schema_of
from modelscope_ext.serve.refusal import Refused

__all__ = ["BUTTONS", "FORMS", "Form", "fields_of", "item_of"]


@dataclass(frozen=True)
class Form:
    """How one kind of input is asked for.

    Attributes:
        component: Gradio's class.
        keywords: Its arguments.
        read: Turns its value into what the task takes; None stands for nothing given.
    """

    component: str
    keywords: Mapping[str, Any]
    read: Callable[[Any], Any] = lambda value: value


def _lines(value: Any) -> list[str] | None:
    return [line for line in (value or "").splitlines() if line.strip()] or None


def _document(value: Any) -> Any:
    if not (value or "").strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"this is no JSON: {error}") from error


def _sound(value: Any) -> Any:
    if value is None:
        return None
    rate, samples = value
    return {"raw": samples if samples.ndim == 1 else samples.mean(axis=1).astype(samples.dtype), "sampling_rate": rate}


def _film(value: Any) -> Any:
    return None if value is None else Path(value).read_bytes()


def _pictures(value: Any) -> Any:
    return [one[0] if isinstance(one, tuple) else one for one in value] if value else None


def _grid(value: Any) -> Any:
    """Return a table of texts as columns."""
    if value is None or not value:
        return None
    head, *rows = [[str(cell) for cell in row] for row in value]
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    return {name: [row[i] for row in rows] for i, name in enumerate(head) if name.strip()} or None


def _numbers(value: Any) -> Any:
    words = (value or "").replace(",", " ").split()
    try:
        return [float(word) for word in words] or None
    except ValueError as error:
        raise Refused(400, f"expected numbers, separated by commas ({error})") from error


def _seed(value: Any) -> Any:
    return None if value is None else int(value)


#: Buttons of components that would have one to share with a website.
BUTTONS: Mapping[str, list[str]] = {
    "Image": ["download", "fullscreen"],
    "Gallery": ["download", "fullscreen"],
    "Audio": ["download"],
    "Video": ["download"],
}

_TEXT = Form("Textbox", {"lines": 3}, lambda value: value or None)
_JSON = Form("Textbox", {"lines": 4}, _document)

#: Kind of input -> its form.
FORMS: Mapping[str, Form] = {
    "text": _TEXT,
    "texts": Form("Textbox", {"lines": 4}, _lines),
    "image": Form("Image", {"type": "pil", "sources": ["upload", "clipboard"]}),
    "images": Form("Gallery", {"type": "pil"}, _pictures),
    "audio": Form("Audio", {"type": "numpy", "sources": ["upload", "microphone"]}, _sound),
    "video": Form("Video", {"sources": ["upload"]}, _film),
    "table": Form("Dataframe", {"type": "array", "headers": None, "row_count": 3, "column_count": 3}, _grid),
    "series": Form("Textbox", {"lines": 2}, _numbers),
    "seed": Form("Number", {"precision": 0}, _seed),
    "questions": _JSON,
    "any": _JSON,
}


def fields_of(task: str) -> dict[str, str]:
    """Return what the page asks for: name -> kind, ``?`` behind the kind of what may be left empty.

    Example:
        >>> fields_of("text-ranking"), fields_of("text-classification")
        ({'query': 'text', 'documents': 'texts'}, {'text': 'text', 'text_pair': 'text?'})
    """
    schema = schema_of(task)
    if schema.input == "fields":
        named = {("state", "any"): "text", ("query", "any"): "text"}
        return {name: named.get((name, kind), kind) for name, kind in schema.fields.items()}
    if schema.input == "pair":
        return {"text": "text", "text_pair": "text?"}
    optional = "?" if schema.input == "seed" else ""
    return {schema.input: schema.input + optional}


def item_of(task: str, values: list[Any]) -> Any:
    """Return one input of `task` from the values of its components, in the order of `fields_of`.

    Raises:
        Refused: Something that is needed was left empty, or cannot be read.
    """
    schema, given = schema_of(task), {}
    for (name, kind), value in zip(fields_of(task).items(), values, strict=True):
        read = FORMS[kind.rstrip("?")].read(value)
        if read is None and not kind.endswith("?"):
            raise Refused(400, f"{name.replace('_', ' ')}: nothing was given")
        if read is not None:
            given[name] = read
    if schema.input == "fields" or len(given) > 1:
        return given
    return next(iter(given.values()), None)
