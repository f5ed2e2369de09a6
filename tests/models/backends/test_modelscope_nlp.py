"""ModelScope's types for texts, run whole with transformers 4.57: structbert, veco, deberta_v2 and document
segmentation (environment `ms`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelscope_ext import Model, pipeline, resolve
from modelscope_ext.errors import ConfigError, OptionError, WeightsMismatch
from modelscope_ext.models.backends.modelscope_ import ModelScope
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close, assert_equal
from tests.models.backends.modelscope_cases import TEXTS, ask, edit

pytestmark = pytest.mark.ms

DOCUMENTS = [
    "the cat sat on the mat. a dog ran over the hill. john lives in paris. anna lives in rome. a bird flew on.",
    "你 好。 世 界 很 大。 我 们 看 天。 天 很 大。",
    "the big red bird sat. a cat ran.",
]
SENTENCES = ["john lives in paris", "anna and a dog ran over the hill in rome", "anna lives in rome"]
#: The configuration.json of a real model, as it stands there.
REAL = {
    "framework": "pytorch",
    "task": "document-segmentation",
    "model": {"type": "bert-for-document-segmentation", "model_config": {"type": "bert", "level": "doc"}},
    "pipeline": {"type": "document-segmentation"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds a tiny model once."""
    root = tmp_path_factory.mktemp("built")

    def get(name):
        from tests.tiny import modelscope_

        return root / name if (root / name).is_dir() else modelscope_.build(name, root / name)

    return get


@pytest.fixture
def copied(built, tmp_path):
    return lambda name: Path(shutil.copytree(built(name), tmp_path / name))


class Texts(BackendConformance):
    backend = ModelScope
    name: str

    def make_folder(self, tmp_path):
        from tests.tiny import modelscope_

        return modelscope_.build(self.name, tmp_path / "model")

    def near_misses(self, tmp_path):
        from tests.tiny import modelscope_

        folder = modelscope_.build("structbert-text-classification", tmp_path / "stub")
        edit(folder, model=None, pipeline=None)
        yield folder


class TestClasses(Texts):
    name = "structbert-text-classification"
    task = "text-classification"
    inputs = (*SENTENCES, ("the cat", "the dog"))
    call_values = {"top_k": 2}
    load_values = {"sequence_length": 16}


class TestSegments(Texts):
    name = "document-segmentation"
    task = "document-segmentation"
    inputs = DOCUMENTS


# What ModelScope answers


@pytest.mark.parametrize("name", ["document-segmentation", "topic-segmentation"])
def test_segments_equal_modelscopes(built, name):
    inputs = DOCUMENTS if name.startswith("doc") else [text.replace(". ", ".\n") for text in DOCUMENTS]
    given = inputs if name.startswith("doc") else [text.splitlines() for text in inputs]
    asked = given if name.startswith("doc") else [[one] for one in given]
    expected = [one["text"] for one in ask(SEGMENTS, built(name), "document-segmentation", asked)]
    with pipeline(model=built(name), device="cpu") as pipe:
        answers = pipe(inputs)
        raw = pipe(inputs, raw=True)
    assert_close([one["text"] for one in answers], expected, 0)
    assert [one["text"] for one in raw] == expected
    assert len({len(one["segments"]) for one in answers}) > 1 or len(answers[0]["segments"]) > 1
    for text, one in zip(inputs, answers, strict=True):
        assert "".join("".join(one["segments"]).split()) == "".join(text.split())


SEGMENTS = TEXTS.replace("tuple(one) if isinstance(one, list) else one", "one")


def test_classes_equal_modelscopes(built):
    inputs = [*SENTENCES, ["the cat", "the dog"]]
    expected = ask(TEXTS, built("structbert-text-classification"), "text-classification", inputs)
    theirs = [
        sorted(
            ({"label": n, "score": s} for n, s in zip(one["labels"], one["scores"], strict=True)),
            key=lambda r: -r["score"],
        )
        for one in expected
    ]
    with pipeline(model=built("structbert-text-classification"), device="cpu") as pipe:
        assert pipe.resolution.backend == "modelscope"
        assert_equal(pipe([*SENTENCES, ("the cat", "the dog")], top_k=None), theirs, tolerance=1e-6)
        assert pipe(SENTENCES[0]) == theirs[0][0]


