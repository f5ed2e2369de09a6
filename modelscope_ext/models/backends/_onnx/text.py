"""From texts to the arrays of an ONNX graph, with the tokenizers library alone.

A folder's `tokenizer.json` holds the whole tokenizer; a folder with nothing but BERT's `vocab.txt` is read too. Length
and padding follow `tokenizer_config.json`, `special_tokens_map.json` and, for sentence-transformers' folders,
`sentence_bert_config.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MalformedMetadata, NotAModel, OptionError
from modelscope_ext.safety.limits import Limits
from modelscope_ext.safety.reading import read_inside
from modelscope_ext.utils.text import printable

__all__ = ["Text", "Words", "cleaned", "content"]

#: Architectures whose first position is `pad_token_id + 1`, so that fewer tokens fit than positions exist.
_SHIFTED = frozenset(("camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod"))

#: What transformers' `clean_up_tokenization` removes, in its order.
_CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

#: A `model_max_length` above this is transformers' way of saying "none was set".
_NO_LENGTH = 10**9


@dataclass(frozen=True)
class Words:
    """A batch of texts as arrays, and what the tokenizer knows about each.

    Attributes:
        ids: int64 [n, tokens], padded.
        mask: int64 [n, tokens], 1 where there is a token.
        types: int64 [n, tokens], 1 in the second text of a pair.
        encodings: The tokenizers library's own record of each text, unpadded.
    """

    ids: Any
    mask: Any
    types: Any
    encodings: tuple[Any, ...]

    def arrays(self) -> dict[str, Any]:
        """Return everything a graph may want to know of the batch, by the names of its inputs."""
        import numpy as np

        places = np.clip(np.cumsum(self.mask, axis=1) - 1, 0, None)
        return {
            "input_ids": self.ids,
            "attention_mask": self.mask,
            "token_type_ids": self.types,
            "position_ids": places,
        }


@dataclass
class Text:
    """The tokenizer of a folder.

    Attributes:
        tokenizer: A `tokenizers.Tokenizer`, without padding and truncation of its own.
        config: The parsed `tokenizer_config.json`, `special_tokens_map.json` merged under it.
        most: Tokens that the model takes, or None.
        pad: Id of the padding token.
        left: Whether padding goes before the text.
        another: Makes the same tokenizer again, from the bytes that were checked. Writing one out to read it back would
            print to stdout where a vocabulary has holes.
    """

    tokenizer: Any
    config: Mapping[str, Any]
    most: int | None
    pad: int
    left: bool
    another: Callable[[], Any]
    _cut: dict[tuple[int, str, int], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, document: Callable[[str], Any], limits: Limits, most: int | None = None) -> Text:
        """Read the tokenizer of `folder`.

        Args:
            folder: The model's folder.
            document: Returns a parsed JSON file by name; an empty dict where there is none.
            limits: What may be read.
            most: The caller's number of tokens; None takes what the files say.

        Raises:
            NotAModel: No tokenizer that this backend reads.
            MalformedMetadata: The tokenizers library cannot read it.
        """
        config = {**document("special_tokens_map.json"), **document("tokenizer_config.json")}
        model = document("config.json")
        another = _read(folder, config, limits)
        tokenizer = another()
        pad = _id_of(tokenizer, config.get("pad_token"))
        if pad is None:
            pad = next((v for v in (model.get("pad_token_id"), model.get("eos_token_id")) if type(v) is int), 0)
        most = most or _most(config, model, document("sentence_bert_config.json"))
        return cls(tokenizer, config, most, pad, config.get("padding_side") == "left", another)

    def token_id(self, name: str) -> int | None:
        """Return the id of a special token by its role, e.g. ``"mask_token"``, or None."""
        return _id_of(self.tokenizer, self.config.get(name))

    def encode(
        self, texts: Sequence[Any], *, cut: str = "longest_first", special: bool = True, width: int | None = None
    ) -> Words:
        """Return `texts` (strings, or pairs of them) as arrays, cut to `most` tokens and padded to the longest.

        Args:
            texts: Never empty.
            cut: What to shorten in a pair that is too long: ``"longest_first"`` or ``"only_first"``.
            special: Whether to add the tokens that frame a text.
            width: Tokens to which every text is cut or padded; None pads to the longest.
        """
        most = self.most if width is None else min(width, self.most or width)
        return self.padded(self._tokenizer(most, cut).encode_batch(list(texts), add_special_tokens=special), width)

    def padded(self, encodings: Sequence[Any], width: int | None = None) -> Words:
        """Return texts that the tokenizer has read as arrays of one width: that of the longest, or `width`."""
        import numpy as np

        width = width or max(len(e.ids) for e in encodings)
        ids: Any = np.full((len(encodings), width), self.pad, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            at = slice(width - count, width) if self.left else slice(count)
            ids[row, at], mask[row, at], types[row, at] = encoding.ids, 1, encoding.type_ids
        return Words(ids, mask, types, tuple(encodings))

    def windows(self, question: str, context: str, longest: int, stride: int) -> list[Any]:
        """Return a question with each window of its context, as the tokenizers library's own records.

        Args:
            question: Stands whole in each window.
            context: Cut into windows where it is too long.
            longest: Tokens of a window, those of the question and of the frame included.
            stride: Tokens that two windows share.

        Raises:
            OptionError: The question leaves no room.
        """
        try:
            first = self._tokenizer(longest, "only_second", stride).encode(question, context)
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise OptionError(
                f"question-answering: windows of {longest} tokens that share {stride} leave no room for a context "
                f"beside the question ({printable(str(error))}). Shorten the question, or pass max_seq_len= and "
                "doc_stride=."
            ) from error
        return [first, *first.overflowing]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return tokens as text, as transformers' fast tokenizers do."""
        text: str = self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=skip_special)
        if self.config.get("clean_up_tokenization_spaces") is True and type(self.tokenizer.model).__name__ != "BPE":
            text = cleaned(text)
        return text

    def join(self, tokens: Sequence[str]) -> str:
        """Return written-out tokens as text."""
        decoder = self.tokenizer.decoder
        return str(decoder.decode(list(tokens))) if decoder is not None else " ".join(tokens)

    def _tokenizer(self, most: int | None, cut: str, stride: int = 0) -> Any:
        """Return a tokenizer that cuts; one per way, so that threads never see its settings change."""
        if most is None:
            return self.tokenizer
        key = (most, cut, stride)
        if key not in self._cut:
            other = self.another()
            other.enable_truncation(most, stride=stride, strategy=cut)
            self._cut[key] = other
        return self._cut[key]


