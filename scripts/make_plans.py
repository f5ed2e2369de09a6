"""Write docs/plans.md: what plans fetch of real repositories, beside the whole of them.

    python scripts/make_plans.py LISTINGS.json

The listings (files with their bytes, and what the libraries were seen to read) are third-party data and no part of this
repository: only figures are written. A listing has no texts, and so the few that decide are made up here, as their
libraries write them.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.plan import plan_of
from modelscope_ext.models.resolve import resolve

PAGE = Path(__file__).resolve().parent.parent / "docs" / "plans.md"

_CLIP, _CLIP2 = ["transformers", "CLIPTextModel"], ["transformers", "CLIPTextModelWithProjection"]
_SDXL = {
    "_class_name": "StableDiffusionXLPipeline",
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": _CLIP,
    "text_encoder_2": _CLIP2,
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_SHARDS = [f"model-0000{number}-of-00004.safetensors" for number in (1, 2, 3, 4)]
#: Part of the repository's name -> the texts that phase 1 reads of it.
TEXTS: dict[str, dict[str, Any]] = {
    "stable-diffusion-xl": {"model_index.json": _SDXL},
    "bert-base": {"config.json": {"model_type": "bert", "architectures": ["BertForMaskedLM"]}},
    "flan-t5": {"config.json": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}},
    "Llama-3": {
        "config.json": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"},
        "model.safetensors.index.json": {"weight_map": {f"layer.{n}": name for n, name in enumerate(_SHARDS)}},
    },
    "mpnet": {
        "config.json": {"model_type": "mpnet", "architectures": ["MPNetForMaskedLM"]},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
    },
    "bart": {"config.json": {"model_type": "bart", "architectures": ["BartModel"]}},
}
_HEAD = """\
# What a plan fetches

Real repositories, planned from their listings and the few kilobytes of metadata that a decision needs
(`scripts/make_plans.py` writes this page; the listings themselves are no part of this repository). *Seen* is what the
libraries were observed to read, with all small files counted in; a plan leaves out those that are no part of the model.

| repository | whole | seen | planned | whole / planned |
|---|---|---|---|---|
"""


def _snapshot(name: str, listing: dict[str, Any]) -> Snapshot:
    documents = next(found for part, found in TEXTS.items() if part.lower() in name.lower())
    texts = {file: json.dumps(document) for file, document in documents.items()}
    return Snapshot.from_mapping(texts, {file["path"]: file["bytes"] or 0 for file in listing["files"]})


def _rows(name: str, listing: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    snapshot = _snapshot(name, listing)
    rows = []
    for what, subset in listing["subsets"].items():
        if "DiffusionPipeline" in what:  # also the components that the index does not name
            continue
        variant = "fp16" if "fp16" in what else None
        plan = plan_of(resolve(snapshot, variant=variant, installed=False), snapshot)
        names, needed = {file.name for file in plan.files}, set(subset["weights"])
        weights = {n for n in names if snapshot.sizes[n] > 50_000_000}
        if weights != needed:
            raise SystemExit(f"{name}: planned {sorted(weights)}, needed {sorted(needed)}")
        listed = {file["path"] for file in listing["files"]}  # some listings leave small files out
        total = sum(snapshot.sizes[n] for n in names & listed)
        if total > subset["bytes"]:
            raise SystemExit(f"{name}: planned {total} bytes, needed {subset['bytes']}")
        rows.append((f"{name}, {variant}" if variant else name, listing["bytes_all"], subset["bytes"], total))
    return rows


def main() -> None:
    listings = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    rows = [row for name, listing in listings.items() for row in _rows(name, listing)]
    lines = [
        f"| {name} | {whole / 1e9:.2f} GB | {seen / 1e9:.2f} GB | {planned / 1e9:.2f} GB | {whole / planned:.1f} |"
        for name, whole, seen, planned in rows
    ]
    plain = [whole / planned for name, whole, _, planned in rows if not name.endswith(", fp16")]
    median = statistics.median(plain)
    if median < 5:
        raise SystemExit(f"the median is {median:.2f}; at least 5 was promised")
    tail = f"\nThe median over the repositories, without the smaller variant, is {median:.1f}.\n"
    PAGE.write_text(_HEAD + "\n".join(lines) + "\n" + tail, "utf-8")
    print(f"wrote {PAGE}: {len(rows)} rows, median {median:.2f}")


if __name__ == "__main__":
    main()
