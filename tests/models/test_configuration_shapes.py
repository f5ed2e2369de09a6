"""configuration.json as people have it, beside a folder of transformers: resolved, loaded and run, offline.

Each shape goes through `resolve`, `Model.from_pretrained` with and without `cfg_dict`, and `pipeline(model=folder)`.
"""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import OptionError, WeightsMismatch
from tests.equality import assert_equal
from tests.models.backends.transformers_cases import TEXTS
from tests.reference import reference

pytestmark = pytest.mark.pt

#: What ModelScope's hub has beside every chat model.
TRAINER = {"framework": "Pytorch", "task": "text-generation"}
#: The whole of our own form.
FULL = {
    "model_type": "qwen2",
    "framework": "pytorch",
    "backend": "transformers",
    "tasks": ["text-classification", "token-classification"],
}

CLASSES = """
import transformers as T
tokenizer = T.AutoTokenizer.from_pretrained(arg["folder"])
model = T.Qwen2ForSequenceClassification.from_pretrained(arg["folder"], dtype="float32")
result = []
for text in arg["texts"]:
    scores = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
    best = int(scores.argmax())
    result.append({"label": model.config.id2label[best], "score": scores[best].item()})
"""
TOKENS = """
import transformers as T
tokenizer = T.AutoTokenizer.from_pretrained(arg["folder"])
model = T.Qwen2ForTokenClassification.from_pretrained(arg["folder"], dtype="float32")
pipe = T.TokenClassificationPipeline(model=model, tokenizer=tokenizer)
result = [[{**row, "score": float(row["score"])} for row in pipe(text)] for text in arg["texts"]]
"""
WORDS = """
import transformers as T
pipe = T.pipeline("text-generation", model=arg["folder"], device="cpu")
result = [pipe(text, do_sample=False)[0] for text in arg["texts"]]
"""


@pytest.fixture(autouse=True)
def offline():
    with pytest.raises((RuntimeError, UserWarning), match="tried to use socket"):
        socket.socket(socket.AF_INET)


def declared(folder: Path, configuration: dict[str, Any]) -> Path:
    (folder / "configuration.json").write_text(json.dumps(configuration), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny.transformers_ import build

    return declared(build("qwen2", tmp_path_factory.mktemp("shapes") / "chat"), TRAINER)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory):
    """Folders of one Qwen2 with one head or the other, or with the tensors of both."""
    from safetensors.torch import load_file, save_file

    from tests.tiny.transformers_ import build

    root = tmp_path_factory.mktemp("heads")
    one = declared(build("qwen2-sequences", root / "one"), FULL)
    other = build("qwen2-tokens", root / "other")
    both = declared(build("qwen2-sequences", root / "both"), FULL)
    head = {k: v for k, v in load_file(other / "model.safetensors").items() if "score" in k}
    kept = load_file(both / "model.safetensors")
    return {"one": one, "both": both, "head": head, "kept": kept, "save": save_file}


# {"framework": "Pytorch", "task": "text-generation"}


def test_the_trainers_shape_is_resolved(chat: Path) -> None:
    from modelscope_ext import resolve

    found = resolve(chat)
    assert (found.backend, found.framework, found.default_task) == ("transformers", "pytorch", "text-generation")
    assert found.model_type == "qwen2"
    assert found.because["framework"][0].file == "configuration.json"
    assert not [finding for finding in found.findings if finding.level != "info"]


@pytest.mark.parametrize("cfg_dict", [None, TRAINER, {}, {"task": "chat"}], ids=str)
def test_the_trainers_shape_loads_and_answers_as_the_library(chat: Path, cfg_dict: Any) -> None:
    from modelscope_ext import Model, pipeline

    before = (chat / "configuration.json").read_bytes()
    given = None if cfg_dict is None else dict(cfg_dict)
    with Model.from_pretrained(chat, given, device="cpu") as model:
        assert (model.backend, model.framework, model.default_task) == ("transformers", "pytorch", "text-generation")
        assert type(model.native).__name__ == "Qwen2ForCausalLM"
        with pipeline(model=model) as pipe:
            ours = pipe(TEXTS[:2])
    assert given == cfg_dict
    assert (chat / "configuration.json").read_bytes() == before
    with pipeline(model=str(chat), cfg_dict=cfg_dict, device="cpu") as pipe:
        assert pipe.task == "text-generation"
        assert pipe(TEXTS[:2]) == ours
    assert_equal(ours, reference(WORDS, {"folder": str(chat), "texts": TEXTS[:2]}), inputs=TEXTS)


