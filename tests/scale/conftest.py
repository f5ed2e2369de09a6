"""Two nodes of Ray for the tests that ask for them, without a word of Ray in this process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.batch.data import ROOT, environment

#: For every process of Ray: this machine alone, and no report of use.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Nodes:
    """A running cluster."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scale.cluster"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=env,
        )  # fmt: skip
        self.address = self._read()["address"]

    def ask(self, what: str) -> dict[str, object]:
        """Send a command and return its answer."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Stop the cluster."""
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _read(self) -> dict[str, object]:
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("the cluster ended")


@pytest.fixture(scope="session")
def ray_environment() -> Iterator[dict[str, str]]:
    """What every process of Ray is given; the names of its sockets have to be short."""
    folder = tempfile.mkdtemp(prefix="r")
    yield {**QUIET, "RAY_TMPDIR": folder}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_cluster(ray_environment) -> Iterator[object]:
    """Return a function that starts a cluster with further variables."""
    started: list[Nodes] = []

    def start(**more: object) -> Nodes:
        started.append(Nodes(environment(**ray_environment, **more)))
        return started[-1]

    yield start
    for nodes in started:
        nodes.close()
