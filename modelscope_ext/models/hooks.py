"""How hooks that other people write are called: with the keywords they name, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modelscope_ext.errors import MalformedMetadata, ModelScopeExtError
from modelscope_ext.utils.text import printable

__all__ = ["call_hook", "library_errors", "named", "overrides"]


def named(hook: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the keywords that `hook` names beyond its first argument, and whether it takes any others.

    Example:
        >>> named(lambda inputs, top_k=1, **rest: None)
        (('top_k',), True)
    """
    from inspect import Parameter, signature

    try:
        parameters = list(signature(hook).parameters.values())
    except (TypeError, ValueError):
        return (), True
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    names = tuple(p.name for p in parameters[1:] if p.kind in kinds)
    return names, any(p.kind is Parameter.VAR_KEYWORD for p in parameters)


def call_hook(hook: Callable[..., Any], value: Any, options: Mapping[str, Any]) -> Any:
    """Call `hook(value)` with those of `options` that it takes.

    Example:
        >>> call_hook(lambda inputs, top_k=1: (inputs, top_k), "a", {"top_k": 3, "other": 1})
        ('a', 3)
    """
    names, takes_any = named(hook)
    return hook(value, **(dict(options) if takes_any else {k: v for k, v in options.items() if k in names}))


def overrides(cls: type, name: str, base: type) -> bool:
    """Whether `cls` defines the method `name` anew, itself or in a class between it and `base`."""
    return getattr(cls, name, None) is not getattr(base, name, None) and not _same_function(cls, name, base)


def _same_function(cls: type, name: str, base: type) -> bool:
    """Class methods are bound anew at each access: compare the functions below."""
    ours, theirs = getattr(cls, name, None), getattr(base, name, None)
    return getattr(ours, "__func__", ours) is getattr(theirs, "__func__", theirs)


@contextmanager
def library_errors(doing: str) -> Iterator[None]:
    """Tell what a library raises as our own error, its own being the cause.

    Ours pass, and so does a lack of memory, which callers answer with a smaller batch.

    Example:
        >>> with library_errors("numpy failed at fill-mask"):
        ...     {}["token"]
        Traceback (most recent call last):
        modelscope_ext.errors.ModelScopeExtError: numpy failed at fill-mask: KeyError: 'token'
    """
    try:
        yield
    except (ModelScopeExtError, MemoryError, NotImplementedError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise ModelScopeExtError(f"{doing}: {type(error).__name__}: {printable(str(error), 400)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, of tokenizers and safetensors; no Exception
            raise
        raise MalformedMetadata(f"{doing}, over a damaged file: {printable(str(error), 400)}") from error
