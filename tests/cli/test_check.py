"""`check`: contradictions are found, and what is merely spelled differently is none."""

import json

import pytest

from tests.models.test_sarif import checked

AGREES = {
    "nothing": {},
    "modelscope": {"framework": "Pytorch", "task": "text-classification"},
    "alias": {"framework": "pytorch", "task": "sentiment-classification"},
    "ours": {"model_type": "bert", "framework": "pytorch", "backend": "transformers", "tasks": ["text-classification"]},
    "unknown keys": {"framework": "pytorch", "train": {"work_dir": "/tmp"}, "mine": None},
}

CONTRADICTS = {
    "task": ({"framework": "pytorch", "task": "image-classification"}, "tasks", "task"),
    "second task": ({"tasks": ["text-classification", "text-to-image"]}, "tasks", "tasks[1]"),
    "backend": ({"backend": "diffusers", "tasks": ["text-classification"]}, "backend", "backend"),
    "unknown backend": ({"backend": "transfomers", "tasks": ["text-classification"]}, "backend", "backend"),
    "framework": ({"framework": "paddle", "task": "text-classification"}, "framework", "framework"),
}


@pytest.mark.parametrize("case", AGREES)
def test_what_agrees_passes(cli, make_model, case):
    folder = make_model(add={"configuration.json": AGREES[case]})
    done = cli("check", folder, "--json")
    report = json.loads(done.out)
    assert report["contradictions"] == []
    assert (done.code, report["ok"]) == (0, True)


@pytest.mark.parametrize("case", CONTRADICTS)
def test_what_contradicts_fails_and_is_named(cli, make_model, unchanged, case):
    document, field, key = CONTRADICTS[case]
    folder = make_model(add={"configuration.json": document})
    check = unchanged(folder)
    done = cli("check", folder, "--json")
    report = json.loads(done.out)
    assert (done.code, report["ok"]) == (1, False)
    errors = [c for c in report["contradictions"] if c["level"] == "error"]
    assert [(c["field"], c["file"], c["key"]) for c in errors] == [(field, "configuration.json", key)]
    text = cli("check", folder).out
    assert errors[0]["message"] in text and "they say" in text and "contradicted" in text
    check()


def test_the_card_is_compared_too(cli, make_model):
    card = "---\nlibrary_name: diffusers\npipeline_tag: text-to-image\n---\n"
    done = cli("check", make_model(add={"README.md": card}), "--json")
    fields = {c["field"] for c in json.loads(done.out)["contradictions"]}
    assert done.code == 1
    assert fields == {"backend", "tasks"}


def test_strict_counts_warnings(cli, make_model):
    folder = make_model(add={"configuration.json": {"model_type": "roberta", "task": "text-classification"}})
    assert cli("check", folder).code == 0
    assert cli("check", folder, "--strict").code == 1


def test_the_answer_does_not_depend_on_this_machine(cli, make_model, monkeypatch):
    folder = make_model(add={"configuration.json": {"framework": "pytorch"}})
    before = cli("check", folder, "--json").out
    monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
    assert cli("check", folder, "--json").out == before


def test_sarif(cli, make_model):
    folder = make_model(add={"configuration.json": json.dumps(CONTRADICTS["task"][0], indent=1)})
    done = cli("check", folder, "--format", "sarif")
    run = checked(json.loads(done.out))
    [result] = [result for result in run["results"] if result["level"] == "error"]
    place = result["locations"][0]["physicalLocation"]
    assert (done.code, result["ruleId"]) == (1, "declared-tasks")
    assert place["artifactLocation"]["uri"].endswith("configuration.json") and place["region"]["startLine"] == 3
