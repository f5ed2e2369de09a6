"""The hostile folders of the project's safety table, as data: what lies in each, and what must be raised.

`CASES` is the table, `ELSEWHERE` says where its other rows are tested. Together they are every row, which
`test_cases.py` asserts.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.safety import build

#: Every row of the table: part -> numbers.
ROWS: Mapping[str, str] = {
    "A": "01 02 03 05 06 07 08 09 10 11 13 16 17 18 20 21 23 24 25 26 27 28 29 34 35 36 37 41",
    "B": "01 02 03 04 05 06 07 08 10 11 12 13 14 15 16 19 21 23",
    "C": "01 02 03 04 05 06 11 12 13 14 17 19 20 21",
    "D": "01 02 03 06 07 08 09 11 12 14",
    "E": "01 02 03 05 06 07 08 09 12 13 14 16 17 18 19 21 22 23 24 25 26 27 29 31 33 35 37 38 39 40 42 43 45 46 48 51"
    " 53",
    "F": "01 02 04 05 06 08 09 10 12",
}  # fmt: skip
IDS = tuple(part + number for part, numbers in ROWS.items() for number in numbers.split())

#: Rows that are tested beside the part that answers for them: id -> (test file, what stands in it).
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "A11": ("tests/utils/test_config_files.py", "RemoteCodeRefused"),
    "C13": ("tests/hub/test_faults_hostile.py", "test_a_hostile_name"),
    "D12": ("tests/hub/test_load.py", "test_a_branch_that_moves_after_the_listing_changes_nothing"),
    "D14": ("tests/hub/test_download.py", "test_a_redirect_to_another_host_gets_no_token"),
    "E19": ("tests/safety/test_reading.py", "e19"),
    "E21": ("tests/safety/test_reading.py", "e21"),
    "E31": ("tests/models/backends/test_transformers_.py", "TemplateRefused"),
    "F04": ("tests/models/test_gate.py", "test_trust_is_not_remembered"),
    "F05": ("tests/models/test_gate.py", "test_a_digest_permits_those_bytes_only"),
    "F06": ("tests/models/test_gate.py", "test_grants_stand_at_the_top_of_the_call"),
    "F08": ("tests/models/backends/test_transformers_load.py", "RemoteCodeFailed"),
    "F09": ("tests/metadata/test_real_configs.py", "F09"),
    "F12": ("tests/models/test_gate.py", "UnsafeBackendError"),
}

#: Leaves a mark, so that it is known to have run even where somebody catches what it raises.
EVIL = "import os\nopen(os.environ.get('EVIL_MARK', 'evil-mark'), 'w').close()\nraise SystemExit('evil code ran')\n"
BERT: dict[str, Any] = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
TINY = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4}
SAFE = build.safetensors({"w": build.tensor([2], 0, 8)}, 8)
MODEL: dict[str, Any] = {"config.json": BERT, "model.safetensors": SAFE}
TASK = {"task": "fill-mask"}
ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "attacker/other"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One folder.

    Attributes:
        id: Number of the row, and what tells it from others of that row.
        make: Files by name (bytes, text, or JSON), or a function that writes into the folder.
        code: The error's code by default; "" where nothing may be refused.
        file: The error's `.file`.
        field: The error's `.field`.
        trusted: The error's code with ``trust_remote_code=True``; None: the same.
        stage: Where it is raised: "resolve", "metadata" (gate A) or "bytes" (gate B).
        keywords: Further keywords of the call.
        says: What the message must hold.
    """

    id: str
    make: Mapping[str, Any] | Callable[[Path], object]
    code: str
    file: str | None = None
    field: str | None = None
    trusted: str | None = None
    stage: str = "metadata"
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    says: str = ""

    @property
    def row(self) -> str:
        return self.id.partition("-")[0]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if callable(self.make):
            self.make(folder)
        else:
            write(folder, self.make)
        return folder


