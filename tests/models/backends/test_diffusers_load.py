"""What diffusers loads and refuses: variants, damaged and incomplete folders, code, components, options."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext import Model, pipeline, plan, resolve
from modelscope_ext.errors import (
    BackendNotLoadable,
    NotAModel,
    OptionError,
    PickleRefused,
    RemoteCodeRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from tests.models.backends.diffusers_cases import flat
from tests.tiny.diffusers_ import build, make, quiet

pytestmark = pytest.mark.pt

CALL = {"seed": 3, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("stable-diffusion", tmp_path_factory.mktemp("sd") / "model")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def edit(file: Path, **values: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    document = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


def change(file: Path, act: Any) -> None:
    """Change the tensors of a safetensors file by `act`."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    act(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.mark.parametrize("name", [UNET, TEXT, "vae/diffusion_pytorch_model.safetensors"])
def test_missing_tensors_are_named_with_their_component(folder: Path, name: str) -> None:
    gone: list[str] = []
    change(folder / name, lambda tensors: gone.append(sorted(tensors)[3]) or tensors.pop(gone[0]))
    component, _, key = name.partition("/")[0], None, gone[0]
    with pytest.raises(WeightsMismatch, match=rf"(?s){component} .*would be random.*{key.rpartition('.')[2]}"):
        Model.from_pretrained(folder)
    with Model.from_pretrained(folder, allow_missing_weights=True) as model:
        part = getattr(model.native, component)
        assert not [one for one, tensor in part.state_dict().items() if tensor.device.type == "meta"]
        assert model.predict("text-to-image", ["a house"], **CALL)


def test_tensors_that_are_left_over_or_of_another_shape_are_named(folder: Path) -> None:
    import torch

    change(folder / UNET, lambda tensors: tensors.update(extra=torch.ones(2)))
    with pytest.raises(
        WeightsMismatch, match=r"unet \(UNet2DConditionModel\): 1 tensors of its weights have no place.*extra"
    ):
        Model.from_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "values"), [("unet/config.json", {"in_channels": 6}), ("text_encoder/config.json", {"vocab_size": 90})]
)
def test_a_config_that_does_not_fit_its_weights(folder: Path, config: str, values: dict) -> None:
    edit(folder / config, **values)
    with pytest.raises(WeightsMismatch, match=rf"(?s){config.partition('/')[0]}.*(shape|fit)"):
        Model.from_pretrained(folder)


@pytest.mark.parametrize("name", ["unet", "tokenizer", "scheduler", "text_encoder"])
def test_a_component_that_is_not_there_is_named(folder: Path, name: str) -> None:
    shutil.rmtree(folder / name)
    with pytest.raises(NotAModel, match=rf"{name} is a \w+, and there is no folder {name}/"):
        Model.from_pretrained(folder)


def test_a_component_without_weights_is_named(folder: Path) -> None:
    (folder / UNET).unlink()
    with pytest.raises(NotAModel, match="unet holds no weights that PyTorch reads"):
        Model.from_pretrained(folder)


def test_a_variant_is_taken_whole_and_alone(folder: Path) -> None:
    import torch

    with quiet():
        make("stable-diffusion").to(torch.float16).save_pretrained(str(folder), variant="fp16")
    whole, half = (resolve(folder, variant=variant) for variant in (None, "fp16"))
    assert not [name for name in whole.weights.files if "fp16" in name]
    assert all(".fp16." in name for name in half.weights.files)
    assert half.weights.variant == "fp16"
    assert len(half.weights.files) == len(whole.weights.files) == 3
    planned = [file.name for file in plan(folder, variant="fp16").files]
    assert [name for name in planned if name.endswith(".safetensors")] == list(half.weights.files)
    for name in whole.weights.files:
        (folder / name).write_bytes(b"never opened")
    with Model.from_pretrained(folder, variant="fp16") as model:
        assert {part.dtype for part in model.native.components.values() if hasattr(part, "dtype")} == {torch.float16}
        assert model.predict("text-to-image", ["a house"], **CALL)
    with pytest.raises(OptionError, match=r"variant='fp61': no weight file has it. Did you mean 'fp16'\?"):
        Model.from_pretrained(folder, variant="fp61")


