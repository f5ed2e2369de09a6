"""What transformers models give as one ONNX graph: task -> example inputs and outputs, as one table. Imports nothing.

A task is in the table when its answer needs one pass of the model, or, for decoders, one pass a token. Names of inputs
and outputs are the library's own, which other exporters use too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modelscope_ext.utils.record import Record, dataclass, field

__all__ = ["GRAPHS", "NOT_EXPORTED", "TO_ONNX", "WRITES", "Graph", "why_not"]

#: What an export needs beside transformers and torch: to write a graph, and to run it for the check.
TO_ONNX = ("onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.17", "tokenizers>=0.15", "pillow", "numpy")


@dataclass(frozen=True)
class Graph(Record):
    """How one task becomes a graph.

    Attributes:
        examples: The function in `examples` that makes inputs for it.
        outputs: Fields of the model's answer that become outputs, where the model has them; at least one.
        task: The task under which the graph's numbers are compared afterwards, where it is not the task itself.
        options: Options of that call.
        also: Other tasks that the same graph serves.
    """

    examples: str
    outputs: tuple[str, ...] = ("logits",)
    task: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()


_LABELS = ("text-classification", "zero-shot-classification", "text-ranking")
_VECTORS = ("feature-extraction", "sentence-similarity")

GRAPHS: Mapping[str, Graph] = MappingProxyType(
    {
        "text-classification": Graph("texts", also=_LABELS),
        "zero-shot-classification": Graph("texts", task="text-classification", also=_LABELS),
        "text-ranking": Graph("texts", task="text-classification", also=_LABELS),
        "token-classification": Graph("texts"),
        "fill-mask": Graph("masked"),
        "feature-extraction": Graph("texts", ("last_hidden_state",), also=_VECTORS),
        "question-answering": Graph("questions", ("start_logits", "end_logits")),
        "multiple-choice": Graph("choices"),
        "text-generation": Graph("prompts", options={"max_new_tokens": 1}),
        "image-classification": Graph("images"),
        "image-feature-extraction": Graph("images", ("last_hidden_state", "pooler_output")),
        "image-segmentation": Graph("images", ("logits", "pred_masks", "class_queries_logits", "masks_queries_logits")),
        "object-detection": Graph("images", ("logits", "pred_boxes")),
        "depth-estimation": Graph("images", ("predicted_depth",)),
        "image-to-image": Graph("images", ("reconstruction",)),
        "video-classification": Graph("videos"),
        "zero-shot-image-classification": Graph(
            "labelled_images", ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
        ),
        "audio-classification": Graph("sounds"),
        "automatic-speech-recognition": Graph("sounds"),
    }
)

WRITES = "it writes token by token with an encoder and a decoder, and no single graph does that"

#: Tasks that are not exported, and why.
NOT_EXPORTED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("translation", "summarization", "text2text-generation", "image-to-text"), WRITES),
        **dict.fromkeys(("image-text-to-text", "any-to-any", "audio-text-to-text", "text-to-audio"), WRITES),
        "text-to-speech": WRITES,
        "document-question-answering": "its words and boxes come from an OCR step outside the model",
        "visual-question-answering": "its models draw patches at random, or write token by token",
        "table-question-answering": "its answer is put together outside the model, by transformers' own tokenizer",
        "mask-generation": "it is two models, one run once and one run for every point",
        "keypoint-detection": "how many points it gives depends on the image",
        "keypoint-matching": "how many points it gives depends on the images",
        "zero-shot-object-detection": "the onnx backend does not serve it",
        "zero-shot-audio-classification": "the onnx backend does not serve it",
        "time-series-forecasting": "the onnx backend does not serve it",
    }
)


def why_not(task: str) -> str | None:
    """Return why `task` is not exported, None where it is."""
    return None if task in GRAPHS else NOT_EXPORTED.get(task, "no graph is known for it")
