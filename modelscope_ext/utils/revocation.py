"""The one environment variable that takes a permission away; none can give one."""

from __future__ import annotations

import os

__all__ = ["NO_REMOTE_CODE", "revoked"]

#: The environment variable that revokes `trust_remote_code`, whatever a call says.
NO_REMOTE_CODE = "MODELSCOPE_EXT_NO_REMOTE_CODE"

_OFF = frozenset(("", "0", "false", "no", "off"))


def revoked() -> bool:
    """Return whether the environment forbids code from models, whatever the call says; asked at the time of use."""
    return os.environ.get(NO_REMOTE_CODE, "").strip().lower() not in _OFF
