import copy
import json
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import (
    LimitExceeded,
    MalformedMetadata,
    ModelScopeExtError,
    OptionError,
    PathEscapeRefused,
)
from modelscope_ext.metadata.evidence import Fact, collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.safety.limits import Limits
from tests.safety.build import gguf, gguf_pair, gguf_text, parameter, safetensors, tensor

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
DECIDING = ["config.json", "configuration.json", "model_index.json", "adapter_config.json", "modules.json"]


def gather(texts, sizes=None, **kwargs):
    return collect(Snapshot.from_mapping(texts, sizes or {}), **kwargs)


def values(facts):
    return {name: [fact.value for fact in found] for name, found in facts.items()}


def codes(evidence):
    return [finding.code for finding in evidence.findings]


def test_a_plain_folder():
    evidence = gather(
        {
            "config.json": '{"model_type": "bert", "architectures": ["BertModel"]}',
            "tokenizer_config.json": '{"tokenizer_class": "BertTokenizer"}',
            "README.md": "---\nlibrary_name: transformers\npipeline_tag: fill-mask\n---\n# T",
        },
        {"model.safetensors": 400, "tokenizer.json": 5, "onnx/model.onnx": 7},
    )
    assert set(evidence.documents) == {"config.json", "tokenizer_config.json"}
    assert evidence.fact("config.json", "architectures", 0) == Fact("config.json", "architectures[0]", "BertModel")
    assert evidence.fact("config.json", "none") is None and evidence.get("none.json", "x", default=5) == 5
    assert evidence.get("config.json", "architectures", 1) is None
    assert values(evidence.tagged) == {"library": ["transformers"], "tasks": ["fill-mask"]}
    assert (dict(evidence.declared), evidence.findings) == ({}, ())
    assert [(w.name, w.format, w.folder) for w in evidence.weights] == [
        ("model.safetensors", "safetensors", ""), ("onnx/model.onnx", "onnx", "onnx"),
    ]  # fmt: skip
    assert evidence.basenames == evidence.name_set - {"onnx/model.onnx"}
    assert evidence.folders == {"onnx"}
    assert evidence.has("tokenizer.json") and evidence.match("*.onnx") == ("onnx/model.onnx",)


def test_configuration_json_is_read():
    evidence = gather({"configuration.json": '{"framework": "Pytorch", "task": "fill-mask", "model": {"type": "m"}}'})
    assert values(evidence.declared) == {"framework": ["Pytorch"], "tasks": ["fill-mask"], "native_type": ["m"]}
    assert evidence.declared["native_type"][0] == Fact("configuration.json", "model.type", "m")


def test_an_empty_configuration_and_another_programs():
    assert dict(gather({"configuration.json": "{}"}).documents) == {"configuration.json": {}}
    foreign = gather({"configuration.json": '{"a": 1, "servers": []}'})
    assert dict(foreign.documents) == {} and codes(foreign) == ["foreign-configuration"]


@pytest.mark.parametrize("name", [*DECIDING, "tokenizer_config.json", "config.yaml"])
def test_a_pointer_is_unknown_and_not_empty(name):
    evidence = gather({name: POINTER})
    assert dict(evidence.unreadable) == {name: "lfs"}
    assert name not in evidence.documents
    assert codes(evidence) == ["lfs-pointer"]


def test_cfg_dict_replaces_configuration_json_whole_and_is_not_changed():
    cfg = {"task": "b", "model": {"type": "mine"}, "nested": {"list": [{"a": 1}]}}
    before = copy.deepcopy(cfg)
    evidence = gather({"configuration.json": "{broken"}, cfg_dict=cfg)
    assert values(evidence.declared) == {"tasks": ["b"], "native_type": ["mine"]}
    assert evidence.declared["tasks"][0] == Fact("(argument)", "cfg_dict.task", "b")
    assert evidence.documents["configuration.json"] == cfg == before
    evidence.documents["configuration.json"]["nested"]["list"].append(5)
    assert cfg == before


def test_cfg_dict_may_be_a_config_object():
    class Config:
        def to_dict(self):
            return {"task": "x"}

    assert values(gather({}, cfg_dict=Config()).declared) == {"tasks": ["x"]}


def test_a_str_as_cfg_dict_names_the_argument_that_was_meant():
    with pytest.raises(OptionError, match=r"cfg_dict: expected a Config or a dict, found str.*revision="):
        gather({}, cfg_dict="v1.0")
    with pytest.raises(OptionError, match="found list"):
        gather({}, cfg_dict=[])
    with pytest.raises(MalformedMetadata, match="tasks: expected"):
        gather({}, cfg_dict={"tasks": {}})


@pytest.mark.parametrize("name", DECIDING)
def test_a_broken_deciding_file_names_file_and_line(name):
    with pytest.raises(MalformedMetadata, match=rf"{name}, line 3, column 3.*no comments") as error:
        gather({name: '{\n  "a": 1,\n  // comment\n}'})
    assert error.value.file == name and error.value.source == "(mapping)"


