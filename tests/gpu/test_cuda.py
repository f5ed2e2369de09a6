"""On a machine with a CUDA device: the same answers as on the CPU, and the device's memory given back.

Marked `long`: run by `make test-long`. Where there is no device these tests say so and do not run.
"""

import numpy as np
import pytest

from modelscope_ext import pipeline
from tests.tiny import sentence_transformers_, transformers_

pytestmark = [pytest.mark.pt, pytest.mark.long]


@pytest.fixture(autouse=True, scope="module")
def torch():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch


CASES = {
    "text-classification": (["good film", "the cat sat", "bad"], {"top_k": None}),
    "token-classification": (["good film", "the cat sat on the mat"], {}),
    "text-generation": (["the cat", "a good"], {"max_new_tokens": 6}),
    "image-classification": ("images", {"top_k": None}),
    "automatic-speech-recognition": ("sounds", {}),
}


def inputs_of(what):
    rng = np.random.default_rng(0)
    if what == "images":
        from PIL import Image

        return [Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(3)]
    if what == "sounds":
        return [rng.normal(size=n).astype(np.float32) for n in (4000, 6000)]
    return what


def assert_close(here, there):
    if isinstance(here, dict):
        assert here.keys() == there.keys()
        for key in here:
            assert_close(here[key], there[key])
    elif isinstance(here, list):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            assert_close(a, b)
    elif isinstance(here, float):
        assert here == pytest.approx(there, abs=1e-4)
    else:
        assert here == there


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", ["cuda", "gpu", "cuda:0"])
def test_answers_are_those_of_the_cpu(name, device, tmp_path, torch):
    folder = transformers_.build(name, tmp_path / "model")
    what, options = CASES[name]
    inputs = inputs_of(what)
    with pipeline(name, folder, device="cpu") as here, pipeline(name, folder, device=device) as there:
        assert next(there.model.native.parameters()).device == torch.device("cuda:0")
        assert next(here.model.native.parameters()).device.type == "cpu"
        assert_close(there(inputs, **options), here(inputs, **options))
        assert_close(there(inputs, batch_size=2, **options), here(inputs, **options))


def test_a_device_map_places_the_model(tmp_path, torch):
    folder = transformers_.build("text-generation", tmp_path / "model")
    with pipeline(model=folder, device_map="auto") as pipe:
        assert {p.device.type for p in pipe.model.native.parameters()} == {"cuda"}
        answer = pipe("the cat", max_new_tokens=4)
    with pipeline(model=folder, device="cpu") as pipe:
        assert pipe("the cat", max_new_tokens=4) == answer


def test_half_precision_stays_on_the_device(tmp_path, torch):
    folder = transformers_.build("text-classification", tmp_path / "model")
    with pipeline(model=folder, device="cuda", dtype="float16") as pipe:
        assert {p.dtype for p in pipe.model.native.parameters()} == {torch.float16}
        assert pipe("good film")["score"] > 0


def test_sentence_vectors_are_those_of_the_cpu(tmp_path, torch):
    folder = sentence_transformers_.build("mean", tmp_path / "model")
    texts = ["good film", "the cat sat on the mat"]
    with pipeline("feature-extraction", folder, device="cpu") as here:
        want = here(texts)
    with pipeline("feature-extraction", folder, device="cuda") as there:
        got = there(texts)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_closing_gives_the_devices_memory_back(tmp_path, torch):
    from transformers import BertConfig, BertForSequenceClassification

    folder = transformers_.build("text-classification", tmp_path / "model")
    config = BertConfig.from_pretrained(folder, hidden_size=512, intermediate_size=4096, num_hidden_layers=8)
    BertForSequenceClassification(config).save_pretrained(folder)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        with pipeline(model=folder, device="cuda") as pipe:
            assert pipe("good film")["label"]
            assert torch.cuda.memory_allocated() - before > 100 * 2**20
        assert torch.cuda.memory_allocated() - before < 2**20


def test_a_device_that_is_not_there_is_named(tmp_path, torch):
    from modelscope_ext.errors import ModelScopeExtError

    folder = transformers_.build("text-classification", tmp_path / "model")
    with pytest.raises(ModelScopeExtError, match="cuda:77"):
        pipeline(model=folder, device="cuda:77")
