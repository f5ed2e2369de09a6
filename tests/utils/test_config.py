"""Config and ConfigDict as objects: access, conversion, merging, copies, pickles, writing."""

from __future__ import annotations

import argparse
import collections
import copy
import json
import math
import os
import pickle
import subprocess
import sys

import addict
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import ConfigError, ModelScopeExtError
from modelscope_ext.utils.config import Config, ConfigDict

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["no", "012", "1e3", "0o17", "1:30", "2020-01-01", "~", "null", ".inf", "0x1F", "<<", "=", "a'b\"c", "\\", "# x",
     "- x", "a: b", "\n", " lead", "trail ", "{}", "1_000", "True", "-", "?", "%", "@x", "!x", "&x", "\x85", "\u2028",
     "\ufeff", "class", "dict", "globals", "é", "x" * 200]
)  # fmt: skip
ATOMS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | TEXT
FINITE = ATOMS | st.floats(allow_nan=False, allow_infinity=False)
LITERALS = (
    ATOMS | st.floats(allow_nan=False) | st.binary(max_size=4) | st.complex_numbers(allow_nan=False, max_magnitude=9)
)


def trees(leaves, keys=TEXT, tuples=False):
    def grow(inner):
        lists = st.lists(inner, max_size=4)
        return lists | st.dictionaries(keys, inner, max_size=4) | (lists.map(tuple) if tuples else st.nothing())

    return st.recursive(leaves, grow, max_leaves=12)


def tops(values, keys=TEXT):
    allowed = keys.filter(lambda key: key not in ("filename", "text", "pretty_text", "_base_"))
    return st.dictionaries(allowed, values, max_size=5)


DICTS = tops(trees(LITERALS, tuples=True))


