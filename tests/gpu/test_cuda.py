"""On a machine with a CUDA device: the same answers as on the CPU, and the device's memory given back.

Marked `long`: run by `make test-long`. Where there is no device these tests say so and do not run. For the column GPU
of docs/compatibility.md: ``pytest -m long tests/gpu --record-compatibility=.compat/gpu.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelscope_ext import pipeline
from modelscope_ext.models.schemas import check_output
from tests.equality import assert_close
from tests.models.backends.transformers_cases import CASES, Case, flat, opened, write_media
from tests.tiny import sentence_transformers_, transformers_

pytestmark = [pytest.mark.pt, pytest.mark.long]

#: One case for every family and task.
CHOSEN = list({(case.family, case.task): case for case in reversed(CASES)}.values())[::-1]
#: Families whose answers are drawn from random weights so sharply that a rounding of the last digit changes the text.
TEXTS = ("generated_text", "translation_text", "summary_text", "text")


@pytest.fixture(autouse=True, scope="module")
def torch():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"\n{torch.cuda.get_device_name(0)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    return torch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda")
    write_media(folder)
    return folder


def built(case: Case, root: Path) -> Path:
    folder = root / f"{case.family}-{case.seed}"
    return folder if folder.exists() else transformers_.build(case.family, folder, seed=case.seed)


def assert_alike(here: Any, there: Any, tolerance: float = 1e-3) -> None:
    """Compare answers; texts may differ in their letters, for a near tie is decided by the last digit of a sum."""
    assert_close(_without_texts(here), _without_texts(there), tolerance)


def _without_texts(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: _without_texts(value) for key, value in answer.items() if key not in TEXTS}
    return [_without_texts(one) for one in answer] if isinstance(answer, list) else answer


def device_of(pipe: Any) -> set[str]:
    return {str(parameter.device) for parameter in pipe.model.native.parameters()}


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
def test_every_task_runs_on_the_device(case: Case, root: Path, torch: Any) -> None:
    inputs = opened(case.inputs[:2], root)
    with pipeline(case.task, built(case, root), backend="transformers", device="cuda") as there:
        assert device_of(there) == {"cuda:0"}
        found = there(inputs, **case.options)
        for answer in found:
            if "num_return_sequences" not in case.options:
                check_output(case.task, answer, options=case.options)
        assert_alike(flat(there(inputs[0], **case.options)), flat(found[0]))
    with pipeline(case.task, built(case, root), backend="transformers", device="cpu") as here:
        expected = here(inputs, **case.options)
    if case.task not in ("object-detection", "mask-generation", "keypoint-matching", "image-segmentation"):
        assert_alike([flat(answer) for answer in found], [flat(answer) for answer in expected])


CLASSIFIED = [case for case in CHOSEN if case.task in ("text-classification", "image-classification")]


@pytest.mark.parametrize("case", CLASSIFIED, ids=lambda case: case.id)
@pytest.mark.parametrize("device", ["cuda", "gpu", "cuda:0", 0])
def test_every_spelling_of_the_device(case: Case, device: Any, root: Path, torch: Any) -> None:
    with pipeline(case.task, built(case, root), device=device) as pipe:
        assert device_of(pipe) == {"cuda:0"}
        assert pipe.model.device == "cuda:0"


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_on_the_device(case: Case, dtype: str, root: Path, torch: Any) -> None:
    with pipeline(case.task, built(case, root), backend="transformers", device="cuda", dtype=dtype) as pipe:
        assert {parameter.dtype for parameter in pipe.model.native.parameters()} == {getattr(torch, dtype)}
        answer = pipe(opened(case.inputs[0], root), **case.options)
    if "num_return_sequences" not in case.options:
        check_output(case.task, answer, options=case.options)


@pytest.mark.parametrize("spread", ["auto", "cuda", {"": 0}, {"": "cuda:0"}], ids=str)
def test_a_device_map_places_the_model(spread: Any, tmp_path: Path, torch: Any) -> None:
    folder = transformers_.build("text-generation", tmp_path / "model")
    with pipeline(model=folder, device_map=spread) as pipe:
        assert device_of(pipe) == {"cuda:0"}
        assert pipe("the cat", max_new_tokens=4)["generated_text"].startswith("the cat")


def test_a_device_map_spreads_over_the_device_and_the_cpu(tmp_path: Path, torch: Any) -> None:
    folder = transformers_.build("text-classification", tmp_path / "model", seed=1)
    spread = {"bert.embeddings": "cpu", "bert.encoder": 0, "bert.pooler": 0, "classifier": "cpu"}
    with pipeline(model=folder, device_map=spread) as pipe, pipeline(model=folder, device="cpu") as here:
        assert pipe.model.native.hf_device_map == spread
        assert_alike(pipe(["good film", "bad"]), here(["good film", "bad"]))


def test_sentence_vectors_are_those_of_the_cpu(tmp_path: Path, torch: Any) -> None:
    folder = sentence_transformers_.build("mean", tmp_path / "model")
    texts = ["good film", "the cat sat on the mat"]
    with pipeline("feature-extraction", folder, device="cpu") as here:
        want = here(texts)
    with pipeline("feature-extraction", folder, device="cuda") as there:
        got = there(texts)
    assert_close(got, want, 1e-5)


def test_a_stream_comes_from_the_device(tmp_path: Path, torch: Any) -> None:
    folder = transformers_.build("text-generation", tmp_path / "model")
    with pipeline(model=folder, device="cuda") as pipe:
        whole = pipe("the cat sat", return_full_text=False)["generated_text"]
        assert "".join(pipe("the cat sat", stream=True)).strip() == whole.strip()


def test_closing_gives_the_devices_memory_back(tmp_path: Path, torch: Any) -> None:
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


def test_a_seed_repeats_and_leaves_the_devices_numbers(tmp_path: Path, torch: Any) -> None:
    folder = transformers_.build("text-generation", tmp_path / "model")
    with pipeline(model=folder, device="cuda") as pipe:
        state = torch.cuda.get_rng_state()
        texts = {str(pipe("the cat", do_sample=True, seed=7)) for _ in range(2)}
        assert len(texts) == 1
        assert torch.equal(torch.cuda.get_rng_state(), state)


def test_what_is_saved_from_the_device_loads_on_the_cpu(tmp_path: Path, torch: Any) -> None:
    folder = transformers_.build("text-classification", tmp_path / "model", seed=1)
    with pipeline(model=folder, device="cuda") as pipe:
        expected = pipe("good film")
        pipe.model.save_pretrained(tmp_path / "saved")
    with pipeline(model=tmp_path / "saved", device="cpu") as again:
        assert_alike(again("good film"), expected)


def test_a_device_that_is_not_there_is_named(tmp_path: Path, torch: Any) -> None:
    from modelscope_ext.errors import ModelScopeExtError

    folder = transformers_.build("text-classification", tmp_path / "model")
    with pytest.raises(ModelScopeExtError, match="cuda:77"):
        pipeline(model=folder, device="cuda:77")
