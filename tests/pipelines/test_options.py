"""The options of a load, each for real through `pipeline()`: where it runs, in what precision, from which files, with
whose code, and what replaces configuration.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import OptionError, RemoteCodeRefused
from modelscope_ext.utils.config import Config
from tests.equality import assert_equal
from tests.reference import reference

pytestmark = pytest.mark.pt

TEXTS = ["the cat sat on the mat", "the movie was great and very good", "bad dog", "john works at london"]

LIBRARY = """
import torch
from transformers import pipeline
loading = dict(arg["loading"])
if "dtype" in loading: loading["dtype"] = getattr(torch, loading["dtype"])
pipe = pipeline("text-classification", model=arg["folder"], **loading)
result = [pipe(text, top_k=None) for text in arg["texts"]]
"""


def build(folder: Path, family: str = "text-classification", **options: Any) -> Path:
    from tests.tiny.transformers_ import build as made

    return made(family, folder, seed=1, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build(tmp_path / "model")


def library(folder: Path, **loading: Any) -> list[Any]:
    return reference(LIBRARY, {"folder": str(folder), "texts": TEXTS, "loading": loading})


def answers(folder: Path, **options: Any) -> list[Any]:
    from modelscope_ext import pipeline

    with pipeline(model=folder, **options) as pipe:
        return pipe(TEXTS, top_k=None)


def edit(file: Path, **keys: Any) -> None:
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**known, **keys}), encoding="utf-8")


# where it runs


@pytest.mark.parametrize("where", [{"device": "cpu"}, {"device": -1}, {"device_map": "cpu"}, {"device_map": "auto"}])
def test_a_device_and_a_device_map(folder: Path, where: dict[str, Any]) -> None:
    from modelscope_ext import pipeline

    expected = library(folder, **({"device": "cpu"} if "device" in where else where))
    with pipeline(model=folder, **where) as pipe:
        assert pipe.model.device == "cpu"
        found = [pipe(TEXTS, top_k=None), pipe(TEXTS, top_k=None, batch_size=4)]
    for one in found:
        assert_equal(one, expected)


def test_a_device_map_by_module(tmp_path: Path) -> None:
    """The library spreads the weights as it is told: a part that stays on disk is read when it is needed."""
    from modelscope_ext import pipeline

    folder = build(tmp_path / "model")
    spread = {"bert.embeddings": "cpu", "bert.encoder": "disk", "bert.pooler": "cpu", "classifier": "cpu"}
    with pipeline(model=folder, device_map=spread, offload_folder=str(tmp_path / "spill")) as pipe:
        assert pipe.model.native.hf_device_map == spread
        assert {p.device.type for p in pipe.model.native.bert.encoder.parameters()} == {"meta"}
        found = pipe(TEXTS, top_k=None)
    assert_equal(found, library(folder))


def test_a_device_map_for_sentences(tmp_path: Path) -> None:
    from modelscope_ext import pipeline
    from tests.tiny.sentence_transformers_ import build as sentences

    folder = sentences("mean", tmp_path / "sentences")
    ask = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
    with pipeline(model=folder, device="cpu") as plain, pipeline(model=folder, device_map="cpu") as mapped:
        assert mapped.resolution.backend == "sentence-transformers"
        assert mapped(ask) == pytest.approx(plain(ask), abs=1e-6)


# precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_dtype(folder: Path, dtype: str) -> None:
    import torch

    from modelscope_ext import pipeline

    for given in ({"dtype": dtype}, {"dtype": getattr(torch, dtype)}, {"torch_dtype": f"torch.{dtype}"}):
        with pipeline(model=folder, **given) as pipe:
            assert pipe.model.native.dtype is getattr(torch, dtype)
            found = pipe(TEXTS, top_k=None)
    assert_equal(found, library(folder, dtype=dtype), tolerance=5e-4)
    assert found != answers(folder)


def test_a_dtype_for_sentences(tmp_path: Path) -> None:
    import torch

    from modelscope_ext import pipeline
    from tests.tiny.sentence_transformers_ import build as sentences

    folder = sentences("mean", tmp_path / "sentences")
    with pipeline(model=folder, dtype="bfloat16") as pipe:
        assert {p.dtype for p in pipe.model.native.parameters()} == {torch.bfloat16}


# files


def test_shards(tmp_path: Path) -> None:
    folder = build(tmp_path / "shards", max_shard_size="8KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    assert_equal(answers(folder), library(folder))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    from modelscope_ext import pipeline
    from modelscope_ext.errors import ModelScopeExtError

    folder = build(tmp_path / "shards", max_shard_size="8KB")
    lost = sorted(folder.glob("model-*-of-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(ModelScopeExtError, match=lost.name):
        pipeline(model=folder)


def test_a_quantised_folder(tmp_path: Path) -> None:
    """Block-wise FP8, which transformers widens on a CPU: the answers are its own."""
    import torch
    from safetensors.torch import load_file, save_file

    from modelscope_ext import pipeline

    folder = build(tmp_path / "quantised", "text-generation")
    tensors = {}
    for name, value in load_file(folder / "model.safetensors").items():
        tensors[name] = value
        if value.dim() == 2 and "proj" in name:
            scale = value.abs().max() / 448
            tensors |= {name: (value / scale).to(torch.float8_e4m3fn), name + "_scale_inv": scale.reshape(1, 1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", quantization_config={"quant_method": "fp8", "weight_block_size": [16, 16]})
    script = """
