"""Servers that the tests share: models of onnxruntime, and a tiny Llama in PyTorch."""

import pytest

from modelscope_ext.data import digits_folder
from tests.serve.servers import Server


@pytest.fixture(scope="session")
def models(tiny_root):
    """Folders of handmade ONNX models by task."""
    from tests.tiny import onnx_

    tasks = ("text-classification", "feature-extraction", "text-generation", "text-ranking", "question-answering")
    return {task: onnx_.write(task, tiny_root / "serve" / task) for task in tasks}


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """Five models at once; nothing of PyTorch."""
    named = [f"{task}={folder}" for task, folder in models.items()]
    made = Server(
        tmp_path_factory.mktemp("serve") / "log",
        *named,
        f"digits={digits_folder()}",
        *("--backend", "onnx", "--max-bytes", "200000", "--max-text", "2000", "--max-items", "40", "--timeout", "20"),
        *("--max-pixels", "10000", "--max-tokens", "64"),
    )
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="session")
def llama(tiny_root, tmp_path_factory):
    """A tiny Llama in PyTorch."""
    from tests.tiny.transformers_ import build

    folder = build("text-generation", tiny_root / "serve" / "llama")
    made = Server(tmp_path_factory.mktemp("serve") / "llama-log", folder, "--device", "cpu", "--max-tokens", "32")
    made.folder = folder
    yield made
    assert made.stop() == 0
