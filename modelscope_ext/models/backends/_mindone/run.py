"""Step 6 of 6, mindone: what differs from transformers in PyTorch when a task runs: pipelines, tensors, seeds.

The runners of `_transformers` whose work is the library's pipelines are shared; `MindSession` gives them mindone's
pipelines of the same names. Those that compute themselves are here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from modelscope_ext.models.backends._answers import Window, best_answers
from modelscope_ext.models.backends._mindone.tasks import ROWS
from modelscope_ext.models.backends._transformers.parts import kind_of
from modelscope_ext.models.backends._transformers.qa import in_windows, placer
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, own_tokenizer, same
from modelscope_ext.models.backends._transformers.tasks import Row
from modelscope_ext.models.backends._transformers.text import activation
from modelscope_ext.models.backends._transformers.text import zero_shot as shared_zero_shot
from modelscope_ext.models.backends._transformers.weights import check_cross_encoder

__all__ = ["MindSession", "answer", "features", "generate", "rank", "seeded", "zero_shot"]


#: Architectures of which mindone 0.5.0 cannot generate with a cache of keys and values.
_WITHOUT_CACHE = frozenset(("gpt2",))


@dataclass
class MindSession(Session):
    """One call of a model of mindone."""

    @property
    def row(self) -> Row:
        """The task's row in mindone's table."""
        return ROWS[self.task]

    @property
    def device(self) -> Any:
        """Where inputs have to go: nowhere, MindSpore has one device."""
        return self.loaded.device

    def _make_pipe(self) -> Any:
        cls = getattr(import_module("mindone.transformers.pipelines"), self.row.pipeline or "")
        parts = {}
        for kind in self.row.parts:
            part = self.part(kind)
            parts[kind_of(part) or kind] = part
        if "tokenizer" in parts:
            parts["tokenizer"] = own = own_tokenizer(parts["tokenizer"])
            own.model_input_names = [name for name in own.model_input_names if self._takes(name)]
        return cls(model=self.model, task=self.task, framework="ms", **parts)

    def _takes(self, name: str) -> bool:
        """Whether the model has an input of this name."""
        return name == "input_ids" or name in inspect.signature(self.model.construct).parameters

    def generation(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return keywords for `generate()`, without a cache of keys and values where mindone's own does not work."""
        said = super().generation(options)
        if getattr(self.model.config, "model_type", None) in _WITHOUT_CACHE:
            said.setdefault("use_cache", False)
        return said

    def _pads(self, pipe: Any) -> bool:
        """One input at a time: the batches of mindone's pipelines do not run (`pad_collate_fn`, mindone 0.5.0)."""
        return False

    def read(self, words: Mapping[str, Any]) -> Any:
        """Return the model's outputs for a tokenizer's arrays, of which it gets those that it takes."""
        import mindspore

        inputs = {k: mindspore.Tensor(v) for k, v in words.items() if self._takes(k)}
        return self.model(**inputs, return_dict=True)


def _numbers(value: Any) -> Any:
    return value.astype("float32").asnumpy()


