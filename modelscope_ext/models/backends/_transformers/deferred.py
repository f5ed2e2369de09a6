"""Step 5 of 6, transformers: scipy's optimisers wait until a loss asks for them.

Every model's class imports the losses of all models, and those of object detection import `scipy.optimize` for one
function, which only training calls: a tenth of the time to a first prediction. Here that one name is handed out
unopened; it imports scipy when it is called. Nothing else of scipy or transformers is touched.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from threading import RLock, get_ident
from types import ModuleType
from typing import Any

__all__ = ["import_losses"]

_OPTIMISERS, _FUNCTION = "scipy.optimize", "linear_sum_assignment"
_LOSSES = "transformers.loss.loss_utils"
_LOCK = RLock()


def import_losses() -> None:
    """Import transformers' losses without scipy's optimisers, unless either is there already.

    What cannot be imported is left to transformers, which imports the losses again and says what is wrong.
    """
    with _LOCK:
        if _LOSSES in sys.modules or _OPTIMISERS in sys.modules or find_spec("scipy") is None:
            return
        sys.modules[_OPTIMISERS] = _Unopened(get_ident())
        try:
            with suppress(Exception):  # whatever it is, the import that follows raises it
                import_module(_LOSSES)
        finally:
            _give_back()


class _Unopened(ModuleType):
    """Stands where `scipy.optimize` will: it has the one function, and leads to the real module for any other name.

    An import asks for `__path__` first. In the thread that imports the losses there is none, which makes it a plain
    module; in any other thread the question opens the real one.
    """

    def __init__(self, thread: int) -> None:
        super().__init__(_OPTIMISERS)
        self.__dict__.update({_FUNCTION: linear_sum_assignment, "_thread": thread})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name != "__path__" or get_ident() == self._thread):
            raise AttributeError(name)
        return getattr(_opened(), name)


def linear_sum_assignment(*args: Any, **kwargs: Any) -> Any:
    """Call `scipy.optimize.linear_sum_assignment`."""
    return getattr(_opened(), _FUNCTION)(*args, **kwargs)


def _opened() -> ModuleType:
    _give_back()
    return import_module(_OPTIMISERS)


def _give_back() -> None:
    if isinstance(sys.modules.get(_OPTIMISERS), _Unopened):
        del sys.modules[_OPTIMISERS]
