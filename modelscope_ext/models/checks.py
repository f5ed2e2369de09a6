"""Step 5 of 6: what has to hold before anything is loaded: the class, the framework, the requirements, the options."""

from __future__ import annotations

from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import (
    BackendNotLoadable,
    ConfigError,
    MissingRequirement,
    OptionError,
    RequirementConflict,
)
from modelscope_ext.models import modelscope_form
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.request import KEYWORDS, Request, unknown_keyword
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.utils.entry import Entry
    from modelscope_ext.utils.requirement import Check

__all__ = [
    "Choice",
    "check_base",
    "check_class",
    "check_framework",
    "check_loadable",
    "check_needs",
    "check_options",
]


@dataclass(frozen=True)
class Choice:
    """Who loads: a class, and the backend it may hand over to."""

    kind: type[Any]
    engine: Backend | None
    entry: Entry | None = None

    @property
    def own(self) -> bool:
        """Whether the class loads by itself."""
        return modelscope_form.loads_itself(self.kind)


def check_class(model_class: type[Any], resolution: Resolution) -> None:
    """Refuse a class whose `load` cannot be called on it, or that is for another task than the folder's."""
    if any(isinstance(vars(kind).get("load"), FunctionType) for kind in model_class.__mro__):
        raise OptionError(
            f"{model_class.__name__}.load is called on the class: write @classmethod above it, and"
            " load(cls, folder, resolution, **options)"
        )
    from modelscope_ext.models.metadata import ModelMetadata

    said = ModelMetadata.of(model_class)
    checks = (
        ("tasks", said.tasks, resolution.tasks),
        ("model_type", said.model_types, _tuple(resolution.model_type)),
        ("framework", said.frameworks, _tuple(resolution.framework)),
        ("backend", said.backends, _tuple(resolution.backend)),
    )
    for name, ours, theirs in checks:
        if ours and theirs and not set(ours) & set(theirs):
            raise OptionError(
                f"{model_class.__name__} is for {name} {listing(ours)}; {printable(str(resolution.source))} has"
                f" {listing(theirs)}. Load it with Model.from_pretrained(...), which chooses the class."
            )


