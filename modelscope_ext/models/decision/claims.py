"""Step 4 of 6, first half: every library's claim to what the evidence shows, before one is chosen.

The claims come in this order: what configuration.json or `cfg_dict` declares, a library's own format, the card's tags,
what can merely be read. None of them looks at what is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelscope_ext.models.backends import BUILTINS, canonical_backend
from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.architectures import (
    cross_encoder_claim,
    onnx_claim,
    transformers_claim,
    weaker_without_weights,
    weight_formats,
)
from modelscope_ext.models.decision.heads import hinted
from modelscope_ext.models.decision.native import modelscope_claim
from modelscope_ext.models.decision.recognised import claim, find, is_bare_card, recognise, tagged_library
from modelscope_ext.models.frameworks import canonical_framework
from modelscope_ext.models.resolution import Match, Reason, Strength
from modelscope_ext.models.tasks import canonical
from modelscope_ext.utils.record import replace

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["TWINS", "all_claims", "twins"]

#: Library -> who loads the very same folders, each with its framework: in another one, or compiled (onediff).
TWINS: Mapping[str, Mapping[str, str]] = {
    "transformers": {"mindone": "mindspore"},
    "diffusers": {"mindone": "mindspore", "onediff": "pytorch"},
}

#: Beginnings of tensor names -> whose they are, for a lone weights file.
_TENSORS = (
    (("base_model.model.",), "peft"),
    (
        (
            "lora_unet_",
            "lora_te_",
            "lora_transformer_",
            "unet.",
            "transformer.transformer_blocks",
            "model.diffusion_model.",
            "diffusion_model.",
            "first_stage_model.",
            "double_blocks.",
        ),
        "diffusers",
    ),
)
_LIBRARY_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,39}")
#: What stands in `library_name` without naming a library.
_NO_LIBRARY = frozenset(
    ("pytorch", "torch", "custom", "generic", "other", "others", "none", "unknown", "python", "null")
)
#: A file of low-rank weights; peft's own are called adapter_model.
_LORA = re.compile(r"(?<![a-z])lora(?![a-z]).*\.safetensors$")
_MODELSCOPE_CARD = frozenset(("tasks", "frameworks", "domain", "model-type", "widgets", "backbone"))


def all_claims(evidence: Evidence, plugged_in: Iterable[Match] = ()) -> list[Match]:
    """Return the claims to the evidence, each library once, its strongest.

    Args:
        evidence: What the files say.
        plugged_in: The claims of other packages' backends.
    """
    formats = [weaker_without_weights(match, evidence) for match in recognise(evidence)]
    others = list(plugged_in)
    taken = formats + [match for match in others if match.strength >= Strength.FORMAT]
    found = [*_declared(evidence, taken), *formats, *_tagged(evidence, formats), *_readable(evidence, formats), *others]
    best: dict[str, Match] = {}
    for match in found:
        known = best.get(match.backend)
        if known is None:
            best[match.backend] = match
        else:
            weak, strong = sorted((match, known), key=lambda m: m.strength)
            best[match.backend] = _merged(strong, weak)
    return list(best.values())


def twins(claims: list[Match]) -> Iterator[Match]:
    """Return claims of the libraries that load the same folders; none of them is chosen unless asked or declared."""
    for match in claims:
        for twin, framework in TWINS.get(match.backend, {}).items():
            if any(c.backend == twin for c in claims):
                continue
            reason = Reason("(table)", twin, match.backend, f"{twin} loads the folders of {match.backend}")
            yield Match(
                twin,
                Strength.POSSIBLE,
                (reason, *match.because),
                framework=framework,
                tasks=match.tasks,
                model_type=match.model_type,
                loadable=twin in BUILTINS,
            )


def _merged(strong: Match, weak: Match) -> Match:
    """The stronger claim, with the tasks of the weaker where it has none of its own."""
    return Match(
        strong.backend,
        strong.strength,
        (*strong.because, *weak.because),
        strong.framework or weak.framework,
        strong.tasks or weak.tasks,
        strong.model_type or weak.model_type,
        strong.requires or weak.requires,
        strong.loadable or weak.loadable,
    )


def _declared(evidence: Evidence, formats: list[Match]) -> Iterator[Match]:
    for fact in evidence.declared.get("backend", ())[:1]:
        if isinstance(fact.value, str):
            name = canonical_backend(fact.value)
            reason = Reason(fact.file, fact.key, fact.value, f"the backend is declared as {fact.value}")
            row = find(name)
            if row is not None:
                yield claim(row, evidence, Strength.DECLARED, (reason,))
            else:
                yield Match(name, Strength.DECLARED, (reason,), loadable=name in BUILTINS)
    for fact in evidence.declared.get("framework", ())[:1]:
        if isinstance(fact.value, str) and fact.value.strip().lower() == "onnxruntime":
            reason = Reason(fact.file, fact.key, fact.value, "the framework is declared as onnxruntime")
            yield Match("onnxruntime", Strength.DECLARED, (reason,), framework="onnx")
    native = modelscope_claim(evidence)
    if native is not None:
        yield replace(native, strength=Strength.POSSIBLE) if formats else native


def _tagged(evidence: Evidence, formats: list[Match]) -> Iterator[Match]:
    """The card's library, unless the files show that it cannot be."""
    tag = tagged_library(evidence)
    if tag is None:
        yield from _stranger(evidence)
        return
    row, reason = tag
    needs_torch = row.name in ("transformers", "sentence-transformers")
    graphs_only = needs_torch and weight_formats(evidence) == {"onnx"}  # they can't load those
    bare = is_bare_card(evidence)
    shown = not row.needs_files or bare or any(f.backend == row.name for f in formats)
    named = bare or row.tags or not reason.key.startswith("tags")  # a mere tag names what it *also* runs in
    strength = Strength.TAGGED if shown and named and not graphs_only else Strength.POSSIBLE
    yield claim(row, evidence, strength, (reason,))


