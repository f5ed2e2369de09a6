"""Step 6 of 6, diffusers: the tasks as one table: what a pipeline is called with, and where its answer lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelscope_ext.utils.record import Record

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True)
class Row(Record):
    """One task.

    Attributes:
        lead: The name under which an input that is not a dict goes to the pipeline; empty where there is none.
        names: Field of the input -> the parameters that may take it, the usual one first.
        options: The options of a call, as the library's pipelines call them.
        output: What an answer is: ``"image"``, ``"video"`` or ``"audio"``.
        several: The option by which one input gives several answers.
    """

    lead: str
    names: Mapping[str, tuple[str, ...]]
    options: tuple[str, ...]
    output: str = "image"
    several: str = "num_images_per_prompt"


_PROMPT = {"prompt": ("prompt",)}
_IMAGE = {"image": ("image", "input_image")}
_STEPS = ("seed", "num_inference_steps", "guidance_scale", "negative_prompt", "timesteps", "sigmas", "eta")
_TEXTS = ("prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3", "max_sequence_length", "clip_skip")
_GUIDED = ("guidance_rescale", "true_cfg_scale", "cross_attention_kwargs")
_SIZE = ("height", "width")
_PICTURES = (*_STEPS, *_SIZE, "num_images_per_prompt", *_TEXTS, *_GUIDED)
_VARIED = (*_PICTURES, "strength", "image_guidance_scale", "noise_level", "denoising_start")
_SOUNDS = (
    *_STEPS, "audio_length_in_s", "audio_start_in_s", "audio_end_in_s", "num_waveforms_per_prompt", "transcription",
    "max_new_tokens", "cross_attention_kwargs",
)  # fmt: skip
_VIDEOS = (
    *_STEPS, *_SIZE, "num_videos_per_prompt", "num_frames", "fps", "frame_rate", "decode_chunk_size",
    "motion_bucket_id", "noise_aug_strength", "max_sequence_length", "true_cfg_scale", "cross_attention_kwargs",
    "clip_skip",
)  # fmt: skip

ROWS: Mapping[str, Row] = {
    "text-to-image": Row("prompt", _PROMPT, (*_PICTURES, "denoising_end")),
    "image-to-image": Row("image", {**_IMAGE, **_PROMPT}, _VARIED),
    "image-inpainting": Row(
        "",
        {**_IMAGE, "mask_image": ("mask_image", "mask"), **_PROMPT},
        (*_PICTURES, "strength", "padding_mask_crop"),
    ),
    "unconditional-image-generation": Row("", {}, ("num_inference_steps", "eta", "guidance_scale", "class_labels")),
    "text-to-video": Row("prompt", _PROMPT, _VIDEOS, "video", "num_videos_per_prompt"),
    "image-to-video": Row("image", {**_IMAGE, **_PROMPT}, _VIDEOS, "video", "num_videos_per_prompt"),
    "text-to-audio": Row("prompt", _PROMPT, _SOUNDS, "audio", "num_waveforms_per_prompt"),
}
