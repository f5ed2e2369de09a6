"""Load twenty hostile folders with modelscope, transformers, diffusers and this package, and write docs/safety.md.

    python scripts/measure_safety.py [--json FILE]

Each library is imported once in a process of its own; each case is a fork of it, with a hook that sees every program,
socket and opened file (programs and sockets are stopped there, so nothing reaches a network), a file that code of the
folder would leave behind, and bounds of 20 seconds and 1.5 GB. No library is given any trust.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

#: Of processor, so that a busy machine makes nobody look slow; a case that waits is given ten times as long.
SECONDS, BYTES = 20.0, 1_500_000_000
#: Case -> what a reader sees, and the task that is asked for.
CASES: Mapping[str, str] = {
    "A01": "config.json names the folder's evil.py",
    "A02": "tokenizer_config.json names it, and trusts itself",
    "A05": "custom_pipelines names it for the task that is asked for",
    "A07": "configuration.json with allow_remote, ms_wrapper.py beside it",
    "A09": "configuration.json asks for a plug-in of pip",
    "A17": "model_index.json names pipeline.py",
    "A18": "a component of the pipeline is evil.py",
    "A20-os": "a component of the pipeline is os.system",
    "B01": "pytorch_model.bin calls os.system",
    "B12": "pytorch_model.bin: 10^12 elements in 24 bytes",
    "C01": "the index of shards names ../../outside",
    "C04": "model.safetensors is a link out of the folder",
    "C05": "config.json is a link out of the folder",
    "D01": "an adapter whose base is attacker/other",
    "D01+audio": "a processor whose audio tokenizer is attacker/other",
    "D03": "auto_map names code of attacker/other",
    "E01": "config.json, 200 000 brackets deep",
    "E05": "config.json with model_type twice",
    "E25-within": "vocabulary and width declare 2^41 elements, the file has 8 bytes",
    "E23-bert": "num_hidden_layers is 1 000 000",
}


def _transformers(folder: str, task: str) -> None:
    from transformers import AutoModel, AutoProcessor, AutoTokenizer, pipeline

    if task == "evil-task":
        pipeline(task, model=folder)
    elif Path(folder, "processor_config.json").exists():
        AutoProcessor.from_pretrained(folder)
    elif Path(folder, "tokenizer_config.json").exists():
        AutoTokenizer.from_pretrained(folder)
    AutoModel.from_pretrained(folder)


def _diffusers(folder: str, task: str) -> None:
    from diffusers import DiffusionPipeline

    DiffusionPipeline.from_pretrained(folder)


def _modelscope(folder: str, task: str) -> None:
    from modelscope.pipelines import pipeline

    pipeline(task, model=folder)


def _ours(folder: str, task: str) -> None:
    from modelscope_ext import pipeline

    pipeline(task if task == "evil-task" else None, folder).close()


#: Column -> (what is imported before, the call that its users make).
LIBRARIES: Mapping[str, tuple[str, Callable[[str, str], None]]] = {
    "modelscope": ("modelscope.pipelines", _modelscope),
    "transformers": ("transformers.models.auto", _transformers),
    "diffusers": ("diffusers.pipelines", _diffusers),
    "this package": ("modelscope_ext.models.loader", _ours),
}
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
_SOCKETS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")


def observed(call: Callable[[str, str], None], folder: Path, task: str, mark: str) -> dict[str, Any]:
    """Run one case here, in a child that is thrown away, and return what was seen."""
    seen: list[str] = []
    outside = str(folder.parent / (folder.name + "-outside"))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(_PROGRAMS):
            seen.append(f"program {args[0] if isinstance(args[0], str) else ''} {args[1:2]}"[:200])
            raise PermissionError("stopped by the measurement")
        if event in _SOCKETS:
            seen.append("network")
            raise PermissionError("stopped by the measurement")
        if event == "open" and isinstance(args[0], str) and os.path.realpath(args[0]).startswith(outside):
            seen.append("outside")

    sys.addaudithook(hook)
    error: BaseException | None = None
    try:
        call(str(folder), task)
    except BaseException as caught:  # noqa: BLE001 - whatever it is, it is the answer
        error = caught
    return {"error": type(error).__name__ if error else "", "text": str(error)[:300], "seen": sorted(set(seen)),
            "ran": Path(mark).exists()}  # fmt: skip


def library(name: str, folders: Mapping[str, str], temporary: str) -> dict[str, dict[str, Any]]:
    """Return what one library does with every folder; it is imported here."""
    import importlib

    module, call = LIBRARIES[name]
    importlib.import_module(module)
    return {case: _child(call, Path(folder), case, temporary) for case, folder in folders.items()}


def _child(call: Callable[[str, str], None], folder: Path, case: str, temporary: str) -> dict[str, Any]:
    mark = str(Path(temporary, f"mark-{case}"))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["EVIL_MARK"] = mark
        os.close(read)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        answer = observed(call, folder, "evil-task" if case == "A05" else "fill-mask", mark)
        os.write(write, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(write)
    start, why = time.monotonic(), ""
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if _used(child) > SECONDS or time.monotonic() - start > 10 * SECONDS:
            why = f"no end within {SECONDS:.0f} s"
        elif _resident(child) > BYTES:
            why = f"more than {BYTES / 1e9:.1f} GB"
        if why:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.02)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    if why or not text:
        return {"ended": why or f"ended by signal {status & 127}", "seen": [], "ran": Path(mark).exists()}
    return json.loads(text)


def _used(process: int) -> float:
    """Return the seconds of processor that a child has used."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def told(answer: Mapping[str, Any]) -> str:
    """Return one cell of the table."""
    words = []
    if answer["ran"]:
        words.append("**runs it**")
    if any(one.startswith("program") for one in answer["seen"]):
        words.append("**starts a program**")
    if "network" in answer["seen"]:
        words.append("**contacts the network**")
    if "outside" in answer["seen"]:
        words.append("**reads outside the folder**")
    if answer.get("ended"):
        words.append(f"**{answer['ended']}**")
    elif answer["error"]:
        words.append(answer["error"])
    else:
        words.append("loads")
    return ", ".join(words)