def test_a_component_without_the_variant_keeps_what_it_has(folder: Path) -> None:
    shutil.copyfile(folder / UNET, folder / "unet/diffusion_pytorch_model.ema.safetensors")
    (folder / UNET).write_bytes(b"never opened")
    files = resolve(folder, variant="ema").weights.files
    assert files == (TEXT, "unet/diffusion_pytorch_model.ema.safetensors", "vae/diffusion_pytorch_model.safetensors")
    with Model.from_pretrained(folder, variant="ema") as model:
        assert model.predict("text-to-image", ["a house"], **CALL)


def test_shards_and_their_index(original: Path, tmp_path: Path) -> None:
    sharded = build("stable-diffusion", tmp_path / "shards", max_shard_size="100KB")
    names = [file.name for file in plan(sharded).files]
    assert "unet/diffusion_pytorch_model.safetensors.index.json" in names
    assert sum(name.startswith("unet/diffusion_pytorch_model-0") for name in names) > 1
    with Model.from_pretrained(sharded) as model, Model.from_pretrained(original) as whole:
        expected = flat(whole.predict("text-to-image", ["a house"], **CALL))
        assert flat(model.predict("text-to-image", ["a house"], **CALL)) == expected


def test_pickles_pass_only_where_pickles_may(tmp_path: Path, original: Path) -> None:
    pickled = build("stable-diffusion", tmp_path / "pickled", safe_serialization=False)
    for name in ("text_encoder", "vae"):  # a folder of both kinds; transformers writes no pickles any more
        shutil.rmtree(pickled / name)
        shutil.copytree(original / name, pickled / name)
    assert "unet/diffusion_pytorch_model.bin" in resolve(pickled).weights.files
    with pytest.raises(PickleRefused):
        Model.from_pretrained(pickled, allow_pickle=False)
    with Model.from_pretrained(pickled) as model, Model.from_pretrained(original) as whole:
        expected = flat(whole.predict("text-to-image", ["a house"], **CALL))
        assert flat(model.predict("text-to-image", ["a house"], **CALL)) == expected


def test_a_pickle_that_is_more_than_tensors_is_refused(folder: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("ran",))

    (folder / UNET).unlink()
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(PickleRefused):
        Model.from_pretrained(folder)


def test_what_the_index_does_not_name_is_neither_planned_nor_opened(folder: Path) -> None:
    (folder / "safety_checker").mkdir()
    for name in ("safety_checker/model.safetensors", "v1-5.ckpt", "unet/flax_model.msgpack", "unet/model.onnx"):
        (folder / name).write_bytes(b"never opened")
    names = {file.name for file in plan(folder).files}
    assert names == {
        "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", TEXT,
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "unet/config.json", UNET, "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    Model.from_pretrained(folder).close()


@pytest.mark.parametrize(
    "entry",
    [["os", "system"], ["subprocess", "Popen"], ["pipeline_utils", "PushToHubMixin"], ["diffusers", "ModelMixin"],
     ["transformers", "Trainer"], ["transformers", "AutoModelForNothing"], ["diffusers", "StableDiffusionPipeline"]],
)  # fmt: skip
def test_a_class_outside_the_closed_table_is_never_looked_up(folder: Path, entry: list[str]) -> None:
    edit(folder / "model_index.json", unet=entry)
    for trust in (False, True):
        with pytest.raises(UnknownTypeError, match=entry[1]):
            Model.from_pretrained(folder, trust_remote_code=trust)


def test_a_class_that_this_release_lacks(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="StableDiffusionsPipeline")
    with pytest.raises(BackendNotLoadable, match="Did you mean 'StableDiffusionPipeline'"):
        Model.from_pretrained(folder)


CODE = """
from diffusers import StableDiffusionPipeline

class Loud(StableDiffusionPipeline):
    loud = True
"""


def test_code_of_a_pipeline_runs_only_where_permitted(folder: Path, original: Path) -> None:
    edit(folder / "model_index.json", _class_name=["loud", "Loud"])
    (folder / "loud.py").write_text(CODE)
    with pytest.raises(RemoteCodeRefused, match=r"loud\.py"):
        Model.from_pretrained(folder)
    before = set(sys.modules), list(sys.path)
    with Model.from_pretrained(folder, trust_remote_code=True) as model, Model.from_pretrained(original) as plain:
        assert model.native.loud
        expected = flat(plain.predict("text-to-image", ["a house"], **CALL))
        assert flat(model.predict("text-to-image", ["a house"], **CALL)) == expected
    assert list(sys.path) == before[1]


def test_modular_pipelines_are_recognised_only(tmp_path: Path) -> None:
    blocks = {"_blocks_class_name": "SequentialPipelineBlocks", "_class_name": "ModularPipeline"}
    (tmp_path / "modular_model_index.json").write_text(
        json.dumps({**blocks, "vae": ["diffusers", "AutoencoderKL", {}]})
    )
    assert resolve(tmp_path).backend == "diffusers"
    with pytest.raises(BackendNotLoadable, match=r"modular_model_index\.json: a modular pipeline"):
        Model.from_pretrained(tmp_path)
    triple = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL", {"repo": "a/b"}]}
    other = tmp_path / "triples"
    other.mkdir()
    (other / "model_index.json").write_text(json.dumps(triple))
    with pytest.raises(BackendNotLoadable, match=r"model_index\.json: vae: a modular pipeline"):
        Model.from_pretrained(other)


def test_a_checkpoint_in_one_file_is_recognised_only(original: Path, tmp_path: Path) -> None:
    shutil.copyfile(original / UNET, tmp_path / "sd_xl_base_1.0.safetensors")
    assert resolve(tmp_path).backend == "diffusers"
    assert resolve(tmp_path).code().startswith("# diffusers has no snippet")
    with pytest.raises(BackendNotLoadable, match="from_single_file"):
        Model.from_pretrained(tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("unet", "UNet2DConditionModel"), ("vae", "AutoencoderKL")])
