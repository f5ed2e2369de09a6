"""A hub that is served here, with caches and variables of its own; and what the tests of the fault matrix share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelscope_ext.hub import retry, transfer
from modelscope_ext.hub.hubs import access_of, hub_of
from modelscope_ext.hub.protocol import Access, Hub
from modelscope_ext.hub.remote import snapshot
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.testing.hub_server import HubServer, Request
from tests.hub.world import STRIPED, World

HUBS = ("modelscope", "huggingface", "openmind")


@dataclass
class Served:
    """One hub of a server, as its client sees it."""

    server: HubServer
    name: str

    @property
    def hub(self) -> Hub:
        return hub_of(self.name)

    def access(self, **keywords) -> Access:
        return access_of(**keywords)

    def open(
        self, repo: str = "org/model", revision: str | None = None, subfolder: str | None = None, **keywords
    ) -> Snapshot:
        return snapshot(self.hub, repo, revision, access_of(**keywords), subfolder=subfolder)

    def asked(self) -> list[Request]:
        """What this hub was asked for so far; the client's own side requests left out."""
        own = [r for r in self.server.requests if r.route not in ("agents", "connect", "tunnel") and r.hub != "proxy"]
        return [r for r in own if r.hub == self.name]


def needs_client(name: str) -> None:
    if name == "openmind" and importlib.util.find_spec("openmind_hub") is None:
        pytest.skip("openmind-hub is an extra; the environment `core` has it")


@pytest.fixture
def online(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    """The server, with all variables leading to it and to empty caches."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "MODELSCOPE_API_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "HF_HOME": tmp_path / "hf", "MODELSCOPE_CACHE": tmp_path / "ms", "XDG_CACHE_HOME": tmp_path / "cache",
        "MODELSCOPE_HOME": tmp_path / "ms-home", "MODELSCOPE_EXT_CACHE": tmp_path / "own",
    }  # fmt: skip
    for name, value in {**hub_server.environment("huggingface", "modelscope"), **variables}.items():
        monkeypatch.setenv(name, str(value))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    return hub_server


@pytest.fixture(params=HUBS[:2])
def main_hub(request: pytest.FixtureRequest, online: HubServer) -> Served:
    """The two hubs that need no certificates: for tests of many cases."""
    return Served(online, request.param)


@pytest.fixture(params=HUBS)
def served(request: pytest.FixtureRequest, online: HubServer, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Each of the hubs in turn."""
    needs_client(request.param)
    if request.param == "openmind":
        for name, value in online.environment("openmind").items():
            monkeypatch.setenv(name, value)
    return Served(online, request.param)


@pytest.fixture(params=HUBS)
def hub_name(request: pytest.FixtureRequest) -> str:
    """Each of the hubs in turn, by name."""
    needs_client(request.param)
    return str(request.param)


@pytest.fixture
def world(hub_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A `World` of one hub; its server is closed at the end, and must not have failed itself."""
    made = World(hub_name, tmp_path, monkeypatch)
    with made.server:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waiting between two tries short: the clock is not what is tested."""
    for module in (transfer, retry):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)


@pytest.fixture
def striped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch files from 1 MiB on in several streams, as files from 128 MiB on are fetched."""
    from modelscope_ext.hub import stripes

    for name in STRIPED:
        monkeypatch.setattr(stripes, name, STRIPED[name])
