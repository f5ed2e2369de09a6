"""What sentence-transformers would import or make up, checked: module types, activations, pooling, missing weights.

Gate A asks the same of the metadata before anything is fetched; a load asks again, so that it is safe by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    MalformedMetadata,
    NotAModel,
    OptionError,
    RedirectRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from modelscope_ext.models.gate.tables import ACTIVATIONS, SENTENCE_MODULES
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = [
    "KINDS",
    "check_activation",
    "check_report",
    "check_vocabulary",
    "is_known",
    "kind_of",
    "modules_of",
    "pooling_of",
    "reported",
]

#: Ways to make one vector of the vectors of tokens.
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

#: `model_type` of config_sentence_transformers.json -> the library's class.
KINDS: Mapping[str, str] = {"SentenceTransformer": "SentenceTransformer", "CrossEncoder": "CrossEncoder"}

_SETTINGS = "config_sentence_transformers.json"
_TRANSFORMER = "sentence_bert_config.json"


def modules_of(place: Any) -> list[Mapping[str, Any]]:
    """Return the entries of `modules.json`, each with a type of the closed table; empty where there is no such file."""
    from modelscope_ext.safety.paths import check_name
    from modelscope_ext.safety.reading import parse_json, read_inside

    if not (place.path / "modules.json").is_file():
        return []
    data = read_inside(place.path, "modules.json", limits=place.grants.limits)
    modules = parse_json(data, file="modules.json", limits=place.grants.limits, source=place.name)
    if not isinstance(modules, list) or not all(isinstance(m, Mapping) for m in modules) or not modules:
        raise MalformedMetadata(
            f"{place.name}: modules.json should be a list of objects with name, path and type.",
            source=place.name,
            file="modules.json",
        )
    for row, module in enumerate(modules):
        path, kind = module.get("path"), module.get("type")
        if not isinstance(path, str) or not isinstance(module.get("name"), str):
            raise MalformedMetadata(
                f"{place.name}: modules.json: {row} has no name or no path (strings).",
                source=place.name,
                file="modules.json",
                field=f"{row}",
            )
        if path:
            check_name(path, file="modules.json", field=f"{row}.path")
        _check_type(place, str(kind), row)
    other = place.document(_TRANSFORMER).get("tokenizer_name_or_path")
    if other is not None:
        raise RedirectRefused(
            f"{place.name}: {_TRANSFORMER}: tokenizer_name_or_path names {printable(other)}, another source (nothing "
            "was opened). Copy its tokenizer into the folder and remove the key.",
            source=place.name,
            file=_TRANSFORMER,
            field="tokenizer_name_or_path",
        )
    return modules


def is_known(kind: str) -> bool:
    """Whether a module's type is in the closed table of the library.

    Example:
        >>> is_known("sentence_transformers.models.Pooling"), is_known("sentence_transformers.util.http_get")
        (True, False)
    """
    head, _, name = kind.rpartition(".")
    return head.partition(".")[0] == "sentence_transformers" and name in SENTENCE_MODULES


def _check_type(place: Any, kind: str, row: int) -> None:
    if is_known(kind):
        return
    own = (place.path / f"{kind.partition('.')[0]}.py").is_file()
    if own and place.grants.may_run_code:
        return
    raise UnknownTypeError(
        f"{place.name}: modules.json: {row}.type is {printable(kind)!r}, which is no module of sentence-transformers. "
        "It was not imported."
        + (" It comes with the model; read it, then pass trust_remote_code=True." if own else ""),
        source=place.name,
        file="modules.json",
        field=f"{row}.type",
        grant="trust_remote_code" if own else None,
    )


def kind_of(place: Any, modules: Sequence[Any], task: str | None) -> str:
    """Return which of the library's classes the folder is for."""
    if modules:
        said = place.document(_SETTINGS).get("model_type", "SentenceTransformer")
        if said not in KINDS:
            raise BackendNotLoadable(
                f"{place.name}: {_SETTINGS}: model_type is {printable(said)!r}, for which no task exists here yet. "
                f"Load it with sentence-transformers itself. Known: {listing(KINDS)}."
            )
        if said == "CrossEncoder" and not (place.path / _TRANSFORMER).is_file():
            raise MalformedMetadata(
                f"{place.name}: {_TRANSFORMER} is missing, which says that this is a classifier. Download it too.",
                source=place.name,
                file=_TRANSFORMER,
            )
        return KINDS[said]
    classes = place.document("config.json").get("architectures") or ()
    ranks = any(str(one).endswith("ForSequenceClassification") for one in classes)
    return "CrossEncoder" if task == "text-ranking" or (task is None and ranks) else "SentenceTransformer"


