"""The Open Inference Protocol (``/v2``) for every task: a task's fields are inputs, its answers outputs.

An input is a tensor whose first dimension counts the items:

| kind | datatype and shape |
|---|---|
| text | BYTES [n] |
| texts | BYTES [n, k] |
| image | BYTES [n] (a PNG, JPEG, ...; in JSON base64 or a ``data:`` URL), or UINT8 [n, height, width(, channels)] |
| images | BYTES [n, k] |
| audio | BYTES [n] (a WAV, ...), or FP32 [n, samples] with the parameter `sampling_rate` |
| video | BYTES [n], or UINT8 [n, frames, height, width, channels] |
| series | FP32 [n, steps] |
| seed | INT64 [n] |
| anything, or a whole input | BYTES [n], each a JSON document; the input `json` stands for a whole input of any task |

The answers are the output `json` (BYTES [n], each a JSON document), or by themselves where they are rectangular:
`label` and `score`, `scores`, `text`, `vector`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelscope_ext import __version__
from modelscope_ext.models import types as t
from modelscope_ext.serve.answers import TEXTS, as_json
from modelscope_ext.serve.call import Call, json_of, to_json
from modelscope_ext.serve.documents import object_
from modelscope_ext.serve.hosted import Hosted
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.serve.tensors import DATATYPES, decoded, encoded, json_data
from modelscope_ext.utils.text import did_you_mean, listing

__all__ = ["describe", "infer", "infer_schema", "inputs_of", "outputs_of", "server"]

_TEXTS = frozenset(("text", "pair", "chat", "talk"))
_SHAPES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "texts": ("BYTES", (-1, -1)),
    "images": ("BYTES", (-1, -1)),
    "series": ("FP32", (-1, -1)),
    "seed": ("INT64", (-1,)),
}
#: Other datatypes that a kind takes.
_ARRAYS: Mapping[str, frozenset[str]] = {
    "image": frozenset(("UINT8",)),
    "video": frozenset(("UINT8",)),
    "audio": frozenset(("FP32", "FP64", "INT16")),
    "series": frozenset(("FP32", "FP64", "INT32", "INT64")),
    "seed": frozenset(("INT64", "INT32", "UINT32")),
}


def infer_schema(settings: Any) -> dict[str, Any]:
    """Return the schema of a request's JSON."""
    parameters = {"type": "object"}
    size = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    tensor = object_(
        ("name", "shape", "datatype"),
        name={"type": "string"},
        shape={"type": "array", "items": size, "minItems": 1, "maxItems": 8},
        datatype={"type": "string", "enum": list(DATATYPES)},
        parameters=parameters,
        data={"type": ["array", "string", "number", "boolean"]},
    )
    wanted = object_(("name",), name={"type": "string"}, parameters=parameters)
    return object_(
        ("inputs",),
        id={"type": "string", "maxLength": 256},
        parameters=parameters,
        inputs={"type": "array", "items": tensor, "minItems": 1, "maxItems": 64},
        outputs={"type": "array", "items": wanted, "maxItems": 64},
    )


# Addresses


async def server(call: Call) -> dict[str, Any]:
    """Answer ``GET /v2``."""
    return {"name": "modelscope-ext", "version": __version__, "extensions": ["binary_tensor_data"]}


async def describe(call: Call) -> dict[str, Any]:
    """Answer ``GET /v2/models/{model}``."""
    model = call.model(call.parameters["model"])
    rows = [{"name": n, "datatype": d, "shape": list(s)} for n, (d, s) in outputs_of(model).items()]
    inputs = [{"name": n, "datatype": d, "shape": list(s)} for n, (_, d, s) in inputs_of(model).items()]
    found = model.pipe.resolution
    platform = f"{found.framework}_{found.backend}" if found is not None else model.task
    return {"name": model.name, "versions": [], "platform": platform, "inputs": inputs, "outputs": rows}


async def infer(call: Call) -> Any:
    """Answer ``POST /v2/models/{model}/infer``."""
    model = call.model(call.parameters["model"])
    body, binary = call.body, _binary(call)
    arrays = {one["name"]: (one, array) for one, array in _tensors(body["inputs"], binary)}
    if len(arrays) != len(body["inputs"]):
        raise Refused(400, "inputs: two of them have one name", "inputs")
    values = _items(model, arrays, call.settings.max_items)
    given = dict(body.get("parameters", {}))
    all_binary = given.pop("binary_data_output", False)
    options = model.options(given)
    items = [await model.sealed(value) for value in values]
    answers = await model.ask(items, options)
    outputs = _outputs(model, answers)
    wanted = body.get("outputs") or [{"name": name} for name in outputs]
    return _response(call, model, body, _chosen(model, outputs, answers, wanted), all_binary is True)


# Inputs


