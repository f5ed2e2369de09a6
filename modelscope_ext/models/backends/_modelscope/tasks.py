"""Step 6 of 6, ModelScope: for each task how an input becomes ModelScope's, and its answer the schema's.

A task without a row gives what ModelScope gives, where its schema allows anything, and needs ``raw=True`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.decision.native import tasks_of_index
from modelscope_ext.models.schemas import SCHEMAS
from modelscope_ext.utils.text import listing, printable

__all__ = ["ROWS", "Row", "answer", "serves"]


def _same(pipe: Any, value: Any, options: Mapping[str, Any]) -> Any:
    return value


@dataclass(frozen=True)
class Row:
    """How one task is run.

    Attributes:
        given: Turns the pipeline, an input of the schema and the call's options into ModelScope's input.
        made: Turns the pipeline, ModelScope's output, the input and the options into the schema's output.
        options: What a call may pass.
        stages: Whether `made` needs what the network gave, which the pipeline's own postprocessing throws away.
    """

    made: Callable[[Any, Any, Any, Mapping[str, Any]], Any]
    given: Callable[[Any, Any, Mapping[str, Any]], Any] = _same
    options: tuple[str, ...] = ()
    stages: bool = False


def answer(pipe: Any, task: str, item: Any, options: dict[str, Any], *, raw: bool) -> Any:
    """Run one input and return the schema's output, or ModelScope's own.

    Raises:
        OptionError: Nobody has written down yet how this task's answers fit its schema.
    """
    row = ROWS.get(task)
    if row is None:
        if task in SCHEMAS and not raw:
            raise OptionError(
                f"{task!r}: how ModelScope's answers fit this task's schema is not known here yet. Pass raw=True to get"
                f" them as they are. Known: {listing(ROWS, 20)}"
            )
        return pipe(item)
    given = row.given(pipe, item, options)
    if raw:
        return pipe(given)
    return row.made(pipe, _staged(pipe, given) if row.stages else pipe(given), item, options)


def _staged(pipe: Any, given: Any) -> Any:
    """Return what the network gave: the stages of ModelScope's `Pipeline.__call__` without the last."""
    import torch

    if not pipe._model_prepare:
        pipe.prepare_model()
    before, _, _ = pipe._sanitize_parameters()
    values = pipe.preprocess(given, **before)
    with torch.no_grad():
        return pipe.forward(pipe._collate_fn(values) if pipe._auto_collate else values)


# Text


def _pair(pipe: Any, item: Any, options: Mapping[str, Any]) -> Any:
    return (item["text"], item["text_pair"]) if isinstance(item, Mapping) else item


def _labels(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    pairs = sorted(zip(found["scores"], found["labels"], strict=True), key=lambda pair: -pair[0])
    rows = [{"label": str(label), "score": float(score)} for score, label in pairs]
    top = options.get("top_k", 1)
    if top is not None and (type(top) is not int or top < 1):
        raise OptionError(f"top_k={printable(top)}: expected a whole number of at least 1, or None for all labels")
    return rows[0] if "top_k" not in options else rows[:top]


def _spans(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    chunks = found["output"]
    if not all(isinstance(chunk, Mapping) and "span" in chunk for chunk in chunks):
        raise OptionError(
            f"{type(pipe).__name__} gives words, not labelled spans; pass raw=True to get them as they are"
        )
    return [
        {
            "entity_group": str(chunk["type"]),
            "score": float(chunk.get("prob", 1.0)),
            "word": str(chunk["span"]),
            "start": int(chunk["start"]),
            "end": int(chunk["end"]),
        }
        for chunk in chunks
    ]


def _filled(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    """Return the likeliest tokens for each mask; ModelScope itself gives the text with the first of them."""
    import torch

    preprocessor = pipe.preprocessor
    ids = found["input_ids"][0].cpu()
    places = (ids == preprocessor.mask_id).nonzero().flatten().tolist()
    if not places:
        raise OptionError(f"the text has no {preprocessor.nlp_tokenizer.tokenizer.mask_token}: {printable(item, 60)}")
    top = options.get("top_k", 5)
    if type(top) is not int or top < 1:
        raise OptionError(f"top_k={printable(top)}: expected a whole number of at least 1")
    outputs = []
    for place in places:
        chances = torch.softmax(found["logits"][0, place].float().cpu(), dim=-1)
        scores, tokens = chances.topk(min(top, len(chances)))
        rows = []
        for score, token in zip(scores.tolist(), tokens.tolist(), strict=True):
            filled = ids.clone()
            filled[place] = token
            kept = filled[filled != preprocessor.nlp_tokenizer.tokenizer.pad_token_id]
            text = str(preprocessor.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=True))
            word = str(preprocessor.decode([token]))
            rows.append({"score": float(score), "token": int(token), "token_str": word, "sequence": text})
        outputs.append(rows)
    return outputs[0] if len(outputs) == 1 else outputs


def _document(pipe: Any, item: str, options: Mapping[str, Any]) -> Any:
    """One text; its paragraphs, one a line, where the model joins paragraphs to topics rather than sentences."""
    if pipe.model_cfg.get("level") != "topic":
        return item
    return [line for line in item.splitlines() if line.strip()]


def _segments(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    text = str(found["text"])
    return {"text": text, "segments": [one.strip() for one in text.split("\n\t") if one.strip()]}


# Images


def _image(pipe: Any, item: Any, options: Mapping[str, Any]) -> Any:
    return item.convert("RGB")


def _picture(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    return _turned(found["output_img"])


def _turned(array: Any) -> Any:
    """ModelScope's pictures are arrays HxWx3 of uint8 in OpenCV's order, blue first."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array[:, :, ::-1]))


_DRAWN = ("num_inference_steps", "guidance_scale", "height", "width", "negative_prompt", "num_images_per_prompt", "eta")


def _prompt(pipe: Any, item: str, options: Mapping[str, Any]) -> Any:
    given = {"text": item, **{name: options[name] for name in _DRAWN if options.get(name) is not None}}
    if options.get("seed") is not None:
        import torch

        given["generator"] = torch.Generator().manual_seed(options["seed"])
    return given


def _drawings(pipe: Any, found: Any, item: Any, options: Mapping[str, Any]) -> Any:
    pictures = [_turned(array) for array in found["output_imgs"]]
    return pictures[0] if len(pictures) == 1 else pictures


_RESTORES = Row(_picture, _image)

#: Canonical task -> how it is run.
ROWS: Mapping[str, Row] = {
    "text-classification": Row(_labels, _pair, ("top_k",)),
    "token-classification": Row(_spans),
    "fill-mask": Row(_filled, options=("top_k",), stages=True),
    "document-segmentation": Row(_segments, _document),
    **dict.fromkeys(
        ("image-denoising", "image-deblurring", "image-color-enhancement", "image-super-resolution",
         "image-colorization", "image-portrait-enhancement"),
        _RESTORES,
    ),
    "text-to-image": Row(_drawings, _prompt, (*_DRAWN, "seed")),
}  # fmt: skip


def serves() -> tuple[str, ...]:
    """Return the tasks that can be run to the end: those of `ROWS`, and those whose schema allows anything."""
    return tuple(dict.fromkeys((*ROWS, *(task for task in tasks_of_index() if task not in SCHEMAS))))
