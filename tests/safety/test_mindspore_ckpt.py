import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.mindspore_ckpt import ckpt_header
from tests.safety.build import field, parameter, reader, varint


def header(data: bytes, **kwargs):
    return ckpt_header(reader(data), len(data), file="m.ckpt", **kwargs)


def test_parameters_are_read():
    found = header(
        parameter("layer.w", [2, 3], bytes(24))
        + parameter("layer.b", [3], bytes(6), "Float16")
        + parameter("step", [0], bytes(4), "Int32")
        + parameter("empty", [0], b"")
        + parameter("note", [0], b"some text", "str")
    )
    assert (found.format, found.tensors["layer.w"].shape) == ("mindspore", (2, 3))
    assert found.dtypes["Float32"] == 6


def test_a_parameter_in_several_pieces_is_one():
    found = header(
        parameter("big", [4, 2], bytes(16)) + parameter("big", [4, 2], bytes(16)) + parameter("b", [1], bytes(4))
    )
    assert {name: tensor.shape for name, tensor in found.tensors.items()} == {"big": (4, 2), "b": (1,)}


def test_a_checksum_may_follow():
    assert "w" in header(parameter("w", [1], bytes(4)) + b"crc_num" + b"\x12\x34\x56\x78").tensors


def test_contents_are_not_read():
    data = parameter("a", [2**20], bytes(2**22)) + parameter("b", [1], bytes(4))
    read_bytes = 0

    def read(start, length):
        nonlocal read_bytes
        piece = data[start : start + length]
        read_bytes += len(piece)
        return piece

    assert set(ckpt_header(read, len(data), file="m.ckpt").tensors) == {"a", "b"}
    assert read_bytes < 2**18


MALFORMED = {
    "E40 shape larger than its bytes": parameter("w", [40000, 10000], bytes(16)),
    "shape smaller than its bytes": parameter("w", [2], bytes(16)),
    "E42 a name that is a path": parameter("../../x", [1], bytes(4)),
    "absolute name": parameter("/etc/x", [1], bytes(4)),
    "control characters": parameter("a\x1b[31m", [1], bytes(4)),
    "E42 twice": parameter("w", [1], bytes(4)) + parameter("b", [1], bytes(4)) + parameter("w", [1], bytes(4)),
    "twice with another shape": parameter("w", [1], bytes(4)) + parameter("w", [2], bytes(8)),
    "a third piece too many": parameter("w", [1], bytes(4)) * 2,
    "B21 a pickle": b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01.",
    "a zip": b"PK\3\4" + bytes(60),
    "empty": b"",
    "cut off": parameter("w", [100], bytes(400))[:-50],
    "unknown field": field(7, b"x"),
    "no tensor": field(1, field(1, b"w")),
    "no name": field(1, field(2, field(2, b"Float32"))),
    "no type": field(1, field(1, b"w") + field(2, field(3, bytes(4)))),
    "a name of nothing": field(1, field(1, b"") + field(2, field(2, b"Float32"))),
    "name not UTF-8": field(1, field(1, b"\xff\xfe") + field(2, field(2, b"Float32"))),
    "an endless number": b"\x0a" + b"\xff" * 20,
    "too many dimensions": parameter("w", [1] * 50, bytes(4)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_file_that_contradicts_itself_is_malformed(case):
    with pytest.raises(MalformedMetadata, match=r"^m\.ckpt: .*Nothing was loaded") as error:
        header(MALFORMED[case])
    assert str(error.value).isprintable()


def test_e42_more_than_the_limits_is_refused():
    many = b"".join(parameter(f"p{n}", [1], bytes(4)) for n in range(30))
    with pytest.raises(LimitExceeded, match="tensors="):
        header(many, limits=Limits(tensors=20))
    with pytest.raises(LimitExceeded, match="elements="):
        header(parameter("w", [2**50], b""))


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_spoiled_file_never_raises_a_foreign_error(place, noise):
    data = parameter("w", [2], bytes(8)) + parameter("b", [0], bytes(4), "Int32")
    place %= len(data)
    try:
        header(data[:place] + noise + data[place + len(noise) :])
    except ModelScopeExtError:
        return


def test_varints_of_the_helper():
    assert (varint(300), varint(5)) == (b"\xac\x02", b"\x05")
