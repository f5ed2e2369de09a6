"""Step 6 of 6: answers as JSON; pictures, videos and sounds become files, whose names stand in it instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.encode import with_media
from modelscope_ext.models.media import is_image
from modelscope_ext.utils.text import printable

__all__ = ["Saver", "as_json"]

#: Kind of a file -> its ending; viewers know moving pictures by the ending of still ones.
_ENDINGS: Mapping[str, str] = {"image/png": "png", "image/apng": "png", "audio/wav": "wav"}


def _refused(value: Any) -> Any:
    kind = "an image" if is_image(value) else f"a {type(value).__name__}"
    advice = "--save DIR writes it to a file" if is_image(value) else "use it from Python"
    raise OptionError(f"the answer holds {kind}, which has no form in JSON: {advice}")


def as_json(value: Any, other: Callable[[Any], Any] = _refused) -> Any:
    """Return an answer in JSON types; arrays become lists, what is no number null.

    Args:
        value: The answer.
        other: What becomes of something that JSON has no form for, such as an image.

    Raises:
        OptionError: It holds something of that kind, unless `other` gives it a form.

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
        return {str(key): as_json(item, other) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item, other) for item in value]
    if callable(getattr(value, "tolist", None)):
        return as_json(value.tolist(), other)
    return other(value)


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
        """Return `value` with each image, mask, video and sound replaced by the path of its file."""
        return with_media(value, lambda data, kind: self._write(_ENDINGS[kind], data))

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
