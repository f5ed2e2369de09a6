"""What holds for every test: no sockets, libraries offline, homes of their own, and a process that is left as found."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from modelscope_ext.testing.fixtures import hub_server  # noqa: F401
from tests.reference import ENVIRONMENT, OFFLINE

# The same examples in every run, so that a red run is the change's fault; `make test-long` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

LOOPBACK = ["127.0.0.1", "::1"]

# A shell starts what it puts into the background with Ctrl-C ignored, and so would be the children of these tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_HOME = tempfile.TemporaryDirectory(prefix="home-")
os.environ.update(OFFLINE)
os.environ.update(
    HF_HOME=str(Path(_HOME.name, "hf")),
    MODELSCOPE_CACHE=str(Path(_HOME.name, "modelscope")),
    XDG_CACHE_HOME=str(Path(_HOME.name, "cache")),
)
for _name in [n for n in os.environ if n.startswith("MODELSCOPE_EXT_")]:
    del os.environ[_name]
ENVIRONMENT.update(os.environ)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the file that says what was proven (`tests/recorder.py`)."""
    parser.addoption("--record-compatibility", type=Path, metavar="FILE", help="write what was proven, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Record where that is asked for."""
    if (path := config.getoption("--record-compatibility")) is not None:
        from tests.recorder import Recorder

        config.pluginmanager.register(Recorder(config, path.absolute()))


#: Where nothing of PyTorch takes part, unless a test says so: these run in the environment `core` only. What the newer
#: client of Hugging Face in the environment `pt` may do differently, the other tests of hubs try there too; that of
#: Modelers is the same one in both.
_LIGHT = (
    *("batch/", "fuzz/", "metadata/", "safety/", "serve/", "utils/"),
    *("hub/test_faults_", "hub/test_names", "hub/test_retry", "hub/test_phase_one", "hub/test_stripes"),
)


#: Markers of environments that have libraries which are nowhere else.
_ELSEWHERE = ("pt_cv", "ms", "olah", "scale", "serve")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need to run once only, and those of special environments."""
    here = Path(__file__).parent
    for item in items:
        name = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        once = name.startswith(_LIGHT) or "[openmind" in item.name or "-openmind" in item.name
        if once and item.get_closest_marker("pt") is None:
            item.add_marker("light")
        if any(item.get_closest_marker(name) for name in _ELSEWHERE):
            item.add_marker("elsewhere")


@pytest.fixture(autouse=True)
def no_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Block every socket but Unix ones.

    A test that uses `hub_server`, or is marked ``allow_hosts(LOOPBACK)``, reaches this machine and no other.
    """
    from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

    if request.node.get_closest_marker("enable_socket"):
        yield
        return
    if "hub_server" in request.fixturenames or request.node.get_closest_marker("allow_hosts"):
        socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    else:
        disable_socket(allow_unix_socket=True)
    try:
        yield
    finally:
        enable_socket()


@pytest.fixture(autouse=True)
def process_left_as_found() -> Iterator[None]:
    """Fail a test after which the working directory, `sys.path` or the environment differ."""
    cwd, path, environment = os.getcwd(), list(sys.path), dict(os.environ)
    yield
    environment["PYTEST_CURRENT_TEST"] = os.environ.get("PYTEST_CURRENT_TEST", "")
    left = dict(os.environ, PYTEST_CURRENT_TEST=environment["PYTEST_CURRENT_TEST"])
    assert os.getcwd() == cwd, "the working directory was changed"
    assert sys.path == path, "sys.path was changed"
    changed = {k for k in {*environment, *left} - _SET_BY_LIBRARIES if environment.get(k) != left.get(k)}
    assert not changed, f"the environment was changed: {sorted(changed)}"


#: Variables that libraries set for their own process when they are first imported.
_SET_BY_LIBRARIES = frozenset(
    (
        "HCCL_CONNECT_TIMEOUT",
        "LD_LIBRARY_PATH",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
        "KMP_DUPLICATE_LIB_OK",
        "KMP_INIT_AT_FORK",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "HF_MODULES_CACHE",
    )
)


@pytest.fixture(scope="session")
def torchvision_ops() -> None:
    """Make torchvision importable beside a CPU torch; for the tests of the environment `pt-cv` alone."""
    from tests.tiny.torchvision_ops import define

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        define()


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which fixtures of the session build their tiny models, once each."""
    return tmp_path_factory.mktemp("tiny")
