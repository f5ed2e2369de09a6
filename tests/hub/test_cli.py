"""The commands that stop at phase 1, with an id instead of a folder."""

import json

import pytest

from modelscope_ext.cli import main

CONFIG = '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
FILES = {"config.json": CONFIG, "model.safetensors": "x" * 100_000, "configuration.json": '{"task": "fill-mask"}'}
SECRET = "secret-token-of-mine"


@pytest.fixture
def ask(main_hub, capsys):
    main_hub.server.add("org/model", FILES, private=True, tokens=[SECRET])

    def run(*arguments):
        code = main([*arguments, "--json"])
        done = capsys.readouterr()
        assert SECRET not in done.out + done.err
        return code, json.loads(done.out)

    return run


@pytest.mark.parametrize("command", ["inspect", "check", "plan"])
def test_an_id_is_asked_of_its_hub_and_no_weight_is_read(main_hub, ask, command):
    model = f"{main_hub.hub.prefix}:org/model"
    code, document = ask(command, model, "--token", SECRET)
    assert code == 0 and document
    assert not [r for r in main_hub.asked() if r.file == "model.safetensors"]
    assert len(main_hub.asked()) <= 4
    code, document = ask(command, "org/model", "--hub", main_hub.name)
    assert code != 0 and "log in" in json.dumps(document)
    begun = len(main_hub.asked())
    assert ask(command, model, "--local-files-only")[0] == 0
    assert len(main_hub.asked()) == begun


def test_inspect_says_which_hub_and_which_commit(main_hub, ask, capsys):
    code, document = ask("inspect", "org/model", "--hub", main_hub.name, "--token", SECRET)
    commit = main_hub.server.commit_id("org/model")
    assert code == 0 and document["backend"] == "transformers"
    assert (document["source"]["hub"], document["source"]["commit"]) == (main_hub.name, commit)
    assert main(["inspect", "org/model", "--hub", main_hub.name, "--token", SECRET]) == 0
    assert f"{main_hub.name}, at {commit}" in capsys.readouterr().out
