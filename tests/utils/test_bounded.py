"""utils.bounded: what is refused, in which words, and that all else is read as Python's own parsers do."""

from __future__ import annotations

import gc
import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import LimitExceeded, MalformedMetadata
from modelscope_ext.utils.bounded import MAX_DEPTH, MAX_NODES, decode_text, parse_json, parse_yaml

# Letters that JSON and YAML both allow unescaped, with every character that has a meaning in one of them.
ALPHABET = st.sampled_from("ab01 eE+-.,:;{}[]\"'\\/#&*!|>%@`~?=\n\té😀")
TEXT = st.text(ALPHABET, max_size=12)
NUMBERS = st.integers(-(10**19), 10**19) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)


def depth(value):
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def nodes(value):
    if isinstance(value, dict | list):
        return 1 + sum(map(nodes, value.values() if isinstance(value, dict) else value))
    return 1


# --- JSON -----------------------------------------------------------------------------------------------------------


@given(VALUES, st.booleans(), st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_json_is_read_as_python_reads_it(value, ascii, indent, bom):
    data = (b"\xef\xbb\xbf" if bom else b"") + json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    assert parse_json(data, file="x.json") == value


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_json_limits_are_exact(value):
    data = json.dumps(value).encode()
    exact = {"max_depth": depth(value), "max_nodes": nodes(value), "max_bytes": len(data)}
    assert parse_json(data, file="x.json", **exact) == value
    for name, least in (("max_depth", 1), ("max_nodes", 1), ("max_bytes", 1)):
        if exact[name] >= least:
            with pytest.raises(LimitExceeded, match=r"the limit is"):
                parse_json(data, file="x.json", **{**exact, name: exact[name] - 1})


@given(st.text('[]{}",:\\ 01a', max_size=40), st.integers(0, 5), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_broken_json_ends_in_one_of_two_errors(text, max_depth, max_nodes):
    try:
        value = parse_json(text.encode(), file="x.json", max_depth=max_depth, max_nodes=max_nodes)
    except (MalformedMetadata, LimitExceeded) as error:
        assert str(error).startswith("x.json")
    else:
        assert depth(value) <= max_depth
        assert nodes(value) <= max_nodes


BROKEN_JSON = [
    (b"", "x.json, line 1: the file is empty; expected JSON. Write {} if nothing is to be said."),
    (
        b'{"a": 1,\n}',
        "x.json, line 2, column 1: expected a key in double quotes, found '}'. Remove the comma before it.",
    ),
    (b"[1,]", "x.json, line 1, column 4: expected a value, found ']'. Remove the comma before it."),
    (b"{'a': 1}", "found \"'a': 1}\". Strings and keys need double quotes."),
    (b"{a: 1}", "line 1, column 2: expected a key in double quotes, found 'a: 1}'. Keys need double quotes."),
    (b'{"a": True}', "expected a value, found 'True}'. JSON writes true, false and null."),
    (b'{"a": 1 # one\n}', "expected ',' or the closing bracket, found '# one'. JSON has no comments: remove it."),
    (b'{"a": 1, // one\n"b": 2}', "found '// one'. JSON has no comments: remove it."),
    (b'{"a": /* one */ 1}', "expected a value, found '/* one */ 1}'. JSON has no comments: remove it."),
    (b'{\n"a": 1,\n...\n}', "x.json, line 3, column 1: expected a key in double quotes, found '...'. '...' stands for"),
    (b'{"a": "b" "c": 1}', "expected ',' or the closing bracket, found '\"c\": 1}'. Is a comma missing before it?"),
    (b'{"a": 1', "found the end of the file. The file stops in the middle: was it cut off while copying?"),
    (b"{} trailing", "expected the end of the file, found 'trailing'. Only one JSON value may stand in a file"),
    (b'{"a": "x\ny"}', "a line break or control character inside a string"),
    (b'{"a": "\\x"}', "an unknown backslash escape, found '\\\\x\"}'. Write a backslash as \\\\."),
    (b"version https://git-lfs.github.com/spec/v1\n", "This is a git-LFS pointer, not the file: fetch it with"),
    (b'{"a": "\\ud800"}', "x.json: a lone surrogate (\\ud800) at byte offset 7"),
    (b'{"\xc3\xa9\\udfff": 1}', "x.json: a lone surrogate (\\udfff) at byte offset 4"),
    (b'{"a": NaN}', "x.json: NaN is not JSON; expected a number. Write null, or a finite number."),
    (b"[-Infinity]", "x.json: -Infinity is not JSON; expected a number."),
    (b"[1e400]", "x.json: the number 1e400 overflows; expected a finite number."),
    (b"[-1E+400]", "x.json: the number -1E+400 overflows"),
    (b"9" * 5000, "x.json: an integer of 5000 digits (999999999999...); at most 20."),
    (b'{"a": 1, "a": 1}', "x.json, line 1: the key 'a' appears twice in one object. Keep one of them."),
    (b'{"a": 1,\n"b": {"c": 1,\n"c": 2}}', "x.json, line 3: the key 'c' appears twice in one object."),
    ('{"é": 1,\n"\\u00e9": 2}'.encode(), "x.json, line 2: the key 'é' appears twice in one object."),
    (b'[{"a": 1}, {"a": 1,\n"a": 2}]', "x.json: the key 'a' appears twice in one object."),
    (b'{"\x1b[31m": 1, "\x1b[31m": 2}', "a line break or control character inside a string"),
    (b'{"\\u001b[31m": 1, "\\u001b[31m": 2}', "the key '\\x1b[31m' appears twice"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN_JSON, ids=lambda p: repr(p[:24]) if isinstance(p, bytes) else "")
def test_broken_json_is_explained(data, message):
    with pytest.raises(MalformedMetadata) as caught:
        parse_json(data, file="x.json", source="./m")
    assert message in str(caught.value)
    assert (caught.value.file, caught.value.source, caught.value.code) == ("x.json", "./m", "MF")
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"a": 1}'.encode("utf-16"), "UTF-16 at byte offset 0; expected UTF-8. Save the file as UTF-8."),
        ('{"a": 1}'.encode("utf-32"), "UTF-32 at byte offset 0"),
        ('{"a": 1}'.encode("utf-16-le"), "a NUL byte at byte offset 1"),
        (b'{"a": "\0"}', "a NUL byte at byte offset 7"),
        (b"\xef\xbb\xbf[\0]", "a NUL byte at byte offset 4"),
        (b'{"a": "\xff"}', "not UTF-8 at byte offset 7 (byte 0xff: invalid start byte)"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8 at byte offset 7"),
    ],
)
def test_what_is_not_utf8_is_refused_with_its_offset(parse, data, message):
    with pytest.raises(MalformedMetadata) as caught:
        parse(data, file="x.json")
    assert message in str(caught.value)


def test_accepted_oddities_of_json():
    assert parse_json(b"\xef\xbb\xbf {}", file="x") == {}
    assert parse_json(b'["\\ud83d\\ude00", "\\\\ud800", "\\\\\\\\ud800"]', file="x") == ["😀", "\\ud800", "\\\\ud800"]
    assert parse_json(b'["0123456789012345678901234", "abce123", 0.33333333333333333333333]', file="x")[2] == 1 / 3
    assert parse_json(b"99999999999999999999", file="x") == 10**20 - 1
    assert parse_json(b'["' + b'[{,\\"' * MAX_NODES + b'"]', file="x")[0].startswith('[{,"')
    assert parse_json(b"null", file="x") is None


@pytest.mark.parametrize("make", [lambda n: b"[" * n, lambda n: b"[" * n + b"]" * n, lambda n: b'{"a":' * n])
@pytest.mark.parametrize("times", [MAX_DEPTH + 1, 900, 200_000])
def test_deep_json_is_refused_before_anything_is_built(make, times):
    data = make(times)
    tracemalloc.start()
    with pytest.raises(
        LimitExceeded, match=r"x\.json: nested more than 64 deep; .* pass limits=Limits\(depth="
    ) as caught:
        parse_json(data, file="x.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.grant == "limits"
    assert peak < 8 * len(data) + 2**20


def test_wide_json_is_refused_before_anything_is_built():
    with pytest.raises(LimitExceeded, match=r"x\.json: 1000002 values; the limit is 200000.*Limits\(nodes="):
        parse_json(b"[" + b"{}," * 1_000_000 + b"{}]", file="x.json")
    with pytest.raises(LimitExceeded, match=r"17 bytes; the limit is 16.*Limits\(json_bytes="):
        parse_json(b" " * 17, file="x.json", max_bytes=16)


@given(
    st.lists(st.sampled_from(["ab", "[", "]", '\\"', "{", ",", " "]), max_size=40).map("".join),
    st.integers(65_530, 65_540),
)
@settings(max_examples=50, deadline=None)
def test_strings_are_cut_out_wherever_they_stand(text, before):
    value = [[[], {}]] * 65 + ["x" * before, text, {text: [text]}, []]
    data = json.dumps(value).encode()
    assert parse_json(data, file="x.json", max_nodes=nodes(value)) == value
    with pytest.raises(LimitExceeded):
        parse_json(data, file="x.json", max_nodes=nodes(value) - 1)


def test_depth_is_counted_up_to_the_place_where_the_parser_stops():
    with pytest.raises(LimitExceeded):
        parse_json(b"[" * 70 + b"x" + b"]" * 70, file="x.json")
    with pytest.raises(MalformedMetadata):
        parse_json(b"]" * 70 + b"[" * 60, file="x.json")


@given(VALUES, st.sampled_from(["", "é", "\\u00e9", ":", "[", '\\"']))
@settings(max_examples=60, deadline=None)
def test_a_key_that_appears_twice_is_found_in_large_files_too(value, key):
    rest = json.dumps([[{"a": {}}]] * 70 + [value], ensure_ascii=False)
    once = f'{{"rest": {rest}, "{key}": {{"x": 1}}}}'.encode()
    twice = f'{{"{key}": 1, "rest": {rest}, "{key}": {{"x": 1}}}}'.encode()

    class Mine(dict):
        pass

    for make in (dict, Mine):
        read = parse_json(once, file="x.json", make_dict=make)
        assert read == json.loads(once)
        assert type(read) is type(read["rest"][0][0]["a"]) is make
        with pytest.raises(MalformedMetadata, match="appears twice in one object"):
            parse_json(twice, file="x.json", make_dict=make)


def test_the_collector_rests_while_a_large_file_is_read_and_goes_on_afterwards():
    seen = []

    def make(pairs):
        seen.append(gc.isenabled())
        return dict(pairs)

    large = b'{"a": "' + b"x" * 300_000 + b'"}'
    assert gc.isenabled()
    parse_json(large, file="x", make_dict=make)
    with pytest.raises(MalformedMetadata):
        parse_json(large + b"x", file="x", make_dict=make)
    assert gc.isenabled()
    parse_json(b"{}", file="x", make_dict=make)
    gc.disable()
    try:
        parse_json(large, file="x", make_dict=make)
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert seen == [False, False, True, False]


def test_make_dict_builds_every_object():
    pairs = parse_json(b'{"a": {"b": 1}}', file="x", make_dict=tuple)
    assert pairs == (("a", (("b", 1),)),)


# --- YAML -----------------------------------------------------------------------------------------------------------


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_yaml_reads_json_as_json(value):
    assert parse_yaml(json.dumps(value, ensure_ascii=False).encode(), file="x.yaml") == value


@given(st.text("ab: -[]{}&*!|>'\"%#?,\n\t 012.<", max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_yaml_ends_in_a_value_or_in_one_of_two_errors(text):
    try:
        value = parse_yaml(text.encode(), file="x.yaml", max_nodes=20, max_depth=4, max_aliases=3)
    except (MalformedMetadata, LimitExceeded) as error:
        assert str(error).startswith("x.yaml")
    else:
        assert depth(value) <= 4


CORE_SCHEMA = [
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("y", "y"), ("true", True), ("False", False), ("TRUE", True),
    ("tRue", "tRue"), ("null", None), ("~", None), ("", None), ("Null", None), ("nULL", "nULL"),
    ("012", 12), ("-7", -7), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1_000", "1_000"),
    ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("1e3", 1000.0),
    ("1E-3", 0.001), (".inf", math.inf), ("-.INF", -math.inf), (".", "."), ("-", [None]), ("+", "+"), ("=", "="),
    ("1.2.3", "1.2.3"), ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("!!int 12", 12), ("!!float 12", 12.0),
    ("! 12", "12"), ("!!null ~", None), ("!!bool true", True),
]  # fmt: skip


@pytest.fixture(params=["C parser", "Python parser"])
def either_parser(request, monkeypatch):
    import yaml

    if request.param == "Python parser":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    else:
        assert hasattr(yaml, "CSafeLoader"), "PyYAML was built without libyaml"


@pytest.mark.parametrize(("text", "value"), CORE_SCHEMA)
@pytest.mark.usefixtures("either_parser")
def test_scalars_have_the_types_of_yaml_1_2(text, value):
    read = parse_yaml(b"a: %s\n" % text.encode() if text != "-" else b"a:\n  -\n", file="x.yaml")["a"]
    assert (type(read), read) == (type(value), value)


BROKEN_YAML = [
    (b"a: 1\n--- \nb: 2", "x.yaml, line 2, column 1: a second document starts ('---'); expected one."),
    (b"a: 1\na: 2", "x.yaml, line 2, column 1: the key 'a' appears twice in one mapping. Keep one of them."),
    (b"{<<: {a: 1}, <<: {b: 1}}", "the key '<<' appears twice"),
    (b"<<: 1", "the merge key << takes a mapping or a list of mappings."),
    (b"1: 2", "x.yaml, line 1, column 1: a key is 1; expected a string. Put it in quotes."),
    (b"[1, 2]: 3", "a key is a sequence; expected a string."),
    (b"? {a: 1}\n: 2", "a key is a mapping; expected a string."),
    (b"~: 2", "a key is null; expected a string."),
    (b"a:\n\t- b", "x.yaml, line 2, column 1: not YAML: found character"),
    (
        b"a: !!python/object/apply:os.system [ls]",
        "the tag !!python/object/apply:os.system is outside YAML's core schema",
    ),
    (b"!evil {a: 1}", "the tag !evil is outside YAML's core schema; nothing was constructed or executed."),
    (b"a: !!binary aGk=", "the tag !!binary is outside"),
    (b"a: !!timestamp 2020-01-01", "the tag !!timestamp is outside"),
    (b"a: !!int x", "'x' is tagged !!int, but is none."),
    (b"a: &a [*a]", "the alias *a names nothing that is complete before it."),
    (b"a: *b", "the alias *b names nothing that is complete before it."),
    (b"a: [1", "not YAML:"),
    (b"a: \x07", "not YAML:"),
    (b"a: 1e999", "the number 1e999 overflows; expected a finite number."),
    (b"a: 0x" + b"f" * 1_000_000, "an integer of 1000000 digits (0xffffffffff...); at most 20."),
    (b"a: " + b"9" * 5000, "an integer of 5000 digits"),
    (b'a: "\\ud800"', "x.yaml"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN_YAML, ids=lambda p: repr(p[:24]) if isinstance(p, bytes) else "")
@pytest.mark.usefixtures("either_parser")
def test_broken_yaml_is_explained(data, message):
    with pytest.raises(MalformedMetadata) as caught:
        parse_yaml(data, file="x.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) <= 1000


def _bomb(width, levels, line):
    return b"a: &a {k: v}\n" + b"".join(
        line % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * width)) for i in range(levels)
    )


HEAVY_YAML = [
    (_bomb(9, 8, b"%c: &%c [%s]\n"), "yaml_aliases"),
    (_bomb(9, 8, b"%c: &%c {<<: [%s]}\n"), "yaml_aliases"),
    (_bomb(2, 16, b"%c: &%c [%s]\n"), "nodes"),
    (b"[" * 200_000, "depth"),
    (b"- " * 65 + b"x", "depth"),
    (b"a: &a " + b"[" * 40 + b"]" * 40 + b"\nb: " + b"[" * 40 + b"*a" + b"]" * 40, "depth"),
    (b"[" + b"a," * (2 * MAX_NODES) + b"]", "nodes"),
]


@pytest.mark.parametrize(
    ("data", "limit"), HEAVY_YAML, ids=["aliases", "merges", "doubling", "flow", "block", "alias depth", "wide"]
)
@pytest.mark.usefixtures("either_parser")
def test_heavy_yaml_is_refused(data, limit):
    with pytest.raises(LimitExceeded, match=rf"x\.yaml: .*; the limit is \d+\. .*limits=Limits\({limit}="):
        parse_yaml(data, file="x.yaml")


@pytest.mark.usefixtures("either_parser")
def test_aliases_and_merges_within_the_limits():
    data = b"base: &b {lr: 1, warm: {a: 2}}\nrun:\n  <<: *b\n  lr: 3\nboth:\n  <<: [{lr: 5}, *b]\nagain: *b\n'<<': 1\n"
    assert parse_yaml(data, file="x.yaml") == {
        "base": {"lr": 1, "warm": {"a": 2}},
        "run": {"lr": 3, "warm": {"a": 2}},
        "both": {"lr": 5, "warm": {"a": 2}},
        "again": {"lr": 1, "warm": {"a": 2}},
        "<<": 1,
    }


def test_scalar_keys_on_request():
    assert parse_yaml(b"0: cat\n1.5: dog\ntrue: x\n", file="x.yaml", scalar_keys=True) == {
        0: "cat",
        1.5: "dog",
        True: "x",
    }


def test_decode_text_drops_the_byte_order_mark():
    assert decode_text("\ufeffé".encode(), file="x") == "é"
