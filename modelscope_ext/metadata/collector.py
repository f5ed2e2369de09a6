"""Reads what can decide something, once, and fills one Evidence: the only part of step 3 that opens files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modelscope_ext.errors import (
    LimitExceeded,
    MalformedMetadata,
    ModelScopeExtError,
    OptionError,
    PathEscapeRefused,
    SafetyError,
)
from modelscope_ext.metadata.card import CARD_BYTES, is_cut, read_card
from modelscope_ext.metadata.checks import check_document
from modelscope_ext.metadata.declared import ARGUMENT, DECLARED, TAGGED, Fact, facts_of, is_configuration
from modelscope_ext.metadata.evidence import Evidence
from modelscope_ext.metadata.files import (
    CARD,
    CARDS,
    DECIDING,
    nested_to_read,
    root_to_read,
    worth_a_request,
    yaml_may_decide,
)
from modelscope_ext.metadata.remarks import remarks
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.metadata.weights import WeightFile, classify
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.headers import Header, read_header
from modelscope_ext.safety.magic import is_lfs_pointer
from modelscope_ext.utils.text import printable

__all__ = ["Collector"]


class Collector:
    """Fills one Evidence."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.limits = snapshot.limits
        self.source = str(snapshot.source)
        self.documents: dict[str, Any] = {}
        self.unreadable: dict[str, str] = {}
        self.yaml_tags: dict[str, tuple[str, ...]] = {}
        self.findings: list[Finding] = list(snapshot.findings)
        self.grants_in_files: list[str] = []

    def run(self, cfg_dict: Any, headers: bool | None) -> Evidence:
        """Return the Evidence; the arguments are those of `evidence.collect`."""
        snapshot = self.snapshot
        basenames = frozenset(name for name in snapshot.names if "/" not in name)
        if snapshot.remote is not None:
            snapshot.prefetch(self._first_wave(basenames, cfg_dict))
        declared = self._declare(cfg_dict, basenames)
        self._read_documents(basenames)
        card = self._read_readme(basenames)
        weights = classify(snapshot.sizes, self._sniffed())
        found = self._read_headers(weights, headers)
        self.findings += remarks(snapshot, self.documents, weights, self.grants_in_files)
        return Evidence(
            source=snapshot.source,
            names=snapshot.names,
            sizes=snapshot.sizes,
            name_set=frozenset(snapshot.names),
            basenames=basenames,
            folders=frozenset(name.partition("/")[0] for name in snapshot.names if "/" in name),
            documents=MappingProxyType(self.documents),
            unreadable=MappingProxyType(self.unreadable),
            yaml_tags=MappingProxyType(self.yaml_tags),
            card=MappingProxyType(dict(card)),
            weights=weights,
            headers=MappingProxyType(found),
            declared=MappingProxyType(declared),
            tagged=MappingProxyType(facts_of(card, TAGGED, CARD)),
            findings=tuple(self.findings),
        )

    def _first_wave(self, basenames: frozenset[str], cfg_dict: Any) -> list[str]:
        """Return the files that are read whatever the others say."""
        own = () if cfg_dict is not None else ("configuration.json",)
        always = [name for name in (*own, *DECIDING, *CARDS) if name in basenames]
        return [*always, *filter(self._worth, root_to_read(basenames))]

    def _worth(self, name: str) -> bool:
        """Whether an optional file is read."""
        return self.snapshot.remote is None or worth_a_request(name, self.snapshot.sizes[name])

    def _declare(self, cfg_dict: Any, basenames: frozenset[str]) -> dict[str, tuple[Fact, ...]]:
        """Read configuration.json, or take `cfg_dict` in its place."""
        name = "configuration.json"
        if cfg_dict is not None:
            document = _as_dict(cfg_dict)
            check_document(name, document, self.limits, source=self.source)
            self.documents[name] = document
            return facts_of(document, DECLARED, ARGUMENT, "cfg_dict.")
        if name not in basenames:
            self._refuse_odd(name)
            return {}
        document = self._read(name, deciding=True)
        if document is None:
            return {}
        if not is_configuration(document):
            del self.documents[name]
            self._note("foreign-configuration", "info", name, "none of a model's keys in it; ignored")
            return {}
        return facts_of(document, DECLARED, name)

    def _read_documents(self, basenames: frozenset[str]) -> None:
        for name in DECIDING:
            if name in basenames:
                self._read(name, deciding=True)
            else:
                self._refuse_odd(name)
        alone = not self.documents and not self.unreadable
        for name in filter(self._worth, root_to_read(basenames)):
            self._read(name, deciding=name.endswith(".index.json"), alone=alone)
        components = _components(self.documents)
        if len(basenames) == len(self.snapshot.names):
            return
        nested = nested_to_read(self.snapshot.names, bool(self.documents))
        if self.snapshot.remote is not None:
            nested = [] if self.documents.keys() & _SPEAKS else list(filter(self._worth, nested))[:_MOST_NESTED]
            self.snapshot.prefetch(nested)
        for name in nested:
            folder, _, base = name.rpartition("/")
            self._read(name, deciding=folder in components and base in DECIDING)

    def _read(self, name: str, *, deciding: bool = False, alone: bool = False) -> Any:
        """Parse one file into `documents`; None if that was not possible and the file does not decide."""
        if not self.snapshot.has_text(name):
            return None
        try:
            data = self.snapshot.read(name)
            if is_lfs_pointer(data):
                self.unreadable[name] = "lfs"
                self._note("lfs-pointer", "warning", name, "a git-LFS pointer, not the file: its content is unknown")
                return None
            if name.endswith((".yaml", ".yml")):
                if not yaml_may_decide(name, data):
                    return None
                if b" !" in data and (tags := _tags(data)):
                    self.yaml_tags[name] = tags
            document = self.snapshot.document(name, data)
            if b"trust_remote_code" in data:
                self.grants_in_files.append(name)
            check_document(name, document, self.limits, source=self.source)
        except ModelScopeExtError as error:
            beyond = isinstance(error, LimitExceeded) and (alone or getattr(error, "field", None) is not None)
            if deciding or beyond or (alone and self._wants_python(name)) or isinstance(error, PathEscapeRefused):
                raise
            self._failed(name, error)
            return None
        self.documents[name] = document
        return document

    def _wants_python(self, name: str) -> bool:
        """Whether a YAML file asks for Python objects: then it is hostile or of no use, not merely unknown."""
        return any(tag.startswith(("!!python", "tag:yaml.org,2002:python")) for tag in self.yaml_tags.get(name, ()))

    def _failed(self, name: str, error: ModelScopeExtError) -> None:
        """Note a file that could not be read but does not decide alone."""
        too_large = isinstance(error, LimitExceeded)
        self.unreadable[name] = "too large" if too_large else f"malformed: {error}"
        tags = self.yaml_tags.get(name, ())
        if tags and "the tag " in str(error):
            python = self._wants_python(name)
            level, code = ("danger", "yaml-python-tag") if python else ("info", "yaml-tag")
        else:
            level, code = "warning", "too-large" if too_large else "malformed"
        self.findings.append(Finding(code, level, name, getattr(error, "field", None), printable(str(error), 400)))

    def _read_readme(self, basenames: frozenset[str]) -> Mapping[str, Any]:
        name = next((name for name in CARDS if name in basenames), None)
        if name is None or not self.snapshot.has_text(name):
            return {}
        try:
            card, findings = read_card(self._beginning(name), file=name, limits=self.limits)
        except PathEscapeRefused:
            raise
        except ModelScopeExtError as error:
            self._failed(name, error)
            return {}
        self.findings += findings
        return card

    def _beginning(self, name: str) -> bytes:
        """Return as much of a README as its front matter needs; on a hub only that."""
        if self.snapshot.remote is None:
            return self.snapshot.read(name, 0, CARD_BYTES)
        return next(
            data
            for length in (2**16, 2**19, CARD_BYTES)
            if not is_cut(data := self.snapshot.read(name, 0, length)) or len(data) < length or length == CARD_BYTES
        )

    def _sniffed(self) -> dict[str, str]:
        """Tell MindSpore's ``.ckpt`` from PyTorch's by what stands beside it, or by its first bytes."""
        formats: dict[str, str] = {}
        peeks = 16 if self.snapshot.remote is None else _MOST_PEEKS * (not self.documents.keys() & _SPEAKS)
        for name in self.snapshot.names:
            if not name.endswith(".ckpt"):
                continue
            run = self.documents.get(name[:-5] + ".yaml")
            if isinstance(run, Mapping) and isinstance(run.get("model"), Mapping) and "model_config" in run["model"]:
                formats[name] = "mindspore"
            elif self.snapshot.has_text(name) and len(formats) < peeks:
                head = self._peek(name)
                if head[:1] == b"\x0a":
                    formats[name] = "mindspore"
                elif head[:2] == b"PK" or head[:1] == b"\x80":
                    formats[name] = "pickle"
        return formats

    def _peek(self, name: str) -> bytes:
        try:
            return self.snapshot.read(name, 0, 64)
        except ModelScopeExtError:
            return b""

    def _read_headers(self, weights: tuple[WeightFile, ...], wanted: bool | None) -> dict[str, Header]:
        if wanted is None:
            forms = _WITH_HEADER if self.snapshot.remote is None else _WITH_HEADER_IN_FRONT
            wanted_files = [] if self.documents.keys() & _SPEAKS else _first_of_each(weights, forms)
        else:
            wanted_files = list(weights) if wanted else []
        found: dict[str, Header] = {}
        for weight in wanted_files:
            header = self._read_header(weight)
            if header is not None:
                found[weight.name] = header
        return found

    def _read_header(self, weight: WeightFile) -> Header | None:
        name, snapshot = weight.name, self.snapshot
        if not snapshot.has_text(name):
            return None
        try:
            return read_header(
                weight.format,
                lambda start, count: snapshot.read(name, start, count),
                weight.bytes,
                file=name,
                limits=self.limits,
                source=self.source,
                enough=None if snapshot.remote is None else _ENOUGH,
            )
        except SafetyError as error:
            pointer = is_lfs_pointer(self._peek(name))
            if pointer:
                self.unreadable[name] = "lfs"
                self._note("lfs-pointer", "warning", name, "a git-LFS pointer, not the weights. Run 'git lfs pull'")
            else:
                self.findings.append(Finding("weights-malformed", "danger", name, None, printable(str(error), 400)))
            return None

    def _refuse_odd(self, name: str) -> None:
        """A deciding file that is a pipe or device is refused; it is never taken as absent."""
        if name in self.snapshot.odd:
            raise MalformedMetadata(
                f"{name}: not a regular file (a pipe or device). Nothing was read.", file=name, source=self.source
            )

    def _note(self, code: str, level: str, file: str, text: str) -> None:
        self.findings.append(Finding(code, level, file, None, f"{printable(file)}: {text}."))


