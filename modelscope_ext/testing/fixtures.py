"""Fixtures of pytest: ``from modelscope_ext.testing.fixtures import hub_server`` in a conftest.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from modelscope_ext.testing.hub_server import HubServer

__all__ = ["hub_server"]


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub server that lasts for one test; see `modelscope_ext.testing.hub_server`.

    ``huggingface_hub`` reads ``HF_HUB_OFFLINE`` once, when it is imported, and suites of tests often set it: a client
    that is imported already is online until the test ends.
    """
    if (constants := sys.modules.get("huggingface_hub.constants")) is not None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with HubServer() as server:
        yield server
