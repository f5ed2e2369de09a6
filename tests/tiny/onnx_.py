"""Tiny ONNX folders, in two ways.

`write("text-classification", folder)` puts a graph together byte by byte (the ONNX format is protobuf), with nothing
but numpy and tokenizers: an embedding, and a matrix behind it. What such a graph must answer is one line of numpy,
`expected`, so that the environment without torch tests numbers too.

`build("text-classification", folder)` exports a tiny transformers model with torch's legacy exporter (environment
`pt`), for equality with the library.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.reference import OBSERVERS
from tests.tiny._words import CHAT_TEMPLATE, wordpiece_vocab

WIDTH = 8
LABELS = {"text-classification": ("NEGATIVE", "NEUTRAL", "POSITIVE"), "token-classification": ("O", "B-PER", "I-LOC")}
ARCHITECTURES = {
    "text-classification": "BertForSequenceClassification",
    "text-ranking": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "fill-mask": "BertForMaskedLM",
    "feature-extraction": "BertModel",
    "text-generation": "LlamaForCausalLM",
    "question-answering": "BertForQuestionAnswering",
}
TOKENWISE = ("token-classification", "fill-mask", "feature-extraction", "text-generation", "question-answering")

_FLOAT, _INT32, _INT64, _FLOAT16 = 1, 6, 7, 10


# ---------------------------------------------------------------- by hand


def tables(name: str) -> tuple[Any, Any]:
    """Return the embedding [vocabulary, 8] and the matrix [8, outputs] (None: features) of a handmade model."""
    import numpy as np

    rng = np.random.default_rng(7)
    vocabulary = len(wordpiece_vocab())
    embedding = rng.standard_normal((vocabulary, WIDTH), np.float32)
    outputs = {"text-ranking": 1, "fill-mask": vocabulary, "text-generation": vocabulary, "question-answering": 2}
    if name == "feature-extraction":
        return embedding, None
    return embedding, rng.standard_normal((WIDTH, outputs.get(name, 3)), np.float32)


def expected(name: str, ids: list[int]) -> Any:
    """Return what the handmade graph says of each token, float32 [tokens, outputs]; a text's answer is their mean."""
    embedding, matrix = tables(name)
    found = embedding[ids] if matrix is None else embedding[ids] @ matrix
    for tell in OBSERVERS:
        tell(found)
    return found


