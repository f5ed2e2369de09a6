"""What the small model folders of these tests are made of."""

import json
import struct

BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "vocab_size": 1000,
}


def safetensors(tensors=("bert.pooler.dense.weight",)):
    """Return the bytes of a weight file whose tensors are four zeros each."""
    header = {"__metadata__": {"format": "pt"}}
    for number, name in enumerate(tensors):
        header[name] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [number * 16, number * 16 + 16]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16 * len(tensors))
