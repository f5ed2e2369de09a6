"""`pipeline(model="org/x")`: decided, checked, and exactly the plan's files fetched."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from modelscope_ext import Model, data, pipeline, plan, resolve
from modelscope_ext.errors import (
    DiskFull,
    HubError,
    MalformedMetadata,
    MemoryTooSmall,
    MissingRequirement,
    ModelNotFound,
    RemoteCodeRefused,
)
from modelscope_ext.hub import download
from modelscope_ext.models import room
from tests.conftest import LOOPBACK

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

ROOT = Path(data.__path__[0])
PICTURE = str(ROOT / "digits_samples" / "3.png")
PLANNED = {"config.json", "onnx/model.onnx", "preprocessor_config.json"}
#: What is read to decide, of the weights no more than the header.
READ = {"README.md", "model.safetensors"}
EXTRA = {"flax_model.msgpack": b"x" * 1000, "training_args.bin": b"x" * 100, "logo.png": b"x" * 500}


def digits():
    """The package's own model without its safetensors, among files that nobody needs."""
    folder = ROOT / "digits"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {**files, **EXTRA}


@pytest.fixture(params=["huggingface", "modelscope", pytest.param("openmind", marks=pytest.mark.om)])
def hub(request, hub_server, monkeypatch, tmp_path):
    """The name of a hub that serves org/digits; the caches are the clients' own, and empty."""
    hub_server.add("org/digits", digits())
    for name, value in hub_server.environment(request.param).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    return request.param


def bodies(server):
    found = {(r.file, r.sent) for r in server.requests if r.route in ("file", "cdn") and r.sent}
    server.requests.clear()
    return {file for file, _ in found}


def test_the_whole_way(hub, hub_server):
    with pipeline(model="org/digits", hub=hub, backend="onnx") as pipe:
        assert pipe(PICTURE, top_k=1)[0]["label"] == "3"
        folder = Path(pipe.model.model_dir)
        source = pipe.model.resolution.source
    assert (source.hub, source.repo) == (hub, "org/digits") and source.commit
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == PLANNED
    assert bodies(hub_server) <= PLANNED | READ
    with pipeline(model="org/digits", hub=hub, backend="onnx") as pipe:
        assert pipe(PICTURE, top_k=1)[0]["label"] == "3"
    assert bodies(hub_server) == set()


def test_the_class_method_and_a_prefix(hub):
    prefix = {"huggingface": "hf", "modelscope": "ms", "openmind": "om"}[hub]
    with Model.from_pretrained(f"{prefix}:org/digits", backend="onnx") as model:
        assert model.backend == "onnxruntime" and model.tasks[0] == "image-classification"


def test_offline_the_cache_is_enough_and_no_socket_is_opened(hub, hub_server):
    with pytest.raises(ModelNotFound, match="offline"):
        pipeline(model="org/digits", hub=hub, backend="onnx", local_files_only=True)
    pipeline(model="org/digits", hub=hub, backend="onnx").close()
    hub_server.requests.clear()
    with pipeline(model="org/digits", hub=hub, backend="onnx", local_files_only=True) as pipe:
        assert pipe(PICTURE, top_k=1)[0]["label"] == "3"
    assert hub_server.requests == []


def test_the_plan_says_what_is_here(hub, hub_server):
    before = plan("org/digits", hub=hub, backend="onnx")
    assert {f.name for f in before.files} == PLANNED and before.to_fetch_bytes == before.total_bytes > 0
    assert bodies(hub_server) <= PLANNED | READ
    assert before.disk_free and before.memory_free
    pipeline(model="org/digits", hub=hub, backend="onnx").close()
    after = plan("org/digits", hub=hub, backend="onnx")
    assert after.to_fetch_bytes == 0 and all(f.cached for f in after.files)


@pytest.mark.parametrize("name", ["adapter_config.json", "chat_template.jinja", "evil.py", "onnx/model.onnx_data"])
def test_what_is_not_in_the_listing_is_never_read(hub, hub_server, name):
    with pipeline(model="org/digits", hub=hub, backend="onnx") as pipe:
        folder = Path(pipe.model.model_dir)
    planted = folder / name
    planted.write_text("{}")
    opened = watch(lambda: pipeline(model="org/digits", hub=hub, backend="onnx"))
    assert opened.result(PICTURE, top_k=1)[0]["label"] == "3"
    place = Path(opened.result.model.model_dir)
    opened.result.close()
    assert {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()} == PLANNED
    assert not [path for path in opened.paths if path.endswith("/" + name)]
    assert planted.read_text() == "{}"  # left alone
    again = pipeline(model="org/digits", hub=hub, backend="onnx")
    assert Path(again.model.model_dir) == place
    again.close()


