"""Fixtures of pytest: ``from modelscope_ext.testing.fixtures import hub_server`` in a conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelscope_ext.testing.hub_server import HubServer

__all__ = ["hub_server"]


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """A hub server that lasts for one test; see `modelscope_ext.testing.hub_server`."""
    with HubServer() as server:
        yield server