def kinds(value):
    """The shape of a value with its types: ConfigDict and dict differ."""
    if isinstance(value, dict):
        return type(value), {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [kinds(item) for item in value]
    return type(value)


# --- access ---------------------------------------------------------------------------------------------------------


def test_access_by_attribute_and_by_item():
    cfg = Config({"model": {"type": "bert", "sizes": [1, {"a": 2}], "pair": ({"b": 3},)}, 5: "five"})
    assert cfg.model.type == cfg["model"]["type"] == cfg.model["type"] == "bert"
    assert cfg.model.sizes[1].a == 2
    assert cfg.model.pair[0].b == 3
    assert cfg[5] == "five"
    assert (len(cfg), list(cfg), "model" in cfg, "modle" in cfg) == (2, ["model", 5], True, False)
    assert cfg.get("modle", 1) == 1
    assert list(cfg.keys()) == ["model", 5]
    assert dict(cfg.items())[5] == "five"
    assert repr(Config({"a": 1}, filename=None)) == "Config (path: None): {'a': 1}"


def test_what_is_absent_is_an_error_and_is_not_created():
    cfg = Config({"model": {}})
    for missing in (lambda: cfg.modle, lambda: cfg.model.type, lambda: cfg.model.a.b):
        with pytest.raises(AttributeError, match="'ConfigDict' object has no attribute '"):
            missing()
    for missing in (lambda: cfg["modle"], lambda: cfg.model["type"]):
        with pytest.raises(KeyError):
            missing()
    assert not hasattr(cfg, "modle")
    assert cfg.to_dict() == {"model": {}}


def test_setting_and_deleting():
    cfg = Config()
    cfg.model = {"type": "bert"}
    cfg["task"] = {"name": "x"}
    assert (cfg.model.type, cfg.task.name) == ("bert", "x")
    cfg.model.type = "gpt2"
    del cfg.task
    del cfg["model"]["type"]
    assert cfg.to_dict() == {"model": {}}
    with pytest.raises(AttributeError, match="no attribute 'task'"):
        del cfg.task
    with pytest.raises(KeyError):
        del cfg["task"]


def test_methods_keep_their_names_and_reserved_names_are_refused():
    cfg = Config({"items": 1})
    assert list(cfg.items()) == [("items", 1)]
    assert cfg["items"] == 1
    with pytest.raises(AttributeError, match=r"'items' is read-only; use cfg\['items'\]"):
        cfg.items = 2
    for name in ("filename", "text", "pretty_text"):
        with pytest.raises(KeyError, match=rf"{name}' is reserved for Config itself. Rename the key"):
            Config({name: 1})
        with pytest.raises(ConfigError, match=r"reserved for Config itself\. Choose another key"):
            setattr(cfg, name, 1)


@pytest.mark.parametrize("value", [[1], "x", 3, [("a", 1)]])
def test_only_a_dict_is_a_config(value):
    with pytest.raises(TypeError, match="cfg_dict must be a dict, but is ") as caught:
        Config(value)
    assert isinstance(caught.value, ConfigError)


def test_a_subclass_stays_one():
    class Mine(Config):
        pass

    cfg = Mine.from_string("{}", ".json")
    assert type(cfg) is type(copy.copy(cfg)) is type(copy.deepcopy(cfg)) is Mine
    assert repr(cfg) == "Mine (path: None): {}"


# --- ConfigDict -----------------------------------------------------------------------------------------------------


def test_configdict_is_an_addict():
    assert issubclass(ConfigDict, addict.Dict)
    assert ConfigDict([("a", {"b": 1})], c={"d": 2}) == {"a": {"b": 1}, "c": {"d": 2}}
    assert ConfigDict(("a", {"b": 1})).a.b == 1
    assert ConfigDict({"a": 1}, {"a": {"b": 1}}).a.b == 1
    assert ConfigDict() == ConfigDict(None) == {}


def test_configdict_operators_give_configdicts():
    cfg = ConfigDict({"a": {"b": 1}})
    for joined in (cfg | {"a": {"c": 2}}, {"a": {"b": 1}} | ConfigDict({"a": {"c": 2}})):
        assert joined == {"a": {"b": 1, "c": 2}}
        assert kinds(joined) == (ConfigDict, {"a": (ConfigDict, {"b": int, "c": int})})
    assert cfg == {"a": {"b": 1}}
    with pytest.raises(TypeError):
        cfg | 3


def test_a_frozen_configdict_takes_no_new_keys():
    cfg = ConfigDict({"a": {"b": 1}})
    cfg.freeze()
    cfg.a.b = 2
    for new in (lambda: cfg.update(c=1), lambda: setattr(cfg.a, "c", 1)):
        with pytest.raises(KeyError):
            new()
    cfg.unfreeze()
    cfg.c = 1
    assert cfg == {"a": {"b": 2}, "c": 1}


def test_named_tuples_and_odd_containers_are_kept():
    point = collections.namedtuple("Point", "x y")
    cfg = Config({"p": point({"a": 1}, 2), "o": collections.OrderedDict(a=1), "s": {1, 2}})
    assert (cfg.p.x.a, type(cfg.p), type(cfg.o), cfg.s) == (1, point, ConfigDict, {1, 2})


@given(DICTS)
@settings(max_examples=60, deadline=None)
def test_conversion_goes_all_the_way_down_and_back(values):
    before = kinds(values)
    cfg = Config(values)
    assert cfg.to_dict() == values
    assert kinds(cfg.to_dict()) == kinds(values) == before

    def check(value):
        if isinstance(value, dict | list | tuple):
            assert not isinstance(value, dict) or type(value) is ConfigDict
            for item in value.values() if isinstance(value, dict) else value:
                check(item)

    check(cfg._cfg_dict)


@given(DICTS)
@settings(max_examples=60, deadline=None)
def test_what_is_passed_in_or_given_out_is_never_shared(values):
    before = copy.deepcopy(values)
    cfg = Config(values)

    def spoil(value):
        if isinstance(value, dict):
            for item in value.values():
                spoil(item)
            value["spoilt"] = 1
        elif isinstance(value, list | tuple):
            for item in value:
                spoil(item)
            if isinstance(value, list):
                value.append("spoilt")

    spoil(cfg._cfg_dict)
    assert values == before
    cfg = Config(values)
    spoil(cfg.to_dict())
    spoil(values)
    assert cfg.to_dict() == before


# --- copies and pickles ---------------------------------------------------------------------------------------------


@given(DICTS)
@settings(max_examples=60, deadline=None)
def test_copies_and_pickles_are_equal_and_apart(values):
    cfg = Config(values, cfg_text="text")
    others = [copy.deepcopy(cfg), *(pickle.loads(pickle.dumps(cfg, protocol)) for protocol in range(2, 6))]
    for other in [copy.copy(cfg), *others]:
        assert kinds(other._cfg_dict) == kinds(cfg._cfg_dict)
        assert other.to_dict() == values
        assert (other.filename, other.text) == (None, "text")
        other["new key"] = 1
        assert "new key" not in cfg
    for other in others:
        for name in values:
            if isinstance(values[name], dict):
                other[name].spoilt = 1
    assert cfg.to_dict() == values


def test_a_shallow_copy_shares_the_values_and_a_deep_one_keeps_what_is_shared():
    inner = ConfigDict(a=1)
    cfg = Config()
    cfg._cfg_dict.update(x=inner, y=inner, z=[inner])
    shallow, deep = copy.copy(cfg), copy.deepcopy(cfg)
    assert shallow.x is cfg.x
    assert deep.x is deep.y is deep.z[0]
    assert deep.x is not cfg.x
    for other in (ConfigDict(a=[1]).copy(), copy.copy(ConfigDict(a=[1])), ConfigDict(a=[1]).deepcopy()):
        assert kinds(other) == (ConfigDict, {"a": (list, [int])})


def test_cycles_survive_copies_and_pickles():
    cfg = ConfigDict(a=1)
    cfg.me = cfg
    assert copy.deepcopy(cfg).me.me.a == 1
    other = pickle.loads(pickle.dumps(cfg))
    assert other.me is other


def test_a_config_that_was_never_filled_has_no_attributes():
    assert not hasattr(Config.__new__(Config), "anything")


# --- safe_get -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "value"),
    [
        ("a", {"b": [10, {"type": "X", "v": 1}, {"type": "Y", "v": [2]}]}),
        ("a.b[0]", 10), ("a.b[-1].v[0]", 2), ("t.X.v", 1), ("t.Y.v[0]", 2), ("t.Z.v", "default"),
        ("a.b.X", "default"), ("a.b[9]", "default"), ("a.b[x]", "default"), ("a.b[0", "default"),
        ("a.b[0][1]", "default"),
        ("a.b[0].c", "default"), ("a.b[1].v.w", "default"), ("", "default"), ("missing", "default"), ("none", None),
    ],
)  # fmt: skip
def test_safe_get(chain, value):
    typed = [{"type": "X", "v": 1}, {"type": "Y", "v": [2]}]
    cfg = Config({"a": {"b": [10, *typed]}, "t": typed, "none": None})
    before = cfg.to_dict()
    assert cfg.safe_get(chain, "default") == value
    assert cfg.to_dict() == before


