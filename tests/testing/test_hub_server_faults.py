"""Each fault does what it says, once or always, to the requests it is for and to no others."""

from __future__ import annotations

import http.client
import json
import time
from urllib.parse import quote

import pytest

from modelscope_ext.testing.hub_server import HOSTILE_NAMES, Generated, HubServer
from tests.conftest import LOOPBACK
from tests.testing.test_hub_server import ask

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

BIG = Generated(3_000_000)
WHOLE = BIG.read()
PATH = "/org/model/resolve/main/model.safetensors"


@pytest.fixture
def server():
    with HubServer(cdn=False) as served:
        served.add("org/model", {"config.json": "{}", "model.safetensors": BIG})
        yield served


def get(server, path=PATH, hub="huggingface", method="GET", **headers):
    """Return status, headers and body of one request; the body is what came, however it ended."""
    asker = http.client.HTTPConnection("127.0.0.1", int(server.endpoint(hub).rpartition(":")[2]), timeout=20)
    asker.request(method, path, headers=headers)
    try:
        answer = asker.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        return answer.status, answer.headers, body
    finally:
        asker.close()


def test_ranges(server):
    for given, start, stop in (("bytes=0-99", 0, 100), ("bytes=2999990-", 2_999_990, 3_000_000),
                               ("bytes=-10", 2_999_990, 3_000_000), ("bytes=100-9999999", 100, 3_000_000)):  # fmt: skip
        status, headers, body = get(server, Range=given)
        assert (status, body) == (206, WHOLE[start:stop])
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/3000000"
    status, headers, body = get(server, Range="bytes=3000000-")
    assert (status, headers["Content-Range"], body) == (416, "bytes */3000000", b"")
    assert get(server, Range="bytes=")[0] == 200
    assert get(server, Range="lines=1-2")[0] == 200
    assert [r.range for r in server.requests][:2] == ["bytes=0-99", "bytes=2999990-"]


def test_cut(server):
    fault = server.faults.cut(1_234_567, path="*.safetensors", times=1)
    status, headers, body = get(server)
    assert (status, headers["Content-Length"], body) == (200, "3000000", WHOLE[:1_234_567])
    assert get(server)[2] == WHOLE
    assert fault.hits == 1
    assert [(r.sent, r.faults) for r in server.requests] == [(1_234_567, ("cut after 1234567",)), (3_000_000, ())]


def test_a_cut_counts_from_where_the_answer_starts(server):
    server.faults.cut(10)
    assert get(server, Range="bytes=500-")[2] == WHOLE[500:510]


def test_corrupt(server):
    server.faults.corrupt(2_000_000)
    status, _, body = get(server)
    assert status == 200
    assert len(body) == len(WHOLE)
    assert [i for i in range(3_000_000) if body[i] != WHOLE[i]] == [2_000_000]
    assert get(server, Range="bytes=2000000-2000000")[2] == bytes([WHOLE[2_000_000] ^ 0xFF])
    assert get(server, Range="bytes=0-99")[2] == WHOLE[:100]


@pytest.mark.parametrize("by", [-1000, 1000, 2_000_000])
def test_resize(server, by):
    server.faults.resize(by)
    status, headers, body = get(server)
    assert (status, headers["Content-Length"], len(body)) == (200, str(3_000_000 + by), 3_000_000 + by)
    assert body[:2_999_000] == WHOLE[:2_999_000]


def test_status_with_retry_after_for_some_requests(server):
    server.faults.status(429, retry_after=2, hub="huggingface", skip=1, times=2)
    answers = [get(server, "/api/models/org/model") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 429, 429, 200]
    assert answers[1][1]["Retry-After"] == "2"
    assert get(server, "/openapi/v1/models/org/model", hub="modelscope")[0] == 200


