"""What the tests of ModelScope's backend share: references that ask ModelScope itself, and inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

#: ModelScope's own pipeline over a folder; `arg`: folder, task, inputs, what else the pipeline is made with.
CALL = """
import logging, sys
logging.getLogger("modelscope").addFilter(lambda record: False)
if arg.get("vision"):
    sys.path.insert(0, arg["root"])
    from tests.tiny.torchvision_ops import define
    define()
from modelscope.pipelines import pipeline
more = {}
if arg["task"] == "document-segmentation":
    from modelscope.preprocessors import DocumentSegmentationTransformersPreprocessor
    more["preprocessor"] = DocumentSegmentationTransformersPreprocessor(arg["folder"], 512)
pipe = pipeline(arg["task"], model=arg["folder"], device="cpu", **arg.get("made", {}), **more)
"""

PICTURES = (
    CALL
    + """
from PIL import Image
result = [pipe(Image.open(path))["output_img"][:, :, ::-1] for path in arg["inputs"]]
"""
)

TEXTS = (
    CALL
    + """
import numpy
result = []
for one in arg["inputs"]:
    found = pipe(tuple(one) if isinstance(one, list) else one)
    if arg["task"] == "fill-mask":
        values = pipe._collate_fn(pipe.preprocess(one))
        import torch
        with torch.no_grad():
            out = pipe.forward(values)
        ids = out["input_ids"][0]
        place = int((ids == pipe.preprocessor.mask_id).nonzero()[0])
        chances = torch.softmax(out["logits"][0, place], -1)
        best = chances.topk(3)
        found = {"text": found["text"][0], "scores": best.values, "tokens": best.indices}
    result.append(found)
"""
)


def ask(script: str, folder: Path, task: str, inputs: Any, **more: Any) -> Any:
    """Return what ModelScope answers in a process that never imports this package."""
    from tests.reference import reference

    return reference(script, {"root": str(ROOT), "folder": str(folder), "task": task, "inputs": inputs, **more})


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of a folder's configuration.json; None removes one."""
    path = folder / "configuration.json"
    document = {**json.loads(path.read_text("utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not None}), "utf-8")