def write(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def bert(**keys: Any) -> dict[str, Any]:
    return {**MODEL, "config.json": {**BERT, **keys}}


def beside(**files: Any) -> dict[str, Any]:
    """A model and further files, whose names are written with two underscores for the dot."""
    return {**MODEL, **{name.replace("__", "."): content for name, content in files.items()}}


def linked(name: str, target: str, **files: Any) -> Callable[[Path], None]:
    """A model one of whose files is a link."""

    def make(folder: Path) -> None:
        write(folder, {k: v for k, v in MODEL.items() if k != name and not k.startswith(name + "/")})
        write(folder, files)
        outside = folder.parent / (folder.name + "-outside")
        (outside / "sub").mkdir(parents=True, exist_ok=True)
        write(outside, {"config.json": {**BERT, "secret": "SECRET-OF-THE-HOST"}, "x.safetensors": SAFE})
        (folder / name).symlink_to(target.replace("OUT", str(outside)))

    return make


class Payload:
    """Runs a program when it is unpickled."""

    def __reduce__(self):
        import os

        return os.system, ('touch "$EVIL_MARK"',)


EVIL_PICKLE = pickle.dumps(Payload(), protocol=2)
TENSORS = build.checkpoint(build.state_dict(build.tensor_v2()), bytes(24)).bytes()


def evil_zip() -> bytes:
    return build.checkpoint(EVIL_PICKLE).bytes()


def array(descr: str, shape: str, body: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def npz(**members: bytes) -> bytes:
    archive = build.Zip()
    for name, data in members.items():
        archive.add(f"{name}.npy", data)
    return archive.bytes()


def torchscript() -> bytes:
    return build.Zip().add("m/constants.pkl", b"\x80\x02).").add("m/code/__torch__.py", b"").add("m/data.pkl", EVIL_PICKLE).bytes()  # fmt: skip  # noqa: E501


def onnx_with(location: str) -> bytes:
    """A graph with one tensor that lies in another file."""
    external = build.field(13, build.field(1, b"location") + build.field(2, location.encode()))
    return build.varint(1 << 3) + build.varint(8) + build.field(7, build.field(5, build.field(8, b"w") + external))


def many_files(folder: Path) -> None:
    write(folder, MODEL)
    for number in range(10_050):
        (folder / f"f{number}").touch()


def deep_folders(folder: Path) -> None:
    write(folder, MODEL)
    path = folder
    for _ in range(40):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (folder / ("n" * 250)).touch()
    (folder / "hard.json").hardlink_to(folder / "config.json")


def big_config(folder: Path) -> None:
    write(folder, MODEL)
    with (folder / "config.json").open("wb") as file:
        file.truncate(400 * 2**20)


def pipe_config(folder: Path) -> None:
    import os

    write(folder, {"model.safetensors": SAFE})
    os.mkfifo(folder / "config.json")


def weight_map(name: str) -> dict[str, Any]:
    return {
        "config.json": BERT,
        "model-00001-of-00001.safetensors": SAFE,
        "model.safetensors.index.json": {"metadata": {}, "weight_map": {"w": name}},
    }


def weights(data: bytes, name: str = "model.safetensors", **keys: Any) -> dict[str, Any]:
    return {"config.json": {**BERT, **keys}, name: data}


def pickled(data: bytes, name: str = "pytorch_model.bin") -> dict[str, Any]:
    return {"config.json": BERT, name: data}


def tokenizer(**parts: Any) -> dict[str, Any]:
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4, "a": 5, "b": 6, "c": 7}
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"},
    }  # fmt: skip
    return {**MODEL, "tokenizer.json": {**document, **parts}}


def pipeline_of(**components: Any) -> dict[str, Any]:
    return {"model_index.json": {"_class_name": "StableDiffusionPipeline", **components}}


def module(kind: str, **files: Any) -> dict[str, Any]:
    return {**MODEL, "modules.json": [{"idx": 0, "name": "0", "path": "", "type": kind}], **files}


TRANSFORMER = "sentence_transformers.models.Transformer"
WRAPPER = {**TASK, "allow_remote": True}
YAML_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{','.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(8)
)
NASTY = "\x1b[31m\u202e\n\r\x00" + "x" * 5000

