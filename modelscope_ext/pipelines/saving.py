"""Step 6 of 6: answers as JSON; images, videos and sounds become files, and their names stand in the answer instead."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import printable

__all__ = ["Saver", "animated", "as_json", "is_image", "wav"]

#: Frames a second of a video whose model does not say.
_FPS = 8.0


def is_image(value: Any) -> bool:
    """Whether `value` is a PIL image, without importing PIL."""
    return any(base.__module__.partition(".")[0] == "PIL" for base in type(value).__mro__)


def as_json(value: Any) -> Any:
    """Return an answer in JSON types; arrays become lists, what is no number null.

    Raises:
        OptionError: It holds something that JSON has no form for, such as an image.

    Example:
        >>> as_json({"label": "a", "score": 0.5, "box": (1, 2)})
        {'label': 'a', 'score': 0.5, 'box': [1, 2]}
        >>> as_json([float("nan"), float("inf"), 1.0])
        [None, None, 1.0]
    """
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if callable(getattr(value, "tolist", None)):
        return as_json(value.tolist())
    kind = "an image" if is_image(value) else f"a {type(value).__name__}"
    advice = "--save DIR writes it to a file" if is_image(value) else "use it from Python"
    raise OptionError(f"the answer holds {kind}, which has no form in JSON: {advice}")


class Saver:
    """Writes what JSON has no form for into one folder, numbered in the order of the answers.

    Args:
        folder: Made when the first file is written; files that are there are never replaced.

    Raises:
        OptionError: `folder` is a file.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._written = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise OptionError(f"--save {printable(folder)}: a file of that name is there; expected a folder")

    def take(self, value: Any) -> Any:
        """Return `value` with each image, video and sound replaced by the path of its file."""
        if is_image(value):
            from io import BytesIO

            data = BytesIO()
            value.save(data, "PNG")
            return self._write("png", data.getvalue())
        if isinstance(value, Mapping):
            rate = value.get("sampling_rate")
            if isinstance(rate, int) and hasattr(value.get("audio"), "dtype"):
                return {**value, "audio": self._write("wav", wav(value["audio"], rate))}
            frames = value.get("frames")
            if isinstance(frames, list) and frames and all(map(is_image, frames)):
                return {**value, "frames": self._write("png", animated(frames, value.get("fps") or _FPS))}
            return {key: self.take(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.take(item) for item in value]
        return value

    def _write(self, ending: str, data: bytes) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._written += 1
            path = self.folder / f"{self._written:04}.{ending}"
            try:
                with path.open("xb") as stream:
                    stream.write(data)
            except FileExistsError:
                continue
            return str(path)


def animated(frames: list[Any], fps: float) -> bytes:
    """Return PIL images as an animated PNG, which keeps every pixel; browsers and most viewers play it.

    Args:
        frames: At least one image.
        fps: Frames a second.

    Example:
        >>> from PIL import Image
        >>> animated([Image.new("RGB", (2, 2), color) for color in ("red", "blue")], 4)[37:41]
        b'acTL'
    """
    from io import BytesIO

    data = BytesIO()
    frames[0].save(data, "PNG", save_all=True, append_images=frames[1:], duration=1000 / fps, loop=0)
    return data.getvalue()


def wav(samples: Any, rate: int) -> bytes:
    """Return samples in -1..1, shape [time] or [channels, time], as a 16-bit WAV file of `rate` hertz.

    Example:
        >>> import numpy as np
        >>> wav(np.zeros(8, "float32"), 16000)[:4]
        b'RIFF'
    """
    import wave
    from io import BytesIO

    import numpy as np

    array = np.asarray(samples, dtype=np.float32)
    array = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    whole = np.round(np.nan_to_num(array).clip(-1, 1) * 32767).astype("<i2")
    data = BytesIO()
    with wave.open(data, "wb") as stream:
        stream.setnchannels(whole.shape[0])
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(whole.T.tobytes())
    return data.getvalue()
