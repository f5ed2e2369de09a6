"""The server on Ray Serve: two replicas on a Ray of this machine, asked as the server of one process is."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from modelscope_ext import pipeline
from tests.batch.data import ROOT, environment, install, model, wait_for
from tests.conftest import LOOPBACK
from tests.equality import assert_close
from tests.serve.servers import Server
from tests.tiny import onnx_

pytestmark = [pytest.mark.scale, pytest.mark.allow_hosts(LOOPBACK)]

TEXTS = ["the cat", "a good dog", "bad film", "red blue house", "hello"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, ray_environment):
    """Three models, one of them a plug-in's that takes a second for each input."""
    folder = tmp_path_factory.mktemp("serve")
    site, slow = install(folder / "site"), folder / "slow"
    slow.mkdir()
    (slow / "lengths.json").write_text("{}")
    path = os.pathsep.join(map(str, (site, ROOT)))
    made = Server(
        folder / "log",
        *(f"labels={model(folder / 'labels')}", f"vectors={onnx_.write('feature-extraction', folder / 'vectors')}"),
        *(f"slow={slow}", "--engine", "ray", "--replicas", "2", "--max-bytes", "100000", "--max-text", "500"),
        environment={"RAY_TMPDIR": ray_environment["RAY_TMPDIR"], "PYTHONPATH": path,
                     "LOADS": str(folder / "loads"), "SLEEP": "1"},
        patience=300,
    )  # fmt: skip
    made.folder = folder
    yield made
    assert made.stop(timeout=120) == 0


def ask(server, text, model="labels"):
    row = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return server.ask("POST", f"/v2/models/{model}/infer", {"inputs": [row]})


def test_answers_are_the_pipelines_whichever_replica_gives_them(server):
    with pipeline(model=str(server.folder / "labels")) as pipe:
        expected = [(answer["label"], answer["score"]) for answer in pipe(TEXTS)]
    assert len({label for label, _ in expected}) > 1
    found, threads = {}, []

    def work(number):
        status, _, answer = ask(server, TEXTS[number % len(TEXTS)])
        found[number] = status, [row["data"][0] for row in answer["outputs"]]

    for number in range(40):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found.values()} == {200}
    for number, (_, (label, score)) in found.items():
        assert label == expected[number % len(TEXTS)][0]
        assert_close([score], [expected[number % len(TEXTS)][1]])


def test_openais_interface_and_errors_are_those_of_one_process(server):
    status, _, answer = server.ask("GET", "/v1/models")
    assert status == 200 and [one["id"] for one in answer["data"]] == ["labels", "vectors", "slow"]
    status, _, answer = server.ask("POST", "/v1/embeddings", {"model": "vectors", "input": TEXTS[:2]})
    assert status == 200 and len(answer["data"]) == 2
    for path, body, wanted in (
        ("/v1/embeddings", {"model": "nobody", "input": "a"}, 404),
        ("/v1/embeddings", {"model": "vectors"}, 400),
        ("/v1/embeddings", {"model": "vectors", "input": "a" * 600}, 413),
        ("/v1/embeddings", {"model": "vectors", "input": "a" * 200_000}, 413),
        ("/nowhere", {}, 404),
    ):
        status, _, answer = server.ask("POST", path, body)
        assert (status, bool(answer["error"]["message"])) == (wanted, True), (path, answer)
    status, _, answer = server.ask("GET", "/health", headers={"Host": "example.com"})
    assert status == 421


def test_a_replica_that_is_killed_is_replaced(server):
    before = replicas(server)
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: len(replicas(server) - before) == 1 and len(replicas(server)) == 2)
    wait_for(lambda: len((server.folder / "loads").read_text().split()) == 3)  # the plug-in is there too
    end = time.monotonic() + 120
    while ask(server, TEXTS[0])[0] != 200 and time.monotonic() < end:
        time.sleep(0.2)
    assert [ask(server, text)[0] for text in TEXTS * 4] == [200] * 20


def replicas(server):
    """Return the processes that have the models."""
    return {pid for pid, command in processes(server).items() if b"ServeReplica" in command}


def processes(server):
    """Return the command lines of all that the server has started, and itself."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if descends(int(place.name), server.process.pid):
                found[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:
            continue
    return found


def descends(pid, other):
    while pid not in (0, 1, other):
        pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return pid == other


def test_only_this_machine_reaches_a_ray_that_the_server_starts(server):
    sockets = {}
    for pid in processes(server):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                sockets[os.readlink(handle)] = pid
    assert sockets
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.append(words[1].split(":")[0])
    assert len(found) > 5 and set(found) <= set(loopback), found


def test_a_request_in_flight_is_answered_when_the_server_is_told_to_stop(server):
    found = []
    asked = threading.Thread(target=lambda: found.append(ask(server, "some text", model="slow")))
    asked.start()
    time.sleep(0.5)
    assert server.stop(timeout=120) == 0
    asked.join()
    [(status, _, answer)] = found
    assert status == 200, answer
    assert not replicas(server)


@pytest.mark.long
def test_a_model_that_cannot_be_loaded_is_the_commands_error(tmp_path, ray_environment):
    site, slow = install(tmp_path / "site"), tmp_path / "slow"
    slow.mkdir()
    (slow / "lengths.json").write_text("{}")
    more = {"path": [site], "LOADS": tmp_path / "loads", "LOAD": "raise", **ray_environment}
    done = subprocess.run(
        [sys.executable, "-m", "modelscope_ext", "serve", str(slow), "--engine", "ray", "--port", "0"],
        env=environment(**more), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert "ValueError: no such thing" in done.stderr
    assert len((tmp_path / "loads").read_text().split()) <= 2


@pytest.mark.long
def test_a_cluster_that_is_there_keeps_running_and_its_port(new_cluster, tmp_path):
    nodes, folder = new_cluster(), model(tmp_path / "labels")
    variables = {name: value for name, value in nodes.env.items() if name.startswith("RAY_")}
    port, logs = "0", [tmp_path / "first", tmp_path / "second"]
    for log in logs:
        server = Server(
            log, f"labels={folder}", "--engine", "ray", "--address", nodes.address, "--replicas", "2",
            "--port", port, environment=variables, patience=300,
        )  # fmt: skip
        assert ask(server, TEXTS[0])[0] == 200
        port = server.port
        assert server.stop(timeout=120) == 0
    assert "runs on this cluster already" not in logs[0].read_text()
    assert "runs on this cluster already" in logs[1].read_text()
