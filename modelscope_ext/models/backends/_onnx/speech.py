"""From the best token of every moment to text, as CTC has it: repeats are one, blanks are none.

https://distill.pub/2017/ctc/. The vocabulary is wav2vec2's `vocab.json`, with the roles of `tokenizer_config.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelscope_ext.errors import BackendNotLoadable, MalformedMetadata, NotAModel
from modelscope_ext.models.backends._onnx.session import Bundle
from modelscope_ext.models.backends._onnx.text import cleaned, content
from modelscope_ext.utils.text import listing, printable

__all__ = ["Letters", "Piece", "words_of"]

_FILE = "vocab.json"


@dataclass(frozen=True)
class Piece:
    """A letter or a word, and the rows of logits from which it was read."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Letters:
    """A vocabulary of letters.

    Attributes:
        names: Token -> letter.
        blank: The token that stands for nothing.
        gap: The token between words.
        space: What is written for it.
        lower: Whether the text is put in lower case.
        clean: Whether spaces before punctuation are taken out.
        unknown: What is written for a token without a letter.
    """

    names: Mapping[int, str]
    blank: str
    gap: str
    space: str = " "
    lower: bool = False
    clean: bool = False
    unknown: str = "<unk>"

    @classmethod
    def of(cls, bundle: Bundle) -> Letters:
        """Read the vocabulary of a folder.

        Raises:
            NotAModel: There is none: the folder is no CTC model of this form.
            BackendNotLoadable: A tokenizer that writes in another way.
            MalformedMetadata: Not a vocabulary.
        """
        config = {**bundle.document("special_tokens_map.json"), **bundle.document("tokenizer_config.json")}
        kind = config.get("tokenizer_class", "Wav2Vec2CTCTokenizer")
        if kind != "Wav2Vec2CTCTokenizer":
            raise BackendNotLoadable(
                f"tokenizer_config.json: tokenizer_class is {printable(kind)}; the onnx backend writes down speech "
                'with Wav2Vec2CTCTokenizer only. Use backend="transformers" (it needs torch).'
            )
        vocabulary = bundle.document(_FILE)
        if not vocabulary:
            raise NotAModel(
                f"The folder has no {_FILE}, which names the letters of a CTC model. Copy it from the model that was "
                "exported; a model that writes with a decoder (Whisper) is no single pass and is not run from ONNX."
            )
        language = config.get("target_lang")
        if isinstance(language, str) and isinstance(vocabulary, Mapping):
            if not isinstance(vocabulary.get(language), Mapping):
                raise MalformedMetadata(
                    f"tokenizer_config.json: target_lang is {printable(language)}, and {_FILE} has "
                    f"{listing(map(printable, vocabulary), 10)}.",
                    file=_FILE,
                    field=language,
                )
            vocabulary = vocabulary[language]
        if not isinstance(vocabulary, Mapping) or not all(type(v) is int for v in vocabulary.values()):
            raise MalformedMetadata(f"{_FILE} should be an object of tokens and whole numbers.", file=_FILE)
        return cls(
            {**_added(config), **{number: str(name) for name, number in vocabulary.items()}},
            content(config.get("pad_token", "<pad>")) or "",
            content(config.get("word_delimiter_token", "|")) or "",
            str(config.get("replace_word_delimiter_char", " ")),
            config.get("do_lower_case") is True,
            config.get("clean_up_tokenization_spaces") is True,
            content(config.get("unk_token", "<unk>")) or "",
        )

    def read(self, tokens: Sequence[int]) -> list[Piece]:
        """Return the letters in `tokens`, one for each run of the same token, blanks left out."""
        found, at = [], 0
        for name, run in groupby(self.names.get(token, self.unknown) for token in tokens):
            count = sum(1 for _ in run)
            if name != self.blank:
                found.append(Piece(self.space if name == self.gap else name, at, at + count))
            at += count
        return found

    def text(self, pieces: Sequence[Piece]) -> str:
        """Return letters as text."""
        text = "".join(piece.text for piece in pieces).strip()
        text = text.lower() if self.lower else text
        return cleaned(text) if self.clean else text


def words_of(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the words between the spaces.

    Example:
        >>> words_of([Piece("n", 2, 3), Piece("o", 4, 6), Piece(" ", 6, 7), Piece("a", 9, 10)])
        [Piece(text='no', start=2, end=6), Piece(text='a', start=9, end=10)]
    """
    words = []
    for space, group in groupby(pieces, lambda piece: piece.text == " "):
        if not space:
            letters = list(group)
            words.append(Piece("".join(p.text for p in letters), letters[0].start, letters[-1].end))
    return words


def _added(config: Mapping[str, Any]) -> dict[int, str]:
    """Return the tokens that tokenizer_config.json adds to the vocabulary."""
    added = config.get("added_tokens_decoder")
    if not isinstance(added, Mapping):
        return {}
    return {int(k): content(v) or "" for k, v in added.items() if str(k).isdigit()}
