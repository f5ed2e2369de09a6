"""Step 5 of 6, onediff: which compiler, with which options: chosen and checked before a weight is read.

onediff has two compilers of its own, which are packages of their own, and neither is on PyPI as something that
runs: `oneflow` (the name is held by 0.7.0, whose import raises "This package is a placeholder") and `nexfort`. The
third row of the table wraps `torch.compile`. It is registered in onediff's own registry and goes through onediff's own
code, but the speed is PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelscope_ext.errors import ConfigError, MissingRequirement, OptionError
from modelscope_ext.models.backends._onediff.options import nexfort_options, oneflow_options, torch_options
from modelscope_ext.models.resolution import Reason
from modelscope_ext.utils.distributions import installed
from modelscope_ext.utils.requirement import check_requirement
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = [
    "COMPILERS",
    "DEFAULTS",
    "FILE",
    "OPTIONS",
    "TORCH",
    "Compiler",
    "Settings",
    "choose",
    "declarable",
    "declared",
]

#: The keywords of `load` that are about compiling.
OPTIONS: Mapping[str, str] = {
    "compiler": "what compiles: 'oneflow' or 'nexfort' (the default is the first that is installed), or 'torch'"
    " (torch.compile)",
    "compiler_options": "a dict for it: backend, mode, dynamic, fullgraph, options of torch.compile; fields of"
    " onediff's OneflowCompileOptions; what nexfort takes",
    "ignores": "components to leave as they are, in onediffx's words, e.g. ('vae', 'text_encoder')",
}


@dataclass(frozen=True)
class Compiler:
    """One compiler that onediff can use.

    Attributes:
        name: What users write in ``compiler=``.
        registered: Its name in onediff's registry.
        check: Returns its options as onediff takes them, or raises OptionError.
        requires: The requirement it needs beyond onediff and torch; empty for none.
        install: How to get it.
        says: What a reader of the log and of `explain()` should know of it.
    """

    name: str
    registered: str
    check: Callable[[Mapping[str, Any]], Any]
    requires: str = ""
    install: str = ""
    says: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package is here; nothing is imported to find out."""
        return not self.requires or check_requirement(self.requires).ok


@dataclass(frozen=True)
class Settings:
    """What a load compiles with.

    Attributes:
        compiler: A row of `COMPILERS`.
        options: Its options, as they were given.
        ignores: Components to leave as they are.
        because: Who chose them, the compiler first.
    """

    compiler: Compiler
    options: Mapping[str, Any] = field(default_factory=dict)
    ignores: tuple[str, ...] = ()
    because: tuple[Reason, ...] = ()


#: The compilers by name; those of onediff first, in its own order.
COMPILERS: Mapping[str, Compiler] = {
    row.name: row
    for row in (
        Compiler(
            "oneflow",
            "oneflow",
            oneflow_options,
            "oneflow>=0.9",
            "python -m pip install --pre oneflow -f"
            " https://github.com/siliconflow/oneflow_releases/releases/expanded_assets/community_cu121"
            " (its wheels are not on PyPI, where an empty placeholder has the name)",
            "OneFlow's graph compiler",
        ),
        Compiler(
            "nexfort",
            "nexfort",
            nexfort_options,
            "nexfort",
            "python -m pip install nexfort, beside the torch release that it was built for"
            " (https://github.com/siliconflow/onediff lists them)",
            "SiliconFlow's nexfort",
        ),
        Compiler(
            "torch",
            "modelscope_ext.torch",
            torch_options,
            says="torch.compile, PyTorch's own compiler: this is not the acceleration of oneflow or nexfort",
        ),
    )
}
TORCH = COMPILERS["torch"]
#: What is taken unasked, the first that is installed. `torch` is not among them: who asks for onediff expects its own.
DEFAULTS = ("oneflow", "nexfort")

FILE = "configuration.json"
#: Keys of configuration.json's ``onediff``, and which options of torch.compile a file may set: those that run nothing
#: but PyTorch. ``options`` of inductor would name the programs to compile with.
_KEYS = ("compiler", "compiler_options", "ignores")
_DECLARABLE = ("backend", "mode", "dynamic", "fullgraph")


def choose(asked: Mapping[str, Any], said: Mapping[str, Any], source: str, *, file: str = FILE) -> Settings:
    """Return the settings of a load: the caller's, else what configuration.json says, else the first that is installed.

    Args:
        asked: The caller's `compiler`, `compiler_options` and `ignores`; None where unsaid.
        said: What `declared` returned.
        source: The model's name, for messages.
        file: Where `said` is from, as a reason names it.

    Raises:
        OptionError: No such compiler, or an option that it does not take.
        MissingRequirement: The compiler is not installed; nothing was imported to find out.
    """
    name, reason = _compiler(asked.get("compiler"), said, source, file)
    compiler = COMPILERS[name]
    if not compiler.installed:
        raise _missing(compiler, source)
    kept = said if said.get("compiler") == name else {}
    values = {key: asked[key] if asked.get(key) is not None else kept.get(key) for key in _KEYS[1:]}
    options, ignores = values["compiler_options"], _names(values["ignores"])
    if options is not None and not (isinstance(options, Mapping) and all(isinstance(key, str) for key in options)):
        raise OptionError(f"compiler_options={printable(repr(options))}: expected a dict of names and values")
    noted = ((key, value) for key, value in (("compiler_options", options), ("ignores", list(ignores))) if value)
    more = (
        Reason(*(("(argument)", key) if asked.get(key) is not None else (file, f"onediff.{key}")), value, f"of {name}")
        for key, value in noted
    )
    return Settings(compiler, options or {}, ignores, (reason, *more))


