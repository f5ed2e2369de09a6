"""ONNX folders that listen, put together byte by byte: a convolution over the waveform, letters or labels behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny.onnx_ import _FLOAT, _attribute, _field, _node, _tensor, _value

LETTERS = ("<pad>", "<unk>", "|", *"abcdefgh")
LABELS = ("rain", "bird", "speech")
STEP = 20  # samples that one row of logits stands for


def kernels(count: int) -> Any:
    """Return the convolution's weights, float32 [count, 1, STEP]."""
    import numpy as np

    return (np.random.default_rng(3).standard_normal((count, 1, STEP)) * 3).astype(np.float32)


def write(task: str, folder: str | Path, **settings: Any) -> Path:
    """Write a folder for audio-classification or automatic-speech-recognition and return it.

    Args:
        task: The task.
        folder: Created when it is not there.
        **settings: Further settings of the feature extractor.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    speech = task == "automatic-speech-recognition"
    (target / "model.onnx").write_bytes(_model(len(LETTERS) if speech else len(LABELS), speech))
    head = "Wav2Vec2ForCTC" if speech else "Wav2Vec2ForSequenceClassification"
    config: dict[str, Any] = {"model_type": "wav2vec2", "architectures": [head], "conv_stride": [5, 4]}
    if not speech:
        config["id2label"] = {str(i): label for i, label in enumerate(LABELS)}
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": False}
    documents = {"config.json": config, "preprocessor_config.json": {**extractor, **settings}}
    if speech:
        documents["vocab.json"] = {letter: i for i, letter in enumerate(LETTERS)}
        documents["tokenizer_config.json"] = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>"}
    for name, document in documents.items():
        (target / name).write_text(json.dumps(document), encoding="utf-8")
    return target


def _model(count: int, speech: bool) -> bytes:
    import numpy as np

    tensors = [_tensor("kernels", kernels(count)), _tensor("middle", np.array([1], np.int64))]
    strides = _field(1, "strides") + _field(8, STEP) + _field(20, 7)
    order = _field(1, "perm") + b"".join(_field(8, i) for i in (0, 2, 1)) + _field(20, 7)
    nodes = [
        _node("Unsqueeze", ["input_values", "middle"], "channel"),
        _node("Conv", ["channel", "kernels"], "found", strides),
        _node("Transpose", ["found"], "logits" if speech else "rows", order),
    ]
    if not speech:
        nodes.append(_node("ReduceSum", ["rows", "middle"], "logits", _attribute("keepdims", 0)))
    shape = ["batch", "rows", count] if speech else ["batch", count]
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, "tiny"),
            *(_field(5, tensor) for tensor in tensors),
            _field(11, _value("input_values", _FLOAT, ["batch", "samples"])),
            _field(12, _value("logits", _FLOAT, shape)),
        ]
    )
    return _field(1, 8) + _field(2, "tests") + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17))
