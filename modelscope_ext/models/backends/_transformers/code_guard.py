"""Step 5 of 6, transformers: code of a folder that the caller permitted to run, and what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["code_of", "contained"]

#: The package under which transformers imports the code of models.
_PACKAGE = "transformers_modules"


def code_of(error: BaseException, folder: Path) -> bool:
    """Whether `error` was raised inside the code of a model rather than by transformers itself."""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.partition(".")[0] == _PACKAGE or Path(trace.tb_frame.f_code.co_filename).is_relative_to(folder):
            return True
        trace = trace.tb_next
    return False


@contextmanager
def contained() -> Iterator[None]:
    """Leave `sys.path` as it was, and after a failure also `sys.modules`.

    transformers puts its cache of model code on `sys.path` for good. Its package stays known by its own path, so that
    code which imports its neighbours later still finds them.
    """
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    except BaseException:
        for name in [n for n in sys.modules if n not in modules and n.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
        raise
    finally:
        if sys.path != path:
            if any(n.partition(".")[0] == _PACKAGE for n in set(sys.modules) - modules):
                from importlib import import_module

                import_module(_PACKAGE)
            sys.path[:] = path
