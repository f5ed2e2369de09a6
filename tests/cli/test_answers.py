"""Answers of every shape as JSON and as text."""

import json

import pytest

from modelscope_ext.cli.answers import as_json, as_text
from modelscope_ext.errors import OptionError


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"label": "cat", "score": 0.75}, "0.7500  cat"),
        ([{"label": "a", "score": 0.5}, {"label": "b", "score": 0.25}], "0.5000  a\n0.2500  b"),
        ({"generated_text": "two\nlines"}, "two\nlines"),
        ({"sequence": "s", "labels": ["x", "y"], "scores": [0.9, 0.1]}, "0.9000  x\n0.1000  y"),
        ([0.5, 0.25], "0.5000  0.2500"),
        ({"index": 1, "score": 0.5, "document": "d"}, "0.5000  index=1  document=d"),
        ("esc\x1b[31m", "esc\\x1b[31m"),
        ([], ""),
    ],
)
def test_text(answer, text):
    assert as_text(answer) == text


def test_an_array_is_a_list_in_json_and_a_summary_in_text():
    import numpy

    array = numpy.arange(6, dtype="float32").reshape(2, 3)
    assert as_json({"v": array}) == {"v": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}
    assert as_text(array) == "float32 [2, 3]  0.0000 1.0000 2.0000 3.0000 ..."
    json.dumps(as_json([array]))


def test_what_has_no_form_in_json_is_said_to_have_none():
    with pytest.raises(OptionError, match="holds a object"):
        as_json({"image": object()})
