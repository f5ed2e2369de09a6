"""Exactly the listed files, into the cache of the hub's own client: real clients before and after us."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from modelscope_ext.errors import DiskFull, HubError, ModelNotFound, OptionError
from modelscope_ext.hub import download as module
from modelscope_ext.hub import job, transfer
from modelscope_ext.hub import partial as partial_module
from modelscope_ext.hub.download import download, work_to_do
from modelscope_ext.hub.huggingface_ import HuggingFace
from modelscope_ext.hub.modelscope_ import ModelScope
from modelscope_ext.hub.openmind_ import OpenMind
from modelscope_ext.hub.protocol import Access
from modelscope_ext.testing.hub_server import Generated
from tests.conftest import LOOPBACK
from tests.reference import client

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

BIG = Generated(5_000_000)
FILES = {
    "README.md": "# A model\n",
    "config.json": "{}",
    "copy.json": "{}",
    "empty.txt": "",
    "sub/deep/vocab.txt": "a\nb\n",
    "sub/model.safetensors": BIG,
}
HUBS = {"huggingface": HuggingFace, "modelscope": ModelScope, "openmind": OpenMind}
WEIGHTS = "sub/model.safetensors"

#: Each client by itself: all files, once with the network and once without.
CLIENTS = {
    "huggingface": """
import huggingface_hub as hub
from pathlib import Path
folder = hub.snapshot_download("org/model", endpoint=arg["endpoint"], cache_dir=arg["cache"], token=False,
                               local_files_only=arg["offline"], allow_patterns=arg.get("only"))
result = {str(p.relative_to(folder)): p.read_bytes().hex()[:64] for p in Path(folder).rglob("*") if p.is_file()}
""",
    "openmind": """
import os
os.environ.update(arg["environment"])
from openmind_hub import snapshot_download
from pathlib import Path
folder = snapshot_download("org/model", cache_dir=arg["cache"], local_files_only=arg["offline"],
                           allow_patterns=arg.get("only"))
result = {str(p.relative_to(folder)): p.read_bytes().hex()[:64] for p in Path(folder).rglob("*") if p.is_file()}
""",
    "modelscope": """
import modelscope_hub, os
from pathlib import Path
api = modelscope_hub.HubApi(endpoint=arg["endpoint"])
folder = api.download_repo("org/model", "model", cache_dir=arg["cache"], local_files_only=arg["offline"],
                           allow_patterns=arg.get("only"))
