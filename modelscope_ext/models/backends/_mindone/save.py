"""Writing: safetensors of mindone's that PyTorch's libraries read too.

mindone marks them ``{"format": "np"}``, which transformers in PyTorch refuses. The tensors are the same, so the mark is
exchanged in the header, which stays as long as it was.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["mark_as_pytorchs"]

_THEIRS, _OURS = b'{"__metadata__":{"format":"np"}', b'{"__metadata__":{"format":"pt"}'


def mark_as_pytorchs(folder: Path) -> None:
    """Exchange the mark in every safetensors file below `folder` that mindone wrote."""
    for path in folder.rglob("*.safetensors"):
        with path.open("r+b") as file:
            file.seek(8)  # behind the length of the header
            if file.read(len(_THEIRS)) == _THEIRS:
                file.seek(8)
                file.write(_OURS)
