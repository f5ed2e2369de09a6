"""Step 6 of 6, transformers: questions about a text, a table or a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._answers import Window, best_answers, window_size
from modelscope_ext.models.backends._transformers.inputs import need, rgb
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, same

__all__ = ["answer", "answer_document", "answer_table", "in_windows", "placer"]


def answer(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Find the words of a context that answer a question; with `top_k` a list of answers.

    transformers 5 has no pipeline for it. As its pipeline did, a long context is read in overlapping windows
    (`max_seq_len`, `doc_stride` tokens), an answer has at most `max_answer_len` tokens, and it begins and
    ends where words do.
    """
    many = options.get("top_k")
    out: list[Any] = []
    for item in items:
        found = best_answers(_windows(session, item, options), item["context"], options)
        out.append(found if many is not None else found[0])
    return out, lambda native, _item: native


def in_windows(session: Session, item: Any, options: dict[str, Any], tensors: str) -> tuple[Any, dict[str, Any]]:
    """Return one question and its context as overlapping windows of tokens, and those of them that the model reads.

    Args:
        session: With a tokenizer.
        item: ``question`` and ``context``.
        options: `max_seq_len`, `doc_stride`.
        tensors: What they are made of: ``"pt"`` or ``"np"``.
    """
    tokenizer = session.part("tokenizer")
    if not getattr(tokenizer, "is_fast", False):
        raise OptionError(
            "question-answering needs a fast tokenizer (tokenizer.json): only it knows the places of words"
        )
    longest, stride = window_size(tokenizer.model_max_length, options)
    words = tokenizer(
        item["question"],
        item["context"],
        truncation="only_second",
        max_length=longest,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="longest",
        return_tensors=tensors,
    )
    return words, {k: v for k, v in words.items() if k in set(tokenizer.model_input_names)}


def _windows(session: Session, item: Any, options: dict[str, Any]) -> Iterator[Window]:
    """Yield the windows of one context, read by the model."""
    import numpy as np

    words, inputs = in_windows(session, item, options, "pt")
    for batch in chunks(range(len(words["input_ids"])), session.batch_size):
        output = session.model(**{k: v[batch[0] : batch[-1] + 1].to(session.device) for k, v in inputs.items()})
        for row, number in enumerate(batch):
            context = np.array([part == 1 for part in words.sequence_ids(number)])
            start, end = (t[row].float().cpu().numpy() for t in (output.start_logits, output.end_logits))
            yield Window(start, end, context, placer(words, number))


def placer(windows: Any, window: int) -> Any:
    """Return a function of two token numbers that gives the characters of the words they stand in."""

    def place(first: int, last: int) -> tuple[int, int]:
        a, b = windows.token_to_word(window, first), windows.token_to_word(window, last)
        if a is None or b is None:
            offsets = windows["offset_mapping"][window]
            return int(offsets[first][0]), int(offsets[last][1])
        start = windows.word_to_chars(window, a, sequence_index=1).start
        return start, windows.word_to_chars(window, b, sequence_index=1).end

    return place


def answer_table(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer a question about a table: the answer and the cells it rests on."""
    pandas = need("pandas", session.task)
    out = []
    for item in items:
        table = item["table"]
        frame = table if hasattr(table, "columns") else pandas.DataFrame(table)
        out.append(session.pipe()({"table": frame.astype(str), "query": item["query"]}, **options))
    return out, lambda native, _item: same(native, None)


def answer_document(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer a question about the image of a document.

    Models of the LayoutLM family read words and their boxes: give them as `word_boxes`, or have Tesseract installed.
    """
    keywords = session.generation(options) if hasattr(session.model.config, "decoder") else dict(options)
    out = []
    for item in items:
        question = {**item, "image": rgb(item["image"])}
        layout = not hasattr(session.model.config, "decoder")
        if layout and item.get("word_boxes") is None:
            need("pytesseract", "document-question-answering without word_boxes")
        out.append(session.pipe()(question, **keywords))
    return out, lambda native, _item: [same(a, None) for a in (native if isinstance(native, list) else [native])]