def measure() -> dict[str, Any]:
    """Write the folders, start each library, and return the answers."""
    from tests.safety.cases import CASES as TABLE
    from tests.safety.invented import INVENTED

    by_id = {case.id: case for case in (*TABLE, *INVENTED)}
    answers, versions = {}, {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        for name in LIBRARIES:
            root = Path(place, name.replace(" ", "-"))
            folders = {case: str(by_id[case].write(root / case.replace("+", "-"))) for case in CASES}
            job = json.dumps({"library": name, "folders": folders, "temporary": str(root)})
            offline = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, "--child"], input=job, env=offline, cwd=root,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
            answers[name] = json.loads(done.stdout.splitlines()[-1])
            versions[name] = _version("modelscope_ext" if name == "this package" else name)
    return {"versions": versions, "python": sys.version.split()[0], "answers": answers}


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def page(run: Mapping[str, Any]) -> str:
    """Return docs/safety.md."""
    names = list(LIBRARIES)
    head = ["", *(f"{name} {run['versions'][name]}" if name != "this package" else name for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for case, title in CASES.items():
        cells = [told(run["answers"][name][case]) for name in names]
        lines.append("| " + " | ".join([title.replace("|", "\\|"), *cells]) + " |")
    return _INTRODUCTION.format(python=run["python"]) + "\n".join(lines) + _END


_INTRODUCTION = """\
# Hostile folders: what loaders do

Written by `scripts/measure_safety.py` from one run (Python {python}). Twenty folders of `tests/safety`, each loaded by
the call that a library's users make, without any trust, each in a process of its own that watches for programs,
sockets, opened files and a mark that the folder's code would leave. Programs and sockets are stopped, so what would
have come after them is not seen. In bold: what a stranger's folder should not be able to bring about. A plain name is
the error that the load ended with; a library that does not know a format ends with an error for that reason alone.

"""
_END = """

`modelscope-ext inspect --security MODEL` says all of this about a folder without loading it; `SECURITY.md` says what is
promised.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the answers here too")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        job = json.load(sys.stdin)
        print("\n" + json.dumps(library(job["library"], job["folders"], job["temporary"])))
        return 0
    run = measure()
    if args.json:
        args.json.write_text(json.dumps(run, indent=1), encoding="utf-8")
    (ROOT / "docs" / "safety.md").write_text(page(run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
