"""Two operators that torchvision looks for when it is imported, and that a CPU build of torch beside it lacks.

The registry's torchvision is a CUDA build; beside a CPU torch its own operators are not there, and importing it fails
over the first of them. The models of `pt-cv` use none, so placeholders that cannot be called are enough. Only the
tests do this; the package names torchvision as a conflict there.
"""

from __future__ import annotations

from typing import Any

__all__ = ["define"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[Any] = []  # what is defined goes when the library object does


def define() -> None:
    """Define ``torchvision::nms`` and ``torchvision::qnms`` where they are missing, then import torchvision."""
    import torch

    if not _kept and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}{_SCHEMA}")
        _kept.append(library)
    import torchvision  # noqa: F401
