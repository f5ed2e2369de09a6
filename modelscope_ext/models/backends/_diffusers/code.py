"""Step 6 of 6, diffusers: the native snippet, which shows what was decided and is the user's way out."""

from __future__ import annotations

from collections.abc import Mapping

from modelscope_ext.models.resolution import Resolution

__all__ = ["snippet"]

#: Task -> the class that chooses by task, where diffusers has one.
_AUTO = {"image-to-image": "AutoPipelineForImage2Image", "image-inpainting": "AutoPipelineForInpainting"}
#: Task -> an example call, and where its answer lies.
_CALLS: Mapping[str, tuple[str, str]] = {
    "text-to-image": ('prompt="a red house", ', "images[0]"),
    "image-to-image": ('image=Image.new("RGB", (64, 64), "red"), prompt="a red house", ', "images[0]"),
    "image-inpainting": (
        'image=Image.new("RGB", (64, 64), "red"), mask_image=Image.new("L", (64, 64), 255), prompt="a red house", ',
        "images[0]",
    ),
    "unconditional-image-generation": ("", "images[0]"),
    "text-to-video": ('prompt="a bird flies", ', "frames[0]"),
    "image-to-video": ('image=Image.new("RGB", (64, 64), "red"), ', "frames[0]"),
    "text-to-audio": ('prompt="rain", ', "audios[0]"),
}


def snippet(resolution: Resolution) -> str:
    """Return a script that loads the resolved folder with diffusers and prints one answer.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Source
        >>> print(snippet(Resolution(Source("local", path="m"), "pytorch", "diffusers", ("text-to-image",))))
        from diffusers import DiffusionPipeline
        <BLANKLINE>
        pipe = DiffusionPipeline.from_pretrained('m', use_safetensors=True)
        print(pipe(prompt="a red house", num_inference_steps=30).images[0])
    """
    folder = str(resolution.source.path or resolution.source)
    reasons = [reason for found in resolution.because.values() for reason in found]
    component = next((r.value for r in reasons if r.file == "config.json" and r.key == "_class_name"), None)
    variant = f", variant={resolution.weights.variant!r}" if resolution.weights.variant else ""
    safe = ", use_safetensors=True" if resolution.weights.format != "pickle" else ""
    if isinstance(component, str) and component.isidentifier():
        return (
            f"from diffusers import {component}\n\nmodel = {component}.from_pretrained({folder!r}{variant}{safe})\n"
            "print(type(model))"
        )
    if reasons and not any(reason.file == "model_index.json" for reason in reasons):
        return _lora(folder, resolution.weights.files)
    task = resolution.default_task or ""
    cls = _AUTO.get(task, "DiffusionPipeline")
    call, answer = _CALLS.get(task, ("", ""))
    lines = ["from PIL import Image"] if "Image." in call else []
    lines.insert(0, f"from diffusers import {cls}")
    lines += ["", f"pipe = {cls}.from_pretrained({folder!r}{variant}{safe})"]
    lines.append(
        f"print(pipe({call}num_inference_steps=30){f'.{answer}' if answer else ''})" if task else "print(pipe)"
    )
    return "\n".join(lines)


def _lora(folder: str, files: tuple[str, ...]) -> str:
    """Return the lines for low-rank weights, whose base the caller has to fill in; nothing for other lone files."""
    name = next((name for name in files if "lora" in name.lower()), None)
    if name is None:
        return ""
    return (
        "from diffusers import DiffusionPipeline\n\n"
        'pipe = DiffusionPipeline.from_pretrained("the base model", use_safetensors=True)\n'
        f"pipe.load_lora_weights({folder!r}, weight_name={name!r})"
    )
