"""Step 5 of 6, gate A: dotted names that a library would import must stand in a closed table.

Not being in it is no question of trust: `os.system` is refused whatever the caller permits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelscope_ext.errors import SafetyError, UnknownTypeError
from modelscope_ext.models.gate.case import Case
from modelscope_ext.models.gate.code import module_file
from modelscope_ext.models.gate.tables import (
    ACTIVATIONS,
    HUB_COMPONENTS,
    MIXINS,
    PEFT_LIBRARIES,
    PIPELINE_LIBRARIES,
    QUANTIZATION,
    SENTENCE_MODULES,
)
from modelscope_ext.utils.text import printable

__all__ = ["components", "is_sentence_module", "local_component", "named_modules", "unknown_types"]


def unknown_types(case: Case) -> Iterator[SafetyError]:
    """A20-A28, E46: dotted names that a library would import, outside its closed table."""
    for name, place, value in _typed(case):
        yield UnknownTypeError(
            f"{printable(name)}: {printable(place)} names {printable(value)}, which is not in the closed table of this"
            " library's classes. It was not imported, and no argument permits it.",
            source=case.source, file=name, field=place,
        )  # fmt: skip


def _typed(case: Case) -> Iterator[tuple[str, str, str]]:
    names = case.evidence.name_set
    for name, place, value in named_modules(case):
        if not is_sentence_module(value) and module_file(value, names) is None:
            yield name, place, value
    for name, document in case.named("config.json"):
        section = document.get("sentence_transformers")
        for place, activation in (
            (
                "sentence_transformers.activation_fn",
                section.get("activation_fn") if isinstance(section, dict) else None,
            ),
            ("sbert_ce_default_activation_function", document.get("sbert_ce_default_activation_function")),
            ("activation_function", document.get("activation_function") if "in_features" in document else None),
        ):
            if activation is not None and not (isinstance(activation, str) and activation in ACTIVATIONS):
                yield name, place, str(activation)
    for name, place, value in case.keys("quant_method"):
        known = value is None or (isinstance(value, str) and value in QUANTIZATION)
        if (not known and place.startswith("quantization_config")) or (isinstance(value, str) and not known):
            yield name, place, str(value)
    name = case.evidence.get("model_index.json", "_class_name")
    if isinstance(name, str) and (not name.isidentifier() or not name[0].isupper() or name in MIXINS):
        yield "model_index.json", "_class_name", name
    for name, place, library, kind in components(case):
        if not _is_component(case, library, kind) and local_component(case, place, library) is None:
            yield name, place, f"{library}.{kind}"
    for name, document in case.named("adapter_config.json"):
        mapping = document.get("auto_mapping")
        parent = mapping.get("parent_library") if isinstance(mapping, Mapping) else None
        if isinstance(parent, str) and parent.partition(".")[0] not in PEFT_LIBRARIES:
            yield name, "auto_mapping.parent_library", parent
        core = document.get("megatron_core")
        if document.get("megatron_config") and str(core).partition(".")[0] != "megatron":
            yield name, "megatron_core", str(core)


def named_modules(case: Case) -> Iterator[tuple[str, str, str]]:
    """Yield the dotted class names in the files of sentence-transformers."""
    modules = case.evidence.documents.get("modules.json")
    for number, module in enumerate(modules if isinstance(modules, list) else ()):
        if isinstance(module, Mapping) and isinstance(module.get("type"), str):
            yield "modules.json", f"[{number}].type", module["type"]
    for name, document in case.named("router_config.json"):
        types = document.get("types")
        for key, value in types.items() if isinstance(types, Mapping) else ():
            yield name, f"types.{key}", str(value)
    for name, document in case.named("wordembedding_config.json"):
        if isinstance(document.get("tokenizer_class"), str):
            yield name, "tokenizer_class", document["tokenizer_class"]


def is_sentence_module(value: str) -> bool:
    """Whether a dotted name is one of sentence-transformers' own modules."""
    head, _, kind = value.rpartition(".")
    return head.partition(".")[0] == "sentence_transformers" and kind in SENTENCE_MODULES


def components(case: Case) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, key, library and class of each component of a diffusers pipeline."""
    document = case.evidence.documents.get("model_index.json")
    if not isinstance(document, Mapping) or "_class_name" not in document:
        return
    for key, value in document.items():
        pairs = [value, *value] if isinstance(value, list) and not key.startswith("_") else []
        for pair in pairs:
            if isinstance(pair, list) and len(pair) >= 2 and all(isinstance(part, str) for part in pair[:2]):
                yield "model_index.json", key, pair[0], pair[1]


def _is_component(case: Case, library: str, kind: str) -> bool:
    if library in PIPELINE_LIBRARIES:
        return kind.isidentifier() and kind[0].isupper() and kind not in HUB_COMPONENTS
    from modelscope_ext.models.decision import tables

    # A pipeline's own module, e.g. ["stable_diffusion", "StableDiffusionSafetyChecker"].
    return tables.diffusers().has_component(library, kind)


def local_component(case: Case, place: str, library: str) -> str | None:
    """Return the Python file of the folder that a pipeline's component would come from, or None."""
    names = case.evidence.name_set
    return module_file(library, names, place) or module_file(library, names)
