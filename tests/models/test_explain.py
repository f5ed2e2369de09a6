"""A decision in words and as a snippet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.decision.recognised import library
from modelscope_ext.models.resolution import Reason, Resolution, Source, Weights
from modelscope_ext.models.resolve import resolve
from modelscope_ext.models.snippets import SNIPPETS, native_snippet
from modelscope_ext.models.tasks import TASKS

MLM = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}


def of(files: dict[str, Any], **options: Any) -> Resolution:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in files.items() if not isinstance(v, int)}
    options.setdefault("installed", False)
    return resolve(Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)}), **options)


def test_a_paragraph_for_each_field_with_file_and_key() -> None:
    declared = {"framework": "Pytorch", "task": "sentence-embedding"}
    paragraphs = (
        of({"config.json": MLM, "configuration.json": declared, "model.safetensors": 1200}).explain().split("\n\n")
    )
    heads = [paragraph.splitlines()[0] for paragraph in paragraphs]
    assert heads == [
        "(mapping): pytorch, transformers, sentence-similarity, fill-mask",
        "framework: pytorch",
        "backend: transformers",
        "tasks: sentence-similarity, fill-mask",
        "model type: bert",
        "weights: safetensors, 1 file(s), 1,200 bytes: model.safetensors",
        "requirements: transformers>=4.57.1, torch>=2.10",
        "alternatives:",
    ]
    assert paragraphs[3].splitlines()[1:] == [
        "  configuration.json task = sentence-embedding: declared 'sentence-embedding', which is sentence-similarity",
        "  config.json architectures = BertForMaskedLM: architecture BertForMaskedLM is for fill-mask and is loaded by"
        " AutoModelForMaskedLM",
    ]


def test_findings_and_what_cannot_be_loaded_are_said() -> None:
    stub = {"framework": "pytorch", "task": "text-generation", "allow_remote": True}
    text = of({"config.json": {"architecture": "resnet18", "pretrained_cfg": {}}, "configuration.json": stub}).explain()
    assert (
        "timm is recognised but cannot be loaded by this package yet. Install it and use it directly: pip install timm"
        in text
    )
    text = of({"config.json": MLM, "configuration.json": stub}).explain()
    assert "findings:\n  warning task-dropped (configuration.json task): text-generation is declared" in text


def test_long_lists_of_reasons_are_cut() -> None:
    reasons = tuple(Reason("f.json", f"k{n}", n, "why") for n in range(9))
    info = Resolution(Source("local", path="m"), "pytorch", "timm", because={"backend": reasons}, weights=Weights())
    assert "  and 3 more" in info.explain() and "k6" not in info.explain()


def test_a_library_without_snippet_says_how_to_get_it() -> None:
    assert of({"config.pbtxt": 9, "1/model.onnx": 9}).code() == (
        "# triton has no snippet here. Install it: pip install tritonclient\n"
    )
    info = Resolution(Source("local", path="m"), None, "acme")
    assert info.code() == "# acme has no snippet here.\n"  # a stranger's word is no package to install
    unloadable = Resolution(Source("local", path="m"), None, "acme", loadable=False)
    assert "acme is a backend that nothing here knows; pass backend= to choose another" in unloadable.explain()
    assert "pip install" not in unloadable.explain()


def test_a_recognised_library_shows_its_own_words() -> None:
    assert of({"config.json": {"architecture": "x", "pretrained_cfg": {}}}).code().splitlines() == [
        "# timm cannot be loaded by modelscope_ext yet; load it with timm itself. Install it: pip install timm",
        "import timm",
        "",
        "model = timm.create_model(\"local-dir:\" + '(mapping)', pretrained=True)",
    ]
    weights = Weights("gguf", ("m-Q4_K_M.gguf",))
    source, tasks = Source("local", path="here"), ("text-generation",)
    assert (
        "Llama(model_path='here/m-Q4_K_M.gguf')"
        in Resolution(source, "ggml", "gguf", tasks, loadable=False, weights=weights).code()
    )


def test_a_snippet_fits_or_is_left_out() -> None:
    whole = of({"model_index.json": {"_class_name": "FluxPipeline"}}).code()
    assert "DiffusionPipeline.from_pretrained('(mapping)', use_safetensors=True)" in whole
    lora = of({"pytorch_lora_weights.safetensors": 9}).code()
    assert "pipe.load_lora_weights('(mapping)'" in lora and "the base model" in lora
    draws = of({"flux1-dev-Q4_0.gguf": 9}).code()
    assert "Llama" not in draws


@pytest.mark.parametrize("name", SNIPPETS)
def test_every_snippet_is_python_and_of_a_library_that_is_recognised(name: str) -> None:
    backend, _, task = name.partition("/")
    assert library(backend) is not None and (not task or task in TASKS)
    odd = Source("local", path="a folder with 'quotes'")
    text = native_snippet(
        Resolution(
            odd, None, backend, tasks=(task or "fill-mask",), weights=Weights(files=("w.bin",)),
            because={"backend": (Reason("model_index.json", "_class_name", "X", ""),)},
        )
    )  # fmt: skip
    compile(text, name, "exec")
    assert "quotes" in text and "{" not in text


@pytest.mark.pt
def test_the_snippet_of_transformers_runs_by_itself(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import build

    build("fill-mask", tmp_path)
    code = resolve(tmp_path, installed=False).code()
    assert "modelscope_ext" not in code and "AutoModelForMaskedLM" in code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
