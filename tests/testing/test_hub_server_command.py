"""The hub server around a command, and as a fixture, as its page says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import LOOPBACK

pytestmark = pytest.mark.allow_hosts(LOOPBACK)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/hub-server.md").read_text("utf-8")
ASK = """
import os, urllib.request
print(urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/org/model/resolve/main/config.json").read().decode())
raise SystemExit(7)
"""


def served(*arguments, **options):
    command = [sys.executable, "-m", "modelscope_ext.testing.hub_server", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tiny-bert"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (made / "model.safetensors").write_bytes(b"")
    return made


def test_a_command_runs_with_its_hubs_and_its_status_is_ours(folder, tmp_path):
    log = tmp_path / "log.jsonl"
    arguments = ["--hub", "huggingface", f"org/model={folder}", "--requests", log]
    process = served(*arguments, "--", sys.executable, "-c", ASK)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    assert json.loads(out)["model_type"] == "bert"
    [request] = [json.loads(line) for line in log.read_text().splitlines()]
    assert (request["file"], request["status"], request["authorized"]) == ("config.json", 200, False)
    assert "token" not in request


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_without_a_command_it_serves_until_it_is_interrupted(folder, how):
    process = served("--hub", "modelscope", f"org/model={folder}")
    try:
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if "MODELSCOPE_ENDPOINT" in line).strip().rpartition("=")[2]
        with urllib.request.urlopen(f"{address}/api/v1/models/org/model/repo?FilePath=config.json") as answer:
            assert json.loads(answer.read())["model_type"] == "bert"
    finally:
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("repo", "said"), [("org/model", "expected ORG/NAME=FOLDER"), ("org/model=nowhere", "nowhere")]
)
def test_what_cannot_be_served_is_said(repo, said):
    _, err = (process := served(repo)).communicate(timeout=60)
    assert process.returncode == 2
    assert said in err


def test_the_fixture_works_as_the_page_says(folder, tmp_path):
    for name in ("conftest.py", "test_loading.py"):
        [block] = re.findall(rf"^```py\n# {name}\n(.*?)^```", PAGE, re.M | re.S)
        (tmp_path / name).write_text(block)
    (tmp_path / "tests/models").mkdir(parents=True)
    folder.rename(tmp_path / "tests/models/tiny-bert")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_loading.py")],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
