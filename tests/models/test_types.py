"""The typed dicts are the only description of outputs: patterns, checks and docs follow from them."""

from __future__ import annotations

from typing import Any, Optional, Union, get_args, is_typeddict

import pytest

from modelscope_ext.models import types
from modelscope_ext.models.outputs import mismatch
from modelscope_ext.models.schemas import SCHEMAS, check_output
from modelscope_ext.models.types import Answer, Chunk, Decision, Message, Transcript, pattern, shown, typed_dicts


def test_every_schema_names_a_type_of_this_module():
    for task, schema in SCHEMAS.items():
        for one in typed_dicts(schema.output):
            assert getattr(types, one.__name__) is one, task
            assert one.__name__ in types.__all__
            assert one.__doc__
            assert not one.__doc__.startswith("dict("), one
        assert "Any" not in shown(schema.output) or schema.output is Any, task


def test_every_typed_dict_is_of_use():
    ours = {name for name in types.__all__ if is_typeddict(getattr(types, name))}
    used = {one.__name__ for schema in SCHEMAS.values() for one in typed_dicts(schema.output)}
    assert ours == used


def test_keys_that_may_be_left_out_may_be_left_out():
    assert pattern(Answer) == {"answer": "str", "score?": "float", "start?": "int", "end?": "int"}
    assert pattern(Transcript)["chunks?"] == [pattern(Chunk)]
    assert pattern(Message) == "message"
    assert pattern(dict[str, Decision])["*"]["type"] == "str"
    assert mismatch(pattern(dict[str, Decision]), {"q": {"type": "noul", "noul": 0.5}}) is None
    assert mismatch(pattern(dict[str, Decision]), {"q": {"noul": 0.5}}).startswith("output['q']: expected the keys")


@pytest.mark.parametrize(
    ("task", "value", "says"),
    [
        ("automatic-speech-recognition", {"text": "a", "chunks": [{"text": "a", "timestamp": (0.0, 1.0)}]}, "a list"),
        (
            "automatic-speech-recognition",
            {"text": "a", "chunks": [{"text": "a", "timestamp": [0, 1.0]}]},
            "Python float",
        ),
        ("mask-generation", {"masks": [[True]], "scores": [0.5]}, r"masks\[0\]: expected a boolean numpy array"),
        ("visual-question-answering", [{"answer": 1}], "answer: expected a str"),
        ("decision", [], "expected a dict"),
    ],
)
def test_an_output_that_is_not_of_its_type_is_named(task, value, says):
    with pytest.raises(AssertionError, match=f"^{task}: .*{says}"):
        check_output(task, value)


def test_alternatives_are_read_in_either_spelling():
    assert pattern(Union.__getitem__((int, float))) == pattern(int | float) == "number"
    assert pattern(Optional.__getitem__(str)) == pattern(str | None) == "str?"
    assert len(get_args(SCHEMAS["text-classification"].output)) == 2
