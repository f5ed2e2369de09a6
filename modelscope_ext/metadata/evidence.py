"""Step 3 of 6: what the files say, each fact with its file and key. No judgement, and no I/O after `collect`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modelscope_ext.errors import LimitExceeded, ModelScopeExtError, OptionError, PathEscapeRefused, SafetyError
from modelscope_ext.metadata.card import CARD_BYTES, read_card
from modelscope_ext.metadata.checks import check_document
from modelscope_ext.metadata.declared import ARGUMENT, DECLARED, TAGGED, Fact, facts_of, is_configuration
from modelscope_ext.metadata.files import CARD, DECIDING, nested_to_read, root_to_read, yaml_may_decide
from modelscope_ext.metadata.remarks import remarks
from modelscope_ext.metadata.snapshot import Snapshot, Source
from modelscope_ext.metadata.weights import WeightFile, classify
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.headers import Header, read_header
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.magic import is_lfs_pointer
from modelscope_ext.utils.text import printable

__all__ = ["Evidence", "Fact", "WeightFile", "collect"]

_MISSING = object()


class Evidence:
    """What the files of one source say. Made by `collect`; nothing in it changes afterwards.

    Attributes:
        source: Where it comes from.
        names: All file names, sorted.
        sizes: Bytes by name.
        name_set: `names` as a set.
        basenames: The names in the model's own folder (not in folders below it).
        documents: Parsed metadata files by name; only those that could be read. ``cfg_dict`` stands in for
            configuration.json.
        unreadable: Name -> why it could not be read: ``"lfs"``, ``"too large"`` or ``"malformed: ..."``. Such a file is
            unknown, not empty.
        yaml_tags: Name -> the tags (``"!new:speechbrain..."``) of a YAML file that could not be read because of them.
        card: The README's front matter, {} if none.
        weights: The weight files.
        headers: Headers of weight files by name, where they were read.
        declared: Facts from configuration.json or `cfg_dict`, by the names in `metadata.declared.DECLARED`.
        tagged: Facts from the front matter, raw spellings, by the names in `metadata.declared.TAGGED`.
        findings: What a reader should know.
        folders: The folders directly below the model's own.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> evidence = collect(Snapshot.from_mapping({"config.json": '{"model_type": "bert"}'}))
        >>> evidence.get("config.json", "model_type"), evidence.has("model.safetensors")
        ('bert', False)
    """

    source: Source
    names: tuple[str, ...]
    sizes: Mapping[str, int]
    name_set: frozenset[str]
    basenames: frozenset[str]
    documents: Mapping[str, Any]
    unreadable: Mapping[str, str]
    yaml_tags: Mapping[str, tuple[str, ...]]
    card: Mapping[str, Any]
    weights: tuple[WeightFile, ...]
    headers: Mapping[str, Header]
    declared: Mapping[str, tuple[Fact, ...]]
    tagged: Mapping[str, tuple[Fact, ...]]
    findings: tuple[Finding, ...]
    folders: frozenset[str]

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __repr__(self) -> str:
        return (
            f"<Evidence of {printable(str(self.source))}: {len(self.documents)} documents of {len(self.names)} files>"
        )

    def get(self, file: str, *path: str | int, default: Any = None) -> Any:
        """Return the value at `path` in a parsed document, or `default` if any step is absent.

        Example:
            >>> from modelscope_ext.metadata.snapshot import Snapshot
            >>> e = collect(Snapshot.from_mapping({"config.json": '{"architectures": ["BertModel"]}'}))
            >>> e.get("config.json", "architectures", 0), e.get("config.json", "architectures", 7)
            ('BertModel', None)
        """
        value = self.documents.get(file, _MISSING)
        for step in path:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else _MISSING
            else:
                value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
        return default if value is _MISSING else value

    def fact(self, file: str, *path: str | int) -> Fact | None:
        """Return the value at `path` as a Fact with its dotted key, or None if it is absent."""
        value = self.get(file, *path, default=_MISSING)
        if value is _MISSING:
            return None
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        return Fact(file, key.removeprefix("."), value)

    def has(self, name: str) -> bool:
        """Return whether there is a file `name`."""
        return name in self.name_set

    def match(self, pattern: str) -> tuple[str, ...]:
        """Return the names that match a shell pattern; ``*`` crosses folders.

        Example:
            >>> from modelscope_ext.metadata.snapshot import Snapshot
            >>> collect(Snapshot.from_mapping({}, {"a.gguf": 1, "b/c.gguf": 2})).match("*.gguf")
            ('a.gguf', 'b/c.gguf')
        """
        from fnmatch import fnmatchcase

        return tuple(name for name in self.names if fnmatchcase(name, pattern))


def collect(
    snapshot: Snapshot,
    *,
    cfg_dict: Any = None,
    limits: Limits | None = None,
    headers: bool | None = None,
) -> Evidence:
    """Read what can decide something and return it as Evidence.

    Args:
        snapshot: The source.
        cfg_dict: A dict or Config that replaces configuration.json whole; it is not changed.
        limits: What is too large; None takes the snapshot's.
        headers: Read the headers of weight files: True all, False none, None only where nothing else decides.

    Raises:
        MalformedMetadata: A deciding file (config.json, configuration.json, model_index.json, modules.json,
            adapter_config.json, an index of shards) is broken or a deciding key has the wrong type.
        LimitExceeded: A deciding file is too large, or declares sizes beyond the limits.
        PathEscapeRefused: A deciding file is a link that leaves the model, or names a file outside it.
        OptionError: `cfg_dict` is no dict.
    """
    return _Collector(snapshot, limits or snapshot.limits).run(cfg_dict, headers)


class _Collector:
    """Fills one Evidence."""

    def __init__(self, snapshot: Snapshot, limits: Limits) -> None:
        self.snapshot = snapshot
        self.limits = limits
        self.source = str(snapshot.source)
        self.documents: dict[str, Any] = {}
        self.unreadable: dict[str, str] = {}
        self.yaml_tags: dict[str, tuple[str, ...]] = {}
        self.findings: list[Finding] = list(snapshot.findings)
        self.grants_in_files: list[str] = []

    def run(self, cfg_dict: Any, headers: bool | None) -> Evidence:
        snapshot = self.snapshot
        basenames = frozenset(name for name in snapshot.names if "/" not in name)
        declared = self.declare(cfg_dict, basenames)
        self.read_documents(basenames)
        card = self.read_readme(basenames)
        weights = classify(snapshot.sizes, self.sniffed())
        found = self.read_headers(weights, headers)
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

    def declare(self, cfg_dict: Any, basenames: frozenset[str]) -> dict[str, tuple[Fact, ...]]:
        """Read configuration.json, or take `cfg_dict` in its place."""
        name = "configuration.json"
        if cfg_dict is not None:
            document = _as_dict(cfg_dict)
            check_document(name, document, self.limits, source=self.source)
            self.documents[name] = document
            return facts_of(document, DECLARED, ARGUMENT, "cfg_dict.")
        if name not in basenames:
            self.refuse_odd(name)
            return {}
        document = self.read(name, deciding=True)
        if document is None:
            return {}
        if not is_configuration(document):
            del self.documents[name]
            self.note("foreign-configuration", "info", name, "none of a model's keys in it; ignored")
            return {}
        return facts_of(document, DECLARED, name)

    def read_documents(self, basenames: frozenset[str]) -> None:
        for name in DECIDING:
            if name in basenames:
                self.read(name, deciding=True)
            else:
                self.refuse_odd(name)
        alone = not self.documents and not self.unreadable
        for name in root_to_read(basenames):
            self.read(name, deciding=name.endswith(".index.json"), alone=alone)
        for name in nested_to_read(self.snapshot.names, bool(self.documents)):
            self.read(name)

    def read(self, name: str, *, deciding: bool = False, alone: bool = False) -> Any:
        """Parse one file into `documents`; None if that was not possible and the file does not decide."""
        if not self.snapshot.has_text(name):
            return None
        try:
            data = self.snapshot.read(name)
            if is_lfs_pointer(data):
                self.unreadable[name] = "lfs"
                self.note("lfs-pointer", "warning", name, "a git-LFS pointer, not the file: its content is unknown")
                return None
            if name.endswith((".yaml", ".yml")) and not yaml_may_decide(name, data):
                return None
            document = self.snapshot.document(name)
            if b"trust_remote_code" in data:
                self.grants_in_files.append(name)
            check_document(name, document, self.limits, source=self.source)
        except ModelScopeExtError as error:
            if deciding or isinstance(error, PathEscapeRefused) or (alone and isinstance(error, LimitExceeded)):
                raise
            self.failed(name, error)
            return None
        self.documents[name] = document
        return document

    def failed(self, name: str, error: ModelScopeExtError) -> None:
        """Note a file that could not be read but does not decide alone."""
        too_large = isinstance(error, LimitExceeded)
        self.unreadable[name] = "too large" if too_large else f"malformed: {error}"
        if name.endswith((".yaml", ".yml")) and "the tag " in str(error):
            self.yaml_tags[name] = tags = _tags(self.snapshot, name)
            python = any(tag.startswith(("!!python", "tag:yaml.org,2002:python")) for tag in tags)
            level, code = ("danger", "yaml-python-tag") if python else ("info", "yaml-tag")
        else:
            level, code = "warning", "too-large" if too_large else "malformed"
        self.findings.append(Finding(code, level, name, getattr(error, "field", None), printable(str(error), 400)))

    def read_readme(self, basenames: frozenset[str]) -> Mapping[str, Any]:
        name = CARD if CARD in basenames else next((n for n in ("readme.md", "Readme.md") if n in basenames), None)
        if name is None or not self.snapshot.has_text(name):
            return {}
        try:
            card, findings = read_card(self.snapshot.read(name, 0, CARD_BYTES), file=name, limits=self.limits)
        except PathEscapeRefused:
            raise
        except ModelScopeExtError as error:
            self.failed(name, error)
            return {}
        self.findings += findings
        return card

    def sniffed(self) -> dict[str, str]:
        """Tell MindSpore's ``.ckpt`` from PyTorch's by what stands beside it, or by its first bytes."""
        formats: dict[str, str] = {}
        for name in self.snapshot.names:
            if not name.endswith(".ckpt"):
                continue
            run = self.documents.get(name[:-5] + ".yaml")
            if isinstance(run, Mapping) and isinstance(run.get("model"), Mapping) and "model_config" in run["model"]:
                formats[name] = "mindspore"
            elif self.snapshot.has_text(name) and len(formats) < 16:
                head = self.peek(name)
                if head[:1] == b"\x0a":
                    formats[name] = "mindspore"
                elif head[:2] == b"PK" or head[:1] == b"\x80":
                    formats[name] = "pickle"
        return formats

    def peek(self, name: str) -> bytes:
        try:
            return self.snapshot.read(name, 0, 64)
        except ModelScopeExtError:
            return b""

    def read_headers(self, weights: tuple[WeightFile, ...], wanted: bool | None) -> dict[str, Header]:
        if wanted is None:
            wanted_files = [] if self.documents.keys() & _SPEAKS else _first_of_each(weights)
        else:
            wanted_files = list(weights) if wanted else []
        found: dict[str, Header] = {}
        for weight in wanted_files:
            header = self.read_header(weight)
            if header is not None:
                found[weight.name] = header
        return found

    def read_header(self, weight: WeightFile) -> Header | None:
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
            )
        except SafetyError as error:
            pointer = is_lfs_pointer(self.peek(name))
            if pointer:
                self.unreadable[name] = "lfs"
                self.note("lfs-pointer", "warning", name, "a git-LFS pointer, not the weights. Run 'git lfs pull'")
            else:
                self.findings.append(Finding("weights-malformed", "danger", name, None, printable(str(error), 400)))
            return None

    def refuse_odd(self, name: str) -> None:
        """A deciding file that is a pipe or device is refused; it is never taken as absent."""
        if name in self.snapshot.odd:
            from modelscope_ext.errors import MalformedMetadata

            raise MalformedMetadata(
                f"{name}: not a regular file (a pipe or device). Nothing was read.", file=name, source=self.source
            )

    def note(self, code: str, level: str, file: str, text: str) -> None:
        self.findings.append(Finding(code, level, file, None, f"{printable(file)}: {text}."))


#: Documents that say what the model is, so that no header is needed.
_SPEAKS = frozenset(("config.json", "model_index.json", "modules.json", "adapter_config.json"))
_WITH_HEADER = ("safetensors", "gguf", "mindspore")


def _first_of_each(weights: tuple[WeightFile, ...]) -> list[WeightFile]:
    firsts = (next((w for w in weights if w.format == form), None) for form in _WITH_HEADER)
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


def _tags(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    import re

    text = snapshot.read(name, 0, 65536).decode("utf-8", "replace")
    return tuple(dict.fromkeys(re.findall(r"(?:^|\s)(!{1,2}[A-Za-z][\w./:-]*)", text)))[:64]
