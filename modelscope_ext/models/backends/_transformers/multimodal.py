"""Step 6 of 6, transformers: the tasks whose input is an image and a text, or a chat with both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.inputs import frames, messages, rgb
from modelscope_ext.models.backends._transformers.run import Outcome, Session, chunks, same

__all__ = ["answer_image", "caption", "converse", "rank_pages"]

#: Options of a chat, as opposed to those of `generate()`.
_OWN = ("return_full_text", "continue_final_message", "skip_special_tokens", "tools", "stop_sequence", "prompt")
#: Options of a chat that shows videos: how many frames are looked at, and each how-manieth.
_FRAMES = ("num_frames", "frame_sampling_rate")


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


def rank_pages(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Rank the images of pages for a query by late interaction: each word's best match on the page, added up.

    Pages are scored one by one: the library pads pages of different lengths, and the padding may win.
    """
    processor = session.part("processor")
    natives = []
    for item in items:
        [query] = _vectors(session, processor.process_queries(text=[item["query"]], return_tensors="pt"))
        scores: list[float] = []
        for batch in chunks(item["documents"], session.batch_size):
            pages = processor.process_images(images=[rgb(page) for page in batch], return_tensors="pt")
            vectors = _vectors(session, pages)
            scores += [processor.score_retrieval([query], [page])[0, 0].item() for page in vectors]
        natives.append(scores)

    def convert(native: Any, _item: Any) -> Any:
        order = sorted(range(len(native)), key=lambda i: -native[i])[: options.get("top_k")]
        return [{"index": i, "score": native[i]} for i in order]

    return natives, convert


def _vectors(session: Session, inputs: Any) -> list[Any]:
    """Return the vectors of each text or page, float32 [tokens, width], without those of padding."""
    placed = {k: v for k, v in _placed(session, inputs).items() if k != "labels"}
    found = session.model(**placed).embeddings.float()
    return [vectors[mask.bool()] for vectors, mask in zip(found, placed["attention_mask"], strict=True)]


def converse(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Continue a chat with images or sounds, or answer one text about them.

    A chat comes back with the answer as its last message, a text as the answer alone; `return_full_text` settles it
    either way.
    """
    own = {k: options[k] for k in _OWN if k in options and k != "prompt"}
    keywords = session.generation({k: v for k, v in options.items() if k not in (*_OWN, *_FRAMES)})
    asks = [_asked(session, item, options) for item in items]
    run = _by_pipe if session.row.pipeline == "ImageTextToTextPipeline" else _by_processor
    natives = [run(session, chat, plain, own, keywords) for chat, plain in asks]
    return natives, lambda native, _item: {"generated_text": same(native[0]["generated_text"], None)}


def _asked(session: Session, item: Any, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Return the chat in one input, and whether the caller gave a plain text rather than a chat."""
    ears = getattr(session.part("processor"), "feature_extractor", None)
    rate = getattr(ears, "sampling_rate", None)
    look = partial(_looked_at, count=options.get("num_frames") or 8, every=options.get("frame_sampling_rate") or 1)
    chat = messages(item, rate, look)
    if chat is not None:
        return chat, bool(isinstance(item, Mapping) and item.get("plain"))
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, Mapping) or not set(item) & {"text", "image", "audio", "video"}:
        raise OptionError(f"{session.task} takes a chat, or {{'image': ..., 'text': str}}")
    kinds = ((kind, item.get(kind)) for kind in ("image", "audio", "video"))
    content = [{"type": kind, kind: one} for kind, given in kinds for one in _listed(given) if one is not None]
    content += [{"type": "text", "text": item["text"]}] if item.get("text") else []
    chat = messages([{"role": "user", "content": content}], rate, look)
    assert chat is not None
    return chat, True


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _looked_at(video: Any, count: int, every: int) -> list[Any]:
    """Return the frames of a video as pictures: transformers' own processors of videos need torchvision."""
    return [rgb(frame) for frame in frames(video, count, every)]


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
