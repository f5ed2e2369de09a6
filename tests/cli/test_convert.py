"""`modelscope-ext convert`: what it prints, how it fails, the bar on a real terminal, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_progress import drained, screen
from tests.tiny import checkpoints

ROOT = Path(__file__).parents[2]


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_says_what_was_made(cli, tmp_path):
    source = checkpoints.build(tmp_path / "hf", "qwen2", "BF16")
    done = cli("convert", source, tmp_path / "ms", "--to", "mindformers")
    assert (done.code, left(tmp_path)) == (0, ["hf", "ms"])
    for said in ("mindformers (mindspore), made of a qwen2", "text-generation", "27 tensors", "bfloat16", "4 files"):
        assert said in done.out
    assert "run it: modelscope-ext run" in done.err
    again = cli("convert", tmp_path / "ms", tmp_path / "back", "--to", "transformers", "--json")
    assert json.loads(again.out)["model_type"] == "qwen2"
    assert again.err == ""
    assert checkpoints.contents(tmp_path / "back") == checkpoints.contents(source)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "mindformer"], 2, "Did you mean 'mindformers'?"),
        ([], 2, "--to"),
        (["--to", "mindformers", "--max-shard-size", "much"], 2, "max_shard_size='much'"),
        (["--to", "transformers"], 3, "to='mindformers'"),
    ],
)
def test_it_fails_as_the_others_do(cli, tmp_path, arguments, code, said):
    source = checkpoints.build(tmp_path / "hf")
    done = cli("convert", source, tmp_path / "ms", *arguments)
    assert (done.code, left(tmp_path)) == (code, ["hf"])
    assert said in done.err
    assert done.out == ""


def test_an_unsupported_model_is_exit_4(cli, tmp_path):
    source = checkpoints.build(tmp_path / "hf", mlp_bias=True)
    done = cli("convert", source, tmp_path / "ms", "--to", "mindformers")
    assert done.code == 4
    assert "mlp_bias" in done.err


def started(source, target, **options):
    command = [sys.executable, "-m", "modelscope_ext", "convert", str(source), str(target), "--to", "mindformers"]
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "0", "TERM": "xterm"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, **options)


def test_a_bar_on_a_real_terminal(tmp_path):
    source = checkpoints.build(tmp_path / "hf", hidden_size=512, intermediate_size=1024, vocab_size=8000)
    ours, theirs = os.openpty()

    process = started(source, tmp_path / "ms", stderr=theirs)
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    seen = drained(ours).decode()
    os.close(ours)
    assert process.returncode == 0, seen
    assert "GB  model." in seen
    assert screen(seen).startswith("run it:")
    assert b"GB  model." not in out


def test_ctrl_c_leaves_nothing(tmp_path):
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "vocab_size": 16000, "num_hidden_layers": 4}
    source = checkpoints.build(tmp_path / "hf", **sizes)
    process = started(source, tmp_path / "ms", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(left(tmp_path)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == b"modelscope-ext: interrupted\n"
    assert left(tmp_path) == ["hf"]
