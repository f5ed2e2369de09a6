"""A data set of Hugging Face's `datasets` as a source: an object, a saved folder, or ``hf:org/name`` on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from modelscope_ext.batch.sources.base import Source
from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.utils.text import listing, printable

__all__ = ["HuggingFace"]

_BATCH = 256  # rows that are turned into Python objects at once


class HuggingFace(Source):
    """A row is a dict of the columns; pictures and sounds stand in it as they are stored, not decoded.

    Args:
        source: A `datasets.Dataset` or `DatasetDict`, the folder of one, or ``"hf:org/name"``.
        split: Which, where there are several.
        name: The configuration, where there are several.
    """

    def __init__(self, source: Any, *, split: str | None = None, name: str | None = None) -> None:
        if isinstance(source, str | os.PathLike):
            source = _loaded(os.fspath(source), name)
        self._data = _plain(_one_split(source, split))
        self.rows = len(self._data)

    def identity(self) -> dict[str, Any]:
        """Return the columns and the fingerprint that `datasets` keeps."""
        return {"kind": "datasets", "rows": self.rows, "columns": sorted(self._data.column_names),
                "fingerprint": str(self._data._fingerprint)}  # fmt: skip

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`."""
        for start in range(first, min(stop, self.rows), _BATCH):
            columns = self._data[start : min(start + _BATCH, stop, self.rows)]
            names = list(columns)
            for values in zip(*columns.values(), strict=True):
                yield {name: _media(value) for name, value in zip(names, values, strict=True)}


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingRequirement(
            'a data set needs `datasets`, which is not installed: pip install "modelscope-ext[datasets]"'
        ) from error
    return datasets


def _loaded(source: str, name: str | None) -> Any:
    library = _library()
    try:
        if source.startswith("hf:"):
            return library.load_dataset(source.removeprefix("hf:"), name)
        return library.load_from_disk(source)
    except (OSError, ValueError) as error:
        raise OptionError(f"{printable(source)}: {type(error).__name__}: {printable(str(error), 300)}") from error


def _one_split(data: Any, split: str | None) -> Any:
    if not hasattr(data, "column_names"):
        raise OptionError(f"input: expected a path, a list of rows or a data set, got {type(data).__name__}")
    if not isinstance(data, dict):
        if split is not None:
            raise OptionError(f"split={printable(split)!r}: this data set has one part only")
        return data
    if split is None and len(data) == 1:
        return next(iter(data.values()))
    if split not in data:
        asked = "which split?" if split is None else f"no split {printable(split)!r};"
        raise OptionError(f"{asked} there are {listing(data)}: say it with split= (--split)")
    return data[split]


def _plain(data: Any) -> Any:
    """Return the data set without its own decoding of media, and without a format of its own."""
    library = _library()
    if not isinstance(data, library.Dataset):
        raise OptionError(f"input: a {type(data).__name__} has no rows that can be counted; expected a Dataset")
    data = data.with_format(None)
    for name, feature in data.features.items():
        if isinstance(feature, library.Image | library.Audio):
            fingerprint = data._fingerprint
            data = data.cast_column(name, type(feature)(decode=False))
            data._fingerprint = fingerprint
    return data


def _media(value: Any) -> Any:
    """Return the bytes, or else the path, of what is stored as ``{"bytes", "path"}``."""
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return value["path"] if value["bytes"] is None else value["bytes"]
    return value
