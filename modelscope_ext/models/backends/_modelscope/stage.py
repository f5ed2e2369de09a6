"""Step 5 of 6, ModelScope: a folder that holds exactly what may be read, under the configuration that was decided.

ModelScope reads whatever lies in a model's folder: code, requirements to install, pickles nobody has looked at. So it
gets a temporary folder with links to the planned files, which both gates have passed, and with a configuration.json of
ours: that of the model or of `cfg_dict`, with the task and spelling that were decided, and without the keys by which a
model grants itself something. What ModelScope writes beside a model goes there too.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelscope_ext.errors import RedirectRefused
from modelscope_ext.utils.text import printable

__all__ = ["Stage", "refuse_redirects"]

#: Keys of configuration.json by which a model would run or install something.
_GRANTS = frozenset(("allow_remote", "plugins", "trust_remote_code"))
#: Sections whose values are arguments of ModelScope's classes.
_ARGUMENTS = ("model", "pipeline", "preprocessor")


@dataclass(eq=False)
class Stage:
    """A temporary folder for one loaded model; gone when it is closed or forgotten.

    Attributes:
        root: Its absolute path.
    """

    root: Path
    _remove: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._remove = weakref.finalize(self, shutil.rmtree, str(self.root), ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Return the staged model."""
        return self.root / "model"

    @property
    def code(self) -> Path:
        """Return the folder for copies of its code; not inside the model, which is searched for code."""
        return self.root / "modules"

    @classmethod
    def of(cls, source: Path, names: Iterable[str], configuration: Mapping[str, Any], *, trusted: bool) -> Stage:
        """Link the files `names` of `source` into a new folder and write `configuration` beside them.

        Args:
            source: The model's folder, absolute.
            names: The planned files; configuration.json is always ours.
            configuration: What it is to say.
            trusted: Whether the caller permits the model's code, so that `allow_remote` may stay.
        """
        stage = cls(Path(tempfile.mkdtemp(prefix="modelscope-ext-")).resolve())
        folder = stage.folder
        folder.mkdir()
        for name in names:
            if name != "configuration.json":
                _link(source / name, folder / name)
        withheld = _GRANTS - {"allow_remote"} if trusted else _GRANTS
        text = json.dumps(_without(configuration, withheld), ensure_ascii=False, indent=1)
        (folder / "configuration.json").write_text(text, encoding="utf-8")
        return stage

    def close(self) -> None:
        """Remove the folder."""
        self._remove()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the right to make links
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def _without(value: Any, keys: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list | tuple) else value


def refuse_redirects(configuration: Mapping[str, Any], source: str) -> None:
    """Refuse arguments of ModelScope's classes that lead out of the folder: addresses, absolute and upward paths.

    Raises:
        RedirectRefused: Naming the key.

    Example:
        >>> refuse_redirects({"model": {"type": "x", "backbone": "weights/a.pt"}}, "./m")
    """
    for place, value in _strings({key: configuration.get(key) for key in _ARGUMENTS}):
        text = value.replace("\\", "/")
        if "://" in text or text.startswith(("/", "~")) or ".." in text.split("/") or text[1:3] == ":/":
            raise RedirectRefused(
                f"configuration.json: {printable(place)} leads out of the folder: {printable(value)}. Nothing was"
                " opened. Expected a file of the model; copy it there and name it.",
                source=source,
                file="configuration.json",
                field=place,
            )


def _strings(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _strings(inner, f"{place}[{number}]")
