"""ONNX folders of detectors and segmenters, put together byte by byte: labels, boxes and masks that follow a picture.

Each output is one table of random numbers plus another, times the mean of the picture's pixels, so that every picture
gets its own answer. What is to be read in the numbers is the business of the image processor that the folder names.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny.onnx_ import _FLOAT, _attribute, _field, _node, _tensor, _value

LABELS = ("cat", "dog", "bird", "fish", "red house")
QUERIES, SIZE, MASK = 8, 16, 12


def write(
    folder: str | Path,
    processor: str,
    outputs: dict[str, str],
    *,
    seed: int = 0,
    nothing: bool = True,
    labels: int = len(LABELS),
) -> Path:
    """Write a folder whose graph has these outputs and return it.

    Args:
        folder: Created when it is not there.
        processor: The image processor's class in transformers.
        outputs: Output name -> ``"labels"``, ``"boxes"`` or ``"masks"``.
        seed: Of the tables.
        nothing: Whether a label for "nothing" stands behind the others.
        labels: How many there are.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(_model(outputs, seed, labels + nothing))
    names = {str(i): LABELS[i] if i < len(LABELS) else f"thing {i}" for i in range(labels)}
    (target / "config.json").write_text(json.dumps({"model_type": "detr", "id2label": names}), encoding="utf-8")
    size = {"height": SIZE, "width": SIZE}
    settings = {"image_processor_type": processor, "size": size, "do_normalize": True}
    (target / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return target


def _model(outputs: dict[str, str], seed: int, labels: int) -> bytes:
    import numpy as np

    rng = np.random.default_rng(seed)
    nodes = [
        _node("GlobalAveragePool", ["pixel_values"], "colours"),
        _node("ReduceSum", ["colours", "one"], "light", _attribute("keepdims", 1)),
        _node("Squeeze", ["light", "three"], "bright"),
    ]
    tensors = [_tensor("one", np.array([1], np.int64)), _tensor("three", np.array([3], np.int64))]
    results = []
    for name, kind in outputs.items():
        shape = {
            "labels": (1, QUERIES, labels),
            "boxes": (1, QUERIES, 4),
            "masks": (1, QUERIES, MASK, MASK),
        }[kind]
        for table, factor in (("still", 3.0), ("moving", 1.0)):
            numbers = (rng.standard_normal(shape) * factor).astype(np.float32)
            tensors.append(_tensor(f"{name}.{table}", numbers))
        nodes.append(_node("Mul", [f"{name}.moving", "light" if kind == "masks" else "bright"], f"{name}.part"))
        last = f"{name}.sum" if kind == "boxes" else name
        nodes.append(_node("Add", [f"{name}.still", f"{name}.part"], last))
        if kind == "boxes":
            nodes.append(_node("Sigmoid", [last], name))
        results.append(_value(name, _FLOAT, ["batch", *shape[1:]]))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, "tiny"),
            *(_field(5, tensor) for tensor in tensors),
            _field(11, _value("pixel_values", _FLOAT, ["batch", 3, "height", "width"])),
            *(_field(12, result) for result in results),
        ]
    )
    return _field(1, 8) + _field(2, "tests") + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17))
