"""token-classification of the ONNX backend: labels per token, and tokens gathered into entities.

The strategies are those of transformers: ``none`` (every token), ``simple`` (neighbours of one label), and ``first``,
``average``, ``max``, which first settle on one label per word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._onnx.scores import softmax
from modelscope_ext.models.backends._onnx.session import Bundle, batches
from modelscope_ext.utils.text import listing, printable

__all__ = ["STRATEGIES", "token_classification"]


@dataclass(frozen=True)
class _Token:
    """One token of a text: its place, its written form, and the score of each label."""

    index: int
    word: str
    start: int
    end: int
    scores: Any
    inside_word: bool


def _first(tokens: Sequence[_Token]) -> Any:
    return tokens[0].scores


def _average(tokens: Sequence[_Token]) -> Any:
    import numpy as np

    return np.mean([t.scores for t in tokens], axis=0)


def _strongest(tokens: Sequence[_Token]) -> Any:
    return max((t.scores for t in tokens), key=lambda scores: float(scores.max()))


#: Strategy -> the scores of a word from those of its tokens; None where words do not count.
STRATEGIES: Mapping[str, Callable[[Sequence[_Token]], Any] | None] = {
    "none": None,
    "simple": None,
    "first": _first,
    "average": _average,
    "max": _strongest,
}


def token_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """For each text a list of ``{"entity", "score", "index", "word", "start", "end"}``, or of entity groups.

    Options: `aggregation_strategy` (see `STRATEGIES`) and `ignore_labels` (``["O"]``).
    """
    strategy = str(getattr(options.get("aggregation_strategy"), "value", options.get("aggregation_strategy") or "none"))
    if strategy.lower() not in STRATEGIES:
        raise OptionError(f"aggregation_strategy={printable(strategy)!r} is unknown. There are: {listing(STRATEGIES)}.")
    ignored = set(options["ignore_labels"] if options.get("ignore_labels") is not None else ["O"])
    outputs = []
    for part in batches(inputs, options.get("batch_size")):
        words = bundle.text.encode(part)
        logits = bundle.graph.logits(bundle.graph.words(words))
        for row, text in enumerate(part):
            scores = softmax(logits[row][words.mask[row] == 1])
            found = _entities(bundle, _tokens(bundle, text, words.encodings[row], scores), strategy.lower())
            outputs.append([e for e in found if e.get("entity", e.get("entity_group")) not in ignored])
    return outputs


def _tokens(bundle: Bundle, text: str, encoding: Any, scores: Any) -> list[_Token]:
    """Return the tokens of one text without those that frame it."""
    prefix = getattr(bundle.text.tokenizer.model, "continuing_subword_prefix", None)
    unknown = bundle.text.token_id("unk_token")
    tokens = []
    for index, special in enumerate(encoding.special_tokens_mask):
        if special:
            continue
        word, (start, end) = encoding.tokens[index], encoding.offsets[index]
        if prefix:
            inside = len(word) != end - start
        else:
            inside = start > 0 and " " not in text[start - 1 : start + 1]
        if encoding.ids[index] == unknown:
            word, inside = text[start:end], False
        tokens.append(_Token(index, word, start, end, scores[index], inside))
    return tokens


def _entities(bundle: Bundle, tokens: Sequence[_Token], strategy: str) -> list[dict[str, Any]]:
    settle = STRATEGIES[strategy]
    if settle is None:
        labelled = [_labelled(bundle, [t], t.scores, t.word) | {"index": t.index} for t in tokens]
        if strategy == "none":
            order = ("entity", "score", "index", "word", "start", "end")
            return [{key: entity[key] for key in order} for entity in labelled]
    else:
        labelled = [
            _labelled(bundle, word, settle(word), bundle.text.join([t.word for t in word])) for word in _words(tokens)
        ]
    return [_group(bundle, run) for run in _runs(labelled)]


def _labelled(bundle: Bundle, tokens: Sequence[_Token], scores: Any, word: str) -> dict[str, Any]:
    best = int(scores.argmax())
    return {
        "entity": bundle.label(best),
        "score": float(scores[best]),
        "word": word,
        "start": tokens[0].start,
        "end": tokens[-1].end,
    }


def _words(tokens: Sequence[_Token]) -> list[list[_Token]]:
    words: list[list[_Token]] = []
    for token in tokens:
        if words and token.inside_word:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _runs(entities: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return neighbours of one label together; ``B-`` starts anew."""
    runs: list[list[dict[str, Any]]] = []
    for entity in entities:
        begins, name = _tag(entity["entity"])
        if runs and not begins and name == _tag(runs[-1][-1]["entity"])[1]:
            runs[-1].append(entity)
        else:
            runs.append([entity])
    return runs


def _tag(label: str) -> tuple[bool, str]:
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _group(bundle: Bundle, run: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import numpy as np

    return {
        "entity_group": run[0]["entity"].split("-", 1)[-1],
        "score": float(np.mean([entity["score"] for entity in run])),
        "word": bundle.text.join([entity["word"] for entity in run]),
        "start": run[0]["start"],
        "end": run[-1]["end"],
    }
