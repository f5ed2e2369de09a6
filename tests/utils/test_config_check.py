"""check_config: the schema that ships, our checker of it, and the words of its errors."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import ConfigError
from modelscope_ext.utils._config.check import problems, schema
from modelscope_ext.utils.config import Config, ConfigDict, check_config

GOOD = [
    {"framework": "pytorch", "tasks": ["text-classification", "token-classification"]},
    {"framework": "Pytorch", "task": "fill-mask"},
    {"framework": "pytorch", "task": "text-generation", "allow_remote": True},
    {"framework": "pytorch", "task": "x", "model": {"type": "bert"}, "pipeline": {"type": "x"}, "preprocessor": {}},
    {"framework": "onnxruntime", "task": "skin-retouching", "entrypoint": "a.py", "model_files": ["a.onnx"]},
    {"framework": "pytorch", "tasks": ["x"], "task": "x", "requirement_dependency": [], "unknown": None},
]
BAD = [
    ({}, "'framework' is missing; expected a string, such as 'pytorch'."),
    ({}, "'tasks' (or 'task') is missing; expected a list, such as ['text-classification', 'token-classification']."),
    ({"framwork": "pytorch", "task": "x"}, "The file has 'framwork': rename it."),
    ({"framework": "pytorch", "taskss": ["x"]}, "The file has 'taskss': rename it."),
    ({"framework": ["pytorch"], "task": "x"}, "framework is ['pytorch']; expected a string, such as 'pytorch'."),
    ({"framework": "", "task": "x"}, "framework is empty; expected a string, such as 'pytorch'."),
    ({"framework": None, "task": "x"}, "framework is None; expected a string, such as 'pytorch'."),
    ({"framework": "p", "tasks": "x"}, "tasks is 'x'; expected a list, such as ['text-classification', "),
    ({"framework": "p", "tasks": []}, "tasks is empty; expected a list"),
    ({"framework": "p", "tasks": ["x", 3]}, "tasks[1] is 3; expected a string, such as 'text-classification'."),
    ({"framework": "p", "task": True}, "task is True; expected a string, such as 'text-classification'."),
    (
        {"framework": "p", "task": "x", "model": "bert"},
        "model is 'bert'; expected an object, such as {'type': 'bert'}.",
    ),
    ({"framework": "p", "task": "x", "model": {"type": {}}}, "model.type is {}; expected a string, such as 'bert'."),
    ({"framework": "p", "task": "x", "allow_remote": 1}, "allow_remote is 1; expected true or false, such as False."),
    ({"framework": "p", "task": "x", "requirement_dependency": "a"}, "requirement_dependency is 'a'; expected a list"),
]


@pytest.mark.parametrize("config", GOOD)
@pytest.mark.parametrize("kind", [dict, Config, ConfigDict])
def test_good_configurations_pass(config, kind):
    assert check_config(kind(config)) is None


@pytest.mark.parametrize(("config", "message"), BAD)
def test_bad_configurations_are_explained(config, message):
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert str(caught.value).startswith("configuration.json: ")
    assert message in str(caught.value)
    assert isinstance(caught.value, AssertionError)  # what ModelScope raises


def test_the_file_is_named_and_training_needs_more(tmp_path):
    file = tmp_path / "my.json"
    file.write_text(json.dumps({"framework": "pytorch", "task": "x", "model": {}}))
    check_config(file)
    check_config(str(file))
    with pytest.raises(ConfigError, match=r"^my\.json: 'train' is missing; .* 'preprocessor' is .* 'evaluation' is "):
        check_config(file, is_training=True)
    with pytest.raises(TypeError, match="3 is no configuration; expected a file, a Config or a dict"):
        check_config(3)


def test_a_hostile_key_is_shown_escaped_and_short():
    with pytest.raises(ConfigError) as caught:
        check_config({"framework\x1b[31m": 1, "task": "\u202e" * 10**6, "tasks": "x" * 10**6})
    assert len(str(caught.value)) <= 1000
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


def test_the_schema_is_a_schema_and_uses_only_what_our_checker_knows():
    jsonschema.Draft202012Validator.check_schema(schema())
    known = {"$schema", "title", "description", "examples", "type", "minLength", "minItems", "items", "properties"}

    def walk(rules):
        assert set(rules) <= known, rules
        assert rules["type"] in {"object", "array", "string", "boolean"}
        for inner in [*rules.get("properties", {}).values(), *([rules["items"]] if "items" in rules else [])]:
            walk(inner)
        for example in rules.get("examples", []):
            jsonschema.validate(example, rules)

    top = dict(schema())
    assert top.pop("required") == ["framework"]
    assert top.pop("anyOf") == [{"required": ["tasks"]}, {"required": ["task"]}]
    walk(top)


KEYS = st.sampled_from([*schema()["properties"], "type", "model_config", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "pytorch"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
FITTING = st.fixed_dictionaries(
    {"framework": st.sampled_from(["pytorch", ""]), "tasks": st.lists(st.sampled_from(["x", ""]), max_size=2)},
    optional={
        "model": st.dictionaries(st.sampled_from(["type", "model_config"]), st.sampled_from(["x", {}]), max_size=2),
        "allow_remote": st.sampled_from([True, 1]),
        "task": st.sampled_from(["x", None]),
    },
)


@given(st.dictionaries(KEYS, VALUES, max_size=6) | FITTING)
@settings(max_examples=100, deadline=None)
def test_our_checker_agrees_with_jsonschema(config):
    assert (not problems(config)) == jsonschema.Draft202012Validator(schema()).is_valid(config)


def test_numbers_are_no_strings():
    assert problems({"framework": math.nan, "task": "x"}) == (
        "framework is nan; expected a string, such as 'pytorch'.",
    )
