"""Step 6 of 6: pictures, sounds and videos in whatever form people have them, brought into one form.

Nothing is fetched unless `web` allows the URL; ``data:`` URLs, bytes and open files need no permission.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.safety.urls import CLOSED, Web, is_url
from modelscope_ext.utils.text import printable

__all__ = [
    "AUDIO",
    "IMAGE",
    "VIDEO",
    "array_of",
    "is_array",
    "is_file",
    "is_frames",
    "is_image",
    "open_audio",
    "open_image",
    "open_video",
    "read_audio",
    "wrong",
]

IMAGE = "an image: a path, bytes, an open file, a PIL image, or a uint8 array HxW or HxWxC"
AUDIO = "audio: a path, bytes, an open file, a 1-d array of samples, or {'raw': array, 'sampling_rate': hertz}"
VIDEO = "a video: a path, or its frames as an array NxHxWxC or a list of images"

#: Names under which an input of its own dict may stand, by kind; the first one given counts.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img", "bytes", "path", "url"),
    "audio": ("audio", "wav", "bytes", "path", "url"),
    "video": ("video", "frames", "bytes", "path", "url"),
}


def is_array(value: Any) -> bool:
    """Whether `value` is an array of numpy, or a tensor of torch or MindSpore; imports nothing.

    Example:
        >>> is_array([1.0])
        False
    """
    return hasattr(value, "ndim") and any(
        base.__module__.partition(".")[0] in ("numpy", "torch", "mindspore") for base in type(value).__mro__[:-1]
    )


def array_of(value: Any) -> Any:
    """Return an array or tensor as a numpy array in the CPU's memory."""
    if hasattr(value, "asnumpy"):
        return value.asnumpy()
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def is_image(value: Any) -> bool:
    """Whether `value` is a PIL image; imports nothing."""
    return any(base.__module__.partition(".")[0] == "PIL" for base in type(value).__mro__)


def is_file(value: Any) -> bool:
    """Whether `value` is an open file.

    Example:
        >>> is_file(BytesIO()), is_file("a.png")
        (True, False)
    """
    return callable(getattr(value, "read", None)) and not isinstance(value, str | bytes) and not is_array(value)


def wrong(says: str, value: Any) -> OptionError:
    """Return the error for an input of another kind."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return OptionError(f"expected {says}; got {name}: {printable(repr(value), 60)}")


def _taken_out(kind: str, value: Any, says: str, also: tuple[str, ...] = ()) -> Any:
    """Return what a dict of one input holds: a data set's cell, or ModelScope's ``{"image": ...}``."""
    names = _NAMES[kind]
    given = [name for name in names if value.get(name) is not None]
    if not given or set(value) - {*names, *also}:
        raise wrong(says, dict(value))
    # A data set's cell has bytes and path; the bytes are there even where its path is not.
    return value[given[0]]


def _source(value: Any, says: str, web: Web) -> str | bytes | None:
    """Return an existing path, or the bytes of what was given as bytes, open file or URL; None for anything else."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if is_file(value):
        return _read(value, web.limits.input_bytes)
    if not isinstance(value, str | os.PathLike):
        return None
    path = os.fsdecode(value)
    if is_url(path):
        return web.fetch(path)
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no such file"
        raise OptionError(f"{printable(path)}: {what}; expected {says}")
    return path


def _read(file: Any, most: int) -> bytes:
    try:
        data = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise OptionError(f"the open file cannot be read: {printable(str(error))}") from error
    if not isinstance(data, bytes):
        raise OptionError(f"the open file gives {type(data).__name__}: open it in binary mode, open(path, 'rb')")
    if len(data) > most:
        raise OptionError(f"the open file holds more than {most} bytes; pass limits={{'input_bytes': ...}}")
    return data


# Images


def open_image(value: Any, web: Web = CLOSED) -> Any:
    """Return one image as a PIL image, upright; its mode stays.

    Raises:
        OptionError: No image, or one that cannot be read.
        RedirectRefused, LimitExceeded, HubError: Of a URL.
    """
    if isinstance(value, Mapping):
        value = _taken_out("image", value, IMAGE)
    if is_array(value):
        return _image_of_array(value)
    if is_image(value):
        return _upright(value)
    source = _source(value, IMAGE, web)
    if source is None:
        raise wrong(IMAGE, value)
    if isinstance(source, bytes):
        name = value if isinstance(value, str) else f"{len(source)} bytes"
        return _decoded(BytesIO(source), printable(name, 60))
    return _decoded(source, source)


