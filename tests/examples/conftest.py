"""Installs the packages of `examples/` with pip, offline, into folders of the session, and runs Python with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reference import OFFLINE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Site:
    """A folder with installed packages, outside every folder that a test works in."""

    path: Path
    sources: Path

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with the installed packages and this one, without sockets to fall back on."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=300,
            env={**environment, **OFFLINE, "PYTHONPATH": os.pathsep.join((str(self.path), str(ROOT)))},
        )


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Site]:
    """Return a function that installs packages of `examples/` together into one new folder."""

    def make(*names: str) -> Site:
        folder = tmp_path_factory.mktemp("examples")
        site = Site(folder / "site", folder / "sources")
        for name in names:
            shutil.copytree(EXAMPLES / name, site.sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        pip = ["-m", "pip", "--quiet", "install", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
        done = site.run(*pip, "--target", str(site.path), *(str(site.sources / name) for name in names), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return site

    return make


@pytest.fixture(scope="session")
def site(install: Callable[..., Site]) -> Site:
    """The three packages that do something, installed together."""
    return install("model_by_decorator", "modelscope_style", "backend_entry_point")


@pytest.fixture(scope="session")
def same_key(install: Callable[..., Site]) -> Site:
    """The two packages that register one key, installed together."""
    return install("same_key_one", "same_key_two")
