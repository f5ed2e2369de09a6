"""tokenizer.json is checked whatever the order of its parts and however its words are written."""

import itertools
import json

import pytest

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.models.gate import tokenizers
from modelscope_ext.models.gate.tokenizers import check_tokenizer

MODEL = {"type": "WordPiece", "vocab": {"[CLS]": 0, "a": 1}}
BAD = {
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]"}}], "special_tokens": {}},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "((a+)+)+X"}},
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
}


@pytest.mark.parametrize("order", list(itertools.permutations(["version", "model", "bad"])))
@pytest.mark.parametrize("part", BAD)
def test_a_part_is_found_before_and_after_the_vocabulary(part, order):
    parts = {"version": ("version", "1.0"), "model": ("model", MODEL), "bad": (part, BAD[part])}
    text = json.dumps(dict(parts[name] for name in order), indent=2)
    with pytest.raises(MalformedMetadata) as error:
        check_tokenizer(text.encode(), file="tokenizer.json")
    assert error.value.field.startswith(part)


@pytest.mark.parametrize("part", BAD)
@pytest.mark.parametrize("letter", ["e", "R", "P", "T"])
def test_a_word_with_an_escaped_letter_is_read_as_what_it_is(part, letter):
    text = json.dumps({part: BAD[part], "model": MODEL})
    escaped = f"\\u{ord(letter):04x}"
    for word in ("Regex", "Precompiled", "TemplateProcessing"):
        text = text.replace(word, word.replace(letter, escaped))
    with pytest.raises(MalformedMetadata):
        check_tokenizer(text.encode(), file="tokenizer.json")


@pytest.mark.parametrize("word", ["Regex", "Precompiled", "TemplateProcessing", "\\u0041"])
def test_a_vocabulary_may_hold_the_words(word):
    text = json.dumps({"version": "1", "model": {"vocab": {word: 0}}, "decoder": None})
    check_tokenizer(text.replace("\\\\", "\\").encode(), file="tokenizer.json")
    with pytest.raises(MalformedMetadata):
        text = json.dumps({"model": {"vocab": {word: 0}}, **BAD})
        check_tokenizer(text.encode(), file="tokenizer.json")


def test_a_vocabulary_is_not_parsed_where_nothing_in_it_tells(monkeypatch):
    text = json.dumps({"version": "1", "post_processor": {"type": "TemplateProcessing"}, "model": MODEL}).encode()
    monkeypatch.setattr(tokenizers.json, "loads", None)
    check_tokenizer(text, file="tokenizer.json")


NO_OBJECT = [
    b'["Regex"]', b'"Regex"', b'{"Regex"', b'{"Regex" 1}', b'{"Regex": }', b'{1: "Regex"}',
    b'\xff"Regex"', b'{"a":' * 100_000 + b'"Regex"',
]  # fmt: skip


@pytest.mark.parametrize("data", NO_OBJECT, ids=range(len(NO_OBJECT)))
def test_what_is_no_object_is_refused(data):
    with pytest.raises(MalformedMetadata):
        check_tokenizer(data, file="tokenizer.json")