def inputs_of(model: Hosted) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Return what a model takes: name -> (kind, datatype, shape).

    The input `json` is always there beside these.
    """
    schema = model.schema
    if schema.input == "fields":
        rows = {name: kind.rstrip("?") for name, kind in schema.fields.items()}
    elif schema.input == "pair":
        rows = {"text": "text", "text_pair": "text"}
    elif schema.input in ("chat", "talk"):
        rows = {"text": "text", "messages": "any"} | (
            {"image": "image", "audio": "audio"} if schema.input == "talk" else {}
        )
    else:
        rows = {schema.input: schema.input}
    rows.setdefault("json", "any")
    return {name: (kind, *_SHAPES.get(kind, ("BYTES", (-1,)))) for name, kind in rows.items()}


def _binary(call: Call) -> memoryview:
    return memoryview(call.data)[len(call.data) if call.head is None else call.head :]


def _tensors(rows: Sequence[Mapping[str, Any]], binary: memoryview) -> list[tuple[Mapping[str, Any], Any]]:
    out, at = [], 0
    for number, row in enumerate(rows):
        place = f"inputs[{number}]"
        size = row.get("parameters", {}).get("binary_data_size")
        if size is None:
            if "data" not in row:
                raise Refused(400, f"{place}: neither data nor parameters.binary_data_size", place)
            out.append((row, decoded(row, None, place)))
            continue
        if type(size) is not int or size < 0 or at + size > len(binary):
            raise Refused(
                400, f"{place}.parameters.binary_data_size: expected at most the {len(binary) - at} bytes left"
            )
        out.append((row, decoded(row, binary[at : at + size], place)))
        at += size
    if at != len(binary):
        raise Refused(400, f"{len(binary) - at} bytes behind the last tensor belong to none")
    return out


def _items(model: Hosted, arrays: Mapping[str, tuple[Mapping[str, Any], Any]], most: int) -> list[Any]:
    """Return the inputs that the tensors hold, one for each of the first dimension."""
    known = inputs_of(model)
    for name in arrays:
        if name not in known:
            takes = f" {model.name} takes: {listing(known)}."
            raise Refused(400, f"unknown input {name[:60]!r}.{did_you_mean(name, known)}{takes}", "inputs")
    counts = {array.shape[0] for _, array in arrays.values()}
    if len(counts) != 1:
        raise Refused(400, f"inputs: the first dimensions differ: {sorted(counts)}", "inputs")
    (count,) = counts
    if not 1 <= count <= most:
        raise Refused(413 if count > most else 400, f"{count} inputs; the server takes 1 to {most} in one request")
    columns = {name: _column(known[name][0], row, array) for name, (row, array) in arrays.items()}
    if "json" in columns:
        if len(columns) > 1:
            raise Refused(400, "json stands for the whole input: leave the other inputs out", "inputs")
        return list(columns["json"])
    rows = [{name: column[i] for name, column in columns.items()} for i in range(count)]
    return [_whole(model, row) for row in rows]


def _whole(model: Hosted, row: dict[str, Any]) -> Any:
    """Return one input from its fields: by itself where there is only one."""
    if model.schema.input == "fields":
        return row
    if set(row) == {"messages"}:
        return {"messages": row["messages"]}
    if len(row) == 1:
        (value,) = row.values()
        return value if model.schema.input != "talk" or "text" in row else row
    return row


def _column(kind: str, row: Mapping[str, Any], array: Any) -> list[Any]:
    """Return the values of one input, one for each item."""
    name = row["name"]
    datatype = row["datatype"]
    if datatype != "BYTES":
        if datatype not in _ARRAYS.get(kind, ()):
            raise Refused(400, f"{name}: {datatype} is no form of {kind}; expected {_expects(kind)}", name)
        rate = row.get("parameters", {}).get("sampling_rate")
        if kind == "audio":
            return [{"raw": one, **({} if rate is None else {"sampling_rate": rate})} for one in array]
        return [int(one) for one in array.reshape(len(array), -1)[:, 0]] if kind == "seed" else list(array)
    in_json = "data" in row
    if kind in ("texts", "images"):
        if array.ndim != 2:
            raise Refused(400, f"{name}: expected the shape [n, k], got {list(array.shape)}", name)
        return [[_value(kind, one, name, in_json) for one in several] for several in array]
    if array.ndim != 1 and array.size != array.shape[0]:
        raise Refused(400, f"{name}: expected the shape [n], got {list(array.shape)}", name)
    return [_value(kind, one, name, in_json) for one in array.reshape(-1)]


def _value(kind: str, data: bytes, name: str, in_json: bool) -> Any:
    if kind in ("image", "images", "audio", "video"):
        return _file(data, name) if in_json else data
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, f"{name}: not UTF-8 at byte {error.start}", name) from error
    if kind in ("text", "texts"):
        return text
    try:
        return json_of(data)
    except Refused as refused:
        raise Refused(400, f"{name}: {refused.message.replace('the body', 'the document')}", name) from refused


def _file(text: bytes, name: str) -> Any:
    """Return a file that stands in JSON: a ``data:`` URL as it is, base64 as its bytes."""
    if text[:5].lower() == b"data:":
        return text.decode("utf-8")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(
            400, f"{name}: expected base64 or a data: URL; paths and URLs are not opened here", name
        ) from error


def _expects(kind: str) -> str:
    return " or ".join(("BYTES", *sorted(_ARRAYS.get(kind, ()))))


# Outputs

_Columns = Callable[[Sequence[Any]], dict[str, Any]]


def outputs_of(model: Hosted) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return what a model gives: name -> (datatype, shape). The output `json` can always be asked for."""
    return {**_SHAPE.get(_form(model), {}), "json": ("BYTES", (-1,))}


