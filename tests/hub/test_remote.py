"""Phase 1: what is read of a hub's repo, from where, and what happens when that goes wrong."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from pytest_socket import SocketBlockedError

from modelscope_ext import plan, resolve
from modelscope_ext.errors import HubError, LimitExceeded, ModelNotFound, ModelScopeExtError, PathEscapeRefused
from modelscope_ext.hub import modelscope_, retry
from modelscope_ext.hub.digest import verify_file
from modelscope_ext.hub.hubs import hub_of
from modelscope_ext.hub.locate import open_snapshot
from modelscope_ext.hub.protocol import Access
from modelscope_ext.hub.remote import snapshot
from modelscope_ext.testing.hub_server import Generated
from tests.hub.conftest import HUBS

CONFIG = '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
WEIGHTS = Generated(3_000_000)
FILES = {"config.json": CONFIG, "README.md": "---\nlibrary_name: transformers\n---\n", "unet/config.json": "{}",
         "model.safetensors": WEIGHTS, "vocab.txt": "a\n" * 50_000}  # fmt: skip
SECRET = "secret-token-of-mine"


@pytest.fixture
def at_once(monkeypatch):
    """Waits between tries take no time."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)


def no_socket(*args, **keywords):
    raise SocketBlockedError


def bodies(served):
    return [(r.file, r.status) for r in served.asked() if r.route in ("file", "cdn") and r.status != 302]


def test_a_small_file_comes_whole_and_once(served):
    served.server.add("org/model", FILES)
    here = served.open()
    assert here.source.commit == served.server.commit_id("org/model")
    assert here.sizes["model.safetensors"] == 3_000_000 and here.remote.hub.name == served.name
    assert bodies(served) == []
    assert here.read("config.json") == CONFIG.encode() and here.document("config.json")["model_type"] == "bert"
    assert here.read("config.json", 2, 5) == CONFIG.encode()[2:7]
    assert served.open().read("config.json") == CONFIG.encode()
    assert bodies(served) == [("config.json", 200)]


def test_of_a_large_file_only_what_is_asked_for(served):
    served.server.add("org/model", FILES)
    here, whole = served.open(), WEIGHTS.read()
    assert here.read("model.safetensors", 0, 16) == whole[:16]
    assert here.read("model.safetensors", 8, 1000) == whole[8:1008]
    assert here.read("model.safetensors", 2_999_990, 100) == whole[-10:]
    assert here.read("model.safetensors", 60_000, 40_000) == whole[60_000:100_000]
    sent = sum(r.sent for r in served.asked() if r.file == "model.safetensors")
    assert len(bodies(served)) == 3 and sent < 250_000
    again = served.open()
    assert again.read("model.safetensors", 0, 70_000) == whole[:70_000] and len(bodies(served)) == 3


def test_a_text_is_read_whole_and_checked(served):
    served.server.add("org/model", FILES)
    assert served.open().read("vocab.txt") == b"a\n" * 50_000
    assert bodies(served) == [("vocab.txt", 200)]


def test_what_is_too_large_is_not_asked_for(served):
    served.server.add("org/model", {"config.json": Generated(20 * 2**20), "model.safetensors": Generated(80 * 2**20)})
    here = served.open()
    for read in (lambda: here.read("config.json"), lambda: here.open("model.safetensors")):
        with pytest.raises(LimitExceeded):
            read()
    assert bodies(served) == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_connection_that_is_cut_is_opened_again(served, name, at_once):
    served.server.add("org/model", FILES)
    served.server.faults.cut(10, path=name, times=2)
    assert served.open().read(name, 0, 30) == served.server.content("org/model", name).read()[:30]


def test_other_bytes_of_the_right_size_are_not_believed(served, at_once):
    served.server.add("org/model", FILES)
    fault = served.server.faults.corrupt(3, path="config.json", times=1)
    assert served.open().read("config.json") == CONFIG.encode() and fault.hits == 1
    served.server.add("org/other", FILES | {"config.json": CONFIG + " "})
    served.server.faults.corrupt(3, path="config.json")
    with pytest.raises(HubError, match=r"org/other@.*config\.json: other bytes were sent than are listed"):
        served.open("org/other").read("config.json")


