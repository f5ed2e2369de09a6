"""Well-known repositories of the hubs resolve to their library, framework and task, with their card and without.

The rows were written from memory of what the repositories hold: file names, and of their metadata the keys that matter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.resolve import resolve


@dataclass(frozen=True)
class Row:
    """A repository, as its hub shows it.

    `backend` and `task` are what may be said, joined by ``|``; `files` are names, blank-separated; `documents` are the
    metadata; `card` is the front matter of its README.
    """

    name: str
    backend: str
    framework: str
    task: str
    files: str
    documents: dict[str, Any]
    card: dict[str, Any]


LINES = (Path(__file__).parent / "decision" / "hubs.jsonl").read_text("utf-8").splitlines()
ROWS = [Row(**json.loads(line)) for line in LINES]
#: Neither card nor files name a library: its own program runs it.
UNKNOWN: dict[str, dict[str, object]] = {"tencent/HunyuanVideo": {"backend": "NotAModel"}}
#: What their files alone do not say, and what they resolve to instead: nothing, or the usual for such files.
SILENT: dict[str, dict[str, object]] = {
    "Emu3-Chat": {"task": "text-generation"},
    "vjepa2": {"task": "feature-extraction"},
    "Qwen3-Reranker-0.6B": {"task": "text-generation"},
    "reward-model-deberta-v3-large-v2": {"backend": "sentence-transformers", "task": "text-ranking"},
    "mbart-large-50-many-to-many-mmt": {"task": "text2text-generation"},
    "Depth-Anything-V2-Large": {"backend": "NotAModel"},
    "F5-TTS": {"backend": "NotAModel"},
    "timesfm-2.0-500m-pytorch": {"backend": "NotAModel"},
    "pixel-art-xl": {"backend": "NotAModel"},
    "animatediff": {"backend": "NotAModel"},
    "tencent/HunyuanVideo": {"backend": "NotAModel"},
    "Hunyuan3D-2": {"backend": "NotAModel"},
    "TRELLIS-image-large": {"backend": "NotAModel"},
    "mlx-community/Kokoro-82M-bf16": {"backend": "NotAModel"},
    "flair/upos-english": {"backend": "NotAModel"},
    "fasttext-language-identification": {"backend": "NotAModel"},
    "keras-io/monocular-depth-estimation": {"task": None},
    "esrgan-tf2": {"task": None},
    "litert-community/Gemma3-1B-IT": {"task": None},
    "apple/coreml-stable-diffusion-v1-5": {"task": None},
    "asteroid/ConvTasNet_Libri2Mix_sepclean_16k": {"backend": "NotAModel"},
    "mcrecoser allennlp coref": {"task": None},
    "silero-vad onnx": {"task": None},
}


def snapshot(row: Row, *, card: bool) -> Snapshot:
    texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in row.documents.items()}
    if card and row.card:
        texts["README.md"] = "---\n" + "\n".join(f"{k}: {json.dumps(v)}" for k, v in row.card.items()) + "\n---\n"
    return Snapshot.from_mapping(texts, dict.fromkeys(row.files.split(), 1_000_000))


def misses(row: Row, *, card: bool) -> dict[str, object]:
    """Return what differs from the row, by field."""
    try:
        info = resolve(snapshot(row, card=card), installed=False)
    except ModelScopeExtError as error:
        return {"backend": type(error).__name__}
    said = {"backend": info.backend, "framework": info.framework, "task": info.default_task}
    return {key: value for key, value in said.items() if str(value) not in getattr(row, key).split("|")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_with_its_card(row: Row) -> None:
    assert misses(row, card=True) == UNKNOWN.get(row.name, {})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_without_its_card(row: Row) -> None:
    assert misses(row, card=False) == SILENT.get(row.name, {})
