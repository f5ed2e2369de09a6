"""Hostile folders, by the numbers of the project's safety table: the error, its fields, and that nothing ran."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest

from modelscope_ext import errors
from modelscope_ext.errors import OptionError, SafetyError
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models import gate
from modelscope_ext.models.gate.code import code_digest, code_files, module_file
from modelscope_ext.models.loader import load
from modelscope_ext.models.request import Request
from modelscope_ext.models.resolve import Asked, decide
from modelscope_ext.safety.grants import NO_REMOTE_CODE, Grants
from modelscope_ext.testing.witness import left_behind, offline, state, witness

EVIL = "raise SystemExit('evil code ran')\n"
BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
MODEL = {"config.json": BERT, "model.safetensors": b""}
AUTO_MAP = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}


def safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return len(header).to_bytes(8, "little") + header + bytes(8)


class Payload:
    def __reduce__(self):
        import os

        return os.system, ("echo evil",)


def zip_pickle(value) -> bytes:
    """A torch-like archive whose pickle is `value`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def write(folder: Path, files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "model.safetensors" and content == b"":
            content = safetensors()
        path.write_bytes(content if isinstance(content, bytes) else _text(content))
    return folder


def _text(content) -> bytes:
    return (content if isinstance(content, str) else json.dumps(content)).encode()


#: id, files, error code, file, field, grant
REFUSED = [
    ("A01", {"config.json": AUTO_MAP, "evil.py": EVIL}, "RC", "config.json", "auto_map.AutoConfig",
     "trust_remote_code"),
    (
        "A02",
        {**MODEL, "tokenizer_config.json": {"trust_remote_code": True, "auto_map": {"AutoTokenizer": ["evil.T", None]}},
         "evil.py": EVIL},
        "RC", "tokenizer_config.json", "auto_map.AutoTokenizer", "trust_remote_code",
    ),
    ("A03", {**MODEL, "config.json": {**BERT, "text_config": {"trust_remote_code": True}}}, "RC", "config.json",
     "text_config.trust_remote_code", "trust_remote_code"),
    ("A03-declared", {**MODEL, "configuration.json": {"task": "fill-mask", "model": {"trust_remote_code": True}}}, "RC",
     "configuration.json", "model.trust_remote_code", "trust_remote_code"),
    ("A07", {**MODEL, "configuration.json": {"task": "fill-mask", "allow_remote": True}, "ms_wrapper.py": EVIL}, "RC",
     "configuration.json", "allow_remote", "trust_remote_code"),
    ("A09", {**MODEL, "configuration.json": {"task": "fill-mask", "plugins": ["evil-plugin"]}}, "IN",
     "configuration.json", "plugins[0]", None),
    ("A10", {**MODEL, "configuration.json": {"task": "fill-mask", "plugins": ["pai-easycv==0.0.1"]}}, "IN",
     "configuration.json", "plugins[0]", None),
    ("A13", {**MODEL, "configuration.json": {"task": "fill-mask", "_base_": "./evil.py"}, "evil.py": EVIL}, "RC",
     "configuration.json", "_base_", "trust_remote_code"),
    ("A16", {**MODEL, "configuration.json": {"task": "fill-mask", "_base_": "https://evil/x.json"}}, "RD",
     "configuration.json", "_base_", "allow_sources"),
    ("A17", {"model_index.json": {"_class_name": ["pipeline", "P"]}, "pipeline.py": EVIL}, "RC", "model_index.json",
     "_class_name", "trust_remote_code"),
    ("A18", {"model_index.json": {"_class_name": "StableDiffusionPipeline", "unet": ["evil", "X"]},
             "unet/evil.py": EVIL}, "RC", "model_index.json", "unet", "trust_remote_code"),
    *[
        (f"A20-{library}", {"model_index.json": {"_class_name": "StableDiffusionPipeline", "unet": [library, kind]}},
         "UT", "model_index.json", "unet", None)
        for library, kind in (("os", "system"), ("subprocess", "Popen"), ("builtins", "exec"),
                              ("pipeline_loading_utils", "Path"), ("pipeline_utils", "PushToHubMixin"),
                              ("diffusers", "PushToHubMixin"), ("diffusers", "is_torch_available"))
    ],
    ("A23", {**MODEL, "modules.json": [{"idx": 0, "path": "", "type": "os.system"}]}, "UT", "modules.json", "[0].type",
     None),
    ("A23-code", {**MODEL, "modules.json": [{"idx": 0, "path": "", "type": "evil.Mod"}], "evil.py": EVIL}, "RC",
     "modules.json", "[0].type", "trust_remote_code"),
    ("A24", {**MODEL, "modules.json": [{"idx": 0, "path": "", "type": "sentence_transformers.util.http_get"}]}, "UT",
     "modules.json", "[0].type", None),
    ("A25", {**MODEL, "config.json": {**BERT, "sentence_transformers": {"activation_fn": "torch.random.seed"}}}, "UT",
     "config.json", "sentence_transformers.activation_fn", None),
    ("A27", {**MODEL, "modules.json": [{"type": "sentence_transformers.models.Transformer", "path": ""}],
             "2_Dense/config.json": {"in_features": 2, "activation_function": "torch.random.seed"}}, "UT",
     "2_Dense/config.json", "activation_function", None),
    ("A28", {**MODEL, "modules.json": [{"type": "sentence_transformers.models.Router", "path": ""}],
             "router_config.json": {"types": {"q": "os.system"}}}, "UT", "router_config.json", "types.q", None),
    ("A29", {**MODEL, "modules.json": [{"type": "sentence_transformers.models.Transformer", "path": ""}],
             "sentence_bert_config.json": {"model_args": {"trust_remote_code": True}}}, "RC",
     "sentence_bert_config.json", "model_args.trust_remote_code", "trust_remote_code"),
    ("A35", {**MODEL, "config.json": {**BERT, "conv_feature_layers": "__import__('os').system('x')"}}, "MF",
     "config.json", "conv_feature_layers", None),
    ("C12", {**MODEL, "tokenizer_config.json": {"vocab_file": "/etc/passwd"}}, "PE", "tokenizer_config.json",
     "vocab_file", None),
    ("C12-up", {**MODEL, "tokenizer_config.json": {"tokenizer_file": "../x"}}, "PE", "tokenizer_config.json",
     "tokenizer_file", None),
    ("D01", {**MODEL, "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "attacker/other"}}, "RD",
     "adapter_config.json", "base_model_name_or_path", "allow_sources"),
    ("C11", {**MODEL, "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "../other"}}, "RD",
     "adapter_config.json", "base_model_name_or_path", "allow_sources"),
    ("D03", {"config.json": {"model_type": "evil", "auto_map": {"AutoModel": "attacker/other--evil.C"}}}, "RC",
     "config.json", "auto_map.AutoModel", "trust_remote_code"),
    ("kernel", {**MODEL, "config.json": {**BERT, "_attn_implementation_internal": "attacker/kernel"}}, "RD",
     "config.json", "_attn_implementation_internal", "allow_sources"),
    ("backbone", {**MODEL, "config.json": {**BERT, "use_pretrained_backbone": True, "backbone": "attacker/x"}}, "RD",
     "config.json", "backbone", "allow_sources"),
    ("E46", {**MODEL, "config.json": {**BERT, "quantization_config": {"quant_method": "../../evil"}}}, "UT",
     "config.json", "quantization_config.quant_method", None),
]  # fmt: skip


def refusal_of(folder, **keywords):
    before = state()
    with witness() as seen, offline() as used, pytest.raises(SafetyError) as caught:
        load(folder, **keywords)
    assert left_behind(before) == []
    assert used == []
    assert seen.programs == []
    assert seen.ran_below(folder) == []
    error = caught.value
    assert len(str(error)) <= 1024
    return error


@pytest.mark.parametrize(
    ("files", "code", "file", "field", "grant"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_gate_a_refuses(tmp_path, files, code, file, field, grant):
    error = refusal_of(write(tmp_path, files))
    assert (error.code, error.file, error.field, error.grant) == (code, file, field, grant)
    assert error.source == str(tmp_path)
    assert f"{file}: {field}" in str(error)


NEVER = [row for row in REFUSED if row[2] in ("IN", "UT", "MF", "PE", "RD")]


@pytest.mark.parametrize(("files", "code"), [(row[1], row[2]) for row in NEVER], ids=[row[0] for row in NEVER])
def test_trusting_the_code_permits_nothing_else(tmp_path, files, code):
    assert refusal_of(write(tmp_path, files), trust_remote_code=True).code == code


def test_the_refusal_of_code_shows_what_would_run(tmp_path):
    write(tmp_path, {"config.json": AUTO_MAP, "evil.py": "from .helper import x\n" + EVIL, "helper.py": "x = 1\n"})
    digest = hashlib.sha256(
        "".join(
            f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("evil.py", "helper.py")
        ).encode()
    ).hexdigest()
    error = refusal_of(tmp_path)
    assert str(error) == (
        f"Refused to run code from {tmp_path} (nothing was executed). config.json: auto_map.AutoConfig names evil.C."
        f" Would run: evil.py, helper.py sha256:{digest}. Read it, then pass trust_remote_code=True."
    )


def test_a_digest_permits_those_bytes_only(tmp_path):
    write(tmp_path, {"config.json": AUTO_MAP, "evil.py": "x = 1\n"})
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    assert passes(tmp_path, trust_remote_code=True, code_sha256=digest)
    (tmp_path / "evil.py").write_text("x = 2\n")
    error = refusal_of(tmp_path, trust_remote_code=True, code_sha256=digest)
    assert (error.code, error.grant) == ("RC", "code_sha256")
    assert "Its digest differs" in str(error)


def test_the_environment_revokes_and_never_grants(tmp_path, monkeypatch):
    write(tmp_path, {"config.json": AUTO_MAP, "evil.py": EVIL})
    monkeypatch.setenv(NO_REMOTE_CODE, "1")
    error = refusal_of(tmp_path, trust_remote_code=True)
    assert (error.code, error.grant) == ("RC", None)
    assert f"{NO_REMOTE_CODE} is set, which no argument overrules" in str(error)
    monkeypatch.setenv("MODELSCOPE_EXT_TRUST_REMOTE_CODE", "1")
    monkeypatch.delenv(NO_REMOTE_CODE)
    assert refusal_of(tmp_path).code == "RC"


def test_trust_is_not_remembered(tmp_path):
    write(tmp_path, {"config.json": AUTO_MAP, "evil.py": EVIL})
    assert passes(tmp_path, trust_remote_code=True)
    assert refusal_of(tmp_path).code == "RC"


def test_code_that_is_not_in_the_folder_cannot_be_trusted(tmp_path):
    write(tmp_path, {"config.json": AUTO_MAP})
    error = refusal_of(tmp_path, trust_remote_code=True)
    assert (error.code, error.grant) == ("RC", None)
    assert "There is no such file in the folder" in str(error)


def test_code_of_another_repo_is_a_redirect_once_code_is_trusted(tmp_path):
    write(tmp_path, {"config.json": {"model_type": "evil", "auto_map": {"AutoModel": "attacker/other--evil.C"}}})
    (tmp_path / "evil.py").write_text(EVIL)
    error = refusal_of(tmp_path, trust_remote_code=True)
    assert (error.code, error.file) == ("RD", "config.json")


@pytest.mark.parametrize("value", ["False", "true", 1, None, 0])
def test_trust_is_exactly_true_or_false(tmp_path, value):
    with pytest.raises(TypeError, match="expected exactly True or False"):
        load(write(tmp_path, MODEL), trust_remote_code=value)


class Config:
    trust_remote_code = False

    def __init__(self):
        self.trust_remote_code = True


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("model_kwargs", {"trust_remote_code": True}),
        ("pipeline_kwargs", {"deep": [{"allow_pickle": "full"}]}),
        ("config", Config()),
        ("cfg_dict", {"model": {"trust_remote_code": True}}),
    ],
)
def test_grants_stand_at_the_top_of_the_call(tmp_path, keyword, value):
    with pytest.raises(
        TypeError, match=rf"{keyword}.* holds (trust_remote_code=True|allow_pickle='?full).*nowhere else"
    ):
        load(write(tmp_path, MODEL), **{keyword: value})
    assert Request.of({"model_kwargs": {"trust_remote_code": False}}).extra


def test_a_pipeline_of_the_folder_is_refused_by_its_own_name(tmp_path):
    """A05: before anyone says that such a task does not exist."""
    custom = {"evil-task": {"impl": "evil.P", "pt": ["AutoModel"]}}
    write(tmp_path, {**MODEL, "config.json": {**BERT, "custom_pipelines": custom}, "evil.py": EVIL})
    error = refusal_of(tmp_path, task="evil-task")
    assert (error.code, error.field) == ("RC", "custom_pipelines.evil-task")
    assert passes(tmp_path, task="fill-mask")
    with pytest.raises(OptionError, match="evil-tusk"):
        load(tmp_path, task="evil-tusk")


def passes(folder, **keywords):
    """Whether both gates let the folder through; nothing is loaded."""
    request = Request.of(keywords)
    snapshot = Snapshot.from_folder(folder)
    evidence = collect(snapshot, cfg_dict=request.get("cfg_dict"))
    gate.check_task(request.get("task"), evidence, snapshot, request.grants)
    resolution = decide(evidence, Asked(request.get("task"), request.get("backend"), None, evidence))
    gate.gate_a(resolution, evidence, snapshot, request.grants, base_model=request.get("base_model"))
    gate.gate_b(resolution, snapshot, resolution.weights.files, request.grants)
    return resolution


HARMLESS = {
    "A06": {**MODEL, "custom_generate/generate.py": EVIL},
    "A08": {**MODEL, "configuration.json": {"framework": "pytorch", "task": "fill-mask"}, "ms_wrapper.py": EVIL},
    "stub": {**MODEL, "configuration.json": {"framework": "pytorch", "task": "fill-mask", "allow_remote": True}},
    "A36": {**MODEL, "setup.py": EVIL, "requirements.txt": "evil", "conftest.py": EVIL, "x.pth": "import evil"},
    "known": {**MODEL, "config.json": {**BERT, "auto_map": {"AutoModel": "evil.M"}}, "evil.py": EVIL},
    "native": {**MODEL, "tokenizer_config.json": {"vocab_file": None, "special_tokens_map_file": "/home/me/x.json"}},
    "detr": {**MODEL, "config.json": {**BERT, "use_pretrained_backbone": True, "backbone": "resnet50"}},
    "false": {**MODEL, "generation_config.json": {"trust_remote_code": False}},
    "gptq": {**MODEL, "config.json": {**BERT, "quantization_config": {"quant_method": "gptq"}}},
    "layers": {**MODEL, "config.json": {**BERT, "conv_feature_layers": "[(512, 10, 5)] + [(512, 3, 2)] * 4"}},
    "B04": {**MODEL, "pytorch_model.bin": pickle.dumps(Payload())},
    "B19": {**MODEL, "optimizer.pt": pickle.dumps(Payload()), "training_args.bin": pickle.dumps(Payload())},
    "diffusers": {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "vae": [None, None],
            "requires_safety_checker": True,
        }
    },
}


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_passes_both_gates(tmp_path, files):
    assert passes(write(tmp_path, files))


def test_a_known_architecture_needs_no_code_but_an_unknown_class_does(tmp_path):
    config = {"model_type": "bert", "architectures": ["EvilBert"], "auto_map": {"AutoModel": "evil.M"}}
    assert refusal_of(write(tmp_path, {**MODEL, "config.json": config, "evil.py": EVIL})).code == "RC"


def test_a_backend_that_runs_no_code_is_not_asked_for_trust(tmp_path):
    from tests.toy import Toy

    class Inert(Toy):
        runs_code = False

    write(tmp_path, {"config.json": AUTO_MAP, "evil.py": EVIL})
    snapshot = Snapshot.from_folder(tmp_path)
    evidence = collect(snapshot)
    resolution = decide(evidence, Asked(None, None, None, evidence))
    found = list(gate.refusals(resolution, evidence, snapshot, Grants(), engine=Inert()))
    assert found == []
    assert [e.code for e in gate.refusals(resolution, evidence, snapshot, Grants(), engine=Toy())] == ["RC"]


def test_everything_that_would_be_refused_can_be_listed(tmp_path):
    write(
        tmp_path,
        {
            **MODEL,
            "configuration.json": {"task": "fill-mask", "plugins": ["evil"], "allow_remote": True},
            "ms_wrapper.py": EVIL,
            "tokenizer_config.json": {"vocab_file": "../x"},
        },
    )
    snapshot = Snapshot.from_folder(tmp_path)
    evidence = collect(snapshot)
    resolution = decide(evidence, Asked(None, None, None, evidence))
    assert [e.code for e in gate.refusals(resolution, evidence, snapshot, Grants())] == ["IN", "RC", "PE"]
    assert gate.code_of(resolution, evidence, snapshot, Grants())[0] == ("ms_wrapper.py",)


def test_naming_the_base_permits_it_and_so_does_its_source(tmp_path):
    folder = write(
        tmp_path, {**MODEL, "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "org/base"}}
    )
    assert passes(folder, base_model="./base")
    assert passes(folder, allow_sources=["org/base@0a1b"])
    assert refusal_of(folder, allow_sources=["org/other"]).code == "RD"


# Gate B

BYTES = [
    ("B01", "pytorch_model.bin", zip_pickle(Payload()), "PK"),
    ("B02", "pytorch_model.bin", pickle.dumps(Payload(), protocol=2), "PK"),
    ("B15", "model.safetensors", pickle.dumps({"a": 1}, protocol=2), "MF"),
    ("B15-zip", "model.safetensors", zip_pickle({}), "MF"),
    ("E37", "model.safetensors", (10**8).to_bytes(8, "little") + b"{" + bytes(64), "MF"),
    ("empty", "model.safetensors", b"\0", "MF"),
    ("lfs", "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "MF"),
]


@pytest.mark.parametrize(("name", "data", "code"), [row[1:] for row in BYTES], ids=[row[0] for row in BYTES])
def test_gate_b_refuses(tmp_path, name, data, code):
    write(tmp_path, {"config.json": BERT})
    (tmp_path / name).write_bytes(data)
    for trust in (False, True):
        with pytest.raises(SafetyError) as caught:
            passes(tmp_path, trust_remote_code=trust)
        assert (caught.value.code, caught.value.file) == (code, name)


def test_a_pickle_under_any_name_is_one_where_the_decision_says_so(tmp_path):
    """The decision knows the format; a name that tells nothing does not let the bytes through."""
    from dataclasses import replace

    from modelscope_ext.metadata.snapshot import Source
    from modelscope_ext.models.resolution import Resolution, Weights

    (tmp_path / "weights.odd").write_bytes(pickle.dumps(Payload(), protocol=2))
    snapshot = Snapshot.from_folder(tmp_path)
    decided = Resolution(Source("local", path=str(tmp_path)), "pytorch", "transformers")
    gate.gate_b(decided, snapshot, ("weights.odd",), Grants())
    decided = replace(decided, weights=Weights("pickle", ("weights.odd",)))
    with pytest.raises(errors.PickleRefused):
        gate.gate_b(decided, snapshot, ("weights.odd",), Grants())


def test_no_pickle_at_all(tmp_path):
    write(tmp_path, {"config.json": BERT})
    (tmp_path / "pytorch_model.bin").write_bytes(zip_pickle({}))
    with pytest.raises(errors.PickleRefused, match="allow_pickle=False refuses every one") as caught:
        passes(tmp_path, allow_pickle=False)
    assert caught.value.grant == "allow_pickle"


def test_arrays_of_objects_are_pickles(tmp_path):
    import numpy as np

    snapshot = write(tmp_path, MODEL)
    np.save(tmp_path / "mean.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "both.npz", a=np.zeros(2), b=np.array([[1], "x"], dtype=object))
    np.save(tmp_path / "plain.npy", np.zeros(2))
    np.savez(tmp_path / "plain.npz", a=np.zeros(2))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    source = Snapshot.from_folder(snapshot)
    evidence = collect(source)
    resolution = decide(evidence, Asked(None, None, None, evidence))
    gate.gate_b(resolution, source, ("plain.npy", "plain.npz"), Grants())
    for name in ("mean.npy", "both.npz"):
        with pytest.raises(errors.PickleRefused, match="an object array, which is a pickle"):
            gate.gate_b(resolution, source, (name,), Grants())
        gate.gate_b(resolution, source, (name,), Grants(allow_pickle="full"))
    with pytest.raises(errors.MalformedMetadata, match=r"broken\.npz: not a zip archive"):
        gate.gate_b(resolution, source, ("broken.npz",), Grants())


def test_links_out_of_the_folder(tmp_path):
    """C04: the weights are a link to a file elsewhere."""
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(safetensors())
    folder = write(tmp_path / "model", {"config.json": BERT})
    (folder / "model.safetensors").symlink_to(outside)
    with pytest.raises(errors.PathEscapeRefused, match="a link that leaves the model"):
        passes(folder)


def test_programs_are_no_weights(tmp_path):
    """B16."""
    write(tmp_path, {**MODEL, "model.pt2": zip_pickle({})})
    snapshot = Snapshot.from_folder(tmp_path)
    evidence = collect(snapshot)
    from dataclasses import replace

    resolution = decide(evidence, Asked(None, None, None, evidence))
    weights = replace(resolution.weights, files=("model.pt2",), format="exported")
    with pytest.raises(errors.ExecutableFormatRefused, match="this format holds a program"):
        gate.gate_a(replace(resolution, weights=weights), evidence, snapshot, Grants())


# Floors


@pytest.mark.parametrize(
    ("name", "version", "pickles", "refused"),
    [
        ("torch", "2.9.1+cpu", True, "CVE-2026-24747"),
        ("torch", "2.9.1+cpu", False, None),
        ("torch", "2.10.0", True, None),
        ("transformers", "5.2.9", False, "CVE-2026-4372"),
        ("transformers", "4.56.0", False, "CVE-2026-4372"),
        ("transformers", "4.57.1", False, None),
        ("transformers", "5.3.0", False, None),
        ("transformers", "5.10", False, None),
    ],
)
def test_an_unsafe_library_is_refused(monkeypatch, name, version, pickles, refused):
    from modelscope_ext.metadata.snapshot import Source
    from modelscope_ext.models.resolution import Resolution, Weights
    from modelscope_ext.utils import distributions

    there = distributions.Distribution(name, version)
    monkeypatch.setattr(distributions, "installed", lambda asked: there if asked == name else None)
    weights = Weights("pickle" if pickles else "safetensors", ("model.x",))
    resolution = Resolution(
        Source("local", path="m"), "pytorch", "transformers", requirement_dependency=("transformers",), weights=weights
    )
    if refused is None:
        gate.check_floors(resolution, (), None)
        return
    with pytest.raises(errors.UnsafeBackendError, match=rf"{refused}.*pip install \"{name}>="):
        gate.check_floors(resolution, (), None)


# Code files


def test_relative_imports_are_followed_by_their_text():
    snapshot = Snapshot.from_mapping(
        {
            "a.py": "from .b import x\nfrom . import c, d as e\nimport os\nfrom .sub.f import y\n",
            "b.py": "    from .g import z\n",
            "c.py": "",
            "d.py": "",
            "g.py": "from .a import x\n",
            "other.py": "",
            "sub/__init__.py": "",
            "sub/f.py": "from ..h import w\n",
            "h.py": "",
        }
    )
    assert code_files(snapshot, ["a.py"]) == ("a.py", "b.py", "c.py", "d.py", "g.py", "h.py", "sub/f.py")
    assert code_files(snapshot, ["missing.py"]) == ()
    assert module_file("sub.f.K", snapshot.sizes) == "sub/f.py"
    assert module_file("sub.K", snapshot.sizes) == "sub/__init__.py"
    assert code_digest(snapshot, ["c.py"]) == hashlib.sha256(b"").hexdigest()


def test_the_digest_depends_on_every_byte_and_name():
    one = Snapshot.from_mapping({"a.py": "1", "b.py": "2"})
    two = Snapshot.from_mapping({"a.py": "1", "b.py": "3"})
    moved = Snapshot.from_mapping({"a.py": "1", "c.py": "2"})
    digests = {code_digest(s, s.names) for s in (one, two, moved)}
    assert len(digests) == 3


def test_strangers_text_in_a_refusal_is_harmless(tmp_path):
    write(tmp_path, {"config.json": {"model_type": "evil", "auto_map": {"A\x1b[31m\u202e" + "x" * 5000: "evil\n.M"}}})
    error = refusal_of(tmp_path)
    assert str(error).isprintable()