@pytest.mark.parametrize("by", [-3, 1, 50_000_000])
def test_a_size_that_lies_is_noticed_before_it_is_read(served, by, at_once):
    served.server.add("org/model", FILES)
    served.server.faults.resize(by, path="config.json")
    with pytest.raises(HubError, match=r"config\.json: .*(bytes are listed|sent)"):
        served.open().read("config.json")
    assert sum(r.sent for r in served.asked()) < 25_000_000  # what the system had taken before the connection closed


def test_a_server_that_sends_whole_files_only(served, at_once):
    served.server.add("org/model", FILES)
    served.server.faults.ignore_range()
    here, whole = served.open(), WEIGHTS.read()
    assert here.read("model.safetensors", 70_000, 1000) == whole[70_000:71_000]
    with pytest.raises(HubError, match="sends whole files only"):
        here.read("model.safetensors", 2_500_000, 1000)


def test_no_token_travels_to_another_host(served):
    served.server.add("org/model", FILES, private=True, tokens=[SECRET])
    here = served.open(token=SECRET)
    assert here.read("model.safetensors", 0, 16) == WEIGHTS.read()[:16]
    elsewhere = [r for r in served.asked() if r.route == "cdn"]
    assert elsewhere and all(r.token is None for r in elsewhere)
    assert all(r.token == SECRET for r in served.asked() if r.route == "file")