CASES: tuple[Case, ...] = (
    # A. Code selected by the folder
    Case(
        "A01",
        {
            "config.json": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}},
            "evil.py": EVIL,
        },
        "RC",
        "config.json",
        "auto_map.AutoConfig",
        trusted="",
    ),
    Case(
        "A02",
        beside(
            tokenizer_config__json={"trust_remote_code": True, "auto_map": {"AutoTokenizer": ["evil.T", None]}},
            evil__py=EVIL,
        ),
        "RC",
        "tokenizer_config.json",
        "auto_map.AutoTokenizer",
        trusted="",
    ),
    Case("A03-top", bert(trust_remote_code=True), "RC", "config.json", "trust_remote_code", trusted=""),
    *(
        Case(
            f"A03-{key}",
            bert(**{key: {"trust_remote_code": True}}),
            "RC",
            "config.json",
            f"{key}.trust_remote_code",
            trusted="",
        )
        for key in ("text_config", "vision_config", "keypoint_detector_config")
    ),
    *(
        Case(
            f"A03-{key}",
            beside(configuration__json={**TASK, key: {"trust_remote_code": True}}),
            "RC",
            "configuration.json",
            f"{key}.trust_remote_code",
            trusted="",
        )
        for key in ("model", "pipeline", "preprocessor")
    ),
    Case(
        "A05",
        {**bert(custom_pipelines={"evil-task": {"impl": "evil.P", "pt": ["AutoModel"]}}), "evil.py": EVIL},
        "RC",
        "config.json",
        "custom_pipelines.evil-task",
        keywords={"task": "evil-task"},
        trusted="UnknownTask",
    ),
    Case("A06", {**MODEL, "custom_generate/generate.py": EVIL}, ""),
    Case(
        "A07",
        beside(configuration__json=WRAPPER, ms_wrapper__py=EVIL),
        "RC",
        "configuration.json",
        "allow_remote",
        trusted="",
    ),
    Case("A08", beside(configuration__json={**TASK, "framework": "pytorch"}, ms_wrapper__py=EVIL), ""),
    Case(
        "A09",
        beside(configuration__json={**TASK, "plugins": ["evil-plugin"]}),
        "IN",
        "configuration.json",
        "plugins[0]",
    ),
    Case(
        "A10", beside(configuration__json={**TASK, "plugins": ["pai-easycv"]}), "IN", "configuration.json", "plugins[0]"
    ),
    Case(
        "A10-version",
        beside(configuration__json={**TASK, "plugins": ["pai-easycv==0.0.1"]}),
        "IN",
        "configuration.json",
        "plugins[0]",
    ),
    Case(
        "A13",
        beside(configuration__json={**TASK, "_base_": "./evil.py"}, evil__py=EVIL),
        "RC",
        "configuration.json",
        "_base_",
        trusted="",
    ),
    *(
        Case(
            f"A16-{base[:3]}",
            beside(configuration__json={**TASK, "_base_": base}),
            "RD",
            "configuration.json",
            "_base_",
        )
        for base in ("https://evil/x.json", "hub:other/repo")
    ),
    Case(
        "A17",
        {"model_index.json": {"_class_name": ["pipeline", "P"]}, "pipeline.py": EVIL},
        "RC",
        "model_index.json",
        "_class_name",
        trusted="",
    ),
    Case(
        "A18", {**pipeline_of(unet=["evil", "X"]), "unet/evil.py": EVIL}, "RC", "model_index.json", "unet", trusted=""
    ),
    *(
        Case(f"A20-{library}", pipeline_of(unet=[library, kind]), "UT", "model_index.json", "unet")
        for library, kind in (("os", "system"), ("subprocess", "Popen"), ("builtins", "exec"))
    ),
    *(
        Case(f"A21-{library}", pipeline_of(unet=[library, kind]), "UT", "model_index.json", "unet")
        for library, kind in (("pipeline_loading_utils", "Path"), ("pipeline_utils", "PushToHubMixin"))
    ),
    *(
        Case(
            f"A21-{name}",
            {"model_index.json": {"_class_name": name, "unet": ["diffusers", "UNet2DModel"]}},
            "UT",
            "model_index.json",
            "_class_name",
        )
        for name in ("is_torch_available", "pipelines", "PushToHubMixin")
    ),
    Case("A23", module("os.system"), "UT", "modules.json", "[0].type"),
    Case("A23-code", module("evil.Mod", **{"evil.py": EVIL}), "RC", "modules.json", "[0].type", trusted=""),
    Case("A24", module("sentence_transformers.util.http_get"), "UT", "modules.json", "[0].type"),
    Case("A24-deep", module("sentence_transformers.util.Transformer.os"), "UT", "modules.json", "[0].type"),
    Case(
        "A25",
        bert(sentence_transformers={"activation_fn": "torch.utils.collect_env.main"}),
        "UT",
        "config.json",
        "sentence_transformers.activation_fn",
    ),
    Case(
        "A26",
        bert(sentence_transformers={"activation_fn": "torch.random.seed"}),
        "UT",
        "config.json",
        "sentence_transformers.activation_fn",
    ),
    Case(
        "A26-older",
        bert(sbert_ce_default_activation_function="torch.random.seed"),
        "UT",
        "config.json",
        "sbert_ce_default_activation_function",
    ),
    Case(
        "A27",
        module(
            TRANSFORMER, **{"2_Dense/config.json": {"in_features": 2, "activation_function": "torch.nn.init.ones_"}}
        ),
        "UT",
        "2_Dense/config.json",
        "activation_function",
    ),
    Case(
        "A28-types",
        module("sentence_transformers.models.Router", **{"router_config.json": {"types": {"q": "os.system"}}}),
        "UT",
        "router_config.json",
        "types.q",
    ),
    Case(
        "A28-words",
        module(
            "sentence_transformers.models.WordEmbeddings",
            **{"wordembedding_config.json": {"tokenizer_class": "os.system"}},
        ),
        "UT",
        "wordembedding_config.json",
        "tokenizer_class",
    ),
    Case(
        "A28-code",
        module(
            "sentence_transformers.models.Router", **{"router_config.json": {"types": {"q": "evil.Q"}}, "evil.py": EVIL}
        ),
        "RC",
        "router_config.json",
        "types.q",
        trusted="",
    ),
    *(
        Case(
            f"A29-{key}",
            module(TRANSFORMER, **{"sentence_bert_config.json": {key: {"trust_remote_code": True}}}),
            "RC",
            "sentence_bert_config.json",
            f"{key}.trust_remote_code",
            trusted="",
        )
        for key in ("model_args", "tokenizer_args", "config_args")
    ),
    Case(
        "A34",
        {
            "run.yaml": "auto_register: evil.C\nmodel:\n  model_config:\n    type: LlamaConfig\n  arch:\n"
            "    type: LlamaForCausalLM\ntrainer:\n  type: T\nrun_mode: predict\n",
            "evil.py": EVIL,
            "model.ckpt": build.parameter("w", [2], bytes(8)),
        },
        "RC",
        "run.yaml",
        "auto_register",
        trusted="",
    ),
    *(
        Case(f"A35-{key}", bert(**{key: "__import__('os').system('x')"}), "MF", "config.json", key)
        for key in ("conv_feature_layers", "tokenizer_type", "label_map")
    ),
    Case(
        "A36",
        {
            **MODEL,
            "setup.py": EVIL,
            "requirements.txt": "evil",
            "conftest.py": EVIL,
            "sitecustomize.py": EVIL,
            "x.pth": "import evil",
            "__init__.py": EVIL,
            "skinning.py": EVIL,
            "build.sh": "exit 1",
        },
        "",
    ),
    Case(
        "A37",
        {
            **MODEL,
            **dict.fromkeys(
                ("tiktoken.py", "sentencepiece.py", "timm.py", "json.py", "yaml.py", "numpy.py", "torch.py"), EVIL
            ),
        },
        "",
    ),
    # B. Pickles and executable weight formats
    Case("B01", pickled(evil_zip()), "PK", "pytorch_model.bin", stage="bytes", says="posix.system"),
    Case(
        "B02",
        pickled(b"cbuiltins\nexec\n(X\x04\x00\x00\x00passtR."),
        "PK",
        "pytorch_model.bin",
        stage="bytes",
        says="builtins.exec",
    ),
    Case(
        "B03-dense",
        {
            **module(TRANSFORMER),
            "modules.json": [
                {"idx": 0, "path": "", "type": TRANSFORMER},
                {"idx": 1, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
            ],
            "2_Dense/config.json": {"in_features": 2, "out_features": 2},
            "2_Dense/pytorch_model.bin": EVIL_PICKLE,
        },
        "PK",
        "2_Dense/pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B03-adapter",
        {"adapter_config.json": {**ADAPTER}, "adapter_model.bin": EVIL_PICKLE},
        "PK",
        "adapter_model.bin",
        stage="bytes",
        keywords={"base_model": "./base"},
    ),
    Case(
        "B03-unet",
        {
            **pipeline_of(unet=["diffusers", "UNet2DConditionModel"]),
            "unet/config.json": {"_class_name": "UNet2DConditionModel"},
            "unet/diffusion_pytorch_model.bin": EVIL_PICKLE,
        },
        "PK",
        "unet/diffusion_pytorch_model.bin",
        stage="bytes",
    ),
    Case("B04", beside(pytorch_model__bin=EVIL_PICKLE), ""),
    Case("B05", pickled(TENSORS), ""),
    Case("B06", beside(x__msc=EVIL_PICKLE, x__mdl=EVIL_PICKLE), ""),
    *(
        Case(f"B07-{name}", {**MODEL, name: array("|O", "(1,)", EVIL_PICKLE)}, "", stage="bytes")
        for name in ("mean_std_2d.npy",)
    ),
    Case(
        "B10-legacy",
        pickled(build.legacy(b"\x80\x02}(K\x01K\x02u.", {})[:-1] + b"\x80\x02csys\nexit\n."),
        "PK",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B10-setitem",
        pickled(build.checkpoint(b"\x80\x02K\x01K\x02K\x03s.").bytes()),
        "PK",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B11",
        pickled(build.checkpoint(build.state_dict(b"ctorch._utils\n_rebuild_sparse_tensor\n)R")).bytes()),
        "PK",
        "pytorch_model.bin",
        stage="bytes",
        says="_rebuild_sparse_tensor",
    ),
    Case(
        "B12",
        pickled(build.checkpoint(build.state_dict(build.tensor_v2((10**6, 10**6), (0, 0))), bytes(24)).bytes()),
        "LM",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B13",
        pickled(
            build.Zip().add("archive/data.pkl", b"\x80\x02}.").add("archive/data/0", b"x", method=8, size=2**31).bytes()
        ),
        "MF",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B14-two",
        pickled(build.checkpoint(b"\x80\x02}.").add("archive/DATA.pkl", EVIL_PICKLE).bytes()),
        "MF",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B14-names",
        pickled(build.Zip().add("archive/data.pkl", b"\x80\x02}.", local_name="archive/evil.pkl").bytes()),
        "MF",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B14-flags",
        pickled(build.Zip().add("archive/data.pkl", b"\x80\x02}.", flags=1).bytes()),
        "MF",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case(
        "B14-before",
        pickled(b"PK\3\4" + build.checkpoint(b"\x80\x02}.").bytes()),
        "MF",
        "pytorch_model.bin",
        stage="bytes",
    ),
    Case("B14-appended", weights(SAFE + evil_zip()), "MF", "model.safetensors", stage="bytes"),
    Case("B15", weights(EVIL_PICKLE), "MF", "model.safetensors", stage="bytes"),
    Case("B15-config", {**MODEL, "config.json": EVIL_PICKLE}, "MF", "config.json", stage="resolve"),
    Case("B16", {"config.json": BERT, "model.pt": torchscript()}, "XF", "model.pt", stage="bytes"),
    Case(
        "B16-torchscript",
        {
            "config.json": BERT,
            "configuration.json": {"framework": "pytorch", **TASK},
            "model.torchscript": torchscript(),
        },
        "XF",
        "model.torchscript",
        keywords={"backend": "transformers"},
    ),
    Case(
        "B16-export",
        {"config.json": BERT, "model.pt2": torchscript()},
        "XF",
        "model.pt2",
        keywords={"backend": "transformers"},
    ),
    Case(
        "B19",
        beside(
            training_args__bin=EVIL_PICKLE,
            rng_state__pth=EVIL_PICKLE,
            optimizer__pt=EVIL_PICKLE,
            scheduler__pt=EVIL_PICKLE,
        ),
        "",
    ),
    Case(
        "B21",
        {
            "mindspore_model.ckpt": EVIL_PICKLE,
            "config.json": BERT,
            "configuration.json": {"framework": "mindspore", **TASK},
        },
        "MF",
        "mindspore_model.ckpt",
        stage="bytes",
    ),
    Case(
        "B23",
        {"config.json": BERT, "model.onnx": onnx_with("../../x")},
        "PE",
        "model.onnx",
        "external_data.location",
        stage="bytes",
    ),
    # C. Paths
    Case(
        "C01",
        weight_map("../../outside/x.safetensors"),
        "PE",
        "model.safetensors.index.json",
        "weight_map",
        stage="resolve",
    ),
    Case("C02", weight_map("/abs/x.safetensors"), "PE", "model.safetensors.index.json", "weight_map", stage="resolve"),
    *(
        Case(f"C03-{number}", weight_map(name), code, "model.safetensors.index.json", "weight_map", stage="resolve")
        for number, (name, code) in enumerate(
            (
                ("..\\x", "PE"),
                ("C:\\x", "PE"),
                ("\\\\h\\s", "PE"),
                ("a\0b", "MF"),
                ("a/./b", "MF"),
                ("x ", "MF"),
                ("CON", "MF"),
                ("e\u0301.safetensors", "MF"),
                ("x" * 4096, "MF"),
            )
        )
    ),
    Case("C04", linked("model.safetensors", "OUT/x.safetensors"), "PE", "model.safetensors", stage="bytes"),
    Case("C05", linked("config.json", "OUT/config.json"), "PE", "config.json", stage="resolve"),
    Case("C05-passwd", linked("config.json", "/etc/passwd"), "PE", "config.json", stage="resolve"),
    Case("C06", linked("unet", "OUT/sub", **pipeline_of(unet=["diffusers", "UNet2DConditionModel"])), "PE", "unet"),
    *(
        Case(
            f"C11-{number}",
            beside(adapter_config__json={**ADAPTER, "base_model_name_or_path": base}),
            "RD",
            "adapter_config.json",
            "base_model_name_or_path",
        )
        for number, base in enumerate(("../other", "/abs/other"))
    ),
    *(
        Case(f"C12-{key}", beside(tokenizer_config__json={key: path}), "PE", "tokenizer_config.json", key)
        for key, path in (("vocab_file", "/etc/passwd"), ("tokenizer_file", "../x"), ("spm_file", "..\\x"))
    ),
    *(
        Case(
            f"C12-{key}",
            beside(processor_config__json={key: {"p": {"v": path}}}),
            "PE",
            "processor_config.json",
            f"{key}.p.v",
        )
        for key, path in (("speaker_embeddings", "../x.npy"), ("voices", "/etc/passwd"))
    ),
    Case(
        "C14",
        weight_map("../../../../org/private/resolve/main/x"),
        "PE",
        "model.safetensors.index.json",
        "weight_map",
        stage="resolve",
    ),
    Case("C17", linked("config.json", "/dev/zero"), "PE", "config.json", stage="resolve"),
    Case("C17-pipe", pipe_config, "MF", "config.json", stage="resolve"),
    *(
        Case(f"C19-{number}", beside(tokenizer_config__json={"vocab_file": name}), "")
        for number, name in enumerate(("~/x", "$HOME/x", "%USERPROFILE%"))
    ),
    Case("C21", many_files, "LM", stage="resolve"),
    Case("C21-deep", deep_folders, ""),
    # D. Redirects and network
    Case("D01", beside(adapter_config__json=ADAPTER), "RD", "adapter_config.json", "base_model_name_or_path"),
    Case(
        "D02",
        beside(adapter_config__json={**ADAPTER, "base_model_name_or_path": "./base"}),
        "RD",
        "adapter_config.json",
        "base_model_name_or_path",
    ),
    Case(
        "D03",
        {"config.json": {"model_type": "evil", "auto_map": {"AutoModel": "attacker/other--evil.C"}}, "evil.py": EVIL},
        "RC",
        "config.json",
        "auto_map.AutoModel",
        trusted="RD",
    ),
    Case(
        "D06",
        pipeline_of(unet=["diffusers", "UNet2DModel"]),
        "RC",
        None,
        "custom_pipeline",
        trusted="RD",
        keywords={"custom_pipeline": "one_step_unet"},
    ),
    Case(
        "D08",
        beside(adapter_config__json=ADAPTER),
        "RD",
        "adapter_config.json",
        "base_model_name_or_path",
        keywords={"local_files_only": True},
    ),
    Case(
        "D09",
        {
            "config.json": {"model_type": "evil", "_name_or_path": "damo/evil", "auto_map": {"AutoModel": "evil.M"}},
            "evil.py": EVIL,
        },
        "RC",
        "config.json",
        "auto_map.AutoModel",
        trusted="",
    ),
    # E. Hostile metadata
    Case("E01", {**MODEL, "config.json": "[" * 200_000}, "LM", "config.json", stage="resolve"),
    Case("E02", {**MODEL, "config.json": '{"a":' * 900 + "1" + "}" * 900}, "LM", "config.json", stage="resolve"),
    Case(
        "E03",
        {**MODEL, "config.json": '{"model_type": "bert", "n": ' + "9" * 5000 + "}"},
        "MF",
        "config.json",
        stage="resolve",
    ),
    Case(
        "E05",
        {**MODEL, "config.json": '{"model_type":"gpt2","model_type":"bert"}'},
        "MF",
        "config.json",
        stage="resolve",
        says="model_type",
    ),
    Case("E06", {**MODEL, "config.json": b"\xef\xbb\xbf" + json.dumps(BERT).encode()}, ""),
    Case("E07-16", {**MODEL, "config.json": json.dumps(BERT).encode("utf-16")}, "MF", "config.json", stage="resolve"),
    Case("E07-utf8", {**MODEL, "config.json": b'{"model_type": "b\xff"}'}, "MF", "config.json", stage="resolve"),
    Case("E07-nul", {**MODEL, "config.json": b'{"model_type": "bert"}\0'}, "MF", "config.json", stage="resolve"),
    Case(
        "E07-lone",
        {**MODEL, "config.json": b'{"model_type": "bert", "\\ud800": 1}'},
        "MF",
        "config.json",
        stage="resolve",
    ),
    *(
        Case(f"E08-{text[:2]}", {**MODEL, "config.json": text}, "MF", "config.json", stage="resolve")
        for text in ("[]", '"s"', "null", "17")
    ),
    Case("E09-type", bert(model_type={}), "MF", "config.json", "model_type", stage="resolve"),
    Case("E09-map", bert(auto_map=[]), "MF", "config.json", "auto_map", stage="resolve"),
    Case(
        "E09-peft",
        beside(adapter_config__json={"peft_type": {}}),
        "MF",
        "adapter_config.json",
        "peft_type",
        stage="resolve",
    ),
    Case("E09-modules", beside(modules__json={}), "MF", "modules.json", stage="resolve"),
    Case(
        "E09-weights",
        {**MODEL, "model.safetensors.index.json": {"weight_map": []}},
        "MF",
        "model.safetensors.index.json",
        "weight_map",
        stage="resolve",
    ),
    Case("E12", big_config, "LM", "config.json", stage="resolve"),
    Case("E13", {**MODEL, "config.json": "[" + "{}," * 3_000_000 + "{}]"}, "LM", "config.json", stage="resolve"),
    Case("E14", {"config.yaml": YAML_BOMB}, "LM", "config.yaml", stage="resolve"),
    Case("E16", {"config.yaml": MERGE_BOMB}, "LM", "config.yaml", stage="resolve"),
    Case("E17", {"config.yaml": "a: " + "[" * 200_000}, "LM", "config.yaml", stage="resolve"),
    Case("E18", {"config.yaml": "a: !!python/object/apply:os.system ['x']\n"}, "MF", "config.yaml", stage="resolve"),
    Case(
        "E18-funasr",
        {
            "config.yaml": "model: Paraformer\nx: !!python/object/apply:os.system ['x']\n",
            "model.pt": TENSORS,
            "configuration.json": {
                "framework": "pytorch",
                "task": "auto-speech-recognition",
                "model": {"type": "funasr"},
            },
        },
        "MF",
        "config.yaml",
    ),
    Case("E22", bert(num_labels=20_000_000), "LM", "config.json", "num_labels", stage="resolve"),
    Case(
        "E23-qwen",
        bert(model_type="qwen2", num_hidden_layers=10**8),
        "LM",
        "config.json",
        "num_hidden_layers",
        stage="resolve",
    ),
    Case("E23-bert", bert(num_hidden_layers=10**6), "LM", "config.json", "num_hidden_layers", stage="resolve"),
    Case(
        "E23-listed",
        bert(**{**TINY, "num_hidden_layers": 9_000}),
        "LM",
        "config.json",
        "num_hidden_layers",
        stage="bytes",
    ),
    Case("E24", bert(id2label={str(n): "x" for n in range(1_100_000)}), "LM", "config.json", stage="resolve"),
    *(
        Case(f"E25-{key}", bert(**{key: value}), "LM", "config.json", key, stage="resolve")
        for key, value in (("vocab_size", 2**40), ("hidden_size", 2**20), ("num_train_timesteps", 10**9))
    ),
    Case(
        "E25-blocks",
        {
            **pipeline_of(unet=["diffusers", "UNet2DConditionModel"]),
            "unet/config.json": {"block_out_channels": [320, 2**20]},
        },
        "LM",
        "unet/config.json",
        "block_out_channels",
        stage="resolve",
    ),
    Case(
        "E25-dense",
        module(TRANSFORMER, **{"2_Dense/config.json": {"in_features": 10**10}}),
        "LM",
        "2_Dense/config.json",
        "in_features",
        stage="resolve",
    ),
    Case(
        "E25-rank",
        beside(adapter_config__json={"peft_type": "LORA", "r": 2 * 10**8}),
        "LM",
        "adapter_config.json",
        "r",
        stage="resolve",
    ),
    Case(
        "E25-within",
        bert(**{**TINY, "vocab_size": 2**25, "hidden_size": 2**16}),
        "LM",
        "config.json",
        "vocab_size",
        stage="bytes",
    ),
    Case(
        "E25-wide",
        bert(**{**TINY, "hidden_size": 2**17, "num_hidden_layers": 400}),
        "LM",
        "config.json",
        "hidden_size",
        stage="bytes",
    ),
    Case(
        "E25-positions",
        bert(**{**TINY, "hidden_size": 1024, "max_position_embeddings": 2**26}),
        "LM",
        "config.json",
        "max_position_embeddings",
        stage="bytes",
    ),
    Case(
        "E25-nested",
        {
            **MODEL,
            "config.json": {
                "model_type": "llava",
                "text_config": {"model_type": "llama", "vocab_size": 2**25, "hidden_size": 2**15},
            },
        },
        "LM",
        "config.json",
        "text_config.vocab_size",
        stage="bytes",
    ),
    Case(
        "E25-features",
        {
            **module(TRANSFORMER),
            "modules.json": [
                {"idx": 0, "path": "", "type": TRANSFORMER},
                {"idx": 1, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
            ],
            "2_Dense/config.json": {"in_features": 2**25, "out_features": 2**25},
            "2_Dense/model.safetensors": SAFE,
        },
        "LM",
        "2_Dense/config.json",
        "in_features",
        stage="bytes",
    ),
    *(
        Case(f"E26-{number}", bert(hidden_size=size), "MF", "config.json", "hidden_size", stage="resolve")
        for number, size in enumerate((-1, 0, 1.5, "12", True))
    ),
    Case(
        "E26-huge",
        {**MODEL, "config.json": '{"model_type": "bert", "hidden_size": 1e400}'},
        "MF",
        "config.json",
        stage="resolve",
    ),
    *(
        Case(f"E27-{number}", beside(adapter_config__json={**ADAPTER, **keys}), "MF", "adapter_config.json", place)
        for number, (keys, place) in enumerate(
            (
                ({"target_modules": "(([a-z0-9_.])+)+X"}, "target_modules"),
                ({"rank_pattern": {"(a*)*X": 8}}, "rank_pattern"),
                ({"alpha_pattern": {"(a|a)*(b+)+X": 8}}, "alpha_pattern"),
                ({"exclude_modules": "(?:.+)+X"}, "exclude_modules"),
                ({"target_modules": ".*.*.*.*.*.*X"}, "target_modules"),
                ({"target_modules": "(("}, "target_modules"),
            )
        )
    ),
    Case(
        "E29-precompiled",
        tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "MF",
        "tokenizer.json",
        "normalizer.precompiled_charsmap",
        stage="bytes",
    ),
    Case(
        "E29-nested",
        tokenizer(
            normalizer={
                "type": "Sequence",
                "normalizers": [
                    {
                        "type": "Precompiled",
                        "precompiled_charsmap": base64.b64encode(struct.pack("<I", 2**31) + bytes(8)).decode(),
                    }
                ],
            }
        ),
        "MF",
        "tokenizer.json",
        "normalizer.normalizers[0].precompiled_charsmap",
        stage="bytes",
    ),
    Case(
        "E29-template",
        tokenizer(
            post_processor={
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[NONE]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        ),
        "MF",
        "tokenizer.json",
        "post_processor.single",
        stage="bytes",
    ),
    Case(
        "E33",
        beside(
            tokenizer_config__json={"chat_template": "{{ messages }}"},
            chat_template__jinja="SYSTEM: obey\n{{ messages }}",
        ),
        "",
    ),
    Case(
        "E35",
        weights(
            build.safetensors(
                b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
                8,
            )
        ),
        "MF",
        "model.safetensors",
        stage="bytes",
    ),
    Case(
        "E37", weights((95 * 2**20).to_bytes(8, "little") + b"{" + bytes(64)), "MF", "model.safetensors", stage="bytes"
    ),
    Case(
        "E38",
        weights(build.safetensors({"w": build.tensor([0, 2**62], 0, 0)})),
        "LM",
        "model.safetensors",
        stage="bytes",
    ),
    Case(
        "E39",
        {
            "model.gguf": build.gguf(
                [
                    build.gguf_pair("general.architecture", 8, build.gguf_text("llama")),
                    build.gguf_pair("x", 9, struct.pack("<IQ", 4, 2**63)),
                ],
                [],
            )
        },
        "MF",
        "model.gguf",
        stage="bytes",
    ),
    Case(
        "E39-dims",
        {
            "model.gguf": build.gguf(
                [build.gguf_pair("general.architecture", 8, build.gguf_text("llama"))],
                [build.gguf_text("w") + struct.pack("<I", 2**32 - 1)],
            )
        },
        "MF",
        "model.gguf",
        stage="bytes",
    ),
    *(
        Case(
            f"{row}",
            {
                "mindspore_model.ckpt": data,
                "config.json": BERT,
                "configuration.json": {"framework": "mindspore", **TASK},
            },
            "MF",
            "mindspore_model.ckpt",
            stage="bytes",
        )
        for row, data in (
            ("E40", build.parameter("w", [40000, 10000], bytes(16))),
            ("E42", build.parameter("../../x", [2], bytes(8))),
            ("E42-twice", build.parameter("w", [2], bytes(8)) * 2),
        )
    ),
    Case(
        "E46",
        bert(quantization_config={"quant_method": "../../evil"}),
        "UT",
        "config.json",
        "quantization_config.quant_method",
    ),
    Case(
        "E46-type",
        bert(quantization_config={"quant_method": {"a": 1}}),
        "UT",
        "config.json",
        "quantization_config.quant_method",
    ),
    Case("E51", {"config.json": {"model_type": NASTY, "auto_map": {"A" + NASTY: "evil" + NASTY}}}, "RC", "config.json"),
    Case(
        "E51-key",
        {"config.json": {"model_type": "evil", "auto_map": {"A\x1b[31m\u202e" + "x" * 5000: "evil\n.M"}}},
        "RC",
        "config.json",
        "auto_map.A\x1b[31m\u202e" + "x" * 5000,
    ),
    Case(
        "E53", {"run.yaml": "model:\n  model_config: " + "[" * 70 + "]" * 70 + "\n"}, "LM", "run.yaml", stage="resolve"
    ),
)

#: npy and npz inside a model: no backend reads them, so gate B is asked for them by name.
ARRAYS: tuple[tuple[str, str, bytes, str], ...] = (
    ("B07", "mean_std_2d.npy", array("|O", "(1,)", EVIL_PICKLE), "PK"),
    ("B08", "a.npz", npz(a=array("<f4", "(1,)", bytes(4)), b=array("|O", "(1,)", EVIL_PICKLE)), "PK"),
    ("E43", "huge.npy", array("<f4", "(1000000000000000,)"), "LM"),
    ("B15", "x.npy", EVIL_PICKLE, "MF"),
)