def test_drop_and_redirect_and_header(server):
    server.faults.drop(times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        get(server)
    assert server.requests[0].status == 0
    server.faults.clear()
    server.faults.redirect("http://127.0.0.1:9/elsewhere", times=1)
    assert get(server)[1]["Location"] == "http://127.0.0.1:9/elsewhere"
    server.faults.header("ETag", None)
    server.faults.header("X-Repo-Commit", "0" * 40)
    headers = get(server, method="HEAD")[1]
    assert (headers["ETag"], headers["X-Repo-Commit"]) == (None, "0" * 40)


def test_stalls_and_a_slow_server(server):
    began = time.monotonic()
    server.faults.stall(0.2, route="info")
    get(server, "/api/models/org/model")
    server.faults.stall(0.2, after=1_000_000, path="*.safetensors", times=1)
    assert get(server)[2] == WHOLE
    assert time.monotonic() - began >= 0.4
    server.faults.drip(200_000, path="*.safetensors")
    began = time.monotonic()
    assert get(server, Range="bytes=0-59999")[2] == WHOLE[:60_000]
    assert time.monotonic() - began >= 0.25


def test_a_stalled_request_does_not_outlive_the_server():
    began = time.monotonic()
    with HubServer(cdn=False) as server:
        server.add("org/model", {"model.safetensors": BIG})
        server.faults.stall(300, after=1_000_000)
        asker = http.client.HTTPConnection("127.0.0.1", int(server.endpoint("huggingface").rpartition(":")[2]))
        asker.request("GET", PATH)
        assert len(asker.getresponse().read(1_000_000)) == 1_000_000
    asker.close()
    assert time.monotonic() - began < 60


def test_ignore_range(server):
    server.faults.ignore_range(times=1)
    assert [len(get(server, Range="bytes=10-19")[2]) for _ in range(2)] == [3_000_000, 10]


def test_listings_that_lie(server):
    server.faults.listed(size=10**13, path="*.safetensors")
    server.faults.listed(sha256="0" * 64, hub="modelscope", path="*.safetensors")
    line = json.loads(get(server, "/api/models/org/model/tree/main")[2])[1]
    assert (line["size"], line["lfs"]["oid"]) == (10**13, BIG.sha256)
    files = json.loads(get(server, "/api/v1/models/org/model/repo/files", hub="modelscope")[2])["Data"]["Files"]
    assert [(f["Size"], f["Sha256"]) for f in files][1] == (10**13, "0" * 64)
    assert files[0]["Size"] == 2
    assert get(server)[1]["Content-Length"] == "3000000"


def test_listed_names_may_be_hostile(server):
    server.add("org/evil", {name: name for name in HOSTILE_NAMES})
    names = {line["path"] for line in json.loads(get(server, "/api/models/org/evil/tree/main?recursive=true")[2])}
    assert set(HOSTILE_NAMES) <= names
    listing = json.loads(get(server, "/api/v1/models/org/evil/repo/files?Recursive=True", hub="modelscope")[2])
    assert set(HOSTILE_NAMES) <= {line["Path"] for line in listing["Data"]["Files"]}
    asked = quote("../../outside.txt", safe="")
    assert get(server, f"/api/v1/models/org/evil/repo?FilePath={asked}", hub="modelscope")[2] == b"../../outside.txt"


def test_a_hundred_thousand_files(server):
    server.add("org/many", {f"d{i % 100:02}/f{i:06}": b"" for i in range(100_000)})
    lines, path = [], "/api/models/org/many/tree/main?recursive=true"
    while path:
        _, headers, body = get(server, path)
        lines += json.loads(body)
        link = headers["Link"]
        path = link and link[1 : link.index(">")].partition(server.endpoint("huggingface"))[2]
    assert len([line for line in lines if line["type"] == "file"]) == 100_000


def test_a_huge_file_takes_no_room(server):
    server.add("org/huge", {"model.gguf": Generated(1 << 41, sha256="0" * 64)})
    path = "/org/huge/resolve/main/model.gguf"
    status, headers, body = get(server, path, Range=f"bytes={(1 << 41) - 5}-")
    assert (status, len(body)) == (206, 5)
    assert headers["Content-Range"].endswith(f"/{1 << 41}")


def test_huggingface_hub_resumes_by_range_after_a_cut(hub_server, tmp_path):
    hub_server.add("org/model", {"model.safetensors": Generated(30_000_000)})
    hub_server.faults.cut(12_000_000, times=2)
    script = "got = [name_of(lambda: len(get('model.safetensors'))) for _ in range(3)]; result = got[-1]"
    assert ask(hub_server, "huggingface", script, tmp_path) == 30_000_000  # before huggingface_hub 1 call by call
    ranges = [r.range for r in hub_server.requests if r.route == "cdn"]
    assert ranges == [None, f"bytes={10 << 20}-", f"bytes={20 << 20}-"]  # it keeps whole chunks only


def test_huggingface_hub_takes_a_wrong_byte_and_modelscopes_client_does_not(hub_server, tmp_path):
    hub_server.add("org/model", {"model.safetensors": BIG})
    hub_server.faults.corrupt(5, path="*.safetensors")
    script = "result = name_of(lambda: len(get('model.safetensors')))"
    assert ask(hub_server, "huggingface", script, tmp_path) == 3_000_000
    script = """
def load():
    [file] = [f for f in api.list_repo_files("org/model", "model") if f.type == "blob"]
    return len(open(api.download_repo("org/model", "model", cache_dir=arg["cache"]) / file.path).read())
result = name_of(load)
"""
    assert ask(hub_server, "modelscope", script, tmp_path / "ms") == "FileDownloadError"
