import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelScopeExtError
from modelscope_ext.safety.headers import read_header, safetensors_header
from modelscope_ext.safety.limits import Limits
from tests.safety.build import reader, safetensors, tensor


def header(data: bytes, **kwargs):
    return safetensors_header(reader(data), len(data), file="model.safetensors", **kwargs)


def test_dtypes_shapes_and_metadata_are_read():
    data = safetensors(
        {"__metadata__": {"format": "pt"}, "b": tensor([], 24, 26, "BF16"), "a": tensor([2, 3], 0, 24)}, 26
    )
    found = header(data)
    assert (found.format, found.metadata) == ("safetensors", {"format": "pt"})
    assert found.tensors["a"].shape == (2, 3) and found.tensors["b"].shape == ()
    assert (found.parameters, found.dtypes) == (7, {"F32": 6, "BF16": 1})


def test_empty_tensors_and_four_bit_ones_are_accepted():
    found = header(safetensors({"e": tensor([0, 5], 0, 0), "q": tensor([4], 0, 2, "F4")}, 2))
    assert (found.parameters, found.tensors["e"].shape) == (4, (0, 5))
    assert header(safetensors({})).tensors == {}


def test_only_the_header_is_read():
    data = safetensors({"w": tensor([2**20], 0, 2**22)})
    asked = []

    def read(start, length):
        asked.append(start + length)
        return data[start : start + length]

    assert safetensors_header(read, len(data) + 2**22, file="m").parameters == 2**20
    assert max(asked) <= len(data)


TWO = {"a": tensor([1], 0, 4), "b": tensor([1], 4, 8)}
MALFORMED = {
    "E35 duplicate name": safetensors(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                                      b'"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8),
    "overlap": safetensors({**TWO, "b": tensor([1], 2, 6)}, 8),
    "hole": safetensors({**TWO, "b": tensor([1], 8, 12)}, 12),
    "trailing bytes (a zip appended)": safetensors(TWO, bytes(8) + b"PK\3\4"),
    "cut off": safetensors(TWO, 7),
    "bytes differ from shape": safetensors({"a": tensor([3], 0, 4)}, 4),
    "backwards": safetensors({"a": tensor([1], 4, 0)}, 4),
    "unknown dtype": safetensors({"a": tensor([1], 0, 4, "X32")}, 4),
    "negative": safetensors({"a": tensor([-1], 0, 4)}, 4),
    "bool": safetensors({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, 4),
    "float": safetensors({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}, 4),
    "three offsets": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2, 4]}}, 4),
    "no object": safetensors({"a": 5}, 4),
    "shape of a string": safetensors({"a": {"dtype": "U8", "shape": "ab", "data_offsets": [0, 4]}}, 4),
    "metadata of numbers": safetensors({"__metadata__": {"a": 1}}),
    "metadata a list": safetensors({"__metadata__": ["a"]}),
    "a list": safetensors(b"[]"),
    "not JSON": safetensors(b"{nonsense}"),
    "not UTF-8": safetensors(b'{"\xff":1}'),
    "empty": b"",
    "a pickle": b"\x80\x04\x95" + bytes(50),
    "a zip": b"PK\3\4" + bytes(50),
    "length beyond the file": (10**6).to_bytes(8, "little") + b"{}",
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_file_that_breaks_the_format_is_malformed(case):
    with pytest.raises(MalformedMetadata) as error:
        header(MALFORMED[case], source="./m")
    assert error.value.file == "model.safetensors"
    assert len(str(error.value)) < 1000


def test_a_pickle_is_named_as_what_it_is():
    with pytest.raises(MalformedMetadata, match="this is a zip archive"):
        header(b"PK\3\4" + bytes(50))


LARGE = {
    "E38 an enormous side": safetensors({"a": tensor([0, 2**62], 0, 0)}),
    "E37 too many tensors": safetensors({f"t{n}": tensor([0], 0, 0) for n in range(30)}),
}


@pytest.mark.parametrize("case", LARGE)
def test_sizes_beyond_the_limits_are_refused(case):
    with pytest.raises(LimitExceeded, match=r"limits=Limits\("):
        header(LARGE[case], limits=Limits(tensors=20))


def test_e37_a_header_of_95_mb_is_not_read():
    size = 95 * 2**20

    def read(start, length):
        assert length <= 16, "the header must not be read"
        return (size.to_bytes(8, "little") + b"{" + b" " * 99)[start : start + length]

    with pytest.raises(LimitExceeded, match=r"99614720 bytes; the limit is 8388608"):
        safetensors_header(read, size + 8, file="m")


@settings(max_examples=100)
@given(st.binary(max_size=120), st.integers(0, 200))
def test_random_bytes_never_raise_a_foreign_error(body, length):
    data = length.to_bytes(8, "little") + body
    for form in ("safetensors", "gguf", "mindspore"):
        try:
            read_header(form, reader(data), len(data), file="m")
        except ModelScopeExtError:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["F32", "U8"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "w"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(JSON, st.integers(0, 16))
def test_random_headers_never_raise_a_foreign_error(document, body):
    data = safetensors(json.dumps(document).encode(), body)
    try:
        header(data)
    except ModelScopeExtError:
        return


def test_formats_without_a_header_give_none():
    assert read_header("pickle", reader(b""), 0, file="m") is None
