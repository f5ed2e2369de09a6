"""`init`: what it writes, what it keeps, and that a failed one changes nothing."""

import json
from pathlib import Path

import pytest

from tests.cli.folders import BERT, safetensors


def configuration(folder):
    return json.loads((folder / "configuration.json").read_text("utf-8"))


def test_a_folder_without_one_gets_a_complete_one(cli, make_model):
    folder = make_model()
    done = cli("init", folder)
    assert done.code == 0
    document = configuration(folder)
    assert list(document) == ["model_type", "framework", "backend", "tasks", "requirement_dependency"]
    assert document["model_type"] == "bert"
    assert document["framework"] == "pytorch"
    assert document["backend"] == "transformers"
    assert document["tasks"][0] == "text-classification"
    assert any(r.startswith("transformers") for r in document["requirement_dependency"])
    assert '+  "model_type": "bert",' in done.out
    assert done.err == f"wrote {folder / 'configuration.json'}\n"


def test_what_was_written_is_what_is_read_back(cli, make_model):
    folder = make_model()
    before = json.loads(cli("inspect", folder, "--json").out)
    cli("init", folder)
    after = json.loads(cli("inspect", folder, "--json").out)
    same = ("framework", "backend", "tasks", "model_type", "requirement_dependency", "weights")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert cli("check", folder, "--strict").code == 0


def test_a_second_time_nothing_changes(cli, make_model, unchanged):
    folder = make_model()
    cli("init", folder)
    check = unchanged(folder)
    done = cli("init", folder)
    assert (done.code, done.out) == (0, "")
    assert "complete already" in done.err
    check()


def test_unknown_keys_their_order_and_the_indent_stay(cli, make_model):
    lines = '"zebra": [1, {"b": 2.50}]', '"framework": "Pytorch"', '"task": "text-classification"', '"umlaut": "\u00e4"'
    text = "{\n" + ",\n".join(f"    {line}" for line in lines) + "\n}\n"
    folder = make_model(add={"configuration.json": text})
    assert cli("init", folder).code == 0
    document = configuration(folder)
    assert list(document)[:4] == ["zebra", "framework", "task", "umlaut"]
    assert document["zebra"] == [1, {"b": 2.5}]
    assert document["framework"] == "Pytorch"
    written = (folder / "configuration.json").read_text("utf-8")
    assert '\n    "umlaut": "\u00e4",\n' in written


def test_a_dry_run_writes_nothing(cli, make_model, unchanged):
    folder = make_model()
    check = unchanged(folder)
    done = cli("init", folder, "--dry-run")
    assert done.code == 0 and '+  "backend": "transformers",' in done.out
    assert done.err.startswith("would write")
    check()


def test_json_tells_what_was_done(cli, make_model):
    folder = make_model()
    dry = json.loads(cli("init", folder, "--dry-run", "--json").out)
    assert (dry["changed"], dry["written"]) == (True, False)
    wet = json.loads(cli("init", folder, "--json").out)
    assert (wet["changed"], wet["written"]) == (True, True)
    assert wet["configuration"] == configuration(folder) == dry["configuration"]


def test_a_contradiction_is_not_papered_over(cli, make_model, unchanged):
    folder = make_model(add={"configuration.json": {"task": "image-classification", "mine": 1}})
    check = unchanged(folder)
    done = cli("init", folder)
    assert done.code == 1
    assert "image-classification" in done.err and "text-classification" in done.err and "--force" in done.err
    assert json.loads(cli("init", folder, "--json").out)["written"] is False
    check()


def test_force_replaces_what_is_contradicted_and_nothing_else(cli, make_model):
    folder = make_model(add={"configuration.json": {"task": "image-classification", "mine": 1}})
    assert cli("init", folder, "--force").code == 0
    document = configuration(folder)
    assert (document["task"], document["mine"]) == ("text-classification", 1)
    assert document["tasks"][0] == "text-classification"
    assert cli("check", folder).code == 0


def test_a_failed_replacement_changes_nothing(cli, make_model, unchanged, monkeypatch):
    folder = make_model(add={"configuration.json": {"mine": 1, "framework": "pytorch"}})
    check = unchanged(folder)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    done = cli("init", folder)
    assert done.code == 8 and "No space left" in done.err
    check()


BAD = {
    "not-json": ("{'framework': 1}", 6, "MalformedMetadata"),
    "commented": ('{"framework": "pytorch", // yes\n}', 6, "MalformedMetadata"),
    "no-object": ("[1]", 6, "ConfigError"),
    "wrong-type": ('{"framework": 5, "task": "fill-mask"}', 6, "MalformedMetadata"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", 6, "ConfigError"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_completed_is_left_alone(cli, make_model, unchanged, case):
    text, code, name = BAD[case]
    folder = make_model(add={"configuration.json": text})
    check = unchanged(folder)
    done = cli("init", folder, "--force")
    assert (done.code, done.out) == (code, "")
    assert name in done.err and "configuration.json" in done.err
    check()


def test_an_empty_folder_gets_none(cli, tmp_path):
    done = cli("init", tmp_path)
    assert done.code == 3 and "NotAModel" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_permissions_stay(cli, make_model):
    folder = make_model(add={"configuration.json": {"framework": "pytorch"}})
    (folder / "configuration.json").chmod(0o640)
    cli("init", folder)
    assert (folder / "configuration.json").stat().st_mode & 0o777 == 0o640


def test_a_link_into_a_shared_cache_is_replaced_not_followed(cli, tmp_path, make_model):
    blobs = tmp_path / "models--org--x" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "0a1b").write_text('{"framework": "pytorch"}')
    folder = make_model("models--org--x/snapshots/c0ffee", {"config.json": BERT, "model.safetensors": safetensors()})
    (folder / "configuration.json").symlink_to(blobs / "0a1b")
    assert cli("init", folder).code == 0
    assert (blobs / "0a1b").read_text() == '{"framework": "pytorch"}'
    assert configuration(folder)["backend"] == "transformers"