def test_safe_get_by_another_field():
    cfg = Config({"t": [{"name": "X", "v": 1}]})
    assert cfg.safe_get("t.X.v", type_field="name") == 1
    assert cfg.safe_get("t.X.v", 7, type_field=None) == 7
    assert cfg.safe_get("t.X.v") is None


# --- merging --------------------------------------------------------------------------------------------------------

MERGES = [
    ({"a": {"b": 1}}, {"a.b": 2}, {}, {"a": {"b": 2}}),
    ({"a": {"b": 1}}, {"a.c.d": 2}, {}, {"a": {"b": 1, "c": {"d": 2}}}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"_delete_": True, "d": 3}}, {}, {"a": {"d": 3}}),
    ({"a": {"b": 1}}, {"a._delete_": True, "a.d": 3}, {}, {"a": {"d": 3}}),
    ({"a": {"b": 1}}, {"a": {"_delete_": False, "d": 3}}, {}, {"a": {"b": 1, "d": 3}}),
    ({}, {"a": {"_delete_": True, "b": {"_delete_": True, "c": 1}}}, {}, {"a": {"b": {"c": 1}}}),
    ({"a": 1}, {"a": {"_delete_": True, "b": 1}}, {}, {"a": {"b": 1}}),
    ({"a": [1, 2]}, {"a.0": 5}, {}, {"a": [5, 2]}),
    ({"a": [1, {"b": 1}]}, {"a.1.b": 2, "a.1.c": 3}, {}, {"a": [1, {"b": 2, "c": 3}]}),
    ({"a": [[1, 2], 3]}, {"a.0.1": 9}, {}, {"a": [[1, 9], 3]}),
    ({"a": [{"b": 1}]}, {"a": {"0": {"_delete_": True, "c": 1}}}, {}, {"a": [{"c": 1}]}),
    ({"a": [1]}, {"a": [2, 3]}, {}, {"a": [2, 3]}),
    ({"a": [1]}, {"a": [2, 3]}, {"force": False}, {"a": [1]}),
    ({"a": [1]}, {"a": [2, 3]}, {"allow_list_keys": False}, {"a": [2, 3]}),
    ({"a": [1]}, {"a.0": 5}, {"force": False}, {"a": [1]}),
    ({"a": {"b": 1}}, {"a.b": 2, "a.c": 3}, {"force": False}, {"a": {"b": 1, "c": 3}}),
    ({"a": {"b": 1}}, {"a": {"_delete_": True, "c": 3}}, {"force": False}, {"a": {"b": 1}}),
    (
        {"p": [{"type": "A", "s": 1}, {"type": "B"}]},
        {"p": [{"type": "C"}, {"type": "A", "t": 2}]},
        {},
        {"p": [{"type": "A", "s": 1, "t": 2}, {"type": "B"}, {"type": "C"}]},
    ),
    ({"a": {"0": 1}}, {"a.0": 2}, {}, {"a": {"0": 2}}),
    ({"a": 1}, {}, {}, {"a": 1}),
]


