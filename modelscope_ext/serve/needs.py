"""What a server needs beside the package."""

from __future__ import annotations

from importlib.util import find_spec

from modelscope_ext.errors import MissingRequirement

__all__ = ["require"]


def require(*modules: str, extra: str = "serve") -> None:
    """Raise MissingRequirement, with the one command that mends it, where a package is not installed.

    Example:
        >>> require("json")
        >>> require("no_such_module")
        Traceback (most recent call last):
        modelscope_ext.errors.MissingRequirement: this needs no_such_module: pip install "modelscope-ext[serve]"
    """
    missing = [
        name.replace("_", "-") if name == "prometheus_client" else name for name in modules if not find_spec(name)
    ]
    if missing:
        raise MissingRequirement(f'this needs {", ".join(missing)}: pip install "modelscope-ext[{extra}]"')
