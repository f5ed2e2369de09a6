"""Pictures, videos and sounds of the answers: files whose names say the row, so that doing it again adds none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelscope_ext.pipelines.saving import Saver
from modelscope_ext.utils.atomic import write_atomic

__all__ = ["FOLDER", "RowFiles"]

#: The folder in the output folder.
FOLDER = "files"
_IN_ONE_FOLDER = 10_000


class RowFiles(Saver):
    """Writes what JSON has no form for; the names that stand in the records are relative to the output folder.

    Args:
        output: The output folder.
    """

    def __init__(self, output: str) -> None:
        self._output, self._row, self._count = Path(output), 0, 0

    def of_row(self, row: int, value: Any) -> Any:
        """Return the answer to the row `row` with each image, video and sound replaced by the name of its file."""
        self._row, self._count = row, 0
        return self.take(value)

    def _write(self, ending: str, data: bytes) -> str:
        folder = self._output / FOLDER / f"{self._row // _IN_ONE_FOLDER:06}"
        folder.mkdir(parents=True, exist_ok=True)
        more = f"-{self._count}" if self._count else ""
        self._count += 1
        path = folder / f"{self._row:09}{more}.{ending}"
        write_atomic(path, data, durable=False)
        return path.relative_to(self._output).as_posix()