#: Documents that say what the model is, so that no header is needed.
_SPEAKS = frozenset(("config.json", "model_index.json", "modules.json", "adapter_config.json"))
_WITH_HEADER = ("safetensors", "gguf", "mindspore")
#: MindSpore's shapes are spread over the whole file.
_WITH_HEADER_IN_FRONT = ("safetensors", "gguf")
#: Bytes of a GGUF file on a hub that are read: its keys come first, then megabytes of vocabulary.
_ENOUGH = 2**16
#: Of a model on a hub: files below its own folder, and beginnings of weight files, that are fetched at most.
_MOST_NESTED, _MOST_PEEKS = 12, 3


def _components(documents: Mapping[str, Any]) -> frozenset[str]:
    """Return the folders that a pipeline's index names; what lies in them decides as much as the index does."""
    index = documents.get("model_index.json")
    modules = documents.get("modules.json")
    named = list(index) if isinstance(index, Mapping) and "_class_name" in index else []
    if isinstance(modules, list):
        named += [module.get("path") for module in modules if isinstance(module, Mapping)]
    return frozenset(name for name in named if isinstance(name, str))


def _first_of_each(weights: tuple[WeightFile, ...], forms: tuple[str, ...]) -> list[WeightFile]:
    firsts = (next((w for w in weights if w.format == form), None) for form in forms)
    return [weight for weight in firsts if weight is not None]


