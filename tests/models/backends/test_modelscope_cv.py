"""ModelScope's types for pictures, run whole: nafnet, csrnet and a wrapped Stable Diffusion (environment `pt-cv`)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from modelscope_ext import Model, pipeline, resolve
from modelscope_ext.errors import (
    ModelScopeExtError,
    NotAModel,
    OptionError,
    PickleRefused,
    RedirectRefused,
    RemoteCodeRefused,
    WeightsMismatch,
)
from modelscope_ext.models.backends.modelscope_ import ModelScope
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close
from tests.models.backends.modelscope_cases import CALL, PICTURES, ask, edit

pytestmark = [pytest.mark.pt_cv, pytest.mark.usefixtures("torchvision_ops")]

TASKS = {"nafnet-denoise": "image-denoising", "nafnet-deblur": "image-deblurring", "csrnet": "image-color-enhancement"}


@pytest.fixture(scope="module")
def built(tmp_path_factory, torchvision_ops):
    """Return a function that builds a tiny model once."""
    root = tmp_path_factory.mktemp("built")

    def get(name):
        from tests.tiny import modelscope_

        return root / name if (root / name).is_dir() else modelscope_.build(name, root / name)

    return get


@pytest.fixture
def copied(built, tmp_path):
    return lambda name: Path(shutil.copytree(built(name), tmp_path / name))


def pictures():
    """Two pictures that differ, neither side of which is a multiple of the network's stride."""
    import numpy as np
    from PIL import Image

    noise = np.random.RandomState(0).randint(0, 256, (21, 30, 3), dtype=np.uint8)
    slope = np.add.outer(np.arange(18) * 9, np.arange(26) * 4)[:, :, None] + np.array([0, 20, 60])
    return [Image.fromarray(noise), Image.fromarray(slope.clip(0, 255).astype(np.uint8))]


