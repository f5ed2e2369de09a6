"""Downloads from a hub server on this machine, ours beside the official client's: time, processor time and memory.

The server is a process of its own and serves files from the disk. Each download is a fresh process with an empty cache,
which measures itself from before its listing to the last file, imports aside.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.measure import Cost, Timer

__all__ = ["DOWNLOADS", "Download"]

#: Megabytes of the large file; less where time or room is short (the ratio stays the claim).
LARGE = int(os.environ.get("BENCH_DOWNLOAD_MB", "2000"))
_SMALL, _SMALL_BYTES = 200, 20_000

_MEASURED = """
import json, os, resource, sys, time
arg = json.loads(sys.argv[1])
os.environ.update(arg["environment"])
{imports}
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
begun, used = time.perf_counter(), cpu()
{work}
took = {{"seconds": time.perf_counter() - begun, "cpu": cpu() - used}}
took["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
took["files"] = sum(os.path.isfile(os.path.join(root, f)) for root, _, names in os.walk(folder) for f in names)
print(json.dumps(took))
"""
#: A process inherits the largest size of the one that starts it: this one is small.
_BARE = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
_OURS = """
from pathlib import Path
from modelscope_ext.hub.download import download
from modelscope_ext.hub.hubs import access_of, hub_of
import filelock, requests
__import__({"huggingface": "huggingface_hub", "modelscope": "modelscope_hub"}[arg["hub"]])
hub = hub_of(arg["hub"])
""", """
access = access_of(cache_dir=arg["cache"])
listing = hub.listing(arg["repo"], None, access)
folder = download(hub, listing, [file.name for file in listing.files], access)
"""  # fmt: skip
_THEIRS = {
    "huggingface": ("from huggingface_hub import snapshot_download", """
folder = snapshot_download(arg["repo"], cache_dir=arg["cache"])
"""),
    "modelscope": ("from modelscope_hub import HubApi", """
folder = HubApi(endpoint=os.environ["MODELSCOPE_ENDPOINT"]).download_repo(arg["repo"], "model", cache_dir=arg["cache"])
"""),
}  # fmt: skip


@dataclass(frozen=True)
class Download:
    """One download.

    Attributes:
        hub: Whose client is the other side.
        repo: ``"bench/large"`` or ``"bench/small"``.
        title: What a reader sees.
    """

    hub: str
    repo: str
    title: str

    def sides(self, scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
        """Return the two sides' wall time and peak memory."""
        ours, theirs = self._runs(scratch)
        return ("ours", lambda: _cost(ours())), (f"{self.hub}'s client", lambda: _cost(theirs()))

    def processor(self, scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
        """Return the two sides' processor time; one pass of sha256 over the same bytes is added to the client's."""
        ours, theirs = self._runs(scratch)
        return (
            ("ours", lambda: Cost(ours()["cpu"])),
            (f"{self.hub}'s client + sha256", lambda: Cost(theirs()["cpu"] + _sha256(self.repo))),
        )

    def _runs(self, scratch: Path) -> tuple[Callable[[], dict[str, float]], Callable[[], dict[str, float]]]:
        return self._run(scratch, _OURS), self._run(scratch, _THEIRS[self.hub])

    def _run(self, scratch: Path, parts: tuple[str, str]) -> Callable[[], dict[str, float]]:
        code = _MEASURED.format(imports=parts[0], work=parts[1])

        def run() -> dict[str, float]:
            into = Path(tempfile.mkdtemp(dir=scratch))
            try:
                arg = {"environment": _served(), "hub": self.hub, "repo": self.repo, "cache": str(into)}
                command = [sys.executable, "-I", "-S", "-c", _BARE, sys.executable, "-c", code, json.dumps(arg)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{self.title} ended with {done.returncode}: {done.stderr[-2000:]}")
                found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
                if found["files"] < len(list(_files(self.repo).iterdir())):
                    raise AssertionError(f"{self.title}: only {found['files']} files are there")
                return found
            finally:
                shutil.rmtree(into)

        return run


def _cost(found: dict[str, float]) -> Cost:
    return Cost(found["seconds"], int(found["peak"]))


def _sha256(repo: str) -> float:
    """Return the seconds of processor time of one pass over the repo's files."""
    begun, digest = time.process_time(), hashlib.sha256()
    for path in _files(repo).iterdir():
        with path.open("rb") as file:
            while piece := file.read(2**20):
                digest.update(piece)
    return time.process_time() - begun


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="bench-hub-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def _files(repo: str) -> Path:
    """Make the files of a repo, once for a run."""
    folder = _root() / repo.rpartition("/")[2]
    folder.mkdir()
    if repo == "bench/large":
        block = os.urandom(2**20)
        with (folder / "model.safetensors").open("wb") as file:
            for number in range(LARGE * 10**6 // 2**20):
                file.write(number.to_bytes(8, "little") + block[8:])
        return folder
    for number in range(_SMALL):
        (folder / f"part-{number:03}.json").write_bytes(os.urandom(_SMALL_BYTES))
    return folder


@cache
def _served() -> dict[str, str]:
    """Start the server, once for a run, and return the variables that lead to it."""
    repos = [f"{repo}={_files(repo)}" for repo in ("bench/large", "bench/small")]
    command = [sys.executable, "-m", "modelscope_ext.testing.hub_server", *repos, "--no-cdn"]
    server = subprocess.Popen(
        [*command, "--hub", "huggingface", "--hub", "modelscope"], stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.terminate)
    found: dict[str, str] = {}
    assert server.stdout is not None
    while not {"HF_ENDPOINT", "MODELSCOPE_ENDPOINT"} <= set(found):
        name, _, value = server.stdout.readline().removeprefix("export ").strip().partition("=")
        found[name] = value.strip("'")
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "MODELSCOPE_EXT_OFFLINE": "0", "HF_HUB_OFFLINE": "0"}
    return {**found, **quiet, "HF_HUB_DISABLE_XET": "1", "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false"}


DOWNLOADS = {
    f"{kind}-{short}": Download(hub, f"bench/{kind}", f"{what} from {title}")
    for kind, what in (("large", f"{LARGE / 1000:g} GB file"), ("small", f"{_SMALL} small files"))
    for short, hub, title in (("hf", "huggingface", "Hugging Face"), ("ms", "modelscope", "ModelScope"))
}
