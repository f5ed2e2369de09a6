"""The readers that are fuzzed, and the seeds to begin with: all made by code, none copied from a model.

A reader may refuse with one of our errors, and nothing else; what it returns is not looked at. `FOUND` keeps what a run
has found: every test run tries it again.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.metadata.card import read_card
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models import gate
from modelscope_ext.models.backends._onnx.files import external_files
from modelscope_ext.models.gate.patterns import fault_of_pattern, repeats_in_repeats
from modelscope_ext.models.gate.tokenizers import check_tokenizer
from modelscope_ext.models.resolve import Asked, decide
from modelscope_ext.safety.arrays import check_array
from modelscope_ext.safety.grants import Grants
from modelscope_ext.safety.headers import read_header
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.paths import check_name
from modelscope_ext.safety.pickles import check_pickle, scan_pickle
from modelscope_ext.safety.reading import parse_json, parse_yaml
from modelscope_ext.safety.zips import members
from tests.safety import build
from tests.safety.cases import ARRAYS, CASES, TENSORS, onnx_with
from tests.safety.invented import INVENTED, INVENTED_ARRAYS

__all__ = ["FOUND", "READERS", "Reader", "seeds_of", "try_one"]

FOUND = Path(__file__).with_name("found")
#: Small, so that a fuzzer meets every limit with little input.
SMALL = Limits(json_bytes=2**20, nodes=5000, depth=32, yaml_aliases=8, header_bytes=2**18, tensors=200)


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        read: What is done with the bytes.
        names: How the files are called that it reads in the hostile folders; a suffix beginning with a dot, or a name.
        seeds: Further bytes to begin with.
    """

    read: Callable[[bytes], object]
    names: tuple[str, ...] = ()
    seeds: tuple[bytes, ...] = ()


def _header(form: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        return read_header(form, build.reader(data), len(data), file="m", limits=SMALL, source="s")

    return read


def _pickle(data: bytes) -> None:
    for act in (check_pickle, scan_pickle):
        try:
            act(data, file="m.bin")
        except ModelScopeExtError:
            continue


def _zip(data: bytes) -> object:
    return members(
        lambda start, length: data[start : start + length], len(data), file="m", limits=SMALL, source="s", deflate=True
    )


def _array(name: str) -> Callable[[bytes], object]:
    return lambda data: check_array(data, file=name, grants=Grants(limits=SMALL))


def _patterns(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    fault_of_pattern(text)
    repeats_in_repeats(text)


def _metadata(file: str) -> Callable[[bytes], object]:
    """The whole way from one metadata file to the end of gate A."""

    def read(data: bytes) -> None:
        texts = {"config.json": b'{"model_type": "bert"}', "evil.py": b"import os\n", file: data}
        snapshot = Snapshot.from_mapping(texts, {"model.safetensors": 4096})
        evidence = collect(snapshot)
        resolution = decide(evidence, Asked(None, None, None, evidence), installed=False)
        for trust in (False, True):
            for _ in gate.refusals(resolution, evidence, snapshot, Grants(trust_remote_code=trust)):
                pass

    return read


def _onnx(data: bytes) -> None:
    with TemporaryDirectory() as place:
        Path(place, "m.onnx").write_bytes(data)
        external_files(Path(place), "m.onnx")


READERS: Mapping[str, Reader] = {
    "json": Reader(lambda data: parse_json(data, file="x.json", limits=SMALL), (".json",)),
    "yaml": Reader(lambda data: parse_yaml(data, file="x.yaml", limits=SMALL), (".yaml",), (b"a: &x [1, {b: 012}]\n",)),
    "card": Reader(lambda data: read_card(data, limits=SMALL), ("README.md",),
                   (b"---\nlicense: mit\ntags: [a, b]\n---\n# x\n",)),
    "safetensors": Reader(_header("safetensors"), (".safetensors",)),
    "gguf": Reader(_header("gguf"), (".gguf",)),
    "ckpt": Reader(_header("mindspore"), (".ckpt",), (build.parameter("w", [2], bytes(8)),)),
    "pickle": Reader(_pickle, (".bin",), (TENSORS, pickle.dumps({"a": [1, (2.5, None)]}, 4),
                                          build.legacy(build.state_dict(build.tensor_v2()), {"0": bytes(24)}))),
    "zip": Reader(_zip, (), (TENSORS, build.Zip().add("a/b", b"x").bytes())),
    "npy": Reader(_array("x.npy"), (".npy",), tuple(row[2] for row in (*ARRAYS, *INVENTED_ARRAYS))),
    "npz": Reader(_array("x.npz"), (".npz",), tuple(row[2] for row in (*ARRAYS, *INVENTED_ARRAYS))),
    "onnx": Reader(_onnx, (".onnx",), (onnx_with("x.data"),)),
    "tokenizer": Reader(lambda data: check_tokenizer(data, file="tokenizer.json"), ("tokenizer.json",)),
    "pattern": Reader(_patterns, (), (rb".*\.(q|v)_proj$", b"((a+)+)+X", rb"\p{L}+|[^\s]{1,3}(?i:x)")),
    "path": Reader(lambda data: check_name(data.decode("utf-8", "replace")), (),
                   (b"a/b.json", b"..\\x", b"C:/x", b"CON", b"a/./b", "e\u0301".encode())),
    "config": Reader(_metadata("config.json"), ("config.json",)),
    "tokenizer-config": Reader(_metadata("tokenizer_config.json"), ("tokenizer_config.json",)),
    "adapter": Reader(_metadata("adapter_config.json"), ("adapter_config.json",)),
    "pipeline": Reader(_metadata("model_index.json"), ("model_index.json",)),
    "modules": Reader(_metadata("modules.json"), ("modules.json",)),
    "configuration": Reader(_metadata("configuration.json"), ("configuration.json",)),
}  # fmt: skip

#: Bytes of a seed at most: a fuzzer does more with small ones.
_LARGEST = 8192


def seeds_of(name: str) -> Iterator[bytes]:
    """Yield what to begin with: files of the hostile folders, the reader's own seeds, and what was found before."""
    reader = READERS[name]
    yield from reader.seeds
    for case in (*CASES, *INVENTED):
        for file, content in (case.make if isinstance(case.make, Mapping) else {}).items():
            if any(file.endswith(end) for end in reader.names):
                text = content if isinstance(content, str | bytes) else json.dumps(content)
                data = text if isinstance(text, bytes) else text.encode()
                if len(data) <= _LARGEST:
                    yield data
    for path in sorted((FOUND / name).glob("*")):
        yield path.read_bytes()


def try_one(name: str, data: bytes) -> None:
    """Read the bytes; whatever is raised but one of our errors is a fault."""
    try:
        READERS[name].read(data)
    except ModelScopeExtError:
        return
