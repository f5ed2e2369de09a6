"""Models of realistic size with random weights: ``python -m benchmarks.models KIND FOLDER``.

They are made by their own libraries and in a process of their own, so that the one that measures stays small.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

__all__ = ["MAKERS", "TEXTS", "make", "words"]

#: What is asked of every model that reads texts.
TEXTS = ("This film is a joy from its first minute to its last.", "I want my evening back.")

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make(kind: str, folder: Path) -> str:
    """Write the model `kind`, a key of `MAKERS`, into `folder`, and return the folder's path."""
    from benchmarks.measure import ROOT

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models", kind, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"making {kind} ended with {done.returncode}: {done.stderr[-2000:]}")
    return str(folder)


def words() -> tuple[list[str], list[float]]:
    """Return made-up words and how often each comes: the frequencies fall as those of real words do."""
    rng = random.Random(0)
    syllables = [first + second for first in "bcdfghklmnprstvw" for second in "aeiou"]
    made = sorted({"".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(60_000)})
    return made, [1 / rank for rank in range(1, len(made) + 1)]


def _texts(count: int) -> list[str]:
    rng, known = random.Random(0), words()
    return [" ".join(rng.choices(*known, k=60)) for _ in range(count)]


def _wordpiece(size: int) -> Any:
    """Return BERT's tokenizer with a WordPiece vocabulary of `size` tokens, trained on made-up texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer()
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(_SPECIAL), show_progress=False)
    trained.train_from_iterator(_texts(8000), trainer)
    from tests.tiny._words import before_five, from_files

    vocab = trained.get_vocab()
    if before_five():
        file = ("vocab.txt", "\n".join(sorted(vocab, key=vocab.__getitem__)))
        return from_files("BertTokenizerFast", {"vocab_file": file}, model_max_length=512)
    from transformers import BertTokenizer

    return BertTokenizer(vocab=vocab, model_max_length=512)


def bert(folder: Path) -> None:
    """Write a BERT classifier of 105 MB: 8 layers of width 384 and BERT's vocabulary of 30,522 tokens."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    labels = ("NEGATIVE", "POSITIVE")
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=8,
        num_attention_heads=12,
        intermediate_size=1536,
        initializer_range=0.1,  # with BERT's own 0.02 every text gets about the same score
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    tokenizer = _wordpiece(config.vocab_size)
    if len(tokenizer) != config.vocab_size:
        raise AssertionError(f"{len(tokenizer)} tokens, not {config.vocab_size}")
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():  # without this every text gets the same label
        model.classifier.bias -= model(**tokenizer(list(TEXTS), return_tensors="pt", padding=True)).logits.mean(0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def onnx(folder: Path) -> None:
    """Write the ONNX export of the BERT in the folder ``bert`` beside `folder`."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    source = folder.parent / "bert"
    model = BertForSequenceClassification.from_pretrained(source, attn_implementation="eager").eval()
    inputs = AutoTokenizer.from_pretrained(source)(["a text", "a longer text"], return_tensors="pt", padding=True)
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            return self.model(**dict(zip(names, values, strict=True))).logits

    folder.mkdir()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),
            tuple(inputs[name] for name in names),
            str(folder / "model.onnx"),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
            dynamo=False,
            opset_version=17,
        )
    for file in source.glob("*.json"):
        shutil.copy(file, folder)


def stable_diffusion(folder: Path) -> None:
    """Write the tiny Stable Diffusion of the tests, half a megabyte."""
    from tests.tiny.diffusers_ import build

    build("stable-diffusion", folder)


def tiny_bert(folder: Path) -> None:
    """Write a BERT classifier of 1 MB."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = _wordpiece(4000)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def llama(folder: Path) -> None:
    """Write a tiny Llama with random weights, 4 MB, and a tokenizer whose vocabulary was trained for it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = _wordpiece(4000)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.5, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


MAKERS = {"llama": llama, "tiny-bert": tiny_bert, "bert": bert, "onnx": onnx, "stable-diffusion": stable_diffusion}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]))
