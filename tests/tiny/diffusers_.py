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

from tests.tiny import _motion, _pictures

#: name -> (builder, tasks it serves, its own first).
FAMILIES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "stable-diffusion": (_pictures.stable_diffusion, ("text-to-image", "image-to-image", "image-inpainting")),
    "stable-diffusion-xl": (_pictures.stable_diffusion_xl, ("text-to-image", "image-to-image", "image-inpainting")),
    "stable-diffusion-3": (_pictures.stable_diffusion_3, ("text-to-image", "image-to-image", "image-inpainting")),
    "flux": (_pictures.flux, ("text-to-image", "image-to-image", "image-inpainting")),
    "inpainting": (_pictures.inpainting, ("image-inpainting", "image-to-image")),
    "safety-checked": (_pictures.safety_checked, ("text-to-image", "image-to-image", "image-inpainting")),
    "ddpm": (_pictures.ddpm, ("unconditional-image-generation",)),
    "wan": (_motion.wan, ("text-to-video",)),
    "ltx": (_motion.ltx, ("text-to-video",)),
    "animatediff": (_motion.animatediff, ("text-to-video",)),
    "stable-video": (_motion.stable_video, ("image-to-video",)),
    "stable-audio": (_motion.stable_audio, ("text-to-audio",)),
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


def build_lora(folder: str | Path, family: str = "stable-diffusion", *, seed: int = 1, zero: bool = False) -> Path:
    """Write low-rank weights for the UNet of a tiny pipeline into `folder`, and nothing else."""
    import torch
    from peft import LoraConfig, get_peft_model_state_dict

    pipe = make(family)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_k", "to_v"]))
        for name, weight in pipe.unet.named_parameters():
            if "lora_B" in name:
                weight.data.zero_() if zero else weight.data.normal_(std=2.0)
        layers = get_peft_model_state_dict(pipe.unet)
        type(pipe).save_lora_weights(str(folder), unet_lora_layers=layers)
    return Path(folder)


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
