"""Tiny transformers models whose graph is one pass, beside those of `transformers_`: other heads, other processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny import transformers_
from tests.tiny._audio import _wav2vec2_config
from tests.tiny._text import _spread
from tests.tiny._vision import _SMALL, _clip_text, _detr_config
from tests.tiny._words import byte_tokenizer


def build(name: str, folder: str | Path, *, seed: int = 0) -> Path:
    """Write the tiny model `name`, of here or of `transformers_`, into `folder` and return the folder."""
    import torch

    if name not in FAMILIES:
        return transformers_.build(name, folder, seed=seed)
    with torch.random.fork_rng(devices=[]), transformers_._quiet():
        torch.manual_seed(seed)
        model, parts = FAMILIES[name]()
    return transformers_.save(model.eval(), parts, folder)


def _conditional_detr() -> Any:
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection, ConditionalDetrImageProcessor

    base = _detr_config()
    known = {k: v for k, v in base.to_dict().items() if k in ConditionalDetrConfig().to_dict()}
    for name in ("model_type", "architectures", "transformers_version", "backbone_config"):
        known.pop(name, None)
    config = ConditionalDetrConfig(**known, backbone_config=base.backbone_config)
    processor = ConditionalDetrImageProcessor(size={"shortest_edge": 32, "longest_edge": 48})
    return _spread(ConditionalDetrForObjectDetection(config), 3.0), [processor]


def _siglip() -> Any:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    tokenizer = byte_tokenizer(clip=True)
    text = {**_clip_text(len(tokenizer)), "projection_size": 16}
    vision = {**_SMALL, "image_size": 16, "patch_size": 8}
    images = SiglipImageProcessor(size={"height": 16, "width": 16})
    return _spread(SiglipModel(SiglipConfig(text_config=text, vision_config=vision))), [
        SiglipProcessor(images, tokenizer)
    ]


_SOUNDS = {0: "rain", 1: "bird", 2: "speech"}
_HEARD = {"id2label": _SOUNDS, "label2id": {v: k for k, v in _SOUNDS.items()}}


def _ast() -> Any:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    config = ASTConfig(
        **_SMALL, patch_size=8, frequency_stride=8, time_stride=8, max_length=64, num_mel_bins=16, **_HEARD
    )
    extractor = ASTFeatureExtractor(num_mel_bins=16, max_length=64)
    return _spread(ASTForAudioClassification(config), 12.0), [extractor]


def _normalised_audio() -> Any:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    model = Wav2Vec2ForSequenceClassification(_wav2vec2_config(**_HEARD))
    return _spread(model, 25.0), [Wav2Vec2FeatureExtractor(do_normalize=True)]


#: name -> builder.
FAMILIES: dict[str, Callable[[], Any]] = {
    "conditional-detr": _conditional_detr,
    "siglip": _siglip,
    "ast": _ast,
    "normalised-audio": _normalised_audio,
}
