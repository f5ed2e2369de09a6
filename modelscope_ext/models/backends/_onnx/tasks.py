"""Tasks of the ONNX backend whose answer is a score: labels, fillings, rankings.

Each function takes the bundle, the inputs and the call's options, and returns one output per input in the schema of the
task. Functions, orders and defaults are those of transformers' pipelines (text-ranking: of sentence-transformers'
CrossEncoder).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError, UnknownTypeError
from modelscope_ext.models.backends._onnx.scores import FUNCTIONS, function_for, labelled, sigmoid, softmax
from modelscope_ext.models.backends._onnx.session import Bundle, batches
from modelscope_ext.utils.text import listing, printable

__all__ = [
    "fill_mask",
    "text_classification",
    "text_ranking",
    "zero_shot_classification",
]

#: Classes a cross-encoder's config may name for its scores; nothing outside this table is ever looked up.
ACTIVATIONS: Mapping[str, str] = {
    "torch.nn.modules.linear.Identity": "none",
    "torch.nn.Identity": "none",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.Tanh": "tanh",
}

_SETTINGS = "config_sentence_transformers.json"
_OLD_KEY = "sbert_ce_default_activation_function"


def _pair(item: Any) -> Any:
    """Return a text, or two of them, as the tokenizer takes them."""
    if isinstance(item, Mapping):
        return (item["text"], item["text_pair"]) if item.get("text_pair") is not None else item["text"]
    return tuple(item) if isinstance(item, list) else item


def _rows(bundle: Bundle, texts: Sequence[Any], size: int | None, cut: str = "longest_first") -> Iterator[Any]:
    """Yield the logits of each text, float32."""
    for part in batches(texts, size):
        yield from bundle.graph.logits(bundle.graph.words(bundle.text.encode(part, cut=cut)))


def text_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"label", "score"}`` per text; a list of them, best first, where `top_k` is given (None: all)."""
    outputs: list[Any] = []
    for logits in _rows(bundle, [_pair(item) for item in inputs], options.get("batch_size")):
        scores = function_for(bundle, len(logits), options.get("function_to_apply"))(logits)
        found = labelled(bundle, scores, options.get("top_k", 1))
        outputs.append(found if "top_k" in options else found[0])
    return outputs