def write(
    name: str,
    folder: str | Path,
    *,
    file: str = "model.onnx",
    location: str | None = None,
    integers: int = _INT64,
    floats: int = _FLOAT,
) -> Path:
    """Write the handmade model `name` (a task) into `folder` and return the folder.

    Args:
        name: One of the text tasks.
        folder: Created when it is not there.
        file: Where the graph goes.
        location: Name of the file that holds the embedding, relative to the graph; None keeps it in the graph. The
            file is written where the name is a plain one.
        integers: Element type of the inputs.
        floats: Element type of the weights and outputs.
    """
    target = Path(folder)
    graph = target / file
    graph.parent.mkdir(parents=True, exist_ok=True)
    embedding, _ = tables(name)
    graph.write_bytes(_model(name, location, integers, floats))
    if location is not None and Path(location).name == location and "\\" not in location:
        (graph.parent / location).write_bytes(embedding.tobytes())
    config: dict[str, Any] = {"model_type": "bert", "max_position_embeddings": 64, "pad_token_id": 0}
    config["architectures"] = [ARCHITECTURES[name]]
    if name in LABELS:
        config["id2label"] = {str(i): label for i, label in enumerate(LABELS[name])}
    if name == "text-ranking":
        config["id2label"] = {"0": "LABEL_0"}
    if name == "text-generation":
        config |= {"model_type": "llama", "eos_token_id": 3}
        (target / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    words = {"model_max_length": 64, "pad_token": "[PAD]", "mask_token": "[MASK]", "unk_token": "[UNK]"}
    for document, content in (("config.json", config), ("tokenizer_config.json", words)):
        (target / document).write_text(json.dumps(content), encoding="utf-8")
    tokenizer().save(str(target / "tokenizer.json"))
    return target


def tokenizer() -> Any:
    """Return BERT's tokenizer over the tiny vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary = wordpiece_vocab()
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


def _model(name: str, location: str | None, integers: int, floats: int) -> bytes:
    """Return a ModelProto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3)."""
    import numpy as np

    embedding, matrix = tables(name)
    dtype = np.float16 if floats == _FLOAT16 else np.float32
    tensors = [_tensor("embedding", embedding.astype(dtype), location)]
    nodes = [_node("Gather", ["embedding", "input_ids"], "states")]
    inputs = [_value(n, integers, ["batch", "tokens"]) for n in ("input_ids", "attention_mask", "token_type_ids")]
    if name in TOKENWISE:
        del inputs[2]
        nodes.append(_node("Cast", ["attention_mask"], "unused", _attribute("to", floats)))
        pooled = "states"
    else:
        tensors += [_tensor("last", np.array([2], np.int64)), _tensor("middle", np.array([1], np.int64))]
        tensors.append(_tensor("kinds", np.linspace(0, 1, 2 * WIDTH, dtype=dtype).reshape(2, WIDTH) * [[0], [1]]))
        nodes += [
            _node("Gather", ["kinds", "token_type_ids"], "kind"),
            _node("Add", ["states", "kind"], "both"),
            _node("Cast", ["attention_mask"], "flat", _attribute("to", floats)),
            _node("Unsqueeze", ["flat", "last"], "mask"),
            _node("Mul", ["both", "mask"], "masked"),
            _node("ReduceSum", ["masked", "middle"], "sum", _attribute("keepdims", 0)),
            _node("ReduceSum", ["mask", "middle"], "count", _attribute("keepdims", 0)),
            _node("Div", ["sum", "count"], "pooled"),
        ]
        pooled = "pooled"
    output = "last_hidden_state" if matrix is None else "logits"
    if matrix is None:
        nodes.append(_node("Identity", [pooled], output))
    else:
        tensors.append(_tensor("matrix", matrix.astype(dtype)))
        nodes.append(_node("MatMul", [pooled, "matrix"], output))
    shape = ["batch", "tokens"] if name in TOKENWISE else ["batch"]
    results = [_value(output, floats, [*shape, WIDTH if matrix is None else matrix.shape[1]])]
    if name == "question-answering":  # the first column says where an answer begins, the second where it ends
        tensors.append(_tensor("last", np.array([2], np.int64)))
        for column, result in enumerate(("start_logits", "end_logits")):
            tensors.append(_tensor(f"column{column}", np.array([column], np.int64)))
            nodes.append(_node("Gather", ["logits", f"column{column}"], f"{result}.wide", _attribute("axis", 2)))
            nodes.append(_node("Squeeze", [f"{result}.wide", "last"], result))
        results = [_value(result, floats, shape) for result in ("start_logits", "end_logits")]
    graph = b"".join(
        [_field(1, n) for n in nodes]
        + [_field(2, "tiny")]
        + [_field(5, t) for t in tensors]
        + [_field(11, i) for i in inputs]
        + [_field(12, result) for result in results]
    )
    return _field(1, 8) + _field(2, "tests") + _field(7, graph) + _field(8, _field(1, "") + _field(2, 17))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: Any, location: str | None = None) -> bytes:
    kinds = {"float32": _FLOAT, "float16": _FLOAT16, "int64": _INT64, "float64": _FLOAT}
    array = array.astype("float32") if array.dtype.name == "float64" else array
    head = b"".join(_field(1, n) for n in array.shape) + _field(2, kinds[array.dtype.name]) + _field(8, name)
    if location is None:
        return head + _field(9, array.tobytes())
    pairs = (("location", location), ("offset", "0"), ("length", str(array.nbytes)))
    return head + b"".join(_field(13, _field(1, key) + _field(2, value)) for key, value in pairs) + _field(14, 1)


def _node(kind: str, inputs: Iterable[str], output: str, *attributes: bytes) -> bytes:
    parts = [_field(1, name) for name in inputs] + [_field(2, output), _field(3, output), _field(4, kind)]
    return b"".join([*parts, *(_field(5, a) for a in attributes)])


def _attribute(name: str, value: int) -> bytes:
    return _field(1, name) + _field(3, value) + _field(20, 2)


def _value(name: str, kind: int, shape: Iterable[int | str]) -> bytes:
    dimensions = b"".join(_field(1, _field(1 if isinstance(n, int) else 2, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, dimensions)))


# ---------------------------------------------------------------- by torch

#: name -> (tiny transformers model, output of the graph).
MADE_OF: dict[str, tuple[str, str]] = {
    "feature-extraction": ("feature-extraction", "last_hidden_state"),
    **{
        name: (name, "logits")
        for name in (
            *("text-classification", "text-ranking", "zero-shot-classification", "token-classification", "fill-mask"),
            *("text-generation", "gpt2", "image-classification"),
        )
    },
}


#: Seeds whose random weights give the texts of the equality cases different labels.
SEEDS = {"text-classification": 7, "zero-shot-classification": 7}


def build(
    name: str, folder: str | Path, *, weights: bool = True, file: str = "onnx/model.onnx", seed: int | None = None
) -> Path:
    """Write the tiny transformers model `name` with its ONNX graph into `folder` and return the folder.

    Args:
        name: A key of `MADE_OF`.
        folder: Created when it is not there.
        weights: Whether the PyTorch weights stay beside the graph.
        file: Where the graph goes.
        seed: Of the random weights; default the one of `SEEDS`.
    """
    from tests.tiny import transformers_

    base, output = MADE_OF[name]
    model, parts = transformers_.make(base, seed=SEEDS.get(name, 0) if seed is None else seed)
    target = transformers_.save(model, parts, folder)
    export(model, target / file, output)
    if not weights:
        for path in target.glob("*.safetensors"):
            path.unlink()
    return target


def export(model: Any, path: Path, output: str = "logits") -> None:
    """Write `model` as an ONNX graph with free batch size and length."""
    import torch

    image = hasattr(model.config, "image_size")
    names = ["pixel_values"] if image else ["input_ids", "attention_mask"]
    if not image and getattr(model.config, "type_vocab_size", 0):
        names.append("token_type_ids")
    if image:
        example = [torch.zeros(2, model.config.num_channels, model.config.image_size, model.config.image_size)]
    else:
        example = [torch.ones(2, 7, dtype=torch.long) for _ in names]

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            options = {} if image or not model.can_generate() else {"use_cache": False}
            return self.model(**dict(zip(names, inputs, strict=True)), **options)[output]

    with torch.no_grad():
        tokenwise = Wrapped()(*example).dim() == 3
    axes = {name: {0: "batch"} if image else {0: "batch", 1: "tokens"} for name in names}
    axes[output] = {0: "batch", 1: "tokens"} if tokenwise else {0: "batch"}
    _export(Wrapped(), tuple(example), path, names, [output], axes)


def export_cached(model: Any, path: Path) -> None:
    """Write a decoder as a graph with a cache, by the names that optimum uses."""
    import torch
    from transformers import DynamicCache

    config = model.config
    width = config.hidden_size // config.num_attention_heads
    past = [f"past_key_values.{i}.{kind}" for i in range(config.num_hidden_layers) for kind in ("key", "value")]
    present = [name.replace("past_key_values", "present") for name in past]

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *states: Any) -> Any:
            cache = DynamicCache(list(zip(states[::2], states[1::2], strict=True)))
            found = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
            )
            layers = found.past_key_values.layers
            return (found.logits, *(state for layer in layers for state in (layer.keys, layer.values)))

    tokens = torch.ones(2, 3, dtype=torch.long)
    states = tuple(torch.randn(2, config.num_key_value_heads, 5, width) for _ in past)
    example = (tokens, torch.ones(2, 8, dtype=torch.long), tokens * torch.arange(5, 8), *states)
    names = ["input_ids", "attention_mask", "position_ids", *past]
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "position_ids", "logits")}
    axes |= {"attention_mask": {0: "batch", 1: "all"}}
    axes |= {name: {0: "batch", 2: "past"} for name in past} | {name: {0: "batch", 2: "all"} for name in present}
    _export(Wrapped(), example, path, names, ["logits", *present], axes)


def _export(
    module: Any, example: tuple[Any, ...], path: Path, names: list[str], outputs: list[str], axes: dict[str, Any]
) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter announces its successor, and traced shapes that stay free here
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
        )
