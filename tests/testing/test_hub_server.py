"""The official clients take the hub server for their hubs."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest

from modelscope_ext.testing.hub_server import Generated, HubServer
from tests.conftest import LOOPBACK
from tests.reference import client

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

BIG = Generated(3_000_000)
FILES = {"README.md": "# A model\n", "config.json": "{}", "sub/deep/vocab.txt": "a\nb\n", "sub/model.safetensors": BIG}

HF = """
import huggingface_hub as hub
from huggingface_hub import constants
def name_of(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__.removeprefix("Remote")  # the same error before huggingface_hub 1
api = hub.HfApi(endpoint=arg["endpoint"], token=arg.get("token", False))
get = lambda name, **more: open(api.hf_hub_download("org/model", name, cache_dir=arg["cache"], **more), "rb").read()
"""
MS = """
import hashlib, modelscope_hub
def name_of(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__
api = modelscope_hub.HubApi(endpoint=arg["endpoint"], token=arg.get("token"))
def get(name, **more):
    return open(api.download_file("org/model", "model", name, cache_dir=arg["cache"], **more), "rb").read()
"""


def ask(server, hub, script, tmp_path, **more):
    head = HF if hub == "huggingface" else MS
    return client(head + script, {"endpoint": server.endpoint(hub), "cache": str(tmp_path / "cache"), **more})


def digest(data):
    return hashlib.sha256(data).hexdigest()


def routes(server):
    return [r.route for r in server.requests]


def test_hugging_face_describes_a_model(hub_server, tmp_path):
    hub_server.add("org/model", FILES, info={"pipeline_tag": "fill-mask"})
    found = ask(hub_server, "huggingface", """
info = api.model_info("org/model", files_metadata=True)
result = [info.id, info.sha, info.pipeline_tag, info.gated, info.private,
          [[s.rfilename, s.size, s.lfs and s.lfs.sha256] for s in info.siblings]]
""", tmp_path)  # fmt: skip
    assert found == [
        "org/model", hub_server.commit_id("org/model"), "fill-mask", False, False,
        [["README.md", 10, None], ["config.json", 2, None], ["sub/deep/vocab.txt", 4, None],
         ["sub/model.safetensors", 3_000_000, BIG.sha256]],
    ]  # fmt: skip


def test_hugging_faces_tree_comes_in_pages_and_by_folder(tmp_path):
    with HubServer(page_size=2) as server:
        server.add("org/model", FILES)
        found = ask(server, "huggingface", """
one = lambda r: [type(r).__name__, r.path, getattr(r, "size", None), getattr(r, "blob_id", None)]
result = [[one(r) for r in api.list_repo_tree("org/model", recursive=True)],
          [r.path for r in api.list_repo_tree("org/model", "sub")],
          [r.path for r in api.get_paths_info("org/model", ["config.json", "sub", "missing"])],
          name_of(lambda: list(api.list_repo_tree("org/model", "missing")))]
""", tmp_path)  # fmt: skip
        assert len(server.requests) == 3 + 1 + 1 + 1
    everything, below, asked, missing = found
    assert [row[1] for row in everything] == [
        "README.md", "config.json", "sub", "sub/deep", "sub/deep/vocab.txt", "sub/model.safetensors",
    ]  # fmt: skip
    git = hashlib.sha1(b"blob 2\0{}").hexdigest()
    assert everything[1] == ["RepoFile", "config.json", 2, git]
    assert below == ["sub/deep", "sub/model.safetensors"]
    assert asked == ["config.json", "sub"]
    assert missing == "EntryNotFoundError"


@pytest.mark.parametrize("cdn", [True, False])
def test_hugging_face_downloads(cdn, tmp_path):
    with HubServer(cdn=cdn) as server:
        server.add("org/model", FILES)
        found = ask(server, "huggingface", """
import hashlib, os
meta = hub.get_hf_file_metadata(hub.hf_hub_url("org/model", "sub/model.safetensors", endpoint=arg["endpoint"]))
folder = api.snapshot_download("org/model", cache_dir=arg["cache"])
whole = open(os.path.join(folder, "sub", "model.safetensors"), "rb").read()
result = [meta.etag, meta.size, meta.commit_hash, os.path.basename(folder), hashlib.sha256(whole).hexdigest(),
          get("config.json").decode()]
""", tmp_path)  # fmt: skip
        commit = server.commit_id("org/model")
        assert found == [BIG.sha256, BIG.size, commit, commit, BIG.sha256, "{}"]
        hosts = {r.host for r in server.requests if r.file == "sub/model.safetensors" and r.method == "GET"}
        assert hosts == ({"localhost"} if cdn else {"127.0.0.1"})


def test_hugging_faces_errors_are_told_apart(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    hub_server.add("org/secret", FILES, private=True, tokens=["right"])
    hub_server.add("org/gated", FILES, gated=True, tokens=["right"])
    script = """
info = lambda repo, **more: name_of(lambda: api.model_info(repo, **more).id)
def load(repo, name="config.json", **more):
    return name_of(lambda: len(open(api.hf_hub_download(repo, name, cache_dir=arg["cache"], **more)).read()))
result = [info("org/missing"), info("org/model", revision="missing"), load("org/model", "missing"), info("org/secret"),
          load("org/secret"), info("org/gated"), load("org/gated")]
"""
    common = ["RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"]
    shut = ["RepositoryNotFoundError", "RepositoryNotFoundError", "org/gated", "GatedRepoError"]
    assert ask(hub_server, "huggingface", script, tmp_path) == [*common, *shut]
    assert ask(hub_server, "huggingface", script, tmp_path, token="wrong") == [*common, *shut]
    assert ask(hub_server, "huggingface", script, tmp_path, token="right") == [*common, "org/secret", 2, "org/gated", 2]
    assert {r.token for r in hub_server.requests} == {None, "wrong", "right"}


def test_a_token_does_not_follow_hugging_faces_redirect(hub_server, tmp_path):
    hub_server.add("org/model", FILES, private=True, tokens=["right"])
    ask(hub_server, "huggingface", "result = len(get('sub/model.safetensors'))", tmp_path, token="right")
    assert [(r.route, r.host, r.authorized) for r in hub_server.requests if r.method == "GET"] == [
        ("cdn", "localhost", False)
    ]


def test_branches_tags_and_commits_and_a_branch_that_moves(hub_server, tmp_path):
    hub_server.add("org/model", {"config.json": "1"}, revisions={"dev": {"config.json": "2"}}, tags={"v1": "main"})
    old = hub_server.commit_id("org/model")
    new = hub_server.move("org/model", "main", {"config.json": "3"})
    assert old != new
    revisions = ["main", "dev", "v1", old, new]
    script = "result = [get('config.json', revision=r).decode() for r in arg['revisions']]"
    assert ask(hub_server, "huggingface", script, tmp_path, revisions=revisions) == ["3", "2", "1", "1", "3"]
    revisions[0] = "master"
    assert ask(hub_server, "modelscope", script, tmp_path / "ms", revisions=revisions) == ["3", "2", "1", "1", "3"]
    found = ask(hub_server, "huggingface", """
refs = api.list_repo_refs("org/model")
result = [[b.name for b in refs.branches], [[t.name, t.target_commit] for t in refs.tags],
          [c.commit_id for c in api.list_repo_commits("org/model")]]
""", tmp_path)  # fmt: skip
    assert found == [["main", "dev"], [["v1", old]], [new, old]]


def test_hugging_face_takes_a_commit_and_a_pull_request(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    found = ask(hub_server, "huggingface", """
usual, constants.ENDPOINT = constants.ENDPOINT, arg["endpoint"]  # before 1.0 it wants commits at the process's own hub
add = lambda: [hub.CommitOperationAdd("configuration.json", b'{"task": "x"}'),
               hub.CommitOperationAdd("weights.bin", b"0123456789")]
pull = api.create_commit("org/model", add(), commit_message="Add", create_pr=True, token="mine")
names = [api.list_repo_files("org/model"), api.list_repo_files("org/model", revision="refs/pr/1")]
direct = api.create_commit("org/model", [*add(), hub.CommitOperationDelete("config.json")], commit_message="Add",
                           token="mine")
constants.ENDPOINT = usual
result = [pull.pr_num, pull.pr_revision, direct.oid, names, api.list_repo_files("org/model"),
          get("weights.bin").decode(),
          name_of(lambda: api.create_commit("org/model", add(), commit_message="Add", token=False))]
""", tmp_path)  # fmt: skip
    number, revision, commit, (before, pull), after, weights, refused = found
    assert (number, revision, commit) == (1, "refs/pr/1", hub_server.commit_id("org/model"))
    assert before == sorted(FILES)
    assert pull == sorted([*FILES, "configuration.json", "weights.bin"])
    assert after == sorted({*pull} - {"config.json"})
    assert weights == "0123456789"
    assert refused in ("HfHubHTTPError", "RepositoryNotFoundError")


def test_modelscope_lists_and_describes(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    found = ask(hub_server, "modelscope", """
repo = api.get_repo("org/model", "model")
result = [[[f.path, f.size, f.sha256] for f in api.list_repo_files("org/model", "model") if f.type == "blob"],
          [f.path for f in api.list_repo_files("org/model", "model") if f.type == "tree"],
          [repo.repo_id, repo.file_size], [r["Revision"] for r in api.list_repo_revisions("org/model", "model")]]
""", tmp_path)  # fmt: skip
    files, folders, repo, revisions = found
    assert files == [
        ["README.md", 10, digest(b"# A model\n")], ["config.json", 2, digest(b"{}")],
        ["sub/deep/vocab.txt", 4, digest(b"a\nb\n")], ["sub/model.safetensors", BIG.size, BIG.sha256],
    ]  # fmt: skip
    assert folders == ["sub", "sub/deep"]
    assert repo == ["org/model", 3_000_016]
    assert revisions == ["master"]


def test_modelscopes_listing_ends_at_the_cap_and_its_client_walks_on(tmp_path):
    with HubServer(listing_cap=3000) as server:
        server.add("org/model", {f"d{i // 100:02}/f{i:05}.txt": b"" for i in range(5000)})
        found = ask(server, "modelscope", """
result = sum(f.type == "blob" for f in api.list_repo_files("org/model", "model"))
""", tmp_path)  # fmt: skip
        assert found == 5000
        assert len(server.requests) > 50


@pytest.mark.parametrize("cdn", [True, False])
def test_modelscope_downloads(cdn, tmp_path):
    with HubServer(cdn=cdn) as server:
        server.add("org/model", FILES)
        found = ask(server, "modelscope", """
import os
folder = str(api.download_repo("org/model", "model", cache_dir=arg["cache"]))
whole = open(os.path.join(folder, "sub", "model.safetensors"), "rb").read()
result = [hashlib.sha256(whole).hexdigest(), get("config.json").decode()]
""", tmp_path)  # fmt: skip
        assert found == [BIG.sha256, "{}"]
        assert ("localhost" in {r.host for r in server.requests}) is cdn


def test_modelscopes_errors_are_told_apart(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    hub_server.add("org/secret", FILES, private=True, tokens=["right"])
    hub_server.add("org/gated", FILES, gated=True, tokens=["right"])
    script = """
files = lambda repo, **more: name_of(lambda: len(api.list_repo_files(repo, "model", **more)))
load = lambda repo, name="config.json": name_of(
    lambda: len(open(api.download_file(repo, "model", name, cache_dir=arg["cache"])).read()))
result = [files("org/missing"), files("org/model", revision="missing"), load("org/model", "missing"),
          files("org/secret"), load("org/secret"), files("org/gated"), load("org/gated")]
"""
    common = ["NotExistError"] * 3
    assert ask(hub_server, "modelscope", script, tmp_path) == [
        *common, "NotExistError", "NotExistError", 6, "AuthenticationError",
    ]  # fmt: skip
    assert ask(hub_server, "modelscope", script, tmp_path, token="wrong")[-1] == "PermissionDeniedError"
    assert ask(hub_server, "modelscope", script, tmp_path, token="right") == [*common, 6, 2, 6, 2]


def test_modelscope_takes_uploads(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    found = ask(hub_server, "modelscope", """
api.upload_file("org/model", "model", b'{"task": "x"}', "configuration.json", disable_tqdm=True)
api.upload_file("org/model", "model", b"0123456789", "weights.bin", disable_tqdm=True)
result = [get("configuration.json").decode(), get("weights.bin").decode()]
""", tmp_path, token="mine")  # fmt: skip
    assert found == ['{"task": "x"}', "0123456789"]
    assert hub_server.content("org/model", "weights.bin").read() == b"0123456789"
    assert "upload" in routes(hub_server)


def test_a_folder_is_served_as_it_is(hub_server, tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub/model.bin").write_bytes(b"0" * 100_000)
    hub_server.add("org/model", folder)
    for hub in ("huggingface", "modelscope"):
        got = ask(hub_server, hub, "result = len(get('sub/model.bin'))", tmp_path / hub)
        assert got == 100_000
    with pytest.raises(NotADirectoryError, match="missing"):
        hub_server.add("org/other", tmp_path / "missing")


def test_a_repo_may_be_on_one_hub_alone(hub_server, tmp_path):
    hub_server.add("org/model", FILES, hubs=["modelscope"])
    script = "result = name_of(lambda: len(get('config.json')))"
    assert ask(hub_server, "huggingface", script, tmp_path / "hf") == "RepositoryNotFoundError"
    assert ask(hub_server, "modelscope", script, tmp_path / "ms") == 2


def test_the_environment_leads_new_processes_here(hub_server):
    found = hub_server.environment("huggingface", "modelscope")
    assert found["HF_ENDPOINT"] == hub_server.endpoint("huggingface")
    assert found["MODELSCOPE_ENDPOINT"] == hub_server.endpoint("modelscope")
    assert "OPENMIND_HUB_ENDPOINT" not in found


def test_an_unknown_hub_is_an_error():
    with pytest.raises(ValueError, match="huggingface, modelscope, openmind, found github"):
        HubServer(hubs=["github"])
    with HubServer(hubs=["modelscope"]) as server, pytest.raises(ValueError, match="'huggingface' is not served"):
        server.endpoint("huggingface")


def test_nothing_is_left_running(tmp_path):
    before = set(threading.enumerate())
    with HubServer() as server:
        server.add("org/model", FILES)
        server.faults.stall(60, after=1000)
        server.endpoint("huggingface")
        import http.client

        asker = http.client.HTTPConnection("127.0.0.1", int(server.endpoint("huggingface").rpartition(":")[2]))
        asker.request("GET", "/org/model/resolve/main/README.md")
        assert asker.getresponse().read() == b"# A model\n"
    asker.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_a_failure_of_the_server_itself_does_not_pass_for_the_hubs():
    import http.client

    with pytest.raises(RuntimeError, match=r"(?s)hub server itself failed 1 times.*FileNotFoundError: gone"):
        with HubServer() as server:
            server.add("org/model", {"config.json": Gone()})
            asker = http.client.HTTPConnection("127.0.0.1", int(server.endpoint("huggingface").rpartition(":")[2]))
            asker.request("GET", "/org/model/resolve/main/config.json")
            assert asker.getresponse().status == 500
            asker.close()


class Gone(Generated):
    """A content that cannot be read any more."""

    def __init__(self):
        super().__init__(10)

    def chunks(self, start=0, stop=None):
        raise FileNotFoundError("gone")
        yield


def test_the_hosts_of_a_request_are_those_the_client_named(hub_server, tmp_path):
    hub_server.add("org/model", FILES)
    ask(hub_server, "huggingface", "result = len(get('config.json'))", tmp_path)
    assert {r.host for r in hub_server.requests} == {"127.0.0.1"}
    assert json.loads(json.dumps(hub_server.requests[0].query)) == {}
    assert isinstance(hub_server.content("org/model", "config.json").read(), bytes)
    assert Path(hub_server.endpoint("huggingface")).name.startswith("127.0.0.1:")