from transformers import pipeline
pipe = pipeline("text-generation", model=arg["folder"], device_map="cpu")
result = [pipe(text, do_sample=False)[0] for text in arg["texts"]]
"""
    expected = reference(script, {"folder": str(folder), "texts": TEXTS})
    with pipeline(model=folder) as pipe:
        assert pipe.resolution.weights.quantization == "fp8"
        assert not {p.dtype for p in pipe.model.native.parameters()} & {torch.float8_e4m3fn}
        found = pipe(TEXTS)
    assert_equal(found, expected, inputs=TEXTS)


# code of the folder

CODE = """
from transformers import BertConfig, BertForSequenceClassification
class Config(BertConfig):
    model_type = "homemade"
class Model(BertForSequenceClassification):
    config_class = Config
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = -output.logits
        return output
"""


def test_code_of_the_folder(folder: Path) -> None:
    """Refused without the grant; with it, or with the digest of exactly this code, it is what answers."""
    import hashlib

    from modelscope_ext import pipeline

    plain = answers(folder)
    (folder / "homemade.py").write_text(CODE, encoding="utf-8")
    auto = {"AutoConfig": "homemade.Config", "AutoModelForSequenceClassification": "homemade.Model"}
    edit(folder / "config.json", model_type="homemade", auto_map=auto)
    edit(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    digest = hashlib.sha256(CODE.encode()).hexdigest()
    for grants in ({}, {"trust_remote_code": False}, {"trust_remote_code": True, "code_sha256": "0" * 64}):
        with pytest.raises(RemoteCodeRefused, match=r"nothing was executed.*auto_map"):
            pipeline("text-classification", folder, **grants)
    expected = library(folder, trust_remote_code=True)
    for grants in ({"trust_remote_code": True}, {"trust_remote_code": True, "code_sha256": digest}):
        with pipeline("text-classification", folder, **grants) as pipe:
            assert type(pipe.model.native).__name__ == "Model"
            found = pipe(TEXTS, top_k=None)
        assert_equal(found, expected)
    assert [rows[0]["label"] for rows in found] != [rows[0]["label"] for rows in plain]


# configuration.json


def test_cfg_dict_replaces_configuration_whole(folder: Path) -> None:
    """Nothing of the file is left, the file stays as it was, and config.json is not touched by either."""
    from modelscope_ext import pipeline

    edit(folder / "configuration.json", task="zero-shot-classification", framework="pytorch", mine=1)
    before = (folder / "configuration.json").read_bytes()
    with pipeline(model=folder) as pipe:
        assert (pipe.task, pipe.model.config.mine) == ("zero-shot-classification", 1)
    for given in ({"tasks": ["text-classification"]}, Config({"tasks": ["text-classification"]})):
        with pipeline(model=folder, cfg_dict=given) as pipe:
            assert pipe.task == "text-classification"
            assert "mine" not in pipe.model.config
            found = pipe(TEXTS, top_k=None)
        assert_equal(found, library(folder))
    with pipeline(model=folder, cfg_dict={"model": {"model_config": {"num_labels": 7}, "id2label": {}}}) as pipe:
        assert pipe.model.native.config.num_labels == 3
    with pytest.raises(OptionError, match="revision="):
        pipeline(model=folder, cfg_dict="v1")
    assert (folder / "configuration.json").read_bytes() == before