def test_spans_equal_modelscopes(built):
    expected = ask(TEXTS, built("structbert-token-classification"), "token-classification", SENTENCES)
    with pipeline(model=built("structbert-token-classification"), device="cpu") as pipe:
        answers = pipe(SENTENCES)
    names = {"entity_group": "type", "score": "prob", "word": "span", "start": "start", "end": "end"}
    theirs = [[{ours: row[their] for ours, their in names.items()} for row in one["output"]] for one in expected]
    assert_equal(answers, theirs, tolerance=1e-6)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("structbert-fill-mask", ["the [MASK] sat on the mat", "john lives in [MASK]"]),
        ("veco", ["the <mask> sat on the mat", "john lives in <mask>"]),
        ("deberta_v2", ["the [MASK] sat on the mat", "john lives in [MASK]"]),
    ],
)
def test_filled_masks_equal_modelscopes(built, name, inputs):
    expected = ask(TEXTS, built(name), "fill-mask", inputs)
    with pipeline(model=built(name), device="cpu") as pipe:
        assert (pipe.resolution.backend, pipe.task) == ("modelscope", "fill-mask")
        answers = pipe(inputs, top_k=3)
        for answer, theirs in zip(answers, expected, strict=True):
            assert [row["token"] for row in answer] == theirs["tokens"]
            assert_close([row["score"] for row in answer], theirs["scores"], 1e-6)
            assert answer[0]["sequence"] == theirs["text"]
        assert answers[0][0]["token"] != answers[1][0]["token"] or answers[0][0]["score"] != answers[1][0]["score"]
        with pytest.raises(OptionError, match="no "):
            pipe("nothing to fill in")
        assert [len(rows) for rows in pipe(f"{inputs[0]} {inputs[1]}", top_k=2)] == [2, 2]


# A real configuration.json


@pytest.mark.parametrize("given", ["file", "cfg_dict"])
def test_the_real_configuration_of_document_segmentation(copied, given):
    folder = copied("document-segmentation")
    (folder / "configuration.json").write_text(json.dumps(REAL))
    keywords = {}
    if given == "cfg_dict":
        (folder / "configuration.json").unlink()
        keywords = {"cfg_dict": json.loads(json.dumps(REAL))}
    info = resolve(folder, **keywords)
    assert (info.backend, info.framework, info.tasks) == ("modelscope", "pytorch", ("document-segmentation",))
    assert info.missing == ()
    model = Model.from_pretrained(folder, **keywords)
    assert type(model.native).__name__ == "BertForDocumentSegmentation"
    answers = model.predict("document-segmentation", DOCUMENTS)
    model.close()
    with pipeline(model=folder, **keywords) as pipe:
        assert pipe(DOCUMENTS) == answers
    assert keywords in ({}, {"cfg_dict": REAL})
    (folder / "configuration.json").write_text(json.dumps(REAL))
    theirs = ask(SEGMENTS, folder, "document-segmentation", DOCUMENTS)
    assert [one["text"] for one in answers] == [one["text"] for one in theirs]
    assert sum(len(one["segments"]) for one in answers) > len(DOCUMENTS)


# What does not fit


def test_missing_weights_are_named_and_not_made_up(copied):
    import torch

    folder = copied("structbert-text-classification")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    lost = state.pop("classifier.weight")
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(WeightsMismatch, match=r"1 weights are not in the checkpoint .*\(classifier\.weight\)"):
        Model.from_pretrained(folder)
    with Model.from_pretrained(folder, allow_missing_weights=True) as model:
        assert model.native.classifier.weight.shape == lost.shape
    state["classifier.weight"] = lost
    state["bert.encoder.layer.7.output.dense.weight"] = torch.zeros(2, 2)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(WeightsMismatch, match=r"no place in the model \(bert\.encoder\.layer\.7"):
        Model.from_pretrained(folder)


def test_another_task_of_the_same_type(copied):
    folder = copied("structbert-text-classification")
    with pytest.raises(OptionError, match="no 'structbert' for 'image-classification'"):
        Model.from_pretrained(folder, task="image-classification")
    with pytest.raises(WeightsMismatch, match=r"cls\.predictions"):
        Model.from_pretrained(folder, task="fill-mask", cfg_dict=_fill(folder))


def _fill(folder):
    document = json.loads((folder / "configuration.json").read_text())
    return {**document, "task": "fill-mask", "pipeline": {"type": "fill-mask"}}


def test_without_a_pipeline_type_the_known_ones_are_listed(copied):
    folder = copied("structbert-text-classification")
    edit(folder, pipeline=None)
    with pytest.raises(ConfigError, match="sentiment-classification"):
        Model.from_pretrained(folder)
    one = copied("document-segmentation")
    edit(one, pipeline=None)  # there is but one
    with pipeline(model=one) as pipe:
        assert pipe(DOCUMENTS[0])["segments"]


def test_a_longer_text_than_the_length_is_cut(built):
    text = "the cat sat " * 40
    with pipeline(model=built("structbert-text-classification"), sequence_length=8) as pipe:
        assert pipe(text) == pipe("the cat sat " * 30)
    with pipeline(model=built("structbert-text-classification")) as pipe:
        assert pipe(text) != pipe("the cat sat " * 30)


def test_it_is_quiet_and_offline(built, capfd):
    with pipeline(model=built("structbert-fill-mask")) as pipe:
        pipe("the [MASK] sat")
    assert capfd.readouterr() == ("", "")


def test_the_native_snippet_runs(built):
    from modelscope_ext.models.backends._modelscope.contain import loading

    code = ModelScope().code(resolve(built("document-segmentation")))
    names: dict = {}
    with loading(pickles=False):
        exec(code, names)
    assert names["output"]["text"].strip()


def test_the_patched_line_of_transformers_is_taken_with_a_warning(built, caplog):
    with caplog.at_level("WARNING"), Model.from_pretrained(built("structbert-text-classification")):
        pass
    assert any("transformers 4.57.1 is a patched line" in record.getMessage() for record in caplog.records)
