"""Step 6 of 6, transformers: questions about a text, a table or a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.inputs import need, rgb
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, same

__all__ = ["answer", "answer_document", "answer_table"]


def answer(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Find the words of a context that answer a question; with `top_k` a list of answers.

    transformers 5 has no pipeline for it. As its pipeline did, a long context is read in overlapping windows
    (`max_seq_len`, `doc_stride` tokens), an answer has at most `max_answer_len` tokens, and it begins and
    ends where words do.
    """
    many = options.get("top_k")
    out = []
    for item in items:
        found = _answers(session, item["question"], item["context"], options)
        out.append(found if many is not None else found[0])
    return out, lambda native, _item: native


def _answers(session: Session, question: str, context: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    tokenizer = session.part("tokenizer")
    if not getattr(tokenizer, "is_fast", False):
        raise OptionError(
            "question-answering needs a fast tokenizer (tokenizer.json): only it knows the places of words"
        )
    windows = _windows(tokenizer, question, context, options)
    none, best = 1.0, []
    for start, end, places, impossible in _scored(session, windows, options):
        none = min(none, impossible)
        best += [(float(start[i] * end[j]), *places(i, j)) for i, j in _spans(start, end, options)]
    if options.get("handle_impossible_answer"):
        best.append((none, 0, 0))
    merged: dict[tuple[int, int], float] = {}
    for score, first, last in best:
        merged[first, last] = max(merged.get((first, last), 0.0), score)
    ranked = sorted(merged.items(), key=lambda found: -found[1])[: options.get("top_k") or 1]
    if not ranked:
        raise OptionError("question-answering: the context is empty")
    return [{"score": score, "start": a, "end": b, "answer": context[a:b]} for (a, b), score in ranked]


def _windows(tokenizer: Any, question: str, context: str, options: dict[str, Any]) -> Any:
    longest = options.get("max_seq_len") or min(tokenizer.model_max_length, 384)
    return tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=longest,
        stride=options.get("doc_stride") or min(longest // 2, 128),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="longest",
        return_tensors="pt",
    )


def _scored(session: Session, windows: Any, options: dict[str, Any]) -> Any:
    """Yield for each window the chances of each token to begin and to end the answer, and how to find its place."""
    import numpy as np

    known = set(session.part("tokenizer").model_input_names)
    inputs = {k: v for k, v in windows.items() if k in known}
    count = len(windows["input_ids"])
    for batch in chunks(range(count), session.batch_size):
        output = session.model(**{k: v[batch[0] : batch[-1] + 1].to(session.device) for k, v in inputs.items()})
        for row, window in enumerate(batch):
            context = np.array([part == 1 for part in windows.sequence_ids(window)])
            logits = [t[row].float().cpu().numpy() for t in (output.start_logits, output.end_logits)]
            # The first token stands for "no answer" and takes part in the weighing, as it did in training.
            takes = context.copy()
            takes[0] = True
            start, end = (_softmax(np.where(takes[: len(x)], x, -10000.0)) for x in logits)
            impossible = float(start[0] * end[0])
            start[0] = end[0] = 0.0
            yield np.where(context, start, 0), np.where(context, end, 0), _placer(windows, window), impossible


def _softmax(values: Any) -> Any:
    import numpy as np

    powers = np.exp(values - values.max())
    return powers / powers.sum()


def _placer(windows: Any, window: int) -> Any:
    """Return a function of two token numbers that gives the characters of the words they stand in."""

    def place(first: int, last: int) -> tuple[int, int]:
        a, b = windows.token_to_word(window, first), windows.token_to_word(window, last)
        if a is None or b is None:
            offsets = windows["offset_mapping"][window]
            return int(offsets[first][0]), int(offsets[last][1])
        start = windows.word_to_chars(window, a, sequence_index=1).start
        return start, windows.word_to_chars(window, b, sequence_index=1).end

    return place


def _spans(start: Any, end: Any, options: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the likeliest pairs of first and last token."""
    import numpy as np

    longest = options.get("max_answer_len") or 15
    chances = np.tril(np.triu(np.outer(start, end)), longest - 1).ravel()
    count = min(max(options.get("top_k") or 1, 1), int((chances > 0).sum()))
    order = np.argsort(-chances, kind="stable")[:count]
    return [divmod(int(i), len(end)) for i in order]


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
