"""The tree of exceptions: what is drawn in the docstring is what there is."""

import inspect
import pickle
import re

import pytest

from modelscope_ext import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]
SAFETY = [c for c in CLASSES if issubclass(c, errors.SafetyError) and c is not errors.SafetyError]


def test_every_class_is_drawn_with_the_builtin_it_extends():
    drawn = dict(re.findall(r"(?:\+-- )(\w+)[^\n(]*(?:\(([\w, ]+)\))?", errors.__doc__))
    assert set(drawn) | {"ModelScopeExtError"} == {c.__name__ for c in CLASSES}
    for name, builtins_ in drawn.items():
        for builtin in filter(None, builtins_.split(", ")):
            base = getattr(errors, name)
            assert issubclass(base, getattr(__import__("builtins"), builtin)), f"{name} is no {builtin}"


def test_every_exception_of_the_module_is_public():
    found = {n for n, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)}
    assert found == set(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_the_text_is_the_message_alone(cls):
    assert str(cls("no file 'x'")) == "no file 'x'"
    assert str(cls()) == ""
    assert isinstance(cls("m"), errors.ModelScopeExtError)


@pytest.mark.parametrize("cls", SAFETY, ids=lambda c: c.__name__)
def test_a_refusal_keeps_its_facts_across_processes(cls):
    error = pickle.loads(pickle.dumps(cls("no", source="org/x", file="config.json", field="auto_map", grant="g=1")))
    assert type(error) is cls
    assert (str(error), error.source, error.file, error.field, error.grant) == (
        "no", "org/x", "config.json", "auto_map", "g=1",
    )  # fmt: skip


def test_codes_are_distinct():
    codes = [c.code for c in SAFETY]
    assert len(set(codes)) == len(codes) == 13
    assert {"RC", "PK", "RD", "PE", "LM", "MF", "UT", "IN", "XF"} <= set(codes)
