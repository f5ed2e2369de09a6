"""Step 5 of 6, gate A: what a model's metadata asks for, judged before anything is imported or fetched.

Each rule looks at the documents and yields the refusals it finds; `RULES` is their order. What a rule permits says
nothing about bytes: those are gate B's. The numbers (A01, ...) are the cases of the project's safety table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import (
    ExecutableFormatRefused,
    InstallRefused,
    MalformedMetadata,
    PathEscapeRefused,
    RedirectRefused,
    SafetyError,
    UnknownTypeError,
)
from modelscope_ext.models.gate_code import CodeRequest, module_file
from modelscope_ext.models.gate_tables import (
    ACTIVATIONS,
    EVALUATED,
    EXECUTABLE,
    HUB_COMPONENTS,
    KERNELS,
    PATH_KEYS,
    PEFT_LIBRARIES,
    PIPELINE_LIBRARIES,
    QUANTIZATION,
    SENTENCE_MODULES,
    TOKENIZER_FILES,
)
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import Resolution
    from modelscope_ext.safety.grants import Grants

__all__ = ["RULES", "Case", "code_requests", "walk"]


@dataclass(frozen=True)
class Case:
    """What the rules look at.

    Attributes:
        resolution: The decision.
        evidence: The facts.
        snapshot: The source, for documents the evidence does not hold.
        grants: What the caller permits.
        runs_code: Whether the chosen backend would run a model's Python at all.
        base_model: The adapter's base as the caller named it, if he did.
    """

    resolution: Resolution
    evidence: Evidence
    snapshot: Snapshot
    grants: Grants
    runs_code: bool = True
    base_model: Any = None

    @property
    def source(self) -> str:
        """The model as the caller named it."""
        return str(self.snapshot.source)

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Yield the metadata files that a library would read, also those that decide nothing."""
        seen = set()
        for name, document in self.evidence.documents.items():
            seen.add(name)
            yield name, document
        for name in self.snapshot.names:
            base = name.rpartition("/")[2]
            read = base in _ALSO_READ or (base == "config.json" and name.count("/") <= 2)
            if read and name not in seen and self.snapshot.has_text(name):
                yield name, self.snapshot.document(name)

    def named(self, base: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the documents of that file name, in whatever folder."""
        for name, document in self.documents():
            if name.rpartition("/")[2] == base and isinstance(document, Mapping):
                yield name, document


#: Read by libraries though they say nothing about framework, backend or task.
_ALSO_READ = frozenset(
    ("sentence_bert_config.json", "router_config.json", "wordembedding_config.json", "processor_config.json",
     "tokenizer_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "adapter_config.json",
     "speaker_embeddings_path.json", "modules.json", "generation_config.json")
)  # fmt: skip


def walk(value: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted place, key, value) for every key of nested dicts and lists."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else str(key)
            yield at, str(key), inner
            yield from walk(inner, at)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{place}[{number}]")


# Rules, in the order in which they are asked


def _installs(case: Case) -> Iterator[SafetyError]:
    """A09, A10: plug-ins that ModelScope would install with pip."""
    for fact in case.evidence.declared.get("plugins", ()):
        yield InstallRefused(
            f"{printable(fact.file)}: {printable(fact.key)} asks for {printable(fact.value)} to be installed. Nothing"
            " was installed, and no argument permits it. Read what it is, then install it yourself and remove the key.",
            source=case.source, file=fact.file, field=fact.key,
        )  # fmt: skip


def _evaluated(case: Case) -> Iterator[SafetyError]:
    """A35: strings that some library would evaluate as Python must be plain literals."""
    for name, document in case.documents():
        for place, key, value in walk(document):
            pattern = EVALUATED.get(key)
            if pattern is not None and isinstance(value, str) and not pattern.fullmatch(value):
                yield MalformedMetadata(
                    f"{printable(name)}: {printable(place)}: expected a plain literal, found {printable(value, 60)}."
                    " It was not evaluated.",
                    source=case.source, file=name, field=place,
                )  # fmt: skip


def _unknown_types(case: Case) -> Iterator[SafetyError]:
    """A20-A28, E46: dotted names that a library would import, outside its closed table."""
    for name, place, value in _typed(case):
        yield UnknownTypeError(
            f"{printable(name)}: {printable(place)} names {printable(value)}, which is not in the closed table of this"
            " library's classes. It was not imported, and no argument permits it.",
            source=case.source, file=name, field=place,
        )  # fmt: skip


def _typed(case: Case) -> Iterator[tuple[str, str, str]]:
    names = case.evidence.name_set
    for name, place, value in _modules(case):
        if not _is_sentence_module(value) and module_file(value, names) is None:
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
            if activation is not None and activation not in ACTIVATIONS:
                yield name, place, str(activation)
    for name, document in case.named("config.json"):
        for place, key, value in walk(document):
            if key == "quant_method" and isinstance(value, str) and value not in QUANTIZATION:
                yield name, place, value
    for name, place, library, kind in _components(case):
        if not _is_component(case, library, kind) and _local_component(case, place, library) is None:
            yield name, place, f"{library}.{kind}"
    for name, document in case.named("adapter_config.json"):
        mapping = document.get("auto_mapping")
        parent = mapping.get("parent_library") if isinstance(mapping, Mapping) else None
        if isinstance(parent, str) and parent.partition(".")[0] not in PEFT_LIBRARIES:
            yield name, "auto_mapping.parent_library", parent


def _modules(case: Case) -> Iterator[tuple[str, str, str]]:
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


def _is_sentence_module(value: str) -> bool:
    head, _, kind = value.rpartition(".")
    return head.partition(".")[0] == "sentence_transformers" and kind in SENTENCE_MODULES


def _components(case: Case) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, key, library and class of each component of a diffusers pipeline."""
    document = case.evidence.documents.get("model_index.json")
    if not isinstance(document, Mapping) or "_class_name" not in document:
        return
    for key, value in document.items():
        if isinstance(value, list) and len(value) >= 2 and all(isinstance(v, str) for v in value[:2]) and key[0] != "_":
            yield "model_index.json", key, value[0], value[1]


def _is_component(case: Case, library: str, kind: str) -> bool:
    if library in PIPELINE_LIBRARIES:
        return kind.isidentifier() and kind[0].isupper() and kind not in HUB_COMPONENTS
    from modelscope_ext.models import tables

    # A pipeline's own module, e.g. ["stable_diffusion", "StableDiffusionSafetyChecker"].
    return (
        library.isidentifier()
        and library.islower()
        and kind in (tables.diffusers().components | tables.diffusers().others | {"StableDiffusionSafetyChecker"})
    )


def _local_component(case: Case, place: str, library: str) -> str | None:
    names = case.evidence.name_set
    return module_file(library, names, place) or module_file(library, names)


def code_requests(case: Case) -> list[CodeRequest]:
    """Return every place that asks for the model's own Python, in a fixed order."""
    if not case.runs_code:
        return []
    return [
        *_auto_map(case), *_self_grants(case), *_modelscope_code(case), *_pipeline_code(case), *_module_code(case),
        *_yaml_code(case),
    ]  # fmt: skip


def _auto_map(case: Case) -> Iterator[CodeRequest]:
    """A01, A02: classes of transformers; not where the library has the class itself."""
    for name, document in case.documents():
        for place, key, value in walk(document):
            if key != "auto_map" or (name == "config.json" and place == key and _native_suffices(case)):
                continue
            for auto, given in value.items() if isinstance(value, Mapping) else (("", value),):
                for reference in given if isinstance(given, list) else (given,):
                    if isinstance(reference, str):
                        module = module_file(reference.rpartition("--")[2], case.evidence.name_set)
                        yield CodeRequest(name, f"{place}.{auto}".rstrip("."), reference, module)


def _native_suffices(case: Case) -> bool:
    """Whether transformers has the architecture itself, so that the folder's code need not run."""
    if case.grants.may_run_code:
        return False
    from modelscope_ext.models import tables

    config = case.evidence.documents.get("config.json", {})
    table = tables.transformers()
    architectures = config.get("architectures") or ()
    architectures = [architectures] if isinstance(architectures, str) else architectures
    return table.knows_type(config.get("model_type")) and all(table.of_class(str(one)) for one in architectures)


def _self_grants(case: Case) -> Iterator[CodeRequest]:
    """A03, A29: files that grant themselves what only the caller can."""
    for name, document in case.documents():
        for place, key, value in walk(document):
            if key == "trust_remote_code" and value not in (False, None, 0, "", "False", "false"):
                yield CodeRequest(name, place, str(value))


def _modelscope_code(case: Case) -> Iterator[CodeRequest]:
    """A07, A13: `allow_remote` with code beside it, and a base that is Python."""
    names = case.evidence.name_set
    for fact in case.evidence.declared.get("allow_remote", ()):
        beside = sorted(names & {"ms_wrapper.py", "configuration.py"})
        if case.resolution.backend == "modelscope":
            beside += sorted(n for n in names if n.endswith(".py") and "/" not in n and n not in beside)
        if fact.value is True and beside:
            yield CodeRequest(fact.file, fact.key, beside[0], beside[0])
    for base in _bases(case):
        if base.endswith(".py") and not _elsewhere(base):
            yield CodeRequest("configuration.json", "_base_", base, base.removeprefix("./"))


def _bases(case: Case) -> list[str]:
    document = case.evidence.documents.get("configuration.json")
    base = document.get("_base_") if isinstance(document, Mapping) else None
    return [one for one in (base if isinstance(base, list) else [base]) if isinstance(one, str)]


def _pipeline_code(case: Case) -> Iterator[CodeRequest]:
    """A17, A18: a diffusers pipeline, or a component of it, that comes as Python."""
    name, names = case.evidence.get("model_index.json", "_class_name"), case.evidence.name_set
    if isinstance(name, list) and name and isinstance(name[0], str):
        yield CodeRequest("model_index.json", "_class_name", ".".join(map(str, name)), module_file(name[0], names))
    for file, key, library, kind in _components(case):
        module = _local_component(case, key, library)
        if library not in PIPELINE_LIBRARIES and module is not None:
            yield CodeRequest(file, key, f"{library}.{kind}", module)


def _module_code(case: Case) -> Iterator[CodeRequest]:
    """A23, A28: a module of sentence-transformers that comes as Python."""
    for name, place, value in _modules(case):
        module = module_file(value, case.evidence.name_set)
        if module is not None and not _is_sentence_module(value):
            yield CodeRequest(name, place, value, module)


def _yaml_code(case: Case) -> Iterator[CodeRequest]:
    """A34: mindformers' registration of the folder's classes."""
    for name, document in case.evidence.documents.items():
        if name.endswith((".yaml", ".yml")):
            for place, key, value in walk(document):
                if key == "auto_register" and isinstance(value, str):
                    yield CodeRequest(name, place, value, module_file(value, case.evidence.name_set))


def _elsewhere(reference: str) -> bool:
    return "://" in reference or reference.startswith("hub:")


def _redirects(case: Case) -> Iterator[SafetyError]:
    """A16, C11, D01-D03: files that lead to another source."""
    for name, place, target in _targets(case):
        try:
            case.grants.for_source(target)
        except RedirectRefused as error:
            yield RedirectRefused(
                f"{printable(name)}: {printable(place)} leads to another source, {printable(target)}. Nothing was"
                f" contacted or opened. If you trust it, pass allow_sources=[{printable(target)!r}]"
                + (" or base_model=<folder>." if "base_model" in place else "."),
                source=case.source, file=name, field=place, grant=error.grant or "allow_sources",
            )  # fmt: skip


def _targets(case: Case) -> Iterator[tuple[str, str, str]]:
    if case.base_model is None:
        for name, document in case.named("adapter_config.json"):
            base = document.get("base_model_name_or_path")
            if isinstance(base, str) and base:
                yield name, "base_model_name_or_path", base
    for fact in case.evidence.declared.get("pretrained", ()):
        if isinstance(fact.value, str) and case.resolution.backend == "modelscope":
            yield fact.file, fact.key, fact.value
    for base in _bases(case):
        if _elsewhere(base):
            yield "configuration.json", "_base_", base
    if case.runs_code and case.grants.may_run_code:
        for request in _auto_map(case):
            if "--" in request.value:
                yield request.file, request.field, request.value.partition("--")[0]
    for name, document in case.documents():
        pretrained = isinstance(document, Mapping) and document.get("use_pretrained_backbone")
        for place, key, value in walk(document):
            leads = key in KERNELS or (key == "backbone" and pretrained)
            if leads and isinstance(value, str) and "/" in value:
                yield name, place, value


def _paths(case: Case) -> Iterator[SafetyError]:
    """C12: names of files in a tokenizer's or processor's configuration that lead out of the folder."""
    for name, document in case.documents():
        if name.rpartition("/")[2] not in TOKENIZER_FILES:
            continue
        for place, key, value in walk(document):
            fault = fault_of(value) if key in PATH_KEYS and isinstance(value, str) and value else None
            if fault is not None and issubclass(fault[0], PathEscapeRefused):
                yield PathEscapeRefused(
                    f"{printable(name)}: {printable(place)} names {printable(value)}: {fault[1]}. Expected a file"
                    " inside the model; nothing was opened.",
                    source=case.source, file=name, field=place,
                )  # fmt: skip


def _programs(case: Case) -> Iterator[SafetyError]:
    """B16: weights in a format that is a program."""
    forms = {weight.name: weight.format for weight in case.evidence.weights}
    for name in case.resolution.weights.files:
        if forms.get(name) in EXECUTABLE or re.search(r"\.(so|dll|dylib|pyd|exe)$", name, re.IGNORECASE):
            yield ExecutableFormatRefused(
                f"{printable(name)}: this format holds a program, not only weights ({forms.get(name) or 'a library'})."
                " It was not loaded. Ask for safetensors or ONNX.",
                source=case.source, file=name,
            )  # fmt: skip


#: Asked in this order; code is asked between the unknown types and the redirects.
RULES = ((_installs, _evaluated, _unknown_types), (_redirects, _paths, _programs))
