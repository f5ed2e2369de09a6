"""A Parquet file as a source; needs pyarrow."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from modelscope_ext.batch.sources.base import Source
from modelscope_ext.errors import MissingRequirement, OptionError
from modelscope_ext.utils.text import printable

__all__ = ["Parquet", "arrow"]

_BATCH = 256  # rows that are turned into Python objects at once
_PIECE = 2**20


def arrow(name: str) -> Any:
    """Return the module `name` of pyarrow.

    Raises:
        MissingRequirement: It is not installed.
    """
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{name}" if name else "pyarrow")
    except ImportError as error:
        raise MissingRequirement(
            'Parquet needs pyarrow, which is not installed: pip install "modelscope-ext[parquet]"'
        ) from error


class Parquet(Source):
    """A row is a dict of the columns."""

    kind = "parquet"

    def __init__(self, path: Path, stride: int = 1) -> None:
        self.path = Path(path).absolute()
        self.folder = str(self.path.parent)
        module = arrow("parquet")
        try:
            meta = module.ParquetFile(self.path).metadata
        except (OSError, ValueError) as error:
            raise OptionError(f"{self.path.name}: no Parquet file ({printable(str(error), 200)})") from error
        self._ends = list(accumulate((meta.row_group(n).num_rows for n in range(meta.num_row_groups)), initial=0))
        self.rows = self._ends[-1]

    def identity(self) -> dict[str, Any]:
        """Return name, size and digest of the file."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return {
            "kind": self.kind,
            "file": self.path.name,
            "bytes": self.path.stat().st_size,
            "sha256": digest.hexdigest(),
        }

    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to `stop`; of other row groups nothing is read."""
        stop = min(stop, self.rows)
        if first >= stop:
            return
        begin = bisect_right(self._ends, first) - 1
        groups = [n for n, (low, high) in enumerate(pairwise(self._ends)) if n >= begin and low < stop and high > low]
        at = self._ends[begin]
        with arrow("parquet").ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, row_groups=groups):
                low, high = max(first - at, 0), min(stop - at, batch.num_rows)
                at += batch.num_rows
                if low < high:
                    yield from batch.slice(low, high - low).to_pylist()
                if at >= stop:
                    return
