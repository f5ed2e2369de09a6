"""Exports: what is checked before anything is read, what is published, and that a failed one leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelscope_ext import Model, pipeline, resolve
from modelscope_ext.data import digits_folder
from modelscope_ext.errors import BackendNotLoadable, MissingRequirement, ModelScopeExtError, OptionError
from modelscope_ext.models.export import export, formats
from tests.equality import assert_equal

TEXTS = ["the cat sat on the mat", "the movie was great and very good", "bad dog", "john works at london"]


def left(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# Without torch: everything that is settled before a model is loaded


def test_the_formats_and_who_writes_them():
    assert {"transformers", "sentence-transformers"} <= set(formats()["onnx"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "onxx"}, r"to='onxx' is no format\. Did you mean 'onnx'\?"),
        ({"opset": 0}, "opset=0: expected a whole number"),
        ({"opset": True}, "opset=True: expected a whole number"),
        ({"tolerance": 2}, "tolerance=2: expected a number from 0 up to 1"),
        ({"tolerance": "small"}, "tolerance=small: expected a number"),
        # Needs come first: where torch is missing, that is said.
        pytest.param({"no_such_option": 1}, "unknown argument 'no_such_option'", marks=pytest.mark.pt),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, options, said):
    with pytest.raises(OptionError, match=said):
        export(str(digits_folder()), tmp_path / "copy", **{"backend": "transformers", **options})
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "overwrite", "said"),
    [
        (lambda path: path.write_text("mine"), True, "is no folder"),
        (lambda path: (path.mkdir(), (path / "a").write_text("mine")), False, "pass overwrite=True"),
        (lambda path: (path.mkdir(), (path / "a").write_text("mine")), True, "is not an earlier export"),
        (lambda path: path.symlink_to(path.parent, target_is_directory=True), True, "is no folder"),
    ],
    ids=["file", "folder", "not an export", "link"],
)
def test_what_is_there_is_not_replaced(tmp_path, make, overwrite, said):
    target = tmp_path / "copy"
    make(target)
    before = target.read_text() if target.is_file() else left(target)
    with pytest.raises(OptionError, match=said):
        export(str(digits_folder()), target, overwrite=overwrite, backend="transformers")
    assert (target.read_text() if target.is_file() else left(target)) == before


def test_the_parent_has_to_be_there(tmp_path):
    with pytest.raises(OptionError, match="is not there; make it first"):
        export(str(digits_folder()), tmp_path / "no" / "copy")
    for nothing in ("", None, 3):
        with pytest.raises(OptionError, match="output: expected a folder"):
            export(str(digits_folder()), nothing)


def test_what_is_onnx_already_is_not_written_again(tmp_path):
    from tests.tiny import onnx_

    folder = onnx_.write("text-classification", tmp_path / "model")
    with pytest.raises(BackendNotLoadable, match=r"backend 'onnxruntime' does not write onnx\. It is onnx already"):
        export(str(folder), tmp_path / "copy")
    with Model.from_pretrained(str(folder)) as model, pytest.raises(BackendNotLoadable, match="It is onnx already"):
        model.export(tmp_path / "copy")
    assert left(tmp_path) == ["model"]


def test_a_task_that_is_no_single_graph_is_refused_before_weights_are_read(tmp_path):
    from tests.reference import in_process

    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    script = """
import sys
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.models.export import export
try:
    export(arg, arg + "-onnx", task="translation")
except ModelScopeExtError as error:
    result = [str(error), sorted({"torch", "transformers"} & set(sys.modules))]
