"""Bad input to every command: the exit code, the error's class, its wording and its advice; and no file is changed."""

import json

import pytest

from tests.cli.folders import BERT

COMMANDS = (["inspect"], ["check"], ["init"], ["run"])


def arguments(command, folder):
    return [*command, folder, *(["x"] if command == ["run"] else [])]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_no_such_path(cli, tmp_path, command):
    (tmp_path / "my-model").mkdir()
    done = cli(*arguments(command, tmp_path / "my-modle"))
    assert (done.code, done.out) == (3, "")
    assert "ModelNotFound" in done.err and "There is no folder" in done.err and "Did you mean 'my-model'?" in done.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_hub_id_that_is_no_folder(cli, command):
    done = cli(*arguments(command, "org/nothing-here"))
    assert done.code == 3
    assert "org/nothing-here" in done.err and "not in the cache" in done.err and "There is no folder" in done.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_file_instead_of_a_folder(cli, make_model, unchanged, command):
    folder = make_model()
    check = unchanged(folder)
    done = cli(*arguments(command, folder / "config.json"))
    assert (done.code, done.out) == (3, "")
    assert "is a file" in done.err and f"pass '{folder}'" in done.err
    check()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_an_empty_folder(cli, tmp_path, unchanged, command):
    check = unchanged(tmp_path)
    done = cli(*arguments(command, tmp_path))
    assert (done.code, done.out) == (3, "")
    assert "NotAModel" in done.err and str(tmp_path) in done.err
    check()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_broken_json(cli, make_model, unchanged, command):
    folder = make_model(files={"config.json": '{"model_type": "bert",\n "hidden_size": }', "model.safetensors": b""})
    check = unchanged(folder)
    done = cli(*arguments(command, folder))
    assert (done.code, done.out) == (6, "")
    assert "MalformedMetadata [MF]" in done.err and "config.json" in done.err and "line 2" in done.err
    check()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.parametrize(("key", "value"), [("model_type", 7), ("architectures", {"a": 1})])
def test_wrong_types(cli, make_model, unchanged, command, key, value):
    folder = make_model(files={"config.json": {**BERT, key: value}})
    check = unchanged(folder)
    done = cli(*arguments(command, folder))
    assert (done.code, done.out) == (6, "")
    assert "MalformedMetadata" in done.err and f"config.json: {key}: expected a string" in done.err
    check()


@pytest.mark.parametrize("command", [["inspect"], ["run"]], ids=lambda c: c[0])
def test_an_unknown_task(cli, make_model, command):
    done = cli(*arguments(command, make_model()), "--task", "text-clasification")
    assert (done.code, done.out) == (2, "")
    assert "Unknown task 'text-clasification'" in done.err
    assert "Did you mean 'text-classification'?" in done.err


@pytest.mark.parametrize("command", [["inspect"], ["run"]], ids=lambda c: c[0])
def test_an_unknown_backend(cli, make_model, command):
    done = cli(*arguments(command, make_model()), "--backend", "transfomers")
    assert (done.code, done.out) == (2, "")
    assert "transfomers" in done.err and "Did you mean 'transformers'?" in done.err


def test_a_missing_requirement_is_shown_by_inspect_and_stops_run(cli, make_model, unchanged):
    folder = make_model(add={"configuration.json": {"requirement_dependency": ["no-such-package-here>=2"]}})
    check = unchanged(folder)
    shown = cli("inspect", folder)
    assert shown.code == 0
    assert "not installed" in shown.out and "pip install" in shown.out and "no-such-package-here>=2" in shown.out
    report = json.loads(cli("inspect", folder, "--json").out)
    assert any(c["problem"] == "missing" for c in report["requirements"])
    done = cli("run", folder, "good")
    assert (done.code, done.out) == (4, "")
    assert "MissingRequirement" in done.err and "pip install" in done.err and "no-such-package-here>=2" in done.err
    check()


def test_a_library_that_is_only_recognised(cli, make_model):
    folder = make_model(files={"gliner_config.json": {"model_name": "x"}, "pytorch_model.bin": b"\x80\x02."})
    shown = cli("inspect", folder)
    assert shown.code == 0 and "gliner" in shown.out and "no loader here" in shown.out
    done = cli("run", folder, "x")
    assert done.code == 4 and "gliner" in done.err and "pip install" in done.err


