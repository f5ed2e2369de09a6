"""What a load would read, by exact name, and what it needs."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import NotAModel, OptionError
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models import room
from modelscope_ext.models.plan import default_files, plan
from modelscope_ext.models.resolution import Weights
from modelscope_ext.models.resolve import resolve
from modelscope_ext.utils import disk

MLM = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}


def snapshot(files: dict[str, Any], **options: Any) -> Snapshot:
    texts = {n: json.dumps(v) for n, v in files.items() if not isinstance(v, int | bytes)}
    texts |= {n: v for n, v in files.items() if isinstance(v, bytes)}
    return Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)}, **options)


def safetensors(**tensors: tuple[str, list[int], int]) -> bytes:
    header, start = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(start)


def test_exactly_the_files_of_a_pipeline() -> None:
    files = {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None],
        },
        "unet/config.json": {"_class_name": "UNet2DConditionModel"},
        "safety_checker/model.safetensors": 70,
        "unet/diffusion_pytorch_model.safetensors": 50,
        "unet/diffusion_pytorch_model.fp16.safetensors": 25,
        "unet/diffusion_pytorch_model.bin": 50,
        "tokenizer/vocab.json": 7,
        "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler"},
        "sd-v1.ckpt": 100,
        "sample.png": 9,
        "README.md": 9,
    }
    taken = plan(snapshot(files), installed=False)
    assert [file.name for file in taken.files] == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert taken.total_bytes == sum(file.bytes for file in taken.files) == taken.to_fetch_bytes
    assert taken.memory_needed == {"as stored": 50}
    half = plan(snapshot(files), installed=False, variant="fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in {file.name for file in half.files}
    assert taken.total_bytes - half.total_bytes == 25


def test_a_folder_is_here_already_and_its_headers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MLM))
    (tmp_path / "model.safetensors").write_bytes(safetensors(a=("F32", [2, 3], 24), b=("F16", [5], 10)))
    (tmp_path / "optimizer.pt").write_bytes(b"x" * 900)
    taken = plan(tmp_path, installed=False)
    names = {file.name for file in taken.files}
    assert {"config.json", "model.safetensors"} <= names and "optimizer.pt" not in names
    assert taken.to_fetch_bytes == 0 and all(file.cached for file in taken.files)
    assert dict(taken.memory_needed) == {"as stored": 34, "float32": 44, "bfloat16": 22, "int8": 11}
    assert taken.disk_free and taken.memory_free
    assert json.dumps(taken.to_dict())


def test_hashes_of_a_listing_are_carried() -> None:
    files = snapshot({"config.json": MLM, "model.safetensors": 9}, hashes={"model.safetensors": "ab" * 32})
    (weight,) = (file for file in plan(files, installed=False).files if file.name == "model.safetensors")
    assert weight.sha256 == "ab" * 32 and weight.cached is False


def test_broken_weights_are_counted_by_their_bytes() -> None:
    taken = plan(snapshot({"config.json": MLM, "model.safetensors": b"\xff" * 64}), installed=False)
    assert taken.memory_needed == {"as stored": 64}


def test_nothing_to_load() -> None:
    with pytest.raises(NotAModel):
        plan(snapshot({}))
    listing = snapshot({"config.json": MLM})
    assert default_files(resolve(listing, installed=False), listing) == ("config.json",)
    assert room.memory_needed(Weights()) == {}


def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise OSError("not here")

    monkeypatch.setattr(disk.shutil, "disk_usage", none)
    monkeypatch.setattr(room.os, "sysconf", none)
    monkeypatch.setattr(room.Path, "read_text", none)
    taken = plan(snapshot({"config.json": MLM}), installed=False)
    assert taken.disk_free is None and taken.memory_free is None


def test_code_is_planned_only_where_the_metadata_ask_for_it() -> None:
    bert = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    sizes = {"model.safetensors": 9, "modeling_x.py": 9, "train.py": 9}
    plain = Snapshot.from_mapping({"config.json": json.dumps(bert)}, sizes)
    assert [f.name for f in plan(plain, installed=False).files] == ["config.json", "model.safetensors"]
    own = {**bert, "auto_map": {"AutoModelForMaskedLM": "modeling_x.X"}}
    asks = Snapshot.from_mapping({"config.json": json.dumps(own)}, sizes)
    assert "modeling_x.py" in default_files(resolve(asks, installed=False), asks)
    pipeline = Snapshot.from_mapping(
        {"model_index.json": json.dumps({"_class_name": ["mine", "Pipe"]})}, {"mine.py": 9}
    )
    assert "mine.py" in default_files(resolve(pipeline, installed=False), pipeline)


def test_one_of_several_quantised_copies_is_planned_and_the_choice_is_remarked() -> None:
    listing = Snapshot.from_mapping({}, {"m-IQ2_M.gguf": 1, "m-Q4_K_M.gguf": 2, "m-Q8_0.gguf": 3, "mmproj-F16.gguf": 4})
    info = resolve(listing, installed=False)
    assert (info.weights.files, info.weights.quantization) == (("m-Q4_K_M.gguf",), "Q4_K_M")
    (finding,) = (f for f in info.findings if f.code == "weights-choice")
    assert "one of 3 quantised copies" in finding.message and "variant=" in finding.message
    asked = resolve(listing, installed=False, variant="q8_0")
    assert asked.weights.files == ("m-Q8_0.gguf",)
    with pytest.raises(OptionError, match="There are"):
        resolve(listing, installed=False, variant="Q9")


def test_all_shards_of_the_chosen_copy_are_planned() -> None:
    sizes = {f"m-{kind}-0000{n}-of-00002.gguf": n for kind in ("Q4_K_M", "Q8_0") for n in (1, 2)}
    info = resolve(Snapshot.from_mapping({}, sizes), installed=False)
    assert info.weights.files == ("m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf")


def index(*shards: str) -> dict[str, Any]:
    return {"weight_map": {f"layer.{number}": name for number, name in enumerate(shards)}}


def test_of_two_exports_only_the_shards_that_the_index_lists() -> None:
    old = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    new = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    files = {"config.json": MLM, "model.safetensors.index.json": index(*new), **dict.fromkeys([*old, *new], 9)}
    assert resolve(snapshot(files), installed=False).weights.files == tuple(new)
    files["model.safetensors.index.json"] = index(*old)
    assert resolve(snapshot(files), installed=False).weights.files == tuple(old)
    # A hub's listing without the index's text: the first export that is complete.
    files["model.safetensors.index.json"] = 9
    assert resolve(snapshot(files), installed=False).weights.files == tuple(old)
    del files[old[0]]
    assert resolve(snapshot(files), installed=False).weights.files == tuple(new)


def test_nothing_of_a_training_run_and_no_index_of_other_weights() -> None:
    leftovers = ["trainer_state.json", "all_results.json", "eval_results.txt", "optimizer.pt", "training_args.bin"]
    leftovers += ["docker-compose.yml", "requirements.txt", "data.jsonl", "pytorch_model.bin.index.json", "README.md"]
    leftovers += [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "tf_model.h5",
        "flax_model.msgpack",
    ]
    needed = ["config.json", "generation_config.json", "merges.txt", "model.safetensors", "qwen.tiktoken", "vocab.json"]
    files = {"config.json": MLM, **dict.fromkeys([*leftovers, *needed[1:]], 9)}
    assert [file.name for file in plan(snapshot(files), installed=False).files] == needed


def test_sentence_transformers_without_the_text_of_its_modules() -> None:
    files = {
        "config.json": {"model_type": "bert", "architectures": ["BertModel"]},
        "modules.json": 300,
        "config_sentence_transformers.json": 100,
        "model.safetensors": 9,
        "1_Pooling/config.json": 9,
        "2_Dense/config.json": 9,
        "2_Dense/model.safetensors": 9,
        "2_Dense/pytorch_model.bin": 9,
        "onnx/config.json": 9,
        "onnx/model.onnx": 9,
    }
    names = {file.name for file in plan(snapshot(files), installed=False).files}
    assert names == set(files) - {"2_Dense/pytorch_model.bin", "onnx/config.json", "onnx/model.onnx"}


def test_a_pipelines_own_code_is_planned() -> None:
    files = {
        "model_index.json": {"_class_name": ["pipeline", "Mine"], "unet": ["blocks", "MyUNet"]},
        "pipeline.py": 9,
        "unet/blocks.py": 9,
        "unet/config.json": 9,
        "unet/diffusion_pytorch_model.safetensors": 9,
        "train.py": 9,
    }
    names = {file.name for file in plan(snapshot(files), installed=False).files}
    assert names == set(files) - {"train.py"}


def test_of_a_library_without_a_loader_all_but_copies_and_leftovers() -> None:
    files = {
        "config_setfit.json": {"labels": None},
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}],
        "config.json": MLM,
        "model.safetensors": 9,
        "model_head.pkl": 9,
        "1_Pooling/config.json": 9,
        "pytorch_model.bin": 9,
        "trainer_state.json": 9,
        "picture.png": 9,
        "README.md": 9,
    }
    taken = plan(snapshot(files), installed=False)
    assert {f.name for f in taken.files} == set(files) - {
        "pytorch_model.bin",
        "trainer_state.json",
        "picture.png",
        "README.md",
    }
