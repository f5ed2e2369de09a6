"""What a model declares about itself, compared with what its files say, and completed from it.

`init` writes what `complete_configuration` returns; `check` reports what `contradictions` finds. Neither looks at what
is installed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import NotAModel
from modelscope_ext.metadata.declared import Fact
from modelscope_ext.metadata.files import CARD
from modelscope_ext.models.backends import BUILTINS, canonical_backend
from modelscope_ext.models.decision.claims import all_claims, twins
from modelscope_ext.models.decision.recognised import find
from modelscope_ext.models.resolution import Finding, Reason, Resolution
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot

__all__ = [
    "NAME",
    "Comparison",
    "Contradiction",
    "compare",
    "complete_configuration",
    "contradictions",
    "document_text",
]

NAME = "configuration.json"

#: What is compared, in this order.
FIELDS = ("framework", "backend", "tasks", "model_type")
_TAGS = {"backend": "library", "model_type": ""}


@dataclass(frozen=True)
class Contradiction(Record):
    """One declared fact that the files do not bear out.

    Attributes:
        level: ``"error"`` where the files say something else, ``"warning"`` where they merely do not say so.
        field: ``"framework"``, ``"backend"``, ``"tasks"`` or ``"model_type"``.
        file: The file that declares it.
        key: The dotted key in that file.
        declared: The value as it stands there.
        inferred: What the files say.
        message: One printable sentence with what to do.
    """

    level: str
    field: str
    file: str
    key: str
    declared: Any
    inferred: Any
    message: str


@dataclass(frozen=True)
class Comparison(Record):
    """What a model declares beside what its files say.

    Attributes:
        decided: The resolution as a load would make it, declarations included.
        inferred: The resolution without configuration.json.
        declared: What is declared, by field: framework, backend, tasks, model_type.
        contradictions: Where the two disagree.
    """

    decided: Resolution
    inferred: Resolution
    declared: Mapping[str, tuple[Fact, ...]]
    contradictions: tuple[Contradiction, ...]


def compare(snapshot: Snapshot, **options: Any) -> Comparison:
    """Compare what a model declares with its files, whatever is installed.

    Args:
        snapshot: The model.
        **options: Keywords of `resolve()`, such as ``variant``.

    Raises:
        NotAModel: Nothing in it can be taken for a model.
    """
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.models.resolve import resolve

    evidence = collect(snapshot)
    decided = resolve(snapshot, installed=False, **options)
    try:
        inferred = resolve(snapshot, installed=False, cfg_dict={}, **options)
    except NotAModel:  # configuration.json is all there is to go by, and nothing contradicts it
        inferred = decided
    declared = {field: evidence.declared.get(field, ()) + _tagged(evidence, field) for field in FIELDS}
    found = contradictions(inferred, declared, noted=decided.findings, able=_able(collect(snapshot, cfg_dict={})))
    return Comparison(decided, inferred, {k: v for k, v in declared.items() if v}, found)


def _able(evidence: Evidence) -> set[str]:
    """Return the backends that the files themselves speak for; a card's word is no proof of itself."""
    claims = [m for m in all_claims(evidence) if any(_is_file(reason) for reason in m.because)]
    return {match.backend for match in (*claims, *twins(claims))}


def _is_file(reason: Reason) -> bool:
    return not reason.file.startswith("(") and reason.file.lower() != CARD.lower()


def _tagged(evidence: Evidence, field: str) -> tuple[Fact, ...]:
    """Return what the card says about a field; its model types are words of a hub's own, not architectures."""
    return evidence.tagged.get(_TAGS.get(field, field), ())