@pytest.mark.parametrize(("base", "options", "keywords", "merged"), MERGES)
def test_merge_from_dict(base, options, keywords, merged):
    before = copy.deepcopy(options)
    cfg = Config(base)
    old = cfg._cfg_dict
    cfg.merge_from_dict(options, **keywords)
    assert cfg.to_dict() == merged
    assert options == before
    assert old == base
    assert kinds(cfg._cfg_dict) == kinds(Config(merged)._cfg_dict)


@pytest.mark.parametrize(
    ("base", "options", "keywords", "kind", "message"),
    [
        ({"a": 1}, {"a.b": 2}, {}, TypeError, "a: a dict cannot be merged into 1. Set '_delete_': True"),
        ({"a": [1]}, {"a.0": 2}, {"allow_list_keys": False}, TypeError, "a: a dict cannot be merged into [1]."),
        ({"a": [1, 2]}, {"a.2": 0}, {}, KeyError, "a.2: index 2 exceeds the list of 2 items; the last is 1."),
        ({"a": [1]}, {"a.x": 2}, {}, TypeError, "a.x: the base is a list of 1 items; expected an index such as '0'"),
        ({"a": [1]}, {"a.²": 2}, {}, TypeError, "expected an index such as '0', not '²'."),
        ({"a": 1}, {"a": [1]}, {}, ValueError, "a: type mismatch, a list cannot replace 1."),
        ({}, {"a": 1, "a.b": 2}, {}, TypeError, "the option 'a.b' needs a dict at 'a', but another option sets it"),
        ({}, {3: 1}, {}, TypeError, "the option 3 is no string; expected a key such as 'model.type'."),
    ],
)  # fmt: skip
def test_a_merge_that_cannot_be_is_explained_and_changes_nothing(base, options, keywords, kind, message):
    cfg = Config(base)
    with pytest.raises(kind) as caught:
        cfg.merge_from_dict(options, **keywords)
    assert message in str(caught.value)
    assert isinstance(caught.value, ConfigError)
    assert cfg.to_dict() == base


@given(DICTS, DICTS)
@settings(max_examples=60, deadline=None)
def test_merging_nothing_or_everything(values, others):
    cfg = Config(values)
    cfg.merge_from_dict({})
    assert cfg.to_dict() == values
    empty = Config()
    options = {key: value for key, value in others.items() if "." not in key}
    empty.merge_from_dict(options)
    assert empty.to_dict() == options
    cfg.merge_from_dict({key: {"_delete_": True, "only": 1} for key in options})
    assert cfg.to_dict() == {**values, **{key: {"only": 1} for key in options}}
    again = copy.deepcopy(cfg)
    again.merge_from_dict({key: {"only": 1} for key in options})
    assert again.to_dict() == cfg.to_dict()


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dumped")


def round_trip(values, path):
    assert Config(values).dump(path) is None
    assert os.listdir(path.parent) == [path.name]
    read = Config.from_file(path, trust_remote_code=True).to_dict()
    path.unlink()
    return read


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.yml", "a.py"])
@given(values=tops(trees(FINITE)))
@settings(max_examples=60, deadline=None)
def test_round_trips_are_equal(folder, name, values):
    if name == "a.py":
        values = {key: value for key, value in values.items() if not key.startswith("__")}
    read = round_trip(values, folder / name)
    assert read == values
    assert kinds(read) == kinds(values)
    if name != "a.py":
        assert list(read) == list(values)


@given(values=tops(trees(LITERALS, TEXT | st.integers(-5, 5) | st.none(), tuples=True)))
@settings(max_examples=60, deadline=None)
def test_python_keeps_what_json_cannot(folder, values):
    values = {key: value for key, value in values.items() if not key.startswith("__")}
    read = round_trip(values, folder / "a.py")
    assert read == values
    assert kinds(read) == kinds(values)


