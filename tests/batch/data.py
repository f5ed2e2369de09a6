"""Rows, a text model, and a plug-in whose rows do what their text says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reference import OFFLINE
from tests.tiny import onnx_
from tests.tiny._words import wordpiece_vocab

ROOT = Path(__file__).parents[2]
WORDS = [word for word in wordpiece_vocab() if word.isalpha()]

#: A backend that is installed, and found by its entry point: a text says what becomes of it and its process.
LENGTHS = '''
import json, os, signal, time
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.resolution import Match, Reason, Strength


class Lengths(Backend):
    """How long is a text?"""

    name = "lengths"
    frameworks = ("numpy",)
    tasks = ("text-classification", "text-to-image")

    def probe(self, evidence):
        if "lengths.json" not in evidence.name_set:
            return None
        return Match(self.name, Strength.FORMAT, (Reason("lengths.json", "", None, "its file"),), "numpy", self.tasks)

    def files(self, resolution, snapshot):
        return ("lengths.json",)

    def load(self, folder, resolution, grants, **options):
        with open(os.environ["LOADS"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        if os.environ.get("LOAD") == "die":
            os._exit(3)
        if os.environ.get("LOAD") == "raise":
            raise ValueError("no such thing")
        return json.loads((folder / "lengths.json").read_text())

    def predict(self, native, task, inputs, **options):
        for text in inputs:
            what, _, path = text.partition(" ")
            if what == "raise":
                raise ValueError(f"not {path}")
            if what == "memory" and len(inputs) > 2:
                raise MemoryError("too many at once")
            time.sleep(float(os.environ.get("SLEEP", 0)))
            if what == "both":  # until two processes have loaded it
                end = time.monotonic() + 120
                while len(open(os.environ["LOADS"]).readlines()) < 2 and time.monotonic() < end:
                    time.sleep(0.05)
            if what == "parent":  # of this process: the actor of Ray that watches it
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                os.kill(os.getppid(), signal.SIGKILL)
            if what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "once":
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGSEGV)
        if task == "text-to-image":
            from PIL import Image

            return [Image.new("RGB", (len(text), 2)) for text in inputs]
        return [{"label": text.split(" ")[0], "score": 1 / (1 + len(text))} for text in inputs]
'''


def write_rows(path: Path, count: int, seed: int = 0) -> list[dict[str, object]]:
    """Write `count` rows with an id and a text of up to 30 words as JSON lines, and return them."""
    rng = random.Random(seed)
    rows = [{"id": f"r{n}", "text": " ".join(rng.choices(WORDS, k=rng.randint(1, 30)))} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def model(folder: Path) -> Path:
    """Write the handmade classifier of texts and return its folder."""
    return onnx_.write("text-classification", folder)


def records(folder: Path) -> list[dict[str, object]]:
    """Return the records of the shards that the manifest names, in order."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    names = [shard["file"] for shard in manifest["shards"]]
    assert sorted(names) == sorted(path.name for path in folder.glob("part-*")), "shards that nobody knows"
    return [json.loads(line) for name in names for line in (folder / name).read_text("utf-8").splitlines()]


def command(*arguments: object, env: dict[str, str] | None = None) -> list[str]:
    """Return the command line of ``modelscope-ext batch``."""
    return [sys.executable, "-m", "modelscope_ext", "batch", *map(str, arguments)]


def environment(**more: object) -> dict[str, str]:
    """Return what a process of ours needs of the environment, and no more."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "RAY_TMPDIR") if name in os.environ}
    path = os.pathsep.join([*map(str, more.pop("path", ())), str(ROOT)])  # type: ignore[call-overload]
    return {**kept, **OFFLINE, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **{k: str(v) for k, v in more.items()}}


def run(*arguments: object, **env: object) -> subprocess.CompletedProcess[str]:
    """Run ``modelscope-ext batch`` in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env=environment(**env), check=False
    )


def wheel(folder: Path) -> Path:
    """Write the plug-in as a wheel whose labels say so."""
    path = folder / "lengths-2.0-py3-none-any.whl"
    source = LENGTHS.replace('"label": text', '"label": "wheel " + text')
    points = "[modelscope_ext.backends]\nlengths = lengths:Lengths\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("lengths.py", source)
        file.writestr("lengths-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lengths\nVersion: 2.0\n")
        file.writestr("lengths-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("lengths-2.0.dist-info/entry_points.txt", points)
        file.writestr("lengths-2.0.dist-info/RECORD", "")
    return path


def install(folder: Path) -> Path:
    """Install the plug-in into a folder for `sys.path`, as pip would, and return the folder."""
    record = folder / "lengths-1.0.dist-info"
    record.mkdir(parents=True)
    (folder / "lengths.py").write_text(LENGTHS)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: lengths\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[modelscope_ext.backends]\nlengths = lengths:Lengths\n")
    return folder


def wait_for(what: Callable[[], Any], seconds: float = 300) -> Any:
    """Return what `what` gives when that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started itself."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(place.name))
        except OSError:
            continue
    return found