@pytest.mark.parametrize("name", DECIDING)
@pytest.mark.parametrize("data", [b"\x80\x04\x95abc", b"PK\3\4" + bytes(20), b"\xff\xfe{\0}\0", b'{"a": "\xff"}', b""])
def test_b15_e07_bytes_that_are_no_json_are_malformed(name, data):
    with pytest.raises(MalformedMetadata):
        gather({name: data})


def test_a_broken_optional_file_is_a_finding():
    evidence = gather(
        {"config.json": "{}", "tokenizer_config.json": "{broken", "generation_config.json": "[" * 100_000}
    )
    assert set(evidence.documents) == {"config.json"}
    assert evidence.unreadable["tokenizer_config.json"].startswith("malformed: tokenizer_config.json, line 1")
    assert evidence.unreadable["generation_config.json"] == "too large"
    assert {(f.code, f.file) for f in evidence.findings} == {
        ("malformed", "tokenizer_config.json"), ("too-large", "generation_config.json"),
    }  # fmt: skip


def test_components_that_an_index_names_decide_too():
    index = '{"_class_name": "P", "unet": ["diffusers", "UNet2DModel"]}'
    with pytest.raises(MalformedMetadata, match=r"unet/config\.json, line 1"):
        gather({"model_index.json": index, "unet/config.json": "{broken"})
    other = gather({"model_index.json": index, "notes/config.json": "{broken"})
    assert "notes/config.json" in other.unreadable
    with pytest.raises(MalformedMetadata, match=r"1_Dense/config\.json"):
        gather({"modules.json": '[{"path": "1_Dense", "type": "x"}]', "1_Dense/config.json": "[]"})


def test_e25_sizes_of_components_are_refused_wherever_they_lie():
    with pytest.raises(LimitExceeded, match=r"2_Dense/config\.json: in_features declares"):
        gather({"config.json": "{}", "2_Dense/config.json": '{"in_features": 10000000000}'})


def test_nested_documents_are_read():
    evidence = gather(
        {
            "model_index.json": '{"_class_name": "StableDiffusionPipeline"}',
            "unet/config.json": '{"_class_name": "UNet2DConditionModel"}',
            "tokenizer/tokenizer_config.json": "{}",
            "scheduler/scheduler_config.json": "{}",
            "unet/other.json": "{}",
        }
    )
    assert set(evidence.documents) == {
        "model_index.json", "unet/config.json", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json",
    }  # fmt: skip


def test_yaml_files_that_may_decide_are_read():
    evidence = gather(
        {
            "run_glm4.yaml": "trainer:\n  type: X\nmodel:\n  model_config:\n    type: ChatGLM2Config\n",
            "config.yaml": "model: Paraformer\n",
            "docker-compose.yml": "services: {}\n",
        }
    )
    assert set(evidence.documents) == {"run_glm4.yaml", "config.yaml"}
    assert evidence.get("run_glm4.yaml", "model", "model_config", "type") == "ChatGLM2Config"


def test_tags_of_another_library_are_kept_although_the_file_is_not_read():
    text = "encoder: !new:speechbrain.lobes.models.Xvector\nout: !ref <encoder>\n"
    evidence = gather({"hyperparams.yaml": text, "config.json": "{}"})
    assert evidence.yaml_tags["hyperparams.yaml"] == ("!new:speechbrain.lobes.models.Xvector", "!ref")
    assert "hyperparams.yaml" not in evidence.documents
    assert codes(evidence) == ["yaml-tag"]


def test_e18_a_python_tag_is_a_danger():
    hostile = {"config.yaml": "a: !!python/object/apply:os.system [x]\n"}
    with pytest.raises(MalformedMetadata, match=r"os\.system is outside YAML's core schema"):
        gather(hostile)
    evidence = gather({**hostile, "config.json": "{}"})
    assert [(f.code, f.level) for f in evidence.findings] == [("yaml-python-tag", "danger")]


BOMB = "a: &a [1,2,3]\nb: [" + "*a," * 40 + "*a]\n"


def test_e14_a_yaml_bomb_is_refused_where_nothing_else_decides():
    with pytest.raises(LimitExceeded, match="yaml_aliases"):
        gather({"config.yaml": BOMB})
    assert codes(gather({"config.yaml": BOMB, "config.json": "{}"})) == ["too-large"]


def test_e31_e33_templates_are_text():
    evidence = gather(
        {"config.json": "{}", "tokenizer_config.json": json.dumps({"chat_template": "{{ x.__class__ }}"})}
    )
    assert evidence.get("tokenizer_config.json", "chat_template") == "{{ x.__class__ }}"


