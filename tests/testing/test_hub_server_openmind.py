"""openMind's client takes the hub server for Modelers, by TLS and through a proxy."""

from __future__ import annotations

import hashlib

import pytest

from modelscope_ext.testing.hub_server import Generated, HubServer
from tests.conftest import LOOPBACK
from tests.reference import client

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

BIG = Generated(3_000_000)
FILES = {"README.md": "# A model\n", "config.json": "{}", "sub/deep/vocab.txt": "a\nb\n", "sub/model.safetensors": BIG}

HEAD = """
import hashlib, os
os.environ.update(arg["environment"])
import openmind_hub
from openmind_hub import OmApi, om_hub_download, snapshot_download
api = OmApi()
def name_of(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__
def get(name, repo="org/model", **more):
    return open(om_hub_download(repo, name, cache_dir=arg["cache"], **more), "rb").read()
"""


def ask(server, script, tmp_path, **more):
    arg = {"environment": server.environment("openmind"), "cache": str(tmp_path / "cache"), **more}
    return client(HEAD + script, arg)


def test_it_lists_and_describes(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    found = ask(hub_server, """
info = api.model_info("org/model")
rows = list(api.list_repo_tree("org/model", recursive=True))
result = [[info.id, info.private, [s.rfilename for s in info.siblings]],
          sorted([r.path, r.size, r.blob_id] for r in rows if hasattr(r, "size")),
          api.get_repo_last_commit("org/model").oid]
""", tmp_path)  # fmt: skip
    description, files, commit = found
    assert description == ["org/model", False, list(FILES)]
    git = {name: hashlib.sha1(f"blob {len(text)}\0{text}".encode()).hexdigest()
           for name, text in FILES.items() if isinstance(text, str)}  # fmt: skip
    assert files == [
        ["README.md", 10, git["README.md"]], ["config.json", 2, git["config.json"]],
        ["sub/deep/vocab.txt", 4, git["sub/deep/vocab.txt"]], ["sub/model.safetensors", BIG.size, BIG.sha256],
    ]  # fmt: skip
    assert commit == hub_server.commit_id("org/model")


@pytest.mark.parametrize("cdn", [True, False])
def test_it_downloads(cdn, tmp_path):
    with HubServer(cdn=cdn) as server:
        server.add("org/model", FILES)
        found = ask(server, """
folder = snapshot_download("org/model", cache_dir=arg["cache"])
whole = open(os.path.join(folder, "sub", "model.safetensors"), "rb").read()
result = [os.path.basename(folder), hashlib.sha256(whole).hexdigest(), get("config.json").decode()]
""", tmp_path)  # fmt: skip
        assert found == [server.commit_id("org/model"), BIG.sha256, "{}"]
        assert ("cdn.modelers.cn" in {r.host for r in server.requests}) is cdn


def test_it_tells_errors_apart(hub_server, tmp_path):
    hub_server.add("org/model", FILES, revisions={"dev": {"config.json": "[1]"}})
    hub_server.add("org/secret", FILES, private=True, tokens=["right"])
    script = """
info = lambda repo, **more: name_of(lambda: api.model_info(repo, token=arg.get("token"), **more).id)
result = [info("org/missing"), info("org/model", revision="missing"), name_of(lambda: get("missing")),
          info("org/secret"), name_of(lambda: len(get("config.json", "org/secret", token=arg.get("token")))),
          len(get("config.json", revision="dev"))]
"""
    common = ["RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"]
    assert ask(hub_server, script, tmp_path) == [*common, "GatedRepoError", "GatedRepoError", 3]
    assert ask(hub_server, script, tmp_path / "2", token="right") == [*common, "org/secret", 2, 3]


def test_it_takes_a_commit(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    found = ask(hub_server, """
add = openmind_hub.CommitOperationAdd("configuration.json", b'{"task": "x"}')
made = api.create_commit("org/model", [add], commit_message="Add", token="mine")
result = [made.oid, get("configuration.json").decode()]
""", tmp_path)  # fmt: skip
    assert found == [hub_server.commit_id("org/model"), '{"task": "x"}']


def test_a_cut_connection_is_resumed(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    cut = hub_server.faults.cut(1_000_000, path="*.safetensors", times=1)
    got = ask(hub_server, "result = hashlib.sha256(get('sub/model.safetensors')).hexdigest()", tmp_path)
    assert (got, cut.hits) == (BIG.sha256, 1)


def test_the_proxy_leads_nowhere_else(hub_server, tmp_path):
    found = ask(hub_server, """
import requests
result = name_of(lambda: requests.get("https://example.org/").status_code)
""", tmp_path)  # fmt: skip
    assert found == "ProxyError"
    assert [(r.hub, r.host, r.status) for r in hub_server.requests] == [("proxy", "example.org", 403)]


def test_a_server_without_certificates_is_not_believed(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    with HubServer() as other:
        environment = {**hub_server.environment("openmind"), "REQUESTS_CA_BUNDLE": str(other.bundle)}
        arg = {"environment": environment, "cache": str(tmp_path)}
        got = client(HEAD + "result = name_of(lambda: api.model_info('org/model').id)", arg)
    assert got == "SSLError"
    assert hub_server.requests == []
