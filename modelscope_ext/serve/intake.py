"""What a stranger may send: inputs that hold no path and no URL, and options that cost no more than the server allows.

A pipeline takes paths, because its caller owns the machine. A client of a server does not: pictures, sounds and videos
come as ``data:`` URLs or base64 and are measured before they are decoded, everything else is text and numbers.

Example:
    >>> from modelscope_ext.serve.settings import Settings
    >>> sealed("image-classification", "/etc/passwd", Settings())
    Traceback (most recent call last):
    modelscope_ext.serve.refusal.Refused: image: paths and URLs are not opened here: send a data URL \
(data:image/png;base64,...), or {"base64": "..."}
    >>> options_of({"top_k": 3}, frozenset(("top_k",)), Settings())
    {'top_k': 3}
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.models.inputs import KINDS
from modelscope_ext.models.media import is_array, is_image
from modelscope_ext.models.schemas import SCHEMAS, normalise, schema_of
from modelscope_ext.safety.urls import from_data_url
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.settings import Settings
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["OPTIONS", "Option", "options_of", "refuse_unserved", "sealed"]

_MEDIA = frozenset(("image", "audio", "video"))
#: Formats that Pillow decodes itself.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id")


def refuse_unserved(task: str | None) -> None:
    """Raise OptionError for a task of which nothing says what its inputs are: they might be read as paths."""
    if task is None or task not in SCHEMAS:
        raise OptionError(
            f"{printable(task)!r} cannot be served: nothing says what its inputs are, so that a stranger's text might"
            " be opened as a file. `modelscope-ext list tasks` shows the tasks with a schema; --task chooses another"
        )


def sealed(task: str, value: Any, settings: Settings) -> Any:
    """Return one input in the form backends get, with all its media opened from the bytes that were sent.

    Raises:
        Refused: It names a path or URL (400), is not what the task takes (400), or is too large (413).
    """
    schema = schema_of(task)
    if schema.input == "fields":
        ready = _fields(task, value, settings)
    else:
        ready = _one(schema.input, value, settings, schema.input)
    _short(ready, settings)
    try:
        return normalise(task, [ready], batch=True)[0][0]
    except MissingRequirement as error:
        raise Refused(422, f"the server lacks a package for this input: {printable(str(error), 300)}") from error
    except (OptionError, RecursionError, OverflowError) as error:
        raise Refused(400, printable(str(error), 2000).replace(f"{task}, input 0: ", f"{task}: ")) from error


def _fields(task: str, value: Any, settings: Settings) -> Any:
    schema = schema_of(task)
    if schema.lead and not (isinstance(value, Mapping) and schema.lead in value):
        value = {schema.lead: value}
    if not isinstance(value, Mapping):
        shape = ", ".join(f'"{name}": {kind}' for name, kind in schema.fields.items())
        raise Refused(400, f"{task}: expected an object {{{shape}}}; got {type(value).__name__}")
    out = {}
    for name, one in value.items():
        kind = schema.fields.get(schema.aliases.get(str(name), str(name)), "any").rstrip("?")
        out[name] = _one(kind, one, settings, str(name))
    return out


def _one(kind: str, value: Any, settings: Settings, place: str) -> Any:
    """Return one value of a kind of `KINDS`, sealed."""
    if kind in ("chat", "talk"):
        return _talk(value, settings, media=kind == "talk")
    if kind == "images":
        if not isinstance(value, list | tuple):
            raise Refused(400, f"{place}: expected a list of images", place)
        _count(value, settings, place)
        return [_media("image", one, settings, f"{place}[{i}]") for i, one in enumerate(value)]
    if kind in ("any", "table", "questions") and isinstance(value, str) and place in (kind, "table", "questions"):
        raise Refused(400, f"{place}: expected an object or a list; got a text, which might be taken for a path", place)
    return _media(kind, value, settings, place) if kind in _MEDIA else value


def _media(kind: str, value: Any, settings: Settings, place: str) -> Any:
    if value is None or is_array(value) or is_image(value):
        return value
    if kind == "audio" and isinstance(value, Mapping) and ("raw" in value or "array" in value):
        if set(value) - {"raw", "array", "sampling_rate"}:
            raise Refused(400, f'{place}: expected {{"raw": [samples], "sampling_rate": hertz}}', place)
        return dict(value)
    if kind == "audio" and isinstance(value, list):
        return value
    if kind == "video" and isinstance(value, list | tuple):
        _count(value, settings, place)
        return [_media("image", one, settings, f"{place}[{i}]") for i, one in enumerate(value)]
    data = value if isinstance(value, bytes) else _decoded(kind, value, place)
    return _OPEN[kind](data, settings, place)


def _decoded(kind: str, value: Any, place: str) -> bytes:
    """Return the bytes that a client sent as text."""
    if isinstance(value, Mapping) and isinstance(value.get("base64"), str) and len(value) == 1:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused(400, f"{place}: not valid base64 ({error})", place) from error
    if isinstance(value, Mapping) and len(value) == 1:
        (name,) = value
        value = value[name] if name in (kind, "url") else value
    if isinstance(value, str) and value[:5].lower() == "data:":
        try:
            return from_data_url(value)
        except (OptionError, ValueError) as error:
            raise Refused(400, f"{place}: {printable(str(error), 200)}", place) from error
    if isinstance(value, str):
        raise Refused(
            400,
            f"{place}: paths and URLs are not opened here: send a data URL (data:{kind}/"
            f'{_ENDINGS[kind]};base64,...), or {{"base64": "..."}}',
            place,
        )
    raise Refused(400, f'{place}: expected a data URL or {{"base64": "..."}}; got {type(value).__name__}', place)


_ENDINGS = {"image": "png", "audio": "wav", "video": "mp4"}


def _image(data: bytes, settings: Settings, place: str) -> Any:
    """Return a PIL image. Of Pillow's formats only those that it reads itself: others start a program."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Its size is known before a pixel is decoded.
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > settings.max_pixels:
                raise Refused(413, f"{place}: {pixels} pixels; the server takes {settings.max_pixels}", place)
            image.load()
            return image.copy() if getattr(image, "is_animated", False) else image
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(400, f"{place}: no image of a format that is read here ({', '.join(_FORMATS)})", place) from error
    except Refused:
        raise
    except Exception as error:
        raise Refused(400, f"{place}: the image is damaged ({type(error).__name__})", place) from error


