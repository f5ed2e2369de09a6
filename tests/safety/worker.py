"""Runs the cases of a batch, each in a forked child of one warmed process whose audit hook sees everything.

Reads jobs as JSON from standard input, writes what happened as JSON to standard output. A job is a folder and a call.
The hook cannot be taken out again, and a child that one case has spoiled ends with it.
"""

from __future__ import annotations

import gc
import glob
import importlib
import json
import os
import random
import resource
import signal
import socket
import sys
import sysconfig
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

ALLOWED = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())]
# A virtual environment may show another's packages too.
ALLOWED += [os.path.realpath(path) for path in sys.path if os.path.basename(path) == "site-packages"]
# Where installers write what is installed: beside this project too, after it was built in its own folder.
ALLOWED += [os.path.realpath(path) for entry in sys.path for path in glob.glob(os.path.join(entry, "*.*-info"))]
ALLOWED += [os.path.realpath(path) for path in ("/proc", "/sys", "/dev/null", "/dev/urandom", "/etc/os-release")]
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")
SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
#: What is imported before the first case, as in a program that has used the package before; no framework is among it.
WARM = (
    "modelscope_ext.models.loader", "modelscope_ext.models.resolve", "modelscope_ext.models.gate.contents",
    "modelscope_ext.models.gate.tokenizers", "modelscope_ext.models.plan", "modelscope_ext.pipelines.builder",
    "modelscope_ext.metadata.collector", "modelscope_ext.safety.pickles", "modelscope_ext.safety.gguf",
    "modelscope_ext.safety.mindspore_ckpt", "modelscope_ext.safety.arrays", "modelscope_ext.hub.hubs",
    "modelscope_ext.hub.huggingface_", "modelscope_ext.hub.remote", "modelscope_ext.hub.fetch", "yaml",
    "http.client", "packaging.requirements",
)  # fmt: skip
#: ... and before the first case on a hub: its client.
WARM_CLIENT = ("requests", "huggingface_hub", "huggingface_hub.errors", "huggingface_hub.hf_api")
#: Seconds after which a child is ended: a case that hangs fails alone.
PATIENCE = 60
seen: list[str] = []
watched: dict[str, Any] = {"on": False, "roots": [], "allowed": [], "hub": None}


def inside(path: str, roots: list[str]) -> bool:
    return any(path == root or path.startswith(root + os.sep) for root in roots)


def hook(event: str, args: tuple[Any, ...]) -> None:
    if not watched["on"]:
        return
    watched["on"] = False
    try:
        note(event, args)
    finally:
        watched["on"] = True


