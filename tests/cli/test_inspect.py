"""`inspect`: the decision on real folders, in words, in JSON, as code."""

import json

from modelscope_ext import resolve
from modelscope_ext.data import digits_folder


def test_the_report_is_the_resolution_and_the_state_of_its_requirements(cli, make_model):
    folder = make_model()
    done = cli("inspect", folder, "--json")
    report = json.loads(done.out)
    checks = report.pop("requirements")
    assert (done.code, report) == (0, resolve(folder).to_dict())
    assert [c["requirement"] for c in checks] == report["requirement_dependency"]


def test_the_text_has_every_field(cli, make_model):
    text = cli("inspect", make_model()).out
    for part in ("framework", "backend", "tasks", "model type", "weights", "requires", "why", "alternatives"):
        assert part in text
    assert "transformers" in text and "bert" in text and "text-classification" in text


def test_arguments_win_and_say_so(cli):
    done = cli("inspect", digits_folder(), "--backend", "onnx", "--task", "image-feature-extraction")
    assert "onnxruntime" in done.out and "the caller asks for it" in done.out
    assert "image-feature-extraction (default)" in done.out


def test_the_code_is_a_program_and_nothing_else(cli):
    done = cli("inspect", digits_folder(), "--backend", "onnx", "--code")
    compile(done.out, "snippet", "exec")
    assert "onnxruntime" in done.out and "modelscope_ext" not in done.out.replace(str(digits_folder()), "")
    assert json.loads(cli("inspect", digits_folder(), "--backend", "onnx", "--code", "--json").out) == {
        "code": done.out
    }


def test_a_subfolder_can_be_named(cli, make_model):
    folder = make_model("outer/model").parent
    done = cli("inspect", folder, "--subfolder", "model", "--json")
    assert done.code == 0 and json.loads(done.out)["backend"] == "transformers"


def test_a_local_folder_that_looks_like_a_hub_id_is_remarked(cli, make_model, monkeypatch, tmp_path):
    make_model("org/name")
    monkeypatch.chdir(tmp_path)
    done = cli("inspect", "org/name", "-v")
    assert "taken as the local folder" in done.out
    assert "INFO: org/name is taken as the local folder" in done.err
