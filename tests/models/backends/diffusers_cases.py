"""What the tests of diffusers ask of each tiny pipeline, of us and of the library itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One tiny pipeline, a task, its inputs and the options of the call; a picture is ``{"$image": number}``."""

    family: str
    task: str
    inputs: list[Any]
    options: dict[str, Any] = field(default_factory=dict)
    load: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A name for the test and the reference's answers."""
        return "-".join([self.family, self.task, *map(str, [*self.options, *self.load])])


PROMPTS = ["a red house", "two small birds"]
SIZE = {"height": 16, "width": 16}
PICTURES = [{"$image": 0}, {"$image": 1}]
FROM_PICTURES = [{"image": {"$image": 0}, "prompt": PROMPTS[0]}, {"image": {"$image": 1}, "prompt": PROMPTS[1]}]
HOLES = [{**item, "mask_image": {"$mask": 0}} for item in FROM_PICTURES]

CASES = [
    Case("stable-diffusion", "text-to-image", PROMPTS),
    Case("stable-diffusion", "text-to-image", PROMPTS, {"negative_prompt": "blurred", "guidance_scale": 3.0}),
    Case("stable-diffusion", "text-to-image", PROMPTS, {"num_images_per_prompt": 2, **SIZE}),
    Case("stable-diffusion", "text-to-image", PROMPTS, load={"scheduler": "EulerAncestralDiscreteScheduler"}),
    Case("stable-diffusion", "text-to-image", PROMPTS, load={"dtype": "bfloat16"}),
    Case("stable-diffusion", "image-to-image", FROM_PICTURES, {"strength": 0.6}),
    Case("stable-diffusion", "image-inpainting", HOLES, SIZE),
    Case("stable-diffusion-xl", "text-to-image", PROMPTS, SIZE),
    Case("stable-diffusion-xl", "image-to-image", FROM_PICTURES, {"strength": 0.6}),
    Case("stable-diffusion-3", "text-to-image", PROMPTS, {**SIZE, "max_sequence_length": 16}),
    Case("flux", "text-to-image", PROMPTS, {"height": 8, "width": 8, "max_sequence_length": 16}),
    Case("inpainting", "image-inpainting", HOLES, SIZE),
    Case("safety-checked", "text-to-image", PROMPTS),
    Case("ddpm", "unconditional-image-generation", [4, 5]),
    Case("wan", "text-to-video", PROMPTS, {**SIZE, "num_frames": 5, "max_sequence_length": 16}),
    Case("ltx", "text-to-video", PROMPTS, {"height": 32, "width": 32, "num_frames": 9, "max_sequence_length": 16}),
    Case("animatediff", "text-to-video", PROMPTS, {**SIZE, "num_frames": 3}),
    Case("stable-video", "image-to-video", PICTURES, {"height": 32, "width": 32, "num_frames": 2}),
    Case("stable-audio", "text-to-audio", PROMPTS),
]


def write_pictures(folder: Path) -> None:
    """Write the pictures and the mask of the cases as files that both processes read."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[0:16, 0:16]
    pixels = np.stack([x * 16, y * 16, (x + y) * 8], -1).astype(np.uint8)
    for number, picture in enumerate((pixels, 255 - pixels[::-1])):
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"image{number}.png")
    Image.fromarray(((x > 7) * 255).astype(np.uint8)).save(folder / "mask0.png")


def opened(value: Any, folder: Path) -> Any:
    """Return `value` with its pictures as PIL images."""
    from PIL import Image

    if isinstance(value, dict):
        for kind in ("image", "mask"):
            if f"${kind}" in value:
                with Image.open(folder / f"{kind}{value[f'${kind}']}.png") as image:
                    image.load()
                    return image
        return {key: opened(one, folder) for key, one in value.items()}
    return [opened(one, folder) for one in value] if isinstance(value, list) else value


def flat(value: Any) -> Any:
    """Return an answer as numbers: pictures as values of 0 to 1, videos as lists of them, sound as it is."""
    import numpy as np

    if type(value).__module__.startswith("PIL"):
        return (np.asarray(value) / 255).tolist()
    if isinstance(value, dict):
        return next(flat(value[key]) for key in ("frames", "audio") if key in value)
    if isinstance(value, list):
        return [flat(one) for one in value]
    return value.tolist()


#: Answers every case by the library's own `DiffusionPipeline` and `AutoPipelineFor...`.
REFERENCE = r"""
import traceback
import diffusers, numpy as np, torch
from PIL import Image
diffusers.utils.logging.set_verbosity_error(); diffusers.utils.logging.disable_progress_bar()
AUTO = {
    "text-to-image": diffusers.AutoPipelineForText2Image, "image-to-image": diffusers.AutoPipelineForImage2Image,
    "image-inpainting": diffusers.AutoPipelineForInpainting,
}

def pictures(value, folder):
    if isinstance(value, dict):
        for kind in ("image", "mask"):
            if "$" + kind in value:
                image = Image.open(f"{folder}/{kind}{value['$' + kind]}.png")
                return image.convert("L" if kind == "mask" else "RGB")
        return {k: pictures(v, folder) for k, v in value.items()}
    return value

def flat(value):
    if isinstance(value, Image.Image): return (np.asarray(value) / 255).tolist()
    if isinstance(value, list): return [flat(v) for v in value]
    return value.tolist()

def run(case):
    load = dict(case["load"])
    scheduler = load.pop("scheduler", None)
    if "dtype" in load: load["dtype"] = getattr(torch, load["dtype"])
    cls = AUTO.get(case["task"], diffusers.DiffusionPipeline)
    pipe = cls.from_pretrained(case["folder"], **load)
    pipe.set_progress_bar_config(disable=True)
    if scheduler: pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    answers = []
    for item in case["inputs"]:
        item = pictures(item, case["media"])
        seed = case["seed"]
        if case["task"] == "unconditional-image-generation": seed, item = item, {}
        elif not isinstance(item, dict): item = {"image" if isinstance(item, Image.Image) else "prompt": item}
        kind = {} if case["task"] == "text-to-audio" else {"output_type": "pil"}
        out = pipe(**item, **kind, **case["options"], generator=torch.Generator().manual_seed(seed))
        for field in ("images", "frames", "audios"):
            if field in out: found = list(out[field])
        many = case["options"].get("num_images_per_prompt", 1) > 1
        answers.append([flat(v) for v in found] if many else flat(found[0]))
    return answers

result = {}
for case in arg:
    try: result[case["id"]] = run(case)
    except Exception: result[case["id"]] = traceback.format_exc()
"""
