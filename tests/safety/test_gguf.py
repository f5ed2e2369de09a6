import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError
from modelscope_ext.safety.gguf import FILE_TYPES, TENSOR_TYPES, gguf_header
from modelscope_ext.safety.limits import Limits
from tests.safety.build import gguf, gguf_pair, gguf_tensor, gguf_text, reader

ARCHITECTURE = gguf_pair("general.architecture", 8, gguf_text("llama"))
FILE_TYPE = gguf_pair("general.file_type", 4, struct.pack("<I", 15))


def words(count: int) -> bytes:
    texts = b"".join(gguf_text(f"token{n}") for n in range(count))
    return gguf_pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, count) + texts)


def header(data: bytes, **kwargs):
    return gguf_header(reader(data), len(data), file="m.gguf", **kwargs)


def test_architecture_quantisation_and_tensors_are_read():
    data = gguf(
        [ARCHITECTURE, words(500), FILE_TYPE, gguf_pair("flag", 7, b"\1")],
        [gguf_tensor("a", [256, 2], 12, 0), gguf_tensor("b", [8], 0, 288)],
        288 + 32,
    )
    found = header(data)
    assert found.metadata["general.architecture"] == "llama"
    assert found.metadata["quantization"] == "Q4_K_M"
    assert found.metadata["tokenizer.ggml.tokens.length"] == 500
    assert found.metadata["flag"] is True
    assert found.tensors["a"].shape == (2, 256)
    assert (found.parameters, found.dtypes) == (520, {"Q4_K": 512, "F32": 8})


def test_a_vocabulary_larger_than_one_piece_is_walked():
    data = gguf([words(40_000), ARCHITECTURE], [])
    asked = []

    def read(start, length):
        asked.append(length)
        return data[start : start + length]

    found = gguf_header(read, len(data), file="m.gguf")
    assert found.metadata == {"tokenizer.ggml.tokens.length": 40_000, "general.architecture": "llama"}
    assert len(asked) > 1


def test_short_arrays_are_kept():
    found = header(gguf([gguf_pair("sides", 9, struct.pack("<IQ3f", 6, 3, 1.0, 2.0, 3.0))], []))
    assert found.metadata == {"sides": [1.0, 2.0, 3.0]}


E39 = {
    "array of 2^63": gguf([gguf_pair("a", 9, struct.pack("<IQ", 4, 2**63))], []),
    "array of 2^63 strings": gguf([gguf_pair("a", 9, struct.pack("<IQ", 8, 2**63))], []),
    "string of 2^63": gguf([gguf_pair("a", 8, struct.pack("<Q", 2**63))], []),
    "string inside an array of 2^63": gguf([gguf_pair("a", 9, struct.pack("<IQQ", 8, 100, 2**63) + bytes(900))], []),
    "dimensions 2^32-1": gguf([], [gguf_text("w") + struct.pack("<I", 2**32 - 1) + bytes(64)]),
    "no dimensions": gguf([], [gguf_tensor("w", [], 0, 0)], 64),
    "alignment 2^30": gguf([gguf_pair("general.alignment", 4, struct.pack("<I", 2**30))], []),
    "alignment 0": gguf([gguf_pair("general.alignment", 4, struct.pack("<I", 0))], []),
    "alignment a string": gguf([gguf_pair("general.alignment", 8, gguf_text("x"))], []),
    "dimension 0": gguf([], [gguf_tensor("w", [0, 5], 0, 0)], 64),
    "dimension 2^62": gguf([], [gguf_tensor("w", [2**62, 2], 0, 0)], 64),
    "outside the file": gguf([], [gguf_tensor("w", [64], 0, 0)], 64),
    "offset outside": gguf([], [gguf_tensor("w", [4], 0, 2**40)], 64),
    "unaligned": gguf([], [gguf_tensor("w", [4], 0, 7)], 64),
    "half a block": gguf([], [gguf_tensor("w", [5], 12, 0)], 640),
    "two of one name": gguf([], [gguf_tensor("w", [4], 0, 0), gguf_tensor("w", [4], 0, 32)], 64),
    "key twice": gguf([ARCHITECTURE, ARCHITECTURE], []),
    "array in an array": gguf([gguf_pair("a", 9, struct.pack("<IQ", 9, 1) + bytes(40))], []),
    "unknown type": gguf([gguf_pair("a", 99, bytes(8))], []),
    "version 1": gguf([], [], version=1),
    "big-endian": gguf([], [], version=3 << 24),
    "other magic": gguf([], [], magic=b"GGML"),
    "cut off": gguf([ARCHITECTURE], [])[:30],
    "empty": b"",
}


@pytest.mark.parametrize("case", E39)
def test_e39_a_file_that_contradicts_itself_is_malformed(case):
    with pytest.raises(MalformedMetadata, match=r"^m\.gguf: ") as error:
        header(E39[case])
    assert len(str(error.value)) < 1000


def test_more_than_the_limits_is_refused():
    with pytest.raises(LimitExceeded, match="tensors="):
        header(b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0) + bytes(64))
    data = gguf([words(10_000)], [])
    with pytest.raises(LimitExceeded, match="gguf_bytes="):
        header(data, limits=Limits(gguf_bytes=2000))


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_a_spoiled_file_never_raises_a_foreign_error(place, noise):
    data = gguf([ARCHITECTURE, words(3), FILE_TYPE], [gguf_tensor("w", [8], 0, 0)], 32)
    place %= len(data)
    spoiled = data[:place] + noise + data[place + len(noise) :]
    try:
        header(spoiled)
    except ModelScopeExtError:
        return


@pytest.mark.pt
def test_the_tables_are_those_of_the_gguf_package():
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

    for number, (name, block, size) in TENSOR_TYPES.items():
        kind = GGMLQuantizationType(number)
        assert (kind.name, GGML_QUANT_SIZES[kind]) == (name, (block, size))
    for number, name in FILE_TYPES.items():
        assert LlamaFileType(number).name.removeprefix("ALL_").removeprefix("MOSTLY_") == name


@pytest.mark.pt
def test_a_file_that_the_gguf_package_wrote_is_read(tmp_path):
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.add_file_type(1)
    writer.add_token_list([f"token {n}" for n in range(300)])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("w", np.ones((3, 32), dtype=np.float16))
    writer.add_tensor("b", np.ones(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = header((tmp_path / "m.gguf").read_bytes())
    assert found.tensors["w"].shape == (3, 32)
    assert found.dtypes == {"F16": 96, "F32": 5}
    assert found.metadata["quantization"] == "F16"
    assert found.metadata["tokenizer.chat_template"] == "{{ messages }}"
