"""Strangers' strings in messages, and near misses."""

from hypothesis import given
from hypothesis import strategies as st

from modelscope_ext.utils.text import did_you_mean, listing, printable


@given(st.text(max_size=400), st.integers(5, 200))
def test_printable_is_one_short_printable_line(text, limit):
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= 2 * limit + 3


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=100))
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


def test_terminal_and_bidi_tricks_are_shown_not_done():
    assert printable("\x1b[31mred\n") == "\\x1b[31mred\\n"
    assert printable("abc\u202egnp.exe") == "abc\\u202egnp.exe"
    assert printable("\ud800") == "\\ud800"
    assert printable("模型") == "模型"


def test_a_long_text_says_that_it_was_cut():
    assert printable("a" * 500, 20) == "a" * 17 + "..."


def test_near_misses():
    assert did_you_mean("transfomers", ["transformers", "onnx"]) == " Did you mean 'transformers'?"
    assert did_you_mean("zzz", ["transformers"]) == ""


def test_listing_counts_what_it_leaves_out():
    assert listing([]) == "(none)"
    assert listing("cab") == "a, b, c"
    assert listing("cab", most=1) == "a and 2 more"
