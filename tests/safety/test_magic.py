import pickle

import pytest

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.safety.magic import check_magic, is_lfs_pointer, kind_of
from tests.safety.build import checkpoint, gguf, parameter, safetensors, state_dict, tensor

GOOD = {
    "safetensors": safetensors({"w": tensor([2], 0, 8)}, 8),
    "gguf": gguf([], []),
    "mindspore": parameter("w", [1], bytes(4)),
    "pickle": checkpoint(state_dict()).bytes(),
    "h5": b"\x89HDF\r\n\x1a\n" + bytes(8),
    "onnx": b"\x08\x07\x12\x07pytorch",
}


@pytest.mark.parametrize("form", GOOD)
def test_a_file_of_its_own_format_passes(form):
    check_magic(GOOD[form][:64], form, file="m")


def test_a_header_whose_length_looks_like_a_pickle_is_still_safetensors():
    for length in (0x0280, 0x2580, 0x5B0480):
        head = length.to_bytes(8, "little") + b'{"__metadata__"'
        assert kind_of(head) is None
        check_magic(head, "safetensors", file="m")


@pytest.mark.parametrize("form", ["safetensors", "gguf", "mindspore", "h5", "onnx", "keras"])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_b15_b21_a_pickle_under_another_name_is_malformed(form, protocol):
    with pytest.raises(MalformedMetadata, match="first bytes are those of a pickle, not of"):
        check_magic(pickle.dumps({"a": "x" * 99}, protocol), form, file="model.safetensors")


def test_a_zip_or_program_under_another_name_is_malformed():
    for head in (b"PK\3\4" + bytes(60), b"\x7fELF" + bytes(60)):
        for form in ("safetensors", "gguf", "mindspore", "onnx", "h5"):
            with pytest.raises(MalformedMetadata):
                check_magic(head, form, file="m")


def test_a_pointer_says_how_to_get_the_file():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 5\n"
    assert is_lfs_pointer(pointer) and not is_lfs_pointer(b"{}")
    with pytest.raises(MalformedMetadata, match="git lfs pull"):
        check_magic(pointer, "safetensors", file="m")