def _as_dict(cfg_dict: Any) -> dict[str, Any]:
    """Return a dict of ours, ModelScope's Config or ConfigDict, or a dict, without changing it."""
    if not isinstance(cfg_dict, Mapping):
        convert = getattr(cfg_dict, "to_dict", None)
        if isinstance(cfg_dict, str) or not callable(convert):
            advice = " A branch or tag is passed as revision=." if isinstance(cfg_dict, str) else ""
            raise OptionError(f"cfg_dict: expected a Config or a dict, found {type(cfg_dict).__name__}.{advice}")
        cfg_dict = convert()
    return {str(key): _plain(value) for key, value in cfg_dict.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tags(data: bytes) -> tuple[str, ...]:
    """Return the tags in a YAML file's beginning: they say whose it is, even where they keep it from being read."""
    import re

    text = data[:65536].decode("utf-8", "replace")
    for handle, prefix in re.findall(r"^%TAG[ \t]+(!\w*!?)[ \t]+(\S+)", text, re.MULTILINE):
        full = rf"\1!<{prefix.replace(chr(92), '')}"  # another way to write them
        text = re.sub(rf"(^|\s){re.escape(handle)}(?=[A-Za-z])", full, text)
    text = text.replace("!<tag:yaml.org,2002:", "!!").replace("!<", "!")
    return tuple(dict.fromkeys(re.findall(r"(?:^|\s)(!{1,2}[A-Za-z][\w./:-]*)", text)))[:64]