def _decoded(file: Any, name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            image.load()
            return _upright(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OptionError(f"{printable(name)}: not an image that can be read ({printable(str(error))})") from error


def _upright(image: Any) -> Any:
    """Turn a photo the way its EXIF tag says, as the libraries' own image loaders do; the mode stays."""
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    return image if turned is None else turned


def _image_of_array(value: Any) -> Any:
    from PIL import Image

    array = array_of(value)
    if str(array.dtype) != "uint8":
        how = "(array * 255).byte()" if hasattr(value, "detach") else "(array * 255).astype('uint8')"
        raise OptionError(
            f"an image array must be uint8 with values 0..255; this one is {array.dtype} of shape {tuple(array.shape)}."
            f" Convert it first, e.g. {how} for values 0..1"
        )
    if array is not value and array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)  # tensors have their channels first
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise OptionError(
            f"an image array has the shape HxW or HxWxC with 1, 3 or 4 channels; got {tuple(value.shape)}"
        )
    import numpy as np

    return Image.fromarray(np.ascontiguousarray(array))


# Sounds


def open_audio(value: Any, web: Web = CLOSED) -> Any:
    """Return one recording as a path, or as ``{"raw": samples [n], "sampling_rate": hertz or None}``.

    Raises:
        OptionError: No recording of one channel, or one that cannot be read.
        RedirectRefused, LimitExceeded, HubError: Of a URL.
    """
    rate = None
    if isinstance(value, Mapping):
        rate = value.get("sampling_rate")
        raw = value.get("raw", value.get("array"))
        if raw is not None and not set(value) - {"raw", "array", "sampling_rate", "path"}:
            return {"raw": _samples(raw), "sampling_rate": _rate(rate)}
        value = _taken_out("audio", value, AUDIO, ("sampling_rate",))
    if callable(getattr(value, "get_all_samples", None)):  # a data set's decoder
        found = value.get_all_samples()
        return {"raw": _samples(found.data), "sampling_rate": _rate(int(found.sample_rate))}
    if is_array(value) or isinstance(value, list | tuple):
        return {"raw": _samples(value), "sampling_rate": _rate(rate)}
    if isinstance(value, Mapping):
        return open_audio(value, web)
    source = _source(value, AUDIO, web)
    if source is None:
        raise wrong(AUDIO, value)
    if rate is not None:
        raise OptionError("sampling_rate= says how samples were taken; a file says that itself: leave it out")
    return source if isinstance(source, str) else read_audio(BytesIO(source), f"{len(source)} bytes")


def read_audio(file: Any, name: str) -> dict[str, Any]:
    """Return the samples of a sound file, its channels mixed: ``{"raw": float32 [n], "sampling_rate": hertz}``.

    Args:
        file: A path or an open file; what soundfile reads (wav, flac, ogg, mp3).
        name: For messages.

    Raises:
        OptionError: It cannot be read.
        MissingRequirement: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingRequirement("reading an audio file needs the package soundfile: pip install soundfile") from error
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (RuntimeError, OSError, TypeError) as error:
        raise OptionError(f"{printable(name)}: not audio that can be read ({printable(str(error))})") from error
    return {"raw": samples.mean(axis=1), "sampling_rate": int(rate)}


def _rate(value: Any) -> int | None:
    if value is None:
        return None
    whole = value.item() if is_array(value) and value.ndim == 0 else value
    if isinstance(whole, bool) or not isinstance(whole, int | float) or whole != int(whole) or whole <= 0:
        raise OptionError(
            f"sampling_rate={printable(repr(value))}: expected samples per second, a positive whole number"
        )
    return int(whole)


def _samples(value: Any) -> Any:
    if not is_array(value) and not isinstance(value, list | tuple):
        raise wrong(AUDIO, value)
    import numpy as np

    try:
        array = np.asarray(array_of(value))
    except ValueError as error:
        raise OptionError(f"audio is one channel of numbers ({printable(str(error))})") from error
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not array.size:
        raise OptionError(
            f"audio is one channel of numbers; got shape {array.shape} of {array.dtype}: mix it down first"
        )
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise OptionError("audio holds numbers that are not finite (nan or inf)")
        return array
    silence, loudest = _WHOLE.get(str(array.dtype), (0, 0))
    if not loudest:
        raise OptionError(f"samples of {array.dtype} have no scale: pass int16, or floats between -1 and 1")
    return (array.astype(np.float32) - silence) / np.float32(loudest)


#: Samples as sound files hold them -> the number that is silence, and the distance from there to the loudest.
_WHOLE = {"uint8": (128, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}


# Videos


def open_video(value: Any, web: Web = CLOSED) -> Any:
    """Return one video as a path, the bytes of a file, or its frames: an array NxHxWxC or a list of PIL images.

    Raises:
        OptionError: No video.
        RedirectRefused, LimitExceeded, HubError: Of a URL.
    """
    if isinstance(value, Mapping):
        value = _taken_out("video", value, VIDEO)
    if is_array(value):
        return _frames_of_array(value)
    if is_frames(value):
        return [open_image(frame, web) for frame in value]
    source = _source(value, VIDEO, web)
    if source is None:
        raise wrong(VIDEO, value)
    return source


def is_frames(value: Any) -> bool:
    """Whether `value` is the frames of one video: a list of images or of arrays of at most three dimensions."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(is_image(one) or (is_array(one) and one.ndim in (2, 3)) for one in value)
    )


def _frames_of_array(value: Any) -> Any:
    array = array_of(value)
    if array is not value and array.ndim == 4 and array.shape[1] in (1, 3, 4):
        array = array.transpose(0, 2, 3, 1)  # tensors have their channels first
    if array.ndim != 4 or array.shape[3] not in (1, 3, 4) or 0 in array.shape or str(array.dtype) != "uint8":
        raise OptionError(
            f"a video's array has the shape NxHxWxC (a tensor NxCxHxW) and is uint8; got {tuple(value.shape)} of"
            f" {array.dtype}"
        )
    return array.repeat(3, axis=3) if array.shape[3] == 1 else array[..., :3]
