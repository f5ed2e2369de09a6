"""Step 5 of 6, gate A: every place in a model's files that asks for the model's own Python to be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelscope_ext.models.gate.case import Case
from modelscope_ext.models.gate.code import CodeRequest, module_file
from modelscope_ext.models.gate.tables import PIPELINE_LIBRARIES
from modelscope_ext.models.gate.types import components, is_sentence_module, local_component, named_modules

__all__ = ["auto_map", "bases", "code_requests", "elsewhere"]


def code_requests(case: Case) -> list[CodeRequest]:
    """Return every place that asks for the model's own Python, in a fixed order."""
    if not case.runs_code:
        return []
    return [
        *auto_map(case), *_self_grants(case), *_modelscope_code(case), *_pipeline_code(case), *_module_code(case),
        *_yaml_code(case),
    ]  # fmt: skip


def auto_map(case: Case) -> Iterator[CodeRequest]:
    """A01, A02: classes of transformers; not where the library has the class itself."""
    for name, place, value in case.keys("auto_map"):
        if name == "config.json" and place == "auto_map" and _native_suffices(case):
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
    from modelscope_ext.models.decision import tables

    config = case.evidence.documents.get("config.json", {})
    table = tables.transformers()
    architectures = config.get("architectures") or ()
    architectures = [architectures] if isinstance(architectures, str) else architectures
    return table.knows_type(config.get("model_type")) and all(table.of_class(str(one)) for one in architectures)


def _self_grants(case: Case) -> Iterator[CodeRequest]:
    """A03, A29: files that grant themselves what only the caller can."""
    for name, place, value in case.keys("trust_remote_code"):
        if value not in (False, None, 0, "", "False", "false"):
            yield CodeRequest(name, place, str(value))


def _modelscope_code(case: Case) -> Iterator[CodeRequest]:
    """A07, A13: `allow_remote` with code beside it, and a base that is Python."""
    names = case.evidence.name_set
    for fact in case.evidence.declared.get("allow_remote", ()):
        beside = sorted(names & {"ms_wrapper.py", "configuration.py"})
        if case.resolution.backend == "modelscope":
            beside += sorted(n for n in names if n.endswith(".py") and "/" not in n and n not in beside)
        for name in beside if fact.value is True else ():  # ModelScope imports every one
            yield CodeRequest(fact.file, fact.key, name, name)
    for base in bases(case):
        if base.endswith(".py") and not elsewhere(base):
            yield CodeRequest("configuration.json", "_base_", base, base.removeprefix("./"))


def bases(case: Case) -> list[str]:
    """Return the files that configuration.json inherits from."""
    document = case.evidence.documents.get("configuration.json")
    base = document.get("_base_") if isinstance(document, Mapping) else None
    return [one for one in (base if isinstance(base, list) else [base]) if isinstance(one, str)]


def _pipeline_code(case: Case) -> Iterator[CodeRequest]:
    """A17, A18: a diffusers pipeline, or a component of it, that comes as Python."""
    name, names = case.evidence.get("model_index.json", "_class_name"), case.evidence.name_set
    if isinstance(name, list) and name and isinstance(name[0], str):
        yield CodeRequest("model_index.json", "_class_name", ".".join(map(str, name)), module_file(name[0], names))
    for file, key, library, kind in components(case):
        module = local_component(case, key, library)
        if library not in PIPELINE_LIBRARIES and module is not None:
            yield CodeRequest(file, key, f"{library}.{kind}", module)


def _module_code(case: Case) -> Iterator[CodeRequest]:
    """A23, A28: a module of sentence-transformers that comes as Python."""
    for name, place, value in named_modules(case):
        module = module_file(value, case.evidence.name_set)
        if module is not None and not is_sentence_module(value):
            yield CodeRequest(name, place, value, module)


def _yaml_code(case: Case) -> Iterator[CodeRequest]:
    """A34: mindformers' registration of the folder's classes."""
    for name, place, value in case.keys("auto_register"):
        if name.endswith((".yaml", ".yml")) and isinstance(value, str):
            yield CodeRequest(name, place, value, module_file(value, case.evidence.name_set))


def elsewhere(reference: str) -> bool:
    """Whether a base lies outside the folder, at an address or on a hub."""
    return "://" in reference or reference.startswith("hub:")
