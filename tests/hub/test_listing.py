"""What each hub lists, through its real client, and what its refusals become."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext.errors import (
    HubError,
    LimitExceeded,
    MalformedMetadata,
    MissingRequirement,
    ModelNotFound,
    ModelScopeExtError,
    PathEscapeRefused,
)
from modelscope_ext.hub import client, retry
from modelscope_ext.hub.digest import content_id
from modelscope_ext.hub.protocol import Access
from modelscope_ext.hub.remote import listing_of
from modelscope_ext.safety.limits import Limits
from modelscope_ext.testing.hub_server import HOSTILE_NAMES, Generated, HubServer
from tests.conftest import LOOPBACK

WEIGHTS = Generated(3_000_000)
FILES = {"config.json": "{}", "sub/deep/vocab.txt": "a\nb\n", "model.safetensors": WEIGHTS, "ä b#?%.txt": "x"}
SECRET = "secret-token-of-mine"


def listed(served, repo="org/model", revision=None, **keywords):
    return served.hub.listing(repo, revision, served.access(**keywords))


def test_names_sizes_hashes_and_the_commit(served):
    served.server.add("org/model", FILES)
    found = listed(served)
    assert (found.hub, found.repo, found.revision) == (served.name, "org/model", served.hub.default)
    assert found.commit == served.server.commit_id("org/model")
    assert {file.name: file.size for file in found.files} == {
        "config.json": 2, "sub/deep/vocab.txt": 4, "model.safetensors": 3_000_000, "ä b#?%.txt": 1,
    }  # fmt: skip
    by_name = {file.name: content_id(file) for file in found.files}
    assert by_name["model.safetensors"] == WEIGHTS.sha256
    assert by_name["config.json"] in (hashlib.sha256(b"{}").hexdigest(), hashlib.sha1(b"blob 2\0{}").hexdigest())
    folders = 3 if served.name == "openmind" else 1
    assert len(served.asked()) <= folders + 1


def test_main_and_master_are_one_name_and_a_branch_a_tag_a_commit_are_found(served):
    served.server.add("org/model", FILES, revisions={"dev": {"b.txt": "b"}}, tags={"v1": "dev"})
    main = listed(served)
    assert listed(served, revision="main") == listed(served, revision="master") == main
    for revision in ("dev", "v1", served.server.commit_id("org/model", "dev")):
        found = listed(served, revision=revision)
        assert ([f.name for f in found.files], found.revision) == (["b.txt"], revision)
        assert found.commit == served.server.commit_id("org/model", "dev")


def test_a_repo_that_is_not_there_says_what_to_do_and_what_is_near(served):
    served.server.add("org/model", {"config.json": "{}"})
    folder = served.hub.folder(listed(served), served.access())
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound) as error:
        listed(served, "org/modell")
    text = str(error.value)
    assert f"{served.hub.title} (" in text and "org/modell@" in text and served.hub.login in text
    assert "Did you mean 'org/model'?" in text
    assert error.value.__cause__ is not None


def test_a_revision_that_is_not_there_is_told_from_a_repo(served):
    served.server.add("org/model", {"config.json": "{}"}, revisions={"release": {}}, tags={"v1": "release"})
    with pytest.raises(ModelNotFound, match="no such branch, tag or commit") as error:
        listed(served, revision="relaese")
    if served.name != "openmind":  # its client lists no revisions
        assert "Did you mean 'release'?" in str(error.value) and "v1" in str(error.value)


def test_a_private_repo_is_no_repo_to_a_stranger(served):
    served.server.add("org/model", {"config.json": "{}"}, private=True, tokens=[SECRET])
    with pytest.raises((ModelNotFound, HubError), match=r"log in|pass token=") as error:
        listed(served)
    assert SECRET not in str(error.value)
    with pytest.raises((ModelNotFound, HubError)) as error:
        listed(served, token="wrong-token")
    assert "wrong-token" not in f"{error.value!r}{error.value}"
    assert [f.name for f in listed(served, token=SECRET).files] == ["config.json"]


def test_tokens_come_from_the_clients_variables_and_are_in_no_record(main_hub, monkeypatch):
    served = main_hub  # openMind's client knows no variable
    monkeypatch.setenv({"modelscope": "MODELSCOPE_API_TOKEN", "huggingface": "HF_TOKEN"}[served.name], SECRET)
    served.server.add("org/model", {"config.json": "{}"}, private=True, tokens=[SECRET])
    found = listed(served)
    address = served.hub.address(found, found.files[0], served.access())
    assert SECRET in str(dict(address.headers)) and SECRET not in repr(address) + repr(found) + address.url
    assert SECRET not in repr(Access(token=SECRET))
    with pytest.raises((ModelNotFound, HubError)):
        listed(served, token=False)
    assert served.asked()[-1].token is None


def test_tokens_come_from_the_clients_stores(online, tmp_path):
    from modelscope_hub.config import HubConfig

    from modelscope_ext.hub.huggingface_ import HuggingFace
    from modelscope_ext.hub.modelscope_ import ModelScope

    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(SECRET)
    HubConfig().save_token(SECRET)
    online.add("org/model", {"config.json": "{}"}, private=True, tokens=[SECRET])
    for hub in (HuggingFace(), ModelScope()):
        assert [file.name for file in hub.listing("org/model", None, Access()).files] == ["config.json"]


def test_a_gated_repo_says_where_to_accept(served):
    served.server.add("org/model", {"config.json": "{}"}, gated=True, tokens=[SECRET])
    with pytest.raises(HubError, match=r"gated|denied") as error:
        served.open().read("config.json")
    assert error.value.refused and served.hub.login in str(error.value)
    assert served.open(token=SECRET).read("config.json") == b"{}"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_refused_or_left_out(main_hub, name):
    refused_or_left_out(main_hub, name)


def test_hostile_names_on_every_hub(served):
    for name in ("../outside.txt", "C:\\outside.txt", "a/COM1"):
        refused_or_left_out(served, name)


def refused_or_left_out(served, name):
    served.server.add("org/model", {name: "{}"})
    try:
        found = listed(served)
    except ModelScopeExtError as error:
        assert len(str(error)) <= 1000 and str(error).isprintable()
    else:
        assert found.files == () and len(found.left_out) <= 1
        assert all(f.code == "odd-name" for f in served.open().findings)


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "..\\outside.txt", "C:\\outside.txt"])
def test_a_name_that_leads_out_refuses_the_whole(name):
    asked = client.Asked(hub_for_messages(), "org/model")
    rows = [("config.json", 2, None, None), (name, 2, None, None)]
    with pytest.raises(PathEscapeRefused, match="org/model"):
        client.checked(EMPTY, rows, asked, Limits())


def hub_for_messages():
    from modelscope_ext.hub.modelscope_ import ModelScope

    return ModelScope()


EMPTY = client.Listing("modelscope", "org/model", "master", "0" * 40)
LIES = {
    "no name": (None, 1), "a number for a name": (3, 1), "no size": ("a", None), "a negative size": ("a", -1),
    "a size that is no int": ("a", 1.5), "a size in words": ("a", "12"), "true": ("a", True), "endless": ("a", 2**63),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_size_that_can_be_none_is_malformed(lie):
    asked = client.Asked(hub_for_messages(), "org/model")
    with pytest.raises(MalformedMetadata, match="org/model"):
        client.checked(EMPTY, [(*LIES[lie], None, None)], asked, Limits())


def test_a_listing_that_contradicts_itself():
    asked = client.Asked(hub_for_messages(), "org/model")
    for names, says in ((["a", "a"], "listed twice"), (["a", "a/b"], "as a file and as a folder")):
        with pytest.raises(MalformedMetadata, match=says):
            client.checked(EMPTY, [(name, 1, None, None) for name in names], asked, Limits())
    odd = client.checked(EMPTY, [("aux.py", 1, None, None), ("b", 1, "x", '"' + "A" * 40 + '"')], asked, Limits())
    assert [f.name for f in odd.files] == ["b"] and odd.left_out[0][0] == "aux.py"
    assert (odd.files[0].sha256, odd.files[0].etag) == (None, "a" * 40)


def test_a_mirror_that_gives_no_sizes_is_asked_for_the_tree(online):
    from modelscope_ext.hub.huggingface_ import HuggingFace

    online.add("org/model", FILES)
    whole = HuggingFace().listing("org/model", None, Access())
    names = [{"rfilename": file.name} for file in whole.files]
    body = json.dumps({"id": "org/model", "sha": whole.commit, "siblings": names}).encode()
    online.faults.status(200, body=body, route="info")
    assert HuggingFace().listing("org/model", None, Access()) == whole
    assert online.requests[-1].route == "listing"


@given(st.lists(st.tuples(st.text(max_size=30), st.integers()), max_size=6))
def test_whatever_is_listed_no_name_leads_out(rows):
    asked = client.Asked(hub_for_messages(), "org/model")
    with contextlib.suppress(ModelScopeExtError):
        found = client.checked(EMPTY, [(name, size, None, None) for name, size in rows], asked, Limits())
        for file in found.files:
            assert PureWindowsPath("C:/model", file.name).is_relative_to("C:/model")
            assert not PureWindowsPath(file.name).is_absolute() and not PureWindowsPath(file.name).drive
            assert os.path.normpath(os.path.join("/model", file.name)) == f"/model/{file.name}" and file.size >= 0


def test_more_files_than_a_model_has(online):
    from modelscope_ext.hub.huggingface_ import HuggingFace

    online.add("org/model", {f"{n % 100}/{n}.txt": "" for n in range(10_001)})
    started = time.monotonic()
    with pytest.raises(LimitExceeded, match=r"more than 10000 files.*limits=Limits\(files=\.\.\.\)"):
        HuggingFace().listing("org/model", None, Access())
    assert time.monotonic() - started < 20
    assert len(HuggingFace().listing("org/model", None, Access(limits=Limits(files=20_000))).files) == 10_001


@pytest.mark.allow_hosts(LOOPBACK)
def test_what_modelscope_lists_only_a_part_of_is_not_taken_for_the_whole():
    from modelscope_ext.hub.modelscope_ import ModelScope

    with HubServer(hubs=["modelscope"], listing_cap=3000) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODELSCOPE_ENDPOINT", server.endpoint("modelscope"))
            many = {f"{n}.txt": "" for n in range(3_100)}
            server.add("org/folder", {"config.json": "{}"} | {f"data/{name}": "" for name in many})
            found = ModelScope().listing("org/folder", None, Access())
            assert found.left_out[0][0] == "data" and "lists no more" in found.left_out[0][1]
            assert any(file.name == "config.json" for file in found.files)
            server.add("org/root", many)
            with pytest.raises(LimitExceeded, match=r"org/root.*lists no more"):
                ModelScope().listing("org/root", None, Access())


STORMS = (429, 500, 502, 503, 504)


@pytest.mark.parametrize("status", STORMS)
def test_a_short_storm_is_waited_out(main_hub, status, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    main_hub.server.add("org/model", {"config.json": "{}"})
    main_hub.server.faults.status(status, repo="org/model", times=2)
    assert [f.name for f in listed(main_hub).files] == ["config.json"]


def test_a_storm_on_every_hub(served, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    served.server.add("org/model", {"config.json": "{}"})
    storm = served.server.faults.status(503, repo="org/model", times=2)
    assert [f.name for f in listed(served).files] == ["config.json"] and storm.hits == 2
    served.server.faults.status(429, repo="org/model")
    with pytest.raises(HubError, match=r"org/model.*too many requests \(429\)"):
        listed(served)


@pytest.mark.parametrize("status", STORMS)
def test_a_long_storm_ends_in_an_error_of_ours(main_hub, status, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    main_hub.server.add("org/model", {"config.json": "{}"})
    main_hub.server.faults.status(status, repo="org/model")
    with pytest.raises(HubError, match=rf"org/model.*\({status}\)") as error:
        listed(main_hub)
    assert error.value.__cause__ is not None and len(str(error.value)) <= 1000


def test_a_hub_that_asks_to_wait_for_longer_than_there_is_time(served):
    served.server.add("org/model", {"config.json": "{}"})
    served.server.faults.status(429, retry_after=3600, repo="org/model")
    started = time.monotonic()
    with pytest.raises(HubError, match="org/model"):
        served.hub.listing("org/model", None, Access(deadline=3))
    assert time.monotonic() - started < 8


def test_a_hub_that_stalls_is_given_up_at_the_deadline(served):
    served.server.add("org/model", {"config.json": "{}"})
    served.server.faults.stall(30, repo="org/model")
    started = time.monotonic()
    with pytest.raises(HubError, match="no answer in time"):
        served.hub.listing("org/model", None, Access(deadline=1))
    assert time.monotonic() - started < 5


def test_a_connection_that_is_dropped_is_opened_again(served, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    served.server.add("org/model", {"config.json": "{}"})
    served.server.faults.drop(repo="org/model", times=1)
    assert [f.name for f in listed(served).files] == ["config.json"]


NO_ANSWERS = (
    b"", b"not json", b"[]", b'"x"', b"null", b'{"sha": 3}', b'{"siblings": 7}', b'{"Data": 5}',
    b'{"data": {"tree": {}}}', b"\xff\xfe", b"[" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_an_answer_that_is_none(main_hub, body, monkeypatch):
    understood_or_refused(main_hub, body, monkeypatch)


def test_answers_that_are_none_on_every_hub(served, monkeypatch):
    for body in (b'{"data": {"tree": {}}}', b'{"data": {"tree": [3]}}', b"not json"):
        understood_or_refused(served, body, monkeypatch)
        served.server.faults.clear()


def understood_or_refused(served, body, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    served.server.add("org/model", {"config.json": "{}"})
    served.server.faults.status(200, body=body, repo="org/model")
    try:
        found = listed(served)
    except ModelScopeExtError as error:
        assert "org/model" in str(error) and len(str(error)) <= 1000
    else:
        assert found.files == ()


def test_a_hub_that_is_not_there(served, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    names = {"modelscope": "MODELSCOPE_ENDPOINT", "huggingface": "HF_ENDPOINT", "openmind": "HTTPS_PROXY https_proxy"}
    for name in names[served.name].split():
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"could not be reached|no answer in time") as error:
        served.hub.listing("org/model", None, Access(deadline=20))
    assert error.value.__cause__ is not None


def test_a_client_that_is_missing_is_named_with_the_command(served, monkeypatch):
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirement, match=re.escape(served.hub.install)):
        listed(served)


def test_a_pinned_listing_costs_nothing_the_second_time(served):
    served.server.add("org/model", FILES)
    commit = served.server.commit_id("org/model")
    first = listing_of(served.hub, "org/model", commit, served.access())
    before = len(served.asked())
    assert listing_of(served.hub, "org/model", commit, served.access()) == first
    assert len(served.asked()) == before


def test_what_lies_in_our_store_is_judged_again(served, tmp_path):
    served.server.add("org/model", FILES)
    commit = served.server.commit_id("org/model")
    first = listing_of(served.hub, "org/model", commit, served.access())
    kept = next(path for path in (tmp_path / "own" / "listings").rglob(commit) if path.is_file())
    kept.write_text(kept.read_text().replace("config.json", "../evil.json"))
    with pytest.raises(PathEscapeRefused):
        listing_of(served.hub, "org/model", commit, served.access())
    for broken in ("", "{", "[]", '{"files": [["a"]], "left_out": []}', '{"files": 3}'):
        kept.write_text(broken)
        assert listing_of(served.hub, "org/model", commit, served.access()) == first