# the whole of our own form


def test_the_whole_shape_is_resolved(heads) -> None:
    from modelscope_ext import resolve

    found = resolve(heads["one"])
    assert (found.backend, found.framework, found.model_type) == ("transformers", "pytorch", "qwen2")
    assert found.tasks == ("text-classification", "token-classification")
    assert found.default_task == "text-classification"
    assert resolve(heads["one"], task="token-classification").default_task == "token-classification"


@pytest.mark.parametrize("cfg_dict", [None, FULL], ids=["file", "cfg_dict"])
def test_the_first_task_is_the_default(heads, cfg_dict: Any) -> None:
    from modelscope_ext import Model, pipeline

    folder = heads["one"]
    with Model.from_pretrained(folder, cfg_dict, device="cpu") as model:
        assert model.default_task == "text-classification"
        assert type(model.native).__name__ == "Qwen2ForSequenceClassification"
    with pipeline(model=folder, cfg_dict=cfg_dict, device="cpu") as pipe:
        assert pipe.task == "text-classification"
        ours = pipe(TEXTS)
    assert_equal(ours, reference(CLASSES, {"folder": str(folder), "texts": TEXTS}))


def test_the_second_task_needs_its_own_tensors(heads, caplog: pytest.LogCaptureFixture) -> None:
    """Both heads of Qwen2 are called `score`; what tells them apart is the bias, which sequences have none of."""
    from modelscope_ext import Model, Pipeline, pipeline

    folder = heads["one"]
    for load in (
        lambda **more: pipeline("token-classification", folder, device="cpu", **more),
        lambda **more: Model.from_pretrained(folder, task="token-classification", device="cpu", **more),
    ):
        with pytest.raises(WeightsMismatch, match=r"score\.bias.*allow_missing_weights=True"):
            load()
        with caplog.at_level(logging.WARNING, "modelscope_ext"), load(allow_missing_weights=True) as made:
            native = (made.model if isinstance(made, Pipeline) else made).native
            assert type(native).__name__ == "Qwen2ForTokenClassification"
        assert "score.bias" in caplog.text
        caplog.clear()


def test_the_second_task_runs_where_its_tensors_are_there(heads) -> None:
    from modelscope_ext import pipeline

    folder = heads["both"]
    heads["save"]({**heads["kept"], **heads["head"]}, folder / "model.safetensors", metadata={"format": "pt"})
    with pipeline("token-classification", folder, device="cpu") as pipe:
        assert type(pipe.model.native).__name__ == "Qwen2ForTokenClassification"
        ours = pipe(TEXTS)
    assert_equal(ours, reference(TOKENS, {"folder": str(folder), "texts": TEXTS}))


def test_a_head_that_was_trained_for_another_task_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """BERT's heads for texts and for tokens have tensors of the same names and shapes: nothing is missing."""
    from modelscope_ext import pipeline
    from tests.tiny.transformers_ import build

    folder = declared(build("text-classification", tmp_path / "m"), {**FULL, "model_type": "bert"})
    with caplog.at_level(logging.WARNING, "modelscope_ext"):
        with pipeline(model=folder, device="cpu") as pipe:
            assert type(pipe.model.native).__name__ == "BertForSequenceClassification"
        assert caplog.text == ""
        with pipeline("token-classification", folder, device="cpu") as pipe:
            assert type(pipe.model.native).__name__ == "BertForTokenClassification"
            assert "task-not-served" in {finding.code for finding in pipe.resolution.findings}
    assert "architectures names BertForSequenceClassification; for token-classification" in caplog.text


def test_a_task_that_is_not_declared_is_none_of_the_models(heads) -> None:
    from modelscope_ext import pipeline

    with pytest.raises((OptionError, WeightsMismatch), match=r"fill-mask|lm_head"):
        pipeline("fill-mask", heads["one"], device="cpu")
