"""Step 6 of 6: which columns of a row of data are the input of a task.

Example:
    >>> choose("text-classification", ("id", "review"), "review")
    'review'
    >>> choose("text-ranking", ("id", "query", "documents"))
    {'query': 'query', 'documents': 'documents'}
    >>> pick({"id": 1, "query": "q", "documents": ["d"]}, {"query": "query", "documents": "documents"})
    {'query': 'q', 'documents': ['d']}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.inputs import PAIRS
from modelscope_ext.models.schemas import Schema, schema_of
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["Columns", "choose", "pick"]

#: One column, which is the whole input; or the input's fields and their columns; None where rows are inputs.
Columns = str | Mapping[str, str] | None

_WORDS = ("text", "sentence", "input", "src", "prompt")
#: Kind of input -> names under which data sets have it, the likeliest first.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "text": _WORDS,
    "pair": _WORDS,
    "chat": ("messages", *_WORDS),
    "talk": ("messages", *_WORDS),
    "image": ("image", "img", "path", "file", "file_name"),
    "images": ("images",),
    "audio": ("audio", "wav", "path", "file", "file_name"),
    "video": ("video", "path", "file", "file_name"),
    "texts": ("texts", "sentences"),
    "series": ("past_values", "series", "target"),
    "questions": ("questions",),
    "seed": ("seed",),
}


def choose(task: str, names: Sequence[str], asked: Columns = None, given: Sequence[str] = ()) -> Columns:
    """Decide once, by the names of the columns, which of them are the input.

    Args:
        task: A canonical task name.
        names: The columns there are.
        asked: What the caller says: a column, or fields of the input and their columns.
        given: Fields that are the same for every row and need no column.

    Raises:
        OptionError: No such column or field, or several columns of which none has a usual name.
    """
    schema = schema_of(task)
    if isinstance(asked, str):
        return _known(asked, names)
    if asked is not None:
        return _mapped(task, schema, {str(field): _known(column, names) for field, column in asked.items()})
    if schema.input == "fields":
        return _fields(task, schema, names, given)
    if schema.input == "talk" and (found := _named(schema, names)) and set(found) != {"text"}:
        return found
    if schema.input == "pair":
        pair = next((pair for pair in PAIRS if set(pair) <= set(names)), None)
        if pair is not None:
            return dict(zip(("text", "text_pair"), pair, strict=True))
    if schema.input not in _USUAL:
        return None
    usual = next((name for name in _USUAL[schema.input] if name in names), None)
    if usual is None and len(names) != 1:
        raise OptionError(
            f"{task}: which column is the input? There are {_there(names)}, and none has a usual name"
            f" ({listing(_USUAL[schema.input])}); say so with columns= (--column NAME)"
        )
    return usual or names[0]


def pick(row: Any, columns: Columns, constant: Mapping[str, Any] | None = None) -> Any:
    """Return the input that a row holds, with the fields that are the same for every row.

    Raises:
        OptionError: The row lacks a column.
    """
    if columns is None:
        return {**row, **constant} if constant and isinstance(row, Mapping) else row
    if not isinstance(row, Mapping):
        wanted = [columns] if isinstance(columns, str) else list(columns.values())
        raise OptionError(f"expected a row with the columns {listing(wanted)}, got {type(row).__name__}")
    if isinstance(columns, str):
        return _value(row, columns)
    return {**{field: _value(row, column) for field, column in columns.items()}, **(constant or {})}


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise OptionError(f"no column {printable(column)!r} in this row; it has {_there(list(row))}")
    return row[column]


def _known(column: Any, names: Sequence[str]) -> str:
    if not isinstance(column, str) or column not in names:
        near = did_you_mean(str(column), names)
        raise OptionError(f"columns: no column {printable(column)!r}.{near} There are {_there(names)}")
    return column


def _there(names: Sequence[str]) -> str:
    return listing(map(printable, names)) or "none"


def _mapped(task: str, schema: Schema, asked: dict[str, str]) -> Columns:
    """Return fields and columns with the fields' own names; an input of one part is its column alone."""
    fields = {schema.aliases.get(field, field): column for field, column in asked.items()}
    known: tuple[str, ...] = tuple(schema.fields) or (schema.input, *_WORDS[:1])
    if schema.input == "pair":
        known = ("text", "text_pair")
    for field in fields:
        if field not in known:
            raise OptionError(
                f"columns: {task} has no field {printable(field)!r}.{did_you_mean(field, known)} It takes"
                f" {listing(known)}"
            )
    return next(iter(fields.values())) if not schema.fields and len(fields) == 1 else fields


def _named(schema: Schema, names: Sequence[str]) -> dict[str, str]:
    """Return the fields that have a column of their own name, or of another spelling of it."""
    found = {field: field for field in schema.fields if field in names}
    for alias, field in schema.aliases.items():
        if alias in names and field in schema.fields:
            found.setdefault(field, alias)
    return found


def _fields(task: str, schema: Schema, names: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    found = {field: column for field, column in _named(schema, names).items() if field not in given}
    needed = [schema.lead] if schema.lead else [n for n, kind in schema.fields.items() if not kind.endswith("?")]
    missing = [field for field in needed if field not in found and field not in given]
    if missing and len(needed) == 1 and len(names) == 1:
        return {missing[0]: names[0]}
    if missing:
        raise OptionError(
            f"{task} takes {listing(schema.fields)}, and no column is named {listing(missing)}: there are"
            f" {_there(names)}. Say which with columns= (--column FIELD=COLUMN)"
        )
    return found
