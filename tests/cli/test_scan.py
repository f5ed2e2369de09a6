"""`scan`: which folders are asked about, and that nothing stops it."""

import json
import os
import signal

import pytest

from modelscope_ext.cli import scan
from modelscope_ext.cli import tree as trees
from modelscope_ext.cli.tree import look
from tests.cli.folders import BERT, safetensors
from tests.models.test_sarif import checked


@pytest.fixture
def tree(make_model, tmp_path):
    """Two models, one of them in a hub's cache, a broken one, and folders that are no models."""
    make_model("tree/a/bert")
    make_model("tree/a/bert/checkpoint-1")  # part of the model above
    commit = "tree/models--org--vit/snapshots/0a1b2c"
    make_model(commit, {"config.json": {"model_type": "vit", "architectures": ["ViTForImageClassification"]}})
    make_model("tree/models--org--vit/blobs", {"config.json": BERT})
    make_model("tree/.git/objects", {"config.json": BERT})
    make_model("tree/broken", {"config.json": '{"model_type": '})
    make_model("tree/notes", {"notes.json": "{}", "todo.txt": "x"})
    make_model("tree/notes/deep/er", {"config.json": BERT, "model.safetensors": safetensors()})
    return tmp_path / "tree"


EXPECTED = {
    "a/bert": "transformers",
    "models--org--vit/snapshots/0a1b2c": "transformers",
    "notes/deep/er": "transformers",
    "broken": "MalformedMetadata",
}


def rows(done, tree):
    found = [json.loads(line) for line in done.out.splitlines()]
    return {os.path.relpath(r["path"], tree): r.get("backend") or r["error"]["class"] for r in found}


def test_every_model_is_one_row_and_errors_are_rows(cli, tree):
    done = cli("scan", tree, "--json")
    assert rows(done, tree) == EXPECTED
    assert done.code == 1  # one folder could not be read
    assert done.err == ""


@pytest.mark.parametrize("here", [0, 1, 3])
def test_the_rows_and_their_order_are_the_same_with_several_processes(cli, tree, monkeypatch, here):
    monkeypatch.setattr(trees, "_HERE", here)
    monkeypatch.setattr(trees, "_PARCEL", 2)
    alone, several = (cli("scan", tree, "--json", "--jobs", jobs) for jobs in ("1", "2"))
    assert several.out == alone.out and several.code == alone.code
    assert rows(several, tree) == EXPECTED


def test_a_small_scan_starts_no_process(cli, tree, monkeypatch):
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", None)
    assert rows(cli("scan", tree, "--json"), tree) == EXPECTED


def test_a_folder_that_cannot_be_listed_is_a_row_in_its_place(cli, tree, monkeypatch):
    monkeypatch.setattr(trees, "_HERE", 0)
    listed = trees.look

    def fails(path):
        if os.path.basename(path) == "broken":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(trees, "look", fails)
    found = rows(cli("scan", tree, "--json", "--jobs", "2"), tree)
    assert found == {**EXPECTED, "broken": "PermissionError"}
    assert list(found) == list(rows(cli("scan", tree, "--json", "--jobs", "1"), tree))


def _ends(path, security):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_was_killed_is_said_so(cli, tree, monkeypatch):
    monkeypatch.setattr(trees, "_HERE", 0)
    monkeypatch.setattr(scan, "walk", _ends)
    done = cli("scan", tree, "--json", "--jobs", "2")
    assert done.code == 7
    assert "ended from outside" in done.out and "--jobs 1" in done.out


def test_a_row_has_what_a_program_needs(cli, make_model):
    folder = make_model()
    done = cli("scan", folder, "--json")
    assert done.code == 0
    row = json.loads(done.out)
    assert row.pop("bytes") == len(safetensors())
    assert {key: row[key] for key in ("path", "framework", "backend", "model_type", "format", "loadable")} == {
        "path": str(folder),
        "framework": "pytorch",
        "backend": "transformers",
        "model_type": "bert",
        "format": "safetensors",
        "loadable": True,
    }
    assert row["tasks"][0] == "text-classification"