def _tuple(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def check_framework(resolution: Resolution, evidence: Evidence, asked: str | None) -> None:
    """Refuse to load with another framework than the caller asks for; `resolve` only notes it."""
    if asked is None:
        return
    from modelscope_ext.models.frameworks import canonical_framework

    wanted = canonical_framework(asked) or asked
    if resolution.framework is not None and wanted != resolution.framework:
        raise OptionError(
            f"framework={printable(repr(asked))}: nothing in {printable(str(resolution.source))} is for it; its files"
            f" are for {resolution.framework} ({resolution.backend}). Leave framework= out, or convert the weights"
        )


def check_loadable(resolution: Resolution, choice: Choice) -> None:
    """Refuse a model of a library that is recognised, but that neither a backend nor the class can load."""
    from modelscope_ext.models.backends import BUILTINS

    known = choice.engine is not None and (resolution.loadable or resolution.backend not in BUILTINS)
    if known or choice.own:
        return
    source = printable(str(resolution.source))
    _check_known(resolution, source)
    lines = [line for line in resolution.missing if line]
    wanted = resolution.requirement_dependency or (resolution.backend,)
    from modelscope_ext.utils.requirement import check_requirements, install_command

    command = install_command(check_requirements(wanted))
    install = f" Install it with: {command}." if command else f" {lines[0]}" if lines else ""
    reason = next(iter(resolution.because.get("tasks", ())), None) if choice.engine is not None else None
    found = f" ({printable(reason.file)}: {printable(reason.key)}: {printable(reason.value)})" if reason else ""
    raise BackendNotLoadable(
        f"{source} is a model of {resolution.backend!r}{found}, which is recognised but cannot be loaded here yet."
        f"{install}"
        " Load it with that library itself, or register a class for it:"
        f" @MODELS.register_module(backend={resolution.backend!r})."
    )


def _check_known(resolution: Resolution, source: str) -> None:
    """Refuse a backend that is only a word in the model's files: it must not become a package to install."""
    from modelscope_ext.models.backends import BUILTINS
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.decision.recognised import library

    name = resolution.backend
    if name in BUILTINS or library(name) is not None:
        return
    reason = next(iter(resolution.because.get("backend", ())), None)
    where = f" ({printable(reason.file)}: {printable(reason.key)})" if reason else ""
    raise BackendNotLoadable(
        f"{source} declares the backend {printable(repr(name))}{where}, and nothing here knows it."
        f"{did_you_mean(name, BACKENDS.names())} Loadable: {listing(BACKENDS.names())}. Pass backend= with one of"
        " them, or install the package that brings this backend."
    )


def check_needs(resolution: Resolution) -> None:
    """Raise for what is missing, too old or in conflict; nothing is imported."""
    from modelscope_ext.utils.requirement import check_requirements, install_command

    bad = [check for check in check_requirements(resolution.requirement_dependency) if not check.ok]
    if not bad:
        return
    source = printable(str(resolution.source))
    lines = "\n".join(f"  {line}" for line in _told(bad))
    if any(check.problem == "invalid" for check in bad):
        raise ConfigError(
            f"{source}: configuration.json: requirement_dependency: expected requirements such as 'transformers>=5.3':"
            f"\n{lines}\nCorrect the file, or pass cfg_dict= to replace it."
        )
    command = install_command(bad)
    if any(check.problem == "conflict" for check in bad):
        raise RequirementConflict(f"{source} cannot be loaded in this environment:\n{lines}")
    advice = f"\nInstall it with: {command}" if command else ""
    raise MissingRequirement(f"{source} ({resolution.backend}) needs what is not installed:\n{lines}{advice}")


def _told(bad: list[Check]) -> Iterator[str]:
    """Yield a line for each; where packages cannot live here, what is merely missing is no advice for here."""
    conflict = any(check.problem == "conflict" for check in bad)
    told: set[str] = set()
    for check in bad:
        line = str(check)
        if check.advice in told or (conflict and check.problem not in ("conflict", "invalid", "refused")):
            line = line.removesuffix(check.advice).rstrip()
        told.add(check.advice)
        yield line


def check_options(request: Request, choice: Choice) -> None:
    """Refuse a keyword that neither the backend nor the class takes."""
    if not request.extra:
        return
    engine = choice.engine
    known: dict[str, str] = dict(engine.options) if engine is not None else {}
    takes_any = False
    if choice.own:
        names, takes_any = modelscope_form.options_of(choice.kind)
        known.update(dict.fromkeys(names, ""))
    # A class that may hand over to a backend takes **options only to pass them on.
    if takes_any and engine is None:
        return
    who = f"backend {engine.name!r}" if engine is not None else choice.kind.__name__
    for name in request.extra:
        if name not in known and name not in KEYWORDS:
            raise unknown_keyword(name, known, who)


def check_base(request: Request, snapshot: Snapshot, evidence: Evidence, choice: Choice) -> None:
    """Refuse a base for what is no adapter, which would be ignored, and an adapter without any base."""
    given, source = request.get("base_model"), printable(str(snapshot.source))
    base = choice.engine.base(evidence) if choice.engine is not None else None
    if given is not None and base is None and not (choice.own and "adapter_config.json" in snapshot):
        who = choice.engine.name if choice.engine is not None else choice.kind.__name__
        raise OptionError(
            f"base_model={printable(str(given))}: {source} is no adapter to {who}, so it takes no base; leave"
            " base_model out"
        )
    if given is None and base is not None and not base.name and not choice.own:
        raise OptionError(
            f"{source}: {base.file}: {base.key} names no base, and an adapter does nothing without one. Pass"
            " base_model=<the folder of the model it was trained on>"
        )
