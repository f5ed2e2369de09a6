"""The engine `ray`: every row once and in order, whatever dies. Two nodes, each with two processors."""

import json
import os
import random
import signal
import subprocess

import pytest

from tests.batch.data import (
    children,
    command,
    environment,
    install,
    model,
    records,
    run,
    wait_for,
    wheel,
    write_rows,
)
from tests.batch.test_processes import answered

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture
def lengths(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "lengths.json").write_text("{}")
    return folder


def write_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_thousand_rows_on_two_nodes_with_what_goes_wrong_there(new_cluster, tmp_path, site, lengths):
    """An actor is killed over a row, another row kills its process each time; and a plug-in comes as a wheel."""
    more = {"path": [site], "LOADS": tmp_path / "loads", "SLEEP": "0.002"}
    nodes = new_cluster(**more)
    texts = [f"w{n} " + "x" * (n * 37 % 101) for n in range(1000)]
    texts[500], texts[777] = f"parent {tmp_path}/killed", "die"
    rows = write_texts(tmp_path / "in.jsonl", texts)
    ray = ("--engine", "ray", "--address", nodes.address, "--workers", 2, "--batch-size", 4, "--shard-rows", 256)
    done = run(lengths, rows, tmp_path / "out", *ray, "--json", **more, **quiet(nodes))
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["rows"] == 1000 and json.loads(done.stdout)["errors"] == 1
    found = records(tmp_path / "out")
    assert [r["row"] for r in found] == list(range(1000))
    assert (tmp_path / "killed").exists()
    assert found[777]["error"]["message"] == "the process that ran this row was killed by signal 9, 2 times"
    expected = answered(texts)
    assert [r["output"] for r in found[:777] + found[778:]] == expected[:777] + expected[778:]
    pids = (tmp_path / "loads").read_text().split()
    assert len(pids) == len(set(pids)) >= 2 + 1 + 4  # two actors, one more for the one killed, four deaths over a row

    write_texts(rows, texts[:20])
    done = run(lengths, rows, tmp_path / "two", *ray, "--plugin", wheel(tmp_path), **more, **quiet(nodes))
    assert done.returncode == 0, done.stderr
    assert {r["output"]["label"].split()[0] for r in records(tmp_path / "two")} == {"wheel"}


def quiet(nodes):
    return {name: value for name, value in nodes.env.items() if name.startswith("RAY_")}


def test_a_driver_that_freezes_is_replaced(tmp_path, site, lengths, ray_environment):
    """On a cluster that the batch starts itself. A stopped process stands for an executor that waits for ever."""
    texts = [f"w{n}" for n in range(400)]
    rows = write_texts(tmp_path / "in.jsonl", texts)
    ray = ("--engine", "ray", "--workers", 1, "--batch-size", 4, "--shard-rows", 64, "--stall", 25, "-v")
    process = subprocess.Popen(
        command(lengths, rows, tmp_path / "out", *ray),
        env=environment(path=[site], LOADS=tmp_path / "loads", SLEEP="0.02", **ray_environment),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    [driver] = wait_for(lambda: children(process.pid) if list((tmp_path / "out").glob("part-*")) else None)
    os.kill(driver, signal.SIGSTOP)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "nothing has come for 25 seconds; going on at row" in said
    assert [r["output"] for r in records(tmp_path / "out")] == answered(texts)


def test_a_model_that_cannot_be_loaded_is_the_batchs_error(tmp_path, site, lengths, ray_environment):
    rows = write_texts(tmp_path / "in.jsonl", ["a"])
    more = {"path": [site], "LOADS": tmp_path / "loads", "LOAD": "raise", **ray_environment}
    done = run(lengths, rows, tmp_path / "out", "--engine", "ray", **more)
    assert done.returncode == 7
    assert "ValueError: no such thing" in done.stderr and "Traceback" not in done.stderr


def test_an_address_where_no_cluster_is_fails_at_once(tmp_path, site, lengths):
    rows, more = write_texts(tmp_path / "in.jsonl", ["a"]), {"path": [site], "LOADS": tmp_path / "loads"}
    for address, code, says in (
        ("127.0.0.1:1", 7, "no cluster of Ray answers at 127.0.0.1:1"),
        ("head", 2, "expected 'auto' or HOST:PORT"),
    ):
        done = run(lengths, rows, tmp_path / "out", "--engine", "ray", "--address", address, "--resume", **more)
        assert done.returncode == code and says in done.stderr, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_twenty_thousand_texts_with_a_worker_and_then_a_node_killed(new_cluster, tmp_path, seed):
    folder, rows = model(tmp_path / "model"), tmp_path / "in.jsonl"
    write_rows(rows, 20_000, seed)
    common = ("--batch-size", 4, "--shard-rows", 512, "--keep", "id")
    assert run(folder, rows, tmp_path / "local", *common).returncode == 0
    nodes, rng = new_cluster(), random.Random(seed)
    ray = ("--engine", "ray", "--address", nodes.address, "--workers", 2, "--stall", 60, "-v")
    process = subprocess.Popen(
        command(folder, rows, tmp_path / "out", *common, *ray), env=environment(**quiet(nodes)),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    shards = sorted(rng.sample(range(1, 25), 2))
    for shard, kill in zip(shards, (kill_worker, lambda nodes: nodes.ask("node")), strict=True):
        wait_for(lambda shard=shard: (tmp_path / "out" / f"part-{shard:05}.jsonl").exists(), 300)
        assert process.poll() is None, "it was done before"
        kill(nodes)
    _, said = process.communicate(timeout=420)
    assert process.returncode == 0, said
    assert records(tmp_path / "out") == records(tmp_path / "local")
    assert [r["row"] for r in records(tmp_path / "out")] == list(range(20_000))


def kill_worker(nodes):
    workers = wait_for(lambda: nodes.ask("workers")["workers"])
    os.kill(workers[0], signal.SIGKILL)