@pytest.fixture
def saved_pictures(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, picture in zip(paths, pictures(), strict=True):
        picture.save(path)
    return [str(path) for path in paths]


class Pictures:
    def __len__(self):
        return 2

    def __getitem__(self, key):
        return pictures()[key]

    def __iter__(self):
        return iter(pictures())


class TestDenoising(BackendConformance):
    backend = ModelScope
    task = "image-denoising"
    inputs = Pictures()

    def make_folder(self, tmp_path):
        from tests.tiny import modelscope_

        return modelscope_.build("nafnet-denoise", tmp_path / "model")

    def near_misses(self, tmp_path):
        from tests.tiny import modelscope_

        untyped = modelscope_.build("nafnet-denoise", tmp_path / "untyped")
        edit(untyped, model=None, pipeline=None)
        yield untyped
        other = modelscope_.build("nafnet-denoise", tmp_path / "another-programs")
        (other / "configuration.json").write_text('{"a": 1}')
        yield other


@pytest.mark.parametrize("name", TASKS)
def test_pictures_equal_modelscopes(built, name, saved_pictures):
    import numpy as np

    expected = ask(PICTURES, built(name), TASKS[name], saved_pictures, vision=True)
    with pipeline(model=built(name), device="cpu") as pipe:
        assert (pipe.resolution.backend, pipe.task) == ("modelscope", TASKS[name])
        answers = pipe(saved_pictures)
    assert_close([np.asarray(one).tolist() for one in answers], [np.asarray(one).tolist() for one in expected], 0)
    changed = [
        np.abs(np.asarray(one).astype(int) - np.asarray(p)).mean() for one, p in zip(answers, pictures(), strict=True)
    ]
    assert min(changed) > 1, "the network leaves the picture as it is, so that equality proves nothing"


def test_an_alpha_channel_and_grey_pictures_are_taken_as_colours(built):
    import numpy as np

    picture = pictures()[0]
    with pipeline(model=built("nafnet-denoise"), device="cpu") as pipe:
        plain = pipe(picture.convert("L").convert("RGB"))
        grey = pipe(picture.convert("L"))
        assert np.array_equal(np.asarray(plain), np.asarray(grey))
        assert pipe(picture.convert("RGBA")).mode == "RGB"


def test_a_model_is_modelscopes_own_and_a_cfg_dict_replaces_the_file(copied):
    folder = copied("nafnet-denoise")
    with Model.from_pretrained(folder) as model:
        assert type(model.native).__module__.startswith("modelscope.models.cv.image_denoise")
        assert (model.backend, model.framework, model.tasks) == ("modelscope", "pytorch", ("image-denoising",))
    document = json.loads((folder / "configuration.json").read_text())
    (folder / "configuration.json").unlink()
    before = json.dumps(document)
    with Model.from_pretrained(folder, cfg_dict=document) as model:
        assert model.predict("image-denoising", pictures())
    assert json.dumps(document) == before
    document["framework"], document["task"] = "Pytorch", "image_denoising"  # as people write them
    with pipeline(model=folder, cfg_dict=document) as pipe:
        assert pipe(pictures()[0]).size == pictures()[0].size


def test_missing_and_strange_weights_are_named(copied):
    import torch

    folder = copied("nafnet-denoise")
    state = torch.load(folder / "pytorch_model.pt", weights_only=True)
    lost = state["params"].pop("intro.weight")
    torch.save(state, folder / "pytorch_model.pt")
    with pytest.raises(WeightsMismatch, match=r"1 weights are not in the checkpoint \(intro.weight\)"):
        Model.from_pretrained(folder)
    state["params"]["intro.weight"] = lost[:, :, :1]
    state["params"]["intro.wait"] = lost
    torch.save(state, folder / "pytorch_model.pt")
    with pytest.raises(WeightsMismatch, match=r"\(intro.wait\); 1 weights have another shape .*\(intro.weight\)"):
        Model.from_pretrained(folder)


def test_configuration_that_does_not_fit_the_weights(copied):
    folder = copied("nafnet-denoise")
    wider = json.loads((folder / "configuration.json").read_text())["model"]
    wider["network_g"]["width"] = 8
    edit(folder, model=wider)
    with pytest.raises(WeightsMismatch, match="another shape than the model"):
        Model.from_pretrained(folder)
    wider["network_g"] = {"no_such_argument": 1}
    edit(folder, model=wider)
    with pytest.raises(ModelScopeExtError, match="no_such_argument"):
        Model.from_pretrained(folder)


def test_a_pickle_with_more_than_tensors_is_never_opened(copied, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    folder = copied("nafnet-denoise")
    (folder / "pytorch_model.pt").write_bytes(pickle.dumps({"params": Evil()}))
    with pytest.raises(PickleRefused):
        Model.from_pretrained(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", ["/etc/passwd", "../other", "https://example.com/x.pt", "hub://x"])
def test_arguments_that_lead_out_of_the_folder_are_refused(copied, value):
    folder = copied("nafnet-denoise")
    edit(folder, model={"type": "nafnet", "weights": {"backbone": [value]}})
    with pytest.raises(RedirectRefused, match=r"model.weights.backbone\[0\]"):
        Model.from_pretrained(folder)


def test_code_of_the_folder_runs_only_if_asked_for_and_permitted(copied, tmp_path):
    folder, ran = copied("nafnet-denoise"), tmp_path / "ran"
    (folder / "ms_wrapper.py").write_text(f"open({str(ran)!r}, 'a').write('ran ')\n")
    with Model.from_pretrained(folder, trust_remote_code=True):
        assert not ran.exists()  # not asked for
    edit(folder, allow_remote=True)
    with pytest.raises(RemoteCodeRefused, match=r"ms_wrapper\.py"):
        Model.from_pretrained(folder)
    assert not ran.exists()
    with Model.from_pretrained(folder, trust_remote_code=True):
        assert ran.read_text() == "ran "


def test_registered_code_of_one_folder_is_not_known_to_the_next(copied, tmp_path):
    wrapper = """
from modelscope.models.builder import MODELS
from modelscope.models.cv.image_denoise import NAFNetForImageDenoise

@MODELS.register_module("image-denoising", module_name="brand-new")
class BrandNew(NAFNetForImageDenoise):
    word = {word!r}
"""
    for word in ("first", "second"):
        folder = Path(
            shutil.copytree(
                copied("nafnet-denoise") if word == "first" else tmp_path / "nafnet-denoise", tmp_path / word
            )
        )
        network = json.loads((folder / "configuration.json").read_text())["model"]["network_g"]
        edit(folder, allow_remote=True, model={"type": "brand-new", "network_g": network})
        (folder / "ms_wrapper.py").write_text(wrapper.format(word=word))
        with Model.from_pretrained(folder, trust_remote_code=True) as model:
            assert model.native.word == word
            assert model.predict("image-denoising", pictures())


def test_a_class_that_asks_a_hub_is_refused_at_once(copied):
    import time

    folder = copied("nafnet-denoise")
    network = json.loads((folder / "configuration.json").read_text())["model"]["network_g"]
    edit(folder, allow_remote=True, model={"type": "asking", "network_g": network})
    (folder / "ms_wrapper.py").write_text("""
from modelscope.hub.snapshot_download import snapshot_download
from modelscope.models.builder import MODELS
from modelscope.models.cv.image_denoise import NAFNetForImageDenoise

@MODELS.register_module("image-denoising", module_name="asking")
class Asking(NAFNetForImageDenoise):
    def __init__(self, model_dir, *args, **kwargs):
        super().__init__(model_dir, *args, **kwargs)
        snapshot_download("damo/backbone")
""")
    start = time.monotonic()
    with pytest.raises(RedirectRefused, match=r"modelscope.* for more than the folder holds. No connection was made"):
        Model.from_pretrained(folder, trust_remote_code=True)
    assert time.monotonic() - start < 10  # a relative path or an open network would wait for 15 s and more


def test_what_no_type_takes_is_refused(built):
    for name, value in {"dtype": "float16", "device_map": "auto", "variant": "fp16", "sequence_length": 4}.items():
        with pytest.raises(OptionError, match=name):
            Model.from_pretrained(built("nafnet-denoise"), **{name: value})


def test_a_missing_file_is_named(copied):
    folder = copied("nafnet-denoise")
    (folder / "pytorch_model.pt").rename(folder / "other.pt")
    with pytest.raises(NotAModel, match=r"pytorch_model\.pt"):
        Model.from_pretrained(folder)


def test_nothing_is_written_and_nothing_stays(copied, tmp_path, monkeypatch):
    folder, temporary = copied("nafnet-denoise"), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(temporary)
    before = sorted(folder.iterdir())
    pipe = pipeline(model=folder, device="cpu")
    staged = next(temporary.iterdir())
    assert (staged / "model" / "pytorch_model.pt").is_symlink()
    pipe(pictures()[0])
    pipe.close()
    assert sorted(folder.iterdir()) == before
    assert not list(temporary.iterdir())


def test_it_is_quiet(built, capfd):
    with pipeline(model=built("csrnet"), device="cpu") as pipe:
        pipe(pictures()[0])
    assert capfd.readouterr() == ("", "")


def test_save_writes_the_values_of_now(built, tmp_path):
    import numpy as np
    import torch

    with Model.from_pretrained(built("nafnet-denoise")) as model:
        with torch.no_grad():
            model.native.model.intro.bias += 0.2
        expected = model.predict("image-denoising", pictures())
        model.save_pretrained(tmp_path / "saved")
    with Model.from_pretrained(tmp_path / "saved") as again:
        found = again.predict("image-denoising", pictures())
    with Model.from_pretrained(built("nafnet-denoise")) as model:
        assert not np.array_equal(np.asarray(found[0]), np.asarray(model.predict("image-denoising", pictures())[0]))
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(found, expected, strict=True))


def test_objects_of_modelscope_are_adopted(built):
    import numpy as np

    script = built("nafnet-denoise")
    from modelscope_ext.models.backends._modelscope.contain import loading

    with loading(pickles=False):
        from modelscope.models import Model as Theirs
        from modelscope.pipelines import pipeline as theirs

        pipe = theirs("image-denoising", model=str(script), device="cpu")
        model = Theirs.from_pretrained(str(script), device="cpu")
    with pipeline(model=script, device="cpu") as ours:
        expected = ours(pictures()[0])
    for made in (pipe, model):
        with pipeline(model=made) as adopted:
            assert adopted.task == "image-denoising"
            assert np.array_equal(np.asarray(adopted(pictures()[0])), np.asarray(expected))


def test_the_native_snippet_runs(built, saved_pictures, monkeypatch):
    code = ModelScope().code(resolve(built("csrnet")))
    assert "modelscope_ext" not in code
    names: dict = {}
    from modelscope_ext.models.backends._modelscope.contain import loading

    with loading(pickles=False):
        exec(code.replace('"picture.png"', repr(saved_pictures[0])), names)
    assert names["output"]["output_img"].shape == (21, 30, 3)


DRAW = (
    CALL
    + """
import torch
result = []
for text in arg["inputs"]:
    given = {"text": text, "num_inference_steps": 2, "generator": torch.Generator().manual_seed(7)}
    result.append(pipe(given)["output_imgs"][0][:, :, ::-1])
"""
)


def test_stable_diffusion_equals_modelscopes(built):
    import numpy as np

    folder, texts = built("stable-diffusion"), ["a cat", "big red dog"]
    info = resolve(folder)
    assert (info.backend, [other.backend for other in info.alternatives][:1]) == ("diffusers", ["modelscope"])
    expected = ask(DRAW, folder, "text-to-image-synthesis", texts, vision=True, made={"use_safetensors": True})
    with pipeline("text-to-image", model=folder, backend="modelscope", device="cpu") as pipe:
        answers = [np.asarray(pipe(text, num_inference_steps=2, seed=7)) for text in texts]
    assert_close([one.tolist() for one in answers], expected, 0)
    assert np.abs(answers[0].astype(int) - answers[1]).max() > 0
