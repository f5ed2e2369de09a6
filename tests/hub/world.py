"""One hub, one empty cache, and what has to hold after every fault; shared by the tests of the fault matrix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from modelscope_ext.hub import hubs
from modelscope_ext.hub.download import download, work_to_do
from modelscope_ext.hub.protocol import Access
from modelscope_ext.hub.remote import listing_of
from modelscope_ext.testing.hub_server import Generated, HubServer

REPO = "org/model"
BIG = Generated(5_000_000)
WEIGHTS = "sub/model.safetensors"
FILES = {"README.md": "# A model\n", "config.json": "{}", "empty.txt": "", "sub/deep/vocab.txt": "a\nb\n", WEIGHTS: BIG}
#: Settings of `hub.stripes` with which a file of a few MiB is fetched in as many streams as there may be.
STRIPED = {"LARGE": 2**20, "_STRIPE": 2**20, "LOOK": 0.001, "ENOUGH": 1e18, "WORTH": 0}
#: Files that are no content: locks, notes, and which commit a branch was at.
_NOTES = (".lock", "verified.json", "CACHEDIR.TAG", ".gitignore")


def bytes_of(content):
    """Return the bytes that a value of a mapping of files stands for."""
    return content.encode() if isinstance(content, str) else content if isinstance(content, bytes) else content.read()


class World:
    """A hub with the repo ``org/model``, our way to it, and folders of its own."""

    def __init__(self, name, root, monkeypatch, files=FILES, **options):
        self.name, self.root, self.files = name, root, dict(files)
        self.server = HubServer([name], **options)
        self.environment = self.server.environment()
        for variable, value in self.environment.items():
            monkeypatch.setenv(variable, value)
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        self.hub = hubs.hub_of(name)
        self.server.add(REPO, self.files)
        self.cache = root / "cache"
        self.access = Access(cache_dir=self.cache)
        (root / "outside").mkdir()
        (root / "outside/precious.txt").write_text("precious")

    @property
    def faults(self):
        return self.server.faults

    def listing(self, revision=None, **access):
        return listing_of(self.hub, REPO, revision, self._access(access))

    def fetch(self, names=None, revision=None, **access):
        """Do what a load does: ask for the listing, fetch the files, return their folder."""
        listing = self.listing(revision, **access)
        wanted = [file.name for file in listing.files] if names is None else names
        return download(self.hub, listing, wanted, self._access(access), progress=False)

    def _access(self, changes):
        return Access(**{"cache_dir": self.cache, **changes})

    def arrived(self):
        """Bytes of the weights that a download which did not end has left."""
        return work_to_do(self.hub, self.hub.listing(REPO, None, self.access), [WEIGHTS], self.access).arrived

    def bodies(self, file=WEIGHTS):
        """Bytes of a file that were sent since the requests were last cleared."""
        answers = [r for r in self.server.requests if r.file == file and r.route in ("file", "cdn")]
        return sum(r.sent for r in answers if r.status in (200, 206))

    def served_by_cache(self):
        """What a client would take for files of the model: by name, for every revision in the cache."""
        for folder in (*self.cache.rglob("snapshots/*/"),):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield path.relative_to(folder).as_posix(), path

    def check(self, files=None):
        """Hold what has to hold at any moment: nothing outside the cache, and nothing wrong inside it."""
        right = self.files if files is None else files
        for name, path in self.served_by_cache():
            base = path.name
            if base.startswith(".") and base.endswith(".tmp"):
                continue
            assert name in right, f"{path} is no file of the model"
            assert path.read_bytes() == bytes_of(right[name]), f"{path} is corrupt"
        for blob in self.cache.rglob("blobs/*"):
            if not blob.name.endswith((".tmp", ".incomplete")):
                assert blob.read_bytes() in {bytes_of(c) for c in right.values()}, f"{blob} is corrupt"
        everything = {p.relative_to(self.root).parts[0] for p in self.root.rglob("*")}
        assert everything <= {"cache", "outside"}
        assert [p.name for p in (self.root / "outside").iterdir()] == ["precious.txt"]
        assert (self.root / "outside/precious.txt").read_text() == "precious"

    def heals_within_a_call(self):
        """Hold that one call succeeds while the fault lasts."""
        folder = self.fetch()
        for name, content in self.files.items():
            assert (folder / name).read_bytes() == bytes_of(content), name
        self.check()

    def heals(self, **access):
        """Hold that the next call succeeds when the fault is over, and leaves nothing lying about."""
        self.faults.clear()
        folder = self.fetch(**access)
        for name, content in self.files.items():
            assert (folder / name).read_bytes() == bytes_of(content), name
        self.check()
        left = [
            p
            for p in self.cache.rglob("*")
            if p.name.endswith((".part", ".stripes", ".map", ".tmp", ".copy", ".incomplete"))
        ]
        assert left == []
        return folder


CHILD = """
import json, sys
from pathlib import Path
arg = json.loads(sys.argv[1])
for setting in arg["limits"]:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (setting, resource.RLIM_INFINITY))
import socket
from urllib3.connection import HTTPConnection
HTTPConnection.default_socket_options += [(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)]  # what is sent nearly arrived
from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.hub import stripes
from modelscope_ext.hub.download import download
from modelscope_ext.hub.hubs import hub_of
from modelscope_ext.hub.protocol import Access
for name, value in arg["striped"].items():
    setattr(stripes, name, value)
hub, access = hub_of(arg["hub"]), Access(cache_dir=Path(arg["cache"]))
listing = hub.listing(arg["repo"], None, access)
print("listed", flush=True)
sys.stdin.readline()
try:
    folder = download(hub, listing, [file.name for file in listing.files], access, progress=False)
except ModelScopeExtError as error:
    print(type(error).__name__, error, flush=True)
else:
    print("done", folder, flush=True)
"""


def child(world, *, limit=None, striped=False):
    """Start a process that lists the repo, says so, waits for a line, and fetches it."""
    arg = {"hub": world.name, "repo": REPO, "cache": str(world.cache), "limits": [limit] if limit else []}
    arg["striped"] = STRIPED if striped else {}
    environment = {**os.environ, **world.environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(arg)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout.readline() == "listed\n", process.communicate()[1]
    return process


def go(process):
    """Let a `child` begin."""
    process.stdin.write("\n")
    process.stdin.flush()


def end(process):
    """Return what a `child` said at its end."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()
