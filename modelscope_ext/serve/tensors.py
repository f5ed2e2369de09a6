"""The Open Inference Protocol's tensors, in JSON and in binary, as numpy arrays and back.

https://github.com/kserve/open-inference-protocol, with the binary extension: a JSON header whose length stands in
``Inference-Header-Content-Length``, and behind it the bytes of each tensor, little endian; a text is its length in four
bytes and its UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from modelscope_ext.serve.refusal import Refused
from modelscope_ext.utils.text import printable

__all__ = ["DATATYPES", "decoded", "encoded", "flat", "json_data"]

#: Datatype -> numpy's; BYTES are kept as objects of type bytes.
DATATYPES: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
_DIMENSIONS = 8


def decoded(tensor: Mapping[str, Any], binary: memoryview | None, place: str) -> Any:
    """Return an input as a numpy array of its shape.

    Args:
        tensor: Its row in the request: `shape`, `datatype`, and `data` where it is not binary.
        binary: Its bytes, or None.
        place: For messages.

    Raises:
        Refused: Shape, datatype and data do not fit together.
    """
    import numpy as np

    shape, kind = [int(n) for n in tensor["shape"]], tensor["datatype"]
    if len(shape) > _DIMENSIONS:
        raise Refused(400, f"{place}.shape: at most {_DIMENSIONS} dimensions", place)
    count = prod(shape)
    if binary is not None:
        values = _from_binary(binary, kind, count, place)
    else:
        data = flat(tensor["data"])
        if len(data) != count:
            raise Refused(400, f"{place}: {len(data)} values for the shape {shape}, which has {count}", place)
        values = _from_json(data, kind, place)
    array: Any = np.empty(len(values), dtype=object) if kind == "BYTES" else None
    if array is not None:
        array[:] = values
    return (np.asarray(values) if array is None else array).reshape(shape)


def flat(data: Any) -> list[Any]:
    """Return the values of nested lists in row-major order.

    Example:
        >>> flat([[1, 2], [3, [4]]])
        [1, 2, 3, 4]
    """
    out: list[Any] = []
    stack = [iter(data if isinstance(data, list) else [data])]
    while stack:
        for one in stack[-1]:
            if isinstance(one, list):
                stack.append(iter(one))
                break
            out.append(one)
        else:
            stack.pop()
    return out


def _from_json(data: list[Any], kind: str, place: str) -> Any:
    import numpy as np

    if kind == "BYTES":
        if not all(isinstance(value, str) for value in data):
            raise Refused(400, f"{place}.data: expected texts for BYTES", place)
        return [value.encode("utf-8") for value in data]
    whole = kind.startswith(("INT", "UINT"))
    right = bool if kind == "BOOL" else int if whole else (int, float)
    if not all(isinstance(v, right) and (kind == "BOOL" or not isinstance(v, bool)) for v in data):
        raise Refused(400, f"{place}.data: expected values of {kind}", place)
    try:
        with np.errstate(over="ignore"):
            return np.array(data, dtype=DATATYPES[kind])
    except (OverflowError, ValueError) as error:
        raise Refused(400, f"{place}.data: a value is out of the range of {kind}", place) from error


def _from_binary(binary: memoryview, kind: str, count: int, place: str) -> Any:
    import numpy as np

    if kind != "BYTES":
        size = np.dtype(DATATYPES[kind]).itemsize
        if count * size != len(binary):
            raise Refused(400, f"{place}: {len(binary)} bytes for {count} values of {kind}", place)
        return np.frombuffer(binary, dtype=DATATYPES[kind])
    values, at = [], 0
    while at < len(binary):
        if at + 4 > len(binary):
            raise Refused(400, f"{place}: the length of a text is cut off", place)
        (length,) = struct.unpack_from("<I", binary, at)
        at += 4
        if at + length > len(binary):
            raise Refused(400, f"{place}: a text of {length} bytes is cut off", place)
        values.append(bytes(binary[at : at + length]))
        at += length
    if len(values) != count:
        raise Refused(400, f"{place}: {len(values)} texts for a shape of {count}", place)
    return values


def encoded(array: Any) -> bytes:
    """Return the bytes of an output.

    Example:
        >>> import numpy as np
        >>> encoded(np.array([b"hi"], dtype=object))
        b'\\x02\\x00\\x00\\x00hi'
    """
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(value)) + value for value in array.reshape(-1))
    return bytes(array.tobytes())


def json_data(array: Any) -> list[Any]:
    """Return the values of an output for JSON, flat."""
    values: Sequence[Any] = array.reshape(-1).tolist()
    return [_text(value) for value in values] if array.dtype == object else list(values)


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(422, f"a text of the answer is not UTF-8: {printable(str(error))}") from error
