"""The package's one logger. Nothing is printed at import; the application decides what it shows.

It is made when a module first asks for it: `logging` and what it imports are a twentieth of the time of a short
command, which logs nothing.

Example:
    >>> from modelscope_ext.utils.logger import logger
    >>> logger.name
    'modelscope_ext'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    logger: logging.Logger

__all__ = ["logger", "no_longer", "when_made"]

_waiting: list[Callable[[logging.Logger], None]] = []


def when_made(action: Callable[[logging.Logger], None]) -> None:
    """Call `action` with the logger: now if it is there, else as soon as it is."""
    made = globals().get("logger")
    if made is None:
        _waiting.append(action)
    else:
        action(made)


def no_longer(action: Callable[[logging.Logger], None]) -> None:
    """Forget an action that still waits in `when_made`."""
    if action in _waiting:
        _waiting.remove(action)


def __getattr__(name: str) -> Any:
    if name != "logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import logging

    made = logging.getLogger("modelscope_ext")
    if "logger" not in globals():
        made.addHandler(logging.NullHandler())
        globals()["logger"] = made
        while _waiting:
            _waiting.pop()(made)
    return made
