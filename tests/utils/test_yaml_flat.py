"""The short way through flat YAML never answers anything else than the parser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.utils import bounded
from modelscope_ext.utils._yaml_events import build
from modelscope_ext.utils._yaml_flat import flat

LIMITS = {"max_depth": 64, "max_nodes": 10_000, "max_aliases": 8, "max_digits": 20}
PIECES = [
    "a",
    "Ab-c",
    "x/y.z",
    "null",
    "True",
    "no",
    "12",
    "1.5e3",
    "~",
    "'q'",
    "<<",
    "&a",
    "*a",
    "!t",
    "|",
    "...",
    "---",
]
PIECES += [
    ": ",
    ":",
    " ",
    "  ",
    "- ",
    "-",
    "\n",
    "\n- ",
    "\n  - ",
    "\nk: ",
    "\nb:",
    "#",
    " #",
    "\t",
    "\r",
    "é",
    "a b",
    "[",
    "{",
]


def parsed(data: bytes) -> object:
    return build(data.decode(), file="README.md", source=None, scalar_keys=True, **LIMITS)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_it_answers_as_the_parser_or_not_at_all(text):
    value = flat(text.encode())
    if value is not None:
        assert value == parsed(text.encode())


WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9_./ -]{0,6}", fullmatch=True)
LINE = st.one_of(
    st.tuples(WORD, WORD).map(": ".join),
    st.tuples(WORD, st.lists(WORD, max_size=3), st.sampled_from(["", "  ", " "])).map(
        lambda parts: "\n".join([parts[0] + ":", *(f"{parts[2]}- {item}" for item in parts[1])])
    ),
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=5).map("\n".join), st.sampled_from(["", "\n", "\n\n"]))
def test_what_is_almost_flat_is_read_as_by_the_parser(text, end):
    value = flat((text + end).encode())
    if value is not None:
        assert value == parsed((text + end).encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("license: mit", {"license": "mit"}),
        ("language: no\n", {"language": "no"}),
        ("a: b\ntags:\n- x\n- y z", {"a": "b", "tags": ["x", "y z"]}),
        ("tags:\n  - x\n  - y\nbase: org/name-1.0\n", {"tags": ["x", "y"], "base": "org/name-1.0"}),
    ],
)
def test_a_plain_card_takes_the_short_way(text, value):
    assert flat(text.encode()) == value == parsed(text.encode())


@pytest.mark.parametrize(
    "text",
    ["", "a", "a: 1", "a: true", "a: NULL", "null: a", "a:", "a:\n", "a: b: c", "a: b #c", "- a", "a: b\n- c",
     "a:\n- b\n  - c", "a:\n- b: c", "a: b\na: c", "a: 'b'", "a: b ", "a:  b", "a:\tb", "a: b\r\n",
     "---\na: b", "a:\n- b\n\n", "a: b\n c"],
)  # fmt: skip
def test_the_rest_is_left_to_the_parser(text):
    assert flat(text.encode()) is None


def test_limits_and_refusals_stay():
    with pytest.raises(MalformedMetadata, match="twice"):
        bounded.parse_yaml(b"a: b\na: c", file="README.md")
    with pytest.raises(bounded.LimitExceeded, match="deep"):
        bounded.parse_yaml(b"tags:\n- a", file="README.md", max_depth=1)
    with pytest.raises(bounded.LimitExceeded, match="values"):
        bounded.parse_yaml(b"tags:\n" + b"- a\n" * 50, file="README.md", max_nodes=10)
