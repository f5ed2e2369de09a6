"""Large files come in several streams at once; what goes wrong in one of them leaves nothing half-valid either."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

import pytest

from modelscope_ext.errors import DiskFull, HubError
from modelscope_ext.hub import stripes
from modelscope_ext.hub.download import work_to_do
from modelscope_ext.hub.protocol import HubFile
from modelscope_ext.hub.stripes import Striped, arrived_of
from modelscope_ext.testing.hub_server import Generated
from tests.conftest import LOOPBACK
from tests.hub.test_download import FILES, WEIGHTS, child, served

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

__all__ = ["served"]
BIG = Generated(9_500_000)


@pytest.fixture(autouse=True)
def small_stripes(monkeypatch):
    """Stripes of 1 MB, from 2 MB on, in as many streams as there may be."""
    for name, value in {"LOOK": 0.001, "ENOUGH": math.inf, "WORTH": 0}.items():
        monkeypatch.setattr(stripes, name, value)
    monkeypatch.setattr(stripes, "LARGE", 2_000_000)
    monkeypatch.setattr(stripes, "_STRIPE", 1_000_000)


@pytest.fixture(autouse=True)
def big(served):
    served.server.add("org/model", {**FILES, WEIGHTS: BIG})


def ranges(served):
    return [r.range for r in served.server.requests if r.file == WEIGHTS and r.range and r.sent]


def test_the_client_finds_it_and_each_byte_came_once(served):
    folder = served.fetch()
    assert (folder / WEIGHTS).read_bytes() == BIG.read()
    assert len(ranges(served)) == 10 and sum(sent for file, sent in served.bodies() if file == WEIGHTS) == BIG.size
    assert WEIGHTS in served.client(offline=True, only=["sub/*"] if served.hub.name == "modelscope" else None)
    assert not list(served.cache.rglob("*.stripes")) + list(served.cache.rglob("*.map"))


def test_cuts_in_several_streams(served):
    for after in (1, 300_000, 999_999, 500_000):
        served.server.faults.cut(after, path=WEIGHTS, times=1)
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert sum(sent for file, sent in served.bodies() if file == WEIGHTS) <= BIG.size + 64


def test_a_server_that_sends_whole_files_only(served):
    served.server.faults.ignore_range(path=WEIGHTS)
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert not list(served.cache.rglob("*.map"))


def test_what_one_way_of_fetching_had_begun_goes_when_the_other_is_done(served, monkeypatch):
    monkeypatch.setattr(stripes, "STREAMS", 1)
    at = {"path": WEIGHTS, "times": 1, "route": "cdn", "method": "GET"}
    served.server.faults.ignore_range(**at)
    served.server.faults.cut(3_000_000, skip=1, **at)
    served.server.faults.status(403, skip=2, **at)
    with pytest.raises(HubError):
        served.fetch([WEIGHTS])
    assert list(served.cache.rglob("*.part"))
    served.server.faults.clear()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert not [p for p in served.cache.rglob("*") if p.suffix in (".part", ".stripes", ".map")]


def test_a_wrong_byte(served):
    served.server.faults.corrupt(7_000_000, path=WEIGHTS)
    with pytest.raises(HubError, match="not the listed ones"):
        served.fetch([WEIGHTS])
    assert served.in_cache() == {}
    served.server.faults.clear()
    served.server.faults.corrupt(7_000_000, path=WEIGHTS, times=1)
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()


@pytest.mark.parametrize("by", [-1, 1000])
def test_a_wrong_size(served, by):
    served.server.faults.resize(by, path=WEIGHTS)
    with pytest.raises(HubError, match="9500000 bytes are listed"):
        served.fetch([WEIGHTS])
    served.server.faults.clear()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()


def test_a_failure_in_one_stream_ends_all(served):
    served.server.faults.status(403, path=WEIGHTS, skip=6)
    served.server.faults.drip(400_000, path=WEIGHTS)
    start = time.monotonic()
    with pytest.raises(HubError):
        served.fetch([WEIGHTS])
    assert time.monotonic() - start < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("modelscope-ext")]


def test_the_disk_is_full(served, monkeypatch):
    import errno

    write, room = os.pwrite, [4_000_000]

    def full(handle, data, offset):
        if len(data) > 8:
            if room[0] < len(data):
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= len(data)
        return write(handle, data, offset)

    monkeypatch.setattr(stripes.os, "pwrite", full)
    with pytest.raises(DiskFull, match=r"the disk is full.*kept"):
        served.fetch([WEIGHTS])
    monkeypatch.setattr(stripes.os, "pwrite", write)
    kept = work_to_do(served.hub, served.listing(), [WEIGHTS], served.access).arrived
    assert 1_000_000 < kept <= 4_000_000
    served.bodies()
    assert (served.fetch([WEIGHTS]) / WEIGHTS).read_bytes() == BIG.read()
    assert sum(sent for _, sent in served.bodies()) == BIG.size - kept


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_a_killed_download_is_gone_on_with(served, share, monkeypatch):
    monkeypatch.setattr(stripes, "_STRIPE", 2**25)
    big = Generated(100_000_000)
    served.server.add("org/model", {WEIGHTS: big})
    served.server.faults.drip(15_000_000, path=WEIGHTS)
    process = child(served, [WEIGHTS], large=2_000_000)
    while sum(r.sent for r in served.server.requests if r.file == WEIGHTS) < share * big.size:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    served.server.faults.clear()
    time.sleep(0.3)
    first = sum(sent for file, sent in served.bodies() if file == WEIGHTS)
    listing = served.listing()
    kept = work_to_do(served.hub, listing, [WEIGHTS], served.access).arrived
    served.bodies()
    folder = served.fetch([WEIGHTS])
    assert (folder / WEIGHTS).read_bytes() == big.read()
    second = sum(sent for file, sent in served.bodies() if file == WEIGHTS)
    assert second == big.size - kept, "what was kept came again"
    # Of what had been sent, only what the four streams had not been handed yet, or not written.
    assert 0 < first - kept <= 4 * 5 * 2**20


def test_a_map_that_does_not_belong_is_not_believed(tmp_path):
    file = HubFile("model.safetensors", 5_000_000, sha256="ab" * 32)
    with Striped(tmp_path, file) as striped:
        striped.open()
        striped.write(0, b"x" * 1000)
        striped.write(2, b"y" * 10)
    assert arrived_of(tmp_path, file) == 1010
    (tmp_path / striped._map_path.name).write_bytes(b"\xff" * 40)
    assert arrived_of(tmp_path, file) == 0
    (tmp_path / striped._map_path.name).write_bytes(b"\x01" * 7)
    assert arrived_of(tmp_path, file) == 0
    assert arrived_of(tmp_path, HubFile("model.safetensors", 5_000_000, sha256="cd" * 32)) == 0
    assert arrived_of(tmp_path, HubFile("model.safetensors", 5_000_000)) == 0
