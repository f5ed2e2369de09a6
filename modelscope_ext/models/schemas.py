"""Step 6 of 6: for each task what goes in and what comes out, whatever the backend, as one table.

An input is one of the kinds of `models/inputs.py`, or a dict of named fields of these kinds (a trailing ``?`` marks
what may be left out). An output is written as a pattern of `models/outputs.py`. Scores are plain Python floats, never
numpy's, so that every output without an image or a tensor can be written as JSON.

Example:
    >>> normalise("text-classification", "good")
    (['good'], True)
    >>> normalise("text-generation", [{"role": "user", "content": "Hi"}])
    ([[{'role': 'user', 'content': 'Hi'}]], True)
    >>> check_output("text-classification", {"label": "POSITIVE", "score": 0.9})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.inputs import KINDS, is_lazy
from modelscope_ext.models.outputs import LAWS, mismatch
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["SCHEMAS", "Schema", "check_output", "is_lazy", "normalise", "schema_of"]


@dataclass(frozen=True)
class Schema(Record):
    """What one task takes and gives.

    Attributes:
        input: A kind of `KINDS`, or ``"fields"``.
        fields: For ``"fields"``: name -> kind; ``?`` after the kind marks an optional field.
        arguments: Names of the options that may follow the input as positional arguments.
        aliases: Other spellings of field names, e.g. ModelScope's.
        output: The pattern of one output.
        laws: Names of further rules in `LAWS`.
    """

    input: str = "any"
    output: Any = "any"
    fields: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    laws: tuple[str, ...] = ()


_LABEL = {"label": "str", "score": "float"}
_BOX = {"xmin": "int", "ymin": "int", "xmax": "int", "ymax": "int"}
_POINT = {"x": "number", "y": "number"}
_TOKEN = {"entity": "str", "score": "float", "index": "int", "word": "str", "start": "int?", "end": "int?"}
_GROUP = {"entity_group": "str", "score": "float", "word": "str", "start": "int?", "end": "int?"}
_FILL = {"score": "float", "token": "int", "token_str": "str", "sequence": "str"}
_GENERATED = {"generated_text": ("str", ["message"])}
_SPEECH = {"audio": "array", "sampling_rate": "int"}
_ANSWER = {"score": "float", "answer": "str", "start?": "int", "end?": "int"}
_SENTENCES = {"sentences_to_compare": "sentences", "documents": "sentences"}
_DOCUMENTS = {"source_sentence": "query", "sentences_to_compare": "documents", "sentences": "documents"}

#: Canonical task -> its schema. Tasks that only one hub or library knows take and give anything.
SCHEMAS: Mapping[str, Schema] = {
    # text
    "text-classification": Schema("pair", (_LABEL, [_LABEL]), laws=("sorted",)),
    "token-classification": Schema("text", ([_TOKEN], [_GROUP])),
    "fill-mask": Schema("text", ([_FILL], [[_FILL]]), laws=("sorted",)),
    "text-generation": Schema("chat", (_GENERATED, [_GENERATED])),
    "feature-extraction": Schema("text", "array", laws=("vectors",)),
    "sentence-similarity": Schema(
        "fields",
        ["float"],
        fields={"source_sentence": "text", "sentences": "texts"},
        aliases=_SENTENCES,
        laws=("one score a sentence",),
    ),
    "text-ranking": Schema(
        "fields",
        [{"index": "int", "score": "float", "document": "str"}],
        fields={"query": "text", "documents": "texts"},
        aliases=_DOCUMENTS,
        laws=("sorted", "documents ranked"),
    ),
    "zero-shot-classification": Schema(
        "text",
        {"sequence": "str", "labels": ["str"], "scores": ["float"]},
        arguments=("candidate_labels", "hypothesis_template", "multi_label"),
        laws=("labels and scores",),
    ),
    "question-answering": Schema("fields", (_ANSWER, [_ANSWER]), fields={"question": "text", "context": "text"}),
    "table-question-answering": Schema(
        "fields",
        {"answer": "str", "coordinates?": "any", "cells?": ["str"], "aggregator?": "str"},
        fields={"table": "table", "query": "any"},
        aliases={"question": "query"},
    ),
    "translation": Schema("text", {"translation_text": "str"}, arguments=("src_lang", "tgt_lang")),
    "summarization": Schema("text", {"summary_text": "str"}),
    "text2text-generation": Schema("text", {"generated_text": "str"}),
    "decision": Schema("any", "any"),
    # image
    "image-classification": Schema("image", [_LABEL], laws=("sorted",)),
    "image-feature-extraction": Schema("image", "array"),
    "image-segmentation": Schema("image", [{"score": "float?", "label": "str?", "mask": "image"}]),
    "object-detection": Schema("image", [{**_LABEL, "box": _BOX}], laws=("sorted",)),
    "zero-shot-object-detection": Schema(
        "image", [{**_LABEL, "box": _BOX}], arguments=("candidate_labels",), laws=("sorted",)
    ),
    "zero-shot-image-classification": Schema(
        "image", [_LABEL], arguments=("candidate_labels", "hypothesis_template"), laws=("sorted",)
    ),
    "depth-estimation": Schema("image", {"predicted_depth": "array", "depth": "image"}),
    "keypoint-detection": Schema("image", [{"keypoint": _POINT, "score": "float", "label?": "str"}]),
    "keypoint-matching": Schema(
        "fields",
        [{"keypoint_image_0": _POINT, "keypoint_image_1": _POINT, "score": "float"}],
        fields={"image_0": "image", "image_1": "image"},
    ),
    "mask-generation": Schema("image", {"masks": ["any"], "scores": ["float"]}),
    "image-to-image": Schema("image", "image"),
    "image-to-text": Schema("image", {"generated_text": "str"}),
    # audio and video
    "audio-classification": Schema("audio", [_LABEL], laws=("sorted",)),
    "zero-shot-audio-classification": Schema(
        "audio", [_LABEL], arguments=("candidate_labels", "hypothesis_template"), laws=("sorted",)
    ),
    "automatic-speech-recognition": Schema(
        "audio", {"text": "str", "chunks?": [{"text": "str", "timestamp": "any"}], "language?": "str?"}
    ),
    "text-to-audio": Schema("text", _SPEECH),
    "text-to-speech": Schema("text", _SPEECH),
    "audio-to-audio": Schema("audio", _SPEECH),
    "video-classification": Schema("video", [_LABEL], laws=("sorted",)),
    # several kinds at once
    "document-question-answering": Schema(
        "fields",
        ([_ANSWER], [{"answer": "str?"}]),
        fields={"image": "image", "question": "text", "word_boxes": "any?"},
    ),
    "visual-question-answering": Schema(
        "fields", [{"answer": "str", "score?": "float"}], fields={"image": "image", "question": "text"}
    ),
    "image-text-to-text": Schema(
        "fields",
        {"generated_text": ("str", ["message"]), "input_text?": "any"},
        fields={"image": "any?", "text": "any?"},
    ),
    "any-to-any": Schema("any", "any"),
    # generation of images and videos
    "text-to-image": Schema("text", ("image", ["image"])),
    "unconditional-image-generation": Schema("seed", "image"),
    "image-text-to-image": Schema("fields", ("image", ["image"]), fields={"image": "image", "text": "text"}),
    "image-inpainting": Schema(
        "fields", ("image", ["image"]), fields={"image": "image", "mask_image": "image", "prompt": "text"}
    ),
    "text-to-video": Schema("text", "any"),
    "image-to-video": Schema("image", "any"),
    "text-to-3d": Schema("text", "any"),
    "image-to-3d": Schema("image", "any"),
    # numbers
    "tabular-classification": Schema("any", (_LABEL, [_LABEL])),
    "tabular-regression": Schema("any", "float"),
    "time-series-forecasting": Schema("any", "array"),
}


def schema_of(task: str) -> Schema:
    """Return the schema of a canonical task; a task without a row takes and gives anything."""
    return SCHEMAS.get(task, _ANY)


_ANY = Schema()


def normalise(task: str, inputs: Any, *, first: int = 0, batch: bool = False) -> tuple[list[Any], bool]:
    """Return `inputs` as a list of items in the form backends get, and whether a single input was given.

    Args:
        task: A canonical task name.
        inputs: One input or a list of them; see the table in `models/inputs.py`.
        first: The number of the first input, for messages.
        batch: Whether `inputs` is a list of single inputs, whatever it looks like.

    Raises:
        OptionError: An input is not what the task takes; the message names the task, the item and what it takes.

    Example:
        >>> normalise("sentence-similarity", {"source_sentence": "a", "sentences": ["b", "c"]})
        ([{'source_sentence': 'a', 'sentences': ['b', 'c']}], True)
        >>> normalise("feature-extraction", ["a"])
        (['a'], False)
    """
    schema = schema_of(task)
    single, items = (False, list(inputs)) if batch else _items(schema, inputs)

    def bring(item: Any) -> Any:
        return _bring_fields(schema, item) if schema.input == "fields" else KINDS[schema.input].bring(item)

    numbers = repeat(None) if single else count(first)
    return [_brought(task, bring, item, number) for item, number in zip(items, numbers, strict=False)], single


def _items(schema: Schema, inputs: Any) -> tuple[bool, list[Any]]:
    """Return whether `inputs` is one input, and the inputs it holds."""
    listed = isinstance(inputs, list | tuple)
    if schema.input == "fields":
        many = listed
    else:
        kind = KINDS[schema.input]
        pair = schema.input == "pair" and isinstance(inputs, tuple) and len(inputs) == 2
        many = kind.spread(inputs) or (listed and not pair and not kind.whole(list(inputs)))
    return not many, list(inputs) if many else [inputs]


def _brought(task: str, bring: Callable[[Any], Any], item: Any, number: int | None) -> Any:
    try:
        return bring(item)
    except OptionError as error:
        where = "" if number is None else f", input {number}"
        raise OptionError(f"{task}{where}: {error}") from error


def _bring_fields(schema: Schema, item: Any) -> dict[str, Any]:
    shape = "{" + ", ".join(f"{name!r}: {kind}" for name, kind in schema.fields.items()) + "}"
    if not isinstance(item, Mapping):
        raise OptionError(f"expected a dict {shape}; got {type(item).__name__}: {printable(repr(item), 60)}")
    given = {schema.aliases.get(str(k), str(k)) if k not in schema.fields else str(k): v for k, v in item.items()}
    for name in given:
        if name not in schema.fields:
            raise OptionError(f"unknown key {name!r}; expected {shape}.{did_you_mean(name, schema.fields)}")
    out = {}
    for name, kind in schema.fields.items():
        if given.get(name) is None:
            if not kind.endswith("?"):
                raise OptionError(f"the key {name!r} is missing; expected {shape}")
            continue
        try:
            out[name] = KINDS[kind.rstrip("?")].bring(_only(given[name], kind))
        except OptionError as error:
            raise OptionError(f"key {name!r}: {error}") from error
    return out


def _only(value: Any, kind: str) -> Any:
    """Unwrap ModelScope's list of one text where a text is meant."""
    return value[0] if kind == "text" and isinstance(value, list) and len(value) == 1 else value


def check_output(task: str, value: Any, item: Any = None, *, options: Mapping[str, Any] | None = None) -> None:
    """Raise AssertionError, naming the place, when `value` is not one output of `task`.

    Args:
        task: A canonical task name.
        value: One output, as `predict` gave it for one input.
        item: The normalised input it answers; where given, the output must fit it too.
        options: The call's options; `top_k` may shorten a ranking.
    """
    schema = schema_of(task)
    problem = mismatch(schema.output, value, "output")
    if problem:
        raise AssertionError(f"{task}: {problem}")
    for law in schema.laws:
        problem = LAWS[law](value, item, options or {})
        if problem:
            raise AssertionError(f"{task}: {problem}")
