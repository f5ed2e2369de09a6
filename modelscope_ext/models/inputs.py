"""Step 6 of 6: what a task takes. Each kind of input says what one of it looks like and brings it into one form.

| kind | what users may give for one input | what a backend gets |
|---|---|---|
| text | str, ``{"text": str}`` | str |
| pair | text, ``(str, str)``, ``{"text": str, "text_pair": str}`` | str or ``{"text": str, "text_pair": str}`` |
| chat | text, a list of ``{"role", "content"}``, ``{"messages": [...]}`` | str or the list of messages |
| image | path, bytes, PIL image, uint8 array HxW or HxWxC, ``{"path"|"bytes"|"image": ...}`` | PIL image, upright |
| audio | path, 1-d array, list of numbers, ``{"raw", "sampling_rate"}`` | path as str, or ``{"raw", ...}`` |
| video | path, 4-d array | path as str, or the array |
| texts | list of str | list of str |
| table | dict of columns, list of rows, data frame | as given |
| seed | a whole number, None, nothing at all | int, or None for any |
| any | anything | as given |

A list is a batch, except where one input is a list itself (a chat, audio samples). Nothing here opens a connection: a
URL is refused with the advice to download it first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import printable

__all__ = ["KINDS", "Kind", "is_lazy"]


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        says: What one input may be, for messages.
        bring: Brings one input into the form backends get; raises OptionError.
        whole: Whether a list is one input rather than a batch.
        spread: Whether an array is a batch rather than one input.
    """

    says: str
    bring: Callable[[Any], Any]
    whole: Callable[[list[Any]], bool] = lambda _value: False
    spread: Callable[[Any], bool] = lambda _value: False


def is_lazy(inputs: Any) -> bool:
    """Whether `inputs` is to be walked one by one: generators, iterators, data sets, but not lists, texts or arrays.

    Example:
        >>> is_lazy(x for x in "ab"), is_lazy(["a"]), is_lazy("a"), is_lazy(range(3))
        (True, False, False, True)
    """
    if isinstance(inputs, list | tuple | str | bytes | bytearray | Mapping | os.PathLike) or _is_array(inputs):
        return False
    if _is_image(inputs) or hasattr(inputs, "columns"):
        return False
    return hasattr(inputs, "__next__") or hasattr(inputs, "__iter__") or _is_sequence(inputs)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _is_array(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "ndim")


def _is_image(value: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "PIL" for base in type(value).__mro__)


def _wrong(says: str, value: Any) -> OptionError:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return OptionError(f"expected {says}; got {name}: {printable(repr(value), 60)}")


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"text"}:
        value = value["text"]
    if not isinstance(value, str):
        raise _wrong(KINDS["text"].says, value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise OptionError(
                f"the text holds half a character at {error.start}, which no tokenizer takes ({printable(value, 60)});"
                " decode it with errors='replace', or leave it out"
            ) from error
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise _wrong(KINDS["texts"].says, value)
    return list(value)


def _pair(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 2:
        value = {"text": value[0], "text_pair": value[1]}
    if isinstance(value, Mapping) and set(value) == {"text", "text_pair"}:
        if value["text_pair"] is None:
            return _text(value["text"])
        return {"text": _text(value["text"]), "text_pair": _text(value["text_pair"])}
    if isinstance(value, str) or (isinstance(value, Mapping) and set(value) == {"text"}):
        return _text(value)
    raise _wrong(KINDS["pair"].says, value)


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(m, Mapping) and "role" in m for m in value)
    )


def _chat(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"messages"}:
        value = value["messages"]
    if isinstance(value, str) or (isinstance(value, Mapping) and set(value) == {"text"}):
        return _text(value)
    if not _is_chat(value):
        raise _wrong(KINDS["chat"].says, value)
    for number, message in enumerate(value):
        if not isinstance(message["role"], str):
            raise OptionError(f"message {number}: role must be a str, got {type(message['role']).__name__}")
        if "content" not in message and "tool_calls" not in message:
            raise OptionError(f"message {number}: it has a role but no content; its keys: {sorted(map(str, message))}")
    return [dict(message) for message in value]


def _refuse_url(value: str) -> None:
    if value.startswith(("http://", "https://", "ftp://", "s3://")):
        raise OptionError(
            f"{printable(value)} is a URL, and inputs are never fetched over the network: download it and pass the path"
        )


def _existing(value: Any, says: str) -> str:
    path = os.fsdecode(value)
    _refuse_url(path)
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no such file"
        raise OptionError(f"{printable(path)}: {what}; expected {says}")
    return path