@given(values=tops(trees(ATOMS | st.sampled_from([math.inf, -math.inf, 1e300, 5e-324, 1e16, 1.0]))))
@settings(max_examples=40, deadline=None)
def test_yaml_is_read_alike_by_pyyaml(folder, values):
    import yaml

    Config(values).dump(folder / "a.yaml")
    text = (folder / "a.yaml").read_text()
    (folder / "a.yaml").unlink()
    assert yaml.safe_load(text) == values


def test_tuples_become_lists_in_json_and_yaml(tmp_path):
    for name in ("a.json", "a.yaml"):
        assert round_trip({"a": (1, (2,))}, tmp_path / name) == {"a": [1, [2]]}


def test_numbers_as_keys(tmp_path):
    assert round_trip({"id2label": {0: "cat", 1: "dog"}}, tmp_path / "a.yaml") == {"id2label": {0: "cat", 1: "dog"}}
    assert round_trip({"id2label": {0: "cat", 1: "dog"}}, tmp_path / "a.json") == {"id2label": {"0": "cat", "1": "dog"}}


def test_python_is_formatted_by_yapf():
    cfg = Config(
        {"model": {"type": "ResNet", "stages": [{"depth": i, "name": f"stage {i}"} for i in range(3)]}, "class": 1}
    )
    text = (
        "model = dict(\n"
        "    type='ResNet',\n"
        "    stages=[\n"
        "        dict(depth=0, name='stage 0'),\n"
        "        dict(depth=1, name='stage 1'),\n"
        "        dict(depth=2, name='stage 2')\n"
        "    ])\n"
        "globals()['class'] = 1\n"
    )
    assert cfg.pretty_text == cfg.dump() == text


def test_a_long_python_text_is_written_without_waiting_for_yapf(tmp_path):
    values = {"labels": {f"key {i}": ["x" * 20] for i in range(8000)}}
    assert round_trip(values, tmp_path / "a.py") == values


