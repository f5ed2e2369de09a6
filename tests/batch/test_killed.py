"""Batches that ``kill -9`` ends, at random points and at the worst ones, and that are gone on with."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batch.data import children, command, environment, model, records, run, wait_for, write_rows

#: What is fixed in every try; the shards are small, so that many of them are begun and ended.
COMMON = ("--batch-size", 4, "--shard-rows", 128, "--keep", "id")


def listed(out: Path) -> set[str]:
    return {shard["file"] for shard in json.loads((out / "_manifest.json").read_text())["shards"]}


#: The worst points: name -> whether the folder is at it. The batch is stopped while somebody looks.
WORST: dict[str, Callable[[Path], bool]] = {
    "half a shard": lambda out: any(path.stat().st_size for path in out.glob(".part-*.tmp")),
    "a shard that no manifest names": lambda out: bool({path.name for path in out.glob("part-*")} - listed(out)),
    "half a manifest": lambda out: any(out.glob("._manifest.json.*")),
}


def at(out: Path, point: str) -> bool:
    try:
        return WORST[point](out)
    except FileNotFoundError:  # moved between two looks
        return False


def stop_at(process: subprocess.Popen, out: Path, point: str) -> None:
    """Stop the batch at one of the worst points; it does not go on by itself."""
    while process.poll() is None:
        if at(out, point):
            os.kill(process.pid, signal.SIGSTOP)
            wait_for(lambda: state(process.pid) in "TZ")
            if at(out, point):
                return
            os.kill(process.pid, signal.SIGCONT)
    raise AssertionError(f"it was done before there was {point}")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def finished(out: Path) -> int:
    return len(list(out.glob("part-*")))


class Interrupted:
    """A batch of `count` texts that is begun and ended again and again."""

    def __init__(self, folder: Path, count: int, seed: int, *arguments: object) -> None:
        self.rng, self.count, self.arguments = random.Random(seed), count, arguments
        self.fixed = (model(folder / "model"), folder / "in.jsonl")
        self.out, self.whole = folder / "out", folder / "whole"
        write_rows(self.fixed[1], count, seed)

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            command(*self.fixed, self.out, *COMMON, *self.arguments, "--resume", "-q"),
            env=environment(), stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def until(self, process: subprocess.Popen, shards: int) -> None:
        """Wait for so many shards; a process that has the model is killed on the way, where there are any."""
        victim = self.rng.randint(finished(self.out), shards) if self.arguments else None
        while finished(self.out) < shards:
            assert process.poll() is None, "it was done before it could be killed"
            if victim is not None and finished(self.out) >= victim and (workers := children(process.pid)):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
                victim = None
            time.sleep(0.002)

    def kill(self, shards: int, point: str | None) -> None:
        """Start it, let it get as far as `shards`, and kill it at a point, or at a random moment."""
        process = self.start()
        if shards:
            self.until(process, max(shards, finished(self.out) + 2))
        if point is None:
            time.sleep(self.rng.uniform(0, 0.2 if shards else 3))
        else:
            stop_at(process, self.out, point)
        assert process.poll() is None, "it was done before it could be killed"
        process.kill()
        process.wait()
        assert point is None or at(self.out, point)

    def check(self) -> None:
        """Go on to the end, and compare with a batch that nobody killed."""
        process = self.start()
        self.until(process, finished(self.out) + 2)
        assert process.wait(300) == 0
        whole = run(*self.fixed, self.whole, *COMMON)
        assert whole.returncode == 0, whole.stderr
        assert records(self.out) == records(self.whole)
        assert [r["row"] for r in records(self.out)] == list(range(self.count))
        assert [r["id"] for r in records(self.out)] == [f"r{n}" for n in range(self.count)]
        assert not any(r["error"] for r in records(self.out))
        left = {path.name for path in self.out.iterdir() if not path.name.startswith("part-")}
        assert left == {"_manifest.json", "_lock"}


def test_a_batch_that_is_killed_is_gone_on_with(tmp_path):
    batch = Interrupted(tmp_path, 6000, 3)
    for shards, point in ((0, None), (4, "a shard that no manifest names"), (12, "half a shard"), (20, None)):
        batch.kill(shards, point)
    batch.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("workers", [(), ("--workers", 2)], ids=["here", "two-processes"])
def test_twenty_thousand_texts_killed_at_random_points_and_at_the_worst(tmp_path, seed, workers):
    batch = Interrupted(tmp_path, 20_000, seed, *workers)
    points = [*WORST, *WORST, None, None]
    batch.rng.shuffle(points)
    for shards, point in zip(sorted(batch.rng.sample(range(1, 120), len(points))), points, strict=True):
        batch.kill(shards, point)
    batch.check()
