"""Step 5 of 6, onediff: the options of each compiler, checked before a weight is read, in the form onediff takes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["nexfort_options", "oneflow_options", "torch_options"]

#: The keywords of torch.compile and their types.
_TORCH: Mapping[str, type] = {"backend": str, "mode": str, "dynamic": bool, "fullgraph": bool, "options": Mapping}


def torch_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the keywords of `torch.compile`.

    Raises:
        OptionError: One that it does not take, a backend that is not registered, a mode or an option that inductor
            does not have.
    """
    _check_names(options, _TORCH, "torch.compile")
    for name, value in options.items():
        if not isinstance(value, _TORCH[name]) and not (name == "backend" and callable(value)):
            wanted = "dict" if name == "options" else _TORCH[name].__name__
            raise OptionError(f"compiler_options: {name}={printable(repr(value))}: expected a {wanted}")
    backend = options.get("backend", "inductor")
    if backend != "inductor" and (refused := [n for n in ("mode", "options") if n in options]):
        raise OptionError(f"compiler_options: {listing(refused)} is for the backend 'inductor' of torch.compile only")
    if "mode" in options and "options" in options:
        raise OptionError("compiler_options: a mode is a set of options of inductor: pass mode or options, not both")
    if isinstance(backend, str):
        import torch

        _check_value("backend", backend, torch._dynamo.list_backends(exclude_tags=()), "torch.compile")
    if backend == "inductor" and len(options) > ("backend" in options):
        import torch._inductor

        if "mode" in options:
            _check_value("mode", options["mode"], torch._inductor.list_mode_options(), "inductor")
        for name in options.get("options", ()):
            _check_value("option", str(name).replace("-", "_"), torch._inductor.list_options(), "inductor")
    return dict(options)


def oneflow_options(options: Mapping[str, Any]) -> Any:
    """Return onediff's own record of oneflow's options, or None, which is its default."""
    import dataclasses

    from onediff.infer_compiler import OneflowCompileOptions

    _check_names(options, [one.name for one in dataclasses.fields(OneflowCompileOptions)], "oneflow")
    return OneflowCompileOptions(**options) if options else None


def nexfort_options(options: Mapping[str, Any]) -> Any:
    """Return nexfort's options, a copy, since onediffx takes keys out of it; nexfort itself checks them."""
    return deepcopy(dict(options)) or None


def _check_names(options: Mapping[str, Any], known: Any, who: str) -> None:
    for name in options:
        if name not in known:
            near = did_you_mean(name, known)
            raise OptionError(f"compiler_options: {who} has no {printable(name)!r}.{near} It has: {listing(known, 40)}")


def _check_value(name: str, value: str, known: Any, who: str) -> None:
    if value not in known:
        raise OptionError(
            f"compiler_options: {who} has no {name} {printable(value)!r}.{did_you_mean(value, known)}"
            f" It has: {listing(sorted(known), 40)}"
        )
