"""Batches: a whole data set from file to file, in fresh processes, starts included.

Ours against a loop over `transformers.pipeline`, against ourselves with more processes, and a long data set against a
short one. The answers of both sides are compared first, where both are written.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.batch import natural
from benchmarks.measure import Answering, Cost, Timer
from benchmarks.models import make
from tests.equality import assert_close

__all__ = ["JOBS"]

_OURS = """
import json, os, shutil, sys
model, rows, output, options = sys.argv[1:]
from modelscope_ext.batch import run_batch
shutil.rmtree(output, ignore_errors=True)
report = run_batch(model, rows, output, **json.loads(options))
print(json.dumps([report.rows, report.errors]))
"""
_THEIRS = """
import json, sys
model, rows, output, options = sys.argv[1:]
import transformers
size = json.loads(options)["batch_size"]
pipe = transformers.pipeline("text-classification", model, device="cpu")
texts = [json.loads(line)["text"] for line in open(rows)]
with open(output, "w") as file:
    for start in range(0, len(texts), size):
        for answer in pipe(texts[start : start + size], batch_size=size, truncation=True):
            file.write(json.dumps(answer) + "\\n")
print(json.dumps([len(texts), 0]))
"""


def _rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def _job(code: str, model: str, rows: Path, output: Path, **options: Any) -> Answering:
    return Answering(code, model, str(rows), str(output), json.dumps(options))


def _with_threads(timer: Timer, count: int | None) -> Timer:
    """Let the processes of `timer` have so many threads each; None leaves it to us, as a user would."""

    def timed() -> Cost:
        before = os.environ.pop("OMP_NUM_THREADS", None)
        if count is not None:
            os.environ["OMP_NUM_THREADS"] = str(count)
        try:
            return timer()
        finally:
            os.environ.pop("OMP_NUM_THREADS", None)
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before

    return timed


def _loop(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    model, rows = make("bert", scratch / "bert"), _rows(scratch / "rows.jsonl", natural(1200))
    ours = _job(_OURS, model, rows, scratch / "ours", batch_size=32, options={"truncation": True}, device="cpu")
    theirs = _job(_THEIRS, model, rows, scratch / "theirs.jsonl", batch_size=32)
    ours()
    theirs()
    shards = sorted((scratch / "ours").glob("part-*"))
    found = [json.loads(line)["output"] for shard in shards for line in shard.read_text().splitlines()]
    assert_close(found, [json.loads(line) for line in (scratch / "theirs.jsonl").read_text().splitlines()])
    return ("run_batch(1200 texts, batch_size=32)", ours), ("a loop over transformers.pipeline", theirs)


def _onnx(scratch: Path) -> str:
    make("bert", scratch / "bert")
    return make("onnx", scratch / "onnx")


def _workers(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    model, rows = _onnx(scratch), _rows(scratch / "rows.jsonl", natural(2400))
    two = _job(_OURS, model, rows, scratch / "two", batch_size=32, workers=2)
    one = _job(_OURS, model, rows, scratch / "one", batch_size=32, workers=1)
    return ("two processes", _with_threads(two, 1)), ("one process", _with_threads(one, 1))


def _ray(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """From the first records to the last, so that what is measured is the steady state: of many small chunks."""
    model, rows = _onnx(scratch), _rows(scratch / "rows.jsonl", natural(4800))
    two = _steady(model, rows, scratch / "ray", batch_size=8, engine="ray", workers=2)
    one = _steady(model, rows, scratch / "one", batch_size=8)
    return ("two actors of Ray", two), ("this process", one)


_STEADY = """
import json, shutil, sys, time
model, rows, output, options = sys.argv[1:]
from modelscope_ext.batch import run_batch
shutil.rmtree(output, ignore_errors=True)
seen = []
told = lambda done, *_: seen.append((done, time.perf_counter()))
run_batch(model, rows, output, progress=told, **json.loads(options))
quarter = next(one for one in seen if one[0] >= seen[-1][0] / 4)
print(json.dumps([seen[-1][0] - quarter[0], seen[-1][1] - quarter[1]]))
"""


def _steady(model: str, rows: Path, output: Path, **options: Any) -> Timer:
    job = _job(_STEADY, model, rows, output, **options)

    def timed() -> Cost:
        job()
        count, seconds = job.answer
        return Cost(seconds / count)

    return _with_threads(timed, 1)


def _memory(scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    from tests.tiny.onnx_ import write

    model, texts = str(write("text-classification", scratch / "tiny")), natural(1000)
    few = _rows(scratch / "few.jsonl", texts)
    many = scratch / "many.jsonl"
    with many.open("wb") as file:
        for _ in range(100):
            with few.open("rb") as one:
                shutil.copyfileobj(one, file)
    job = partial(_job, _OURS, model, batch_size=32, keep=["text"])
    return ("100,000 rows", job(many, scratch / "out-many")), ("1,000 rows", job(few, scratch / "out-few"))


#: Name -> (title, what makes both sides, bound of time, bound of memory, repeats).
JOBS = {
    "loop": ("1200 texts from file to file, BERT of 105 MB, 32 at a time", _loop, 1 / 2, None, 3),
    "workers": ("2400 texts, the same as ONNX, two processes for one", _workers, 1 / 1.6, None, 3),
    "ray": ("4800 texts, the same, a row in Ray's steady state", _ray, 1 / 1.6, None, 3),
    "memory": ("100,000 rows against 1,000, tiny ONNX", _memory, None, 1.1, 3),
}
