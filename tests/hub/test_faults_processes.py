"""The fault matrix, part 3: processes that are killed or come at once, and disks that are full."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from modelscope_ext.errors import DiskFull
from modelscope_ext.hub import stripes
from modelscope_ext.testing.hub_server import Generated
from tests.conftest import LOOPBACK
from tests.hub.world import BIG, FILES, REPO, WEIGHTS, World, bytes_of, child, end, go

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

LARGE = Generated(24_000_000)
#: What may come twice after a kill.
CHUNK = 2**20


@pytest.fixture
def large(world):
    world.files[WEIGHTS] = LARGE
    world.server.add(REPO, world.files)
    return world


def killed(world, share, how=signal.SIGKILL, *, striped=False):
    """Start a download, kill it when `share` of the weights has been sent, and return what of them had arrived."""
    world.faults.drip(30_000_000, path=WEIGHTS, route="cdn")
    process = child(world, striped=striped)
    go(process)
    while world.bodies() < share * LARGE.size:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    if how == signal.SIGKILL:  # as on a busy machine: while it does not run, the line brings what the system can hold
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode != 0
    for request in world.server.requests:  # the server notices when it writes next
        began = time.monotonic()
        while not request.done and time.monotonic() - began < 10:
            time.sleep(0.01)
    return world.arrived()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_kill_9_and_restart(large, share):
    arrived = killed(large, share)
    large.check()
    first = large.bodies()
    large.faults.clear()
    large.server.requests.clear()
    large.heals()
    again = large.bodies()
    assert again == LARGE.size - arrived, "what had arrived came again"
    assert first - arrived <= CHUNK


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_kill_9_and_restart_of_several_streams(large, striped, share):
    arrived = killed(large, share, striped=True)
    large.check()
    first = large.bodies()
    large.faults.clear()
    large.server.requests.clear()
    large.heals()
    assert large.bodies() == LARGE.size - arrived, "what had arrived came again"
    assert first - arrived <= CHUNK * stripes.STREAMS


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_asked_to_stop(large, how):
    arrived = killed(large, 0.3, how)
    large.check()
    large.server.requests.clear()
    large.heals()
    assert large.bodies() == LARGE.size - arrived


@pytest.mark.long
def test_kill_9_at_any_moment(hub_name, tmp_path, monkeypatch):
    """Also while a file is verified or published, and while the process begins."""
    chance = random.Random(7)
    made = World(hub_name, tmp_path, monkeypatch, {**FILES, WEIGHTS: Generated(3_000_000)})
    with made.server:
        for _ in range(40):
            process = child(made)
            go(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.35))
            process.kill()
            process.communicate(timeout=60)
            made.check()
            if chance.random() < 0.5:
                subprocess.run(["rm", "-rf", made.cache], check=True)
        made.heals()


def test_three_processes_at_once(large):
    large.faults.drip(40_000_000, path=WEIGHTS)
    processes = [child(large) for _ in range(3)]
    for process in processes:
        go(process)
    while any(process.poll() is None for process in processes):
        large.check()
        time.sleep(0.1)
    said = {end(process) for process in processes}
    assert len(said) == 1
    assert said.pop().startswith("done ")
    assert large.bodies() == LARGE.size
    large.heals()


def test_three_threads_at_once(world):
    failures = []

    def run():
        try:
            folder = world.fetch()
            assert {n: (folder / n).read_bytes() for n in FILES} == {n: bytes_of(c) for n, c in FILES.items()}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    world.heals()


@pytest.mark.parametrize("limit", [1, 1_000_000, LARGE.size - 1])
def test_a_disk_that_takes_no_more(large, limit):
    """The system refuses to make a file larger (RLIMIT_FSIZE); to a writer that is a full disk."""
    process = child(large, limit=limit)
    go(process)
    said = end(process)
    assert said.startswith("DiskFull"), said
    assert "sub/model.safetensors" in said or limit == 1
    large.check()
    arrived = large.arrived()
    large.server.requests.clear()
    large.heals()
    assert large.bodies() == LARGE.size - arrived


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB; tests that want one run where the system lets them mount it."""
    place = tmp_path / "cache"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this system mounts no tmpfs for us ({done.stderr.strip()}); RLIMIT_FSIZE stands in for it")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_small_disk_has_no_room_before_the_first_byte(small_disk, large):
    with pytest.raises(DiskFull, match="Nothing was fetched"):
        large.fetch()
    assert large.bodies() == 0
    large.check()


def test_a_small_disk_fills_up_on_the_way(small_disk, world, monkeypatch):
    filler = world.cache / "filler"

    def fill():
        free = os.statvfs(world.cache)
        filler.write_bytes(b"0" * (free.f_bavail * free.f_bsize - 1_500_000))

    world.faults.run(fill, path=WEIGHTS, route="cdn", times=1)
    with pytest.raises(DiskFull):
        world.fetch()
    world.check()
    filler.unlink()
    world.server.requests.clear()
    world.heals()
    assert world.bodies() < BIG.size