def test_the_table_is_plain_text_where_nobody_looks(cli, tree):
    done = cli("scan", tree)
    lines = done.out.splitlines()
    assert lines[0].split() == ["framework", "backend", "task", "weights", "path"]
    assert len(lines) == 1 + len(EXPECTED)
    assert any("MalformedMetadata" in line and "config.json" in line for line in lines)
    assert "\x1b" not in done.out
    assert done.err == "3 model(s), 1 error(s), 10 folder(s) looked at\n"


def test_no_model_below_it_is_a_negative_answer(cli, tmp_path):
    done = cli("scan", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("0 model(s)")


def test_what_was_passed_over_is_named_when_asked(cli, tree):
    assert f"not a model: {tree / 'notes'}" in cli("scan", tree, "-v").err


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_only_a_folder_can_be_scanned(cli, tmp_path, kind):
    (tmp_path / "file").write_text("x")
    done = cli("scan", tmp_path / kind)
    assert (done.code, done.out) == (3, "")
    assert "ModelNotFound" in done.err and "scan needs a folder" in done.err


def test_links_are_not_followed_round_in_circles(tree, cli):
    (tree / "a" / "again").symlink_to(tree, target_is_directory=True)
    assert rows(cli("scan", tree, "--json"), tree) == EXPECTED


def test_a_folder_that_may_not_be_read_is_a_row(tree, cli, monkeypatch):
    def gone(path, /):
        if path.endswith("notes"):
            raise PermissionError(13, "Permission denied", path)
        return look(path)

    monkeypatch.setattr("modelscope_ext.cli.tree.look", gone)
    found = rows(cli("scan", tree, "--json"), tree)
    assert found.pop("notes") == "PermissionError"
    assert found == {name: answer for name, answer in EXPECTED.items() if not name.startswith("notes")}


def test_names_that_could_steer_a_terminal_are_escaped(cli, make_model):
    folder = make_model("m\x1b[2Jx")
    done = cli("scan", folder.parent)
    assert "\x1b" not in done.out and "m\\x1b[2Jx" in done.out


def test_the_answers_do_not_depend_on_this_machine(cli, make_model, monkeypatch):
    folder = make_model()
    before = cli("scan", folder, "--json").out
    monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
    assert cli("scan", folder, "--json").out == before


def test_only_folders_with_a_telling_file_are_asked_about(make_model):
    assert look(str(make_model("yes", {"x.gguf": b"GGUF"}))).candidate
    assert not look(str(make_model("no", {"README.md": "x", "a.txt": "x", ".hidden.json": "{}"}))).candidate


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
def test_a_number_of_processes_is_a_number(cli, tmp_path, jobs):
    done = cli("scan", tmp_path, "--jobs", jobs)
    assert done.code == 2 and "at least 1" in done.err


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_sarif_log_of_a_whole_tree(cli, tree, make_model, monkeypatch, jobs):
    monkeypatch.setattr(trees, "_HERE", 2)
    evil = {"model_type": "evil", "auto_map": {"AutoModel": "evil.M"}}
    make_model("tree/evil", {"config.json": evil, "evil.py": "", "model.safetensors": safetensors()})
    monkeypatch.chdir(tree.parent)
    done = cli("scan", "tree", "--format", "sarif", "--jobs", jobs)
    run = checked(json.loads(done.out))
    places = {
        (result["ruleId"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        for result in run["results"]
        if result["level"] == "error" and result["ruleId"] != "vulnerable-library"
    }
    assert places == {("remote-code", "tree/evil/config.json"), ("malformed", "tree/broken/config.json")}
    assert done.code == 1


def test_a_tree_of_harmless_models_passes(cli, make_model, tmp_path):
    make_model("tree/a")
    make_model("tree/b")
    done = cli("scan", tmp_path / "tree", "--format", "sarif")
    assert (done.code, checked(json.loads(done.out))["results"]) == (0, [])