def zero_shot_classification(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One ``{"sequence", "labels", "scores"}`` per text: each label is put to the model as a hypothesis."""
    import numpy as np

    entailment = _entailment(bundle)
    outputs = []
    for item in inputs:
        own = item if isinstance(item, Mapping) else {}
        sequence = own.get("sequence", own.get("text")) if own else item
        labels = _candidates(own.get("candidate_labels", options.get("candidate_labels")))
        template = options.get("hypothesis_template") or "This example is {}."
        if template.format(labels[0]) == template:
            raise OptionError(f"hypothesis_template={printable(template)!r} needs a {{}} where the label goes.")
        pairs = [(sequence, template.format(label)) for label in labels]
        logits = np.stack(list(_rows(bundle, pairs, options.get("batch_size"), "only_first")))
        if options.get("multi_label") or len(labels) == 1:
            against = -1 if entailment == 0 else 0
            scores = softmax(logits[:, [against, entailment]])[:, 1]
        else:
            scores = softmax(logits[:, entailment])
        order = scores.argsort()[::-1]
        outputs.append(
            {"sequence": sequence, "labels": [labels[i] for i in order], "scores": [float(scores[i]) for i in order]}
        )
    return outputs


def _entailment(bundle: Bundle) -> int:
    found = [i for i, name in bundle._labels.items() if name.lower().startswith("entail")]
    if not found:
        raise OptionError(
            "config.json: id2label has no label that starts with 'entail', so this is not an NLI model and cannot do "
            f"zero-shot-classification. Its labels: {listing(bundle._labels.values())}."
        )
    return found[0]


def _candidates(labels: Any) -> list[str]:
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    if not labels or not all(isinstance(label, str) for label in labels):
        raise OptionError(
            'zero-shot-classification needs candidate_labels, e.g. candidate_labels=["sport", "politics"].'
        )
    return list(labels)


def text_ranking(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """For each ``{"query", "documents"}`` a list of ``{"index", "score", "document"}``, best first."""
    outputs = []
    for item in inputs:
        documents = list(item["documents"])
        pairs = [(item["query"], document) for document in documents]
        rows = list(_rows(bundle, pairs, options.get("batch_size")))
        if rows and len(rows[0]) != 1:
            raise OptionError(
                f"The model gives {len(rows[0])} scores for a pair of texts; text-ranking needs a cross-encoder with "
                'one. For classes of pairs use task="text-classification".'
            )
        scores = [float(_ranking_function(bundle)(row)[0]) for row in rows]
        order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)[: options.get("top_k")]
        outputs.append([{"index": i, "score": scores[i], "document": documents[i]} for i in order])
    return outputs


def _ranking_function(bundle: Bundle) -> Callable[[Any], Any]:
    """Return the function that the cross-encoder's files name, out of a closed table; a sigmoid by default."""
    own = bundle.config.get("sentence_transformers")
    settings = bundle.document(_SETTINGS)
    named = (
        (_SETTINGS, "activation_fn", settings.get("activation_fn")),
        (
            "config.json",
            "sentence_transformers.activation_fn",
            own.get("activation_fn") if isinstance(own, Mapping) else None,
        ),
        ("config.json", _OLD_KEY, bundle.config.get(_OLD_KEY)),
    )
    for file, field, said in named:
        if said is None:
            continue
        if not isinstance(said, str) or said not in ACTIVATIONS:
            raise UnknownTypeError(
                f"{file}: {field} is {printable(said)}. Nothing was imported. Known are: {listing(ACTIVATIONS)}.",
                file=file,
                field=field,
            )
        return FUNCTIONS[ACTIVATIONS[said]]
    return sigmoid


def fill_mask(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """The best fillings of each text's mask, five unless `top_k` says otherwise; a list for each of several masks."""
    import numpy as np

    mask = bundle.text.token_id("mask_token")
    if mask is None:
        raise OptionError("tokenizer_config.json names no mask_token, so the model cannot do fill-mask.")
    targets = _target_ids(bundle, options.get("targets"))
    top = options.get("top_k") or 5
    outputs: list[Any] = []
    for part in batches(inputs, options.get("batch_size")):
        words = bundle.text.encode(part)
        found = bundle.graph.logits(bundle.graph.words(words))
        for row, text in enumerate(part):
            tokens = words.ids[row][words.mask[row] == 1]
            places = np.flatnonzero(tokens == mask)
            if not len(places):
                shown = printable(bundle.text.tokenizer.id_to_token(mask))
                raise OptionError(f"fill-mask: no {shown} in {printable(text)!r}. Put one where the word is missing.")
            logits = found[row][words.mask[row] == 1]
            fillings = [
                _fillings(bundle, tokens, p, logits[p], targets, top, len(places) == 1) for p in map(int, places)
            ]
            outputs.append(fillings[0] if len(places) == 1 else fillings)
    return outputs


def _fillings(
    bundle: Bundle, tokens: Any, place: int, logits: Any, targets: Sequence[int] | None, top: int, single: bool
) -> list[dict[str, Any]]:
    scores = softmax(logits)
    known = list(targets) if targets is not None else list(range(len(scores)))
    order = (-scores[known]).argsort(kind="stable")[:top]
    outputs = []
    for token in (known[i] for i in order):
        filled = tokens.copy()
        filled[place] = token
        filled = filled[filled != bundle.text.pad]
        outputs.append(
            {
                "score": float(scores[token]),
                "token": int(token),
                "token_str": bundle.text.decode([token], skip_special=False),
                "sequence": bundle.text.decode(filled, skip_special=single),
            }
        )
    return outputs


def _target_ids(bundle: Bundle, targets: Any) -> list[int] | None:
    """Return the ids of the words the caller allows; a word of several tokens counts as its first."""
    if targets is None:
        return None
    found: list[int] = []
    for target in [targets] if isinstance(targets, str) else targets:
        token = bundle.text.tokenizer.token_to_id(target)
        if token is None:
            ids = bundle.text.tokenizer.encode(target, add_special_tokens=False).ids
            token = ids[0] if ids else None
        if token is not None and token not in found:
            found.append(token)
    if not found:
        raise OptionError(f"targets={printable(targets)}: none of them is in the vocabulary.")
    return found