def _read(folder: Path, config: Mapping[str, Any], limits: Limits) -> Callable[[], Any]:
    for name, reader in (("tokenizer.json", _whole), ("vocab.txt", _wordpiece)):
        if (folder / name).is_file():
            return partial(_made, reader, read_inside(folder, name, limits=limits), config, name)
    raise NotAModel(
        "The folder has no tokenizer.json (nor BERT's vocab.txt), which the onnx backend needs for texts. "
        "With transformers installed, AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one."
    )


def _made(reader: Callable[[bytes, Mapping[str, Any]], Any], data: bytes, config: Mapping[str, Any], name: str) -> Any:
    try:
        tokenizer = reader(data, config)
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise MalformedMetadata(
            f"{name} cannot be read by the tokenizers library: {printable(str(error))}. "
            "Download it again, or update tokenizers.",
            file=name,
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _whole(data: bytes, config: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_buffer(data)


def _wordpiece(data: bytes, config: Mapping[str, Any]) -> Any:
    """Build BERT's tokenizer from its vocabulary, one piece a line."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocab = {line.rstrip("\r"): i for i, line in enumerate(data.decode("utf-8").split("\n")) if line.rstrip("\r")}
    unknown, start, end = (
        content(config.get(role)) or default
        for role, default in (("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"))
    )
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=unknown))
    lower = config.get("do_lower_case")
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lower is not False,
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars") is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing((end, vocab[end]), (start, vocab[start]))
    roles = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token")
    defaults = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    special = [content(config.get(role)) or token for role, token in zip(roles, defaults, strict=True)]
    tokenizer.add_special_tokens([token for token in special if token in vocab])
    return tokenizer


def cleaned(text: str) -> str:
    """Return `text` without the spaces that tokenizers leave before punctuation.

    Example:
        >>> cleaned("it 's well , no ?")
        "it's well, no?"
    """
    for seen in _CLEANED:
        text = text.replace(seen, seen[1:].rstrip(" "))
    return text


def content(token: Any) -> str | None:
    """Return a special token's text; the files have it as a string or as an object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _id_of(tokenizer: Any, token: Any) -> int | None:
    text = content(token)
    found: int | None = tokenizer.token_to_id(text) if text else None
    return found


def _most(config: Mapping[str, Any], model: Mapping[str, Any], sentence: Mapping[str, Any]) -> int | None:
    """Return the smallest length that a file states, or None."""
    positions = model.get("max_position_embeddings")
    if type(positions) is int and model.get("model_type") in _SHIFTED:
        pad = model.get("pad_token_id")
        positions -= (pad if type(pad) is int else 1) + 1
    said = (config.get("model_max_length"), positions, sentence.get("max_seq_length"))
    known = [int(v) for v in said if isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < _NO_LENGTH]
    return min(known, default=None)