def test_what_is_listed_and_not_planned_is_never_read(hub, hub_server):
    from modelscope_ext.hub.hubs import access_of, hub_of

    one, access = hub_of(hub), access_of()
    listing = one.listing("org/digits", None, access)
    folder = download.download(one, listing, [f.name for f in listing.files], access)
    opened = watch(lambda: pipeline(model="org/digits", hub=hub, backend="onnx"))
    opened.result(PICTURE)
    opened.result.close()
    blobs = {(folder / name).resolve().as_posix() for name in EXTRA}
    names = tuple("/" + name for name in EXTRA)
    assert not [path for path in opened.paths if path in blobs or path.endswith(names)]


class watch:
    """Run something and note the paths of all files that are opened meanwhile."""

    active: list = []

    def __init__(self, action):
        if not watch.active:
            sys.addaudithook(watch.hook)
        self.paths, self.thread = [], threading.get_ident()
        watch.active[:] = [self]
        self.result = action()
        watch.active[:] = [None]

    @staticmethod
    def hook(event, arguments):
        if event == "open" and watch.active and watch.active[0] is not None and isinstance(arguments[0], str):
            watch.active[0].paths.append(os.path.realpath(arguments[0]))
            watch.active[0].paths.append(arguments[0])


def test_requirements_are_checked_before_the_first_byte(hub, hub_server):
    files = {**digits(), "configuration.json": json.dumps({"requirement_dependency": ["no-such-package-at-all"]})}
    hub_server.add("org/digits", files)
    with pytest.raises(MissingRequirement, match="no-such-package-at-all"):
        pipeline(model="org/digits", hub=hub, backend="onnx")
    assert "onnx/model.onnx" not in bodies(hub_server)


def test_code_is_refused_before_the_first_byte(hub, hub_server):
    config = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}}
    files = {"config.json": json.dumps(config), "evil.py": "boom", "model.safetensors": digits()["model.safetensors"]}
    hub_server.add("org/evil", files)
    with pytest.raises(RemoteCodeRefused, match=r"evil\.py sha256:[0-9a-f]{64}"):
        pipeline(model="org/evil", hub=hub)
    assert not [r for r in hub_server.requests if r.file == "model.safetensors" and r.sent > 100_000]


def test_memory_and_disk_are_looked_at_before_the_first_byte(hub, hub_server, monkeypatch):
    monkeypatch.setattr(room, "memory_free", lambda device=None: 1000)
    with pytest.raises(MemoryTooSmall, match=r"org/digits@\w+: its weights need .* kB.*1\.0 kB are free.*Nothing was"):
        pipeline(model="org/digits", hub=hub, backend="onnx")
    assert "onnx/model.onnx" not in bodies(hub_server)
    monkeypatch.undo()


def test_no_room_on_the_disk(hub, hub_server, monkeypatch):
    monkeypatch.setattr(download, "disk_free", lambda path: 1000)
    with pytest.raises(DiskFull, match=r"cache_dir="):
        pipeline(model="org/digits", hub=hub, backend="onnx")
    assert "onnx/model.onnx" not in bodies(hub_server)


def test_gate_b_looks_at_what_came(hub, hub_server):
    """The header of a pickle says nothing: it is judged when its bytes are here, before a library sees them."""
    hub_server.add("org/digits", {**digits(), "onnx/model.onnx": b"\x80\x04cposix\nsystem\n(X\x04\x00\x00\x00truetR."})
    with pytest.raises(MalformedMetadata, match=r"onnx/model\.onnx"):
        pipeline(model="org/digits", hub=hub, backend="onnx")
    assert "onnx/model.onnx" in bodies(hub_server)


def test_a_branch_that_moves_after_the_listing_changes_nothing(hub, hub_server, monkeypatch):
    real, moved = download.download, []

    def move_first(*arguments, **options):
        moved.append(hub_server.move("org/digits", "main", {**digits(), "onnx/model.onnx": b"other"}))
        return real(*arguments, **options)

    from modelscope_ext.hub import fetch

    monkeypatch.setattr(fetch, "download", move_first)
    with pipeline(model="org/digits", hub=hub, backend="onnx") as pipe:
        assert moved and pipe(PICTURE, top_k=1)[0]["label"] == "3"
        assert pipe.model.resolution.source.commit not in moved


def test_resolve_reads_no_weights(hub, hub_server):
    assert resolve("org/digits", hub=hub, backend="onnx").backend == "onnxruntime"
    assert sum(r.sent for r in hub_server.requests) < 256_000


def test_a_hub_that_refuses_says_what_to_do(hub, hub_server):
    hub_server.add("org/secret", digits(), private=True, tokens=["t0ken"])
    with pytest.raises((HubError, ModelNotFound), match=r"log in|token="):
        pipeline(model="org/secret", hub=hub, backend="onnx")
    with pipeline(model="org/secret", hub=hub, backend="onnx", token="t0ken") as pipe:
        assert pipe(PICTURE, top_k=1)[0]["label"] == "3"
