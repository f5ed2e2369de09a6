"""The package's one logger. Nothing is printed at import; the application decides what it shows."""

from __future__ import annotations

import logging

__all__ = ["logger"]

logger = logging.getLogger("modelscope_ext")
logger.addHandler(logging.NullHandler())
