"""Step 6 of 6, transformers: the tasks whose input is an image and a text, or a chat with both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.inputs import messages, rgb
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, same

__all__ = ["answer_image", "caption", "converse"]

#: Options of a chat, as opposed to those of `generate()`.
_OWN = ("return_full_text", "continue_final_message", "skip_special_tokens", "tools", "stop_sequence", "prompt")


def caption(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Say what an image shows; `prompt` gives the beginning where the model takes one."""
    prompt = options.get("prompt")
    processor = session.optional("processor")
    if getattr(processor, "chat_template", None):
        text = [{"type": "text", "text": prompt}] if prompt else []
        chats = [[{"role": "user", "content": [{"type": "image", "image": rgb(item)}, *text]}] for item in items]
        return converse(session, [{"messages": chat, "plain": True} for chat in chats], options)
    if prompt and processor is None:
        raise OptionError("image-to-text: this model takes no prompt")
    encode = processor if processor is not None else session.part("image_processor")
    tokenizer = session.part("tokenizer")
    keywords = session.generation({k: v for k, v in options.items() if k not in _OWN})
    natives: list[Any] = []
    for batch in chunks(items, session.batch_size):
        texts = {"text": [prompt] * len(batch)} if prompt else {}
        inputs = encode(images=[rgb(item) for item in batch], return_tensors="pt", **texts)
        inputs = {k: v for k, v in inputs.items() if texts or not k.startswith(("input_ids", "attention_mask"))}
        tokens = session.model.generate(**_placed(session, inputs), **keywords)
        natives += tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return natives, lambda native, _item: {"generated_text": native.strip()}


def answer_image(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer a question about an image: ranked labels from a classifier (ViLT), one text from a generator (BLIP)."""
    processor = session.part("processor")
    if getattr(processor, "chat_template", None):
        return _answer_by_chat(session, items, options)
    if hasattr(session.model, "generate"):
        keywords = session.generation({k: v for k, v in options.items() if k != "top_k"})
        natives = []
        for item in items:
            inputs = processor(images=rgb(item["image"]), text=item["question"], return_tensors="pt")
            tokens = session.model.generate(**_placed(session, inputs), **keywords)
            natives.append(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip())
        return natives, lambda native, _item: [{"answer": native}]
    many, labels = options.get("top_k") or 5, session.model.config.id2label
    logits = []
    for item in items:
        inputs = processor(images=rgb(item["image"]), text=item["question"], return_tensors="pt", truncation=True)
        logits.append(session.model(**_placed(session, inputs)).logits[0].float())

    def convert(native: Any, _item: Any) -> Any:
        best = native.sigmoid().topk(min(many, len(labels)))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [{"answer": str(labels[i]), "score": score} for score, i in pairs]

    return logits, convert


def _answer_by_chat(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    asked = [{"image": rgb(item["image"]), "text": item["question"]} for item in items]
    natives, convert = converse(session, asked, {k: v for k, v in options.items() if k != "top_k"})
    return natives, lambda native, item: [{"answer": convert(native, item)["generated_text"].strip()}]


def converse(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Continue a chat with images, or answer one text about one image.

    A chat comes back with the answer as its last message, a text as the answer alone; `return_full_text` settles it
    either way.
    """
    own = {k: options[k] for k in _OWN if k in options and k != "prompt"}
    keywords = session.generation({k: v for k, v in options.items() if k not in _OWN})
    asks = [_asked(session, item) for item in items]
    run = _by_pipe if session.row.pipeline == "ImageTextToTextPipeline" else _by_processor
    natives = [run(session, chat, plain, own, keywords) for chat, plain in asks]
    return natives, lambda native, _item: {"generated_text": same(native[0]["generated_text"], None)}


def _asked(session: Session, item: Any) -> tuple[list[dict[str, Any]], bool]:
    """Return the chat in one input, and whether the caller gave a plain text rather than a chat."""
    ears = getattr(session.part("processor"), "feature_extractor", None)
    chat = messages(item, getattr(ears, "sampling_rate", None))
    if chat is not None:
        return chat, bool(isinstance(item, Mapping) and item.get("plain"))
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, Mapping) or not (item.get("text") or item.get("image")):
        raise OptionError(f"{session.task} takes a chat, or {{'image': ..., 'text': str}}")
    images = item.get("image")
    pictures = images if isinstance(images, list | tuple) else [] if images is None else [images]
    content: list[dict[str, Any]] = [{"type": "image", "image": rgb(picture)} for picture in pictures]
    content += [{"type": "text", "text": item["text"]}] if item.get("text") else []
    return [{"role": "user", "content": content}], True


def _by_pipe(
    session: Session, chat: list[dict[str, Any]], plain: bool, own: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Any:
    said = {"return_full_text": not plain, **own}
    return session.pipe()(text=chat, generate_kwargs=dict(keywords), **said)


def _by_processor(
    session: Session, chat: list[dict[str, Any]], plain: bool, own: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Any:
    """Run the same without a pipeline: that of any-to-any insists on torchvision."""
    processor = session.part("processor")
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    tokens = session.model.generate(**_placed(session, inputs), **keywords)
    new = tokens[:, inputs["input_ids"].shape[-1] :]
    text = processor.batch_decode(new, skip_special_tokens=own.get("skip_special_tokens", True))[0]
    full = own.get("return_full_text", not plain)
    return [{"generated_text": [*chat, {"role": "assistant", "content": text}] if full else text}]


def _placed(session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `inputs` where the model is; floats in its dtype."""
    return {
        k: v.to(session.device, dtype=session.model.dtype) if v.is_floating_point() else v.to(session.device)
        for k, v in inputs.items()
        if hasattr(v, "is_floating_point")
    }
