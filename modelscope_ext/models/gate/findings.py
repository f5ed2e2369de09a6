"""What gate A would refuse, told beforehand as findings: of the documents that decided, with no further read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import SafetyError
from modelscope_ext.models.gate.case import Case
from modelscope_ext.models.gate.metadata import READING, RULES
from modelscope_ext.models.gate.requests import code_requests
from modelscope_ext.models.gate.tables import CODE_RUNNERS
from modelscope_ext.safety.finding import Finding
from modelscope_ext.safety.grants import Grants
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.resolution import Resolution

__all__ = ["finding_of", "foreseen"]

#: Code of an error -> code of the finding about it.
_CODES: Mapping[str, str] = {
    "RC": "remote-code", "PK": "pickle-refused", "RD": "redirect", "PE": "path-escape", "LM": "beyond-limits",
    "MF": "malformed", "UT": "unknown-type", "IN": "install", "XF": "program",
}  # fmt: skip


def finding_of(error: SafetyError) -> Finding:
    """Return a refusal as a finding."""
    code = _CODES.get(str(error.code), "refused")
    return Finding(code, "danger", error.file, error.field, printable(str(error), 1000), error.grant)


class _Read(Case):
    """A case that knows the documents that were read, and reads no others."""

    @cached_property
    def documents(self) -> Mapping[str, Any]:
        return {name: doc for name, doc in self.evidence.documents.items() if not name.endswith(".index.json")}


def foreseen(resolution: Resolution, evidence: Evidence, snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what a load would be refused for, as far as the documents that decided tell.

    What a grant would permit is information, for consent is the caller's; what nothing permits is a danger.
    """
    case = _Read(resolution, evidence, snapshot, Grants(), resolution.backend in CODE_RUNNERS)
    for request in code_requests(case):
        yield Finding(
            "remote-code", "info", request.file, request.field,
            f"{printable(request.file)}: {printable(request.field)} names {printable(request.value)}, Python of the"
            " model's own: a load is refused without trust_remote_code=True.", "trust_remote_code",
        )  # fmt: skip
    for error in (error for part in RULES for rule in part if rule not in READING for error in rule(case)):
        yield replace(finding_of(error), level="info" if error.grant else "danger")
