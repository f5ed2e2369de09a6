"""Folders of low-rank weights alone: the base by consent only, equality with the library, and what is an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext import Model, pipeline, plan, resolve
from modelscope_ext.errors import OptionError, RedirectRefused, WeightsMismatch
from tests.equality import assert_equal
from tests.models.backends.diffusers_cases import flat
from tests.reference import reference
from tests.tiny.diffusers_ import build, build_lora

pytestmark = pytest.mark.pt

CALL = {"seed": 3, "num_inference_steps": 2}
PROMPTS = ["a red house", "two small birds"]
FILE = "pytorch_lora_weights.safetensors"

REFERENCE = """
import diffusers, numpy as np, torch
diffusers.utils.logging.set_verbosity_error(); diffusers.utils.logging.disable_progress_bar()
result = {}
for scale in (None, 0.25):
    pipe = diffusers.DiffusionPipeline.from_pretrained(arg["base"])
    pipe.set_progress_bar_config(disable=True)
    run = lambda p: pipe(p, num_inference_steps=2, generator=torch.Generator().manual_seed(3)).images[0]
    plain = [run(p) for p in arg["prompts"]]
    pipe.load_lora_weights(arg["lora"], adapter_name="default")
    if scale: pipe.set_adapters(["default"], adapter_weights=[scale])
    made = [run(p) for p in arg["prompts"]]
    result["plain"] = [(np.asarray(i) / 255).tolist() for i in plain]
    result[str(scale)] = [(np.asarray(i) / 255).tolist() for i in made]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("stable-diffusion", tmp_path_factory.mktemp("lora") / "base")


@pytest.fixture(scope="module")
def lora(base: Path) -> Path:
    return build_lora(base.parent / "lora")


@pytest.fixture
def named(lora: Path, base: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(lora, tmp_path / "named"))
    (folder / "README.md").write_text(f"---\nbase_model: {base}\nlibrary_name: diffusers\n---\n")
    return folder


def pictures(folder: Path, **options: Any) -> list:
    with Model.from_pretrained(folder, **options) as model:
        return flat(model.predict("text-to-image", PROMPTS, **CALL))


def test_it_answers_as_the_library_does(lora: Path, base: Path) -> None:
    expected = reference(REFERENCE, {"base": str(base), "lora": str(lora), "prompts": PROMPTS})
    assert expected["None"] != expected["plain"] != expected["0.25"] != expected["None"]
    assert [file.name for file in plan(lora).files] == [FILE]
    assert f"pipe.load_lora_weights({str(lora)!r}, weight_name={FILE!r})" in resolve(lora).code()
    assert_equal(pictures(lora, base_model=base), expected["None"], inputs=PROMPTS)
    assert_equal(pictures(lora, base_model=str(base), lora_scale=0.25), expected["0.25"], inputs=PROMPTS)


def test_the_base_is_opened_by_consent_only(lora: Path, named: Path, base: Path) -> None:
    assert resolve(named).backend == "diffusers"
    with pytest.raises(RedirectRefused, match="base_model leads to another source") as refused:
        Model.from_pretrained(named)
    assert refused.value.grant == "allow_sources"
    assert pictures(named, allow_sources=[str(base)]) == pictures(lora, base_model=base)
    with pytest.raises(OptionError, match=r"base_model names no base.*Pass base_model="):
        Model.from_pretrained(lora)
    with pytest.raises(OptionError, match="takes no base"):
        Model.from_pretrained(base, base_model=base)


def test_the_weights_own_metadata_name_the_base(lora: Path, base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(lora, tmp_path / "described"))
    save_file(load_file(folder / FILE), folder / FILE, metadata={"format": "pt", "base_model": str(base)})
    with pytest.raises(RedirectRefused, match=f"{FILE}: base_model leads to another source"):
        Model.from_pretrained(folder)
    assert pictures(folder, allow_sources=[str(base)])


def test_a_loaded_base_is_given_back_as_it_was(lora: Path, base: Path) -> None:
    with Model.from_pretrained(base) as whole:
        before = flat(whole.predict("text-to-image", PROMPTS, **CALL))
        changed = pictures(lora, base_model=whole)
        assert changed == pictures(lora, base_model=base) != before
        assert flat(whole.predict("text-to-image", PROMPTS, **CALL)) == before


def test_the_callers_own_adapters_stay(lora: Path, base: Path) -> None:
    with Model.from_pretrained(base) as whole:
        whole.native.load_lora_weights(str(lora), adapter_name="default")
        mine = flat(whole.predict("text-to-image", PROMPTS, **CALL))
        Model.from_pretrained(lora, base_model=whole).close()
        assert {name for names in whole.native.get_list_adapters().values() for name in names} == {"default"}
        whole.native.set_adapters(["default"])
        assert flat(whole.predict("text-to-image", PROMPTS, **CALL)) == mine


def test_an_adapter_that_changes_nothing_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="change nothing: every product"):
        Model.from_pretrained(build_lora(tmp_path / "zero", zero=True), base_model=base)


def test_weights_that_belong_to_nothing_are_named(lora: Path, base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(lora, tmp_path / "foreign"))
    tensors = load_file(folder / FILE)
    save_file({key.replace("unet.", "other."): tensor for key, tensor in tensors.items()}, folder / FILE)
    with pytest.raises(WeightsMismatch):
        Model.from_pretrained(folder, base_model=base)
    first = next(iter(tensors))
    tensors["unet.no_such_block.to_q.lora_A.weight"] = tensors[first].clone()
    tensors["unet.no_such_block.to_q.lora_B.weight"] = tensors[first].clone().T.contiguous()
    save_file(tensors, folder / FILE)
    with pytest.raises(WeightsMismatch, match=r"unet\.no_such_block\.to_q"):
        Model.from_pretrained(folder, base_model=base)


def test_options_of_a_lora(lora: Path, base: Path) -> None:
    for scale in (0, "1", True):
        with pytest.raises(OptionError, match="lora_scale"):
            Model.from_pretrained(lora, base_model=base, lora_scale=scale)
    with pytest.raises(OptionError, match="holds no low-rank weights"):
        Model.from_pretrained(base, lora_scale=0.5)


def test_related_tasks_and_saving(lora: Path, base: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = Image.new("RGB", (16, 16), "red")
    call = {"prompt": "a bird", "strength": 0.9, **CALL}
    with pipeline("image-to-image", lora, base_model=base) as changed, pipeline("image-to-image", base) as plain:
        assert flat(changed(image, **call)) != flat(plain(image, **call))
        changed.model.save_pretrained(tmp_path / "saved")
    expected = pictures(lora, base_model=base)
    assert pictures(tmp_path / "saved", allow_sources=[str(base)], task="text-to-image") == expected
