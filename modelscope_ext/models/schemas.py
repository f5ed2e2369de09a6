"""Step 6 of 6: for each task what goes in and what comes out, whatever the backend, as one table.

An input is one of the kinds of `models/inputs.py`, or a dict of named fields of these kinds (a trailing ``?`` marks
what may be left out). An output is a type of `models/types.py`. Scores are plain Python floats, never numpy's, so that
every output without an image or an array can be written as JSON.

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
from modelscope_ext.models import types as t
from modelscope_ext.models.inputs import KINDS, is_lazy
from modelscope_ext.models.outputs import LAWS, mismatch
from modelscope_ext.safety.urls import CLOSED, Web
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["SCHEMAS", "Schema", "check_output", "is_lazy", "normalise", "schema_of"]


@dataclass(frozen=True)
class Schema(Record):
    """What one task takes and gives.

    Attributes:
        input: A kind of `KINDS`, or ``"fields"``.
        output: The type of one output; a pattern of `models/outputs.py` will do too.
        fields: Name -> kind; ``?`` after the kind marks an optional field. For ``"fields"`` these are the input, for
            ``"talk"`` what may also be given by name.
        lead: The one field that an input stands for which is no dict; an input with no other field is given bare.
        arguments: Names of the options that may follow the input as positional arguments.
        aliases: Other spellings of field names, e.g. ModelScope's.
        laws: Names of further rules in `LAWS`.
        by_length: Whether a batch is better made of texts of like length: padding is computed for nothing. Not where
            random numbers are drawn, whose order would change.
    """

    input: str = "any"
    output: Any = Any
    fields: Mapping[str, str] = field(default_factory=dict)
    lead: str = ""
    arguments: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    laws: tuple[str, ...] = ()
    by_length: bool = False

    @property
    def pattern(self) -> Any:
        """The pattern of one output, for `models/outputs.py`."""
        return t.pattern(self.output)


_RANKING = {"source_sentence": "query", "sentences_to_compare": "documents", "sentences": "documents"}
_SENTENCES = {"sentences_to_compare": "sentences", "documents": "sentences"}
_TALK = {"image": "any?", "text": "any?", "audio": "any?", "video": "any?"}
_TALKING = {"images": "image", "audios": "audio", "videos": "video", "question": "text"}
_FROM_IMAGE = {"image": "image", "prompt": "text?"}
_ZERO_SHOT = ("candidate_labels", "hypothesis_template")

#: Canonical task -> its schema. Tasks that only one hub or library knows take and give anything.
SCHEMAS: Mapping[str, Schema] = {
    # text
    "text-classification": Schema("pair", t.Label | list[t.Label], laws=("sorted",), by_length=True),
    "token-classification": Schema("text", list[t.Entity] | list[t.EntityGroup], by_length=True),
    "fill-mask": Schema("text", list[t.Fill] | list[list[t.Fill]], laws=("sorted",), by_length=True),
    "text-generation": Schema("chat", t.Generated | list[t.Generated]),
    "feature-extraction": Schema("text", t.FloatArray, laws=("vectors",), by_length=True),
    "sentence-similarity": Schema(
        "fields",
        list[float],
        fields={"source_sentence": "text", "sentences": "texts"},
        aliases=_SENTENCES,
        laws=("one score a sentence",),
    ),
    "text-ranking": Schema(
        "fields",
        list[t.Ranked],
        fields={"query": "text", "documents": "texts"},
        aliases=_RANKING,
        laws=("sorted", "documents ranked"),
    ),
    "zero-shot-classification": Schema(
        "text", t.ZeroShot, arguments=(*_ZERO_SHOT, "multi_label"), laws=("labels and scores",), by_length=True
    ),
    "multiple-choice": Schema(
        "fields",
        list[t.Choice],
        fields={"prompt": "text", "choices": "texts"},
        aliases={"question": "prompt", "text": "prompt"},
        laws=("sorted",),
    ),
    "question-answering": Schema(
        "fields",
        t.Answer | list[t.Answer],
        fields={"question": "text", "context": "text"},
        aliases={"query": "question", "passage": "context"},
    ),
    "table-question-answering": Schema(
        "fields", t.TableAnswer, fields={"table": "table", "query": "any"}, aliases={"question": "query"}
    ),
    "translation": Schema("text", t.Translation | list[t.Translation], arguments=("src_lang", "tgt_lang")),
    "summarization": Schema("text", t.Summary | list[t.Summary]),
    "text2text-generation": Schema("text", t.Text | list[t.Text]),
    "decision": Schema(
        "fields", dict[str, t.Decision], fields={"state": "any", "questions": "questions"}, aliases={"text": "state"}
    ),
    "document-segmentation": Schema("text", t.Segments),
    # image
    "image-classification": Schema("image", list[t.Label], laws=("sorted",)),
    "image-feature-extraction": Schema("image", t.FloatArray),
    "image-segmentation": Schema("image", list[t.Segment]),
    "object-detection": Schema("image", list[t.Detection], laws=("sorted",)),
    "zero-shot-object-detection": Schema("image", list[t.Detection], arguments=("candidate_labels",), laws=("sorted",)),
    "zero-shot-image-classification": Schema("image", list[t.Label], arguments=_ZERO_SHOT, laws=("sorted",)),
    "depth-estimation": Schema("image", t.Depth),
    "keypoint-detection": Schema("image", list[t.Keypoint]),
    "keypoint-matching": Schema("fields", list[t.Match], fields={"image_0": "image", "image_1": "image"}),
    "mask-generation": Schema("image", t.Masks),
    "image-to-image": Schema("fields", t.Image | list[t.Image], fields=_FROM_IMAGE, lead="image"),
    "image-to-text": Schema("image", t.Text),
    # ModelScope's names for what a picture becomes
    "image-denoising": Schema("image", t.Image),
    "image-deblurring": Schema("image", t.Image),
    "image-color-enhancement": Schema("image", t.Image),
    "image-colorization": Schema("image", t.Image),
    "image-portrait-enhancement": Schema("image", t.Image),
    "image-super-resolution": Schema("image", t.Image),
    # audio and video
    "audio-classification": Schema("audio", list[t.Label], laws=("sorted",)),
    "zero-shot-audio-classification": Schema("audio", list[t.Label], arguments=_ZERO_SHOT, laws=("sorted",)),
    "automatic-speech-recognition": Schema("audio", t.Transcript),
    "text-to-audio": Schema("text", t.Audio | list[t.Audio]),
    "text-to-speech": Schema("text", t.Audio),
    "audio-to-audio": Schema("audio", t.Audio),
    "video-classification": Schema("video", list[t.Label], laws=("sorted",)),
    # several kinds at once
    "document-question-answering": Schema(
        "fields", list[t.Answer], fields={"image": "image", "question": "text", "word_boxes": "any?"}
    ),
    "visual-question-answering": Schema(
        "fields",
        list[t.Answer],
        fields={"image": "image", "question": "text"},
        aliases={"text": "question", "img": "image"},
    ),
    "visual-document-retrieval": Schema(
        "fields",
        list[t.RankedPage],
        fields={"query": "text", "documents": "images"},
        aliases={"images": "documents", "pages": "documents"},
        laws=("sorted",),
    ),
    "image-text-to-text": Schema("talk", t.Generated, fields=_TALK, aliases=_TALKING),
    "audio-text-to-text": Schema("talk", t.Generated, fields=_TALK, aliases=_TALKING),
    "video-text-to-text": Schema("talk", t.Generated, fields=_TALK, aliases=_TALKING),
    "any-to-any": Schema("talk", t.Generated, fields=_TALK, aliases=_TALKING),
    # generation of images and videos
    "text-to-image": Schema("text", t.Image | list[t.Image]),
    "unconditional-image-generation": Schema("seed", t.Image),
    "image-text-to-image": Schema("fields", t.Image | list[t.Image], fields={"image": "image", "text": "text"}),
    "image-inpainting": Schema(
        "fields", t.Image | list[t.Image], fields={"image": "image", "mask_image": "image", "prompt": "text?"}
    ),
    "text-to-video": Schema("text", t.Video | list[t.Video]),
    "image-to-video": Schema("fields", t.Video | list[t.Video], fields=_FROM_IMAGE, lead="image"),
    "text-to-3d": Schema("text", Any),
    "image-to-3d": Schema("image", Any),
    # numbers
    "tabular-classification": Schema("any", t.Label | list[t.Label]),
    "tabular-regression": Schema("any", float),
    "time-series-forecasting": Schema("series", t.FloatArray),
}


def schema_of(task: str) -> Schema:
    """Return the schema of a canonical task; a task without a row takes and gives anything."""
    return SCHEMAS.get(task, _ANY)


_ANY = Schema()


def normalise(
    task: str, inputs: Any, *, first: int = 0, batch: bool = False, web: Web = CLOSED
) -> tuple[list[Any], bool]:
    """Return `inputs` as a list of items in the form backends get, and whether a single input was given.

    Args:
        task: A canonical task name.
        inputs: One input or a list of them; see the table in `models/inputs.py`.
        first: The number of the first input, for messages.
        batch: Whether `inputs` is a list of single inputs, whatever it looks like.
        web: What of the web inputs may come from.

    Raises:
        OptionError: An input is not what the task takes; the message names the task, the item and what it takes.
        RedirectRefused, LimitExceeded, HubError: Of a URL that `web` allows.

    Example:
        >>> normalise("sentence-similarity", {"source_sentence": "a", "sentences": ["b", "c"]})
        ([{'source_sentence': 'a', 'sentences': ['b', 'c']}], True)
        >>> normalise("feature-extraction", ["a"])
        (['a'], False)
    """
    schema = schema_of(task)
    single, items = (False, list(inputs)) if batch else _items(schema, inputs)

    def bring(item: Any) -> Any:
        if schema.input == "fields":
            return _bring_fields(schema, item, web)
        return KINDS[schema.input].bring(item, web)

    numbers = repeat(None) if single else count(first)
    return [_brought(task, bring, item, number) for item, number in zip(items, numbers, strict=False)], single


def _items(schema: Schema, inputs: Any) -> tuple[bool, list[Any]]:
    """Return whether `inputs` is one input, and the inputs it holds."""
    listed = isinstance(inputs, list | tuple)
    if schema.input == "fields" and not schema.lead:
        many = listed
    else:
        kind = KINDS[schema.fields[schema.lead] if schema.lead else schema.input]
        pair = schema.input == "pair" and isinstance(inputs, tuple) and len(inputs) == 2
        many = kind.spread(inputs) or (listed and not pair and not kind.whole(list(inputs)))
    return not many, list(inputs) if many else [inputs]


def _brought(task: str, bring: Callable[[Any], Any], item: Any, number: int | None) -> Any:
    try:
        return bring(item)
    except OptionError as error:
        where = "" if number is None else f", input {number}"
        raise OptionError(f"{task}{where}: {error}") from error


def _bring_fields(schema: Schema, item: Any, web: Web) -> Any:
    shape = "{" + ", ".join(f"{name!r}: {kind}" for name, kind in schema.fields.items()) + "}"
    if schema.lead and not (isinstance(item, Mapping) and schema.lead in item):
        return KINDS[schema.fields[schema.lead]].bring(item, web)
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
            out[name] = KINDS[kind.rstrip("?")].bring(_only(given[name], kind), web)
        except OptionError as error:
            raise OptionError(f"key {name!r}: {error}") from error
    return out[schema.lead] if out.keys() == {schema.lead} else out


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
    problem = mismatch(schema.pattern, value, "output")
    if problem:
        raise AssertionError(f"{task}: {problem}")
    for law in schema.laws:
        problem = LAWS[law](value, item, options or {})
        if problem:
            raise AssertionError(f"{task}: {problem}")
