"""Runs the cases of a batch in a process of its own, whose audit hook sees everything: it cannot be taken out again.

Reads jobs as JSON from standard input, writes what happened as JSON to standard output. A job is a folder and a call.
"""

from __future__ import annotations

import glob
import json
import os
import random
import resource
import sys
import sysconfig
import tempfile
import time
import warnings
from typing import Any

ALLOWED = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())]
# Where installers write what is installed: beside this project too, after it was built in its own folder.
ALLOWED += [os.path.realpath(path) for entry in sys.path for path in glob.glob(os.path.join(entry, "*.*-info"))]
ALLOWED += [os.path.realpath(path) for path in ("/proc", "/sys", "/dev/null", "/dev/urandom", "/etc/os-release")]
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")
SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
seen: list[str] = []
watched: dict[str, Any] = {"on": False, "roots": [], "allowed": []}


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
    watched.update(roots=[real, os.path.realpath(os.getcwd())], allowed=[*ALLOWED, real, *job["allowed"]])
    before, error, memory, start = (
        state(),
        None,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.perf_counter(),
    )
    seen.clear()
    watched["on"] = True
    try:
        if job["entry"] == "resolve":
            resolve(given, **{k: v for k, v in keywords.items() if k in ("task", "backend")})
        elif job["entry"] == "gates":
            both_gates(given, keywords, load)
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
    seconds = time.perf_counter() - start
    after = state()
    return {
        "seen": sorted(set(seen)),
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


def both_gates(given: Any, keywords: dict[str, Any], load: Any) -> None:
    """Everything of a load that needs no framework: the decision, gate A, the files, gate B."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models import gate, loader
    from modelscope_ext.models.request import Request
    from modelscope_ext.models.resolve import Asked, decide

    request = Request.of(keywords)
    snapshot = Snapshot.from_folder(given)
    evidence = collect(snapshot)
    gate.check_task(request.get("task"), evidence, snapshot, request.grants)
    resolution = decide(evidence, Asked(request.get("task"), request.get("backend"), None, evidence))
    choice = loader._choose(resolution, evidence, None)
    gate.gate_a(
        resolution, evidence, snapshot, request.grants, engine=choice.engine, base_model=request.get("base_model")
    )
    files = loader._files(resolution, snapshot, choice)
    gate.gate_b(resolution, snapshot, files, request.grants)


def main() -> None:
    jobs = json.load(sys.stdin)
    sys.addaudithook(hook)
    json.dump([run(job) for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