def note(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(PROGRAMS):
        seen.append(f"program {event} {args[:1]}")
    elif event in SOCKETS:
        if not is_hub(args):
            seen.append(f"socket {event}")
    elif event == "pickle.find_class":
        if args[0].partition(".")[0] not in ("collections", "torch", "numpy", "_codecs"):
            seen.append(f"find_class {args}")
    elif event in ("exec", "compile"):
        code = args[0] if event == "exec" else (args[1] if len(args) > 1 else None)
        name = getattr(code, "co_filename", code)
        if isinstance(name, str) and name and name[0] != "<" and inside(os.path.realpath(name), watched["roots"]):
            seen.append(f"{event} {name}")
    elif event == "import":
        if args[1] and inside(os.path.realpath(args[1]), watched["roots"]):
            seen.append(f"import {args[0]}")
    elif event == "open" and isinstance(args[0], str):
        if args[1] is None and os.sep not in args[0]:
            return  # os.open below an open folder: its own path is not told, and was checked when that was opened
        above, base = os.path.split(args[0])
        nofollow = len(args) > 2 and (args[2] or 0) & os.O_NOFOLLOW
        path = os.path.join(os.path.realpath(above), base) if nofollow else os.path.realpath(args[0])
        if not inside(path, watched["allowed"]):
            seen.append(f"open {path}")


def is_hub(args: tuple[Any, ...]) -> bool:
    """Whether an address is the one of the hub that this case is on."""
    hub = watched["hub"]
    address = args[1] if isinstance(args[0], socket.socket) else args[:2]
    return hub is not None and str(address[0]) in ("127.0.0.1", "localhost", "::1") and int(address[1] or hub) == hub


def state() -> dict[str, Any]:
    found = {
        "cwd": os.getcwd(),
        "sys.path": list(sys.path),
        "environment": dict(os.environ),
        "filters": [str(f) for f in warnings.filters],
        "recursion": sys.getrecursionlimit(),
        "random": hash(random.getstate()),
        "temporary": sorted(os.listdir(tempfile.gettempdir())),
        "modules": [
            n for n, m in list(sys.modules.items()) if inside(str(getattr(m, "__file__", "")), watched["roots"])
        ],
    }
    if "numpy" in sys.modules:
        import numpy

        found["numpy"] = str(numpy.random.get_state()[1].sum())
    if "torch" in sys.modules:
        import torch

        found["torch"] = str(torch.get_rng_state().sum())
    return found


def run(job: dict[str, Any]) -> dict[str, Any]:
    import pathlib

    from modelscope_ext.models.loader import load
    from modelscope_ext.models.resolve import resolve
    from modelscope_ext.pipelines.builder import pipeline

    if job.get("here"):
        sys.path.insert(0, "")  # as where Python was started without a script
    place, keywords = job["folder"], job.get("keywords", {})
    given = pathlib.Path(place) if job.get("as_path") else place
    real = os.path.realpath(place)
    mark, on_hub = os.environ.get("EVIL_MARK", ""), job.get("hub")
    roots = [os.path.realpath(os.getcwd()), *([] if on_hub else [real])]
    watched.update(roots=roots, allowed=[*ALLOWED, *roots, *job["allowed"]], hub=on_hub)
    if job.get("first"):  # torch and transformers set variables and filters when they are first used
        with pipeline(model=job["first"]) as pipe:
            pipe(job["inputs"][0])
    before, error, memory, start = (
        state(),
        None,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.process_time(),
    )
    seen.clear()
    watched["on"] = True
    try:
        if job["entry"] == "resolve":
            resolve(given, **{k: v for k, v in keywords.items() if k in ("task", "backend", "hub")})
        elif job["entry"] == "gates":
            both_gates(given, keywords)
        elif job["entry"] == "pipeline":
            with pipeline(model=given, **keywords) as pipe:
                for text in job.get("inputs", ()):
                    pipe(text)
        else:
            load(given, **keywords).close()
    except BaseException as caught:
        error = caught
    finally:
        watched["on"] = False
    seconds = time.process_time() - start
    after = state()
    return {
        "seen": sorted({*seen, *(["evil code left its mark"] if mark and os.path.exists(mark) else [])}),
        "changed": [name for name in before if before[name] != after[name]],
        "seconds": seconds,
        "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024,
        "frameworks": sorted({"torch", "transformers", "numpy", "onnxruntime", "diffusers"} & set(sys.modules)),
        "kind": type(error).__name__ if error else "",
        "exception": isinstance(error, Exception) or error is None,
        "code": getattr(error, "code", None) if error else "",
        "text": str(error) if error else "",
        **{name: getattr(error, name, None) for name in ("source", "file", "field", "grant")},
    }


def both_gates(given: Any, keywords: dict[str, Any]) -> None:
    """Everything of a load that needs no framework: the decision, gate A, the files, gate B."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models import gate
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.loader import files_of
    from modelscope_ext.models.request import Request
    from modelscope_ext.models.resolve import Asked, decide

    request = Request.of(keywords)
    snapshot = Snapshot.from_folder(given)
    evidence = collect(snapshot)
    gate.check_task(request.get("task"), evidence, snapshot, request.grants)
    gate.check_custom_pipeline(request.extra.get("custom_pipeline"), snapshot, request.grants)
    resolution = decide(evidence, Asked(request.get("task"), request.get("backend"), None, evidence))
    engine = BACKENDS.get(resolution.backend) if resolution.backend in BACKENDS else None
    gate.gate_a(resolution, evidence, snapshot, request.grants, engine=engine, base_model=request.get("base_model"))
    files = files_of(resolution, snapshot, engine)
    gate.gate_b(resolution, snapshot, files, request.grants)


def start(job: dict[str, Any], place: str) -> tuple[int, Any]:
    """Fork a child for one case, with a folder of its own for temporary files; return its id and what it will say."""
    os.makedirs(place)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(PATIENCE)
        os.environ.update(TMPDIR=place, EVIL_MARK=place + "-mark")
        tempfile.tempdir = None
        tempfile.gettempdir()
        job["allowed"].append(place)
        text = json.dumps(run(job)).encode()
        while text:
            text = text[os.write(write, text) :]
        os._exit(0)
    os.close(write)
    return child, os.fdopen(read, "rb")


def finish(child: int, pipe: Any) -> dict[str, Any]:
    """Return what happened in a child; how it ended, if it did not end by itself."""
    with pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else {"ended": status, "exception": False, "seen": ["the process ended"]}


def outcomes(jobs: list[dict[str, Any]], at_once: int = 2) -> Iterator[dict[str, Any]]:
    """Yield what happened in each case, in order."""
    running: deque[tuple[int, Any]] = deque()
    base = os.path.realpath(tempfile.mkdtemp())
    for number, job in enumerate(jobs):
        running.append(start(job, os.path.join(base, str(number))))
        if len(running) == at_once:
            yield finish(*running.popleft())
    while running:
        yield finish(*running.popleft())


def warm(folders: list[str], on_hub: bool = False) -> None:
    """Import and read what the first decisions import and read, as in a program that has used the package before."""
    from contextlib import suppress

    for name in (*WARM, *(WARM_CLIENT if on_hub else ())):
        importlib.import_module(name)
    from modelscope_ext.errors import ModelScopeExtError
    from modelscope_ext.models import resolve

    for folder in folders:
        with suppress(ModelScopeExtError):
            resolve.resolve(folder)
        with suppress(ModelScopeExtError):
            both_gates(folder, {})
    resolve.cache_clear()


def main() -> None:
    asked = json.load(sys.stdin)
    warm(asked["harmless"], any("hub" in job for job in asked["jobs"]))
    sys.addaudithook(hook)
    gc.collect()
    gc.freeze()
    json.dump(list(outcomes(asked["jobs"])), sys.stdout)


if __name__ == "__main__":
    main()
