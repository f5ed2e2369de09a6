"""Step 6 of 6, transformers: text from text by encoder-decoders; only their pipelines are gone from transformers 5.

As the pipelines did, `task_specific_params` of config.json gives the prompt's prefix and the generation's defaults.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks

__all__ = ["summarize", "text_to_text", "translate"]


def text_to_text(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer a text with a text."""
    return _generated(session, items, options, session.part("tokenizer"), "generated_text")


def summarize(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Shorten a text."""
    said = {**_params(session, "summarization"), **options}
    return _generated(session, items, said, session.part("tokenizer"), "summary_text")


def translate(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Translate a text; models of many languages need `src_lang` and `tgt_lang`."""
    source, target = options.get("src_lang"), options.get("tgt_lang")
    rest = {k: v for k, v in options.items() if k not in ("src_lang", "tgt_lang")}
    tokenizer = session.part("tokenizer")
    said = {**_params(session, "translation"), **_params(session, f"translation_{source}_to_{target}"), **rest}
    if (source or target) and hasattr(tokenizer, "src_lang"):
        tokenizer = copy.copy(tokenizer)
        tokenizer.src_lang = source or tokenizer.src_lang
        if target is not None:
            said["forced_bos_token_id"] = _language(tokenizer, target)
    elif (source or target) and not _params(session, f"translation_{source}_to_{target}"):
        raise OptionError("this model translates one pair of languages: leave out src_lang and tgt_lang")
    return _generated(session, items, said, tokenizer, "translation_text")


def _params(session: Session, task: str) -> dict[str, Any]:
    table = getattr(session.model.config, "task_specific_params", None) or {}
    found = table.get(task) if isinstance(table, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _language(tokenizer: Any, name: str) -> int:
    if hasattr(tokenizer, "get_lang_id"):
        return int(tokenizer.get_lang_id(name))
    token = tokenizer.convert_tokens_to_ids(name)
    if token is None or token == tokenizer.unk_token_id:
        raise OptionError(f"tgt_lang={name!r} is no language of this tokenizer")
    return int(token)


def _generated(session: Session, items: Sequence[Any], options: Mapping[str, Any], tokenizer: Any, key: str) -> Outcome:
    own = ("truncation", "clean_up_tokenization_spaces", "prefix")
    keywords = session.generation({k: v for k, v in options.items() if k not in own})
    count, prefix, texts = keywords.get("num_return_sequences") or 1, options.get("prefix") or "", []
    for batch in chunks(items, session.batch_size):
        inputs = tokenizer(
            [prefix + text for text in batch],
            return_tensors="pt",
            padding=len(batch) > 1,
            truncation=options.get("truncation", False),
        ).to(session.device)
        inputs.pop("token_type_ids", None)
        tokens = session.model.generate(**inputs, **keywords)
        texts += tokenizer.batch_decode(
            tokens,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=options.get("clean_up_tokenization_spaces"),
        )
    natives = [[{key: text} for text in group] for group in chunks(texts, count)]
    return natives, lambda native, _item: native if count > 1 else native[0]
