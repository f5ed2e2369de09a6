"""What the hubs' own clients left in their caches is found, and costs no request."""

from __future__ import annotations

import pytest

from modelscope_ext import resolve
from modelscope_ext.hub import huggingface_, modelscope_, openmind_
from modelscope_ext.hub.protocol import Access
from tests.hub.conftest import needs_client
from tests.reference import client

FILES = {"config.json": '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}', "README.md": "# A model\n",
         "model.safetensors": "x" * 100_000, "sub/vocab.txt": "a"}  # fmt: skip
FETCH = {
    "huggingface": """
import huggingface_hub
api = huggingface_hub.HfApi(endpoint=arg["endpoint"], token=False)
result = api.snapshot_download("org/my.model", cache_dir=arg["cache"], revision=arg["revision"])
""",
    "modelscope": """
import modelscope_hub
api = modelscope_hub.HubApi(endpoint=arg["endpoint"])
result = str(api.download_repo("org/my.model", "model", cache_dir=arg["cache"], revision=arg["revision"]))
""",
}


@pytest.mark.parametrize("revision", [None, "v1"])
@pytest.mark.parametrize("hub", FETCH)
def test_what_a_client_fetched_is_read_from_its_cache(online, tmp_path, hub, revision, monkeypatch):
    online.add("org/my.model", FILES, tags={"v1": "main"})
    asked = {"endpoint": online.endpoint(hub), "cache": str(tmp_path / "theirs"), "revision": revision}
    folder = client(FETCH[hub], asked)
    monkeypatch.setenv({"huggingface": "HF_HUB_CACHE", "modelscope": "MODELSCOPE_CACHE"}[hub], str(tmp_path / "theirs"))
    begun = len(online.requests)
    found = resolve("org/my.model", hub=hub, revision=revision, installed=False)
    assert found.backend == "transformers"
    assert [r.route for r in online.requests[begun:] if r.route != "agents"] in (["info"], ["listing"])
    offline = resolve("org/my.model", hub=hub, revision=revision, installed=False, local_files_only=True)
    assert (offline.backend, offline.tasks, offline.weights) == (found.backend, found.tasks, found.weights)
    of = {"huggingface": huggingface_.HuggingFace, "modelscope": modelscope_.ModelScope}[hub]()
    listing = of.listing("org/my.model", revision, Access())
    assert str(of.folder(listing, Access())) == folder
    assert all(of.cached(listing, file, Access()) for file in listing.files)


def test_defaults_are_those_of_the_clients(monkeypatch, tmp_path):
    import huggingface_hub.constants as theirs
    from modelscope_hub.config import HubConfig
    from modelscope_hub.constants import DEFAULT_ENDPOINT

    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "MODELSCOPE_CACHE", "MODELSCOPE_ENDPOINT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert huggingface_._endpoint() == theirs._HF_DEFAULT_ENDPOINT
    assert huggingface_.HuggingFace().cache(Access()) == tmp_path / ".cache" / "huggingface" / "hub"
    assert modelscope_._endpoint() == DEFAULT_ENDPOINT
    assert modelscope_._cache(Access()) == HubConfig().cache_dir
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "mirror.example/")
    assert modelscope_._endpoint() == "https://mirror.example"


def test_defaults_are_those_of_openminds_client():
    needs_client("openmind")
    from openmind_hub.plugins.openmind import constants as theirs

    assert openmind_._ENDPOINT == theirs.OPENMIND_URL
