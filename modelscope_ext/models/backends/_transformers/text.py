"""Step 6 of 6, transformers: the tasks whose input is text, a table or a series of numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError, UnknownTypeError
from modelscope_ext.models.backends._transformers.inputs import labels_of
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, same, takes
from modelscope_ext.models.backends._transformers.weights import check_cross_encoder
from modelscope_ext.utils.text import listing, printable

__all__ = [
    "activation",
    "choose",
    "classify",
    "features",
    "fill",
    "forecast",
    "generate",
    "rank",
    "stream",
    "tag",
    "zero_shot",
]

#: `sentence_transformers.activation_fn` of a cross-encoder's config.json -> what is applied to its score.
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "none",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.Identity": "none",
    "torch.nn.Sigmoid": "sigmoid",
}


def classify(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give a text, or a pair of texts, the label it gets; with `top_k` a list of labels."""
    natives = session.run(items, **options)
    many = "top_k" in options
    return natives, lambda native, _item: same(native if many or isinstance(native, dict) else native[0], None)


def tag(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give every token of a text a label; `aggregation_strategy` joins them to entities."""
    return session.run(items, **options), same


def fill(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the likeliest tokens for the mask; a list of lists where there are several masks."""
    return session.run(items, **options), same


def zero_shot(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give labels that the caller names their scores, by asking the model what follows from the text."""
    labels = labels_of(session.task, options)
    rest = {k: v for k, v in options.items() if k != "candidate_labels"}
    return session.run(items, candidate_labels=labels, **rest), same


def features(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the last hidden state of every token, [tokens, width], without padding."""
    tokenizer = session.part("tokenizer")
    padded = tokenizer.pad_token_id is not None
    out: list[Any] = []
    for batch in chunks(items, session.batch_size if padded else 1):
        inputs = tokenizer(list(batch), return_tensors="pt", padding=padded and len(batch) > 1, **options)
        inputs = {k: v.to(session.device) for k, v in inputs.items() if k == "input_ids" or takes(session.model, k)}
        hidden = session.model(**inputs)[0]
        kept = inputs["attention_mask"].bool()
        out += [hidden[i][kept[i]].float().cpu().numpy() for i in range(len(batch))]
    return out, lambda native, _item: native


def generate(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Continue a text or a chat. Greedy unless the model's generation_config.json or the caller says otherwise."""
    keywords = session.generation(options)
    if len({isinstance(item, str) for item in items}) > 1:
        session.asked = 1  # a batch is all texts or all chats
    natives = session.run(items, **keywords)
    several = (options.get("num_return_sequences") or 1) > 1
    return natives, lambda native, _item: same(native if several else native[0], None)


def stream(session: Session, item: Any, options: dict[str, Any]) -> Iterator[str]:
    """Yield the new text piece by piece. The thread that generates ends with the iterator, whoever closes it first."""
    from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

    pipe = session.pipe()
    stop, failure = threading.Event(), []

    class Stopped(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            import torch

            return torch.full((input_ids.shape[0],), stop.is_set(), dtype=torch.bool, device=input_ids.device)

    keywords = session.generation({k: v for k, v in options.items() if k != "return_full_text"})
    for name, wrong in (("num_beams", 1), ("num_return_sequences", 1)):
        if (keywords.get(name) or wrong) != wrong:
            raise OptionError(f"{name}={keywords[name]} cannot be streamed: there is more than one text at a time")
    skip = keywords.get("skip_special_tokens", True)
    streamer = TextIteratorStreamer(pipe.tokenizer, skip_prompt=True, skip_special_tokens=skip)

    def work() -> None:
        import torch

        from modelscope_ext.models.backends._transformers.quiet import quiet
        from modelscope_ext.models.backends._transformers.run import seeded, told

        seed = keywords.pop("seed", None)
        try:
            with quiet(), torch.inference_mode(), told(session), seeded(seed, session.device):
                pipe(item, streamer=streamer, stopping_criteria=StoppingCriteriaList([Stopped()]), **keywords)
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            failure.append(error)
        finally:
            streamer.end() if not failure else streamer.text_queue.put(streamer.stop_signal)

    thread = threading.Thread(target=work, name="text-generation", daemon=True)
    thread.start()
    try:
        yield from (piece for piece in streamer if piece)
    finally:
        stop.set()
        thread.join()
    if failure:
        raise failure[0]


def rank(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Rank documents for a query with a cross-encoder: a classifier with one label that reads both at once."""
    config = session.model.config
    check_cross_encoder(config)
    apply, tokenizer = activation(config, options), session.part("tokenizer")
    length = options.get("max_length")
    size = (session.asked or 32) if None not in (tokenizer.pad_token_id, config.pad_token_id) else 1
    out: list[Any] = []
    for item in items:
        documents, scores = item["documents"], []
        for batch in chunks(documents, size):
            pairs = tokenizer(
                [item["query"]] * len(batch),
                list(batch),
                return_tensors="pt",
                padding=len(batch) > 1,
                truncation=True,
                max_length=length,
            ).to(session.device)
            logits = session.model(**pairs).logits[:, 0].float()
            scores += (logits.sigmoid() if apply == "sigmoid" else logits).tolist()
        ranked = sorted(range(len(documents)), key=lambda i: -scores[i])[: options.get("top_k")]
        out.append([{"index": i, "score": scores[i], "document": documents[i]} for i in ranked])
    return out, lambda native, _item: native


def activation(config: Any, options: Mapping[str, Any]) -> str:
    """Return what is applied to a cross-encoder's score: ``"sigmoid"`` or ``"none"``."""
    named = (getattr(config, "sentence_transformers", None) or {}).get("activation_fn")
    if named is not None and named not in _ACTIVATIONS:
        raise UnknownTypeError(
            f"config.json: sentence_transformers.activation_fn names {printable(repr(named))} (nothing was imported). "
            f"Known: {listing(_ACTIVATIONS)}.",
            file="config.json",
            field="sentence_transformers.activation_fn",
        )
    apply = options.get("function_to_apply") or _ACTIVATIONS.get(str(named), "sigmoid")
    if apply not in ("sigmoid", "none"):
        raise OptionError(f"function_to_apply={printable(repr(apply))}: expected 'sigmoid' or 'none'")
    return str(apply)


def choose(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Rank the answers to a prompt: one input is ``{"prompt": str, "choices": [str, ...]}``."""
    tokenizer, out = session.part("tokenizer"), []
    for item in items:
        choices = list(item["choices"])
        pairs = tokenizer(
            [item["prompt"]] * len(choices),
            choices,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=options.get("max_length"),
        )
        inputs = {k: v.unsqueeze(0).to(session.device) for k, v in pairs.items()}
        scores = session.model(**inputs).logits[0].float().softmax(-1).tolist()
        ranked = sorted(range(len(choices)), key=lambda i: -scores[i])
        out.append([{"index": i, "score": scores[i], "choice": choices[i]} for i in ranked])
    return out, lambda native, _item: native


def forecast(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the mean forecast for a series of numbers, as far ahead as the model looks."""
    import torch

    out = []
    for item in items:
        series = torch.as_tensor(item, dtype=session.model.dtype, device=session.device)
        frequency = {"freq": [options.get("frequency", 0)]} if takes(session.model, "freq") else {}
        out.append(session.model(past_values=[series], **frequency))
    return out, lambda native, _item: native.mean_predictions[0].float().cpu().numpy()
