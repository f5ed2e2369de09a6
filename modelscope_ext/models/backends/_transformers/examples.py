"""Real inputs for a model, made by its own tokenizer and processors, on which its ONNX graph is made and checked.

Each function takes a `Session` and a number and returns the model's inputs by name. Number 0 is the batch on which the
graph is traced, number 1 one single input, number 2 a larger batch of other lengths and sizes: where two of the three
have different sizes, the graph's axis is left open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.run import Session, takes

__all__ = ["COUNTS", "EXAMPLES", "Asked", "asked"]

#: How many inputs stand in each of the three batches.
COUNTS = (2, 1, 3)

#: One input as a user gives it, and the options of the call.
Asked = tuple[Any, dict[str, Any]]

_TEXTS = (
    "The cat sat on the mat.",
    "It works.",
    "The quick brown fox jumps over the lazy dog, and then it rests for a while.",
)
_QUESTIONS = (
    ("Who lives in Paris?", "John works in London."),
    ("Who lives there?", "Mary lives in Paris."),
    ("Where does John work?", "Mary lives in Paris, and John works in London, where it rains all day."),
)
_LABELS = ("a cat", "a dog", "the sea", "a red house")
_SIZES = ((96, 64), (64, 96), (128, 96))  # width, height
_SECONDS = (1.0, 1.25, 0.75)
_MOST_TOKENS = 48


def _tokenised(session: Session, number: int, texts: list[Any], **options: Any) -> dict[str, Any]:
    """Return texts, or pairs of them, padded to the longest; of a model that cannot pad, one text several times."""
    tokenizer = session.part("tokenizer")
    pads = len(texts) > 1 and tokenizer.pad_token_id is not None
    if not pads:
        texts = texts[:1] * len(texts)
    first, second = texts, None
    if isinstance(texts[0], tuple):
        first, second = [text for text, _ in texts], [text for _, text in texts]
    positions = getattr(session.model.config, "max_position_embeddings", None) or _MOST_TOKENS
    most = min(tokenizer.model_max_length, max(int(positions) - 4, 8), _MOST_TOKENS + 8 * number)
    settings = {"padding": pads, "truncation": True, "max_length": most, **options}
    words = tokenizer(first, second, return_tensors="pt", **settings)
    return {name: value for name, value in words.items() if name == "input_ids" or takes(session.model, name)}


def texts(session: Session, number: int) -> dict[str, Any]:
    """Sentences."""
    return _tokenised(session, number, [_TEXTS[(number + i) % 3] for i in range(COUNTS[number])])


def masked(session: Session, number: int) -> dict[str, Any]:
    """Sentences with a word left out."""
    return _tokenised(session, number, [_masked(session, number + i) for i in range(COUNTS[number])])


def _masked(session: Session, number: int) -> str:
    mask = session.part("tokenizer").mask_token
    if mask is None:
        raise OptionError("fill-mask: the tokenizer has no mask token")
    return f"{mask} {_TEXTS[number % 3]}"


def questions(session: Session, number: int) -> dict[str, Any]:
    """Questions with their contexts."""
    return _tokenised(session, number, [_QUESTIONS[(number + i) % 3] for i in range(COUNTS[number])])


def choices(session: Session, number: int) -> dict[str, Any]:
    """A prompt with three answers, as many times as there are inputs; one with two answers for the single input."""
    import torch

    count = 2 if number == 1 else 3
    words = _tokenised(session, number, [(_QUESTIONS[number][0], text) for text in _TEXTS[:count]])
    return {name: torch.stack([value] * COUNTS[number]) for name, value in words.items()}


def images(session: Session, number: int) -> dict[str, Any]:
    """Pictures with edges and noise, all of one size in a batch."""
    encoded = _processor(session)([_image(number, i) for i in range(COUNTS[number])], return_tensors="pt")
    return {name: value for name, value in encoded.items() if takes(session.model, name)}


def _processor(session: Session) -> Any:
    """Return the image processor in its Pillow form, which is what the onnx backend does.

    The form for torchvision gives pixels that differ by a step of 255, and with them answers that differ by more than
    a graph may.
    """
    import transformers

    part = session.part("image_processor")
    if getattr(part, "backend", "pil") == "pil":
        return part
    form = getattr(transformers, type(part).__name__.removesuffix("Fast") + "Pil", None)
    return part if form is None else form.from_dict(part.to_dict())


def _image(number: int, item: int = 0) -> Any:
    import numpy as np
    from PIL import Image

    width, height = _SIZES[number]
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(10 * number + item).integers(0, 64, (height, width, 3))
    bands = np.stack([x * 191 // width, y * 191 // height, (x // 8 + y // 8) % 2 * 191], -1)
    return Image.fromarray((np.roll(bands, item, axis=-1) + noise).astype(np.uint8))


def labelled_images(session: Session, number: int) -> dict[str, Any]:
    """Pictures, and one more label than there are of them."""
    words = [_template(label) for label in _LABELS[: COUNTS[number] + 1]]
    siglip = "siglip" in str(session.model.config.model_type)
    fixed = {"padding": "max_length", "max_length": 64} if siglip else {"padding": True}
    return {**_tokenised(session, number, words, **fixed), **images(session, number)}


def _template(label: str) -> str:
    return f"This is a photo of {label}."


def videos(session: Session, number: int) -> dict[str, Any]:
    """Films of as many frames as the model sees."""
    films = [[_image(number, i + frame) for frame in range(_frames(session))] for i in range(COUNTS[number])]
    seen = session.optional("image_processor") is not None
    encoded = (_processor(session) if seen else session.part("video_processor"))(films, return_tensors="pt")
    return {name: value for name, value in encoded.items() if takes(session.model, name)}


def _frames(session: Session) -> int:
    config = session.model.config
    return next(n for n in (*(getattr(config, name, None) for name in ("num_frames", "frames_per_clip")), 16) if n)


def sounds(session: Session, number: int) -> dict[str, Any]:
    """Recordings of one length in a batch; the mask, which would be all ones, is left to the model."""
    extractor = session.part("feature_extractor")
    recordings = [_sound(extractor.sampling_rate, number, i) for i in range(COUNTS[number])]
    encoded = extractor(recordings, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    return {name: value for name, value in encoded.items() if name != "attention_mask" and takes(session.model, name)}


def _sound(rate: int, number: int, item: int = 0) -> Any:
    import numpy as np

    time = np.arange(int(rate * _SECONDS[number])) / rate
    noise = np.random.default_rng(10 * number + item).standard_normal(len(time))
    return (0.4 * np.sin(2 * np.pi * (220 + 110 * item) * time) + 0.05 * noise).astype(np.float32)


#: Name in the table of graphs -> function.
EXAMPLES: Mapping[str, Callable[[Session, int], dict[str, Any]]] = {
    "texts": texts,
    "masked": masked,
    "questions": questions,
    "choices": choices,
    "prompts": texts,
    "images": images,
    "labelled_images": labelled_images,
    "videos": videos,
    "sounds": sounds,
}


def asked(session: Session, kind: str) -> Asked:
    """Return the single input, number 1, as a user would give it, and the options that go with it."""
    if kind == "images":
        return _image(1), {}
    if kind == "labelled_images":
        return _image(1), {"candidate_labels": list(_LABELS[:2]), "hypothesis_template": _template("{}")}
    if kind == "videos":
        import numpy as np

        return np.stack([np.asarray(_image(1, frame)) for frame in range(_frames(session))]), {}
    if kind == "sounds":
        rate = session.part("feature_extractor").sampling_rate
        return {"raw": _sound(rate, 1), "sampling_rate": rate}, {}
    if kind == "questions":
        return dict(zip(("question", "context"), _QUESTIONS[1], strict=True)), {}
    if kind == "choices":
        return {"prompt": _QUESTIONS[1][0], "choices": list(_TEXTS[:2])}, {}
    return _masked(session, 1) if kind == "masked" else _TEXTS[1], {}
