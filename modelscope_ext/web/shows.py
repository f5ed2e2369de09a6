"""Outputs of the page: for each type of answer the component that shows it, and how an answer becomes its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelscope_ext.models import types as t
from modelscope_ext.models.schemas import schema_of
from modelscope_ext.serve.answers import TEXTS, as_json

__all__ = ["Show", "show_of"]


@dataclass(frozen=True)
class Show:
    """How one type of answer is shown.

    Attributes:
        component: Gradio's class.
        keywords: Its arguments.
        value: Called with the answer and the input it answers.
    """

    component: str
    keywords: Mapping[str, Any]
    value: Callable[[Any, Any], Any]


def _labels(answer: Any, item: Any) -> Any:
    rows = answer if isinstance(answer, list) else [answer]
    return {str(row["label"]): row["score"] for row in rows}


def _zero_shot(answer: Any, item: Any) -> Any:
    return dict(zip(answer["labels"], answer["scores"], strict=False))


def _text(answer: Any, item: Any) -> str:
    first = answer[0] if isinstance(answer, list) else answer
    said = next(value for key, value in first.items() if key.endswith("text"))
    return said if isinstance(said, str) else str(said[-1].get("content", ""))


def _picture_of(item: Any) -> Any:
    picture: Any = item.get("image") if isinstance(item, dict) else item
    return picture.convert("RGB") if picture is not None and hasattr(picture, "convert") else picture


def _boxes(answer: Any, item: Any) -> Any:
    sides = ("xmin", "ymin", "xmax", "ymax")
    return _picture_of(item), [
        (tuple(row["box"][side] for side in sides), f"{row['label']} {row['score']:.2f}") for row in answer
    ]


def _segments(answer: Any, item: Any) -> Any:
    import numpy as np

    return _picture_of(item), [
        (np.asarray(row["mask"].convert("L"), dtype=np.float32) / 255, _named(row, number))
        for number, row in enumerate(answer)
    ]


def _named(row: Mapping[str, Any], number: int) -> str:
    score = f" {row['score']:.2f}" if row.get("score") is not None else ""
    return f"{row.get('label') or number}{score}"


def _masks(answer: Any, item: Any) -> Any:
    import numpy as np

    rows = zip(answer["masks"], answer["scores"], strict=False)
    return _picture_of(item), [
        (np.asarray(mask, dtype=np.float32), f"{i}: {s:.2f}") for i, (mask, s) in enumerate(rows)
    ]


def _pictures(answer: Any, item: Any) -> Any:
    return answer if isinstance(answer, list) else [answer]


def _sound(answer: Any, item: Any) -> Any:
    first = answer[0] if isinstance(answer, list) else answer
    samples = first["audio"]
    return first["sampling_rate"], samples if samples.ndim == 1 else samples.T


def _film(answer: Any, item: Any) -> Any:
    return (answer[0] if isinstance(answer, list) else answer)["frames"]


def _similar(answer: Any, item: Any) -> Any:
    rows = zip(item["sentences"], answer, strict=False)
    return sorted(([text, round(score, 4)] for text, score in rows), key=lambda row: -row[1])


def _ranked(key: str) -> Callable[[Any, Any], Any]:
    return lambda answer, item: [[row["index"], row.get(key, ""), round(row["score"], 4)] for row in answer]


def _pages(answer: Any, item: Any) -> Any:
    return [[row["index"], round(row["score"], 4)] for row in answer]


def _entities(answer: Any, item: Any) -> Any:
    found = [row for row in answer if row.get("start") is not None]
    return {
        "text": item,
        "entities": [
            {"entity": row.get("entity_group") or row["entity"], "start": row["start"], "end": row["end"]}
            for row in found
        ],
    }


def _fills(answer: Any, item: Any) -> Any:
    rows = answer[0] if answer and isinstance(answer[0], list) else answer
    return [[row["sequence"], row["token_str"], round(row["score"], 4)] for row in rows]


def _answers(answer: Any, item: Any) -> Any:
    rows = answer if isinstance(answer, list) else [answer]
    return [[row["answer"], round(row["score"], 4) if "score" in row else ""] for row in rows]


def _table(*headers: str) -> dict[str, Any]:
    return {"headers": list(headers), "interactive": False, "wrap": True}


_TEXT = Show("Textbox", {"lines": 4, "interactive": False}, _text)
_LABELS = Show("Label", {"num_top_classes": 10}, _labels)
_IMAGES = Show("Gallery", {"interactive": False, "columns": 2}, _pictures)
_SOUND = Show("Audio", {"interactive": False}, _sound)
_ANYTHING = Show("JSON", {}, lambda answer, item: as_json(answer))

#: Types of answers -> how they are shown; the others as JSON.
_SHOWS: tuple[tuple[Show, tuple[Any, ...]], ...] = (
    (_LABELS, (t.Label | list[t.Label], list[t.Label])),
    (Show("Label", {"num_top_classes": 10}, _zero_shot), (t.ZeroShot,)),
    (_TEXT, TEXTS),
    (Show("AnnotatedImage", {}, _boxes), (list[t.Detection],)),
    (Show("AnnotatedImage", {}, _segments), (list[t.Segment],)),
    (Show("AnnotatedImage", {}, _masks), (t.Masks,)),
    (_IMAGES, (t.Image, t.Image | list[t.Image])),
    (Show("Gallery", {"interactive": False}, lambda answer, item: [answer["depth"]]), (t.Depth,)),
    (_SOUND, (t.Audio, t.Audio | list[t.Audio])),
    (Show("Gallery", {"interactive": False, "columns": 4}, _film), (t.Video | list[t.Video],)),
    (Show("Dataframe", _table("sentence", "similarity"), _similar), (list[float],)),
    (Show("Dataframe", _table("index", "document", "score"), _ranked("document")), (list[t.Ranked],)),
    (Show("Dataframe", _table("page", "score"), _pages), (list[t.RankedPage],)),
    (Show("Dataframe", _table("index", "choice", "score"), _ranked("choice")), (list[t.Choice],)),
    (Show("Dataframe", _table("text", "token", "score"), _fills), (list[t.Fill] | list[list[t.Fill]],)),
    (Show("Dataframe", _table("answer", "score"), _answers), (t.Answer | list[t.Answer], list[t.Answer])),
    (Show("HighlightedText", {"interactive": False}, _entities), (list[t.Entity] | list[t.EntityGroup],)),
)
_BY_TYPE = {t.shown(form): show for show, forms in _SHOWS for form in forms}


def show_of(task: str) -> Show:
    """Return how the answers of a task are shown.

    Example:
        >>> show_of("object-detection").component, show_of("decision").component
        ('AnnotatedImage', 'JSON')
    """
    return _BY_TYPE.get(t.shown(schema_of(task).output), _ANYTHING)
