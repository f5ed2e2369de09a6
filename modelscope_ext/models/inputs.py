"""Step 6 of 6: what a task takes. Each kind of input says what one of it looks like and brings it into one form.

| kind | what users may give for one input | what a backend gets |
|---|---|---|
| text | str, ``{"text": str}``, ``{"src": str}`` | str |
| pair | text, ``(str, str)``, ``{"text", "text_pair"}``, ``{"text1", "text2"}`` | str or ``{"text", "text_pair"}`` |
| chat | text, a list of ``{"role", "content"}``, ``{"messages": [...]}`` | str or the list of messages |
| talk | chat, ``{"text", "image"}`` (or `audio`, `video`, several of each) | the same, all media opened |
| image | SOURCE, PIL image, uint8 array HxW or HxWxC, tensor CxHxW | PIL image, upright |
| images | a list of images | list of PIL images |
| audio | SOURCE, array or list of samples, ``{"raw", "sampling_rate"}`` | path as str, or ``{"raw", ...}`` |
| video | SOURCE, array NxHxWxC, tensor NxCxHxW, list of images | path, bytes, array, or list of PIL images |
| texts | list of str | list of str |
| series | list of numbers, 1-d array | float32 array [steps] |
| table | dict of columns, list of rows, data frame | as given |
| seed | a whole number, None, nothing at all | int, or None for any |
| questions | ``{name: {"type": "choice"\\|"score"\\|"noul", "instructions": str, "criteria": ...}}`` | the same |
| any | anything | as given |

SOURCE is a path, bytes, an open file, a URL, or a dict of one of them: ``{"image": ...}``, ``{"path": ...}``, ...
A list is a batch, except where one input is a list itself (a chat, audio samples, the frames of a video). A URL is
fetched only where ``allow_sources=`` names it, its folder or its host (`safety/urls.py`); ``data:`` URLs need no leave.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.media import (
    AUDIO,
    IMAGE,
    VIDEO,
    array_of,
    is_array,
    is_file,
    is_frames,
    is_image,
    open_audio,
    open_image,
    open_video,
    wrong,
)
from modelscope_ext.safety.urls import CLOSED, Web
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["KINDS", "PAIRS", "Kind", "is_lazy", "text_length"]


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        says: What one input may be, for messages and docs.
        bring: Brings one input into the form backends get; takes the input and a `Web`; raises OptionError.
        whole: Whether a list is one input rather than a batch.
        spread: Whether an array is a batch rather than one input.
    """

    says: str
    bring: Callable[..., Any]
    whole: Callable[[list[Any]], bool] = lambda _value: False
    spread: Callable[[Any], bool] = lambda _value: False


def is_lazy(inputs: Any) -> bool:
    """Whether `inputs` is to be walked one by one: generators, iterators, data sets, but not lists, texts or arrays.

    Example:
        >>> is_lazy(x for x in "ab"), is_lazy(["a"]), is_lazy("a"), is_lazy(range(3))
        (True, False, False, True)
    """
    if isinstance(inputs, list | tuple | str | bytes | bytearray | memoryview | Mapping | os.PathLike):
        return False
    if is_array(inputs) or is_image(inputs) or is_file(inputs) or hasattr(inputs, "columns"):
        return False
    if callable(getattr(inputs, "get_all_samples", None)):  # one recording of a data set
        return False
    return hasattr(inputs, "__next__") or hasattr(inputs, "__iter__") or _is_sequence(inputs)


def text_length(item: Any) -> int:
    """Return how many characters a text, or the texts of one input, have; 0 for anything else.

    Example:
        >>> text_length("good"), text_length({"text": "good", "text_pair": "bad"}), text_length(None)
        (4, 7, 0)
    """
    if isinstance(item, str):
        return len(item)
    return sum(map(text_length, item.values())) if isinstance(item, Mapping) else 0


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


