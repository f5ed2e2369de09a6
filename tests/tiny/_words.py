"""Tokenizers for the tiny models: a few dozen words and characters, made without any download."""

from __future__ import annotations

WORDS = tuple(
    word
    for line in (
        "the a cat dog sat ran on mat log big small red blue house tree bird sings flies sleeps eats fish",
        "happy sad good bad movie great awful was is very not hello world paris london lives in john mary works",
        "at who where what city name how many this example about sport politics science yes no one two three",
        "photo of sound rain",
    )
    for word in line.split()
)
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-:"

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }} {{ m['content'] }} {{ '</s>' }} {% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }} {% endif %}"
)


def _pieces() -> list[str]:
    return [*WORDS, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]


def wordpiece_vocab() -> dict[str, int]:
    """Return a BERT vocabulary: special tokens, then the words, then single characters."""
    return {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]", *_pieces()])}


def bert_tokenizer(**options):
    """Return a fast BERT tokenizer of 156 pieces."""
    options = {"model_max_length": 64, **options}
    if before_five():
        return from_files("BertTokenizerFast", {"vocab_file": ("vocab.txt", "\n".join(wordpiece_vocab()))}, **options)
    from transformers import BertTokenizer

    return BertTokenizer(vocab=wordpiece_vocab(), **options)


def before_five():
    """Whether transformers makes its tokenizers of files (4), not of dicts (5)."""
    import transformers

    return transformers.__version__.startswith("4.")


def from_files(kind, files, **options):
    """Return a tokenizer of transformers 4, which reads its vocabulary from files: {argument: (name, text)}."""
    import tempfile
    from pathlib import Path

    import transformers

    with tempfile.TemporaryDirectory() as folder:
        paths = {argument: Path(folder, name) for argument, (name, _) in files.items()}
        for path, (_, text) in zip(paths.values(), files.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return getattr(transformers, kind)(**{argument: str(path) for argument, path in paths.items()}, **options)


def clip_tokenizer():
    """Return CLIP's tokenizer over single bytes, without a merge."""
    import json

    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    order = [*alphabet, *(f"{one}</w>" for one in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(order)}
    if before_five():
        files = {"vocab_file": ("vocab.json", json.dumps(vocab)), "merges_file": ("merges.txt", "#version: 0.2\n")}
        return from_files("CLIPTokenizer", files, model_max_length=32)
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=32)


def lm_tokenizer(
    *, chat: bool = False, seq2seq: bool = False, image: bool = False, audio: bool = False, page: bool = False
):
    """Return a fast tokenizer in the style of Llama (BOS first), or of T5 (EOS last) with `seq2seq`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from tokenizers.decoders import WordPiece as Decoder
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>", "<image>"]
    further = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"] if audio else []
    if page:
        further = [
            f"<|{name}|>" for name in ("image_pad", "video_pad", "vision_start", "vision_end", "im_start", "im_end")
        ]
    special += further
    vocab = {t: i for i, t in enumerate([*special, *_pieces()])}
    core = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", continuing_subword_prefix="##"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = Decoder(prefix="##")
    single, ids = ("$A </s>", [("</s>", 2)]) if seq2seq else ("<s> $A", [("<s>", 1)])
    core.post_processor = processors.TemplateProcessing(single=single, pair=f"{single} $B", special_tokens=ids)
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    if seq2seq:
        del tokens["bos_token"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=64,
        additional_special_tokens=special[4:7] + (["<image>"] if image else []) + further,
        **tokens,
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def byte_tokenizer(*, clip: bool = False):
    """Return a fast byte-level BPE tokenizer without merges: RoBERTa's special tokens first, or CLIP's last.

    CLIP finds the end of a text by its highest token, and OwlViT takes token 0 at the start for an empty text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    order = ["<pad>", "<unk>", "<mask>", *alphabet, "<s>", "</s>"]
    vocab = {t: i for i, t in enumerate(order if clip else ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[(t, vocab[t]) for t in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )
