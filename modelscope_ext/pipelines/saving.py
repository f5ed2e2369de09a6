"""Step 6 of 6: answers as JSON; images, videos and sounds become files, and their names stand in the answer instead."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.encode import animated, wav
from modelscope_ext.models.media import is_image
from modelscope_ext.utils.text import printable

__all__ = ["Saver", "as_json"]

#: Frames a second of a video whose model does not say.
_FPS = 8.0


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
