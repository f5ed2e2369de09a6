"""Claims of the libraries in the table: by their own files (a format) or by the card (a tag)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from modelscope_ext.models.backends import BUILTINS
from modelscope_ext.models.decision.features import Index, Met, View, met_all
from modelscope_ext.models.decision.inference import INFER
from modelscope_ext.models.decision.libraries import LIBRARIES, SPELLINGS, Library
from modelscope_ext.models.decision.loadable import LOADABLE
from modelscope_ext.models.resolution import Match, Reason, Strength

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["claim", "find", "is_bare_card", "library", "precedence", "recognise", "recognise_one", "tagged_library"]

_ROWS = {row.name: row for row in LIBRARIES}
_ORDER = {row.name: number for number, row in enumerate(LIBRARIES)}
#: Files that say nothing about a model; a card among only such is all there is of it.
_BESIDE_A_CARD = (
    ".md",
    ".gitattributes",
    ".gitignore",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".webp",
    ".svg",
    ".pdf",
    ".txt",
)


def library(name: str) -> Library | None:
    """Return the row of a library by its name, or None."""
    return _ROWS.get(name)


def precedence(name: str) -> int:
    """Return the place of a library in the table; a lower number wins where both formats are in one folder."""
    return _ORDER.get(name, len(_ORDER))


def find(spelling: object) -> Library | None:
    """Return the row that a spelling in a card or an argument means, or None.

    Example:
        >>> find("PaddleOCR").name, find("mlx-lm").name, find("no such library")
        ('paddleocr', 'mlx', None)
    """
    if not isinstance(spelling, str):
        return None
    name = spelling.strip().lower().replace("_", "-").replace(" ", "-")
    return _ROWS.get(SPELLINGS.get(name, ""))


def recognise(evidence: Evidence) -> list[Match]:
    """Return a claim for every library whose format is in the folder, in the table's order of precedence."""
    view = View(evidence)
    claims: dict[int, Match] = {}
    for number, _, feature in _index().candidates(view):
        if number not in claims and (met := met_all(view, feature)) is not None:
            row = LIBRARIES[number]
            claims[number] = claim(row, evidence, Strength.FORMAT, _reasons(row, met))
    return list(claims.values())


def recognise_one(name: str, evidence: Evidence) -> Match | None:
    """Return the claim of one library by its own files, or None."""
    row, view = _ROWS[name], View(evidence)
    found = (met_all(view, feature) for feature in row.features)
    met = next((facts for facts in found if facts is not None), None)
    return claim(row, evidence, Strength.FORMAT, _reasons(row, met)) if met is not None else None


@lru_cache(maxsize=1)
def _index() -> Index:
    return Index((number, feature) for number, row in enumerate(LIBRARIES) for feature in row.features)


def claim(row: Library, evidence: Evidence, strength: Strength, because: tuple[Reason, ...]) -> Match:
    """Return the claim of `row`, with the tasks that its own files tell; none where the row's default has to do."""
    head = INFER[row.infer](evidence) if row.infer else None
    tasks = head.tasks if head is not None else ()
    because = (*because, head.because) if head is not None else because
    model_type = evidence.get("config.json", "model_type")
    return Match(
        row.name,
        strength,
        because,
        framework=row.framework,
        tasks=tasks,
        model_type=model_type if isinstance(model_type, str) else None,
        loadable=row.name in BUILTINS and (row.name not in LOADABLE or LOADABLE[row.name](evidence)),
    )


def tagged_library(evidence: Evidence) -> tuple[Library, Reason] | None:
    """Return the row of the library that the card names, and where it does."""
    for fact in evidence.tagged.get("library", ()):
        row = find(fact.value)
        if row is not None:
            return row, Reason(fact.file, fact.key, fact.value, f"the card names {fact.value}")
    for fact in evidence.tagged.get("tags", ()):
        row = find(fact.value)
        if row is not None and fact.value in (row.tags or (row.name,)):
            return row, Reason(fact.file, fact.key, fact.value, f"the card is tagged {fact.value}")
    return None


def is_bare_card(evidence: Evidence) -> bool:
    """Say whether there is nothing but a README (and pictures): a card is all that is known of the model."""
    return bool(evidence.card) and all(name.lower().endswith(_BESIDE_A_CARD) for name in evidence.names)


def _reasons(row: Library, met: tuple[Met, ...]) -> tuple[Reason, ...]:
    return tuple(_reason_of(row, met)) or (Reason("(table)", row.name, None, f"the layout of {row.name}"),)


def _reason_of(row: Library, met: tuple[Met, ...]) -> Iterator[Reason]:
    for fact in met:
        if fact.key == "(name)":
            text = f"a file of {row.name}"
        elif fact.key == "(weights)":
            text = f"weights in the format of {row.name}"
        else:
            text = f"a key of {row.name}"
        yield Reason(fact.file, fact.key, fact.value, text)
