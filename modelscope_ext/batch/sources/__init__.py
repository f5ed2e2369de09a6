"""Where the rows of a job come from. Every source knows how many rows it has, and can be read from any of them on.

| kind | what it is | one row |
|---|---|---|
| ``jsonl`` | ``.jsonl``, ``.ndjson`` | the JSON value of a line; empty lines are none |
| ``csv`` | ``.csv``, ``.tsv``, with the names of the columns in the first line | a dict of texts |
| ``parquet`` | ``.parquet`` (needs pyarrow) | a dict |
| ``text`` | ``.txt`` | a line; an empty one too |
| ``image``, ``audio``, ``video`` | a folder, and the folders in it, in the order of their names | a path |
| ``datasets`` | a folder that `datasets` has saved, ``hf:org/name``, a `datasets.Dataset` | a dict |

A folder of ``.jsonl``, ``.csv``, ``.parquet`` or ``.txt`` files is read as one. A row that cannot be read is a
`Failure` in its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from modelscope_ext.batch.sources.base import Source
from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["KINDS", "Listed", "Source", "open_source"]


#: Kind -> "module:class" in this package, and the endings of its files.
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "jsonl": ("lines:JsonLines", (".jsonl", ".ndjson")),
    "csv": ("lines:Csv", (".csv", ".tsv")),
    "text": ("lines:Text", (".txt",)),
    "parquet": ("parquet_:Parquet", (".parquet",)),
    "image": ("folders:Media", (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")),
    "audio": ("folders:Media", (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")),
    "video": ("folders:Media", (".mp4", ".webm", ".mov", ".avi", ".mkv")),
    "datasets": ("datasets_:HuggingFace", ()),
}
_MEDIA = ("image", "audio", "video")
#: Files that say a folder was written by `datasets.Dataset.save_to_disk`.
_SAVED = ("dataset_info.json", "state.json")


def open_source(
    source: Any, *, kind: str | None = None, split: str | None = None, name: str | None = None, stride: int = 1
) -> Source:
    """Return the source that `source` means; its files are read once, to count and to tell them from others.

    Args:
        source: A file, a folder, ``"hf:org/name"``, a `datasets.Dataset`, or a list of rows.
        kind: A key of `KINDS`, where the ending does not say it.
        split: Of a data set that has several.
        name: The configuration of a data set that has several.
        stride: Every how many rows a place is noted from which reading can go on.

    Raises:
        OptionError: There is none, it has no rows, or nothing says what it is.
        MissingRequirement: pyarrow or `datasets` is not installed.
    """
    if kind is not None and kind not in KINDS:
        raise OptionError(
            f"input format {printable(kind)!r}: expected {listing(KINDS)}.{did_you_mean(str(kind), KINDS)}"
        )
    made = _opened(source, kind, split, name, stride)
    if made.rows == 0:
        raise OptionError(f"{_said(source)}: there are no rows in it")
    return made


def _opened(source: Any, kind: str | None, split: str | None, name: str | None, stride: int) -> Source:
    if isinstance(source, list | tuple):
        return Listed(source)
    hub = isinstance(source, str) and source.startswith("hf:") and not Path(source).exists()
    if hub or not isinstance(source, str | os.PathLike) or kind == "datasets" or _saved(Path(source)):
        return _of_kind("datasets")(source, split=split, name=name)  # type: ignore[no-any-return]
    if split is not None or name is not None:
        raise OptionError(f"{_said(source)}: split and name choose from a data set of `datasets`, and this is none")
    path = Path(source)
    if not path.exists():
        raise OptionError(f"{_said(source)}: no such file or folder")
    if path.is_dir():
        return _folder(path, kind, stride)
    found = kind or _kind_of(path)
    if found is None or found in _MEDIA:
        raise OptionError(
            f"{_said(source)}: what is in it? Expected a file with the ending {listing(_endings())}, or a folder; or"
            " say it with --input-format"
        )
    return _of_kind(found)(path, stride)  # type: ignore[no-any-return]


def _folder(path: Path, kind: str | None, stride: int) -> Source:
    from modelscope_ext.batch.sources.folders import Joined, Media, files_below

    files = files_below(path)
    kinds = {found for file in files if (found := _kind_of(file))} if kind is None else {kind}
    if not kinds:
        raise OptionError(f"{_said(path)}: a folder without a file of a known kind ({listing(_endings(media=True))})")
    if len(kinds) > 1:
        raise OptionError(f"{_said(path)}: a folder of {listing(sorted(kinds))}; say which with --input-format")
    (found,) = kinds
    chosen = [file for file in files if file.suffix.lower() in KINDS[found][1]]
    if found in _MEDIA:
        return Media(path, found, chosen)
    make = _of_kind(found)
    return Joined(path, [make(file, stride) for file in chosen])


def _of_kind(kind: str) -> Callable[..., Any]:
    module, _, cls = KINDS[kind][0].partition(":")
    made: Callable[..., Any] = getattr(import_module(f"{__name__}.{module}"), cls)
    return made


def _kind_of(path: Path) -> str | None:
    ending = path.suffix.lower()
    return next((kind for kind, (_, endings) in KINDS.items() if ending in endings), None)


def _endings(*, media: bool = False) -> list[str]:
    return [end for kind, (_, endings) in KINDS.items() if media or kind not in _MEDIA for end in endings]


def _saved(path: Path) -> bool:
    return all((path / name).is_file() for name in _SAVED) or (path / "dataset_dict.json").is_file()


def _said(source: Any) -> str:
    return printable(os.fspath(source)) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}"


class Listed(Source):
    """Rows that a program has in a list."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self.rows = len(rows)

    def identity(self) -> dict[str, Any]:
        """Return a digest of the rows, as far as they can be written down."""
        import hashlib
        import json

        digest = hashlib.sha256()
        for row in self._rows:
            digest.update(json.dumps(row, sort_keys=True, default=repr).encode() + b"\n")
        return {"kind": "list", "rows": self.rows, "sha256": digest.hexdigest()}

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`."""
        return iter(self._rows[first:stop])