def test_a_password_file_is_not_preferred_to_the_token(main_hub, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\nmachine localhost login me password hunter2\n")
    netrc.chmod(0o600)
    main_hub.server.add("org/model", FILES, private=True, tokens=[SECRET])
    here = main_hub.open(token=SECRET)
    monkeypatch.setenv("NETRC", str(netrc))  # the clients' own requests may prefer it: listings of huggingface_hub 0.36
    here.read("model.safetensors", 0, 16)
    sent = {r.token for r in main_hub.asked() if r.route in ("file", "cdn")}
    assert sent == {SECRET, None}


WRONG_WAYS = {
    "file:///etc/passwd": "no web address", "ftp://localhost/x": "no web address", "javascript:1": "no web address",
}  # fmt: skip


@pytest.mark.parametrize("target", WRONG_WAYS)
def test_a_redirect_to_what_is_no_web_address(main_hub, target, at_once):
    main_hub.server.add("org/model", FILES)
    main_hub.server.faults.redirect(target, route="file")
    with pytest.raises(HubError, match=WRONG_WAYS[target]):
        main_hub.open().read("config.json")


def test_redirects_without_end(main_hub, at_once):
    main_hub.server.add("org/model", FILES)
    here = main_hub.open()
    address = main_hub.hub.address(here.remote.listing, here.remote.files["config.json"], Access())
    main_hub.server.faults.redirect(address.url, route="file")
    with pytest.raises(HubError, match="more than 5 redirects"):
        here.read("config.json")


@pytest.mark.parametrize(("status", "says"), [(404, "listed, but not there"), (403, "denied"), (401, "denied"),
                                              (429, "too many requests"), (500, "failed"), (416, r"failed \(416\)"),
                                              (204, r"answered 204|failed")])  # fmt: skip
def test_a_refusal_names_the_file(main_hub, status, says, at_once):
    main_hub.server.add("org/model", FILES)
    main_hub.server.faults.status(status, route="file")
    with pytest.raises(HubError, match=rf"org/model@.*config\.json.*{says}") as error:
        main_hub.open().read("config.json")
    assert len(str(error.value)) <= 1000 and error.value.__cause__ is not None


def test_a_body_that_drips_or_stalls_is_given_up_at_the_deadline(main_hub):
    main_hub.server.add("org/model", FILES)
    main_hub.server.faults.drip(5, path="config.json")
    main_hub.server.faults.stall(30, path="vocab.txt")
    here = snapshot(main_hub.hub, "org/model", None, Access(deadline=1))
    for name in ("config.json", "vocab.txt"):
        started = time.monotonic()
        with pytest.raises(HubError, match="no answer in time"):
            here.read(name)
        assert time.monotonic() - started < 4


def test_a_branch_that_moves_changes_nothing_that_was_opened(served):
    served.server.add("org/model", FILES)
    here = served.open()
    served.server.move("org/model", "main", FILES | {"config.json": '{"model_type": "gpt2"}'})
    assert here.read("config.json") == CONFIG.encode()
    assert here.read("model.safetensors", 0, 16) == WEIGHTS.read()[:16]
    assert served.open().document("config.json") == {"model_type": "gpt2"}


def test_the_clients_cache_is_read_and_not_believed(served, tmp_path):
    served.server.add("org/model", FILES)
    here, access = served.open(), served.access()
    listing = here.remote.listing
    for name in ("config.json", "model.safetensors"):
        body = tmp_path / "body"
        body.write_bytes(served.server.content("org/model", name).read())
        path = served.hub.publish(listing, here.remote.files[name], body, access)
        assert path.is_relative_to(served.hub.folder(listing, access)) and verify_file(path, here.remote.files[name])
    assert here.read("config.json") == CONFIG.encode()
    assert here.read("model.safetensors", 5, 9) == WEIGHTS.read()[5:14]
    assert bodies(served) == []
    path.with_name("config.json").resolve().write_text(CONFIG.replace("bert", "BERT"))
    assert served.open().read("config.json") == CONFIG.encode()
    assert bodies(served) == [("config.json", 200)]


def test_a_subfolder_is_a_model_of_its_own(served):
    served.server.add("org/model", FILES | {"unet/deep/a.bin": "x"})
    here = served.open(subfolder="unet/")
    assert here.names == ("config.json", "deep/a.bin") and here.read("config.json") == b"{}"
    assert (here.source.subfolder, str(here.source)) == ("unet", f"org/model/unet@{served.hub.default}")
    assert here.remote.files["config.json"].name == "unet/config.json"
    with pytest.raises(ModelNotFound, match=r"has no folder 'unett'\. Did you mean 'unet'\?"):
        served.open(subfolder="unett")
    for outside in ("../x", "/etc", "unet/.."):
        with pytest.raises(ModelScopeExtError):
            served.open(subfolder=outside)


def test_offline_nothing_is_asked_and_the_cache_answers(served, tmp_path, monkeypatch):
    served.server.add("org/model", FILES)
    first = resolve(f"{served.hub.prefix}:org/model", installed=False)
    monkeypatch.setattr(socket, "socket", no_socket)
    for offline in ({"local_files_only": True}, "HF_HUB_OFFLINE", "MODELSCOPE_EXT_OFFLINE"):
        keywords = offline if isinstance(offline, dict) else {}
        if not keywords:
            monkeypatch.setenv(offline, "1")
        started = time.monotonic()
        again = resolve(f"{served.hub.prefix}:org/model", installed=False, **keywords)
        assert time.monotonic() - started < 1
        assert (again.backend, again.tasks, again.source) == (first.backend, first.tasks, first.source)
        with pytest.raises(ModelNotFound, match=r"org/other.*not in the cache, and this is offline"):
            resolve(f"{served.hub.prefix}:org/other", **keywords)
        with pytest.raises(ModelNotFound, match="its bytes are not here"):
            open_snapshot(f"{served.hub.prefix}:org/model", **keywords).read("vocab.txt")
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    assert not served.access().offline


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(main_hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODELSCOPE_EXT_CACHE", str(tmp_path / "file"))
    main_hub.server.add("org/model", FILES)
    for _ in range(2):
        assert main_hub.open().read("config.json") == CONFIG.encode()
    assert len(bodies(main_hub)) == 2


def test_what_is_kept_is_judged_again(main_hub, tmp_path):
    main_hub.server.add("org/model", FILES)
    main_hub.open().read("config.json")
    for path in (tmp_path / "own" / "files").rglob("*"):
        if path.is_file():
            path.write_bytes(b"x" * path.stat().st_size)
    assert main_hub.open().read("config.json") == CONFIG.encode() and len(bodies(main_hub)) == 2


def test_a_cache_dir_of_the_callers_holds_all(main_hub, tmp_path):
    main_hub.server.add("org/model", FILES)
    main_hub.open(cache_dir=str(tmp_path / "mine")).read("config.json")
    assert (tmp_path / "mine").exists() and not (tmp_path / "own").exists()


def test_few_files_are_fetched_side_by_side(main_hub):
    main_hub.server.add("org/model", FILES | {f"{n}.yaml": "model: x" for n in range(6)})
    main_hub.server.faults.stall(0.5, route="file")
    started = time.monotonic()
    assert resolve(f"{main_hub.hub.prefix}:org/model", installed=False).backend == "transformers"
    assert len(bodies(main_hub)) == 8 and time.monotonic() - started < 3


def test_a_plan_fetches_no_weights(served):
    served.server.add("org/model", FILES)
    found = plan(f"{served.hub.prefix}:org/model", installed=False)
    assert {"config.json", "model.safetensors"} <= {file.name for file in found.files}
    assert found.to_fetch_bytes >= 3_000_000
    assert sum(r.sent for r in served.asked() if r.file == "model.safetensors") <= 2**16


def test_hubs_are_asked_in_the_order_that_is_said(online, monkeypatch, caplog):
    online.add("org/model", FILES, hubs=["huggingface"])
    with pytest.raises(ModelNotFound, match=r"ModelScope.*org/model.*hf:org/model.*no folder org/model here either"):
        open_snapshot("org/model")
    assert {r.hub for r in online.requests} == {"modelscope"}
    monkeypatch.setenv("MODELSCOPE_EXT_HUB", "modelscope,huggingface")
    with caplog.at_level(logging.INFO, logger="modelscope_ext"):
        assert open_snapshot("org/model").source.hub == "huggingface"
    said = [record.message for record in caplog.records]
    assert said[0].startswith("ModelScope: asking") and "no such model" in said[1]
    assert said[2].startswith("Hugging Face: asking") and online.commit_id("org/model") in said[3]
    with pytest.raises(
        ModelNotFound, match=r"org/none was found on none of ModelScope, Hugging Face\. .*no such model"
    ):
        open_snapshot("org/none")


def test_a_hub_that_fails_is_passed_over_and_one_that_refuses_is_not(online, monkeypatch, at_once):
    online.add("org/model", FILES, hubs=["huggingface"])
    monkeypatch.setenv("MODELSCOPE_EXT_HUB", "modelscope,huggingface")
    online.faults.status(400, hub="modelscope", times=1)
    assert open_snapshot("org/model").source.hub == "huggingface"
    online.faults.status(403, hub="modelscope")
    with pytest.raises(HubError, match="denied"):
        open_snapshot("org/model")


def test_the_newest_commit_of_a_listing_is_what_it_is_pinned_to():
    old, new = "a" * 40, "b" * 40
    row = lambda date, commit: {"Type": "blob", "CommittedDate": date, "Revision": commit}  # noqa: E731
    assert modelscope_._commit([row(1, old), row(2, new), {"Type": "tree"}]) == new
    for unclear in ([row(2, old), row(2, new)], [row(2, new), row(None, old)], [row(1, "short")], [row(1, None)], []):
        assert modelscope_._commit(unclear) is None


def test_a_listing_of_a_hundred_thousand_files_takes_no_square_of_it():
    rows = [
        {"Type": "blob", "Path": f"d{n % 100}/{n}", "CommittedDate": n, "Revision": "a" * 40} for n in range(100_000)
    ]
    assert modelscope_._commit(rows) == "a" * 40
    assert list(modelscope_._cut_short(rows, None)) == []


@pytest.mark.parametrize("layout", ["models/org/my___model", "hub/models/org/my___model", "hub/org/my.model",
                                    "hub/org/my___model", "models/org--my.model/snapshots/master"])  # fmt: skip
def test_older_layouts_of_modelscopes_cache(online, tmp_path, layout):
    online.add("org/my.model", FILES)
    folder = tmp_path / "ms" / layout
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(CONFIG)
    assert open_snapshot("org/my.model").read("config.json") == CONFIG.encode()
    assert [r.route for r in online.requests] == ["listing"]
    assert "org/my.model" in modelscope_.ModelScope().known(Access())


def test_names_that_lead_out_of_the_cache_are_refused(online):
    for hub in HUBS:
        for keywords in ({"repo": ".."}, {"repo": "org/x?y=1"}, {"revision": "../.."}):
            with pytest.raises(ModelScopeExtError):
                snapshot(hub_of(hub), keywords.get("repo", "org/model"), keywords.get("revision"), Access())
    with pytest.raises(PathEscapeRefused):
        open_snapshot("org/model", revision="../..")
    assert online.requests == []
