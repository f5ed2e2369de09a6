"""A second server, written by others: what we take for Hugging Face's protocol is what they take for it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from modelscope_ext.hub.download import download
from modelscope_ext.hub.hubs import hub_of
from modelscope_ext.hub.protocol import Access
from modelscope_ext.hub.remote import snapshot
from modelscope_ext.testing.hub_server import Generated
from tests.conftest import LOOPBACK

pytestmark = [pytest.mark.allow_hosts(LOOPBACK), pytest.mark.olah]

BIG = Generated(2_000_000)
FILES = {
    "README.md": b"# A model\n",
    "config.json": b'{"model_type": "bert"}',
    "sub/vocab.txt": b"a\nb\n",
    "model.safetensors": BIG.read(),
}


def git(folder, *arguments):
    identity = ["-c", "user.name=user", "-c", "user.email=user@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def olah(tmp_path, monkeypatch):
    """The address of a server that mirrors one git repository and nothing else, and the commit of that."""
    repo = tmp_path / "mirror/models/org/model"
    repo.mkdir(parents=True)
    for name, data in FILES.items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_bytes(data)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "Add the files")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "olah.toml"
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{tmp_path / "repos"}"\n'
        f'mirrors-path = ["{tmp_path / "mirror"}"]\n[accessibility]\noffline = true\n'
    )
    with (tmp_path / "olah.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "olah.server", "--config", str(config), "--log-path", str(tmp_path / "logs")],
            stdout=log, stderr=log, cwd=tmp_path, env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{address}/api/models/org/model/revision/main", process, tmp_path / "olah.log")
        for variable, value in {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(variable, value)
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield git(repo, "rev-parse", "HEAD")
    finally:
        process.terminate()
        process.wait(30)


def await_answer(url, process, log):
    began = time.monotonic()
    while time.monotonic() - began < 60:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer within a minute: {log.read_text()[-2000:]}")


def test_a_model_is_listed_read_and_fetched(olah, tmp_path):
    access = Access(cache_dir=tmp_path / "cache")
    listing = hub_of("huggingface").listing("org/model", None, access)
    assert listing.commit == olah
    assert {f.name: f.size for f in listing.files} == {name: len(data) for name, data in FILES.items()}
    opened = snapshot(hub_of("huggingface"), "org/model", None, access)
    assert opened.read("config.json", 0, 100) == FILES["config.json"]
    folder = download(hub_of("huggingface"), listing, list(FILES), access, progress=False)
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == BIG.sha256
    assert {n: (folder / n).read_bytes() for n in FILES} == FILES