result = {str(p.relative_to(folder)): p.read_bytes().hex()[:64] for p in Path(folder).rglob("*") if p.is_file()}
""",
}


@pytest.fixture(params=["huggingface", "modelscope", pytest.param("openmind", marks=pytest.mark.om)])
def served(request, hub_server, monkeypatch, tmp_path):
    """A hub that serves FILES, our way to it, and an empty cache."""
    hub_server.add("org/model", FILES)
    for name, value in hub_server.environment(request.param).items():
        monkeypatch.setenv(name, value)
    return Served(hub_server, HUBS[request.param](), tmp_path / "cache")


class Served:
    def __init__(self, server, hub, cache):
        self.server, self.hub, self.cache = server, hub, cache
        self.access = Access(cache_dir=cache)

    def listing(self):
        return self.hub.listing("org/model", None, self.access)

    def fetch(self, names=tuple(FILES), **options):
        return download(self.hub, self.listing(), names, self.access, **options)

    def client(self, *, offline=False, only=None):
        arg = {"endpoint": self.server.endpoint(self.hub.name), "cache": str(self.cache), "offline": offline}
        arg["environment"] = self.server.environment(self.hub.name)
        return client(CLIENTS[self.hub.name], {**arg, "only": only})

    def bodies(self):
        """What was sent of files since the last look."""
        found = [(r.file, r.sent) for r in self.server.requests if r.route in ("file", "cdn") and r.method == "GET"]
        self.server.requests.clear()
        return [(file, sent) for file, sent in found if sent]

    def in_cache(self):
        """Every file of the cache but locks, notes and references; by its size."""
        skip = (".lock", "verified.json", ".TAG", ".gitignore")
        found = [p for p in self.cache.rglob("*") if p.is_file() and not p.is_symlink() and not p.name.endswith(skip)]
        return {p.relative_to(self.cache).as_posix(): p.stat().st_size for p in found if "refs" not in p.parts}


def contents():
    data = {name: text.encode() if isinstance(text, str) else text.read() for name, text in FILES.items()}
    return {name: content.hex()[:64] for name, content in data.items()}


def test_the_client_finds_what_we_fetched(served):
    folder = served.fetch()
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == set(FILES)
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    served.bodies()
    assert served.client(offline=True) == contents()
    assert served.client() == contents()
    assert served.bodies() == []


def test_we_reuse_what_the_client_fetched(served):
    assert served.client() == contents()
    served.bodies()
    folder = served.fetch()
    assert served.bodies() == []
    assert (folder / WEIGHTS).read_bytes() == BIG.read()


def test_only_the_named_files_come(served):
    folder = served.fetch(["config.json", WEIGHTS])
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {"config.json", WEIGHTS}
    assert {file for file, _ in served.bodies()} == {"config.json", WEIGHTS}
    served.fetch(["config.json", "README.md"])
    assert {file for file, _ in served.bodies()} == {"README.md"}
    assert served.client(only=["config.json", "sub/*"], offline=served.hub.name == "huggingface")


def test_a_cut_connection_is_gone_on_with(served):
    for after in (1, 1_000_000, 4_999_999):
        served.server.faults.cut(after, path=WEIGHTS, times=1)
    folder = served.fetch([WEIGHTS])
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    starts = [r.range for r in served.server.requests if (r.file == WEIGHTS and r.route == "cdn") or r.range]
    assert any(start and start != "bytes=0-" for start in starts)
    assert sum(sent for file, sent in served.bodies() if file == WEIGHTS) <= BIG.size + 64


def test_a_server_that_ignores_ranges_is_asked_for_the_whole(served):
    served.server.faults.cut(2_000_000, path=WEIGHTS, times=1)
    served.server.faults.ignore_range(path=WEIGHTS)
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()


def test_a_wrong_byte_is_found_and_nothing_of_it_is_left(served):
    served.server.faults.corrupt(3_000_000, path=WEIGHTS)
    with pytest.raises(HubError, match=r"org/model.*sub/model\.safetensors.*not the listed ones"):
        served.fetch([WEIGHTS])
    assert served.in_cache() == {}
    served.server.faults.clear()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()


def test_an_empty_file_that_is_listed_with_another_hash_is_refused(served):
    """There is nothing to fetch, so nothing may be asked for again and again."""
    listing = served.listing()
    files = tuple(replace(f, sha256="0" * 64, etag=None) if f.name == "empty.txt" else f for f in listing.files)
    with pytest.raises(HubError, match=r"empty\.txt: 0 bytes are listed, with the hash"):
        download(served.hub, replace(listing, files=files), ("empty.txt",), served.access)


def test_a_wrong_byte_once_is_mended(served):
    served.server.faults.corrupt(10, path=WEIGHTS, times=1)
    served.server.faults.corrupt(1, path="config.json", times=1)
    folder = served.fetch([WEIGHTS, "config.json"])
    assert (folder / WEIGHTS).read_bytes() == BIG.read() and (folder / "config.json").read_text() == "{}"


@pytest.mark.parametrize("by", [-1, 1, 1000])
def test_a_wrong_size_is_refused(served, by):
    served.server.faults.resize(by, path=WEIGHTS)
    with pytest.raises(HubError, match="5000000 bytes are listed"):
        served.fetch([WEIGHTS])
    assert served.in_cache() == {}
    served.server.faults.clear()
    served.fetch([WEIGHTS])


def test_what_a_client_left_damaged_is_fetched_again(served):
    served.client()
    path = served.hub.cached(served.listing(), {f.name: f for f in served.listing().files}[WEIGHTS], served.access)
    data = bytearray(path.read_bytes())
    data[1_234_567] ^= 1
    path.resolve().write_bytes(bytes(data))
    served.bodies()
    folder = served.fetch()
    assert [file for file, _ in served.bodies()] == [WEIGHTS]
    assert (folder / WEIGHTS).read_bytes() == BIG.read()


def test_what_was_verified_once_is_not_read_again(served, monkeypatch):
    served.fetch()
    read = []
    monkeypatch.setattr(job, "verify_file", lambda path, file: read.append(file.name) or True)
    served.fetch()
    assert read == []
    folder = served.hub.folder(served.listing(), served.access)
    os.utime((folder / "config.json").resolve(), (1, 1))
    served.fetch()
    # On most hubs it is one content under two names: the notes are of the file on the disk.
    assert read and set(read) <= {"config.json", "copy.json"}


def test_offline_what_is_not_here_is_named_and_no_socket_is_opened(served):
    listing = served.listing()
    served.fetch(["config.json"])
    offline = Access(cache_dir=served.cache, offline=True)
    served.server.requests.clear()
    assert (download(served.hub, listing, ["config.json"], offline) / "config.json").read_text() == "{}"
    with pytest.raises(ModelNotFound, match=r"offline, and sub/model\.safetensors is not in the cache"):
        download(served.hub, listing, ["config.json", WEIGHTS], offline)
    assert served.server.requests == []


def test_a_name_that_is_not_listed(served):
    with pytest.raises(ModelNotFound, match=r"org/model.*no nothing\.bin"):
        served.fetch(["nothing.bin"])


@pytest.mark.parametrize("workers", [0, 65, True, "8"])
def test_how_many_workers(served, workers):
    with pytest.raises(OptionError, match="from 1 to 64"):
        served.fetch(workers=workers)


def test_what_there_is_to_do(served, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 1)
    listing = served.listing()
    work = work_to_do(served.hub, listing, FILES, served.access)
    assert (work.here, work.arrived) == ((), 0) and work.bytes_left == sum(f.size for f in listing.files)
    served.server.faults.cut(2_500_000, path=WEIGHTS)
    with pytest.raises(HubError):
        served.fetch([WEIGHTS, "config.json"])
    work = work_to_do(served.hub, listing, ["config.json", WEIGHTS], served.access)
    assert work.arrived == 2_500_000 and [f.name for f in work.here] in (["config.json"], [])


def test_the_token_goes_to_the_hub_alone(served):
    served.server.add("org/model", FILES, private=True, tokens=["s3cret"])
    served.access = Access(token="s3cret", cache_dir=served.cache)
    served.fetch([WEIGHTS])
    asked = [r for r in served.server.requests if r.file == WEIGHTS]
    assert {r.host for r in asked if r.authorized} <= {"127.0.0.1", "modelers.cn"}
    elsewhere = [r for r in asked if r.host == "localhost"]
    assert bool(elsewhere) is (served.hub.name != "openmind") and not any(r.authorized for r in elsewhere)


def test_a_redirect_to_another_host_gets_no_token(served):
    served.access = Access(token="s3cret", cache_dir=served.cache)
    served.server.faults.redirect("http://localhost:1/x", path=WEIGHTS, route="file", times=1)
    served.fetch([WEIGHTS])  # the wrong place does not answer: the next try finds the right one


def test_a_full_disk_is_said_and_what_arrived_is_kept(served, monkeypatch):
    write, room = os.write, [3_000_000]

    def full(handle, data):
        if not os.readlink(f"/proc/self/fd/{handle}").endswith(".part"):
            return write(handle, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(handle, data[: min(len(data), room[0])])
        room[0] -= count
        return count

    monkeypatch.setattr(partial_module.os, "write", full)
    with pytest.raises(DiskFull, match=r"sub/model\.safetensors: the disk is full.*kept.*cache_dir="):
        served.fetch([WEIGHTS])
    monkeypatch.setattr(partial_module.os, "write", write)
    assert list(served.in_cache().values()) == [3_000_000]
    served.bodies()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert sum(sent for _, sent in served.bodies()) == 2_000_000


def test_no_room_is_said_before_the_first_byte(served, monkeypatch):
    listing = served.listing()
    served.server.requests.clear()
    monkeypatch.setattr(module, "disk_free", lambda path: 4_000_000)
    with pytest.raises(DiskFull, match=r"5\.0 MB are to be fetched, and 4\.0 MB are free.*Nothing was.*variant="):
        download(served.hub, listing, FILES, served.access)
    assert served.server.requests == [] and served.in_cache() == {}


def test_a_deadline_ends_it_and_what_arrived_is_kept(served):
    listing = served.listing()
    served.server.faults.drip(500_000, path=WEIGHTS)
    start = time.monotonic()
    with pytest.raises(HubError, match="not done within 1 seconds"):
        download(served.hub, listing, [WEIGHTS], Access(cache_dir=served.cache, deadline=1.0))
    assert time.monotonic() - start < 6
    served.server.faults.clear()
    served.bodies()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert sum(sent for _, sent in served.bodies()) < BIG.size


def test_one_failure_stops_the_others(served):
    served.server.faults.status(403, path="README.md")
    served.server.faults.drip(100_000, path=WEIGHTS)
    start = time.monotonic()
    with pytest.raises(HubError):
        served.fetch()
    assert time.monotonic() - start < 8
    assert threading.active_count() < 20


CHILD = """
import json, os, sys
from pathlib import Path
arg = json.loads(sys.argv[1])
os.environ.update(arg["environment"])
from modelscope_ext.hub.download import download
from modelscope_ext.hub.huggingface_ import HuggingFace
from modelscope_ext.hub.modelscope_ import ModelScope
from modelscope_ext.hub.openmind_ import OpenMind
from modelscope_ext.hub import stripes
from modelscope_ext.hub.protocol import Access
stripes.LARGE = arg["large"]
hub = {"huggingface": HuggingFace, "modelscope": ModelScope, "openmind": OpenMind}[arg["hub"]]()
access = Access(cache_dir=Path(arg["cache"]))
listing = hub.listing("org/model", None, access)
print("listed", flush=True)
download(hub, listing, arg["names"], access)
print("done", flush=True)
"""


def child(served, names, large=2**27):
    environment = served.server.environment(served.hub.name)
    arg = {"environment": environment, "hub": served.hub.name, "cache": str(served.cache), "names": list(names)}
    arg["large"] = large
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(arg)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("kill", "share"), [(signal.SIGKILL, 0.15), (signal.SIGKILL, 0.6), (signal.SIGINT, 0.4)])
def test_a_killed_download_is_gone_on_with(served, kill, share):
    big = Generated(40_000_000)
    served.server.add("org/model", {**FILES, WEIGHTS: big})
    slow = served.server.faults.drip(20_000_000, path=WEIGHTS)
    process = child(served, FILES)
    while not any(r.file == WEIGHTS and r.sent > share * big.size for r in served.server.requests):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(kill)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and slow.hits
    if kill == signal.SIGINT:
        assert "KeyboardInterrupt" in said and "Exception ignored" not in said
    served.server.faults.clear()
    time.sleep(0.2)
    first = sum(sent for file, sent in served.bodies() if file == WEIGHTS)
    assert 0 < first < big.size
    folder = served.fetch()
    assert (folder / WEIGHTS).read_bytes() == big.read()
    second = sum(sent for file, sent in served.bodies() if file == WEIGHTS)
    assert first + second <= big.size + 8 * 2**20, "more than a chunk was sent twice"
    assert not list(served.cache.rglob("*.part"))


def test_three_processes_and_the_client_fetch_a_body_once(served):
    served.server.faults.drip(4_000_000, path=WEIGHTS)
    processes = [child(served, [WEIGHTS]) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "listed\n", process.stderr.read()
    assert WEIGHTS in served.client(only=["sub/*.safetensors"])
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        assert out == "done\n"
    assert sum(sent for file, sent in served.bodies() if file == WEIGHTS) == BIG.size