def complete_configuration(
    resolution: Resolution, existing: Mapping[str, Any] | None = None, *, replace: Iterable[str] = ()
) -> dict[str, Any]:
    """Return configuration.json with everything that was inferred; no key that is there is lost or moved.

    Args:
        resolution: What was decided; a field it leaves open is not written.
        existing: The document as it is. What it declares stays, in its own spelling.
        replace: Fields whose declared value gives way to the inferred one.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> r = Resolution(Source("local"), "pytorch", "transformers", ("fill-mask",), "bert", ("torch>=2",))
        >>> complete_configuration(r, {"framework": "Pytorch", "task": "fill-mask", "mine": 1})
        ... # doctest: +NORMALIZE_WHITESPACE
        {'framework': 'Pytorch', 'task': 'fill-mask', 'mine': 1, 'model_type': 'bert', 'backend': 'transformers',
         'tasks': ['fill-mask'], 'requirement_dependency': ['torch>=2']}
    """
    decided = {
        "model_type": resolution.model_type,
        "framework": resolution.framework,
        "backend": resolution.backend,
        "tasks": list(resolution.tasks),
        "requirement_dependency": list(resolution.requirement_dependency),
    }
    replaced = frozenset(replace)
    document = dict(existing or {})
    for key, value in decided.items():
        if value and (document.get(key) in (None, "", []) or key in replaced):
            document[key] = value
    if "tasks" in replaced and "task" in document and resolution.tasks:
        document["task"] = resolution.tasks[0]  # the form that ModelScope reads
    return document


def contradictions(
    inferred: Resolution,
    declared: Mapping[str, Iterable[Fact]],
    noted: Iterable[Finding] = (),
    able: Iterable[str] = (),
) -> tuple[Contradiction, ...]:
    """Return where declarations and files disagree.

    Args:
        inferred: The decision made without these declarations.
        declared: Facts by field, as in `Evidence.declared` (configuration.json) and `Evidence.tagged` (the card).
        noted: What the resolver itself noted while it weighed them: it knows which tasks an architecture can serve.
        able: Backends that can load the files, beside the one that was inferred.
    """
    backends = {inferred.backend, *able}
    verdicts = {(f.file, f.field): _VERDICTS[f.code] for f in noted if _VERDICTS.get(f.code, f.level) != f.level}
    found = []
    for field in FIELDS:
        for fact in declared.get(field, ()):
            verdict = _backend(backends, fact) if field == "backend" else verdicts.get((fact.file, fact.key))
            if field == "model_type":
                verdict = _model_type(inferred, fact)
            if verdict is not None:
                found.append(_contradiction(verdict, field, fact, inferred))
    return tuple(found)


#: Codes of the resolver's findings about a declaration -> how much weight `check` gives them.
_VERDICTS = {
    "task-dropped": "error",
    "task-contradiction": "error",
    "task-tag-dropped": "error",
    "task-unknown": "warning",
    "framework-contradiction": "error",
}
_SAYS = {
    "framework": "is not the framework of these files",
    "backend": "does not load these files",
    "tasks": "is not what this architecture is made for",
    "model_type": "is not the architecture of these files",
}


def _backend(able: set[str], fact: Fact) -> str | None:
    name = canonical_backend(fact.value) if isinstance(fact.value, str) else ""
    row = find(name)
    if {name, row.name if row else name} & able:
        return None
    # A card may name a library that nobody here has heard of.
    return "error" if row is not None or name in BUILTINS or fact.file == NAME else "warning"


def _model_type(inferred: Resolution, fact: Fact) -> str | None:
    same = inferred.model_type is None or str(fact.value).lower() == inferred.model_type.lower()
    return None if same else "warning"


def _contradiction(level: str, field: str, fact: Fact, inferred: Resolution) -> Contradiction:
    found = list(inferred.tasks) if field == "tasks" else getattr(inferred, field)
    reasons = inferred.because.get(field, ())
    why = f" ({reasons[-1].file}: {reasons[-1].text})" if reasons else ""
    shown = ", ".join(found) if isinstance(found, list) else str(found)
    message = (
        f"{printable(fact.file)}: {printable(fact.key)}={printable(repr(fact.value))} {_SAYS[field]}; "
        f"they say {printable(shown)}{printable(why, 300)}."
    )
    return Contradiction(level, field, fact.file, fact.key, fact.value, found, message)


def document_text(document: Mapping[str, Any], like: str = "") -> str:
    """Return `document` as the text of a file, indented and escaped like the text that was there.

    Example:
        >>> print(document_text({"a": 1}, like='{"a": 0}'), end="")
        {
          "a": 1
        }
    """
    second = [*like.splitlines(), "", ""][1]
    indent = second[: len(second) - len(second.lstrip())] or "  "
    text = json.dumps(document, indent=indent, ensure_ascii=bool(like) and like.isascii())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a character, which only an escape can write
        text = json.dumps(document, indent=indent)
    return f"{text}\n"
