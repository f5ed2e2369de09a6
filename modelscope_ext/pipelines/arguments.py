"""Step 6 of 6: a call's arguments by position and by name, brought to where the task's schema wants them.

Example:
    >>> gather("zero-shot-classification", "It rains", (["weather", "sport"],), {})
    ('It rains', {'candidate_labels': ['weather', 'sport']})
    >>> gather("question-answering", MISSING, (), {"question": "Who?", "context": "Me.", "top_k": 2})
    ({'question': 'Who?', 'context': 'Me.'}, {'top_k': 2})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.schemas import schema_of
from modelscope_ext.utils.text import listing

__all__ = ["MISSING", "gather"]

#: Stands for an input that was not given.
MISSING: Any = object()

#: Kinds of fields of which a list means several inputs.
_SINGLE = frozenset(("text", "image", "audio", "video"))


def gather(task: str, inputs: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Bring positional and named arguments to where they belong: fields into the input, the rest into the options."""
    schema = schema_of(task)
    options = dict(options)
    if not schema.fields:
        if inputs is MISSING and schema.input == "seed":
            inputs = None
        if inputs is MISSING:
            raise OptionError(f"{task}: no input was given")
        return inputs, {**_positional(task, schema.arguments, args, options), **options}
    spelled = {schema.aliases.get(k, k) if k not in schema.fields else k: k for k in options}
    fields = {name: options.pop(spelled[name]) for name in schema.fields if name in spelled}
    given = (() if inputs is MISSING else (inputs,)) + args
    if not fields and not args:
        if inputs is MISSING:
            raise OptionError(f"{task}: no input was given; it takes {listing(schema.fields)}")
        return inputs, options
    names = [name for name in schema.fields if name not in fields]
    if len(given) > len(names):
        raise OptionError(f"{task}: {len(given)} arguments for {listing(names)}")
    fields.update(zip(names, given, strict=False))
    return _rows(task, fields, schema.fields), options


def _positional(task: str, names: tuple[str, ...], args: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    if len(args) > len(names):
        takes = f"takes {listing(names)} after the input" if names else "takes one input; pass several as a list"
        raise OptionError(f"{task}: {len(args)} further arguments by position; it {takes}")
    placed = dict(zip(names, args, strict=False))
    for name in placed:
        if name in options:
            raise OptionError(f"{task}: {name} was given by position and by name")
    return placed


def _rows(task: str, fields: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    """Return one dict, or a list of them where single fields were given as lists of one length."""
    lists = {k: v for k, v in fields.items() if isinstance(v, list | tuple) and kinds[k].rstrip("?") in _SINGLE}
    if not lists:
        return dict(fields)
    lengths = {len(v) for v in lists.values()}
    if len(lengths) > 1:
        said = ", ".join(f"{len(v)} of {k}" for k, v in lists.items())
        raise OptionError(f"{task}: lists of different lengths: {said}")
    return [{**fields, **{k: v[i] for k, v in lists.items()}} for i in range(lengths.pop())]