def declared(document: Any, source: str) -> dict[str, Any]:
    """Return what a configuration.json says under ``onediff``, as far as a file may say it.

    Raises:
        ConfigError: A key, compiler or option that may not stand there.

    Example:
        >>> declared({"onediff": {"compiler": "torch", "compiler_options": {"backend": "eager"}}}, "here")
        {'compiler': 'torch', 'compiler_options': {'backend': 'eager'}}
    """
    said = document.get("onediff") if isinstance(document, Mapping) else None
    if said is None:
        return {}
    where = f"{printable(source)}: {FILE}: onediff"
    if not isinstance(said, Mapping):
        raise ConfigError(f"{where}: expected an object with {listing(_KEYS)}, got {type(said).__name__}")
    for key in said:
        if key not in _KEYS:
            raise ConfigError(f"{where}.{printable(key)}: expected {listing(_KEYS)}.{did_you_mean(str(key), _KEYS)}")
    if said.get("compiler") not in COMPILERS:
        raise ConfigError(f"{where}.compiler={printable(repr(said.get('compiler')))}: expected {listing(COMPILERS)}")
    options = said.get("compiler_options", {})
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}.compiler_options: expected an object, got {type(options).__name__}")
    allowed = _DECLARABLE if said["compiler"] == TORCH.name else ()
    for key, value in options.items():
        if key not in allowed or not isinstance(value, str | bool):
            raise ConfigError(
                f"{where}.compiler_options.{printable(key)}: a file may not set it; pass compiler_options= in the call."
                f" Of torch.compile it may set {listing(_DECLARABLE)}."
            )
    return dict(said)


def declarable(settings: Settings) -> dict[str, Any]:
    """Return what a saved configuration.json says, so that a reload compiles alike; `declared` reads it."""
    options = settings.options if settings.compiler is TORCH else {}
    kept = {k: v for k, v in options.items() if k in _DECLARABLE and isinstance(v, str | bool)}
    said: dict[str, Any] = {"compiler": settings.compiler.name}
    if kept:
        said["compiler_options"] = kept
    if settings.ignores:
        said["ignores"] = list(settings.ignores)
    return said


def _compiler(asked: Any, said: Mapping[str, Any], source: str, file: str) -> tuple[str, Reason]:
    if asked is not None:
        if not isinstance(asked, str) or asked not in COMPILERS:
            hint = (
                " inductor is the default backend of torch.compile: pass compiler='torch'"
                if asked == "inductor"
                else ""
            )
            raise OptionError(
                f"compiler={printable(repr(asked))}: expected one of {listing(COMPILERS)}."
                f"{hint or did_you_mean(str(asked), COMPILERS)}"
            )
        return asked, Reason("(argument)", "compiler", asked, COMPILERS[asked].says)
    if said.get("compiler"):
        name = str(said["compiler"])
        return name, Reason(file, "onediff.compiler", name, COMPILERS[name].says)
    name = next((one for one in DEFAULTS if COMPILERS[one].installed), "")
    if not name:
        raise _missing(None, source)
    return name, Reason("(environment)", "installed", name, f"{COMPILERS[name].says}; {name} is installed here")


def _missing(compiler: Compiler | None, source: str) -> MissingRequirement:
    """Return the error for a compiler that is not here, or where none of onediff's own is."""
    wanted = [COMPILERS[name] for name in DEFAULTS] if compiler is None else [compiler]
    if compiler is None:
        lines = [f"{printable(source)}: onediff compiles with {' or '.join(DEFAULTS)}, and neither is installed."]
    else:
        has = installed(compiler.name)
        there = f"; {has.version} is installed" if has else ""
        lines = [f"{printable(source)}: compiler={compiler.name!r} needs {compiler.requires}{there}."]
    lines += [f"  {one.name}: {one.install}" for one in wanted]
    others = [o.name for o in COMPILERS.values() if o.installed and o is not TORCH]
    lines += [f"  Installed is: {listing(others)}"] if others else []
    lines += [f"  or pass compiler='torch': {TORCH.says}. Or leave onediff out with backend='diffusers'."]
    return MissingRequirement("\n".join(lines))


def _names(ignores: Any) -> tuple[str, ...]:
    names = (ignores,) if isinstance(ignores, str) else () if ignores is None else ignores
    if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(n, str) and n for n in names):
        raise OptionError(f"ignores={printable(repr(ignores))}: expected names of components, e.g. ('vae', 'unet')")
    return tuple(names)
