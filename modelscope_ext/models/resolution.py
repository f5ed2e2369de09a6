"""The vocabulary of the decision: what a backend claims, what was decided, and what a load would fetch.

These frozen records travel between step 3 (evidence), step 4 (resolution) and step 5 (load). They hold no logic beyond
presenting themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from modelscope_ext.metadata.snapshot import Source
from modelscope_ext.safety.finding import Finding
from modelscope_ext.utils.record import Record, dataclass, field

__all__ = [
    "BaseReference",
    "Finding",
    "Match",
    "Plan",
    "PlanFile",
    "Reason",
    "Rejected",
    "Resolution",
    "Source",
    "Strength",
    "Weights",
]


class Strength(IntEnum):
    """How a backend came to claim a folder; higher wins (the order of the steps in docs/decisions.md)."""

    POSSIBLE = 10  # could load it too, when asked (mindone for a transformers folder, onediff for a diffusers one)
    READABLE = 20  # config.json, weight names and headers can be read by it
    TAGGED = 30  # the README's front matter names the library
    FORMAT = 40  # the library's own file format
    DECLARED = 50  # configuration.json or cfg_dict names it
    CALLER = 60  # an argument of the call names it


@dataclass(frozen=True)
class Reason(Record):
    """One fact that decided one field.

    Attributes:
        file: The file inside the model; ``"(argument)"``, ``"(environment)"``, ``"(registry)"`` or ``"(table)"`` else.
        key: The dotted key inside that file, or the rule's name.
        value: The value found, as it stands there.
        text: One sentence that a reader of `explain()` understands.
    """

    file: str
    key: str
    value: Any
    text: str


@dataclass(frozen=True)
class Match(Record):
    """One backend's claim to a folder.

    Attributes:
        backend: The claiming backend's or library's name.
        strength: How strong the claim is.
        because: The facts it rests on.
        framework: E.g. ``"pytorch"``; None when the claim says nothing about it.
        tasks: Canonical task names, the likeliest first; empty when the claim says nothing about them.
        model_type: The architecture in the library's own words, e.g. ``"qwen2"``.
        requires: Requirement strings (PEP 508) beyond the backend's own `requires`.
        loadable: False for a library that is recognised but has no loader here.
    """

    backend: str
    strength: Strength
    because: tuple[Reason, ...]
    framework: str | None = None
    tasks: tuple[str, ...] = ()
    model_type: str | None = None
    requires: tuple[str, ...] = ()
    loadable: bool = True


@dataclass(frozen=True)
class BaseReference(Record):
    """Where an adapter says which model it changes.

    Attributes:
        file: The file inside the adapter, e.g. ``"adapter_config.json"``.
        key: The dotted key there.
        name: The base as it stands there, a folder or a hub id; None where the adapter names none.
    """

    file: str
    key: str
    name: str | None = None


@dataclass(frozen=True)
class Rejected(Record):
    """A backend that was considered and not chosen, and why."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Weights(Record):
    """The weight files a load would read.

    Attributes:
        format: ``"safetensors"``, ``"pickle"``, ``"onnx"``, ``"gguf"``, ``"mindspore"``, ...; None when there are none.
        files: Names inside the folder, index files not counted.
        bytes: Their sizes added up.
        variant: E.g. ``"fp16"``.
        dtypes: Tensor dtypes by count of parameters, where headers were read.
        parameters: Number of parameters, where headers were read.
        quantization: The method's name, e.g. ``"gptq"``, ``"Q4_K_M"``.
    """

    format: str | None = None
    files: tuple[str, ...] = ()
    bytes: int = 0
    variant: str | None = None
    dtypes: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    quantization: str | None = None


@dataclass(frozen=True)
class Resolution(Record):
    """One decision about one model, with its reasons.

    Attributes:
        source: What was resolved.
        framework: ``"pytorch"``, ``"mindspore"``, ``"onnx"``, ...
        backend: The library that loads it, e.g. ``"transformers"``.
        tasks: Canonical names; the first is the default.
        default_task: `tasks[0]`, or None when nothing says what the model is for.
        model_type: The architecture in the library's own words.
        requirement_dependency: PEP 508 strings: the backend's, the model's and the declared ones.
        missing: One line for each requirement that is absent, too old or in conflict, with what to do.
        loadable: Whether a loader for `backend` exists here (requirements aside).
        weights: The weight files a load would read.
        because: For each decided field the reasons, strongest first.
        alternatives: Other backends that were considered.
        findings: What a reader should know: contradictions, ignored fields, code, pickles.
        installed: Whether what is installed was allowed to break ties.
    """

    source: Source
    framework: str | None
    backend: str
    tasks: tuple[str, ...] = ()
    model_type: str | None = None
    requirement_dependency: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    loadable: bool = True
    weights: Weights = field(default_factory=Weights)
    because: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    alternatives: tuple[Rejected, ...] = ()
    findings: tuple[Finding, ...] = ()
    installed: bool = True

    @property
    def default_task(self) -> str | None:
        """The task a pipeline runs when the caller names none."""
        return self.tasks[0] if self.tasks else None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and `default_task` as JSON types."""
        return {**super().to_dict(), "default_task": self.default_task}

    def explain(self) -> str:
        """Return the decision and its reasons as plain text, one field a paragraph."""
        from modelscope_ext.models.explain import explain

        return explain(self)

    def code(self) -> str:
        """Return the equivalent snippet in the library's own words; it runs without this package."""
        from modelscope_ext.models.explain import code

        return code(self)


@dataclass(frozen=True)
class PlanFile(Record):
    """One file a load would read: its name, size in bytes, sha256 where known, and whether it is here already."""

    name: str
    bytes: int
    sha256: str | None = None
    cached: bool = True


@dataclass(frozen=True)
class Plan(Record):
    """What a load would read and need.

    Attributes:
        files: Exactly the files the loader will open.
        total_bytes: Their sizes added up.
        to_fetch_bytes: Of which not here yet.
        disk_free: Bytes free where they would go; None when unknown.
        memory_needed: Bytes of weights in memory by dtype name.
        memory_free: Bytes of memory available now; None when unknown.
    """

    files: tuple[PlanFile, ...]
    total_bytes: int
    to_fetch_bytes: int
    disk_free: int | None = None
    memory_needed: Mapping[str, int] = field(default_factory=dict)
    memory_free: int | None = None