def _audio(data: bytes, settings: Settings, place: str) -> Any:
    try:
        import soundfile
    except ImportError:
        return data  # normalise says what is missing
    try:
        found = soundfile.info(BytesIO(data))
    except Exception as error:
        raise Refused(400, f"{place}: not audio that can be read ({type(error).__name__})", place) from error
    if found.frames * found.channels > settings.max_samples:
        count = found.frames * found.channels
        raise Refused(413, f"{place}: {count} samples; the server takes {settings.max_samples}", place)
    return data


def _video(data: bytes, settings: Settings, place: str) -> Any:
    return data


_OPEN: Mapping[str, Callable[[bytes, Settings, str], Any]] = {"image": _image, "audio": _audio, "video": _video}


# Chats


def _talk(value: Any, settings: Settings, *, media: bool) -> Any:
    if isinstance(value, Mapping) and "messages" in value:
        value = value["messages"]
    if isinstance(value, list):
        _count(value, settings, "messages")
        return [_message(one, settings, f"messages[{i}]", media=media) for i, one in enumerate(value)]
    if isinstance(value, Mapping) and media:
        out: dict[str, Any] = {}
        for name, one in value.items():
            kind = str(name).removesuffix("s")
            many = isinstance(one, list) and kind == "image"
            if kind in _MEDIA and many:
                _count(one, settings, str(name))
                out[name] = [_media(kind, v, settings, f"{name}[{i}]") for i, v in enumerate(one)]
            else:
                out[name] = _media(kind, one, settings, str(name)) if kind in _MEDIA else one
        return out
    return value


