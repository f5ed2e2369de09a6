"""Tiny random transformers folders, by name: `build("text-classification", folder)`.

They weigh about 3 MB together and build in some hundredths of a second each; only importing transformers is slow. Run
``python -m tests.tiny.transformers_ FOLDER`` to write them all, one subfolder each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tiny import _audio, _multimodal, _text, _vision

#: name -> (builder, tasks it serves, the likeliest first). A name is the task, or the family where there are several.
FAMILIES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "text-classification": (_text.text_classification, ("text-classification",)),
    "text-ranking": (_text.cross_encoder, ("text-ranking", "text-classification")),
    "zero-shot-classification": (_text.zero_shot_classification, ("zero-shot-classification", "text-classification")),
    "token-classification": (_text.token_classification, ("token-classification",)),
    "fill-mask": (_text.fill_mask, ("fill-mask",)),
    "feature-extraction": (_text.feature_extraction, ("feature-extraction",)),
    "question-answering": (_text.question_answering, ("question-answering",)),
    "multiple-choice": (_text.multiple_choice, ("multiple-choice",)),
    "time-series-forecasting": (_text.time_series_forecasting, ("time-series-forecasting",)),
    "text-generation": (_text.text_generation, ("text-generation",)),
    "qwen2": (_text.qwen2, ("text-generation",)),
    "qwen2-sequences": (_text.qwen2_sequences, ("text-classification",)),
    "qwen2-tokens": (_text.qwen2_tokens, ("token-classification",)),
    "gpt2": (_text.gpt2, ("text-generation",)),
    "decision": (_text.decision, ("decision", "text-generation")),
    "jev": (_text.jev, ("decision",)),
    "text2text-generation": (_text.text2text_generation, ("text2text-generation",)),
    "translation": (_text.translation, ("translation", "text2text-generation")),
    "summarization": (_text.summarization, ("summarization", "text2text-generation")),
    "table-question-answering": (_text.table_question_answering, ("table-question-answering",)),
    "document-question-answering": (_text.layoutlm, ("document-question-answering",)),
    "donut": (_multimodal.donut, ("document-question-answering", "image-to-text")),
    "image-classification": (_vision.image_classification, ("image-classification",)),
    "image-feature-extraction": (_vision.image_feature_extraction, ("image-feature-extraction",)),
    "image-segmentation": (_vision.segformer, ("image-segmentation",)),
    "maskformer": (_vision.maskformer, ("image-segmentation",)),
    "object-detection": (_vision.object_detection, ("object-detection",)),
    "yolos": (_vision.yolos, ("object-detection",)),
    "zero-shot-object-detection": (_vision.zero_shot_object_detection, ("zero-shot-object-detection",)),
    "zero-shot-image-classification": (_vision.zero_shot_image_classification, ("zero-shot-image-classification",)),
    "depth-estimation": (_vision.depth_estimation, ("depth-estimation",)),
    "keypoint-detection": (_vision.keypoint_detection, ("keypoint-detection",)),
    "keypoint-matching": (_vision.keypoint_matching, ("keypoint-matching",)),
    "video-classification": (_vision.video_classification, ("video-classification",)),
    "mask-generation": (_vision.mask_generation, ("mask-generation",)),
    "image-to-image": (_vision.image_to_image, ("image-to-image",)),
    "image-text-to-text": (_multimodal.image_text_to_text, ("image-text-to-text", "any-to-any", "video-text-to-text")),
    "visual-document-retrieval": (_multimodal.colpali, ("visual-document-retrieval",)),
    "qwen2-vl": (_multimodal.qwen2_vl, ("image-text-to-text",)),
    "colqwen2": (_multimodal.colqwen2, ("visual-document-retrieval",)),
    "audio-text-to-text": (_multimodal.audio_text_to_text, ("audio-text-to-text", "any-to-any")),
    "image-to-text": (_multimodal.image_to_text, ("image-to-text",)),
    "blip": (_multimodal.blip_caption, ("image-to-text",)),
    "visual-question-answering": (_multimodal.visual_question_answering, ("visual-question-answering",)),
    "blip-vqa": (_multimodal.blip_vqa, ("visual-question-answering",)),
    "audio-classification": (_audio.audio_classification, ("audio-classification",)),
    "automatic-speech-recognition": (_audio.speech_ctc, ("automatic-speech-recognition",)),
    "whisper": (_audio.whisper, ("automatic-speech-recognition",)),
    "text-to-audio": (_audio.text_to_audio, ("text-to-audio", "text-to-speech")),
    "zero-shot-audio-classification": (_audio.zero_shot_audio_classification, ("zero-shot-audio-classification",)),
}


def build(name: str, folder: str | Path, *, seed: int = 0, **save_options: Any) -> Path:
    """Write the tiny model `name` into `folder` and return the folder.

    Args:
        name: A key of `FAMILIES`.
        folder: Created when it is not there.
        seed: Of the random weights.
        **save_options: For the model's `save_pretrained`, e.g. ``max_shard_size="10KB"`` or ``variant="fp16"``.
    """
    model, parts = make(name, seed=seed)
    return save(model, parts, folder, **save_options)


def make(name: str, *, seed: int = 0) -> tuple[Any, list[Any]]:
    """Return the tiny model `name` and its tokenizers and processors, without writing anything but temporary files."""
    import torch

    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        model, parts = FAMILIES[name][0]()
    if getattr(model, "generation_config", None) is not None:
        model.generation_config._from_model_config = False  # else loading drops the fields a model adds to it
    return model.eval(), parts


def save(model: Any, parts: list[Any], folder: str | Path, **save_options: Any) -> Path:
    """Write `model` and `parts` into `folder` without a progress bar, and return the folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with _quiet():
        model.save_pretrained(str(target), **save_options)
        for part in parts:
            part.save_pretrained(str(target))
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the library's progress bars and hints, and put its settings back."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


if __name__ == "__main__":
    for family in sys.argv[2:] or FAMILIES:
        build(family, Path(sys.argv[1], family))