def _image(value: Any) -> Any:
    if isinstance(value, Mapping):
        given = [k for k in ("image", "path", "bytes") if value.get(k) is not None]
        if not given or set(value) - {"image", "path", "bytes"}:
            raise _wrong(KINDS["image"].says, dict(value))
        # A data set's cell has both; the bytes are there even where its path is not.
        value = value["bytes"] if "bytes" in given else value[given[0]]
    if _is_array(value):
        return _image_of_array(value)
    if _is_image(value):
        return _upright(value)
    if isinstance(value, str | os.PathLike):
        return _open_image(_existing(value, KINDS["image"].says), os.fspath(value))
    if isinstance(value, bytes | bytearray | memoryview):
        from io import BytesIO

        return _open_image(BytesIO(value), f"{len(value)} bytes")
    raise _wrong(KINDS["image"].says, value)


def _open_image(file: Any, name: Any) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            image.load()
            return _upright(image)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise OptionError(f"{printable(name)}: not an image that can be read ({printable(str(error))})") from error


def _upright(image: Any) -> Any:
    """Turn a photo the way its EXIF tag says, as the libraries' own image loaders do; the mode stays."""
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    return image if turned is None else turned


def _image_of_array(value: Any) -> Any:
    from PIL import Image

    if str(value.dtype) != "uint8":
        raise OptionError(
            f"an image array must be uint8 with values 0..255; this one is {value.dtype} of shape {tuple(value.shape)}."
            " Convert it first, e.g. (array * 255).astype('uint8') for values 0..1"
        )
    if value.ndim == 3 and value.shape[2] == 1:
        value = value[:, :, 0]
    if value.ndim not in (2, 3) or (value.ndim == 3 and value.shape[2] not in (3, 4)) or 0 in value.shape:
        raise OptionError(f"an image array has the shape HxW or HxWxC with 1, 3 or 4 channels; got {value.shape}")
    return Image.fromarray(value)


def _audio(value: Any) -> Any:
    if isinstance(value, Mapping):
        raw = value.get("raw", value.get("array"))
        if raw is None and isinstance(value.get("path"), str):
            return _existing(value["path"], KINDS["audio"].says)
        if raw is None or set(value) - {"raw", "array", "sampling_rate", "path"}:
            raise _wrong(KINDS["audio"].says, dict(value))
        return {"raw": _samples(raw), "sampling_rate": value.get("sampling_rate")}
    if isinstance(value, str | os.PathLike):
        return _existing(value, KINDS["audio"].says)
    return {"raw": _samples(value), "sampling_rate": None}


def _samples(value: Any) -> Any:
    if not _is_array(value) and not isinstance(value, list | tuple):
        raise _wrong(KINDS["audio"].says, value)
    import numpy as np

    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise OptionError(
            f"audio is one channel of numbers; got shape {array.shape} of {array.dtype}: mix it down first"
        )
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _video(value: Any) -> Any:
    if _is_array(value) and value.ndim == 4:
        return value
    if isinstance(value, str | os.PathLike):
        return _existing(value, KINDS["video"].says)
    raise _wrong(KINDS["video"].says, value)


def _seed(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise _wrong(KINDS["seed"].says, value)
    return value


def _numbers(value: list[Any]) -> bool:
    return bool(value) and all(type(v) in (int, float) for v in value)


KINDS: Mapping[str, Kind] = {
    "text": Kind("a str or {'text': str}", _text),
    "texts": Kind("a list of str", _texts, whole=lambda value: all(isinstance(v, str) for v in value)),
    "pair": Kind("a str, a tuple of two str, or {'text': str, 'text_pair': str}", _pair),
    "chat": Kind("a str, or a chat: a list of {'role': ..., 'content': ...}", _chat, whole=_is_chat),
    "image": Kind(
        "an image: a path, bytes, a PIL image or a uint8 array HxW or HxWxC",
        _image,
        spread=lambda value: _is_array(value) and value.ndim == 4,
    ),
    "audio": Kind(
        "audio: a path, a 1-d array of samples, or {'raw': array, 'sampling_rate': hertz}",
        _audio,
        whole=_numbers,
        spread=lambda value: _is_array(value) and value.ndim == 2,
    ),
    "video": Kind("a video: a path or an array of frames x H x W x C", _video),
    "table": Kind("a table: a dict of columns, a list of rows or a data frame", lambda value: value),
    "seed": Kind("the seed of a random start, a whole number, or None for any", _seed),
    "any": Kind("anything", lambda value: value),
}