def test_contradictory_declarations_are_findings_of_inspect(cli, make_model):
    stub = {"framework": "pytorch", "task": "image-classification", "allow_remote": True}
    report = json.loads(cli("inspect", make_model(add={"configuration.json": stub}), "--json").out)
    assert report["tasks"][0] == "text-classification"
    assert any("image-classification" in f["message"] for f in report["findings"])


def test_errors_are_json_with_json(cli, tmp_path):
    done = cli("inspect", tmp_path, "--json")
    assert json.loads(done.out)["error"]["class"] == "NotAModel"
    assert json.loads(done.out)["error"]["exit"] == done.code == 3


def test_remote_code_is_refused_and_the_argument_named(cli, make_model, unchanged):
    config = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}}
    folder = make_model(files={"config.json": config, "evil.py": "raise SystemExit(3)", "model.safetensors": b""})
    check = unchanged(folder)
    assert cli("inspect", folder).code == 0
    done = cli("run", folder, "x")
    assert done.code == 5
    assert "RemoteCodeRefused [RC]" in done.err and "trust_remote_code" in done.err
    check()


def test_run_needs_an_input(cli, make_model, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    done = cli("run", make_model())
    assert done.code == 2
    assert "no input" in done.err and "--file" in done.err


def test_run_takes_inputs_from_one_place(cli, make_model, tmp_path):
    done = cli("run", make_model(), "x", "--file", tmp_path / "f")
    assert done.code == 2 and "not both" in done.err


def test_a_missing_file_of_inputs_is_found_before_the_load(cli, make_model):
    done = cli("run", make_model(), "--file", "nowhere.txt")
    assert done.code == 2 and "--file nowhere.txt: no such file; expected a file with one input a line" in done.err


@pytest.mark.parametrize("option", ["top_k", "=3", "a b=3"])
def test_options_are_pairs(cli, make_model, option):
    done = cli("run", make_model(), "x", "--option", option)
    assert done.code == 2 and "KEY=VALUE" in done.err


@pytest.mark.parametrize(
    "arguments", [["inspect", "x", "--taks", "y"], ["inspect"], ["lst"], ["run", "x", "--batch-size", "0"]]
)
def test_usage_errors_are_short_and_json_too(cli, arguments):
    done = cli(*arguments, "--json")
    error = json.loads(done.out)["error"]
    assert (done.code, error["class"], error["exit"]) == (2, "OptionError", 2)
    assert "--help` shows what there is" in error["message"]
    assert len(done.err.splitlines()) == 1


def test_a_declared_backend_that_nobody_knows(cli, make_model, unchanged):
    folder = make_model(add={"configuration.json": {"backend": "acme-evil"}})
    check = unchanged(folder)
    shown = cli("inspect", folder)
    assert shown.code == 0 and "acme-evil (unknown here; pass --backend)" in shown.out
    assert "pip install acme-evil" not in shown.out + cli("inspect", folder, "--code").out
    done = cli("run", folder, "x")
    assert (done.code, done.out) == (4, "")
    assert "declares the backend 'acme-evil' (configuration.json: backend)" in done.err
    assert "pip install" not in done.err
    assert cli("check", folder).code == 1
    assert cli("init", folder).code == 1
    check()


def test_requirements_that_are_none(cli, make_model, unchanged):
    folder = make_model(add={"configuration.json": {"backend": "onnx", "requirement_dependency": ["a b c"]}})
    check = unchanged(folder)
    done = cli("run", folder, "x")
    assert done.code in (3, 6) and not done.out
    check()


@pytest.mark.parametrize("text", ["[1]", '"x"', '{"task": "fill-mask",}', '{"tasks": 3}'])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_broken_configuration_is_named_and_left_as_it_is(cli, make_model, unchanged, command, text):
    folder = make_model(add={"configuration.json": text})
    check = unchanged(folder)
    done = cli(*arguments(command, folder))
    assert (done.code, done.out) == (6, "")
    assert "configuration.json" in done.err
    check()


def test_contradictory_declarations_stop_init_and_fail_check(cli, make_model, unchanged):
    folder = make_model(add={"configuration.json": {"framework": "pytorch", "backend": "onnx", "tasks": ["fill-mask"]}})
    check = unchanged(folder)
    for command in ("check", "init"):
        done = cli(command, folder)
        assert done.code == 1
        assert "configuration.json: backend='onnx' does not load these files" in done.out + done.err
    check()
