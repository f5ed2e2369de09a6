"""The model that ships: its stated accuracy, its size, and the same answers with and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.models.resolution import Resolution, Source
from modelscope_ext.safety.grants import Grants
from tests.equality import assert_equal

ROOT = Path(__file__).parents[2]


def onnx():
    loaded = Onnx().load(digits_folder(), Resolution(Source("local"), "onnx", "onnxruntime"), Grants.of())
    return lambda images: Onnx().predict(loaded, "image-classification", images)


@pytest.fixture(scope="module")
def held_out():
    """The pictures that training never saw, and their labels, by the script's own split."""
    import importlib.util

    from PIL import Image

    spec = importlib.util.spec_from_file_location("train", ROOT / "examples" / "digits" / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    seen, images, _, labels = train.split()
    assert not {i.tobytes() for i in seen} & {i.tobytes() for i in images}
    return [Image.fromarray(image) for image in images], [str(label) for label in labels]


def stated():
    card = (digits_folder() / "README.md").read_text()
    share, right, total = re.search(r"Held-out accuracy: (0\.\d+) \((\d+) of (\d+) ", card).groups()
    assert float(share) == round(int(right) / int(total), 4)
    assert f"value: {share}\n" in card
    return int(right), int(total)


def test_held_out_accuracy_is_what_the_card_says(held_out):
    images, labels = held_out
    found = [output[0]["label"] for output in onnx()(images)]
    right = sum(a == b for a, b in zip(found, labels, strict=True))
    assert (right, len(labels)) == stated()
    assert right / len(labels) >= 0.97
    readme = (ROOT / "examples" / "digits" / "README.md").read_text()
    assert f"{right} of {len(labels)}" in readme


def test_the_folder_is_small_and_has_no_configuration_json():
    folder = digits_folder()
    assert not (folder / "configuration.json").exists()
    assert (folder / "model.safetensors").stat().st_size <= 300_000
    assert (folder / "onnx" / "model.onnx").stat().st_size <= 300_000
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config["id2label"] == {str(i): str(i) for i in range(10)}
    assert "/" not in json.dumps(config)


@pytest.mark.parametrize("installed", [True, False])
def test_the_files_decide_and_not_the_card(installed):
    """The demo shows an inference: no configuration.json, and a card that names neither library nor task."""
    from modelscope_ext import resolve

    decided = resolve(digits_folder(), installed=installed)
    reasons = [reason for field in ("framework", "backend", "tasks") for reason in decided.because[field]]
    assert not {reason.file for reason in reasons} & {"README.md", "configuration.json"}
    assert decided.because["tasks"][0].file == "config.json"
    assert "ViTForImageClassification" in decided.because["tasks"][0].text
    assert decided.tasks == ("image-classification",)


def test_the_samples_are_held_out_one_of_each_digit(held_out):
    from PIL import Image

    images, labels = held_out
    paths = digits_samples()
    assert [p.stem for p in paths] == [str(i) for i in range(10)]
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (8, 8)
            assert known[image.tobytes()] == path.stem


def test_the_samples_are_read_right():
    found = [output[0]["label"] for output in onnx()([str(p) for p in digits_samples()])]
    assert sum(label == p.stem for label, p in zip(found, digits_samples(), strict=True)) >= 9


def test_larger_and_coloured_pictures_are_read_the_same():
    from PIL import Image

    read = onnx()
    for path in digits_samples():
        image = Image.open(path)
        large = image.resize((256, 256), Image.Resampling.NEAREST)
        grey, colour, big = (output[0] for output in read([image, image.convert("RGBA"), large]))
        assert grey == colour
        assert big["label"] == grey["label"]
        image.close()


TRANSFORMERS = """
from transformers import pipeline
pipe = pipeline("image-classification", model=arg["folder"], device="cpu")
result = [pipe(path, top_k=10) for path in arg["paths"]]
"""

PIXELS = """
from transformers import AutoImageProcessor
from PIL import Image
processor = AutoImageProcessor.from_pretrained(arg["folder"], local_files_only=True)
values = [processor(images=Image.open(path), return_tensors="np")["pixel_values"][0] for path in arg["paths"]]
result = [value.tobytes().hex() for value in values]
"""


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    paths = [str(p) for p in digits_samples()]
    for i, path in enumerate(digits_samples()[:3]):
        with Image.open(path) as image:
            paths.append(str(tmp_path / f"{i}.png"))
            image.resize((37 + i, 50)).save(paths[-1])
    return paths


def test_without_torch_a_pipeline_runs_onnx():
    from modelscope_ext import pipeline

    paths = [str(p) for p in digits_samples()]
    with pipeline(model=digits_folder(), backend="onnx") as pipe:
        assert (pipe.resolution.backend, pipe.task) == ("onnxruntime", "image-classification")
        assert pipe(paths) == onnx()(paths)
        assert pipe(paths[3]) == onnx()(paths[3:4])[0]


@pytest.mark.pt
def test_with_torch_the_same_folder_resolves_to_transformers(pictures):
    from modelscope_ext import pipeline

    with pipeline(model=digits_folder(), device="cpu") as pipe:
        assert (pipe.resolution.backend, pipe.task) == ("transformers", "image-classification")
        torch = pipe(pictures)
    with pipeline(model=digits_folder(), backend="onnx") as pipe:
        assert pipe.resolution.backend == "onnxruntime"
        for ours, theirs in zip(pipe(pictures), torch, strict=True):
            assert [row["label"] for row in ours[:2]] == [row["label"] for row in theirs[:2]]
            assert all(abs(a["score"] - b["score"]) <= 1e-4 for a, b in zip(ours, theirs, strict=True))


@pytest.mark.pt
def test_the_safetensors_have_the_stated_accuracy_too(held_out):
    from modelscope_ext import pipeline

    images, labels = held_out
    with pipeline(model=digits_folder(), device="cpu", batch_size=64) as pipe:
        assert pipe.resolution.backend == "transformers"
        found = [answer[0]["label"] for answer in pipe([image.convert("RGB") for image in images], top_k=1)]
    assert (sum(a == b for a, b in zip(found, labels, strict=True)), len(labels)) == stated()


@pytest.mark.pt
def test_torch_and_onnx_agree(pictures):
    from tests.reference import reference

    expected = reference(TRANSFORMERS, {"folder": str(digits_folder()), "paths": pictures})
    loaded = Onnx().load(digits_folder(), Resolution(Source("local"), "onnx", "onnxruntime"), Grants.of())
    found = Onnx().predict(loaded, "image-classification", pictures, top_k=10)
    assert_equal(found, expected)
    assert len({rows[0]["label"] for rows in found}) >= 9


@pytest.mark.pt
def test_pixel_values_equal_the_librarys_bit_by_bit(pictures):
    from modelscope_ext.models.backends._onnx.image import Processor, picture
    from tests.reference import reference

    expected = reference(PIXELS, {"folder": str(digits_folder()), "paths": pictures})
    processor = Processor.of(json.loads((digits_folder() / "preprocessor_config.json").read_text()))
    assert [processor.pixel_values([picture(p)])[0].tobytes().hex() for p in pictures] == expected


@pytest.mark.pt
def test_the_script_writes_such_a_folder(tmp_path):
    """Two epochs, to see that the script runs whole; the shipped files are those of forty."""
    script = ROOT / "examples" / "digits" / "train.py"
    made = subprocess.run(
        [sys.executable, str(script), "--output", "out/digits", "--samples", "out/samples", "--epochs", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert made.returncode == 0, made.stderr
    names = {p.relative_to(tmp_path / "out" / "digits").as_posix() for p in (tmp_path / "out" / "digits").rglob("*")}
    assert names == {p.relative_to(digits_folder()).as_posix() for p in digits_folder().rglob("*")}
    for name in ("config.json", "preprocessor_config.json"):
        assert (tmp_path / "out" / "digits" / name).read_text() == (digits_folder() / name).read_text()
    for path in digits_samples():
        assert (tmp_path / "out" / "samples" / path.name).read_bytes() == path.read_bytes()
    assert "difference_onnx" in made.stdout
