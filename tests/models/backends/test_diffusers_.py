"""The conformance checks for diffusers: a text-to-image and an unconditional pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelscope_ext.models.backends.diffusers_ import Diffusers
from modelscope_ext.testing import BackendConformance

pytestmark = pytest.mark.pt

#: What rounds to neighbouring values of 255 is equal: batches and single inputs differ in the last bit of a float.
PIXEL = 1.01 / 255


class Conformance(BackendConformance):
    backend = Diffusers
    libraries = ("diffusers", "transformers", "torch")
    tolerance = PIXEL
    family = ""

    def make_folder(self, tmp_path: Path) -> Path:
        from tests.tiny.diffusers_ import build

        return build(self.family, tmp_path / "model")

    def near_misses(self, tmp_path: Path) -> Iterator[Path]:
        from tests.tiny.transformers_ import build

        yield build("text-classification", tmp_path / "bert")
        offsets = tmp_path / "offsets"
        offsets.mkdir()
        (offsets / "model_index.json").write_text('{"metadata": {"total_size": 3}, "weight_map": {}}')
        (offsets / "model.bin").write_bytes(b"weights")
        yield offsets


class TestTextToImage(Conformance):
    family = "stable-diffusion"
    task = "text-to-image"
    inputs = ("a red house", "two small birds")
    predict_options = {"seed": 3, "num_inference_steps": 2, "height": 16, "width": 16}
    load_values = {"scheduler": "EulerDiscreteScheduler"}
    call_values = {
        "seed": 7,
        "num_inference_steps": 1,
        "guidance_scale": 3.0,
        "negative_prompt": "blurred",
        "height": 24,
        "width": 24,
        "num_images_per_prompt": 2,
    }


class TestUnconditional(Conformance):
    family = "ddpm"
    task = "unconditional-image-generation"
    inputs = (1, 2)
    predict_options = {"num_inference_steps": 2}
    call_values = {"num_inference_steps": 3}