def _stranger(evidence: Evidence) -> Iterator[Match]:
    """The card names a library that the table does not have; better than nothing, weaker than what can be read."""
    for fact in evidence.tagged.get("library", ())[:1]:
        name = fact.value.strip().lower().replace("_", "-") if isinstance(fact.value, str) else ""
        if _LIBRARY_NAME.fullmatch(name) and name not in _NO_LIBRARY:
            text = f"the card names {name}, a library that is not in the table"
            yield Match(name, Strength.POSSIBLE, (Reason(fact.file, fact.key, fact.value, text),), loadable=False)


def _readable(evidence: Evidence, formats: list[Match]) -> Iterator[Match]:
    for probe in (cross_encoder_claim, transformers_claim, onnx_claim):
        match = probe(evidence)
        if match is not None:
            yield weaker_without_weights(match, evidence)
    if "ms_wrapper.py" in evidence.name_set:
        reason = Reason("ms_wrapper.py", "(name)", "ms_wrapper.py", "code that registers a model with ModelScope")
        yield Match("modelscope", Strength.POSSIBLE, (reason,), framework="pytorch", loadable="modelscope" in BUILTINS)
    yield from _by_tensors(evidence)
    yield from _by_weight_name(evidence)
    if is_bare_card(evidence):
        yield from _bare_card(evidence)


def _by_tensors(evidence: Evidence) -> Iterator[Match]:
    """A lone file of weights: the names of its tensors tell whose it is."""
    for file, header in evidence.headers.items():
        first = next(iter(header.tensors), "")
        for beginnings, name in _TENSORS:
            row = find(name)
            if row is not None and first.startswith(beginnings):
                reason = Reason(file, "(tensors)", first, f"tensors are named as {name} does")
                yield claim(row, evidence, Strength.READABLE, (reason,))


def _by_weight_name(evidence: Evidence) -> Iterator[Match]:
    """Lone weights that are named after a family of image or video generators: a checkpoint in one file."""
    if evidence.documents.keys() & {"config.json", "configuration.json", "adapter_config.json"}:
        return
    for weight in evidence.weights:
        hint = hinted(weight.name) if not weight.folder and weight.format in ("safetensors", "pickle") else None
        row = find("diffusers")
        if row is not None and not hint and not weight.folder and _LORA.search(weight.name.lower()):
            reason = Reason(weight.name, "(name)", weight.name, "a LoRA in one file, as image generators take it")
            yield claim(row, evidence, Strength.POSSIBLE, (reason,))
            return
        if hint and row is not None and hint[0] in ("text-to-image", "text-to-video", "image-to-video"):
            reason = Reason(weight.name, "(name)", weight.name, f"a checkpoint in one file, named after {hint[1]!r}")
            yield replace(claim(row, evidence, Strength.POSSIBLE, (reason,)), tasks=(hint[0],))
            return


def _bare_card(evidence: Evidence) -> Iterator[Match]:
    """Nothing but a card, and no library in it: ModelScope's keys, a family of transformers among the tags."""
    table = tables.transformers()
    tags = [str(fact.value) for fact in evidence.tagged.get("tags", ())]
    tasks = [
        t for fact in evidence.tagged.get("tasks", ()) if isinstance(fact.value, str) and (t := canonical(fact.value))
    ]
    family = next(
        (
            t
            for t in tags
            if table.has_head(t.lower(), "AutoModelForCausalLM")
            or table.has_head(t.lower(), "AutoModelForImageTextToText")
        ),
        None,
    )
    adapter = next((t for t in tags if t.lower() == "lora"), None)
    if family:
        reason = Reason("README.md", "tags", family, "a model family of transformers")
        yield Match("transformers", Strength.READABLE, (reason,), framework="pytorch")
    elif adapter and tasks[:1] and tasks[0].endswith(("-to-image", "-to-video")):
        row = find("diffusers")
        if row is not None:
            reason = Reason("README.md", "tags", adapter, f"a LoRA for {tasks[0]}")
            yield claim(row, evidence, Strength.READABLE, (reason,))
    framework = next(
        (f for fact in evidence.tagged.get("framework", ()) if (f := canonical_framework(fact.value))), None
    )
    if framework == "onnx":
        reason = Reason("README.md", "frameworks", "onnx", "the card names ONNX and no library")
        yield Match("onnxruntime", Strength.READABLE, (reason,), framework="onnx")
    key = next((k for k in _MODELSCOPE_CARD if k in evidence.card), None)
    if key:
        reason = Reason("README.md", key, evidence.card[key], "a card in ModelScope's form, and nothing else")
        yield Match("modelscope", Strength.POSSIBLE, (reason,), framework="pytorch", loadable="modelscope" in BUILTINS)
