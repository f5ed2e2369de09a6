"""Conversions: bit by bit there and back, everything else refused by name, nothing left behind by one that fails."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext import Snapshot, resolve
from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    ConfigError,
    MalformedMetadata,
    ModelNotFound,
    ModelScopeExtError,
    NotAModel,
    OptionError,
    PathEscapeRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from modelscope_ext.models.convert import convert, writers
from modelscope_ext.models.convert.tensors import PIECE
from modelscope_ext.safety.headers import ckpt_header
from tests.reference import in_process
from tests.tiny import checkpoints

TOKENIZER = {
    "tokenizer_config.json": '{"pad_token": "<pad>"}',
    "vocab.json": "{}",
    "LICENSE": "mine",
    "README.md": "---\nlibrary_name: transformers\n---\n",
    "generation_config.json": '{"max_new_tokens": 7}',
}


def left(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def there_and_back(source, folder, **options):
    first = convert(source, folder / "ms", to="mindformers", **options)
    second = convert(folder / "ms", folder / "back", to="transformers", **options)
    return first, second


def ckpt(folder):
    """Return dtype and shape of every parameter of a folder of mindformers."""
    found = {}
    for path in sorted(Path(folder).glob("*.ckpt")):
        data = path.read_bytes()
        header = ckpt_header(lambda at, count, data=data: data[at : at + count], len(data), file=path.name)
        found |= {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    return found


# What is kept


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_every_bit_comes_back(tmp_path, kind, dtype, parts):
    source = checkpoints.build(tmp_path / "hf", kind, dtype, parts=parts)
    first, second = there_and_back(source, tmp_path)
    before, after = checkpoints.contents(source), checkpoints.contents(tmp_path / "back")
    assert after == before
    assert (first.model_type, second.model_type) == (kind, kind)
    assert first.tensors == len(before)
    assert first.dtypes == second.dtypes
    assert left(tmp_path / "ms") == ["config.json", "configuration.json", "conversion.json", "mindspore_model.ckpt"]


@settings(max_examples=25)
@given(data=st.data())
def test_every_bit_of_any_model_comes_back(tmp_path_factory, data):
    """Sizes, dtypes tensor by tensor, files and shards of any kind."""
    heads, keys = data.draw(st.sampled_from([(1, 1), (2, 1), (4, 2), (6, 3)]))
    kind = data.draw(st.sampled_from(["llama", "qwen2"]))
    dtype = st.sampled_from(["F32", "F16", "BF16", "F64"])
    ends = ("q_proj.weight", "norm.weight", "embed_tokens.weight", "down_proj.weight", "bias")
    sizes = {
        "hidden_size": heads * data.draw(st.integers(1, 4)) * 2,
        "intermediate_size": data.draw(st.integers(1, 9)),
        "num_hidden_layers": data.draw(st.integers(1, 3)),
        "vocab_size": data.draw(st.integers(1, 9)),
    }
    folder = tmp_path_factory.mktemp("any")
    source = checkpoints.build(
        folder / "hf", kind, data.draw(dtype), parts=data.draw(st.integers(1, 3)),
        dtypes={end: data.draw(dtype) for end in ends}, num_attention_heads=heads, num_key_value_heads=keys,
        tie_word_embeddings=data.draw(st.booleans()), **sizes,
    )  # fmt: skip
    there_and_back(source, folder, max_shard_size=data.draw(st.integers(1, 4000)))
    assert checkpoints.contents(folder / "back") == checkpoints.contents(source)
    shutil.rmtree(folder)


def test_a_checkpoint_holds_what_mindformers_calls_them(tmp_path):
    source = checkpoints.build(tmp_path / "hf", "qwen2", "BF16")
    convert(source, tmp_path / "ms", to="mindformers")
    found = ckpt(tmp_path / "ms")
    assert found["model.tok_embeddings.embedding_weight"] == ("BFloat16", (40, 16))
    assert found["model.layers.1.attention.wk.bias"] == ("BFloat16", (8,))
    assert found["model.layers.0.feed_forward.w1.weight"] == ("BFloat16", (24, 16))
    assert found["model.layers.0.feed_forward.w2.weight"] == ("BFloat16", (16, 24))
    assert {"model.norm_out.weight", "lm_head.weight", "model.layers.0.ffn_norm.weight"} <= set(found)


def test_large_parameters_are_cut_as_mindspore_cuts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "SLICE", 100)
    source = checkpoints.build(tmp_path / "hf")
    there_and_back(source, tmp_path)
    assert (tmp_path / "ms" / "mindspore_model.ckpt").read_bytes().count(b"lm_head.weight") == -(-40 * 16 * 4 // 100)
    assert checkpoints.contents(tmp_path / "back") == checkpoints.contents(source)


def test_shards_are_listed_and_never_larger_than_asked(tmp_path):
    source = checkpoints.build(tmp_path / "hf")
    there_and_back(source, tmp_path, max_shard_size="6kB")
    index = json.loads((tmp_path / "ms" / "mindspore_model.ckpt.index.json").read_text())
    files = sorted(path.name for path in (tmp_path / "ms").glob("*.ckpt"))
    assert sorted(set(index["weight_map"].values())) == files
    assert len(files) > 2
    assert index["metadata"]["total_size"] == sum(len(data) for _, _, data in checkpoints.contents(source).values())
    assert max(os.path.getsize(tmp_path / "ms" / name) for name in files) < 6000 + 4096
    again = json.loads((tmp_path / "back" / "model.safetensors.index.json").read_text())
    assert set(again["weight_map"]) == set(checkpoints.contents(source))


def test_settings_come_back(tmp_path):
    llama3 = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }  # fmt: skip
    for number, (kind, changed) in enumerate(
        [
            ("llama", {"rope_scaling": llama3, "attention_bias": True}),
            ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
            ("qwen2", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
        ]
    ):
        folder = tmp_path / str(number)
        source = checkpoints.build(folder / "hf", kind, "BF16", **changed)
        there_and_back(source, folder)
        before = json.loads((source / "config.json").read_text())
        after = json.loads((folder / "back" / "config.json").read_text())
        assert {key: after[key] for key in before} == before


def test_what_transformers_5_writes_says_the_same(tmp_path):
    old = {"rope_theta": 9.0, "rope_scaling": {"type": "linear", "factor": 4.0}}
    new = {"rope_theta": None, "rope_parameters": {"rope_theta": 9.0, "rope_type": "linear", "factor": 4.0}}
    made = []
    for name, changed in (("old", old), ("new", {**new, "torch_dtype": None})):
        convert(checkpoints.build(tmp_path / name, dtype="F16", **changed), tmp_path / f"{name}-ms", to="mindformers")
        made.append(json.loads((tmp_path / f"{name}-ms" / "config.json").read_text()))
    assert made[0] == made[1]
    assert (made[0]["extend_method"], made[0]["scaling_factor"], made[0]["theta"]) == ("PI", 4.0, 9.0)


def test_the_token_to_pad_with_is_none_that_a_text_has(tmp_path):
    """mindformers sees nothing where it stands."""
    cases = ({}, None, 39), ({"pad_token_id": 5}, None, 5), ({}, 6, 6), ({"pad_token_id": -1}, None, 39)
    for number, (changed, generation, meant) in enumerate(cases):
        files = {"generation_config.json": json.dumps({"pad_token_id": generation})}
        source = checkpoints.build(tmp_path / f"{number}", files=files, **{"pad_token_id": None, **changed})
        convert(source, tmp_path / f"{number}-ms", to="mindformers")
        assert json.loads((tmp_path / f"{number}-ms" / "config.json").read_text())["pad_token_id"] == meant


def test_what_is_made_resolves_by_itself(tmp_path):
    source = checkpoints.build(tmp_path / "hf", "qwen2", files=TOKENIZER)
    there_and_back(source, tmp_path)
    for name, backend, framework in (("ms", "mindformers", "mindspore"), ("back", "transformers", "pytorch")):
        info = resolve(tmp_path / name)
        assert (info.backend, info.framework, info.default_task) == (backend, framework, "text-generation")
        said = json.loads((tmp_path / name / "configuration.json").read_text())
        assert {"backend", "framework", "tasks", "model_type", "requirement_dependency"} <= set(said)
        assert {path: (tmp_path / name / path).read_text() for path in TOKENIZER if path != "README.md"} == {
            path: text for path, text in TOKENIZER.items() if path != "README.md"
        }
        assert not (tmp_path / name / "README.md").exists()  # it says whose files these were
        mark = json.loads((tmp_path / name / "conversion.json").read_text())
        assert (mark["to"], mark["tensors"], mark["model_type"]) == (backend, 27, "qwen2")
        assert str(tmp_path) not in json.dumps(mark)


def test_a_yaml_of_mindformers_is_read_as_well(tmp_path):
    source = checkpoints.build(tmp_path / "hf")
    convert(source, tmp_path / "ms", to="mindformers")
    inner = json.loads((tmp_path / "ms" / "config.json").read_text())
    values = {key: inner[key] for key in inner if key not in ("architectures", "model_type", "intermediate_size")}
    values |= {"type": "LlamaConfig", "multiple_of": 16, "checkpoint_name_or_path": "/no/such/path"}
    run = tmp_path / "run"
    run.mkdir()
    shutil.copyfile(tmp_path / "ms" / "mindspore_model.ckpt", run / "llama.ckpt")
    document = {"model": {"arch": {"type": "LlamaForCausalLM"}, "model_config": {**values, "intermediate_size": 24}}}
    (run / "llama.yaml").write_text(yaml.safe_dump(document))
    convert(run, tmp_path / "back", to="transformers")
    assert checkpoints.contents(tmp_path / "back") == checkpoints.contents(source)
    # Where the inner size is left out it is what mindformers computes: 2/3 of four times the width, in steps of 16.
    del document["model"]["model_config"]["intermediate_size"]
    (run / "llama.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(WeightsMismatch, match=r"feed_forward\.w1\.weight \[24, 16\], not \[48, 16\]"):
        convert(run, tmp_path / "other", to="transformers")
    shutil.copyfile(run / "llama.yaml", run / "other.yaml")
    with pytest.raises(AmbiguousModel, match=r"llama\.yaml, other\.yaml each describe a model; pass yaml="):
        convert(run, tmp_path / "other", to="transformers")
    hostile = {"model": {**document["model"], "arch": {"type": "os.system"}}}
    (run / "llama.yaml").write_text(yaml.safe_dump(hostile))
    with pytest.raises(UnknownTypeError, match=r"model\.arch\.type names os\.system, which is not in the closed table"):
        convert(run, tmp_path / "other", to="transformers", yaml="llama.yaml")
    assert left(tmp_path) == ["back", "hf", "ms", "run"]


def test_computed_buffers_are_left_out_and_named(tmp_path):
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    source = checkpoints.build(tmp_path / "hf", more={buffer: [2]})
    done = convert(source, tmp_path / "ms", to="mindformers")
    assert done.left_out == (buffer,)
    assert not [name for name in ckpt(tmp_path / "ms") if "rotary" in name]


def test_a_head_beside_a_tied_embedding_is_kept(tmp_path):
    source = checkpoints.build(tmp_path / "hf", tie_word_embeddings=True, more={"lm_head.weight": [40, 16]})
    there_and_back(source, tmp_path)
    assert checkpoints.contents(tmp_path / "back") == checkpoints.contents(source)


# What is refused


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"model_type": "gpt2"}, BackendNotLoadable, "model_type 'gpt2' is not converted .* these are: llama, qwen2"),
        ({"architectures": ["LlamaModel"]}, BackendNotLoadable, "of llama only LlamaForCausalLM is"),
        ({"hidden_act": "gelu"}, BackendNotLoadable, "hidden_act is 'gelu', which is not converted"),
        ({"mlp_bias": True}, BackendNotLoadable, "mlp_bias is True"),
        ({"use_sliding_window": True}, BackendNotLoadable, "use_sliding_window is True"),
        ({"head_dim": 8}, BackendNotLoadable, "head_dim is 8"),
        ({"quantization_config": {"quant_method": "gptq"}}, BackendNotLoadable, "quantization_config"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, BackendNotLoadable, "default, linear, llama3"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, ConfigError, "rope_scaling.low_freq_factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2, "x": 1}}, BackendNotLoadable, "rope_scaling.x is 1"),
        ({"rms_norm_eps": "small"}, ConfigError, "rms_norm_eps: expected a number above 0, found 'small'"),
        ({"num_key_value_heads": 0}, (ConfigError, MalformedMetadata), "num_key_value_heads"),
        ({"drop": ("lm_head.weight",)}, WeightsMismatch, r"1 of the tensors are missing: lm_head\.weight"),
        ({"more": {"score.weight": [2, 16]}}, WeightsMismatch, r"none of the model's: score\.weight"),
        ({"more": {"model.norm.weight": [8]}}, WeightsMismatch, r"model\.norm\.weight \[8\], not \[16\]"),
        ({"dtypes": {"q_proj.weight": "F8_E4M3"}}, BackendNotLoadable, "F8_E4M3, which has no counterpart"),
    ],
    ids=str,
)
def test_what_is_not_converted_is_named(tmp_path, changed, error, said):
    kind = "qwen2" if "use_sliding_window" in changed else "llama"
    if "model_type" in changed:
        source = checkpoints.build(tmp_path / "hf")
        document = json.loads((source / "config.json").read_text()) | changed | {"architectures": ["GPT2LMHeadModel"]}
        (source / "config.json").write_text(json.dumps(document))
    else:
        source = checkpoints.build(tmp_path / "hf", kind, **changed)
    with pytest.raises(error, match=said) as caught:
        convert(source, tmp_path / "ms", to="mindformers")
    assert "config.json" in str(caught.value) or "model.safetensors" in str(caught.value)
    assert left(tmp_path) == ["hf"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "mindformer"}, r"to='mindformer' is no library .* Did you mean 'mindformers'\?"),
        ({"to": "onnx"}, "There are: mindformers, transformers"),
        ({"to": None}, "to=None"),
        ({"max_shard_size": "5 apples"}, "max_shard_size='5 apples': expected a number of bytes"),
        ({"max_shard_size": 0}, "max_shard_size=0"),
        ({"max_shard_size": True}, "max_shard_size=True"),
        ({"max_shard_size": "-1GB"}, "max_shard_size"),
        ({"max_shards": 3}, "'max_shards' is no keyword of convert"),
        ({"trust_remote_code": True}, "'trust_remote_code' is no keyword of convert"),
        ({"variant": "fp16"}, "variant"),
        ({"output": ""}, "output: expected a folder"),
        ({"output": "no/such/parent"}, "is not there; make it first"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(tmp_path, options, said):
    source = checkpoints.build(tmp_path / "hf")
    given = {"output": tmp_path / "ms", "to": "mindformers", **options}
    with pytest.raises(OptionError, match=said):
        convert(source, **given)
    assert left(tmp_path) == ["hf"]


def test_files_that_are_not_there_or_not_what_they_say(tmp_path):
    def fails(error, said, spoil):
        source = checkpoints.build(tmp_path / "hf", parts=2)
        spoil(source)
        with pytest.raises(error, match=said):
            convert(source, tmp_path / "ms", to="mindformers")
        assert left(tmp_path) == ["hf"]
        shutil.rmtree(source)

    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    fails(ModelNotFound, second, lambda folder: (folder / second).unlink())
    fails(MalformedMetadata, first, lambda folder: (folder / first).write_bytes((folder / first).read_bytes()[:-9]))
    fails(MalformedMetadata, first, lambda folder: (folder / first).write_bytes(b""))
    fails(MalformedMetadata, "as well; expected each", lambda f: shutil.copyfile(f / first, f / second))
    fails(ModelScopeExtError, "config.json", lambda folder: (folder / "config.json").write_text("[1"))
    fails(ModelScopeExtError, "config.json", lambda folder: (folder / "config.json").unlink())

    def pickled(folder):
        for name in (first, second, "model.safetensors.index.json"):
            (folder / name).unlink()
        (folder / "pytorch_model.bin").write_bytes(b"PK\3\4")

    fails(NotAModel, "weights in safetensors are read here, and it has pickle.* Save it as", pickled)

    def leads_out(folder):
        shutil.move(folder / first, tmp_path.parent / "stray.safetensors")
        (folder / first).symlink_to(tmp_path.parent / "stray.safetensors")

    fails(PathEscapeRefused, first, leads_out)


def test_the_other_way_round_is_said(tmp_path):
    source = checkpoints.build(tmp_path / "hf")
    convert(source, tmp_path / "ms", to="mindformers")
    with pytest.raises(NotAModel, match=r"it has safetensors\. Models of transformers are .* to='mindformers'"):
        convert(source, tmp_path / "no", to="transformers")
    with pytest.raises(
        NotAModel, match=r"it has mindspore\. Models of mindformers are converted with to='transformers'"
    ):
        convert(tmp_path / "ms", tmp_path / "no", to="mindformers")
    with pytest.raises(ModelNotFound, match="has no folder"):
        convert(Snapshot.from_mapping({"config.json": "{}"}), tmp_path / "no", to="mindformers")


@pytest.mark.parametrize(
    ("make", "overwrite", "said"),
    [
        (lambda path: path.write_text("mine"), True, "is no folder"),
        (lambda path: (path.mkdir(), (path / "a").write_text("mine")), False, "pass overwrite=True"),
        (lambda path: (path.mkdir(), (path / "a").write_text("mine")), True, "is not an earlier conversion"),
    ],
    ids=["file", "folder", "not a conversion"],
)
def test_what_is_there_is_not_replaced(tmp_path, make, overwrite, said):
    source, target = checkpoints.build(tmp_path / "hf"), tmp_path / "ms"
    make(target)
    with pytest.raises(OptionError, match=said):
        convert(source, target, to="mindformers", overwrite=overwrite)
    assert left(tmp_path) == ["hf", "ms"]


def test_an_earlier_conversion_is_replaced_when_asked(tmp_path):
    convert(checkpoints.build(tmp_path / "a"), tmp_path / "ms", to="mindformers")
    convert(checkpoints.build(tmp_path / "b", "qwen2"), tmp_path / "ms", to="mindformers", overwrite=True)
    assert json.loads((tmp_path / "ms" / "conversion.json").read_text())["model_type"] == "qwen2"
    assert left(tmp_path) == ["a", "b", "ms"]


def test_a_model_is_never_replaced_by_its_copy(tmp_path):
    convert(checkpoints.build(tmp_path / "hf"), tmp_path / "ms", to="mindformers")
    before = left(tmp_path / "ms")
    with pytest.raises(OptionError, match="is the model itself"):
        convert(tmp_path / "ms", tmp_path / "ms", to="transformers", overwrite=True)
    assert (left(tmp_path), left(tmp_path / "ms")) == (["hf", "ms"], before)


# How it is done


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing(tmp_path, error):
    source = checkpoints.build(tmp_path / "hf")
    convert(source, tmp_path / "ms", to="mindformers")
    before = {path.name: path.read_bytes() for path in (tmp_path / "ms").iterdir()}

    def stop(label, done, total):
        if done > total / 2:
            raise error

    meant = ModelScopeExtError if isinstance(error, OSError) else error
    for target, overwrite in (("new", False), ("ms", True)):
        with pytest.raises(meant, match="No space left" if isinstance(error, OSError) else None):
            convert(source, tmp_path / target, to="mindformers", progress=stop, overwrite=overwrite)
    assert left(tmp_path) == ["hf", "ms"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "ms").iterdir()} == before


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    source = checkpoints.build(tmp_path / "hf")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    told = []
    with pytest.raises(ModelScopeExtError, match=r"takes \d+ bytes, and 1000 are free\. Nothing was written"):
        convert(source, tmp_path / "ms", to="mindformers", progress=lambda *said: told.append(said))
    assert (left(tmp_path), told) == (["hf"], [])


def test_progress_counts_bytes(tmp_path):
    source = checkpoints.build(tmp_path / "hf", "qwen2", "F16", parts=2)
    for model, output, to in ((source, "ms", "mindformers"), (tmp_path / "ms", "back", "transformers")):
        told = []
        convert(model, tmp_path / output, to=to, progress=lambda *said, told=told: told.append(said))
        total = sum(len(data) for _, _, data in checkpoints.contents(source).values())
        steps = [done for _, done, _ in told]
        assert steps == sorted(steps)
        assert steps[-1] == total
        assert {all_of_them for *_, all_of_them in told} == {total}
        assert any("embed" in label for label, *_ in told)


def test_a_source_that_shrinks_meanwhile_is_no_model(tmp_path):
    source = checkpoints.build(tmp_path / "hf")

    def cut(label, done, total):
        os.truncate(source / "model.safetensors", 3000)

    with pytest.raises(MalformedMetadata, match=r"model\.safetensors was changed while it was read"):
        convert(source, tmp_path / "ms", to="mindformers", progress=cut)
    assert left(tmp_path) == ["hf"]


def test_no_framework_is_imported_and_not_even_numpy(tmp_path):
    source = checkpoints.build(tmp_path / "hf", files=TOKENIZER)
    script = """
