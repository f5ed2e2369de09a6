"""What a mindformers folder says, read without MindSpore: which file, which class, which checkpoint, which dtype."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext import Snapshot, pipeline, plan, resolve
from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    ConfigError,
    LimitExceeded,
    ModelNotFound,
    NotAModel,
    RequirementError,
    UnknownTypeError,
)
from modelscope_ext.models.backends._mindformers.arrays import from_bytes, to_bytes
from modelscope_ext.models.backends._mindformers.files import documents_of, planned, weight_files
from modelscope_ext.models.backends._mindformers.settings import describing, settings_of
from modelscope_ext.models.convert import convert
from tests.tiny import checkpoints
from tests.utils.installed import install

LLAMA = {"hidden_size": 16, "num_layers": 2, "num_heads": 4, "vocab_size": 40}
RUN = "model:\n  arch: {type: LlamaForCausalLM}\n  model_config: {type: LlamaConfig, hidden_size: 16}\n"


def run(**inner):
    return {"model": {"arch": {"type": "LlamaForCausalLM"}, "model_config": {"type": "LlamaConfig", **LLAMA, **inner}}}


def test_a_yaml_counts_before_config_json():
    assert describing({"config.json": LLAMA, "a.yaml": run()}, "m") == "a.yaml"
    assert describing({"config.json": LLAMA, "other.yaml": {"model": 1}, "sub/b.yaml": run()}, "m") == "config.json"
    assert describing({"config.json": LLAMA, "a.yaml": run()}, "m", "config.json") == "config.json"
    with pytest.raises(AmbiguousModel, match=r"a\.yaml, b\.yaml each describe a model; pass yaml="):
        describing({"a.yaml": run(), "b.yaml": run()}, "m")
    with pytest.raises(NotAModel, match=r"these do: a\.yaml"):
        describing({"a.yaml": run()}, "m", "c.yaml")
    with pytest.raises(NotAModel, match="no file describes the model"):
        describing({}, "m")


def test_only_known_settings_are_taken_and_no_path():
    more = {"checkpoint_name_or_path": "/etc/passwd", "pretrained_model_dir": "/", "parallel_config": {"a": 1}}
    settings = settings_of(run(theta=5, **more, compute_dtype=None), "a.yaml", "m")
    assert settings.values == {**LLAMA, "theta": 5}
    assert (settings.name, settings.place) == ("LlamaForCausalLM", "model.model_config.")
    bare = settings_of({"model_type": "llama", **LLAMA}, "config.json", "m")
    assert (bare.name, bare.place, dict(bare.values)) == ("LlamaForCausalLM", "", LLAMA)


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ({"model_type": "qwen2", **LLAMA}, ConfigError, "architectures is not there; expected one of LlamaForCausalLM"),
        ({"architectures": ["Qwen2ForCausalLM"], **LLAMA}, BackendNotLoadable, "Qwen2ForCausalLM, which is not served"),
        ({"architectures": ["os.system"], **LLAMA}, UnknownTypeError, "closed table"),
        ({"architectures": ["__import__"], **LLAMA}, UnknownTypeError, "closed table"),
        (run(type="os.system"), UnknownTypeError, r"model\.model_config\.type names os\.system"),
        (run(type="GPT2Config"), BackendNotLoadable, "GPT2Config, which is not served here; served: LlamaConfig"),
        (run(hidden_size="wide"), ConfigError, r"model_config\.hidden_size: expected int, found 'wide'"),
        (run(hidden_size=True), ConfigError, "hidden_size: expected int, found True"),
        (run(qkv_has_bias=1), ConfigError, "qkv_has_bias: expected bool, found 1"),
        (run(compute_dtype="fp8"), ConfigError, "compute_dtype: expected one of .*found .fp8."),
        (run(num_heads=3), ConfigError, "3 heads do not divide"),
        (run(n_kv_heads=3), ConfigError, "3 do not divide the 4 heads"),
        (run(vocab_size=None), ConfigError, "vocab_size: not there"),
        (run(num_layers=10**9), LimitExceeded, "Nothing was allocated"),
        (run(seq_length=10**9), LimitExceeded, "seq_length"),
        (run(pet_config={"pet_type": "lora"}), BackendNotLoadable, "an adapter of mindformers is not served"),
        (run(moe_config={"expert_num": 4}), BackendNotLoadable, "mixture of experts"),
        (["a"], ConfigError, "expected a mapping, found list"),
    ],
    ids=str,
)
def test_what_is_refused_is_named(document, error, said):
    with pytest.raises(error, match=said) as caught:
        settings_of(document, "a.yaml", "m")
    assert "a.yaml" in str(caught.value)


def test_neutral_forms_of_what_is_not_served_are_no_obstacle():
    neutral = {"moe_config": {"expert_num": 1}, "quant_config": None, "llm_backend": "", "pet_config": {}}
    assert settings_of(run(**neutral), "a.yaml", "m").values == LLAMA


def test_the_checkpoint_of_each_layout():
    def of(names, describing="a.yaml", **texts):
        return weight_files(Snapshot.from_mapping(texts, dict.fromkeys(names, 9)), describing)

    assert of(["a.ckpt", "b.ckpt"]) == ("a.ckpt",)
    assert of(["b.ckpt"]) == ("b.ckpt",)
    assert of(["mindspore_model.ckpt", "b.ckpt"]) == ("mindspore_model.ckpt",)
    assert of(["mindspore_model.ckpt", "b.ckpt"], "config.json") == ("mindspore_model.ckpt",)
    index = {"mindspore_model.ckpt.index.json": '{"weight_map": {"x": "p2.ckpt", "y": "p1.ckpt"}}'}
    assert of(["p1.ckpt", "p2.ckpt"], "config.json", **index) == ("p1.ckpt", "p2.ckpt")
    with pytest.raises(ModelNotFound, match=r"lacks p2\.ckpt"):
        of(["p1.ckpt"], "config.json", **index)
    with pytest.raises(AmbiguousModel, match=r"b\.ckpt, c\.ckpt: nothing says which .* name it a\.ckpt"):
        of(["b.ckpt", "c.ckpt"])
    with pytest.raises(NotAModel, match=r"there is no a\.ckpt beside a\.yaml"):
        of([])
    with pytest.raises(NotAModel, match=r"there is no mindspore_model\.ckpt beside config\.json"):
        of(["b.ckpt"], "config.json")
    both = Snapshot.from_mapping({"a.yaml": RUN, "b.yaml": RUN, "c.yaml": "- broken: ["}, {"a.ckpt": 9, "b.ckpt": 9})
    assert sorted(documents_of(both)) == ["a.yaml", "b.yaml"]
    assert planned(both) == ("a.yaml", "b.yaml", "a.ckpt", "b.ckpt")
    spelled = Snapshot.from_mapping({"a.yml": RUN, "config.json": "{}"}, {"a.ckpt": 9})
    assert planned(Snapshot.from_mapping({"config.json": "{}"})) == ("config.json",)
    assert planned(spelled) == ("a.yml", "config.json", "a.ckpt")


def test_a_plan_names_the_shards_and_no_other_weights(tmp_path):
    source = checkpoints.build(tmp_path / "hf", files={"tokenizer.json": "{}"})
    convert(source, tmp_path / "ms", to="mindformers", max_shard_size="6kB")
    shards = sorted(path.name for path in (tmp_path / "ms").glob("*.ckpt"))
    (tmp_path / "ms" / "optimizer.ckpt").write_bytes((tmp_path / "ms" / shards[0]).read_bytes())
    (tmp_path / "ms" / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    names = {file.name for file in plan(tmp_path / "ms").files}
    assert len(shards) > 2
    assert {*shards} < names
    assert {"config.json", "tokenizer.json", "mindspore_model.ckpt.index.json"} < names
    assert not {"optimizer.ckpt", "model.safetensors"} & names


def test_without_a_fitting_mindformers_the_command_that_helps_is_said(tmp_path, monkeypatch):
    convert(checkpoints.build(tmp_path / "hf"), tmp_path / "ms", to="mindformers")
    install(tmp_path / "site", "mindformers", "1.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    info = resolve(tmp_path / "ms")
    assert (info.backend, info.loadable) == ("mindformers", True)
    assert any("mindformers" in line for line in info.missing)
    with pytest.raises(RequirementError, match="mindformers"):
        pipeline(model=tmp_path / "ms")


@given(st.lists(st.floats(width=32), max_size=20), st.sampled_from(["float32", "float16", "bfloat16"]))
def test_arrays_come_back_from_their_bytes(numbers, dtype):
    import numpy as np

    with np.errstate(over="ignore"):
        array = np.array(numbers, np.float32)
        data = bytearray(to_bytes(array, dtype))
        once = from_bytes(data, dtype, (len(numbers),))
        assert bytes(to_bytes(once, dtype)) == bytes(data)
    assert len(data) == len(numbers) * (4 if dtype == "float32" else 2)
    assert (np.isnan(once) == np.isnan(array)).all()
    finite = np.isfinite(once) & (abs(array) > 1e-3)
    assert (
        abs(once[finite] - array[finite])
        <= abs(array[finite]) * {"float32": 0, "float16": 2**-10, "bfloat16": 2**-8}[dtype]
    ).all()
