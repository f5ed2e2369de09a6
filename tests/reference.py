"""What another library answers, asked in a separate process that never imports this package.

A script is Python text that finds its argument under the name `arg` and leaves its answer under the name `result`.
Both travel as JSON; numpy arrays and scalars in the answer become lists and numbers. Scripts share one helper process,
so that a library of four seconds is imported once; each runs in a fresh namespace, offline, with sockets blocked and
with an import hook that refuses `modelscope_ext`. After each script the process looks at its own `sys.modules`.

Example:
    >>> reference("result = arg['x'] + 1", {"x": 1})
    2
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["ENVIRONMENT", "OBSERVERS", "OFFLINE", "client", "in_process", "reference"]

#: Told every answer of `reference`: see `tests/recorder.py`.
OBSERVERS: list[Callable[[Any], None]] = []

#: Environment of every process that a test starts: no network, no bars, no telemetry, one thread.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}

_WORKER = r"""
import io, json, os, socket, sys, traceback, warnings

class Never:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modelscope_ext":
            raise ImportError("a reference must not import modelscope_ext")
        return None

connect = socket.socket.connect

def refuse(self, address):
    if os.environ.get("REFERENCE_MAY_REACH") == "loopback" and address[0] in ("127.0.0.1", "::1"):
        return connect(self, address)
    raise OSError(f"a reference must not open a socket, here to {address}")

def plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot travel as JSON: {value!r:.80}")

sys.meta_path.insert(0, Never())
socket.socket.connect = refuse
warnings.simplefilter("ignore")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
for line in sys.stdin:
    job = json.loads(line)
    names = {"arg": job["arg"], "__name__": "__reference__"}
    named = job["arg"].get("environment") or () if isinstance(job["arg"], dict) else ()
    before = {name: os.environ.get(name) for name in named}
    try:
        exec(compile(job["script"], "<reference>", "exec"), names)
        strangers = [m for m in sys.modules if m.split(".")[0] == "modelscope_ext"]
        if strangers:
            raise RuntimeError(f"the reference imported {strangers}")
        answer = json.dumps({"result": names["result"]}, default=plain)
    except BaseException:
        answer = json.dumps({"error": traceback.format_exc()})
    for name, value in before.items():  # what one script sets is not for the next
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    answers.write(answer + "\n")
    answers.flush()
"""


#: What workers start with, whichever test asks first: `conftest.py` fills it before the first test changes a variable.
ENVIRONMENT: dict[str, str] = {}


class _Worker:
    """One helper process, started on first use and asked one script at a time."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.environment = environment or {}
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.home: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.home = tempfile.TemporaryDirectory(prefix="reference-")
            environment = {**ENVIRONMENT, **OFFLINE, "HF_HOME": self.home.name, "PYTHONIOENCODING": "utf-8"}
            environment.pop("PYTHONPATH", None)
            environment |= self.environment
            self.process = subprocess.Popen(
                [sys.executable, "-c", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                cwd=self.home.name,
                env=environment,
            )
        return self.process

    def ask(self, script: str, arg: Any) -> Any:
        with self.lock:
            process = self.start()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"script": script, "arg": arg}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the reference process ended with {process.wait(10)} while it ran:\n{script}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the reference script failed:\n{answer['error']}")
        return answer["result"]

    def close(self) -> None:
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.close()
            self.process.wait(30)
            self.process.stdout.close()
            self.process = None
        if self.home is not None:
            self.home.cleanup()
            self.home = None


_shared = _Worker()
_online = _Worker(
    {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false",
        "OPENMIND_HUB_ENDPOINT": "https://modelers.cn",
        "REFERENCE_MAY_REACH": "loopback",
    }
)
atexit.register(_shared.close)
atexit.register(_online.close)


def client(script: str, arg: Any = None) -> Any:
    """Run `script` as `reference` does, but with the hubs' clients online: they reach servers on this machine."""
    return _online.ask(script, arg)


def reference(script: str, arg: Any = None, *, fresh: bool = False) -> Any:
    """Run `script` without this package and return what it left in `result`.

    Args:
        script: Python text; reads `arg`, sets `result`.
        arg: Anything that JSON can carry.
        fresh: Use a process of its own, for scripts that change the library's state.

    Raises:
        RuntimeError: The script failed; its traceback is in the message.
    """
    worker = _Worker() if fresh else _shared
    try:
        answer = worker.ask(script, arg)
    finally:
        if fresh:
            worker.close()
    for tell in OBSERVERS:
        tell(answer)
    return answer


def in_process(script: str, arg: Any = None) -> Any:
    """Run `script`, which may import this package, in a fresh process of its own, and return its `result`.

    For what only a fresh process shows: its memory, its `sys.modules`, its file handles.
    """
    text = f"import json, sys\narg = json.loads({json.dumps(json.dumps(arg))})\n{script}\nprint(json.dumps(result))"
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p) or os.getcwd()}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])
