"""Ten minutes of good and bad requests at once: nothing is lost, memory and file descriptors stay flat."""

import json
import os
import random
import socket
import threading
import time

import pytest

from modelscope_ext.data import digits_folder
from tests.conftest import LOOPBACK
from tests.serve.servers import Server

pytestmark = [pytest.mark.serve, pytest.mark.long, pytest.mark.allow_hosts(LOOPBACK)]

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
CLIENTS = 8
KINDS = {"Content-Type": "application/json"}


def good(rng):
    word = rng.choice(["cat", "dog", "sat", "movie", "great", "sad"])
    text = " ".join(rng.choices([word, "the", "a", "house"], k=rng.randint(1, 20)))
    return rng.choice(
        [
            ("/v1/embeddings", {"model": "feature-extraction", "input": [text] * rng.randint(1, 4)}),
            ("/v1/chat/completions", {"model": "text-generation", "messages": [{"role": "user", "content": text}],
                                      "max_tokens": 4, "stream": rng.random() < 0.5}),
            ("/v2/models/text-classification/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1],
                                                                  "data": [text]}]}),
        ]
    )  # fmt: skip


def image(**row):
    return json.dumps({"inputs": [{"name": "image", **row}]}).encode()


BAD = (
    ("/v1/embeddings", b"{"),
    ("/v1/embeddings", b'{"model": "x", "input": "a"}'),
    ("/v1/embeddings", bytes(250_000)),
    ("/v1/chat/completions", b'{"model": "text-generation", "messages": []}'),
    ("/v1/completions", b"[" * 3000),
    ("/v2/models/digits/infer", image(datatype="BYTES", shape=[1], data=["/etc/passwd"])),
    ("/v2/models/digits/infer", image(datatype="UINT8", shape=[1, 2], data=[1, 2])),
    ("/nowhere", b""),
)


def wire(server, rng):
    """Break off in the middle of a request, or of the answer."""
    with socket.create_connection((server.host, server.port)) as one:
        body = json.dumps({"model": "text-generation", "prompt": "the", "max_tokens": 30, "stream": True}).encode()
        head = ("POST /v1/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json")
        text = "\r\n".join((*head, f"Content-Length: {len(body)}", "", ""))
        one.sendall(text.encode() + body[: rng.randint(0, len(body))])
        if rng.random() < 0.5:
            one.settimeout(0.05)
            try:
                one.recv(100)
            except OSError:
                return


def test_nothing_is_lost_and_nothing_grows(models, tmp_path):
    named = [f"{task}={folder}" for task, folder in models.items()]
    server = Server(
        tmp_path / "log", *named, f"digits={digits_folder()}", "--backend", "onnx", "--max-bytes", "200000",
        "--timeout", "30", "--quiet",
    )  # fmt: skip
    end = time.monotonic() + SECONDS
    counts, problems, lock = {}, [], threading.Lock()

    def work(number):
        rng = random.Random(number)
        while time.monotonic() < end and not problems:
            roll = rng.random()
            if roll < 0.1:
                wire(server, rng)
                continue
            path, body = good(rng) if roll < 0.7 else rng.choice(BAD)
            try:
                status, _, answer = server.ask("POST", path, body, None if isinstance(body, dict) else KINDS)
            except OSError as error:
                problems.append(f"{path}: {error!r}")
                return
            right = status == 200 if isinstance(body, dict) else 400 <= status < 500
            if isinstance(body, dict) and body.get("stream"):
                right = right and answer.endswith(b"data: [DONE]\n\n") and b'"error"' not in answer
            with lock:
                counts[status] = counts.get(status, 0) + 1
            if not right:
                problems.append(f"{path}: {status} {answer!r:.300}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    figures = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(2.0, SECONDS / 20))
        figures.append(server.figures())
    assert server.stop() == 0
    assert not problems, problems[:3]
    assert counts[200] > SECONDS, counts
    print(f"{counts}, bytes and descriptors {figures[len(figures) // 3]} to {figures[-1]}")
    early = figures[len(figures) // 4 : len(figures) // 2]
    late = figures[-len(figures) // 4 :]
    memory, descriptors = (max(one[i] for one in late) - max(one[i] for one in early) for i in (0, 1))
    assert memory < 16 * 2**20, figures
    assert descriptors <= 8, figures
