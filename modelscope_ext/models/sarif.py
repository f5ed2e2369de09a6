"""Findings as SARIF 2.1.0, the standard form of what an analysis found, which code scanning and editors read.

One log has one run with the findings of one model or of many. Paths are relative to ``%SRCROOT%``: the working
directory where the models lie below it, as in a checkout whose pull requests are annotated; else the model's folder; of
a model on a hub, the address of its files at the commit that was looked at.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelscope_ext import __version__
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.sarif_rules import RULES
from modelscope_ext.safety.reading import read_inside
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Source
    from modelscope_ext.safety.finding import Finding

__all__ = ["root_of", "sarif_log"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
#: Our levels, and `check`'s, in SARIF's words.
_LEVELS = {"danger": "error", "error": "error", "warning": "warning", "info": "note"}
#: Between 7 and 9 code scanning calls an alert high.
_SEVERITY = "8.0"
#: Hub -> where a repo is, and its files at a commit, both below its endpoint.
_ADDRESSES = {
    "huggingface": ("{repo}", "{repo}/resolve/{commit}/"),
    "modelscope": ("models/{repo}", "models/{repo}/resolve/{commit}/"),
    "openmind": ("models/{repo}", "api/v1/file/{repo}/{commit}/media/"),
}
_WITH_KEYS = (".json", ".yaml", ".yml", ".md")


def sarif_log(
    found: Iterable[tuple[Source, Sequence[Finding]]], *, name: str, root: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Return what was found as a SARIF log, ready for `json.dumps`.

    Args:
        found: Each model with its findings.
        name: What was looked at: two logs of one name replace each other where they are collected.
        root: The folder that paths are relative to; None takes that of the first model by `root_of`.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> from modelscope_ext.safety.finding import Finding
        >>> danger = Finding("remote-code", "danger", "config.json", "auto_map", "Refused.", "trust_remote_code")
        >>> [run] = sarif_log([(Source("local", path="models/x"), [danger])], name="models/x")["runs"]
        >>> result = run["results"][0]
        >>> result["ruleId"], result["level"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        ('remote-code', 'error', 'models/x/config.json')
    """
    models = list(found)
    first = next((source.path for source, _ in models if source.path), None)
    places = _Places(root or root_of(first or "."))
    codes = list(dict.fromkeys(finding.code for _, findings in models for finding in findings))
    remote = next((source for source, _ in models if source.repo), None)
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "modelscope-ext", "version": __version__, "rules": [*map(_rule, codes)]}},
        "automationDetails": {"id": f"modelscope-ext/{printable(name, 200)}/"},
        "originalUriBaseIds": {_ROOT: {"uri": _addresses(remote)[1] if remote else f"{Path(places.root).as_uri()}/"}},
        "invocations": [{"executionSuccessful": True}],
        "results": [
            {"ruleIndex": codes.index(finding.code), **_result(source, finding, places)}
            for source, findings in models
            for finding in findings
        ],
    }
    if remote is not None:
        run["versionControlProvenance"] = [_provenance(remote)]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def root_of(folder: str) -> str:
    """Return the working directory if `folder` lies below it, as in a checkout; else the folder itself."""
    here, full = os.getcwd(), os.path.abspath(folder)  # noqa: PTH100, PTH109
    return here if f"{full}/".startswith(f"{here.rstrip('/')}/") else full


def _rule(code: str) -> dict[str, Any]:
    level, text = RULES.get(code, ("warning", code.replace("-", " ").capitalize() + "."))
    security = {"tags": ["security"], "security-severity": _SEVERITY} if level == "danger" else {"tags": ["model"]}
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": "`modelscope-ext inspect --security MODEL` shows it with what it would need."},
        "defaultConfiguration": {"level": _LEVELS[level]},
        "properties": security,
    }


def _result(source: Source, finding: Finding, places: _Places) -> dict[str, Any]:
    file = finding.file if finding.file and not finding.file.startswith("(") else None
    uri = places.uri(source, file)
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": uri, "uriBaseId": _ROOT},
            "region": {"startLine": places.line(source, file, finding.field)},
        }
    }
    if finding.field:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(finding.field), "kind": "property"}]
    return {
        "ruleId": finding.code,
        "level": _LEVELS.get(finding.level, "warning"),
        "message": {"text": finding.message},
        "locations": [location],
        # The one fingerprint that code scanning reads; it stays while the message, a size or a digest changes.
        "partialFingerprints": {"primaryLocationLineHash": places.fingerprint(finding.code, uri, finding.field or "")},
        "properties": {"source": printable(str(source)), **({"grant": finding.grant} if finding.grant else {})},
    }


class _Places:
    """Where the findings of one log are.

    Attributes:
        root: The folder that paths are relative to.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(root)  # noqa: PTH100
        self._texts: dict[tuple[str, str], bytes] = {}
        self._seen: Counter[str] = Counter()

    def uri(self, source: Source, file: str | None) -> str:
        """Return where a file, or the model as a whole, is below the root: never empty, and never with a scheme."""
        if source.path is None:
            return quote(file or "./", errors="surrogatepass")
        folder = os.path.relpath(os.path.abspath(source.path), self.root)  # noqa: PTH100
        path = file if folder == "." else f"{folder}/{file or ''}"
        return quote(path or "./", errors="surrogatepass")

    def line(self, source: Source, file: str | None, field: str | None) -> int:
        """Return the line where a key of a folder's file stands; 1 where that cannot be told."""
        if source.path is None or file is None or not field or not file.endswith(_WITH_KEYS):
            return 1
        if (source.path, file) not in self._texts:
            try:
                self._texts[source.path, file] = read_inside(source.path, file)
            except ModelScopeExtError:
                self._texts[source.path, file] = b""
        text, at = self._texts[source.path, file], 0
        for key in filter(None, re.split(r"\.|\[\d+\]", field)):
            name = re.escape(key.encode("utf-8", "surrogatepass"))
            found = re.compile(rb"(?:^|[\s{,])[\"']?" + name + rb"[\"']?\s*:").search(text, at)
            if found is None:
                return 1
            at = found.end()
        return text.count(b"\n", 0, at) + 1

    def fingerprint(self, *what: str) -> str:
        """Return what tells a finding from all others of the log, the same in the next run."""
        digest = hashlib.sha256("\0".join(what).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._seen[digest] += 1
        return f"{digest}:{self._seen[digest]}"


def _addresses(source: Source) -> tuple[str, str]:
    """Return the address of a hub's repo, and the one below which the model's files are at its commit."""
    from modelscope_ext.hub.hubs import hub_of

    endpoint = str(hub_of(source.hub).options().get("endpoint", "")).rstrip("/")
    names = {"repo": quote(source.repo or ""), "commit": quote(source.commit or source.revision or "", safe="")}
    repo, files = (f"{endpoint}/{path.format(**names)}" for path in _ADDRESSES.get(source.hub, ("{repo}", "{repo}/")))
    return repo, f"{files}{quote(source.subfolder)}/" if source.subfolder else files


def _provenance(source: Source) -> dict[str, Any]:
    """Return which commit of which repo was looked at, in the words of version control."""
    said = {"revisionId": source.commit, "branch": source.revision}
    known = {key: value for key, value in said.items() if value}
    return {"repositoryUri": _addresses(source)[0], **known, "mappedTo": {"uriBaseId": _ROOT}}
