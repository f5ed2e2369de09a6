"""Tiny random diffusers folders, by name: `build("stable-diffusion", folder)`.

Each is made of the library's own classes, holds some hundred kilobytes and makes pictures of 16 to 32 pixels. Run
``python -m tests.tiny.diffusers_ FOLDER`` to write them all, one subfolder each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _clip_tokenizer():
    """Return CLIP's tokenizer over single bytes, without a merge."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    order = [*alphabet, *(f"{one}</w>" for one in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(order)}, merges=[], model_max_length=32)


def _clip_config(**options):
    from transformers import CLIPTextConfig

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    marks = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    return CLIPTextConfig(**{**sizes, **marks, "vocab_size": 514, "max_position_embeddings": 32, **options})


def _clip():
    from transformers import CLIPTextModel

    return CLIPTextModel(_clip_config(initializer_factor=20.0))


def _vae(**options):
    from diffusers import AutoencoderKL

    sizes = {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4, "sample_size": 16}
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    return AutoencoderKL(**{**sizes, **blocks, **options})


def _unet(**options):
    from diffusers import UNet2DConditionModel

    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "sample_size": 8, "norm_num_groups": 4}
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DConditionModel(**{**sizes, **blocks, "cross_attention_dim": 16, "attention_head_dim": 4, **options})


def _ddim(**options):
    from diffusers import DDIMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, **options)


def stable_diffusion():
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=_vae(),
        unet=_unet(),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(),
        scheduler=_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ddpm():
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return DDPMPipeline(unet=unet, scheduler=DDPMScheduler(num_train_timesteps=100))


#: name -> (builder, tasks it serves, its own first).
FAMILIES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "stable-diffusion": (stable_diffusion, ("text-to-image", "image-to-image", "image-inpainting")),
    "ddpm": (ddpm, ("unconditional-image-generation",)),
}


def build(name: str, folder: str | Path, *, seed: int = 0, **save_options: Any) -> Path:
    """Write the tiny pipeline `name` into `folder` and return the folder.

    Args:
        name: A key of `FAMILIES`.
        folder: Created when it is not there.
        seed: Of the random weights.
        **save_options: For `save_pretrained`, e.g. ``variant="fp16"`` or ``safe_serialization=False``.
    """
    target = Path(folder)
    with quiet():
        make(name, seed=seed).save_pretrained(str(target), **save_options)
    return target


def make(name: str, *, seed: int = 0) -> Any:
    """Return the tiny pipeline `name`."""
    import torch

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        pipe = FAMILIES[name][0]()
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipe


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the libraries' progress bars and hints, and put their settings back."""
    import warnings

    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    levels = [(one, one.get_verbosity(), one.is_progress_bar_enabled()) for one in (ours, theirs)]
    for one, _, _ in levels:
        one.set_verbosity_error()
        one.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level, bars in levels:
            one.set_verbosity(level)
            if bars:
                one.enable_progress_bar()


if __name__ == "__main__":
    for family in sys.argv[2:] or FAMILIES:
        build(family, Path(sys.argv[1], family))