"""
    said, imported = in_process(script, str(folder))
    assert imported == []
    assert "token by token" in said or "needs what is not installed" in said
    assert left(tmp_path) == ["model"]


def test_missing_packages_are_named_before_weights_are_read(tmp_path, monkeypatch):
    from modelscope_ext.models.backends.transformers_ import Transformers

    needs = {"onnx": ("no-such-exporter>=3", *Transformers.exports["onnx"])}
    monkeypatch.setattr(Transformers, "exports", needs)
    with pytest.raises(MissingRequirement, match=r"an export to onnx needs(.|\n)*no-such-exporter") as caught:
        export(str(digits_folder()), tmp_path / "copy", backend="transformers")
    assert "pip install" in str(caught.value)
    assert left(tmp_path) == []


# With torch


@pytest.fixture
def tiny(tiny_root):
    """Return a function that builds a tiny transformers model once."""

    def get(name, seed=0):
        from tests.tiny import transformers_

        folder = tiny_root / "exports" / f"{name}-{seed}"
        return folder if folder.exists() else transformers_.build(name, folder, seed=seed)

    return get


@pytest.mark.pt
def test_the_copy_is_a_whole_model_that_answers_alike(tiny, tmp_path):
    source, target = tiny("text-classification", 1), tmp_path / "copy"
    done = export(str(source), target)
    assert left(tmp_path) == ["copy"]
    assert not list(target.glob("*.safetensors"))
    assert done.files.keys() | {"export.json"} == set(left(target))
    assert done.bytes == sum(done.files.values())
    assert done.difference <= done.tolerance == 1e-4
    assert len({shape["input_ids"] for shape in done.shapes}) == 3
    before, after = resolve(str(source)), resolve(str(target))
    assert (after.backend, after.framework, after.tasks) == ("onnxruntime", "onnx", before.tasks)
    assert after.model_type == before.model_type
    declared = json.loads((target / "configuration.json").read_text())
    assert list(declared) == ["model_type", "framework", "backend", "tasks", "requirement_dependency"]
    (target / "configuration.json").unlink()
    bare = resolve(str(target))
    assert (bare.backend, bare.tasks) == (after.backend, after.tasks)
    with pipeline(model=str(source), device="cpu") as one, pipeline(model=str(target)) as other:
        assert_equal(other(TEXTS, top_k=None), one(TEXTS, top_k=None))


@pytest.mark.pt
@pytest.mark.parametrize(("name", "task"), [("mean", "sentence-similarity"), ("ranker", "text-ranking")])
def test_sentence_transformers_come_with_their_pooling(tmp_path, name, task):
    from tests.tiny import sentence_transformers_

    source, target = sentence_transformers_.build(name, tmp_path / "source"), tmp_path / "copy"
    done = export(str(source), target)
    assert done.tasks[0] == task
    asked = {
        "sentence-similarity": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]},
        "text-ranking": {"query": TEXTS[0], "documents": TEXTS[1:]},
    }[task]
    other = {**asked, next(iter(asked)): TEXTS[3]}
    with pipeline(model=str(source), device="cpu") as one, pipeline(model=str(target)) as copy:
        assert copy.model.backend == "onnxruntime"
        assert_equal(copy([asked, other]), one([asked, other]))


@pytest.mark.pt
def test_a_module_that_no_graph_holds_is_named(tmp_path):
    from tests.tiny import sentence_transformers_

    source = sentence_transformers_.build("dense", tmp_path / "source")
    with pytest.raises(BackendNotLoadable, match="not exportable, because of its module Dense"):
        export(str(source), tmp_path / "copy")
    assert left(tmp_path) == ["source"]


@pytest.mark.pt
@pytest.mark.parametrize("name", ["text-generation", "qwen2", "gpt2"])
def test_a_decoder_remembers_what_it_read(tiny, tmp_path, name):
    from modelscope_ext.models.backends.onnx_ import Onnx

    source, target = tiny(name), tmp_path / "copy"
    export(str(source), target)
    options = {"max_new_tokens": 6, "do_sample": False}
    with pipeline(model=str(source), device="cpu") as one, pipeline(model=str(target)) as other:
        assert_equal(other(TEXTS, **options), one(TEXTS, **options), inputs=TEXTS)
        with other.model.parts["bundle"].graph.recording() as runs:
            Onnx().predict(other.model._loaded, "text-generation", TEXTS[:1], max_new_tokens=3, eos_token_id=-1)
        assert [run["logits"].shape[1] for run in runs][1:] == [1, 1]


@pytest.mark.pt
def test_a_copy_that_differs_is_not_published(tiny, tmp_path):
    with pytest.raises(ModelScopeExtError, match=r"the graph differs by [0-9.e-]+ in logits, more than 0") as caught:
        export(str(tiny("text-classification")), tmp_path / "copy", tolerance=0)
    assert "TorchScript" in str(caught.value)
    assert "torch.export" in str(caught.value)
    assert left(tmp_path) == []


@pytest.mark.pt
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_interrupted_export_leaves_what_was_there(tiny, tmp_path, monkeypatch, error):
    from modelscope_ext.models import export as module

    target = tmp_path / "copy"
    export(str(tiny("text-classification")), target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def stop(*_):
        raise error

    monkeypatch.setattr(module, "publish", stop)
    with pytest.raises(ModelScopeExtError if error is RuntimeError else error):
        export(str(tiny("text-classification", 1)), target, overwrite=True)
    assert left(tmp_path) == ["copy"]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    monkeypatch.undo()
    export(str(tiny("text-classification", 1)), target, overwrite=True)
    assert left(tmp_path) == ["copy"]
    assert (target / "model.onnx").read_bytes() != before["model.onnx"]


@pytest.mark.pt
def test_tensors_of_a_large_model_stand_in_one_file_beside_the_graph(tiny, tmp_path, monkeypatch):
    from modelscope_ext.models.backends._transformers import export as module

    monkeypatch.setattr(module, "INLINE", 0)
    target = tmp_path / "copy"
    done = export(str(tiny("fill-mask")), target)
    assert done.files["model.onnx_data"] > done.files["model.onnx"] / 2
    with pipeline(model=str(tiny("fill-mask")), device="cpu") as one, pipeline(model=str(target)) as other:
        texts = ["the [MASK] sat on the mat", "a big [MASK]"]
        assert_equal(other(texts), one(texts))


@pytest.mark.pt
def test_the_second_exporter_is_asked_where_the_first_fails(tiny, tmp_path, monkeypatch):
    from modelscope_ext.models.backends._transformers import export as module

    def fails(*_):
        raise RuntimeError("this operator is not known")

    monkeypatch.setitem(module._MAKERS, "TorchScript", fails)
    done = export(str(tiny("text-classification")), tmp_path / "copy")
    assert done.made_by == "torch's torch.export exporter, opset 18"
    monkeypatch.setitem(module._MAKERS, "torch.export", fails)
    with pytest.raises(ModelScopeExtError, match=r"TorchScript: RuntimeError: this operator.*torch\.export: Runtime"):
        export(str(tiny("text-classification")), tmp_path / "other")
    assert left(tmp_path) == ["copy"]


@pytest.mark.pt
def test_an_opset_that_torch_does_not_write(tiny, tmp_path):
    with pytest.raises(OptionError, match=r"opset=99: torch writes 14 to 20 \(TorchScript\)"):
        export(str(tiny("text-classification")), tmp_path / "copy", opset=99)


@pytest.mark.pt
def test_speech_by_a_decoder_is_not_one_pass(tiny, tmp_path):
    with pytest.raises(BackendNotLoadable, match=r"not exportable .*Models with a CTC head are"):
        export(str(tiny("whisper")), tmp_path / "copy")


@pytest.mark.pt
def test_a_loaded_model_is_exported_as_it_is(tiny, tmp_path):
    import torch

    source = str(tiny("text-classification", 1))
    with Model.from_pretrained(source, device="cpu", dtype="float32") as model:
        done = model.export(tmp_path / "copy")
        assert done.tasks == model.tasks
        with pytest.raises(OptionError, match="the model is loaded already: variant would change nothing"):
            export(model, tmp_path / "other", variant="fp16")
        [answer] = model.predict("text-classification", TEXTS[:1])  # it is still open
    with pipeline(model=str(tmp_path / "copy")) as copy:
        assert copy(TEXTS[0])["label"] == answer["label"]
    half = Model.from_pretrained(source, device="cpu", dtype="bfloat16")
    with half, pytest.raises(OptionError, match=r"torch\.bfloat16 on cpu\. Load it with dtype=\"float32\""):
        half.export(tmp_path / "half")
    assert half.native.dtype is torch.bfloat16 if not half._closed else True
    with pytest.raises(OptionError, match="dtype: a copy is made of the model in float32"):
        export(source, tmp_path / "half", dtype="float16")
    assert left(tmp_path) == ["copy"]
