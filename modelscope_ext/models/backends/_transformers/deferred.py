"""Step 5 of 6, transformers: what its modules import for training and for compilers waits until it is used.

Every model's class imports the losses of all models, and those of object detection import `scipy.optimize` for one
function, which only training calls. The masks of attention and some integrations import `torch._dynamo`, PyTorch's
compiler, for the context of one rare kind of mask and for decorators that say something to that compiler. Here those
few names are handed out unopened while transformers' own modules are imported: a function opens its module when it is
called, and what a decorator has to say is said when the compiler is imported. Nothing else of scipy, PyTorch or
transformers is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache, partial, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from threading import RLock, get_ident
from types import MappingProxyType, ModuleType
from typing import Any

__all__ = ["import_modeling", "no_values_for_meta"]

_LOSSES, _MODELS = "transformers.loss.loss_utils", ("transformers.masking_utils", "transformers.modeling_utils")
_OPTIMISERS, _COMPILER = "scipy.optimize", "torch._dynamo"
_MASKS = f"{_COMPILER}._trace_wrapped_higher_order_op"
#: The functions of `torch.nn.init` that ask a `TorchFunctionMode` first (PyTorch 2.13).
_INITIALISERS = ("normal_", "uniform_", "kaiming_uniform_")
_LOCK = RLock()


def import_modeling() -> None:
    """Import what all of transformers' models share, without scipy's optimisers and PyTorch's compiler.

    Nothing is deferred that is there already. What cannot be imported is left to transformers, which imports it again
    and says what is wrong.
    """
    with _LOCK:
        if all(name in sys.modules for name in (_LOSSES, *_MODELS)) or find_spec("torch") is None:
            return
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
        absent = [module for module in (_OPTIMISERS, _COMPILER) if module not in sys.modules and _is_installed(module)]
        for module, names in _UNOPENED.items():
            if any(module == one or module.startswith(f"{one}.") for one in absent):
                sys.modules[module] = _Unopened(module, names, get_ident())
        try:
            with suppress(Exception):  # whatever it is, the import that follows raises it
                for name in (_LOSSES, *_MODELS):
                    import_module(name)
        finally:
            _give_back()


@cache
def _skips_initialisers() -> type:
    import torch
    from torch.overrides import TorchFunctionMode

    draws = {getattr(torch.nn.init, name) for name in _INITIALISERS} | {torch.Tensor.normal_, torch.Tensor.uniform_}

    class SkipsInitialisers(TorchFunctionMode):  # type: ignore[misc,unused-ignore]
        def __torch_function__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            tensor = args[0] if args else (kwargs or {}).get("tensor")
            if call in draws and isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
            return call(*args, **(kwargs or {}))

    return SkipsInitialisers


def no_values_for_meta() -> AbstractContextManager[Any]:
    """Draw no random values for tensors that have no memory ("meta"), in this thread.

    transformers builds its modules with such tensors, and PyTorch would import its compiler to fill them with nothing.
    Tensors with memory are filled as ever.
    """
    made: AbstractContextManager[Any] = _skips_initialisers()()
    return made


def _is_installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


class _Unopened(ModuleType):
    """Stands where a module will: it has the names given, and leads to the real module for any other.

    An import asks for `__path__` first. In the thread that imports transformers there is none, which makes it a plain
    module; in any other thread the question opens the real one.
    """

    def __init__(self, module: str, names: Mapping[str, Any], thread: int) -> None:
        super().__init__(module)
        self.__dict__.update({**names, "_thread": thread})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name != "__path__" or get_ident() == self._thread):
            raise AttributeError(name)
        return getattr(_opened(self.__name__), name)


def _opened(module: str) -> ModuleType:
    _give_back()
    return import_module(module)


def _give_back() -> None:
    for module in _UNOPENED:
        if isinstance(sys.modules.get(module), _Unopened):
            del sys.modules[module]


def _called(module: str, name: str) -> Callable[..., Any]:
    """Return what calls `module.name`, and imports it for that."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(_opened(module), name)(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


def _disable(function: Callable[..., Any] | None = None, recursive: bool = True, **keywords: Any) -> Callable[..., Any]:
    """Stand for `torch._dynamo.disable`; it is asked when the function that the compiler must leave alone is called."""
    if function is None:
        return partial(_disable, recursive=recursive, **keywords)
    made: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not made:
            made.append(_opened(_COMPILER).disable(function, recursive, **keywords))
        return made[0](*args, **kwargs)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # the mark by which the compiler knows such a one
    return call


class _Finder(MetaPathFinder):
    """Python's finder for the modules that were handed out unopened; it stays from the first such time on.

    It says to the compiler what decorators had to say, as soon as somebody imports it. And it finds a module a second
    time: an import of a part of a module asks first for the whole, and does not expect that this imports the part.
    """

    def __init__(self) -> None:
        self._marked: list[tuple[str, Any]] = []

    def decorator(self, name: str) -> Callable[[Any], Any]:
        """Return what stands for the decorator `torch._dynamo.NAME`, which returns what it is given."""

        def mark(function: Any) -> Any:
            self._marked.append((name, function))
            return function

        return mark

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not any(name == module or name.startswith(f"{module}.") for module in (_OPTIMISERS, _COMPILER)):
            return None
        if (module := sys.modules.get(name)) is not None:
            return ModuleSpec(name, _Again(module), is_package=hasattr(module, "__path__"))
        spec = PathFinder.find_spec(name, path) if name == _COMPILER else None
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Loader) -> None:
        execute = loader.exec_module

        def execute_and_mark(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            for name, function in self._marked:
                getattr(module, name)(function)
            self._marked.clear()

        loader.exec_module = execute_and_mark  # type: ignore[method-assign]


class _Again(Loader):
    """Returns a module that is there already."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


_FINDER = _Finder()
#: Module -> what of it is handed out unopened (transformers 5.23: loss/loss_for_object_detection.py, masking_utils.py,
#: generation/continuous_batching/cache.py, integrations/{deepgemm,finegrained_fp8,sonicmoe}.py; PyTorch 2.13:
#: compiler/__init__.py, whose `disable` calls the one below).
_UNOPENED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        _OPTIMISERS: {"linear_sum_assignment": _called(_OPTIMISERS, "linear_sum_assignment")},
        _MASKS: {"TransformGetItemToIndex": _called(_MASKS, "TransformGetItemToIndex")},
        _COMPILER: {
            "disable": _disable,
            "allow_in_graph": _FINDER.decorator("allow_in_graph"),
            "assume_constant_result": _FINDER.decorator("assume_constant_result"),
        },
    }
)
