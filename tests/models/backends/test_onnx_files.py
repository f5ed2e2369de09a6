"""Which ONNX file is loaded on which device, and that its tensors stay inside the folder."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given, settings, strategies

from modelscope_ext.errors import (
    LimitExceeded,
    MalformedMetadata,
    MissingRequirement,
    NotAModel,
    OptionError,
    PathEscapeRefused,
)
from modelscope_ext.models.backends.onnx_ import Onnx
from tests.equality import assert_close
from tests.models.backends.onnx_cases import TEXTS, load, predict, resolution


@pytest.fixture
def fixture(tmp_path):
    """Return a function that writes a handmade folder, to be changed at will."""

    def make(name, **options):
        from tests.tiny import onnx_

        return onnx_.write(name, tmp_path / name, **options)

    return make


def test_raw_gives_the_graphs_own_outputs(fixture):
    raw = predict_raw(fixture("text-classification"), "text-classification", TEXTS)
    assert [set(r) for r in raw] == [{"logits"}] * 3
    assert raw[0]["logits"].shape == (1, 3)


def predict_raw(folder, task, inputs):
    return Onnx().predict(load(folder), task, inputs, raw=True)


def test_an_unknown_task_lists_the_known(fixture):
    with pytest.raises(OptionError, match="It serves: audio-classification"):
        Onnx().predict(load(fixture("feature-extraction")), "text-to-image", ["a"])


def test_a_graph_of_another_task_says_what_it_wants(fixture):
    import numpy as np

    with pytest.raises(OptionError, match="wants attention_mask, input_ids"):
        load(fixture("text-classification")).parts["bundle"].graph.run({"pixel_values": np.zeros(1)})


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (["model.onnx", "onnx/model.onnx"], {}, "model.onnx"),
        (["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"], {}, "onnx/model.onnx"),
        (["onnx/model.onnx", "onnx/model_fp16.onnx"], {"variant": "float16"}, "onnx/model_fp16.onnx"),
        (["onnx/model_quantized.onnx", "onnx/model.onnx"], {"variant": "int8"}, "onnx/model_quantized.onnx"),
        (["onnx/model_int8.onnx", "onnx/model_quantized.onnx"], {"variant": "int8"}, "onnx/model_int8.onnx"),
        (["onnx/decoder_model_merged.onnx", "onnx/decoder_model.onnx"], {}, "onnx/decoder_model_merged.onnx"),
        (["classifier.onnx", "config.json"], {}, "classifier.onnx"),
        (["a.onnx", "b.onnx"], {"file_name": "b.onnx"}, "b.onnx"),
    ],
)
def test_exactly_one_file_is_chosen(names, options, expected):
    from modelscope_ext.models.backends._onnx.files import choose

    assert choose(names, **options) == expected


@pytest.mark.parametrize(
    ("names", "options", "error", "text"),
    [
        (["config.json"], {}, NotAModel, "has no .onnx file"),
        (["text.onnx", "vision.onnx"], {}, NotAModel, "text.onnx, vision.onnx.*file_name="),
        (["model.onnx"], {"variant": "q4"}, OptionError, "no ONNX file for variant='q4'.*model.onnx"),
        (["model.onnx"], {"file_name": "modle.onnx"}, OptionError, "Did you mean 'model.onnx'"),
    ],
)
def test_no_or_several_files_are_errors(names, options, error, text):
    from modelscope_ext.models.backends._onnx.files import choose

    with pytest.raises(error, match=text):
        choose(names, **options)


def test_a_variant_is_loaded(fixture):
    folder = fixture("text-classification")
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.onnx", folder / "onnx" / "model_quantized.onnx")
    assert load(folder).parts["bundle"].file == "model.onnx"
    assert load(folder, variant="int8").parts["bundle"].file == "onnx/model_quantized.onnx"
    assert load(folder, file_name="onnx/model_quantized.onnx").parts["bundle"].file == "onnx/model_quantized.onnx"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "float16"}, 'variant="fp16"'),
        ({"device_map": "auto"}, "device_map"),
        ({"device": "tpu"}, "no device of the onnx backend.*cpu, cuda"),
        ({"device": "cuda:x"}, "no device"),
        ({"threads": 0}, "threads=0"),
        ({"max_length": True}, "max_length=True"),
        ({"pooling": "median"}, "There are: cls, lasttoken"),
    ],
)
def test_wrong_options_are_named(fixture, options, text):
    with pytest.raises(OptionError, match=text):
        load(fixture("text-classification"), **options)


def test_a_device_without_its_provider_names_the_package(fixture):
    import onnxruntime

    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(MissingRequirement, match=r"pip install onnxruntime-gpu"):
        load(fixture("text-classification"), device="cuda:0")


def test_a_cut_off_graph_is_malformed(fixture):
    folder = fixture("text-classification")
    data = (folder / "model.onnx").read_bytes()
    for content in (data[: len(data) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x0b" * 100):
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(MalformedMetadata, match=r"model\.onnx"):
            load(folder)


def test_save_writes_what_load_reads(fixture, tmp_path):
    folder = fixture("text-classification")
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.onnx", folder / "onnx" / "model_fp16.onnx")
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "evil.py").write_text("raise SystemExit")
    loaded = load(folder)
    Onnx().save(loaded, tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").rglob("*") if p.is_file()) == [
        "config.json",
        "model.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    expected = Onnx().predict(loaded, "text-classification", TEXTS)
    assert_close(predict(tmp_path / "saved", "text-classification", TEXTS), expected)


def test_close_drops_the_session(fixture):
    import gc
    import weakref

    loaded = load(fixture("text-classification"))
    Onnx().predict(loaded, "text-classification", TEXTS)
    seen = weakref.ref(loaded.parts["bundle"])
    Onnx().close(loaded)
    gc.collect()
    assert seen() is None
    assert loaded.native is None


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("text-classification", (1, 3)),
        ("question-answering", (1, 13)),
        ("image-classification", (1, 10)),
        ("object-detection", (1, 8, 6)),
        ("audio-classification", (1, 3)),
        ("automatic-speech-recognition", (1, 400, 11)),
    ],
)
def test_the_native_snippet_runs(fixture, tmp_path, task, shape):
    from modelscope_ext.data import digits_folder
    from tests.tiny import onnx_queries, onnx_sounds

    file = "onnx/model.onnx" if task == "image-classification" else "model.onnx"
    if task == "image-classification":
        folder = digits_folder()
    elif task == "object-detection":
        folder = onnx_queries.write(tmp_path, "DetrImageProcessor", {"logits": "labels", "pred_boxes": "boxes"})
    elif task.startswith("a"):
        folder = onnx_sounds.write(task, tmp_path)
    else:
        folder = fixture(task)
    snippet = Onnx().code(resolution(folder, tasks=[task], files=[file]))
    assert "import modelscope_ext" not in snippet and "from modelscope_ext" not in snippet
    names: dict = {}
    exec(snippet, names)
    assert names["output"][0].shape == shape


def test_external_tensors_are_found_and_used(fixture):
    from modelscope_ext.models.backends._onnx.files import external_files

    expected = [f.tolist() for f in predict(fixture("feature-extraction"), "feature-extraction", TEXTS)]
    folder = fixture("feature-extraction", file="onnx/model.onnx", location="model.onnx_data")
    (folder / "model.onnx").unlink()
    assert external_files(folder, "onnx/model.onnx") == ("onnx/model.onnx_data",)
    assert_close([f.tolist() for f in predict(folder, "feature-extraction", TEXTS)], expected)


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("../../outside.bin", PathEscapeRefused),
        ("../model.onnx", PathEscapeRefused),
        ("/etc/hostname", PathEscapeRefused),
        ("C:\\outside.bin", PathEscapeRefused),
        ("..\\outside.bin", PathEscapeRefused),
        ("link.bin", PathEscapeRefused),
        ("linked/outside.bin", PathEscapeRefused),
        ("not_there.bin", MalformedMetadata),
        ("pipe.bin", MalformedMetadata),
        ("", MalformedMetadata),
        ("a\0b", MalformedMetadata),
        ("x" * 5000, MalformedMetadata),
    ],
    ids=range(12),
)
def test_external_tensors_stay_inside(fixture, tmp_path, location, error):
    import os

    folder = fixture("feature-extraction", file="onnx/model.onnx", location="x.bin")
    graph = folder / "onnx" / "model.onnx"
    (folder / "onnx" / "x.bin").unlink()
    (tmp_path / "outside.bin").write_bytes(b"secret" * 10_000)
    (folder / "onnx" / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "onnx" / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "onnx" / "pipe.bin")
    graph.write_bytes(hostile(location))
    with pytest.raises(error) as refused:
        load(folder)
    assert "onnx" in str(refused.value) or "bin" in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "secret" not in str(refused.value)


def hostile(location):
    from tests.tiny import onnx_

    return onnx_._model("feature-extraction", location, onnx_._INT64, onnx_._FLOAT)


@pytest.mark.parametrize("place", ["attribute", "subgraph", "sparse", "function", "training"])
def test_external_tensors_are_found_wherever_a_tensor_can_be(tmp_path, place):
    from modelscope_ext.models.backends._onnx.files import external_files
    from tests.tiny.onnx_ import _field

    tensor = _field(13, _field(1, "location") + _field(2, "../../x")) + _field(14, 1)
    graph = {
        "attribute": _field(1, _field(5, _field(5, tensor))),
        "subgraph": _field(1, _field(5, _field(6, _field(5, tensor)))),
        "sparse": _field(15, _field(1, tensor)),
    }.get(place, b"")
    extra = {
        "function": _field(25, _field(7, _field(5, _field(10, tensor)))),
        "training": _field(20, _field(1, _field(5, tensor))),
    }.get(place, b"")
    (tmp_path / "m.onnx").write_bytes(_field(7, graph) + extra)
    with pytest.raises(PathEscapeRefused, match=r"m\.onnx: external_data\.location"):
        external_files(tmp_path, "m.onnx")


def test_graphs_nested_without_end_are_refused(tmp_path):
    from modelscope_ext.models.backends._onnx.files import external_files
    from tests.tiny.onnx_ import _field

    graph = b""
    for _ in range(40):
        graph = _field(1, _field(5, _field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(_field(7, graph))
    with pytest.raises(LimitExceeded, match="nests graphs deeper"):
        external_files(tmp_path, "m.onnx")


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=strategies.binary(max_size=200), at=strategies.integers(0, 5000))
def test_any_bytes_give_an_answer_or_our_error(tmp_path_factory, data, at):
    from modelscope_ext.models.backends._onnx.files import external_files

    folder = tmp_path_factory.mktemp("fuzz")
    for content in (data, (whole := hostile("x.bin"))[: at % len(whole)] + data):
        (folder / "m.onnx").write_bytes(content)
        try:
            external_files(folder, "m.onnx")
        except (MalformedMetadata, PathEscapeRefused, LimitExceeded):
            continue
