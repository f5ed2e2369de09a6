"""Requests that come at the same time: a server that makes batches of them, and the same one at a time.

16 clients ask a server in another process, each its next request when the last is answered. One model costs a fixed
20 ms and 1 ms an input, as an accelerator does; the other is a real BERT on this processor.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from benchmarks.batch import natural
from benchmarks.measure import ROOT, Timer, repeated
from benchmarks.models import make

__all__ = ["serving"]

CLIENTS, REQUESTS = 16, 320

_SERVER = """
import json, sys, time
from modelscope_ext import pipeline
from modelscope_ext.models.base import Model
from modelscope_ext.pipelines.base import Pipeline
from modelscope_ext.serve import run

class Steady(Model):
    tasks = ("text-classification",)
    def forward(self, inputs, **options):
        time.sleep(0.020 + 0.001 * len(inputs))
        return [{"label": text, "score": 1.0} for text in inputs]

folder, batch = sys.argv[1], int(sys.argv[2])
pipe = pipeline(model=folder, device="cpu") if folder else Pipeline(Steady(), "text-classification")
run({"model": pipe}, port=0, max_batch=batch, max_wait=0.01, ready=lambda at: print(json.dumps(at), flush=True))
"""


def serving(scratch: Path, *, real: bool) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Return both sides: 320 requests of 16 clients with batches of 16, and one at a time."""
    folder = str(make("bert", scratch / "bert")) if real else ""
    texts = [" ".join(text.split()[:12]) for text in natural(REQUESTS)]
    together, alone = (_Served(folder, batch) for batch in (16, 1))
    if together.answers(texts) != alone.answers(texts):
        raise AssertionError("the two servers answer differently")
    return (
        (
            f"{REQUESTS} requests of {CLIENTS} clients, batches of 16",
            repeated(partial(together.answers, texts), rounds=1),
        ),
        ("the same, one at a time", repeated(partial(alone.answers, texts), rounds=1)),
    )


class _Served:
    """A server in a process of its own."""

    def __init__(self, folder: str, batch: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, folder, str(batch)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        atexit.register(self._process.kill)
        assert self._process.stdout is not None
        self._port = int(json.loads(self._process.stdout.readline()).rpartition(":")[2])

    def answers(self, texts: list[str]) -> list[str]:
        """Return the labels of all texts, asked by all clients at once."""
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(texts)):
            todo.put(number)
        labels = [""] * len(texts)
        threads = [threading.Thread(target=self._ask, args=(texts, todo, labels)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return labels

    def _ask(self, texts: list[str], todo: queue.SimpleQueue[int], labels: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                connection.close()
                return
            row = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [texts[number]]}
            body = json.dumps({"inputs": [row]})
            connection.request("POST", "/v2/models/model/infer", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            labels[number] = answer["outputs"][0]["data"][0]
