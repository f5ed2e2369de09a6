"""Fixtures of the fault matrix: one test runs for each hub."""

from __future__ import annotations

import pytest

from modelscope_ext.hub import download, retry
from tests.hub.world import World

#: Modelers' client is where it is installed only: the tox environment `hubs`.
EACH_HUB = ["huggingface", "modelscope", pytest.param("openmind", marks=pytest.mark.om)]


@pytest.fixture(params=EACH_HUB)
def hub_name(request):
    return request.param


@pytest.fixture
def world(hub_name, tmp_path, monkeypatch):
    """A `World` of one hub; its server is closed at the end, and must not have failed itself."""
    made = World(hub_name, tmp_path, monkeypatch)
    with made.server:
        yield made


@pytest.fixture
def impatient(monkeypatch):
    """Make waiting between two tries short: the clock is not what is tested."""
    for module in (download, retry):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)
