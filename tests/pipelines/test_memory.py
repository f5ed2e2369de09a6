"""`with pipeline(...)` and `close()` give the memory back: the process shrinks again, the library's object is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.backends.onnx_cases import sentence
from tests.reference import in_process

pytestmark = pytest.mark.pt

#: Runs each folder once to load the libraries, then twice more, and reports MiB: with the model open, and closed.
MEASURE = """
import gc, os, weakref
from modelscope_ext import pipeline

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def run(how):
    before = resident()
    pipe = pipeline(model=arg["folder"])
    assert pipe.resolution.backend == arg["backend"], pipe.resolution.backend
    if how == "with":
        with pipe:
            pipe(arg["input"])
            seen, loaded = weakref.ref(pipe.model.native), resident() - before
    else:
        pipe(arg["input"])
        seen, loaded = weakref.ref(pipe.model.native), resident() - before
        pipe.close()
    return loaded, resident() - before, seen() is None

run("with"), run("with")
result = [run("with"), run("close"), run("with")]
"""

_WIDTH = 768


def big(folder: Path, head: str) -> Any:
    """Write a BERT of 14 million random parameters, 55 MiB, with the tiny vocabulary."""
    import transformers

    from tests.tiny._words import bert_tokenizer, wordpiece_vocab
    from tests.tiny.transformers_ import save

    config = transformers.BertConfig(
        vocab_size=len(wordpiece_vocab()),
        hidden_size=_WIDTH,
        intermediate_size=4 * _WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    model = getattr(transformers, head)(config).eval()
    save(model, [bert_tokenizer()], folder)
    return model


def make(backend: str, folder: Path) -> Any:
    """Write the folder and return an input for it."""
    if backend == "sentence-transformers":
        big(folder, "BertModel")
        sentence(folder, {"pooling_mode": "mean", "word_embedding_dimension": _WIDTH})
        return {"source_sentence": "the cat", "sentences": ["a dog", "the big red mat"]}
    model = big(folder, "BertForMaskedLM")
    if backend == "onnxruntime":
        from tests.tiny.onnx_ import export

        export(model, folder / "onnx" / "model.onnx")
        (folder / "model.safetensors").unlink()
    return "the [MASK] sat on the mat"


@pytest.mark.parametrize("backend", ["transformers", "sentence-transformers", "onnxruntime"])
def test_a_closed_pipeline_leaves_nothing_behind(backend: str, tmp_path: Path) -> None:
    item = make(backend, tmp_path / "big")
    size = max(path.stat().st_size for path in (tmp_path / "big").rglob("*")) / 2**20
    assert size > 50
    rounds = in_process(MEASURE, {"folder": str(tmp_path / "big"), "backend": backend, "input": item})
    for loaded, closed, gone in rounds:
        assert loaded > 0.8 * size, json.dumps(rounds)
        assert closed < 0.2 * size, json.dumps(rounds)
        assert gone
