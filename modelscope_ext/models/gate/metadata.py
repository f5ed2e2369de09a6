"""Step 5 of 6, gate A: what a model's metadata asks for, judged before anything is imported or fetched.

Each rule looks at the documents and yields the refusals it finds; `RULES` is their order. What a rule permits says
nothing about bytes: those are gate B's. The numbers (A01, ...) are the cases of the project's safety table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modelscope_ext.errors import (
    ExecutableFormatRefused,
    InstallRefused,
    LimitExceeded,
    MalformedMetadata,
    PathEscapeRefused,
    RedirectRefused,
    SafetyError,
)
from modelscope_ext.metadata.checks import check_document
from modelscope_ext.models.gate.case import Case, walk
from modelscope_ext.models.gate.patterns import fault_of_pattern
from modelscope_ext.models.gate.requests import auto_map, bases, elsewhere
from modelscope_ext.models.gate.tables import (
    EVALUATED,
    EXECUTABLE,
    KERNELS,
    NO_YAML,
    PATH_KEYS,
    REDIRECTS,
    SUBFOLDERS,
    TOKENIZER_FILES,
)
from modelscope_ext.models.gate.types import unknown_types
from modelscope_ext.safety.paths import fault_of
from modelscope_ext.utils.text import printable

__all__ = ["READING", "RULES"]


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
    for key, pattern in EVALUATED.items():
        for name, place, value in case.keys(key):
            if isinstance(value, str) and not pattern.fullmatch(value):
                yield MalformedMetadata(
                    f"{printable(name)}: {printable(place)}: expected a plain literal, found {printable(value, 60)}."
                    " It was not evaluated.",
                    source=case.source, file=name, field=place,
                )  # fmt: skip


def _patterns(case: Case) -> Iterator[SafetyError]:
    """E27: regular expressions of adapters that could run for ever."""
    for name, document in case.named("adapter_config.json"):
        for key in ("target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"):
            value = document.get(key)
            given = value if isinstance(value, Mapping | list) and key != "target_modules" else [value]
            for pattern in given:
                fault = fault_of_pattern(pattern) if isinstance(pattern, str) else None
                if fault is not None:
                    yield MalformedMetadata(
                        f"{printable(name)}: {key}: the pattern {printable(pattern, 60)} was refused: {fault}. It was"
                        " not run. Name the modules in a list.",
                        source=case.source, file=name, field=key,
                    )  # fmt: skip


def _yaml(case: Case) -> Iterator[SafetyError]:
    """E18: YAML that asks for Python objects, where the library reads YAML."""
    if case.resolution.backend in NO_YAML:
        return
    for finding in case.evidence.findings:
        if finding.code == "yaml-python-tag":
            yield MalformedMetadata(
                f"{finding.message} It was not built.", source=case.source, file=finding.file, field=finding.field
            )


def _redirects(case: Case) -> Iterator[SafetyError]:
    """A16, C11, D01-D03: files that lead to another source."""
    for name, place, target in _targets(case):
        try:
            case.grants.for_source(target)
        except LimitExceeded as error:
            yield LimitExceeded(
                f"{printable(name)}: {printable(place)}: {error}", source=case.source, file=name, field=place,
                grant=error.grant,
            )  # fmt: skip
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
        if case.base is not None and case.base.name and case.base.key != "base_model_name_or_path":
            yield case.base.file, case.base.key, case.base.name
    for name, document in case.named("adapter_config.json"):
        if document.get("prompt_tuning_init") == "TEXT" and isinstance(document.get("tokenizer_name_or_path"), str):
            yield name, "tokenizer_name_or_path", document["tokenizer_name_or_path"]
    for base_name, keys in REDIRECTS.items():
        for name, place, value in case.keys(*sorted(keys)):
            if name.rpartition("/")[2] == base_name and isinstance(value, str) and value:
                yield name, place, value
    for fact in case.evidence.declared.get("pretrained", ()):
        if isinstance(fact.value, str) and case.resolution.backend == "modelscope":
            yield fact.file, fact.key, fact.value
    for base in bases(case):
        if elsewhere(base):
            yield "configuration.json", "_base_", base
    if case.runs_code and case.grants.may_run_code:
        for request in auto_map(case):
            if "--" in request.value:
                yield request.file, request.field, request.value.partition("--")[0]
    for name, place, value in case.keys(*sorted(KERNELS)):
        if isinstance(value, str) and "/" in value:
            yield name, place, value
    for name, place, value in case.keys("backbone"):
        document = case.documents[name]
        pretrained = isinstance(document, Mapping) and document.get("use_pretrained_backbone")
        if pretrained and isinstance(value, str) and "/" in value:
            yield name, place, value


def _paths(case: Case) -> Iterator[SafetyError]:
    """C12: names of files in a tokenizer's or processor's configuration that lead out of the folder."""
    for name, place, value in case.keys(*sorted(PATH_KEYS)):
        if name.rpartition("/")[2] not in TOKENIZER_FILES:
            continue
        inner = ((at, leaf) for at, _, leaf in walk(value, place))
        for at, leaf in ((place, value), *inner):
            fault = fault_of(leaf) if isinstance(leaf, str) and leaf else None
            if fault is not None and issubclass(fault[0], PathEscapeRefused):
                yield PathEscapeRefused(
                    f"{printable(name)}: {printable(at)} names {printable(leaf)}: {fault[1]}. Expected a file inside"
                    " the model; nothing was opened.",
                    source=case.source, file=name, field=at,
                )  # fmt: skip


def _folders(case: Case) -> Iterator[SafetyError]:
    """C06: folders that a library opens and that are links, so that nothing in them was listed or looked at."""
    opened = set(_opened(case)) if case.snapshot.links else ()
    for link in case.snapshot.links:
        if link in case.snapshot.sizes:  # to a file: gate B's, where it is read
            continue
        near = any(f"{one}/".startswith(f"{link}/") or f"{link}/".startswith(f"{one}/") for one in opened)
        if near or link.rpartition("/")[2] in SUBFOLDERS:
            yield PathEscapeRefused(
                f"{printable(link)}: a link to a folder, where the model's own files are expected. It was not followed."
                " Copy the folder into the model's if you trust it.",
                source=case.source, file=link,
            )  # fmt: skip


def _opened(case: Case) -> Iterator[str]:
    """Yield the folders that the metadata names."""
    for name, document in case.named("model_index.json"):
        prefix = name.removesuffix("model_index.json")
        yield from (prefix + key for key, value in document.items() if isinstance(value, list))
    for name, document in case.documents.items():
        if name.rpartition("/")[2] == "modules.json" and isinstance(document, list):
            paths = [module.get("path") for module in document if isinstance(module, Mapping)]
            yield from (name.removesuffix("modules.json") + path for path in paths if isinstance(path, str) and path)
    for name, document in case.named("router_config.json"):
        types = document.get("types")
        if isinstance(types, Mapping):
            yield from (name.removesuffix("router_config.json") + key for key in types)


def _bases(case: Case) -> Iterator[SafetyError]:
    """A13, A16: a configuration that inherits from a file outside the folder."""
    for base in bases(case):
        fault = None if elsewhere(base) else fault_of(base.removeprefix("./"))
        if fault is not None:
            yield fault[0](
                f"configuration.json: _base_ names {printable(base)}: {fault[1]}. Expected a file inside the model;"
                " nothing was opened.",
                source=case.source, file="configuration.json", field="_base_",
            )  # fmt: skip


def _indexes(case: Case) -> Iterator[SafetyError]:
    """C01: indexes of shards in folders below the model's own, which decide nothing and are read by the library."""
    for name in case.snapshot.names:
        decided = name in case.evidence.documents or case.snapshot.remote is not None
        if name.endswith(".index.json") and not decided and case.snapshot.has_text(name):
            try:
                check_document(name, case.snapshot.document(name), case.snapshot.limits, source=case.source)
            except SafetyError as error:
                yield error


def _programs(case: Case) -> Iterator[SafetyError]:
    """B16: weights in a format that is a program."""
    forms = {weight.name: weight.format for weight in case.evidence.weights}
    for name in case.resolution.weights.files or forms:  # nothing chosen: all that is there are programs, or unknown
        if forms.get(name) in EXECUTABLE or re.search(r"\.(so|dll|dylib|pyd|exe)$", name, re.IGNORECASE):
            yield ExecutableFormatRefused(
                f"{printable(name)}: this format holds a program, not only weights ({forms.get(name) or 'a library'})."
                " It was not loaded. Ask for safetensors or ONNX.",
                source=case.source, file=name,
            )  # fmt: skip


#: Asked in this order; code is asked between the unknown types and the redirects.
RULES = (
    (_installs, _evaluated, _patterns, _yaml, unknown_types),
    (_redirects, _paths, _folders, _bases, _indexes, _programs),
)
#: Those that read files which nobody has read before.
READING = (_indexes,)
