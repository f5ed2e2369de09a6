"""What pipelines return, as types for your own annotations and type checker: one typed dict per shape of an answer.

They are the only description of outputs: `SCHEMAS` names one per task, the checks and ``docs/tasks.md`` are derived
from them. `pattern` turns a type into what `models/outputs.py` compares with. Nothing here imports PIL or numpy.

Example:
    >>> from modelscope_ext.models.types import Detection
    >>> def surest(found: list[Detection]) -> str:
    ...     return found[0]["label"]
    >>> pattern(Detection)["box"]
    {'xmin': 'int', 'ymin': 'int', 'xmax': 'int', 'ymax': 'int'}
    >>> shown(list[Label] | Label)
    'list[Label] | Label'
"""

from __future__ import annotations

import types
from typing import (
    TYPE_CHECKING,
    Any,
    NewType,
    TypeAlias,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Image

    FloatArray: TypeAlias = NDArray[np.float32]
    Mask: TypeAlias = NDArray[np.bool_]
else:
    #: A PIL image.
    Image = NewType("Image", object)
    #: A float32 numpy array.
    FloatArray = NewType("FloatArray", object)
    #: A boolean numpy array [height, width].
    Mask = NewType("Mask", object)

__all__ = [
    "Answer",
    "Audio",
    "Box",
    "Choice",
    "Chunk",
    "Decision",
    "Depth",
    "Detection",
    "Entity",
    "EntityGroup",
    "Fill",
    "FloatArray",
    "Generated",
    "Image",
    "Keypoint",
    "Label",
    "Mask",
    "Masks",
    "Match",
    "Message",
    "Point",
    "Ranked",
    "RankedPage",
    "Segment",
    "Segments",
    "Summary",
    "TableAnswer",
    "Text",
    "Transcript",
    "Translation",
    "Video",
    "ZeroShot",
    "pattern",
    "shown",
    "typed_dicts",
]


class Label(TypedDict):
    """A label and how sure the model is of it."""

    label: str
    score: float


class Entity(TypedDict):
    """One token and its label; `start` and `end` count characters, None where the tokenizer cannot say."""

    entity: str
    score: float
    index: int
    word: str
    start: int | None
    end: int | None


class EntityGroup(TypedDict):
    """Tokens joined to one entity (`aggregation_strategy`)."""

    entity_group: str
    score: float
    word: str
    start: int | None
    end: int | None


class Fill(TypedDict):
    """A token for the mask, and the text with it."""

    score: float
    token: int
    token_str: str
    sequence: str


class _Message(TypedDict):
    role: str


class Message(_Message, total=False):
    """One message of a chat; `content` is a str, or a list of pieces with text, images and sounds."""

    content: Any
    tool_calls: list[Any]


class Generated(TypedDict):
    """The text after the prompt and with it, or the whole chat with the answer as its last message."""

    generated_text: str | list[Message]


class Text(TypedDict):
    """A text that answers another, or an image."""

    generated_text: str


class Translation(TypedDict):
    """The text in the other language."""

    translation_text: str


class Summary(TypedDict):
    """The short text."""

    summary_text: str


class _Answer(TypedDict):
    answer: str


class Answer(_Answer, total=False):
    """An answer; `start` and `end` count characters of the context, or words of a document."""

    score: float
    start: int
    end: int


class _TableAnswer(TypedDict):
    answer: str


class TableAnswer(_TableAnswer, total=False):
    """An answer and the cells it rests on, as (row, column) and as texts."""

    coordinates: Any
    cells: list[str]
    aggregator: str


class Ranked(TypedDict):
    """One of the caller's documents, by its place in the input."""

    index: int
    score: float
    document: str


class RankedPage(TypedDict):
    """One of the caller's pages, by its place in the input."""

    index: int
    score: float


class Choice(TypedDict):
    """One of the caller's choices, by its place in the input."""

    index: int
    score: float
    choice: str


class _Decision(TypedDict):
    type: str


class Decision(_Decision, total=False):
    """The answer to one question: a `choice` or `score` with its `probabilities`, or `noul`, the chance of yes."""

    choice: str
    score: float
    noul: float
    confidence: float
    probabilities: dict[str, float]
    legend: dict[str, Any]


class ZeroShot(TypedDict):
    """The caller's labels, the likeliest first, with their scores."""

    sequence: str
    labels: list[str]
    scores: list[float]


class Box(TypedDict):
    """A box in pixels, from the upper left corner of the image."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Detection(TypedDict):
    """An object and where it is."""

    label: str
    score: float
    box: Box


class Segment(TypedDict):
    """A part of an image; `mask` is an image of its size, white where the part is."""

    score: float | None
    label: str | None
    mask: Image


class Segments(TypedDict):
    """A document in parts that belong together: the whole with a line for each, and the parts in order."""

    text: str
    segments: list[str]


class Masks(TypedDict):
    """Masks of whatever stands out, each with its score."""

    masks: list[Mask]
    scores: list[float]


class Depth(TypedDict):
    """The model's depths [height, width], and an image of them."""

    predicted_depth: FloatArray
    depth: Image


class Point(TypedDict):
    """A place in pixels, from the upper left corner of the image."""

    x: int | float
    y: int | float


class _Keypoint(TypedDict):
    keypoint: Point
    score: float


class Keypoint(_Keypoint, total=False):
    """A point that is easy to find again."""

    label: str


class Match(TypedDict):
    """A point that two images share."""

    keypoint_image_0: Point
    keypoint_image_1: Point
    score: float


class Audio(TypedDict):
    """Sound: samples [n], or [channels, n], between -1 and 1, and how many there are in a second."""

    audio: FloatArray
    sampling_rate: int


class _Video(TypedDict):
    frames: list[Image]


class Video(_Video, total=False):
    """A video: its frames in order, and how many are shown in a second where the pipeline says so."""

    fps: int | float


class _Chunk(TypedDict):
    text: str


class Chunk(_Chunk, total=False):
    """A piece of a transcript; `timestamp` is [start, end] in seconds, `end` None where the sound breaks off."""

    timestamp: list[float | None]
    language: str | None


class _Transcript(TypedDict):
    text: str


class Transcript(_Transcript, total=False):
    """What was said; `chunks` with `return_timestamps`, `language` with `return_language`."""

    chunks: list[Chunk]
    language: str | None


#: Types that are compared as a whole, by a scalar of `models/outputs.py`.
_SCALARS: dict[Any, str] = {Image: "image", FloatArray: "array", Mask: "mask", Message: "message"}


def pattern(hint: Any) -> Any:
    """Return the pattern of `models/outputs.py` for a type; what is a pattern already comes back as it is.

    Example:
        >>> pattern(Segment)
        {'score': 'float?', 'label': 'str?', 'mask': 'image'}
        >>> pattern(Label | list[Label])
        ({'label': 'str', 'score': 'float'}, [{'label': 'str', 'score': 'float'}])
    """
    if isinstance(hint, str | dict | list | tuple):
        return hint
    if hint in _SCALARS:
        return _SCALARS[hint]
    if is_typeddict(hint):
        fields = get_type_hints(hint)
        return {name if name in hint.__required_keys__ else f"{name}?": pattern(kind) for name, kind in fields.items()}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return [pattern(arguments[0])]
    if origin is dict:
        return {"*": pattern(arguments[1])}
    if origin in (Union, types.UnionType):
        if set(arguments) == {int, float}:
            return "number"
        kinds = [pattern(one) for one in arguments if one is not type(None)]
        return f"{kinds[0]}?" if type(None) in arguments else tuple(kinds)
    return "any" if hint is Any else str(hint.__name__)


def shown(hint: Any) -> str:
    """Return a type as users write it, without its module.

    Example:
        >>> shown(dict[str, Decision]), shown(Any), shown(int | None)
        ('dict[str, Decision]', 'Any', 'int | None')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " | ".join(shown(one) for one in arguments)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(shown(one) for one in arguments)}]"
    return "None" if hint is type(None) else str(getattr(hint, "__name__", hint)).removeprefix("typing.")


def typed_dicts(hint: Any) -> tuple[type, ...]:
    """Return the typed dicts in a type, each once, the outer ones first."""
    named = is_typeddict(hint)
    found: list[type] = [hint] if named else []
    for one in get_type_hints(hint).values() if named else get_args(hint):
        found += typed_dicts(one)
    return tuple(dict.fromkeys(found))
