"""What PyTorch's libraries make of a model that came from a hub, and what they read of the cache."""

from __future__ import annotations

import json

import pytest

from modelscope_ext import pipeline
from modelscope_ext.errors import RedirectRefused
from modelscope_ext.hub.download import download
from modelscope_ext.hub.hubs import access_of, hub_of
from tests.conftest import LOOPBACK
from tests.equality import assert_equal
from tests.hub.test_load import bodies, hub, watch

pytestmark = [pytest.mark.allow_hosts(LOOPBACK), pytest.mark.pt]

__all__ = ["hub"]
EXTRA = {"flax_model.msgpack": b"x" * 1000, "optimizer.pt": b"x" * 100, "pytorch_model.bin": b"not a pickle"}
TEXTS = ["a good day", "the cat sat on the mat"]


@pytest.mark.parametrize("whole", [False, True])
def test_as_from_a_folder(hub, hub_server, tmp_path, whole):
    from tests.tiny.transformers_ import build

    folder = build("text-classification", tmp_path / "tiny")
    with pipeline(model=folder, task="text-classification") as pipe:
        expected = pipe(TEXTS)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    hub_server.add("org/tiny", {**files, **EXTRA})
    if whole:  # everything is in the cache already, as the client leaves it
        listing = hub_of(hub).listing("org/tiny", None, access_of())
        download(hub_of(hub), listing, [f.name for f in listing.files], access_of())
        bodies(hub_server)
    opened = watch(lambda: pipeline(model="org/tiny", hub=hub, task="text-classification"))
    with opened.result as pipe:
        assert pipe(TEXTS) == expected and expected[0] != expected[1]
    assert bodies(hub_server).isdisjoint(EXTRA)
    assert not [path for path in opened.paths if path.endswith(tuple("/" + name for name in EXTRA))]


def test_an_adapters_base_is_another_source(hub, hub_server, tmp_path):
    from tests.tiny.peft_ import build

    adapter = build("features", tmp_path / "made", seed=3)
    base = adapter.parent / "base"
    with pipeline(model=adapter, base_model=base) as pipe:
        expected = pipe(TEXTS)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "org/base"}))
    for name, folder in (("org/adapter", adapter), ("org/base", base)):
        hub_server.add(name, folder)
    with pytest.raises(RedirectRefused, match="org/base"):
        pipeline(model="org/adapter", hub=hub)
    assert not [r for r in hub_server.requests if r.repo == "org/base"]
    for allowed in ({"allow_sources": ["org/base"]}, {"base_model": "org/base"}):
        with pipeline(model="org/adapter", hub=hub, **allowed) as pipe:
            assert_equal(pipe(TEXTS), expected)
    hub_server.requests.clear()
    with pipeline(model="org/adapter", hub=hub, base_model="org/base", local_files_only=True) as pipe:
        assert_equal(pipe(TEXTS), expected)
    assert hub_server.requests == []
