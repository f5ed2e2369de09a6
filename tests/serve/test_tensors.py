"""Tensors of the Open Inference Protocol, both ways and malformed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext.serve.documents import check
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.stops import cut, cut_stream
from modelscope_ext.serve.tensors import DATATYPES, decoded, encoded, json_data


@pytest.mark.parametrize("kind", [k for k in DATATYPES if k != "BYTES"])
def test_numbers_survive_both_forms(kind):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(DATATYPES[kind])
    row = {"shape": [2, 3], "datatype": kind}
    by_json = decoded({**row, "data": array.tolist()}, None, "x")
    by_bytes = decoded(row, memoryview(encoded(array)), "x")
    assert by_json.dtype == by_bytes.dtype == array.dtype
    assert by_json.tolist() == by_bytes.tolist() == array.tolist()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_texts_survive_both_forms(texts):
    array = np.empty(len(texts), dtype=object)
    array[:] = [text.encode() for text in texts]
    row = {"shape": [len(texts)], "datatype": "BYTES"}
    assert json_data(decoded({**row, "data": texts}, None, "x")) == texts
    assert json_data(decoded(row, memoryview(encoded(array)), "x")) == texts


@given(st.binary(max_size=64), st.integers(0, 4), st.sampled_from(sorted(DATATYPES)))
def test_any_bytes_are_decoded_or_refused(data, count, kind):
    try:
        found = decoded({"shape": [count], "datatype": kind}, memoryview(data), "x")
    except Refused as refused:
        assert refused.status == 400
    else:
        assert found.shape == (count,)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("INT8", [300]),
        ("UINT8", [-1]),
        ("INT64", [1.5]),
        ("BOOL", [1]),
        ("FP32", ["1"]),
        ("BYTES", [1]),
        ("INT32", [True]),
    ],
)
def test_data_that_is_not_of_its_datatype_is_refused(kind, data):
    with pytest.raises(Refused):
        decoded({"shape": [1], "datatype": kind, "data": data}, None, "x")


def test_the_checker_names_the_place():
    schema = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "integer"}}]}},
    }
    check(schema, {"a": None})
    check(schema, {"a": [1, 2.0]})
    with pytest.raises(Refused, match=r"a\[1\]: expected integer; got string"):
        check(schema, {"a": [1, "x"]})


@given(st.text("ab.", max_size=20), st.lists(st.text("ab.", min_size=1, max_size=3), max_size=3), st.data())
def test_a_stream_is_cut_where_the_whole_text_would_be(text, stops, data):
    import asyncio

    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    async def source():
        for piece in pieces:
            yield piece

    async def main():
        return "".join([piece async for piece in cut_stream(source(), stops)])

    assert asyncio.run(main()) == cut(text, stops)[0]