def test_one_component_loads_as_itself_and_runs_nothing(original: Path, name: str, kind: str) -> None:
    import torch

    with Model.from_pretrained(original / name) as model, Model.from_pretrained(original) as whole:
        assert type(model.native).__name__ == kind
        own, theirs = model.native.state_dict(), getattr(whole.native, name).state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in own.items())
    with Model.from_pretrained(original, subfolder=name) as model:
        assert type(model.native).__name__ == kind
    with pytest.raises(OptionError, match=rf"{kind} is one component of a pipeline.*model_index\.json"):
        pipeline(model=original / name)


def test_a_control_net_loads(tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    from tests.tiny._pictures import unet

    with quiet():
        ControlNetModel.from_unet(unet(), conditioning_embedding_out_channels=(4,)).save_pretrained(tmp_path / "net")
    with Model.from_pretrained(tmp_path / "net") as model:
        assert type(model.native).__name__ == "ControlNetModel"
        model.save_pretrained(tmp_path / "saved")
    assert resolve(tmp_path / "saved").backend == "diffusers"


def test_the_scheduler_is_the_callers(original: Path) -> None:
    with Model.from_pretrained(original, scheduler="EulerDiscreteScheduler") as model:
        assert type(model.native.scheduler).__name__ == "EulerDiscreteScheduler"
        assert model.native.scheduler.config.beta_end == 0.012
    for name, why in (
        ("DDIMSchedular", r"no scheduler of diffusers.*Did you mean 'DDIMScheduler'"),
        ("FlowMatchEulerDiscreteScheduler", "cannot be made of the settings of DDIMScheduler"),
        (3, "expected the name of a class"),
    ):
        with pytest.raises(OptionError, match=why):
            Model.from_pretrained(original, scheduler=name)
    with pytest.raises(OptionError, match="has no scheduler to exchange"):
        Model.from_pretrained(original / "unet", scheduler="DDIMScheduler")


def test_where_and_in_which_dtype_it_lives(original: Path) -> None:
    import torch

    with Model.from_pretrained(original, dtype="bfloat16", device="cpu") as model:
        assert {part.dtype for part in model.native.components.values() if hasattr(part, "dtype")} == {torch.bfloat16}
    for spread in ("auto", "balanced", "cpu", {"unet": "cpu", "vae": "cpu"}):
        with Model.from_pretrained(original, device_map=spread) as model:
            assert model.device == "cpu"
            assert model.predict("text-to-image", ["a house"], **CALL)
    with pytest.raises(OptionError, match=r"device_map: 'unett' is no component.*Did you mean 'unet'"):
        Model.from_pretrained(original, device_map={"unett": "cpu"})


def test_related_tasks_share_the_components(original: Path) -> None:
    with Model.from_pretrained(original) as model:
        assert type(model.native).__name__ == "StableDiffusionPipeline"
        assert pipeline("inpainting", model=model).task == "image-inpainting"
    with Model.from_pretrained(original, task="image-to-image") as model:
        assert type(model.native).__name__ == "StableDiffusionImg2ImgPipeline"
        assert model.tasks[0] == "image-to-image"
    with pytest.raises(OptionError, match=r"StableDiffusionPipeline does not serve 'text-to-video'"):
        pipeline("text-to-video", model=original)


def test_options_and_fields_are_checked(original: Path) -> None:
    from PIL import Image

    with pipeline(model=original) as pipe:
        for options, why in (
            ({"num_frames": 3}, "unknown option"),
            ({"prompt_2": "x"}, "takes no 'prompt_2'"),
            ({"seed": -1}, "seed=-1"),
            ({"seed": True}, "seed=True"),
            ({"num_images_per_prompt": 0}, "num_images_per_prompt=0"),
            ({"height": 16}, "height and width together"),
            ({"height": 13, "width": 16}, "refuses the call.*divisible"),
        ):
            with pytest.raises(OptionError, match=why):
                pipe("a house", **options)
        image = Image.new("RGB", (16, 16), "red")
        with pytest.raises(OptionError, match="needs a text beside the image"):
            pipeline("image-to-image", model=pipe.model)(image)
        with pytest.raises(OptionError, match="unknown key 'mask'"):
            pipeline("image-inpainting", model=pipe.model)({"image": image, "mask": image, "prompt": "a"})


def test_a_seed_holds_for_each_input_and_none_is_the_librarys(original: Path) -> None:
    import torch

    with pipeline(model=original) as pipe:
        state = torch.get_rng_state()
        same = pipe(["a house", "a house"], **CALL)
        assert flat(same[0]) == flat(same[1])
        assert torch.equal(state, torch.get_rng_state())
        torch.manual_seed(5)
        one = pipe("a house", num_inference_steps=2)
        torch.manual_seed(5)
        assert flat(pipe("a house", num_inference_steps=2)) == flat(one) != flat(same[0])


def test_an_object_of_the_library_is_taken_as_it_is(original: Path, tmp_path: Path) -> None:
    native = make("stable-diffusion")
    with pipeline(model=native) as pipe, pipeline(model=original) as loaded:
        assert (pipe.task, pipe.model.backend, pipe.model.native is native) == ("text-to-image", "diffusers", True)
        assert flat(pipe("a house", **CALL)) == flat(loaded("a house", **CALL))


def test_unconditional_pictures_need_no_input(tmp_path: Path) -> None:
    with pipeline(model=build("ddpm", tmp_path / "ddpm")) as pipe:
        assert pipe(num_inference_steps=2).size == (16, 16)
        first, second = pipe([1, 2], num_inference_steps=2)
        assert flat(first) != flat(second)
        with pytest.raises(OptionError, match="whole number"):
            pipe("a house")


SDXL = {
    "framework": "pytorch",
    "task": "text-to-image-synthesis",
    "pipeline": {"type": "diffusers-stable-diffusion"},
    "model": {
        "type": "stable-diffusion-xl",
        "pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5",
        "lora_tune": True,
        "dreambooth_tune": False,
    },
    "preprocessor": {
        "type": "diffusion-image-generation-preprocessor", "resolution": 512, "mean": [0.5], "std": [0.5],
    },
}  # fmt: skip


def test_a_real_configuration_json_beside_a_pipeline(folder: Path) -> None:
    with Model.from_pretrained(folder) as plain:
        expected = flat(plain.predict("text-to-image", ["a house"], **CALL))
    (folder / "configuration.json").write_text(json.dumps(SDXL))
    found = resolve(folder)
    assert (found.backend, found.framework, found.default_task) == ("diffusers", "pytorch", "text-to-image")
    assert "modelscope" in [other.backend for other in found.alternatives]
    (remark,) = [one for one in found.findings if one.field and "pretrained_model_name_or_path" in one.field]
    assert remark.file == "configuration.json"
    with Model.from_pretrained(folder) as model:
        assert flat(model.predict("text-to-image", ["a house"], **CALL)) == expected
        assert model.config.model.lora_tune is True
    with Model.from_pretrained(folder, cfg_dict=SDXL) as model:
        assert model.default_task == "text-to-image"
    with Model.from_pretrained(folder, cfg_dict={"tasks": ["image-to-image"]}) as model:
        assert model.default_task == "image-to-image"
    with pipeline(model=folder) as pipe:
        assert flat(pipe("a house", **CALL)) == expected[0]


@pytest.mark.parametrize("family", ["inpainting", "ddpm"])
def test_the_snippet_runs_without_this_package(family: str, tmp_path: Path) -> None:
    folder = build(family, tmp_path / family)
    code = resolve(folder).code().replace("num_inference_steps=30", "num_inference_steps=2")
    text = "import sys; sys.modules['modelscope_ext'] = None\n" + code
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
