"""What a model declares about itself, compared with what its files say, and completed from it.

`init` writes what `complete_configuration` returns; `check` reports what `contradictions` finds. Neither looks at what
is installed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import NotAModel
from modelscope_ext.metadata.declared import Fact
from modelscope_ext.models.backends import canonical_backend
from modelscope_ext.models.resolution import Resolution
from modelscope_ext.models.tasks import canonical
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
    "write_configuration",
]

NAME = "configuration.json"


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
    declared = {field: evidence.declared.get(field, ()) + _tagged(evidence, field) for field in _COMPARISONS}
    found = contradictions(inferred, declared, accepted=decided.tasks)
    return Comparison(decided, inferred, {k: v for k, v in declared.items() if v}, found)


def _tagged(evidence: Evidence, field: str) -> tuple[Fact, ...]:
    """Return what the card says about a field."""
    return evidence.tagged.get("library" if field == "backend" else field, ())


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
    inferred: Resolution, declared: Mapping[str, Iterable[Fact]], accepted: Iterable[str] = ()
) -> tuple[Contradiction, ...]:
    """Return where declarations and files disagree.

    Args:
        inferred: The decision made without these declarations.
        declared: Facts by field, as in `Evidence.declared` (configuration.json) and `Evidence.tagged` (the card).
        accepted: Further tasks that the architecture can serve.
    """
    return tuple(
        found
        for field, compare in _COMPARISONS.items()
        for fact in declared.get(field, ())
        if (found := compare(inferred, fact, frozenset(accepted))) is not None
    )


def _framework(inferred: Resolution, fact: Fact, accepted: frozenset[str]) -> Contradiction | None:
    from modelscope_ext.models.frameworks import canonical_framework

    name = canonical_framework(fact.value) if isinstance(fact.value, str) else None
    if inferred.framework is None or name == inferred.framework:
        return None
    if name is None:
        return _differs("warning", "framework", fact, inferred.framework, "is no framework anybody knows", inferred)
    level = "error" if inferred.weights.format else "warning"
    return _differs(level, "framework", fact, inferred.framework, "is not what the weights are for", inferred)


def _backend(inferred: Resolution, fact: Fact, accepted: frozenset[str]) -> Contradiction | None:
    name = canonical_backend(fact.value) if isinstance(fact.value, str) else None
    if name in {inferred.backend, *(other.backend for other in inferred.alternatives)}:
        return None
    return _differs("error", "backend", fact, inferred.backend, "cannot load these files", inferred)


def _task(inferred: Resolution, fact: Fact, accepted: frozenset[str]) -> Contradiction | None:
    name = canonical(fact.value) if isinstance(fact.value, str) else None
    if not inferred.tasks or name in accepted or name in inferred.tasks:
        return None
    return _differs("error", "tasks", fact, list(inferred.tasks), "is not what this architecture is made for", inferred)


def _model_type(inferred: Resolution, fact: Fact, accepted: frozenset[str]) -> Contradiction | None:
    if inferred.model_type is None or str(fact.value).lower() == inferred.model_type.lower():
        return None
    return _differs("warning", "model_type", fact, inferred.model_type, "differs from the files", inferred)


_COMPARISONS = {"framework": _framework, "backend": _backend, "tasks": _task, "model_type": _model_type}


def _differs(level: str, field: str, fact: Fact, found: Any, text: str, inferred: Resolution) -> Contradiction:
    reasons = inferred.because.get(field, ())
    why = f" ({reasons[0].file}: {reasons[0].text})" if reasons else ""
    shown = ", ".join(found) if isinstance(found, list) else found
    message = (
        f"{printable(fact.file)}: {printable(fact.key)}={printable(repr(fact.value))} {text}: "
        f"the files say {printable(shown)}{printable(why, 300)}."
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
    second = like.splitlines()[1] if "\n" in like.strip() else "  x"
    indent = len(second) - len(second.lstrip(" ")) or 2
    text = json.dumps(document, indent=indent, ensure_ascii=like.isascii() and bool(like))
    return f"{text}\n"


def write_configuration(folder: Path, text: str) -> None:
    """Put `text` in the place of the folder's configuration.json, in one step."""
    from modelscope_ext.utils.atomic import replacing

    with replacing(folder / NAME) as stream:
        stream.write(text)