#: Names under which a text may stand in a dict of its own.
_TEXTS = ("text", "src", "sentence", "input")
#: Names of the two texts of a pair: ours and transformers', ModelScope's, and those of data sets.
PAIRS = (
    ("text", "text_pair"),
    ("text", "text2"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("source_text", "target_text"),
    ("premise", "hypothesis"),
)


def _named_text(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in _TEXTS


def _text(value: Any, web: Web = CLOSED) -> str:
    if _named_text(value):
        (value,) = value.values()
    if not isinstance(value, str):
        raise wrong(KINDS["text"].says, value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise OptionError(
                f"the text holds half a character at {error.start}, which no tokenizer takes ({printable(value, 60)});"
                " decode it with errors='replace', or leave it out"
            ) from error
    return str(value)


def _texts(value: Any, web: Web = CLOSED) -> list[str]:
    if is_array(value) and _is_texts(value):
        value = value.tolist()
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise wrong(KINDS["texts"].says, value)
    return list(value)


def _is_texts(value: Any) -> bool:
    """Whether an array holds texts, as a column of a data set does."""
    return is_array(value) and value.ndim == 1 and getattr(value.dtype, "kind", "") in ("U", "O", "T")


def _pair(value: Any, web: Web = CLOSED) -> Any:
    if isinstance(value, tuple) and len(value) == 2:
        value = {"text": value[0], "text_pair": value[1]}
    if isinstance(value, str) or _named_text(value):
        return _text(value)
    names = next((pair for pair in PAIRS if isinstance(value, Mapping) and set(value) == set(pair)), None)
    if names is None:
        raise wrong(KINDS["pair"].says, value)
    first, second = (value[name] for name in names)
    return _text(first) if second is None else {"text": _text(first), "text_pair": _text(second)}


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(m, Mapping) and "role" in m for m in value)
    )


def _chat(value: Any, web: Web = CLOSED) -> Any:
    if isinstance(value, Mapping) and set(value) == {"messages"}:
        value = value["messages"]
    if isinstance(value, str) or _named_text(value):
        return _text(value)
    if not _is_chat(value):
        raise wrong(KINDS["chat"].says, value)
    for number, message in enumerate(value):
        if not isinstance(message["role"], str):
            raise OptionError(f"message {number}: role must be a str, got {type(message['role']).__name__}")
        if "content" not in message and "tool_calls" not in message:
            raise OptionError(f"message {number}: it has a role but no content; its keys: {sorted(map(str, message))}")
    return [dict(message) for message in value]


#: Names of what a talk may hold beside its text -> kind; the plural stands for the singular.
_MEDIA = {"image": "image", "images": "image", "audio": "audio", "audios": "audio", "video": "video", "videos": "video"}


def _talk(value: Any, web: Web = CLOSED) -> Any:
    """Bring a chat with pictures and sounds, or a text beside them, into one form, with all media opened."""
    if isinstance(value, Mapping) and _is_chat(value.get("text")):
        rest = {k: v for k, v in value.items() if k != "text" and v is not None}
        if rest:
            raise OptionError(f"a chat has its media inside its messages; leave out {', '.join(map(str, rest))}")
        value = value["text"]
    if not isinstance(value, Mapping) or set(value) == {"messages"} or _named_text(value):
        said = _chat(value)
        return said if isinstance(said, str) else [_opened_message(message, web) for message in said]
    given = {("text" if k == "question" else k): v for k, v in value.items() if v is not None}
    for name in given:
        if name != "text" and name not in _MEDIA:
            raise OptionError(
                f"unknown key {printable(name)!r}; expected {KINDS['talk'].says}.{did_you_mean(str(name), _MEDIA)}"
            )
    out: dict[str, Any] = {"text": _text(given["text"])} if "text" in given else {}
    for name, kind in _MEDIA.items():
        if name in given:
            out.setdefault(kind, []).extend(_several(kind, given[name], web))
    if not out:
        raise OptionError(f"expected {KINDS['talk'].says}; got an empty dict")
    return out


def _several(kind: str, value: Any, web: Web) -> list[Any]:
    one = KINDS[kind]
    many = isinstance(value, list | tuple) and not one.whole(list(value))
    return [one.bring(item, web) for item in (value if many else [value])]


def _opened_message(message: dict[str, Any], web: Web) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return message
    return {**message, "content": [_opened_piece(piece, web) for piece in content]}


def _opened_piece(piece: Any, web: Web) -> Any:
    """Open what a piece of a message holds; OpenAI's ``{"type": "image_url", ...}`` means an image as well."""
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    kind = piece.get("type") if isinstance(piece, Mapping) else None
    if kind == "image_url":
        url = piece.get("image_url")
        piece, kind = {"type": "image", "image": url.get("url") if isinstance(url, Mapping) else url}, "image"
    if kind not in ("image", "audio", "video"):
        return piece
    given = next((piece[k] for k in (kind, "path", "url") if piece.get(k) is not None), None)
    if given is None and isinstance(piece.get("base64"), str):
        given = f"data:;base64,{piece['base64']}"
    return {"type": kind} if given is None else {"type": kind, kind: KINDS[kind].bring(given, web)}


def _images(value: Any, web: Web = CLOSED) -> list[Any]:
    if is_array(value) and value.ndim == 4:
        value = list(value)
    if not isinstance(value, list | tuple) or not value:
        raise wrong(KINDS["images"].says, value)
    return [open_image(one, web) for one in value]


def _series(value: Any, web: Web = CLOSED) -> Any:
    """Bring one series of numbers into a float32 array [steps]."""
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in ("past_values", "series", "target"):
        (value,) = value.values()
    if not is_array(value) and not (isinstance(value, list | tuple) and _numbers(list(value))):
        raise wrong(KINDS["series"].says, value)
    import numpy as np

    array = array_of(value)
    if getattr(array, "ndim", 1) != 1 or (is_array(array) and array.dtype.kind not in "fiu"):
        raise OptionError(f"expected one series of numbers, got shape {tuple(array.shape)} of {array.dtype}")
    return np.asarray(array, dtype=np.float32)


def _questions(value: Any, web: Web = CLOSED) -> dict[str, Any]:
    if (
        not isinstance(value, Mapping)
        or not value
        or not all(isinstance(q, Mapping) and "type" in q for q in value.values())
    ):
        raise wrong(KINDS["questions"].says, value)
    return {str(name): dict(question) for name, question in value.items()}


def _as_given(value: Any, web: Web = CLOSED) -> Any:
    return value


def _seed(value: Any, web: Web = CLOSED) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise wrong(KINDS["seed"].says, value)
    return value


def _numbers(value: list[Any]) -> bool:
    return bool(value) and all(type(v) in (int, float) for v in value)


KINDS: Mapping[str, Kind] = {
    "text": Kind("a str or {'text': str}", _text, spread=_is_texts),
    "texts": Kind("a list of str", _texts, whole=lambda value: all(isinstance(v, str) for v in value)),
    "pair": Kind("a str, a tuple of two str, or {'text': str, 'text_pair': str}", _pair, spread=_is_texts),
    "chat": Kind("a str, or a chat: a list of {'role': ..., 'content': ...}", _chat, whole=_is_chat, spread=_is_texts),
    "talk": Kind(
        "a chat: a list of {'role': ..., 'content': ...}, or {'text': str, 'image': ...} with image, audio or video",
        _talk,
        whole=_is_chat,
    ),
    "image": Kind(IMAGE, open_image, spread=lambda value: is_array(value) and value.ndim == 4),
    "images": Kind("a list of images", _images),
    "audio": Kind(AUDIO, open_audio, whole=_numbers, spread=lambda value: is_array(value) and value.ndim == 2),
    "video": Kind(VIDEO, open_video, whole=is_frames, spread=lambda value: is_array(value) and value.ndim == 5),
    "table": Kind("a table: a dict of columns, a list of rows or a data frame", _as_given),
    "series": Kind(
        "a series of numbers: a list, or an array [steps]",
        _series,
        whole=_numbers,
        spread=lambda value: is_array(value) and value.ndim == 2,
    ),
    "seed": Kind("the seed of a random start, a whole number, or None for any", _seed),
    "questions": Kind(
        "a dict of name and {'type': 'choice' | 'score' | 'noul', 'instructions': ..., 'criteria': ...}", _questions
    ),
    "any": Kind("anything", _as_given),
}
