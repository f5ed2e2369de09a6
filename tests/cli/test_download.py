"""`plan` and `download`: what they say, what they fetch, and where it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelscope_ext import data
from tests.conftest import LOOPBACK

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

ROOT = Path(data.__path__[0])
PLANNED = ["config.json", "model.safetensors", "preprocessor_config.json"]
ARGUMENTS = ("--backend", "transformers")


@pytest.fixture
def hub(hub_server, monkeypatch, tmp_path):
    folder = ROOT / "digits"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    hub_server.add("org/digits", {**files, "logo.png": b"x" * 500_000, "sub/notes.json": "{}"})
    for name, value in hub_server.environment("modelscope", "huggingface").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return hub_server


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_a_plan(cli, hub):
    done = cli("plan", "org/digits", *ARGUMENTS)
    assert done.code == 0 and all(name in done.out for name in PLANNED) and "logo.png" not in done.out
    assert "to fetch" in done.out and "memory, float32" in done.out
    answer = json.loads(cli("plan", "hf:org/digits", *ARGUMENTS, "--json").out)
    assert [f["name"] for f in answer["files"]] == PLANNED
    assert answer["whole_bytes"] > answer["total_bytes"] + 500_000 and answer["source"]["hub"] == "huggingface"
    assert not [r for r in hub.requests if r.file == "model.safetensors" and r.sent > 100_000]


def test_a_plan_of_a_folder(cli, make_model):
    answer = json.loads(cli("plan", make_model(), "--json").out)
    assert answer["to_fetch_bytes"] == 0 and answer["files"][0]["cached"] is True


def test_a_dry_run_fetches_nothing(cli, hub, tmp_path):
    done = cli("download", "org/digits", *ARGUMENTS, "--dry-run")
    assert done.code == 0 and "3 files, 165.4 kB of 165.4 kB to fetch" in done.out
    assert not (tmp_path / "MODELSCOPE_CACHE" / "models").exists()


def test_the_folder_is_printed_and_nothing_else(cli, hub):
    done = cli("download", "org/digits", *ARGUMENTS)
    folder = done.out.removesuffix("\n")
    assert done.code == 0 and names(folder) == PLANNED
    assert "165.4 kB of 165.4 kB to fetch; the whole repository has" in done.err
    again = cli("download", "org/digits", *ARGUMENTS)
    assert again.out == done.out and "3 files, nothing to fetch" in again.err
    quiet = cli("download", "org/digits", *ARGUMENTS, "-q", "--local-files-only")
    assert quiet.out == done.out and quiet.err == ""


def test_patterns(cli, hub):
    done = cli("download", "org/digits", "--include", "*.json", "--include", "logo.*", "--exclude", "sub/")
    assert names(done.out.strip()) == ["config.json", "logo.png", "preprocessor_config.json"]
    done = cli("download", "org/digits", *ARGUMENTS, "--exclude", "*.safetensors", "--hub", "hf", "--json")
    answer = json.loads(done.out)
    assert [f["name"] for f in answer["plan"]["files"]] == [n for n in PLANNED if n != "model.safetensors"]
    done = cli("download", "org/digits", "--include", "*.bin")
    assert done.code == 2 and "no file is left by include=" in done.err and "config.json" in done.err


@pytest.mark.parametrize("hub_name", ["ms", "hf"])
def test_a_folder_of_ones_own(cli, hub, tmp_path, hub_name):
    target = tmp_path / "above" / "mine"
    done = cli("download", f"{hub_name}:org/digits", *ARGUMENTS, "--local-dir", target, "--max-workers", 2)
    assert done.code == 0 and done.out == f"{target}\n"
    assert [n for n in names(target) if not n.startswith(".cache/")] == PLANNED
    assert not any(p.is_symlink() for p in target.rglob("*"))
    assert {p.name for p in tmp_path.iterdir()} <= {"above", "MODELSCOPE_EXT_CACHE"}
    assert [p.name for p in (tmp_path / "above").iterdir()] == ["mine"]
    hub.requests.clear()
    (target / "config.json").write_text("changed by hand")
    again = cli("download", f"{hub_name}:org/digits", *ARGUMENTS, "--local-dir", target)
    assert again.code == 0 and (target / "config.json").read_bytes() == (ROOT / "digits/config.json").read_bytes()
    assert {r.file for r in hub.requests if r.route in ("file", "cdn")} <= {"config.json"}
    assert cli("inspect", target).code == 0


def test_what_the_cache_has_is_copied_not_linked(cli, hub, tmp_path):
    cached = Path(cli("download", "hf:org/digits", *ARGUMENTS).out.strip())
    hub.requests.clear()
    target = tmp_path / "mine"
    cli("download", "hf:org/digits", *ARGUMENTS, "--local-dir", target)
    assert not [r for r in hub.requests if r.route in ("file", "cdn")]
    (target / "config.json").write_text("mine")
    assert (cached / "config.json").read_bytes() == (ROOT / "digits/config.json").read_bytes()


def test_a_link_out_of_the_folder_is_not_followed(cli, hub, tmp_path):
    target, outside = tmp_path / "mine", tmp_path / "outside"
    target.mkdir(), outside.mkdir()
    (target / "sub").symlink_to(outside)
    done = cli("download", "org/digits", "--include", "sub/*", "--local-dir", target)
    assert done.code == 5 and "leads out of" in done.err and names(outside) == []


def test_a_local_folder_is_nothing_to_fetch(cli, make_model):
    done = cli("download", make_model())
    assert done.code == 2 and "no repository of a hub" in done.err


def test_what_is_not_there(cli, hub):
    done = cli("download", "org/nothing")
    assert done.code == 3 and "org/nothing" in done.err and "no such model" in done.err
