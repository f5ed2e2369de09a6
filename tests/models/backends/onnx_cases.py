"""What the tests of the ONNX backend share: loading without the loader, and folders of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.models.resolution import Resolution, Source, Weights
from modelscope_ext.models.schemas import check_output
from modelscope_ext.safety.grants import Grants

CHAT = [{"role": "user", "content": "hello dog"}]
TEXTS = ["the cat sat on the big red mat", "john lives in paris", "a dog"]


def resolution(folder, *, tasks=(), files=(), variant=None):
    weights = Weights("onnx", tuple(files), variant=variant)
    return Resolution(Source("local", path=str(folder)), "onnx", "onnxruntime", tuple(tasks), weights=weights)


def load(folder, **options):
    known = {"device": None, "dtype": None, "device_map": None, "variant": None, **options}
    return Onnx().load(Path(folder), resolution(folder), Grants.of(), **known)


def predict(folder, task, inputs, *, loading=None, **options):
    loaded = load(folder, **(loading or {}))
    outputs = Onnx().predict(loaded, task, inputs, **options)
    for item, output in zip(inputs, outputs, strict=True):
        if task != "feature-extraction":
            check_output(task, output, item, options=options)
    return outputs


def edit(folder, name, **changes):
    path = Path(folder, name)
    document = json.loads(path.read_text()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, **changes}))


def sentence(folder, pooling, measure="cosine", *, normalize=True):
    """Turn a folder into one of sentence-transformers' layout."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    edit(folder, "1_Pooling/config.json", **{"word_embedding_dimension": 16, **pooling})
    (folder / "2_Normalize").mkdir(exist_ok=True)
    edit(folder, "config_sentence_transformers.json", prompts={"query": "the big "}, similarity_fn_name=measure)
    edit(folder, "sentence_bert_config.json", max_seq_length=12, do_lower_case=False)
