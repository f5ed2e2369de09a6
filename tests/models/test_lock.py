"""A lock names exactly what was loaded, and any drift from it is an error that says what drifted."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from modelscope_ext import Model, data, pipeline
from modelscope_ext.cli import main
from modelscope_ext.errors import ConfigError, LockMismatch, ModelNotFound, OptionError
from modelscope_ext.models.lock import make_lock, read_lock
from tests.conftest import LOOPBACK

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

Done = namedtuple("Done", "code out err")

ROOT = Path(data.__path__[0])
PICTURE = str(ROOT / "digits_samples" / "3.png")
SCHEMA = Path(data.__file__).parent.parent / "models" / "data" / "lock.schema.json"


def digits(**more):
    folder = ROOT / "digits"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {**files, **more}


@pytest.fixture
def cli(capsys):
    """Run the command line in this process."""

    def run(*argv):
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(params=["huggingface", "modelscope"])
def hub(request, hub_server, monkeypatch, tmp_path):
    hub_server.add("org/digits", digits())
    for name, value in hub_server.environment(request.param).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    return request.param


@pytest.fixture
def locked(hub, cli, tmp_path):
    path = tmp_path / "model.lock.json"
    done = cli("lock", "org/digits", "--hub", hub, "--backend", "onnx", "-o", path)
    assert done.code == 0 and done.out == "" and "3 files" in done.err
    return path


def changed(path, **values):
    document = json.loads(path.read_text())
    for dotted, value in values.items():
        at, *keys = document, *dotted.split("__")
        for key in keys[:-1]:
            at = at[int(key) if key.isdigit() else key]
        at[keys[-1]] = value
    path.write_text(json.dumps(document))
    return path


def label(pipe):
    with pipe:
        return pipe(PICTURE, top_k=1)[0]["label"]


def test_what_it_says_has_the_documented_form(locked, hub, hub_server):
    import jsonschema

    document = json.loads(locked.read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["source"]["hub"] == hub and document["source"]["commit"] == hub_server.commit_id("org/digits")
    assert [f["name"] for f in document["files"]] == ["config.json", "onnx/model.onnx", "preprocessor_config.json"]
    kinds = {f["hash"].partition(":")[0] for f in document["files"]}
    assert kinds == ({"sha256", "git"} if hub == "huggingface" else {"sha256"})
    assert document["decision"]["backend"] == "onnxruntime" and "onnxruntime" in document["libraries"]
    assert not [r for r in hub_server.requests if r.file == "onnx/model.onnx" and r.sent > 100_000]
    assert read_lock(locked) == make_lock("org/digits", hub=hub, backend="onnx")


def test_exactly_that_is_loaded_although_the_branch_has_moved(locked, hub, hub_server):
    hub_server.move("org/digits", "main", {**digits(), "config.json": "{}"})
    assert label(pipeline(lock=locked)) == "3"
    assert label(pipeline(lock=str(locked), local_files_only=True)) == "3"
    assert label(pipeline(model="org/digits", lock=locked)) == "3"
    assert label(pipeline("image-classification", "org/digits", lock=locked, hub=hub, backend="onnx")) == "3"
    with Model.from_pretrained(lock=locked) as model:
        assert model.resolution.source.commit == json.loads(locked.read_text())["source"]["commit"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files__1__hash": "sha256:" + "0" * 64}, r"onnx/model\.onnx: sha256:0{20,}.* is locked, found sha256:"),
        ({"files__1__bytes": 7}, r"onnx/model\.onnx: 7 bytes are locked, found \d+"),
        ({"files__0__name": "other.json"}, r"config\.json: is not in the lock; other\.json: is locked, and would not"),
        ({"decision__framework": "pytorch"}, "framework: pytorch is locked, found onnx"),
        ({"decision__model_type": "bert"}, "model_type: bert is locked, found vit"),
        ({"decision__tasks": ["fill-mask"]}, "tasks: fill-mask are locked, found image-classification"),
        ({"libraries__onnxruntime": "0.1"}, r"onnxruntime: 0\.1 is locked, \d.* is installed"),
        ({"libraries__no-such-library": "3"}, "no-such-library: 3 is locked, nothing is installed"),
    ],
)
def test_drift_is_named(locked, change, said):
    with pytest.raises(LockMismatch, match=said):
        pipeline(lock=changed(locked, **change))


def test_a_commit_that_is_gone(locked):
    with pytest.raises((ModelNotFound, LockMismatch), match="no such"):
        pipeline(lock=changed(locked, source__commit="0" * 40))


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"model": "org/other"}, r"model: .*org/digits is locked, and the call asks for org/other"),
        ({"revision": "dev"}, "revision: .* is locked, and the call asks for dev"),
        ({"model_revision": "dev"}, "is locked"),
        ({"backend": "transformers"}, "backend: onnxruntime is locked, and the call asks for transformers"),
        ({"variant": "fp16"}, "variant: None is locked, and the call asks for fp16"),
    ],
)
def test_a_call_that_asks_for_something_else(locked, keywords, said):
    with pytest.raises((LockMismatch, OptionError), match=said):
        pipeline(lock=locked, **keywords)


def test_a_folder_can_be_locked_and_held_against_a_lock(cli, tmp_path, locked, hub):
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "digits", folder)
    assert label(pipeline(model=folder, lock=locked)) == "3"  # the hub's lock, the same files
    own = tmp_path / "own.lock.json"
    own.write_text(cli("lock", folder, "--backend", "onnx").out)
    assert label(pipeline(lock=own)) == "3"
    (folder / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes() + b"\n")
    for lock in (own, locked):
        with pytest.raises(LockMismatch, match=r"preprocessor_config\.json: \d+ bytes are locked, found \d+"):
            pipeline(model=folder, lock=lock)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lock_version": 2}', '{"lock_version": 1, "source": {"hub": 1}}'])
def test_what_is_no_lock(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises((ConfigError, ValueError), match=r"x\.json"):
        pipeline(lock=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        pipeline(lock=tmp_path / "nothing.json")
    with pytest.raises(OptionError, match="expected the path of a lock file"):
        pipeline(lock=3)