def _message(value: Any, settings: Settings, place: str, *, media: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(400, f'{place}: expected {{"role": ..., "content": ...}}; got {type(value).__name__}', place)
    out = {name: value[name] for name in _MESSAGE if value.get(name) is not None}
    content = out.get("content")
    if isinstance(content, list):
        pieces = [_piece(one, settings, f"{place}.content[{i}]", media=media) for i, one in enumerate(content)]
        # Templates of models for text read a str.
        out["content"] = pieces if media else "\n".join(piece["text"] for piece in pieces)
    elif content is not None and not isinstance(content, str):
        raise Refused(400, f"{place}.content: expected a text or a list of parts", place)
    out.setdefault("content", "")
    return out


def _piece(value: Any, settings: Settings, place: str, *, media: bool) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text" and isinstance(value.get("text"), str):
        return {"type": "text", "text": value["text"]}
    if not media:
        raise Refused(400, f'{place}: this model reads text: expected {{"type": "text", "text": ...}}', place)
    if kind == "image_url":
        given = value.get("image_url")
        given = given.get("url") if isinstance(given, Mapping) else given
        return {"type": "image", "image": _media("image", given or "", settings, place)}
    if kind == "input_audio" and isinstance(value.get("input_audio"), Mapping):
        given = {"base64": value["input_audio"].get("data")}
        return {"type": "audio", "audio": _media("audio", given, settings, place)}
    if isinstance(kind, str) and kind in _MEDIA:
        return {"type": kind, kind: _media(kind, value.get(kind) or "", settings, place)}
    raise Refused(400, f"{place}: expected a part of type text, image_url or input_audio", place)


def _count(values: Any, settings: Settings, place: str) -> None:
    if len(values) > settings.max_items:
        raise Refused(413, f"{place}: {len(values)} of them; the server takes {settings.max_items}", place)


def _short(value: Any, settings: Settings) -> None:
    """Refuse a text longer than the server takes; media that came as text are opened already, and none any more."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            if len(one) > settings.max_text:
                raise Refused(413, f"a text of {len(one)} characters; the server takes {settings.max_text}")
        elif isinstance(one, Mapping):
            stack.extend(one)
            stack.extend(one.values())
        elif isinstance(one, list | tuple):
            stack.extend(one)


# Options


@dataclass(frozen=True)
class Option:
    """One option that a stranger may set.

    Attributes:
        kind: Of JSON's types: integer, number, boolean, string, or strings (a list of them).
        least: The smallest number, or the shortest list.
        most: The largest number or the longest list; the name of a setting that says it; None for no bound.
        choices: The texts that are meant, where only some are.
    """

    kind: str
    least: float = 0
    most: float | str | None = None
    choices: tuple[str, ...] = ()

    def schema(self, settings: Settings) -> dict[str, Any]:
        """Return it as JSON Schema."""
        most = getattr(settings, self.most) if isinstance(self.most, str) else self.most
        if self.kind == "strings":
            return {"type": "array", "items": {"type": "string"}, "minItems": int(self.least), "maxItems": most}
        out: dict[str, Any] = {"type": self.kind}
        if self.kind in ("integer", "number"):
            out["minimum"] = self.least
            if most is not None:
                out["maximum"] = most
        if self.choices:
            out["enum"] = list(self.choices)
        return out


_PLAIN_TEMPLATE = re.compile(r"[^{}]*\{\}[^{}]*")

_SHARE = Option("number", 0, 1)

#: What a stranger may set. Options that name files, programs or keywords of further calls are not among them.
OPTIONS: Mapping[str, Option] = {
    # generated text
    "max_new_tokens": Option("integer", 1, "max_tokens"),
    "min_new_tokens": Option("integer", 0, "max_tokens"),
    "do_sample": Option("boolean"),
    "temperature": Option("number", 0.001, 100),
    "top_p": Option("number", 0.001, 1),
    "min_p": _SHARE,
    "typical_p": Option("number", 0.001, 1),
    "repetition_penalty": Option("number", 0.01, 100),
    "no_repeat_ngram_size": Option("integer", 0, 64),
    "num_beams": Option("integer", 1, 8),
    "num_return_sequences": Option("integer", 1, 8),
    "length_penalty": Option("number", -10, 10),
    "seed": Option("integer", 0, 2**63 - 1),
    "return_full_text": Option("boolean"),
    "skip_special_tokens": Option("boolean"),
    "src_lang": Option("string"),
    "tgt_lang": Option("string"),
    # labels
    "top_k": Option("integer", 1, 1000),
    "function_to_apply": Option("string", choices=("sigmoid", "softmax", "none")),
    "candidate_labels": Option("strings", 1, 128),
    "hypothesis_template": Option("string"),
    "multi_label": Option("boolean"),
    "aggregation_strategy": Option("string", choices=("none", "simple", "first", "average", "max")),
    "targets": Option("strings", 1, 128),
    "truncation": Option("boolean"),
    # vectors
    "normalize_embeddings": Option("boolean"),
    "truncate_dim": Option("integer", 1, 2**16),
    "prompt": Option("string"),
    "prompt_name": Option("string"),
    "pool": Option("boolean"),
    # answers in a text
    "doc_stride": Option("integer", 1, 2**16),
    "max_answer_len": Option("integer", 1, 2**16),
    "handle_impossible_answer": Option("boolean"),
    # pictures and sounds
    "threshold": _SHARE,
    "mask_threshold": _SHARE,
    "overlap_mask_area_threshold": _SHARE,
    "subtask": Option("string", choices=("semantic", "instance", "panoptic")),
    "points_per_crop": Option("integer", 1, 64),
    "return_timestamps": Option("boolean"),
    "language": Option("string"),
    "num_inference_steps": Option("integer", 1, 150),
    "guidance_scale": Option("number", 0, 100),
    "strength": _SHARE,
    "negative_prompt": Option("string"),
    "num_images_per_prompt": Option("integer", 1, 4),
    "height": Option("integer", 8, 2048),
    "width": Option("integer", 8, 2048),
    "num_frames": Option("integer", 1, 128),
    "fps": Option("integer", 1, 120),
    "audio_length_in_s": Option("number", 0.1, 60),
}


def options_of(given: Mapping[str, Any], known: frozenset[str] | None, settings: Settings) -> dict[str, Any]:
    """Return the options of a call, each one that the model takes and that is within the bounds.

    Args:
        given: Name -> value, out of a request; None stands for not given.
        known: What the model takes; None where it takes any.
        settings: The bounds.

    Raises:
        Refused: An option nobody knows, that this model does not take, or that is out of bounds.
    """
    from modelscope_ext.serve.documents import check

    out: dict[str, Any] = {}
    takes = [name for name in OPTIONS if known is None or name in known]
    for name, value in given.items():
        if value is None:
            continue
        if name not in takes:
            takes_text = f" It takes: {listing(takes, 40)}." if takes else " It takes none."
            near = did_you_mean(str(name), takes)
            raise Refused(400, f"this model takes no option {printable(name)!r}.{near}{takes_text}", str(name))
        check(OPTIONS[name].schema(settings), value, name)
        whole = OPTIONS[name].kind == "integer" and isinstance(value, float)
        out[name] = int(value) if whole else value
        if name == "hypothesis_template" and not _PLAIN_TEMPLATE.fullmatch(value):
            # A pattern such as "{:>9999999999}" would be carried out.
            raise Refused(400, "hypothesis_template: expected a text with {} once, and no other braces", name)
        _short(value, settings)
    return out


def kinds_are_known() -> bool:
    """Whether every kind of input is one that this module knows how to seal; held by a test."""
    known = {*_MEDIA, "images", "chat", "talk", "text", "pair", "texts", "table", "series", "seed", "questions", "any"}
    return set(KINDS) == known
