"""Step 4 of 6: the framework a model runs in: the caller's, the claim's, what is declared, what its weights are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_ext.models.builder import BACKENDS
from modelscope_ext.models.decision.recognised import library
from modelscope_ext.models.frameworks import canonical_framework
from modelscope_ext.models.resolution import Finding, Match, Reason, Strength
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.weights import WeightFile
    from modelscope_ext.models.decision.asked import Asked

__all__ = ["choose_framework", "declared_framework"]

#: Libraries that run in more than one framework; what is declared or tagged decides.
_ANY_FRAMEWORK = frozenset(("modelscope", "openmind"))
#: Framework -> the weight formats that are its own.
_OF_FRAMEWORK = {
    "pytorch": ("safetensors", "pickle"), "onnx": ("onnx",), "tensorflow": ("h5", "keras", "saved_model", "pb"),
    "paddle": ("paddle",), "mindspore": ("mindspore",), "ggml": ("gguf", "ggml"), "tvm": ("mlc",), "jax": ("msgpack",),
}  # fmt: skip


def choose_framework(evidence: Evidence, match: Match, asked: Asked) -> tuple[str | None, list[Reason], list[Finding]]:
    """Return the framework, the reasons for it, and what contradicts it."""
    findings: list[Finding] = []
    because = []
    chosen = match.framework
    if asked.framework is not None and (chosen is None or chosen == asked.framework or match.backend in _ANY_FRAMEWORK):
        chosen = asked.framework
        because.append(Reason("(argument)", "framework", chosen, "the caller asks for it"))
    for kind, facts in (
        ("declared", evidence.declared.get("framework", ())),
        ("tagged", evidence.tagged.get("framework", ())),
    ):
        for fact in facts[:1]:
            said = canonical_framework(fact.value)
            if said is None:
                continue
            if chosen is None or (match.backend in _ANY_FRAMEWORK and not because):
                chosen = said
            if said == chosen:
                because.append(Reason(fact.file, fact.key, fact.value, f"{kind} so"))
            else:
                text = f"{printable(fact.value)} is {kind}, but {match.backend} runs this in {chosen}"
                findings.append(Finding("framework-contradiction", "warning", fact.file, fact.key, text))
    if chosen is None and (held := _held(evidence)):
        chosen, file = held
        because.append(Reason(file.name, "(weights)", file.format, f"weights of {chosen}"))
        return chosen, because, findings
    known = match.backend in BACKENDS or library(match.backend) is not None
    if known and (not because or match.strength >= Strength.FORMAT):
        because.append(Reason("(table)", match.backend, chosen, f"{match.backend} runs in {chosen}"))
    weight = next((w for w in evidence.weights if w.format in _OF_FRAMEWORK.get(chosen or "", ())), None)
    if weight is not None:
        because.append(Reason(weight.name, "(weights)", weight.format, f"weights of {chosen}"))
    return chosen, because, findings


def _held(evidence: Evidence) -> tuple[str, WeightFile] | None:
    """Return the framework of the weights, for a library of which nothing is known, and one file of them."""
    found = ((name, w) for name, formats in _OF_FRAMEWORK.items() for w in evidence.weights if w.format in formats)
    return next(found, None)


def declared_framework(evidence: Evidence) -> str | None:
    """Return the framework that configuration.json, else the card, names."""
    for facts in (evidence.declared.get("framework", ()), evidence.tagged.get("framework", ())):
        for fact in facts[:1]:
            return canonical_framework(fact.value)
    return None
