"""What is dangerous in a model, and which argument each thing would need: the report of ``inspect --security``.

It goes further than `resolve().findings`: it asks both gates, without any grant, and looks into the bytes that are
here (headers, the opcodes of pickles). Nothing is executed, imported or fetched for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError, NotAModel, SafetyError
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.models import gate
from modelscope_ext.models.gate.findings import finding_of
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.signer import SIGNATURE
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot, Source

__all__ = ["SecurityReport", "security_report"]

#: Pickles that no load opens: they are named, and stay closed here too.
_NEVER_OPENED = (
    "training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scheduler.bin", "scaler.pt", ".msc", ".mdl",
)  # fmt: skip
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
#: What the first bytes of a pickle say, by `magic.kind_of`; the oldest protocol has no mark.
_MAY_BE_PICKLES = (None, "pickle", "zip archive")
_MOST_SCANNED = 200
_MOST_NAMES = 8


@dataclass(frozen=True)
class SecurityReport(Record):
    """What stands against a load without any grant, and what a reader should look at.

    Attributes:
        source: The model as the caller named it.
        origin: Where it is: its folder, or its repo at the commit that was looked at.
        findings: The most dangerous first; each names the argument that would permit it, if one would.
        code_files: The Python that ``trust_remote_code=True`` would run.
        code_sha256: Its digest, for ``code_sha256=``; "" where there is none.
        resolution: The decision; None where the metadata itself was refused.
    """

    source: str
    origin: Source
    findings: tuple[Finding, ...]
    code_files: tuple[str, ...] = ()
    code_sha256: str = ""
    resolution: Resolution | None = None

    @property
    def dangerous(self) -> bool:
        """Whether a load without grants would be refused, or would run a library with a known hole."""
        return any(finding.level == "danger" for finding in self.findings)


def security_report(model: Any, **keywords: Any) -> SecurityReport:
    """Return everything in a model that is dangerous, or that a load would need a grant for.

    Args:
        model: A folder, a hub id or a Snapshot. Of a model on a hub only what the cache holds is looked into.
        **keywords: Those of `resolve`.

    Raises:
        ModelNotFound: There is no such model.

    Example:
        >>> from modelscope_ext import Snapshot
        >>> config = '{"model_type": "evil", "auto_map": {"AutoModel": "evil.Model"}}'
        >>> report = security_report(Snapshot.from_mapping({"config.json": config, "evil.py": "import os"}))
        >>> [(f.code, f.field, f.grant) for f in report.findings if f.level == "danger"]
        [('remote-code', 'auto_map.AutoModel', 'trust_remote_code')]
        >>> report.code_files
        ('evil.py',)
    """
    from modelscope_ext.hub.locate import open_snapshot
    from modelscope_ext.models.resolve import Asked, decide

    where = {name: keywords.pop(name) for name in _LOCATION if name in keywords}
    task, backend, framework = (keywords.get(name) for name in ("task", "backend", "framework"))
    snapshot = open_snapshot(model, **where)
    origin, libraries = snapshot.source, tuple(_libraries())
    source = str(origin)
    try:
        evidence = collect(snapshot)
        resolution = decide(evidence, Asked(task, backend, framework, evidence), variant=keywords.get("variant"))
    except SafetyError as error:
        found = [finding_of(error), *snapshot.findings, *_links(snapshot), *libraries]
        return SecurityReport(source, origin, _sorted(found))
    except NotAModel as error:
        evidence = collect(snapshot)
        nothing = Finding("no-model", "info", None, None, printable(str(error), 400))
        found = [nothing, *evidence.findings, *_pickles(snapshot), *_links(snapshot), *libraries]
        return SecurityReport(source, origin, _sorted(found))
    files, digest = gate.code_of(resolution, evidence, snapshot, Grants())
    found = [
        *map(finding_of, _refusals(resolution, evidence, snapshot)),
        *resolution.findings, *_signatures(snapshot), *_pickles(snapshot), *_links(snapshot),
        *_templates(snapshot, evidence), *libraries,
    ]  # fmt: skip
    return SecurityReport(source, origin, _sorted(found), files, digest, resolution)


_LOCATION = ("hub", "revision", "subfolder", "limits", "token", "cache_dir", "local_files_only")
_LEVELS = ("danger", "warning", "info")


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    once = dict.fromkeys(findings)
    return tuple(sorted(once, key=lambda finding: _LEVELS.index(finding.level) if finding.level in _LEVELS else 1))


def _refusals(resolution: Resolution, evidence: Evidence, snapshot: Snapshot) -> Iterator[SafetyError]:
    """Yield what both gates refuse where nothing is permitted: of the bytes, file by file, of those that are here."""
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.gate.contents import check_file
    from modelscope_ext.models.loader import files_of

    grants = Grants(limits=snapshot.limits)
    engine = BACKENDS.get(resolution.backend) if resolution.backend in BACKENDS else None
    yield from gate.refusals(resolution, evidence, snapshot, grants, engine=engine)
    if snapshot.folder is None or snapshot.remote is not None:
        return
    try:
        files = files_of(resolution, snapshot, engine)
    except ModelScopeExtError:  # an incomplete copy, or one that this backend cannot load: then what is there
        files = tuple(name for name in resolution.weights.files if name in snapshot)
    refused = False
    for name in files:
        try:
            check_file(Path(snapshot.folder), name, snapshot.sizes, grants, str(snapshot.source))
        except SafetyError as error:
            refused = True
            yield error
    if not refused:
        try:
            gate.gate_b(resolution, snapshot, files, grants)
        except SafetyError as error:
            yield error


def _pickles(snapshot: Snapshot) -> Iterator[Finding]:
    """Say of every pickle what it would call."""
    from modelscope_ext.safety.magic import kind_of
    from modelscope_ext.safety.pickles import scan_pickle
    from modelscope_ext.safety.tensor_calls import ALLOWED

    scanned = 0
    for name in snapshot.names:
        base = name.rpartition("/")[2]
        if base.endswith(_NEVER_OPENED) or base.startswith("rng_state"):
            yield Finding("pickle-unread", "info", name, None, f"{printable(name)}: a pickle that no load opens.")
        elif base.lower().endswith(_PICKLES) and snapshot.has_text(name) and scanned < _MOST_SCANNED:
            scanned += 1
            try:
                if snapshot.remote is not None or kind_of(snapshot.read(name, 0, 64)) not in _MAY_BE_PICKLES:
                    continue
                with snapshot.open(name) as stream:
                    calls = scan_pickle(stream, file=name, limits=snapshot.limits, source=str(snapshot.source))
            except ModelScopeExtError as error:
                yield Finding("pickle-unknown", "warning", name, None, printable(str(error), 400), "allow_pickle")
                continue
            strange = [call for call in calls if call not in ALLOWED]
            shown = listing(printable(call, 80) for call in (strange or calls)[:_MOST_NAMES])
            more = f" and {len(strange) - _MOST_NAMES} more" if len(strange) > _MOST_NAMES else ""
            if strange:
                yield Finding(
                    "pickle-calls", "warning", name, None,
                    f"{printable(name)}: a pickle that would import {shown}{more}, beyond plain tensors.",
                    "allow_pickle",
                )  # fmt: skip
            else:
                yield Finding(
                    "pickle-tensors", "info", name, None,
                    f"{printable(name)}: a pickle that names nothing but tensors ({shown or 'no class at all'}).",
                )  # fmt: skip


def _links(snapshot: Snapshot) -> Iterator[Finding]:
    refused = {finding.file for finding in snapshot.findings if finding.code == "link-escape"}
    for name, target in snapshot.links.items():
        if name not in refused:
            yield Finding("link", "info", name, None, f"{printable(name)}: a link to {printable(target)}.")


def _signatures(snapshot: Snapshot) -> Iterator[Finding]:
    if SIGNATURE in snapshot:
        text = f"{SIGNATURE}: a signature of the model; verify= loads only what a signer you name has signed."
        yield Finding("signature", "info", SIGNATURE, None, text)


def _templates(snapshot: Snapshot, evidence: Evidence) -> Iterator[Finding]:
    """Name every chat template with its digest, and say where two that should be one differ."""
    found: dict[str, str] = {}
    for place, text in _template_texts(snapshot, evidence):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        found[place] = digest
        file, _, field = place.partition(": ")
        yield Finding(
            "chat-template", "info", file, field or None,
            f"{printable(place)}: a chat template of {len(text)} characters, sha256:{digest}; rendered sandboxed.",
        )  # fmt: skip
    default = {place: digest for place, digest in found.items() if place in _DEFAULTS}
    if len(set(default.values())) > 1:
        yield Finding(
            "template-disagreement", "warning", next(iter(default)), None,
            f"{listing(map(printable, default))} hold different chat templates; a library takes the first it finds.",
        )  # fmt: skip


#: Places of the template that is used where none is named.
_DEFAULTS = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json: chat_template",
             "processor_config.json: chat_template", "(gguf): tokenizer.chat_template")  # fmt: skip


def _template_texts(snapshot: Snapshot, evidence: Evidence) -> Iterator[tuple[str, str]]:
    for name in snapshot.names:
        own = name == "chat_template.jinja" or name.startswith("additional_chat_templates/")
        if own and name.endswith(".jinja") and snapshot.has_text(name):
            try:
                yield name, snapshot.read(name).decode("utf-8", "replace")
            except SafetyError:
                continue
    for name in ("chat_template.json", "tokenizer_config.json", "processor_config.json"):
        try:
            document = snapshot.document(name) if snapshot.has_text(name) else None
        except SafetyError:  # reported with the metadata
            continue
        value = document.get("chat_template") if isinstance(document, Mapping) else None
        place = name if name == "chat_template.json" else f"{name}: chat_template"
        if isinstance(value, str):
            yield place, value
        for number, one in enumerate(value if isinstance(value, list) else ()):
            if isinstance(one, Mapping) and isinstance(one.get("template"), str):
                yield f"{place}[{number}]", one["template"]
    for header in evidence.headers.values():
        value = header.metadata.get("tokenizer.chat_template") if header.format == "gguf" else None
        if isinstance(value, str):
            yield "(gguf): tokenizer.chat_template", value


def _libraries() -> Iterator[Finding]:
    """F12: installed releases with known holes, whether or not this model would meet them."""
    for name, text in gate.unsafe_libraries():
        yield Finding("vulnerable-library", "danger", None, name, text)
