"""`init --push`: shown, agreed to, and pushed through the hub's own client."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.cli.folders import BERT, safetensors
from tests.conftest import LOOPBACK

pytestmark = pytest.mark.allow_hosts(LOOPBACK)


@pytest.fixture(params=["huggingface", "modelscope", pytest.param("openmind", marks=pytest.mark.om)])
def hub(request, hub_server, monkeypatch, tmp_path):
    files = {"config.json": json.dumps(BERT), "model.safetensors": safetensors()}
    hub_server.add("org/model", files, tokens=["s3cret"])
    for name, value in hub_server.environment(request.param).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return request.param


class Terminal(io.StringIO):
    def isatty(self):
        return True


def pushed(server, hub):
    """Return configuration.json as it is on the hub now, and on the branch of a pull request."""
    repo = server.store.repos["org/model"]
    found = [repo.find("main"), *(repo.find(f"refs/pr/{n}") for n in (1, 2))]
    texts = [c.files.get("configuration.json") if c else None for c in found]
    return [json.loads(t.read()) if t else None for t in texts]


def test_nobody_can_be_asked(cli, hub, hub_server):
    done = cli("init", "org/model", "--hub", hub, "--push", "--token", "s3cret")
    assert done.code == 2 and "pass --yes" in done.err
    assert '+  "framework": "pytorch",' in done.out  # shown first
    assert pushed(hub_server, hub) == [None, None, None]


def test_yes(cli, hub, hub_server):
    done = cli("init", "org/model", "--hub", hub, "--push", "--yes", "--token", "s3cret")
    assert done.code == 0, done.err
    assert '+  "framework": "pytorch",' in done.out
    # openMind's client logs to a stream that pytest has closed, and logging shows the line of this test.
    assert "s3cret" not in done.out + (done.err if hub != "openmind" else "")
    main, pull, second = pushed(hub_server, hub)
    if hub == "huggingface":
        assert main is None and pull["backend"] == "transformers" and "proposed: http" in done.err
    else:
        assert main["backend"] == "transformers" and pull is None and "pushed: http" in done.err
        again = cli("init", "org/model", "--hub", hub, "--push", "--yes", "--token", "s3cret")
        assert again.code == 0 and "complete already" in again.err
    assert second is None


def test_json(cli, hub, hub_server):
    done = cli("init", "org/model", "--hub", hub, "--push", "--yes", "--token", "s3cret", "--json")
    answer = json.loads(done.out)
    assert answer["pushed"] is True and answer["configuration"]["framework"] == "pytorch"
    assert answer["proposed"] is (hub == "huggingface")


def test_a_dry_run(cli, hub, hub_server):
    done = cli("init", "org/model", "--hub", hub, "--push", "--dry-run")
    assert done.code == 0 and "would push" in done.err and '+  "framework": "pytorch",' in done.out
    assert pushed(hub_server, hub) == [None, None, None]


@pytest.mark.parametrize("answer", ["n\n", "", "y\n"])
def test_who_sits_there_is_asked(cli, hub, hub_server, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr("modelscope_ext.cli.init.is_terminal", lambda stream: True)
    done = cli("init", "org/model", "--hub", hub, "--push", "--token", "s3cret")
    assert "[y/N]" in done.err and done.code == (0 if answer == "y\n" else 1)
    assert any(pushed(hub_server, hub)) is (answer == "y\n")


def test_without_a_right_to_push(cli, hub, hub_server):
    done = cli("init", "org/model", "--hub", hub, "--push", "--yes", "--token", "wrong")
    assert done.code in (3, 8) and "wrong" not in done.err.replace("wrong usage", "")
    assert pushed(hub_server, hub) == [None, None, None]


def test_a_hub_needs_push_and_a_folder_does_not(cli, hub, make_model):
    done = cli("init", "org/model", "--hub", hub)
    assert done.code == 2 and "--push" in done.err
    done = cli("init", make_model(), "--push")
    assert done.code == 2 and "is a folder" in done.err
