"""Step 5 of 6, onediff: compiling what diffusers loaded, with onediff's own code, and undoing it for saving.

`onediffx.compile_pipe` puts a wrapper in the place of each component that it knows: text encoders, image encoder, unet,
controlnet, transformer, prior, decoder, and encoder and decoder of a vae. Nothing is compiled before it is first run.
Three traps of onediffx 1.2.0 are kept from users: it takes keys out of the dict of options that it is given, it warns
about every image processor that is not exactly a `VaeImageProcessor`, and a pipeline that it compiled saves a
model_index.json that names onediff's wrappers and that nothing can load.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, OptionError
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends._onediff.compilers import TORCH, Settings, declarable
from modelscope_ext.models.resolution import Reason
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["compiled", "plain"]

_LOCK = threading.Lock()
#: What onediffx calls the object that makes pictures of tensors, which it patches rather than compiles.
_IMAGES = "image_processor"


def compiled(loaded: Loaded, settings: Settings, options: Any, source: str) -> Loaded:
    """Compile the components of a pipeline in place, or the one component that was loaded.

    Args:
        loaded: What the diffusers backend returned.
        settings: What to compile with.
        options: The compiler's options, as onediff takes them.
        source: The model's name, for messages.

    Returns:
        The same, with ``parts["compiler"]``, ``parts["compiler_options"]`` and ``parts["compiled"]`` (component -> the
        module as it was), and with the reasons that go into the resolution.

    Raises:
        OptionError: `ignores` names what the pipeline does not have.
        BackendNotLoadable: onediff knows none of its components.
    """
    _register()
    single = not hasattr(loaded.native, "components")
    if single:
        native, originals = _component(loaded.native, settings, options)
    else:
        native, originals = _pipeline(loaded.native, settings, options, source)
    if not originals:
        raise BackendNotLoadable(
            f"{printable(source)}: onediff compiles none of the components of {type(native).__name__}"
            f" ({listing(loaded.native.components)}); ignores={printable(repr(settings.ignores))}. Load it with"
            " backend='diffusers'."
        )
    names = tuple(originals)
    said = _versions(settings)
    logger.info(
        "%s: onediff compiles %s when first run, with %s: %s",
        printable(source), ", ".join(names) or type(native).__name__, said, settings.compiler.says,
    )  # fmt: skip
    file = "config.json" if single else "model_index.json"
    what = Reason(file, "(components)", ", ".join(names), f"compiled by {said}")
    return replace(
        loaded,
        native=native,
        parts={
            **loaded.parts,
            "compiler": settings.compiler.name,
            "compiler_options": dict(settings.options),
            "compiled": originals,
        },
        because={**loaded.because, "compiler": (settings.because[0], what, *settings.because[1:])},
        declares={**loaded.declares, "onediff": declarable(settings)},
    )


def plain(loaded: Loaded) -> Loaded:
    """Return the model as it was before compiling, in copies of the objects that hold compiled modules."""
    originals = loaded.parts["compiled"]
    if not hasattr(loaded.native, "components"):
        return replace(loaded, native=originals[_name_of(loaded.native)])
    pipe = copy.copy(loaded.native)
    for name, module in originals.items():
        head, _, tail = name.partition(".")
        if tail:
            holder = copy.copy(getattr(pipe, head))
            holder.__dict__["_modules"] = {**holder._modules, tail: module}
            module = holder
        setattr(pipe, head, module)
    return replace(loaded, native=pipe)


def _pipeline(pipe: Any, settings: Settings, options: Any, source: str) -> tuple[Any, dict[str, Any]]:
    """Compile a pipeline with onediffx and leave its config as it was: with the classes of the library."""
    from diffusers.image_processor import VaeImageProcessor
    from onediffx import compile_pipe

    _check_ignores(pipe, settings.ignores, source)
    before, config = dict(_modules(pipe)), dict(pipe.config)
    ignores = {*settings.ignores}
    if type(getattr(pipe, _IMAGES, None)) is not VaeImageProcessor:
        ignores.add(_IMAGES)
    pipe = compile_pipe(pipe, backend=settings.compiler.registered, options=options, ignores=tuple(ignores))
    originals = {name: before[name] for name, module in _modules(pipe) if module is not before[name]}
    pipe.register_to_config(**{name: config[name] for name in originals if name in config})
    return pipe, originals


def _component(module: Any, settings: Settings, options: Any) -> tuple[Any, dict[str, Any]]:
    """Compile the one component that a folder is."""
    from onediff.infer_compiler import compile as compile_module

    if settings.ignores:
        raise OptionError(
            f"ignores={printable(repr(settings.ignores))}: the folder is one component, which is compiled"
        )
    made = compile_module(module, backend=settings.compiler.registered, options=options)
    return made, {_name_of(module): module}


def _name_of(module: Any) -> str:
    return str(module.config.get("_class_name") or type(module).__name__)


def _modules(pipe: Any) -> Iterator[tuple[str, Any]]:
    """Yield the pipeline's modules and the modules in them, by the names that onediffx has for them."""
    from torch.nn import Module

    for name, part in pipe.components.items():
        if isinstance(part, Module):
            yield name, part
            yield from ((f"{name}.{child}", inner) for child, inner in part.named_children())


def _check_ignores(pipe: Any, ignores: tuple[str, ...], source: str) -> None:
    known = {_IMAGES, *(name for name, _ in _modules(pipe))}
    for name in ignores:
        if name not in known:
            parts = [one for one in known if "." not in one]
            raise OptionError(
                f"ignores: {printable(source)} ({type(pipe).__name__}) has no component {printable(name)!r}."
                f"{did_you_mean(name, known)} It has: {listing(sorted(parts))}"
            )


def _versions(settings: Settings) -> str:
    """Say what compiles, with the versions of it."""
    from importlib.metadata import version

    name = settings.compiler.name
    how = f"{name} {version(name)}"
    if settings.compiler is TORCH:
        backend = settings.options.get("backend", "inductor")
        shown = repr(backend) if isinstance(backend, str) else getattr(backend, "__name__", "a function")
        how = f"torch.compile(backend={shown}) of torch {version('torch')}"
    return f"{how} through onediff {version('onediff')}"


def _register() -> None:
    """Enter torch.compile into onediff's registry, once."""
    from onediff.infer_compiler.backends.registry import lookup_backend, register_backend

    with _LOCK:
        try:
            lookup_backend(TORCH.registered)
        except (ImportError, RuntimeError):  # not there yet: it looks for a module of that name first
            register_backend(TORCH.registered)(_torch_compile)


def _torch_compile(torch_module: Any, *, options: Any = None) -> Any:
    """Compile a module with torch, in the wrapper that onediff has for compilers that work on torch's own modules."""
    import torch
    from onediff.infer_compiler.backends.nexfort.deployable_module import get_deployable_module

    return get_deployable_module(torch_module, torch.compile(torch_module, **(options or {})))