def test_headers_are_read_where_nothing_else_decides_or_on_request():
    weights = {
        "model.safetensors": safetensors({"__metadata__": {"format": "pt"}, "w": tensor([2], 0, 8)}, 8),
        "more.safetensors": safetensors({"v": tensor([1], 0, 4)}, 4),
        "m.gguf": gguf([gguf_pair("general.architecture", 8, gguf_text("llama"))], []),
        "net.ckpt": parameter("w", [1], bytes(4)),
    }
    alone = gather(weights)
    assert set(alone.headers) == {"model.safetensors", "m.gguf", "net.ckpt"}
    assert alone.headers["m.gguf"].metadata["general.architecture"] == "llama"
    with_config = {"config.json": "{}", **weights}
    assert dict(gather(with_config).headers) == {}
    assert set(gather(with_config, headers=True).headers) == set(weights)
    assert dict(gather(weights, headers=False).headers) == {}


def test_a_ckpt_is_told_by_its_first_bytes_or_its_yaml():
    evidence = gather({"a.ckpt": parameter("w", [1], bytes(4)), "b.ckpt": b"PK\3\4" + bytes(60)}, {"c.ckpt": 5})
    assert [w.format for w in evidence.weights] == ["mindspore", "pickle", "pickle"]
    run = "model:\n  model_config:\n    type: LlamaConfig\n"
    assert [w.format for w in gather({"llama.yaml": run}, {"llama.ckpt": 5}).weights] == ["mindspore"]


def test_b15_a_broken_header_is_a_danger_and_not_an_error():
    evidence = gather({"model.safetensors": b"\x80\x04\x95" + bytes(60)})
    assert [(f.code, f.level, f.file) for f in evidence.findings] == [
        ("weights-malformed", "danger", "model.safetensors")
    ]


def test_limits_of_the_call_hold():
    snapshot = Snapshot.from_mapping({"config.json": '{"a": {"b": {"c": {}}}}'})
    with pytest.raises(LimitExceeded, match="depth="):
        collect(snapshot, limits=Limits(depth=3))
    assert collect(snapshot, limits=Limits(depth=4)).documents


# --- folders on disk ---------------------------------------------------------------------------------------------


def test_a_local_folder_gives_the_same_as_a_mapping(tmp_path):
    texts = {"config.json": '{"model_type": "bert"}', "README.md": "---\ntags: [x]\n---\n", "unet/config.json": "{}"}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    local, mapped = collect(Snapshot.from_folder(tmp_path)), gather(texts)
    assert (local.names, dict(local.documents), dict(local.card)) == (
        mapped.names,
        dict(mapped.documents),
        dict(mapped.card),
    )
    assert local.findings == mapped.findings == ()


@pytest.mark.parametrize("name", ["config.json", "configuration.json", "README.md", "tokenizer_config.json"])
def test_c05_a_link_out_of_the_folder_is_refused_without_its_content(tmp_path, name):
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "secret").write_text("the secret outside")
    (model / name).symlink_to(tmp_path / "secret")
    with pytest.raises(PathEscapeRefused) as error:
        collect(Snapshot.from_folder(model))
    assert "secret outside" not in str(error.value)


@pytest.mark.parametrize("name", DECIDING)
def test_a_deciding_file_that_is_a_pipe_is_malformed(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(MalformedMetadata, match=rf"{name}: not a regular file"):
        collect(Snapshot.from_folder(tmp_path))


def test_c04_weights_that_are_links_are_findings(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "outside.safetensors").write_bytes(bytes(100))
    (model / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (model / "config.json").write_text("{}")
    evidence = collect(Snapshot.from_folder(model), headers=False)
    assert [w.name for w in evidence.weights] == ["model.safetensors"]
    assert [(f.code, f.file) for f in evidence.findings] == [("link-escape", "model.safetensors")]


def test_b06_caches_and_leftovers_are_never_opened(tmp_path, monkeypatch):
    for name in (".msc", ".mdl", ".mv", "training_args.bin", "optimizer.pt", "model.pkl", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": "b" * 600}))
    (tmp_path / "config.json").write_text("{}")
    opened = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **kw: opened.append(os.path.basename(path)) or real(path, *rest, **kw)
    )
    collect(Snapshot.from_folder(tmp_path))
    assert opened == ["config.json"]


# --- open input spaces -------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["model_type", "architectures", "task", "tasks", "model", "type", "auto_map", "_class_name",
                         "hidden_size", "id2label", "weight_map", "trust_remote_code", "x"]),
        inner, max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip
NAMES = st.sampled_from([*DECIDING, "model.safetensors.index.json", "tokenizer_config.json", "unet/config.json"])


@settings(max_examples=100)
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_no_document_raises_a_foreign_error(documents):
    try:
        evidence = gather({name: json.dumps(value) for name, value in documents.items()})
    except ModelScopeExtError as error:
        assert str(error).isprintable() and len(str(error)) <= 1000
    else:
        assert evidence.documents.keys() <= documents.keys()


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from([*DECIDING, "README.md", "config.yaml", "a.safetensors", "b.gguf", "c.ckpt", "v/config.json"]),
        st.binary(max_size=80), max_size=5,
    )
)  # fmt: skip
def test_no_bytes_raise_a_foreign_error(texts):
    try:
        gather(texts, headers=True)
    except ModelScopeExtError as error:
        assert str(error).isprintable() and len(str(error)) <= 1000
