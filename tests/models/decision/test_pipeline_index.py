"""What a model_index.json names, and which files a component is loaded from."""

from __future__ import annotations

import pytest

from modelscope_ext.models.decision import tables
from modelscope_ext.models.decision.inference import pipeline_tasks
from modelscope_ext.models.decision.pipeline_index import Component, PipelineIndex, component_files, weight_files

MODEL = "diffusion_pytorch_model"


def test_entries_are_components_absences_or_options():
    index = PipelineIndex.of(
        {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.6.0",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "safety_checker": [None, None],
            "requires_safety_checker": False,
            "boundaries": [0.5, 0.9],
        }
    )
    assert index is not None
    assert index.components == (Component("unet", "diffusers", "UNet2DConditionModel"),)
    assert (index.kind, index.module, index.absent) == ("StableDiffusionPipeline", None, ("safety_checker",))
    assert index.options == {"requires_safety_checker": False, "boundaries": [0.5, 0.9]}


@pytest.mark.parametrize("document", [None, [], {}, {"weight_map": {}}, {"_class_name": ""}, {"_class_name": ["a"]}])
def test_other_files_of_that_name_are_no_pipelines(document):
    assert PipelineIndex.of(document) is None


def test_a_class_of_the_folders_own():
    index = PipelineIndex.of({"_class_name": ["pipeline", "Mine"]})
    assert index is not None
    assert (index.module, index.kind) == ("pipeline", "Mine")


@pytest.mark.parametrize(
    ("names", "variant", "taken"),
    [
        (["u.bin", "u.safetensors"], None, ["u.safetensors"]),
        (["u.bin", "u.fp16.safetensors"], None, ["u.bin"]),
        (["u.safetensors", "u.fp16.bin"], "fp16", ["u.fp16.bin"]),
        (["u.safetensors", "u.fp16.safetensors", "u.fp16.bin"], "fp16", ["u.fp16.safetensors"]),
        (["u.safetensors"], "fp16", ["u.safetensors"]),
        (["u-00001-of-00002.safetensors", "u-00002-of-00002.safetensors", "u.ema.safetensors"], None, [0, 1]),
        (["u.fp16-00001-of-00001.safetensors", "u.safetensors"], "fp16", [0]),
        (["u-00001-of-00001.fp16.safetensors", "u.safetensors"], "fp16", [0]),
        (["u.fp161.safetensors"], "fp16", []),
        (["uXsafetensors", "u.onnx", "u.msgpack", "other.safetensors"], None, []),
    ],
)
def test_one_format_one_variant_all_shards(names, variant, taken):
    full = [f"unet/{name.replace('u', MODEL, 1) if name.startswith('u') else name}" for name in names]
    chosen = [full[one] if isinstance(one, int) else f"unet/{one.replace('u', MODEL, 1)}" for one in taken]
    assert weight_files({*full, f"vae/{MODEL}.safetensors"}, "unet", variant) == tuple(chosen)


def test_only_the_index_of_the_chosen_shards_is_read():
    names = {
        f"unet/{MODEL}-00001-of-00001.safetensors", f"unet/{MODEL}.safetensors.index.json",
        f"unet/{MODEL}.fp16-00001-of-00001.safetensors", f"unet/{MODEL}.safetensors.index.fp16.json",
        f"unet/{MODEL}.bin.index.json", "unet/config.json", "unet/deep/config.json", "unet/flax_model.msgpack",
    }  # fmt: skip
    plain, half = (list(component_files(names, "unet", weight_files(names, "unet", v))) for v in (None, "fp16"))
    assert plain == ["unet/config.json", f"unet/{MODEL}.safetensors.index.json"]
    assert half == ["unet/config.json", f"unet/{MODEL}.safetensors.index.fp16.json"]


def test_the_table_is_closed():
    table = tables.diffusers()
    for library, kind in (
        ("diffusers", "UNet2DConditionModel"), ("diffusers", "DDIMScheduler"), ("transformers", "CLIPTextModel"),
        ("transformers", "CLIPTokenizer"), ("transformers", "T5EncoderModel"), ("transformers", "CLIPFeatureExtractor"),
        ("transformers", "PreTrainedTokenizerFast"), ("stable_diffusion", "StableDiffusionSafetyChecker"),
        ("kolors", "ChatGLMModel"), ("transformers", "CLIPImageProcessorPil"),
    ):  # fmt: skip
        assert table.has_component(library, kind), (library, kind)
    for library, kind in (
        ("diffusers", "ModelMixin"), ("diffusers", "StableDiffusionPipeline"), ("transformers", "Trainer"),
        ("transformers", "pipeline"), ("os", "system"), ("stable_diffusion", "os"), ("pipeline_utils", "Path"),
        ("", ""), ("kolors", "StableDiffusionSafetyChecker"),
    ):  # fmt: skip
        assert not table.has_component(library, kind), (library, kind)


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("StableDiffusionPipeline", ("text-to-image", "image-to-image", "image-inpainting")),
        ("StableDiffusionXLImg2ImgPipeline", ("image-to-image",)),
        ("DDPMPipeline", ("unconditional-image-generation",)),
        ("WanPipeline", ("text-to-video",)),
        ("StableVideoDiffusionPipeline", ("image-to-video",)),
        ("StableAudioPipeline", ("text-to-audio",)),
        ("NobodyKnowsItPipeline", ()),
    ],
)
def test_the_tasks_of_a_class(name, tasks):
    assert pipeline_tasks(name) == tasks