import sys
class Never:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numpy", "torch", "mindspore", "transformers", "mindformers", "safetensors"):
            raise ImportError(name)
sys.meta_path.insert(0, Never())
from modelscope_ext.models.convert import convert
result = [convert(a, b, to=to).tensors for a, b, to in arg]
"""
    jobs = [
        (str(source), str(tmp_path / "ms"), "mindformers"),
        (str(tmp_path / "ms"), str(tmp_path / "b"), "transformers"),
    ]
    assert in_process(script, jobs) == [21, 21]


@pytest.mark.long
@pytest.mark.parametrize("to", ["mindformers", "transformers"])
def test_a_gigabyte_takes_no_more_memory_than_its_largest_shard(tmp_path, to):
    """Three shards of random bits; the peak is what Linux counted above what the imports took."""
    sizes = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 9, "vocab_size": 32000}
    source = checkpoints.build(tmp_path / "hf", "llama", "BF16", parts=3, num_attention_heads=32, **sizes)
    total = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    assert total > 10**9
    if to == "transformers":
        convert(source, tmp_path / "ms", to="mindformers", max_shard_size=total // 3)
        shutil.rmtree(source)
        source = tmp_path / "ms"
    largest = max(path.stat().st_size for path in source.iterdir())
    script = r"""
import re
from modelscope_ext.models.convert import convert
import modelscope_ext.models.resolve, modelscope_ext.models.declare, modelscope_ext.models.gate
def held(what):
    return int(re.search(what + r":\s+(\d+) kB", open("/proc/self/status").read())[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")  # the peak from here on; a process inherits its parent's
before = held("VmRSS")
convert(arg["source"], arg["output"], to=arg["to"], max_shard_size="350MB")
result = held("VmHWM") - before
"""
    taken = in_process(script, {"source": str(source), "output": str(tmp_path / "made"), "to": to})
    assert PIECE < taken < 1.3 * largest
    assert taken < 10 * PIECE  # what it is meant to be: pieces, not shards
