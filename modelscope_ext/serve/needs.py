"""What a server needs beside the package."""

from __future__ import annotations

from importlib.util import find_spec

from modelscope_ext.errors import MissingRequirement

__all__ = ["OF_RAY", "require"]

_OWN = ("fastapi", "prometheus_client", "uvicorn")
#: Names under which modules are installed, where they have another.
_PROJECTS = {"prometheus_client": "prometheus-client", "grpc": "grpcio"}
#: What replicas on Ray Serve need, and whoever starts them.
OF_RAY = (*_OWN, "ray", "grpc")


def require(*modules: str, extra: str = "serve") -> None:
    """Raise MissingRequirement, with the one command that mends it, where a package is not installed.

    Args:
        *modules: Default what a server of one process needs.
        extra: That brings them.

    Example:
        >>> require("json")
        >>> require("no_such_module")
        Traceback (most recent call last):
        modelscope_ext.errors.MissingRequirement: this needs no_such_module: pip install "modelscope-ext[serve]"
    """
    missing = [
        name.replace("_", "-") if name == "prometheus_client" else name
        for name in modules or _OWN
        if not find_spec(name)
    ]
    if missing:
        raise MissingRequirement(f'this needs {", ".join(missing)}: pip install "modelscope-ext[{extra}]"')
