"""The local file system as a hub: a folder is a model at whatever state it is in now."""

from __future__ import annotations

import os

from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits

__all__ = ["snapshot"]


def snapshot(folder: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> Snapshot:
    """Return the Snapshot of a local folder; see `Snapshot.from_folder`."""
    return Snapshot.from_folder(folder, limits=limits)
