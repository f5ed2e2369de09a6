"""Tiny sentence-transformers folders, by name: `build("mean", folder)`. Needs the environment `pt`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.tiny import transformers_

#: name -> pooling modes, whether vectors are normalised, whether a Dense module follows.
SENTENCES: dict[str, tuple[Any, bool, bool]] = {
    "mean": ("mean", True, False),
    "cls": ("cls", False, False),
    "joined": (("cls", "max"), False, False),
    "dense": ("mean", False, True),
}


def build(name: str, folder: str | Path) -> Path:
    """Write the tiny model `name` (a key of `SENTENCES`, or ``"ranker"``) into `folder` as the library saves it."""
    import sentence_transformers
    import torch

    base = "text-ranking" if name == "ranker" else "feature-extraction"
    with tempfile.TemporaryDirectory() as encoder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers_.build(base, encoder)
        if name == "ranker":
            model = sentence_transformers.CrossEncoder(encoder, local_files_only=True, device="cpu")
        else:
            model = sentence_transformers.SentenceTransformer(
                modules=_modules(encoder, *SENTENCES[name]),
                prompts={"query": "the big ", "document": ""},
                device="cpu",
                local_files_only=True,
            )
            model.max_seq_length = 12
        model.save_pretrained(str(folder), create_model_card=False)
    return Path(folder)


def _modules(encoder: str, pooling: Any, normalised: bool, dense: bool) -> list[Any]:
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    trust = {"local_files_only": True, "trust_remote_code": False}
    first = Transformer(encoder, model_kwargs=dict(trust), processor_kwargs=dict(trust), config_kwargs=dict(trust))
    modules: list[Any] = [first, Pooling(first.get_embedding_dimension(), pooling)]
    if dense:
        modules.append(Dense(16, 8))
    if normalised:
        modules.append(Normalize())
    return modules
