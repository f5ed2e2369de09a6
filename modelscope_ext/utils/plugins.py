"""Plug-ins: what other installed packages register through an entry-point group, loaded on first need.

No lock is held while a plug-in is imported: another thread may be importing the same module and, from its top, ask the
registry; each would wait for the other. Several threads may therefore walk the list at once. The import system runs
each module once, and registering the same object twice changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelscope_ext.utils.distributions import EntryPoint, entry_points
from modelscope_ext.utils.text import printable

__all__ = ["PlugIns", "current_origin", "import_string"]

_current = threading.local()


def current_origin() -> str:
    """Return which plug-in this thread is importing, e.g. ``"entry point 'm' of acme 1.2"``, or an empty string."""
    return getattr(_current, "origin", "")


def import_string(path: str) -> Any:
    """Import ``"pkg.mod"`` or ``"pkg.mod:Class"`` and return it.

    Raises:
        ImportError: The module has no such attribute; anything else that the module raises passes through.

    Example:
        >>> import_string("fractions:Fraction.limit_denominator").__name__
        'limit_denominator'
    """
    from importlib import import_module

    module, _, attributes = path.partition(":")
    value: Any = import_module(module)
    for attribute in attributes.split(".") if attributes else ():
        if not hasattr(value, attribute):
            raise ImportError(f"{module} has no {attributes!r}", name=module)
        value = getattr(value, attribute)
    return value


class PlugIns:
    """The entry points of one group.

    Args:
        group: The entry-point group, one of ``modelscope_ext.*``; empty for none.
        load: Called once for each entry point, in a fixed order; what it raises is kept, and the next one is loaded.
    """

    def __init__(self, group: str, load: Callable[[EntryPoint], None]) -> None:
        self.group = group
        self._load = load
        self._results: dict[EntryPoint, BaseException | None] = {}
        self._complete = not group
        self._busy = threading.local()

    def discover(self) -> None:
        """Load all plug-ins of the group unless that has been done. A plug-in that asks meanwhile sees the earlier."""
        if self._complete or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            for point in entry_points():
                if point.group == self.group and point not in self._results:
                    self._results.setdefault(point, self._try(point))
            self._complete = True
        finally:
            self._busy.now = False

    @property
    def broken(self) -> tuple[tuple[EntryPoint, BaseException], ...]:
        """The plug-ins that could not be loaded, each with its error."""
        return tuple((point, error) for point, error in self._results.copy().items() if error is not None)

    def _try(self, point: EntryPoint) -> BaseException | None:
        with _origin(f"entry point {point.name!r} of {point.package}"):
            try:
                self._load(point)
            except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plug-in must not break the others
                from modelscope_ext.utils.logger import logger

                logger.warning("%s could not be loaded: %s", current_origin(), printable(str(error), 500))
                return error
        return None


@contextmanager
def _origin(text: str) -> Iterator[None]:
    before = current_origin()
    _current.origin = text
    try:
        yield
    finally:
        _current.origin = before