def features(session: MindSession, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give the last hidden state of every token, [tokens, width], without padding."""
    tokenizer = session.part("tokenizer")
    padded = tokenizer.pad_token_id is not None
    out: list[Any] = []
    for batch in chunks(items, session.batch_size if padded else 1):
        words = tokenizer(list(batch), return_tensors="np", padding=padded and len(batch) > 1, **options)
        hidden = _numbers(session.read(words)[0])
        kept = words["attention_mask"].astype(bool)
        out += [hidden[i][kept[i]] for i in range(len(batch))]
    return out, lambda native, _item: native


def generate(session: MindSession, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Continue a text or a chat; a chat is written out here, because mindone's pipeline fails on it (0.5.0)."""
    keywords = session.generation(options)
    several = (options.get("num_return_sequences") or 1) > 1
    natives = [
        session.run([item], **keywords)[0] if isinstance(item, str) else _answered(session, item, keywords)
        for item in items
    ]
    return natives, lambda native, _item: same(native if several else native[0], None)


def _answered(session: MindSession, chat: list[dict[str, Any]], keywords: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a chat's answers as transformers' pipeline gives them: the whole chat, or the new text alone."""
    rest = dict(keywords)
    goes_on, whole = rest.pop("continue_final_message", None), rest.pop("return_full_text", None)
    goes_on = chat[-1]["role"] == "assistant" if goes_on is None else goes_on
    template = {name: rest.pop(name) for name in ("tools", "documents") if name in rest}
    text = session.part("tokenizer").apply_chat_template(
        chat, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on, **template
    )
    found = session.run([text], return_full_text=False, **{**rest, "add_special_tokens": False})[0]
    if whole is False:
        return list(found)
    out = []
    for one in found:
        new = one["generated_text"]
        last = {**chat[-1], "content": chat[-1]["content"] + new} if goes_on else {"role": "assistant", "content": new}
        out.append({"generated_text": [*(chat[:-1] if goes_on else chat), last]})
    return out


def rank(session: MindSession, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Rank documents for a query with a cross-encoder: a classifier with one label that reads both at once."""
    import numpy as np

    config = session.model.config
    check_cross_encoder(config)
    apply, tokenizer = activation(config, options), session.part("tokenizer")
    size = (session.asked or 32) if None not in (tokenizer.pad_token_id, config.pad_token_id) else 1
    out: list[Any] = []
    for item in items:
        documents, scores = item["documents"], []
        for batch in chunks(documents, size):
            queries = [item["query"]] * len(batch)
            more = {"padding": len(batch) > 1, "truncation": True, "max_length": options.get("max_length")}
            logits = _numbers(session.read(tokenizer(queries, list(batch), return_tensors="np", **more)).logits)[:, 0]
            scores += (1 / (1 + np.exp(-logits)) if apply == "sigmoid" else logits).tolist()
        ranked = sorted(range(len(documents)), key=lambda i: -scores[i])[: options.get("top_k")]
        out.append([{"index": i, "score": scores[i], "document": documents[i]} for i in ranked])
    return out, lambda native, _item: native


def answer(session: MindSession, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer a question by words of its context; see `_transformers.qa.answer`."""
    many = options.get("top_k")
    out: list[Any] = []
    for item in items:
        found = best_answers(_windows(session, item, options), item["context"], options)
        out.append(found if many is not None else found[0])
    return out, lambda native, _item: native


def _windows(session: MindSession, item: Any, options: dict[str, Any]) -> Iterator[Window]:
    import numpy as np

    words, inputs = in_windows(session, item, options, "np")
    for batch in chunks(range(len(words["input_ids"])), session.batch_size):
        output = session.read({k: v[batch[0] : batch[-1] + 1] for k, v in inputs.items()})
        starts, ends = _numbers(output.start_logits), _numbers(output.end_logits)
        for row, number in enumerate(batch):
            context = np.array([part == 1 for part in words.sequence_ids(number)])
            yield Window(starts[row], ends[row], context, placer(words, number))


def zero_shot(session: MindSession, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Give labels that the caller names their scores; mindone's pipeline returns the words as tensors."""
    natives, convert = shared_zero_shot(session, items, options)
    return natives, lambda native, item: _spelt(convert(native, item))


def _spelt(value: Any) -> Any:
    """Return an answer with tensors of text as text."""
    if isinstance(value, Mapping):
        return {name: _spelt(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_spelt(one) for one in value]
    return str(value.asnumpy()) if hasattr(value, "asnumpy") else value


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Set MindSpore's random numbers for the block and put them back afterwards; None changes nothing."""
    if seed is None:
        yield
        return
    import mindspore

    state = mindspore.get_rng_state()
    mindspore.manual_seed(seed)
    try:
        yield
    finally:
        mindspore.set_rng_state(state)
