"""`serve` and `demo --web` on the command line, up to where they need what is not installed here."""

import shlex
from importlib import import_module

import pytest

from modelscope_ext import cli
from modelscope_ext.errors import OptionError
from modelscope_ext.serve import Settings, ray_app, settings_of
from modelscope_ext.serve.hosted import hosted, name_of


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, capsys.readouterr().err

    return run


def examples(command):
    text = import_module(f"modelscope_ext.cli.{command}").EXAMPLES.partition("examples:\n")[2]
    lines = [line for line in text.splitlines() if line.startswith("  modelscope-ext")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("arguments", [*examples("serve"), *examples("demo")], ids=" ".join)
def test_the_examples_are_understood(arguments):
    args, _ = cli.parse(arguments)
    assert args.port in (8000, 9000, 7860)


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(["serve", "x"], "serve"), (["serve", "x", "--engine", "ray"], "ray-serve"), (["demo", "--web"], "web")],
    ids=["serve", "ray", "demo"],
)
def test_what_is_not_installed_is_named_before_anything_is_loaded(run, monkeypatch, arguments, extra):
    monkeypatch.setattr("modelscope_ext.serve.needs.find_spec", lambda name: None)
    code, error = run(*arguments)
    assert code == 4 and f'pip install "modelscope-ext[{extra}]"' in error


def test_words_about_replicas_are_for_ray(run):
    code, error = run("serve", "x", "--cpus-per-replica", "2")
    assert code == 2 and "--cpus-per-replica is for --engine ray" in error


def test_models_that_each_replica_is_to_load():
    with pytest.raises(OptionError, match="with at least one"):
        ray_app({})
    with pytest.raises(OptionError, match="Each replica loads the model itself"):
        ray_app({"a": 5})
    with pytest.raises(OptionError, match="Each replica loads the model itself"):
        ray_app({"a": {"device": "cpu"}})
    with pytest.raises(OptionError, match="a model's name is letters"):
        ray_app({"a/b": "./a"})
    with pytest.raises(OptionError, match="Did you mean 'max_batch'"):
        ray_app({"a": "./a"}, max_bach=3)
    for wrong in ({"replicas": 0}, {"replicas": True}, {"cpus": -1}, {"gpus": float("nan")}, {"gpus": "1"}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.*: expected a"):
            ray_app({"a": "./a"}, **wrong)


def test_a_model_for_demo_needs_the_page(run):
    code, error = run("demo", "./x")
    assert code == 2 and "add --web" in error and "modelscope-ext run ./x" in error


def test_names_of_models():
    assert name_of("org/tiny.llama-1") == "tiny.llama-1"
    for wrong in ("", "/", "..", "a b", "ä"):
        with pytest.raises(OptionError, match="name it yourself"):
            name_of(wrong)


@pytest.mark.parametrize("models", [None, {}, [], "x", {"a": 1}, {"a b": 1}, {1: 1}])
def test_what_is_no_pipeline_is_not_served(models):
    with pytest.raises(OptionError):
        hosted(models, Settings())


def test_settings_are_checked_and_keep_their_key_to_themselves():
    with pytest.raises(OptionError, match="Did you mean 'max_batch'"):
        settings_of({"max_bath": 1})
    for name, value in (("max_batch", 0), ("max_batch", 1.5), ("max_batch", True), ("timeout", "1"), ("timeout", -1)):
        with pytest.raises(OptionError, match=name):
            Settings(**{name: value})
    for key in ("", "a b", "ä", 5, "a\n"):
        with pytest.raises(OptionError, match="api_key"):
            Settings(api_key=key)
    assert "s3cret" not in repr(Settings(api_key="s3cret"))