def test_dump_without_a_file_takes_the_format_of_what_was_read(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": [1]}')
    assert json.loads(Config.from_file(file).dump()) == {"a": [1]}
    assert Config.from_string("a: 1", ".yaml").dump() == "a: 1\n"
    assert Config({"a": 1}).dump() == "a = 1\n"
    assert copy.deepcopy(Config.from_string('{"a": 1}', ".json")).dump() == '{\n  "a": 1\n}\n'


def test_pretty_text_shows_what_has_no_literal():
    thing = object()
    assert repr(thing) in Config({"a": thing}).pretty_text


@pytest.mark.parametrize(
    ("values", "name", "kind", "message"),
    [
        (
            {"a": {"b": [1, object]}},
            "a.json",
            TypeError,
            "a.b[1] is <class 'object'> (type), which JSON cannot express.",
        ),
        ({"a": {1, 2}}, "a.yaml", TypeError, "a is {1, 2} (set), which YAML cannot express. Convert it to a number"),
        ({"a": b"x"}, "a.yaml", TypeError, "a is b'x' (bytes), which YAML cannot express."),
        ({"a": {"b": object}}, "a.py", TypeError, "a.b is <class 'object'> (type), which has no Python literal."),
        ({"a": math.nan}, "a.json", ValueError, "a is nan, which JSON cannot express. Write null, or dump to .yaml."),
        ({"a": [-math.inf]}, "a.json", ValueError, "a[0] is -inf, which JSON cannot express."),
        ({"a": {1: 2, "1": 3}}, "a.json", KeyError, "a.1: two keys are '1' in JSON. Rename one of them."),
        ({"a": {(1,): 2}}, "a.yaml", TypeError, "a: the key (1,) cannot be expressed in YAML."),
        ({"__a": 1}, "a.py", KeyError, "a .py configuration cannot hold the key '__a'. Dump to .yaml."),
        ({1: 1}, "a.py", KeyError, "a .py configuration cannot hold the key 1. Dump to .yaml."),
        ({"a": "\ud800"}, "a.json", ValueError, "a holds a lone surrogate, which is no character."),
        ({"a": "\ud800"}, "a.yaml", ValueError, "a holds a lone surrogate"),
        ({"a": 1}, "a.txt", OSError, "a.txt: cannot be written as '.txt'; expected one of .py, .json, .yaml, .yml."),
        ({"a": 1}, "a", OSError, "expected one of .py, .json, .yaml, .yml."),
    ],
)
def test_what_cannot_be_written_is_explained_and_no_file_is_touched(tmp_path, values, name, kind, message):
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(kind) as caught:
        Config(values).dump(path)
    assert message in str(caught.value)
    assert isinstance(caught.value, ConfigError)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [name]


# --- to_args --------------------------------------------------------------------------------------------------------


def test_to_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--name")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="*")
    parser.add_argument("--none", nargs="*")
    values = {"max_length": 128, "name": "a b", "lr": 0.1, "amp": True, "sizes": [1, 2, 3], "none": []}
    assert vars(Config(values).to_args(parser.parse_args)) == values
    assert Config({"a_b": 1, "c": False}).to_args(list, use_hyphen=False) == ["--a_b", "1", "--c", "False"]


@pytest.mark.parametrize("value", [None, {"a": 1}, [1, [2]], (1,)])
def test_to_args_says_what_a_command_line_cannot_express(value):
    with pytest.raises(ValueError, match=r"key is .*; expected bool, int, str, float or a list of them"):
        Config({"key": value}).to_args(list)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_importing_and_reading_json_loads_nothing_heavy(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    code = (
        "import sys; from modelscope_ext.utils.config import Config; Config.from_file('a.json').a\n"
        "print(sorted({'torch', 'yaml', 'yapf', 'numpy', 'hashlib', 'difflib', 'tempfile'} & set(sys.modules)))"
    )
    path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@given(st.recursive(st.none() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5))
@settings(max_examples=40, deadline=None)
def test_any_json_is_a_config_or_an_error_of_ours(value):
    try:
        cfg = Config.from_string(json.dumps(value), ".json")
    except ModelScopeExtError as error:
        assert str(error)
    else:
        assert cfg.to_dict() == value


@pytest.mark.parametrize("real", [0.0, -0.0, 3.5, -2.0, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("imaginary", [0.0, -0.0, 1.5, -1.0, float("-inf"), float("nan")])
def test_complex_numbers_are_read_back_with_their_signs(real, imaginary):
    values = {"complex": 1, "type": "x", "dict": {"a": complex(real, imaginary)}}
    read = Config.from_string(Config(values).pretty_text, ".py", trust_remote_code=True).to_dict()
    assert repr(read["dict"]["a"]) == repr(complex(real, imaginary))


@given(values=tops(trees(LITERALS | st.floats(), TEXT | st.integers(-5, 5) | st.none(), tuples=True)))
@settings(max_examples=60, deadline=None)
def test_pretty_text_is_read_back_to_the_same_values(values):
    values = {key: value for key, value in values.items() if not key.startswith("__")}
    read = Config.from_string(Config(values).pretty_text, ".py", trust_remote_code=True).to_dict()
    assert repr(read) == repr({key: read[key] for key in read} and {key: values[key] for key in read})
    assert read.keys() == values.keys()
    assert kinds(read) == kinds(values)


def test_pretty_text_is_laid_out_like_yapf_where_nothing_is_odd():
    cfg = Config(
        {
            "sizes": list(range(40)),
            "model": {"type": "ResNet", "stages": [{"depth": i, "name": f"stage {i}"} for i in range(3)], "e": {}},
            "one": ("x" * 90,),
            "names": {"a-b": [{"k": "v" * 60}, {"k": 1}], "c": ("y" * 40, "z" * 40)},
        }
    )
    assert cfg.pretty_text == (
        "sizes = [\n"
        "    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,\n"
        "    21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39\n"
        "]\n"
        "model = dict(\n"
        "    type='ResNet',\n"
        "    stages=[\n"
        "        dict(depth=0, name='stage 0'),\n"
        "        dict(depth=1, name='stage 1'),\n"
        "        dict(depth=2, name='stage 2')\n"
        "    ],\n"
        "    e=dict())\n"
        f"one = (\n    '{'x' * 90}',\n)\n"
        "names = {\n"
        f"    'a-b': [\n        dict(k='{'v' * 60}'),\n        dict(k=1)\n    ],\n"
        f"    'c': (\n        '{'y' * 40}',\n        '{'z' * 40}'\n    )\n"
        "}\n"
    )
    assert max(map(len, Config({"a": [[1] * 30] * 3, "b": {"c": {"d": ["x" * 9] * 20}}}).pretty_text.split("\n"))) <= 79