def _form(model: Hosted) -> str:
    return _FORMS.get(t.shown(model.schema.output), "")


_FORMS: Mapping[str, str] = {
    t.shown(form): name
    for name, forms in {
        "labels": (t.Label | list[t.Label], list[t.Label]),
        "scores": (list[float],),
        "vector": (t.FloatArray,),
        "text": TEXTS,
    }.items()
    for form in forms
}
_SHAPE: Mapping[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "labels": {"label": ("BYTES", (-1, -1)), "score": ("FP32", (-1, -1))},
    "scores": {"scores": ("FP32", (-1, -1))},
    "vector": {"vector": ("FP32", (-1, -1))},
    "text": {"text": ("BYTES", (-1,))},
}


def _labels(answers: Sequence[Any]) -> dict[str, Any]:
    import numpy as np

    rows = [answer if isinstance(answer, list) else [answer] for answer in answers]
    label: Any = np.empty((len(rows), len(rows[0])), dtype=object)
    for i, row in enumerate(rows):
        label[i, :] = [str(one["label"]).encode("utf-8") for one in row]
    return {"label": label, "score": np.array([[one["score"] for one in row] for row in rows], dtype=np.float32)}


def _scores(answers: Sequence[Any]) -> dict[str, Any]:
    import numpy as np

    return {"scores": np.array(answers, dtype=np.float32)}


def _vector(answers: Sequence[Any]) -> dict[str, Any]:
    import numpy as np

    return {"vector": np.stack([np.asarray(answer, dtype=np.float32) for answer in answers])}


def _texts(answers: Sequence[Any]) -> dict[str, Any]:
    texts = []
    for answer in answers:
        text = next(v for k, v in answer.items() if k.endswith("text"))
        if not isinstance(text, str):
            raise ValueError("a chat")
        texts.append(text)
    return {"text": _objects([text.encode("utf-8") for text in texts])}


_COLUMNS: Mapping[str, _Columns] = {"labels": _labels, "scores": _scores, "vector": _vector, "text": _texts}


def _outputs(model: Hosted, answers: Sequence[Any]) -> dict[str, Any]:
    """Return the answers as arrays; where they are of different lengths, as `json`."""
    form = _form(model)
    if form:
        try:
            return _COLUMNS[form](answers)
        except (ValueError, TypeError, AttributeError, KeyError, StopIteration):
            pass  # ragged, several texts, or a chat
    return _documents(answers)


def _documents(answers: Sequence[Any]) -> dict[str, Any]:
    return {"json": _objects([to_json(as_json(answer)) for answer in answers])}


def _objects(values: list[bytes]) -> Any:
    import numpy as np

    out: Any = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _chosen(
    model: Hosted, outputs: Mapping[str, Any], answers: Sequence[Any], wanted: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Any]]:
    found = []
    for row in wanted:
        name = row["name"]
        if name == "json" and name not in outputs:
            outputs = {**outputs, **_documents(answers)}
        if name not in outputs:
            there = sorted({*outputs, "json"})
            raise Refused(
                400, f"outputs: no output {name[:60]!r} in this answer; there are: {', '.join(there)}", "outputs"
            )
        found.append((row, outputs[name]))
    return found


def _response(
    call: Call, model: Hosted, body: Mapping[str, Any], chosen: Sequence[tuple[Mapping[str, Any], Any]], binary: bool
) -> Any:
    kinds = {"object": "BYTES", "float32": "FP32"}
    rows, tail = [], []
    for row, array in chosen:
        out = {"name": row["name"], "datatype": kinds[str(array.dtype)], "shape": list(array.shape)}
        if row.get("parameters", {}).get("binary_data", binary) is True:
            tail.append(encoded(array))
            out["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            out["data"] = as_json(json_data(array))
        rows.append(out)
    head = {"model_name": model.name, "outputs": rows, **({"id": body["id"]} if "id" in body else {})}
    if not tail:
        return head
    text = json.dumps(head, separators=(",", ":")).encode("ascii")
    return b"".join((text, *tail)), len(text)
