"""Hostile folders of the same classes as the rows of the table, invented here: the class is to be closed, not the row.

Their numbers are the row's whose class they belong to and a plus sign.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.safety import build
from tests.safety.cases import (
    ADAPTER,
    BERT,
    EVIL,
    EVIL_PICKLE,
    MODEL,
    SAFE,
    TASK,
    TENSORS,
    TRANSFORMER,
    Case,
    array,
    bert,
    beside,
    linked,
    module,
    npz,
    onnx_with,
    pickled,
    pipeline_of,
    tokenizer,
    weights,
    write,
)

__all__ = ["INVENTED", "INVENTED_ARRAYS"]

UNET = {"unet/config.json": {"_class_name": "UNet2DConditionModel"}, "unet/diffusion_pytorch_model.safetensors": SAFE}
PIPELINE = {**pipeline_of(unet=["diffusers", "UNet2DConditionModel"]), **UNET}


def folder_named(name: str) -> Callable[[Path], None]:
    """A model in which a folder stands where a file is read."""

    def make(folder: Path) -> None:
        write(folder, {k: v for k, v in MODEL.items() if k != name})
        (folder / name).mkdir()

    return make


def socket_config(folder: Path) -> None:
    write(folder, {"model.safetensors": SAFE})
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        try:  # a socket's path may have no more than some 100 characters
            import os

            os.chdir(folder)
            made.bind("config.json")
        finally:
            os.chdir(here)


def circle(folder: Path) -> None:
    write(folder, MODEL)
    (folder / "sub").symlink_to(".")
    (folder / "a.json").symlink_to("b.json")
    (folder / "b.json").symlink_to("a.json")


def twins(folder: Path) -> None:
    write(folder, MODEL)
    (folder / "caf\u00e9.json").touch()
    (folder / "cafe\u0301.json").touch()


def chain(folder: Path) -> None:
    """A link to a link that leaves the folder."""
    linked("model.safetensors", "hop")(folder)
    (folder / "hop").symlink_to(f"../{folder.name}-outside/x.safetensors")


def pickle_of(body: bytes) -> Mapping[str, Any]:
    return pickled(build.checkpoint(b"\x80\x02" + body).bytes())


def card(front: str) -> dict[str, Any]:
    return beside(README__md=f"---\n{front}\n---\n# x\n")


def header(text: bytes, body: int = 8) -> dict[str, Any]:
    return weights(build.safetensors(text, body))


def gguf_of(*pairs: bytes, tensors: tuple[bytes, ...] = ()) -> dict[str, Any]:
    return {
        "model.gguf": build.gguf(
            [build.gguf_pair("general.architecture", 8, build.gguf_text("llama")), *pairs], list(tensors)
        )
    }


def _code() -> tuple[Case, ...]:
    """A: code that a file asks for, grants that a file gives itself, names that a library would import."""
    maps = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
    named = {"AutoProcessor": "evil.P"}
    return (
        *(
            Case(
                f"A02+{name[:5]}",
                {**MODEL, name: {"auto_map": named}, "evil.py": EVIL},
                "RC",
                name,
                "auto_map.AutoProcessor",
                trusted="",
            )
            for name in maps
        ),
        Case(
            "A01+package",
            {
                "config.json": {"model_type": "evil", "auto_map": {"AutoModel": "evil.inner.M"}},
                "evil/__init__.py": EVIL,
                "evil/inner.py": EVIL,
            },
            "RC",
            "config.json",
            "auto_map.AutoModel",
            trusted="",
        ),
        Case(
            "A01+no-file",
            {"config.json": {"model_type": "evil", "auto_map": {"AutoModel": "evil.M"}}, "model.safetensors": SAFE},
            "RC",
            "config.json",
            "auto_map.AutoModel",
        ),
        Case(
            "A01+above",
            {
                "config.json": {"model_type": "evil", "auto_map": {"AutoModel": "../evil.M"}},
                "model.safetensors": SAFE,
            },
            "RC",
            "config.json",
            "auto_map.AutoModel",
        ),
        *(
            Case(f"A03+{key}", bert(**{key: {"inner": [{"trust_remote_code": True}]}}), "RC", "config.json",
                 f"{key}.inner[0].trust_remote_code", trusted="")
            for key in ("audio_config", "quantization_config")
        ),
        Case("A03+text", bert(trust_remote_code="yes"), "RC", "config.json", "trust_remote_code", trusted=""),
        Case("A09+map", beside(configuration__json={**TASK, "plugins": {"a": "evil"}}), "MF", "configuration.json",
             "plugins", stage="resolve"),
        Case("A10+url", beside(configuration__json={**TASK, "plugins": ["git+https://evil/x"]}), "IN",
             "configuration.json", "plugins[0]"),
        Case("A16+file", beside(configuration__json={**TASK, "_base_": "file:///etc/passwd"}), "RD",
             "configuration.json", "_base_"),
        Case("A16+second", beside(configuration__json={**TASK, "_base_": ["./a.json", "https://evil/x.json"]}), "RD",
             "configuration.json", "_base_"),
        Case("A16+above", beside(configuration__json={**TASK, "_base_": "../other/configuration.json"}), "PE",
             "configuration.json", "_base_"),
        Case("A16+absolute", beside(configuration__json={**TASK, "_base_": "/etc/hosts"}), "PE", "configuration.json",
             "_base_"),
        Case("A17+os", {**PIPELINE, "model_index.json": {"_class_name": ["os", "system"]}}, "RC", "model_index.json",
             "_class_name"),
        *(
            Case(f"A20+{number}", pipeline_of(unet=[library, kind]), "UT", "model_index.json", "unet")
            for number, (library, kind) in enumerate(
                (
                    ("diffusers.utils.import_utils", "os"),
                    ("transformers", "__builtins__"),
                    ("diffusers", "utils.os.system"),
                    ("importlib", "import_module"),
                    ("transformers.utils", "Path"),
                    ("..evil", "X"),
                )
            )
        ),
        Case("A20+nested", pipeline_of(controlnet=[["os", "system"], ["os", "system"]]), "UT", "model_index.json",
             "controlnet"),
        *(
            Case(f"A23+{number}", module(kind), "UT", "modules.json", "[0].type")
            for number, kind in enumerate(
                (
                    "sentence_transformers_evil.models.Transformer",
                    "sentence_transformers.models.__class__",
                    "sentence_transformers.models.Transformer\n",
                    "Transformer",
                    "..Transformer",
                    "",
                )
            )
        ),
        Case("A25+list", bert(sentence_transformers={"activation_fn": ["torch.nn.ReLU"]}), "UT", "config.json",
             "sentence_transformers.activation_fn"),
        *(
            Case(f"A28+{number}", {**beside(adapter_config__json={**ADAPTER, "auto_mapping": mapping})}, "UT",
                 "adapter_config.json", "auto_mapping.parent_library")
            for number, mapping in enumerate(
                ({"base_model_class": "system", "parent_library": "os"},
                 {"base_model_class": "Popen", "parent_library": "subprocess"})
            )
        ),
        Case("A28+megatron", beside(adapter_config__json={**ADAPTER, "megatron_config": {"a": 1},
                                                          "megatron_core": "evil.core"}),
             "UT", "adapter_config.json", "megatron_core"),
        Case("A35+bytes", bert(conv_feature_layers="[(512,10,5)] * (().__class__ and 1)"), "MF", "config.json",
             "conv_feature_layers"),
        Case("A36+names", beside(**{"torch.py": EVIL, "transformers/__init__.py": EVIL, "config.py": EVIL,
                                    "usercustomize.py": EVIL, "x.pyc": b"\0" * 16}), ""),
    )  # fmt: skip


def _pickles() -> tuple[Case, ...]:
    """B: opcodes, globals and archives that are more than tensors; formats that are not what they say."""
    refused = {
        "inst": b"(X\x04\x00\x00\x00passiposix\nsystem\n.",
        "object": b"(cposix\nsystem\nX\x01\x00\x00\x00xo.",
        "stack-global": b"\x8c\x05posix\x8c\x06system\x93X\x01\x00\x00\x00x\x85R.",
        "new": b"csubprocess\nPopen\nX\x01\x00\x00\x00x\x85\x81.",
        "build": b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00xK\x01sb.",
        "extension": b"\x82\x01.",
        "getattr": b"cbuiltins\ngetattr\n.",
        "inner": b"ctorch.storage\n_load_from_bytes\nB\x04\x00\x00\x00abcd\x85R.",
        "hub": b"ctorch.hub\nload\n.",
        "codecs": b"c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R.",
        "dotted": b"\x8c\x05torch\x8c\x12_utils.os.system.x\x93.",
        "numpy": b"cnumpy.core.multiarray\nscalar\n.",
        "persistent": b"Pevil\n.",
    }
    huge = {
        "unicode": b"\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "bytes": b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "long": b"\x8b" + struct.pack("<I", 2**31 - 1) + b"x.",
        "frame": b"\x95" + struct.pack("<Q", 2**62) + b"x.",
    }
    deep = b"]" * 300_000 + b"a" * 299_999 + b"."
    bomb = b")q\x00" + b"".join(b"0h%ch%c\x86q%c" % (n, n, n + 1) for n in range(200)) + b"."
    return (
        *(Case(f"B02+{name}", pickle_of(body), "PK", "pytorch_model.bin", stage="bytes")
          for name, body in refused.items()),
        *(Case(f"B12+{name}", pickle_of(body), "MF", "pytorch_model.bin", stage="bytes")
          for name, body in huge.items()),
        Case("B12+deep", pickle_of(deep), "PK", "pytorch_model.bin", stage="bytes"),
        Case("B12+memo", pickle_of(bomb), ""),
        Case("B12+offset", pickled(build.checkpoint(build.state_dict(build.tensor_v2(offset=10**9)),
                                                    bytes(24)).bytes()), "MF", "pytorch_model.bin", stage="bytes"),
        Case("B05+second", {**pickled(TENSORS, "pytorch_model-00001-of-00002.bin"),
                            "pytorch_model-00002-of-00002.bin": EVIL_PICKLE,
                            "pytorch_model.bin.index.json": {"metadata": {}, "weight_map": {
                                "w0": "pytorch_model-00001-of-00002.bin", "w1": "pytorch_model-00002-of-00002.bin"}}},
             "PK", "pytorch_model-00002-of-00002.bin", stage="bytes"),
        Case("B13+directory", pickled(TENSORS[:-30]), "MF", "pytorch_model.bin", stage="bytes"),
        Case("B14+slip", pickled(build.checkpoint(build.state_dict(build.tensor_v2()), bytes(24))
                                 .add("../../evil", b"x").bytes()), "MF", "pytorch_model.bin", stage="bytes"),
        Case("B15+html", weights(b"<!doctype html><html>" + bytes(64)), "MF", "model.safetensors", stage="bytes"),
        Case("B15+empty", weights(b""), "MF", "model.safetensors", stage="bytes"),
        Case("B15+pointer", weights(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64
                                    + b"\nsize 4\n"), "MF", "model.safetensors", stage="bytes"),
        Case("B16+shards", {"config.json": BERT, "model.pt": build.Zip().add("m/data.pkl", b"\x80\x02}.")
                            .add("m/code/__torch__/a.py", b"").add("m/constants.pkl", b"\x80\x02).").bytes()},
             "XF", "model.pt", stage="bytes"),
        Case("B23+absolute", {"config.json": BERT, "model.onnx": onnx_with("/etc/passwd")}, "PE", "model.onnx",
             "external_data.location", stage="bytes"),
        Case("B23+windows", {"config.json": BERT, "model.onnx": onnx_with("..\\x")}, "PE", "model.onnx",
             "external_data.location", stage="bytes"),
    )  # fmt: skip


def _paths() -> tuple[Case, ...]:
    """C: names and links that lead out of the folder, and what is no file."""
    return (
        Case("C01+module", {**module(TRANSFORMER), "modules.json": [{"idx": 0, "path": "../../outside",
                                                                     "type": TRANSFORMER}]},
             "PE", "modules.json", "[0].path", stage="resolve"),
        Case("C01+unet", {**PIPELINE, "unet/diffusion_pytorch_model.safetensors.index.json":
                          {"weight_map": {"w": "../../outside/x.safetensors"}}},
             "PE", "unet/diffusion_pytorch_model.safetensors.index.json", "weight_map"),
        Case("C04+chain", chain, "PE", "model.safetensors", stage="bytes"),
        Case("C04+folder", folder_named("model.safetensors"), "", stage="bytes"),
        Case("C05+tokenizer", linked("tokenizer_config.json", "OUT/config.json"), "PE", "tokenizer_config.json",
             stage="resolve"),
        Case("C05+folder", folder_named("config.json"), "NotAModel"),
        Case("C05+self", linked("config.json", "config.json"), "NotAModel"),
        Case("C06+module", linked("2_Dense", "OUT/sub", **{"modules.json": [
            {"idx": 0, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]}), "PE", "2_Dense"),
        Case("C06+above", linked("parts", "OUT", **{"modules.json": [
            {"idx": 0, "path": "parts/sub", "type": "sentence_transformers.models.Dense"}]}), "PE", "parts"),
        Case("C06+inside", linked("vae", "unet", **{**PIPELINE, **pipeline_of(
            unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderKL"])}), "PE", "vae"),
        Case("C06+templates", linked("additional_chat_templates", "OUT/sub"), "PE", "additional_chat_templates"),
        Case("C06+unread", linked("data", "OUT/sub"), ""),
        *(
            Case(f"C12+{number}", beside(tokenizer_config__json={"vocab_file": path}), "PE", "tokenizer_config.json",
                 "vocab_file")
            for number, path in enumerate(("a/../../x", "//host/share/x", "\\\\?\\C:\\x", "/proc/self/environ",
                                           "C:/x"))
        ),
        Case("C12+labels", beside(preprocessor_config__json={"repo_path": "/etc", "class_info_file": "passwd"}), "RD",
             "preprocessor_config.json", "repo_path"),
        Case("C12+covariance", beside(adapter_config__json={**ADAPTER, "corda_config": {
            "cache_file": "/etc/x", "covariance_file": "../x"}}), "PE", "adapter_config.json",
             "corda_config.cache_file", keywords={"base_model": "./base"}),
        Case("C17+socket", socket_config, "MF", "config.json", stage="resolve"),
        Case("C21+circle", circle, ""),
        Case("C21+twins", twins, "MF", "caf\u00e9.json", stage="resolve"),
    )  # fmt: skip


def _sources() -> tuple[Case, ...]:
    """D: keys that lead to another source, whatever the library calls them."""
    audio = {"audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "attacker/other"}
    prompt = {**ADAPTER, "peft_type": "PROMPT_TUNING", "prompt_tuning_init": "TEXT",
              "tokenizer_name_or_path": "attacker/other"}  # fmt: skip
    return (
        *(
            Case(f"D01+{number}", beside(adapter_config__json={**ADAPTER, "base_model_name_or_path": base}), "RD",
                 "adapter_config.json", "base_model_name_or_path")
            for number, base in enumerate(
                ("https://evil/x", "git+ssh://evil/x", "attacker/other@main", "~/.cache/x", "C:\\x")
            )
        ),
        Case("D01+audio", beside(processor_config__json={"audio_tokenizer": audio}), "RD", "processor_config.json",
             "audio_tokenizer.audio_tokenizer_name_or_path"),
        Case("D01+audio-file", beside(audio_tokenizer_config__json=audio), "RD", "audio_tokenizer_config.json",
             "audio_tokenizer_name_or_path"),
        Case("D01+prompt", beside(adapter_config__json=prompt), "RD", "adapter_config.json", "tokenizer_name_or_path",
             keywords={"base_model": "./base"}),
        Case("D01+shadow", beside(adapter_config__json={**ADAPTER, "shadow_model": "attacker/other"}), "RD",
             "adapter_config.json", "shadow_model", keywords={"base_model": "./base"}),
        Case("D01+tokenizer", module(TRANSFORMER, **{"sentence_bert_config.json": {
            "tokenizer_name_or_path": "attacker/other"}}), "RD", "sentence_bert_config.json",
             "tokenizer_name_or_path"),
        Case("D01+kernel", bert(attn_implementation="attacker/kernel"), "RD", "config.json", "attn_implementation"),
        Case("D01+kernel-inside", bert(text_config={"_attn_implementation_internal": "attacker/kernel:evil"}), "RD",
             "config.json", "text_config._attn_implementation_internal"),
        Case("D01+backbone", bert(use_pretrained_backbone=True, backbone="attacker/backbone"), "RD", "config.json",
             "backbone"),
        Case("D03+tokenizer", {**MODEL, "tokenizer_config.json": {"auto_map": {
            "AutoTokenizer": ["attacker/other--evil.T", None]}}}, "RC", "tokenizer_config.json",
             "auto_map.AutoTokenizer", trusted="RD"),
        Case("D09+kernels", bert(attn_implementation="kernels-community/flash-attn"), "RD", "config.json",
             "attn_implementation"),
        Case("D09+iic", {"config.json": {"model_type": "evil", "auto_map": {"AutoModel": "iic/evil--evil.M"}}}, "RC",
             "config.json", "auto_map.AutoModel", trusted="RD"),
    )  # fmt: skip


def _metadata() -> tuple[Case, ...]:
    """E: documents that are deep, long, contradictory or sized beyond sense."""
    own = "&a [*a]"
    config = {"stage": "resolve"}

    def text(name: str, content: Any, code: str, **more: Any) -> Case:
        return Case(name, {**MODEL, "config.json": content}, code, "config.json", **{**config, **more})

    return (
        text("E05+deep", '{"model_type":"bert","a":{"b":[{"c":1,"c":2}]}}', "MF", says="'c'"),
        text("E05+escape", '{"model_type":"gpt2","model\\u005ftype":"bert"}', "MF", says="model_type"),
        text("E07+comment", '{"model_type": "bert" // a comment\n}', "MF"),
        text("E07+cut", '{"model_type": "bert", "x": [1, 2', "MF"),
        text("E07+empty", b"", "MF"),
        text("E07+two", '{"model_type": "bert"} {"model_type": "gpt2"}', "MF"),
        text("E13+keys", "{" + ",".join(f'"k{n}":0' for n in range(250_000)) + "}", "LM"),
        text("E12+string", '{"model_type": "bert", "x": "' + "y" * (17 * 2**20) + '"}', "LM"),
        Case("E09+architectures", bert(architectures=[{"a": 1}]), "MF", "config.json", "architectures", **config),
        Case("E09+class", {**PIPELINE, "model_index.json": {"_class_name": {"a": 1}}}, "MF", "model_index.json",
             "_class_name", **config),
        Case("E09+module", {**module(TRANSFORMER), "modules.json": [[1]]}, "MF", "modules.json", "[0]", **config),
        Case("E09+shard", {**MODEL, "model.safetensors.index.json": {"weight_map": {"w": 7}}}, "MF",
             "model.safetensors.index.json", "weight_map.w", **config),
        Case("E13+index", {**MODEL, "model.safetensors.index.json": {"weight_map": {
            f"w{n}": "model.safetensors" for n in range(250_000)}}}, "LM", "model.safetensors.index.json", **config),
        Case("E14+own", {"config.yaml": f"a: {own}\n"}, "NotAModel"),
        Case("E14+scalars", {"config.yaml": "a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 500 + "]\n"}, "LM",
             "config.yaml", **config),
        Case("E16+own", {"config.yaml": "a: &a\n  <<: *a\n  b: 1\n"}, "NotAModel"),
        Case("E18+tag", {"config.yaml": "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [x]\n"},
             "MF", "config.yaml", **config),
        Case("E18+name", {"config.yaml": "a: !!python/name:os.system\n"}, "MF", "config.yaml", **config),
        Case("E18+module", {"config.yaml": "a: !!python/module:os\n"}, "MF", "config.yaml", **config),
        Case("E18+card", card("a: !!python/object/apply:os.system [x]"), ""),
        Case("E14+card", card("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8))), ""),
        Case("E17+card", card("a: " + "[" * 200_000), ""),
        Case("E12+card", beside(README__md="---\n" + "a: b\n" * 4_000_000), ""),
        *(
            Case(f"E23+{key}", bert(**{key: value}), "LM", "config.json", key, **config)
            for key, value in (("num_experts", 10**9), ("n_routed_experts", 10**9), ("num_local_experts", 10**7),
                               ("depths", [2, 10**9]), ("num_stages", 10**8), ("num_codebooks", 10**8),
                               ("num_hidden_groups", 10**8), ("mtp_num_layers", 10**8),
                               ("num_nextn_predict_layers", 10**8))
        ),
        Case("E23+unet", {**PIPELINE, "unet/config.json": {"_class_name": "UNet2DConditionModel",
                                                           "layers_per_block": 10**8}},
             "LM", "unet/config.json", "layers_per_block", **config),
        *(
            Case(f"E25+{key}", bert(**{**TINY_VIT, key: value}), "LM", "config.json", key, stage="bytes")
            for key, value in (("image_size", 2**21), ("num_queries", 2**30), ("codebook_size", 2**33),
                               ("conv_dim", [2**30, 4]))
        ),
        Case("E25+sound", bert(**{**TINY_VIT, "model_type": "whisper", "max_source_positions": 2**26}), "LM",
             "config.json", "max_source_positions", stage="bytes"),
        Case("E25+rank", beside(adapter_config__json={**ADAPTER, "rank_pattern": {"q": 2 * 10**9}}), "LM",
             "adapter_config.json", "rank_pattern", **config),
        Case("E27+tokenizer", tokenizer(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+X"},
                                                       "behavior": "Isolated", "invert": False}), "MF",
             "tokenizer.json", "pre_tokenizer.pattern", stage="bytes"),
        Case("E27+normalizer", tokenizer(normalizer={"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"Regex": "([a-z]+)*X"}, "content": ""}]}), "MF", "tokenizer.json",
             "normalizer.normalizers[0].pattern", stage="bytes"),
        Case("E29+deep", {**MODEL, "tokenizer.json": '{"Regex":' * 50_000 + "1" + "}" * 50_000}, "MF",
             "tokenizer.json", stage="bytes"),
        Case("E35+overlap", header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                                   b'"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'), "MF",
             "model.safetensors", stage="bytes"),
        Case("E35+hole", header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'), "MF",
             "model.safetensors", stage="bytes"),
        Case("E35+dtype", header(b'{"a":{"dtype":"EVIL","shape":[2],"data_offsets":[0,8]}}'), "MF",
             "model.safetensors", stage="bytes"),
        Case("E35+text", header(b'{"__metadata__":{"a":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
             "MF", "model.safetensors", stage="bytes"),
        Case("E35+negative", header(b'{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}'), "MF",
             "model.safetensors", stage="bytes"),
        Case("E35+product", header(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}'),
             "LM", "model.safetensors", stage="bytes"),
        Case("E39+string", gguf_of(build.gguf_pair("x", 8, struct.pack("<Q", 2**63))), "MF", "model.gguf",
             stage="bytes"),
        Case("E39+align", gguf_of(build.gguf_pair("general.alignment", 4, struct.pack("<I", 2**30))), "MF",
             "model.gguf", stage="bytes"),
        Case("E39+nested", gguf_of(build.gguf_pair("x", 9, struct.pack("<IQ", 9, 1) * 100_000)), "MF", "model.gguf",
             stage="bytes"),
        Case("E39+twice", gguf_of(build.gguf_pair("a", 4, struct.pack("<I", 1)),
                                  build.gguf_pair("a", 4, struct.pack("<I", 2))), "MF", "model.gguf", stage="bytes"),
        Case("E46+list", bert(quantization_config={"quant_method": ["awq"]}), "UT", "config.json",
             "quantization_config.quant_method"),
        Case("E51+names", {**MODEL, "\x1b[31m\u202e\n.py": EVIL}, ""),
    )  # fmt: skip


TINY_VIT = {"hidden_size": 1024, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4,
            "vocab_size": 8, "patch_size": 16}  # fmt: skip

INVENTED: tuple[Case, ...] = (*_code(), *_pickles(), *_paths(), *_sources(), *_metadata())

INVENTED_ARRAYS: tuple[tuple[str, str, bytes, str], ...] = (
    ("E43+code", "x.npy", array("<f4", "(__import__('os').system('x'),)"), "MF"),
    ("E43+negative", "x.npy", array("<f4", "(-1,)", bytes(4)), "MF"),
    ("E43+header", "x.npy", b"\x93NUMPY\x03\x00" + struct.pack("<I", 2**32 - 1) + b"{}", "MF"),
    ("B08+slip", "x.npz", npz(**{"../x": array("<f4", "(1,)", bytes(4))}), "MF"),
    ("B08+inner", "x.npz", build.Zip().add("a.npy", EVIL_PICKLE).bytes(), "MF"),
)
