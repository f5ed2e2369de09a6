"""What every source is to a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

__all__ = ["Source"]


class Source(ABC):
    """Rows that can be counted, and read from any of them on. It can be pickled, and holds no open file.

    Attributes:
        rows: How many rows there are.
        folder: To which paths in the rows are relative; None where they are not.
        keep: Columns that go into the records where nobody says which.
    """

    rows: int = 0
    folder: str | None = None
    keep: tuple[str, ...] = ()

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what tells this input from another, as JSON types."""

    @abstractmethod
    def read(self, first: int, stop: int) -> Iterator[Any]:
        """Yield the rows from `first` up to, not including, `stop`; of what cannot be read a `Failure`."""
