import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.metadata.card import find_blocks, read_card
from modelscope_ext.safety.limits import Limits

TEMPLATE = b"""---
# tasks: the tasks of the model
#tasks:
#- text-classification
#frameworks:
#- pytorch
---
# Title
"""
SHAPES = {
    "plain": (
        b"---\nlibrary_name: diffusers\ntags:\n- a\n- b\n---\n# T",
        {"library_name": "diffusers", "tags": ["a", "b"]},
    ),
    "byte order mark": (b"\xef\xbb\xbf---\na: x\n---\n", {"a": "x"}),
    "blank lines before": (b"\n\n---\na: x\n---\n", {"a": "x"}),
    "windows lines": (b"---\r\na: x\r\nb: [c]\r\n---\r\n# T\r\n", {"a": "x", "b": ["c"]}),
    "spaces after the fence": (b"---  \na: x\n--- \n", {"a": "x"}),
    "inside a comment": (b"<!-- for modelscope yaml info\n---\ntasks:\n- x\n---\n-->\n# T", {"tasks": ["x"]}),
    "doubled, the first wins": (b"---\na: 1\nb: 2\n---\n\n---\na: 9\nc: 3\n---\n# T", {"a": 1, "b": 2, "c": 3}),
    "nothing but comments": (TEMPLATE, {}),
    "a word that YAML 1.1 calls false": (b"---\nlanguage: no\n---\n", {"language": "no"}),
    "a frameworks string": (b"---\nframeworks: PyTorch\n---\n", {"frameworks": "PyTorch"}),
    "empty": (b"", {}),
    "no front matter": (b"# Title\n\ntext\n\n---\n\nmore: text\n\n---\n", {}),
    "never closed": (b"---\na: x\n# Title", {}),
    "a rule after the text": (b"Text\n---\na: b\n---\n", {}),
    "a comment that ends before it": (b"<!-- x -->\ntext\n---\na: b\n---\n", {}),
    "numbers as keys": (b"---\n1: a\n---\n", {"1": "a"}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_front_matter_is_found_where_people_put_it(shape):
    data, expected = SHAPES[shape]
    assert read_card(data) == (expected, ())


BROKEN = {
    "open bracket": b"---\ntags: [a, b\n---\n", "tabs": b"---\na:\n\t- b\n---\n", "twice": b"---\na: 1\na: 2\n---\n",
    "python tag": b"---\na: !!python/object/apply:os.system [x]\n---\n", "a list": b"---\n- a\n- b\n---\n",
    "a word": b"---\nhello\n---\n", "not UTF-8": b"---\na: \xff\n---\n",
    "bomb": b"---\na: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [" + b"*b," * 40 + b"]\n---\n",
}  # fmt: skip


@pytest.mark.parametrize("shape", BROKEN)
def test_broken_front_matter_is_a_finding(shape):
    card, findings = read_card(BROKEN[shape])
    assert card == {}
    assert [(finding.code, finding.level, finding.file) for finding in findings] == [
        ("card-malformed", "warning", "README.md")
    ]


def test_a_broken_second_block_leaves_the_first():
    card, findings = read_card(b"---\na: 1\n---\n---\nb: [\n---\n")
    assert (card, len(findings)) == ({"a": 1}, 1)


def test_long_results_are_left_out_and_short_ones_kept():
    results = b"model-index:\n- name: x\n  results:\n" + b"  - value: 1\n" * 2000
    card, findings = read_card(b"---\ntags:\n- mteb\n" + results + b"license: mit\n---\n", limits=Limits(nodes=100))
    assert (card, findings) == ({"tags": ["mteb"], "license": "mit"}, ())
    assert read_card(b"---\n" + results + b"---\n", limits=Limits(nodes=100)) == ({}, ())
    assert "model-index" in read_card(b"---\nmodel-index:\n- name: x\n---\n")[0]


@settings(max_examples=100)
@given(st.binary(max_size=150), st.booleans())
def test_no_card_raises(data, fenced):
    card, findings = read_card(b"---\n" + data + b"\n---\n" if fenced else data)
    assert isinstance(card, dict)
    assert all(finding.message.isprintable() for finding in findings)
    assert len(find_blocks(data)) <= 2