def check_activation(place: Any) -> None:
    """Refuse an activation outside the closed table before the library would import it."""
    config = place.document("config.json")
    own = config.get("sentence_transformers")
    said = (
        (
            "config.json",
            "sentence_transformers.activation_fn",
            own.get("activation_fn") if isinstance(own, Mapping) else None,
        ),
        ("config.json", "sbert_ce_default_activation_function", config.get("sbert_ce_default_activation_function")),
        (_SETTINGS, "activation_fn", place.document(_SETTINGS).get("activation_fn")),
        *_dense(place),
    )
    for file, field, value in said:
        if value is not None and value not in ACTIVATIONS:
            raise UnknownTypeError(
                f"{place.name}: {file}: {field} is {printable(value)!r}, which is no known activation. It was not "
                f"imported. Known are, among others: {listing(ACTIVATIONS, 6)}.",
                source=place.name,
                file=file,
                field=field,
            )


def check_vocabulary(native: Any, place: Any) -> None:
    """Raise where transformers made an empty tokenizer because no file of a vocabulary is there."""
    tokenizer: Any = getattr(native, "tokenizer", None)
    if not hasattr(tokenizer, "get_vocab") or not hasattr(tokenizer, "all_special_tokens"):
        return
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise NotAModel(
            f"{place.name}: the tokenizer has no words: neither tokenizer.json nor another file of its vocabulary is "
            "in the folder. Copy it from the model it was trained from."
        )


def _dense(place: Any) -> Iterator[tuple[str, str, Any]]:
    for path in sorted(place.path.glob("*/config.json")):
        name = f"{path.parent.name}/config.json"
        document = place.document(name)
        if "in_features" in document:
            yield name, "activation_function", document.get("activation_function")


def pooling_of(asked: Any, kind: str, modules: Sequence[Any], place: Any) -> str | None:
    """Return how to pool where the folder does not say; None where it does, or where nothing is pooled."""
    if asked is not None and asked not in POOLINGS:
        raise OptionError(f"pooling={printable(asked)!r} is unknown.{did_you_mean(str(asked), POOLINGS)} "
                          f"There are: {listing(POOLINGS)}.")  # fmt: skip
    if modules or kind == "CrossEncoder":
        if asked is not None:
            raise OptionError(f"pooling={asked!r}: the folder says itself how to pool; leave the argument out.")
        return None
    if asked is None:
        raise AmbiguousModel(
            f"{place.name} has no modules.json, so nothing says how the vectors of tokens become one vector. The "
            "library would take their mean, which is wrong for models trained otherwise. If you know how it was "
            'trained, pass pooling="mean" (or cls, max, lasttoken); for one vector per token pass '
            'backend="transformers".'
        )
    return str(asked)


@contextmanager
def reported() -> Iterator[list[str]]:
    """Collect what transformers reports about weights while it loads; it says so in its log and nowhere else."""
    import logging

    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    theirs = logging.getLogger("transformers.modeling_utils")
    handler, level, propagate = Collect(logging.WARNING), theirs.level, theirs.propagate
    theirs.addHandler(handler)
    theirs.setLevel(logging.WARNING)
    theirs.propagate = False
    try:
        yield lines
    finally:
        theirs.removeHandler(handler)
        theirs.setLevel(level)
        theirs.propagate = propagate


def check_report(reports: Sequence[str], native: Any, place: Any, kind: str, *, allowed: bool) -> None:
    """Raise for weights that were made up, and for those that show that the model is smaller than its checkpoint.

    An encoder's pooler is not used for sentence vectors.
    """
    from modelscope_ext.models.backends._transformers.weights import left_over

    rows = list(_rows(reports))
    made_up = [name for name, status in rows if status in ("MISSING", "MISMATCH")]
    if kind == "SentenceTransformer":
        made_up = [name for name in made_up if not name.startswith("pooler.")]
    encoder = getattr(next(iter(native), None), "model", None)
    unexpected = [name for name, status in rows if status == "UNEXPECTED"]
    extra = left_over(encoder, unexpected) if hasattr(encoder, "named_modules") else []
    problems = [
        f"{what} {listing(map(printable, names), 6)}"
        for what, names in (
            ("the weights lack (or have in another shape)", made_up),
            ("the weights hold what has no place in the model:", extra),
        )
        if names
    ]
    if problems and not allowed:
        raise WeightsMismatch(
            f"{place.name}: {'; '.join(problems)}. Pick a task this checkpoint was trained for, or pass "
            "allow_missing_weights=True to get a model whose missing weights are random."
        )


def _rows(reports: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the status of every weight in the tables that transformers logs."""
    import re

    for report in reports:
        for line in re.sub(r"\x1b\[[0-9;]*m", "", report).splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) > 1:
                yield cells[0], cells[1]
