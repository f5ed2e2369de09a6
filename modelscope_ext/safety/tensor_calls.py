"""The calls a checkpoint of plain tensors makes, and their checks: shapes against the bytes of their storage.

The whole allow-list of `pickles` is in the tables of this module. What PyTorch writes: ``torch/serialization.py``,
``torch/_utils.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

__all__ = [
    "ALLOWED",
    "CALLS",
    "CONSTANT",
    "DTYPES",
    "ITEM_BYTES",
    "Global",
    "Map",
    "Refusal",
    "Storage",
    "TensorRef",
    "kind_of",
]

#: Storage class -> bytes of one element.
ITEM_BYTES: Mapping[str, int] = {
    "torch.DoubleStorage": 8, "torch.FloatStorage": 4, "torch.HalfStorage": 2, "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8, "torch.IntStorage": 4, "torch.ShortStorage": 2, "torch.CharStorage": 1,
    "torch.ByteStorage": 1, "torch.BoolStorage": 1, "torch.ComplexDoubleStorage": 16, "torch.ComplexFloatStorage": 8,
    "torch.storage.UntypedStorage": 1, "torch.UntypedStorage": 1,
}  # fmt: skip
#: Dtype -> bytes of one element.
DTYPES: Mapping[str, int] = {
    "torch.float64": 8, "torch.double": 8, "torch.float32": 4, "torch.float": 4, "torch.float16": 2, "torch.half": 2,
    "torch.bfloat16": 2, "torch.int64": 8, "torch.long": 8, "torch.int32": 4, "torch.int": 4, "torch.int16": 2,
    "torch.short": 2, "torch.int8": 1, "torch.uint8": 1, "torch.uint16": 2, "torch.uint32": 4, "torch.uint64": 8,
    "torch.bool": 1, "torch.complex64": 8, "torch.complex128": 16, "torch.float8_e4m3fn": 1, "torch.float8_e5m2": 1,
    "torch.float8_e4m3fnuz": 1, "torch.float8_e5m2fnuz": 1, "torch.float8_e8m0fnu": 1,
}  # fmt: skip


CONSTANT = (str, int, float, bool, bytes, type(None))


class Refusal(Exception):
    """Raised by the machine; `pickles` turns it into an error with file and advice.

    Attributes:
        kind: ``"PK"``, ``"MF"`` or ``"LM"``.
        text: What was found.
        name: The global it is about, if one.
    """

    def __init__(self, kind: str, text: str, name: str | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.name = name


class Global:
    """A global of the allow-list, named and not imported."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Map:
    """A dict; its keys matter, its values were checked when they were made."""

    __slots__ = ("keys", "ordered")

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.keys: set[Any] = set()


class Storage:
    """The bytes a tensor lies in: where, how many elements, and how many bytes each."""

    __slots__ = ("bytes", "item", "key", "typed")

    def __init__(self, key: str, elements: int, item: int, typed: bool) -> None:
        self.key = key
        self.item = item
        self.typed = typed
        self.bytes = elements * item


class TensorRef:
    """A tensor whose shape was checked; nothing more of it is kept."""

    __slots__ = ()


_TENSOR = TensorRef()


def _ordered_dict(arguments: tuple[Any, ...]) -> Map:
    made = Map(ordered=True)
    if arguments and (len(arguments) > 1 or type(arguments[0]) is not list):
        raise Refusal("PK", "it makes an OrderedDict from something else than a list")
    for pair in arguments[0] if arguments else ():
        if type(pair) not in (list, tuple) or len(pair) != 2 or type(pair[0]) not in CONSTANT:
            raise Refusal("PK", "it makes an OrderedDict from something else than pairs")
        made.keys.add(pair[0])
    return made


def _tensor_v2(arguments: tuple[Any, ...]) -> TensorRef:
    if len(arguments) not in (6, 7) or type(arguments[0]) is not Storage or not arguments[0].typed:
        raise Refusal("PK", "it rebuilds a tensor from something else than a storage")
    return _tensor(arguments, arguments[0].item)


def _tensor_v3(arguments: tuple[Any, ...]) -> TensorRef:
    if len(arguments) not in (7, 8) or type(arguments[0]) is not Storage or type(arguments[6]) is not Global:
        raise Refusal("PK", "it rebuilds a tensor from something else than a storage")
    item = DTYPES.get(arguments[6].name)
    if item is None:
        raise Refusal("PK", f"it rebuilds a tensor of {arguments[6].name}", arguments[6].name)
    return _tensor(arguments, item)


def _tensor(arguments: tuple[Any, ...], item: int) -> TensorRef:
    """Check that a tensor's shape, strides and offset stay within its storage."""
    storage, offset, shape, strides, grad, hooks = arguments[:6]
    sizes = (offset, *shape, *strides) if type(shape) is tuple and type(strides) is tuple else (None,)
    if any(type(size) is not int or size < 0 for size in sizes) or len(shape) != len(strides):
        raise Refusal("MF", "a tensor in it has no proper shape")
    if type(grad) is not bool or type(hooks) is not Map or hooks.keys:
        raise Refusal("PK", "a tensor in it carries hooks")
    metadata = arguments[6 if len(arguments) == 7 and type(arguments[6]) is not Global else 7 :]
    if any(type(extra) is not Map and extra is not None for extra in metadata):
        raise Refusal("PK", "a tensor in it carries unknown metadata")
    elements = prod(shape)
    if elements * item > storage.bytes:
        raise Refusal(
            "LM", f"a tensor of shape {shape} ({elements} elements) lies in a storage of {storage.bytes} bytes"
        )
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if elements and (last + 1) * item > storage.bytes:
        raise Refusal("MF", f"a tensor of shape {shape} reaches beyond its storage")
    return _TENSOR


def _parameter(arguments: tuple[Any, ...]) -> TensorRef:
    if len(arguments) != 3 or type(arguments[0]) is not TensorRef or type(arguments[1]) is not bool:
        raise Refusal("PK", "it rebuilds a parameter from something else than a tensor")
    if type(arguments[2]) is not Map or arguments[2].keys:
        raise Refusal("PK", "a parameter in it carries hooks")
    return _TENSOR


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(arguments) != 1 or type(arguments[0]) not in (tuple, list):
        raise Refusal("PK", "it makes a torch.Size from something else than a tuple")
    return tuple(arguments[0])


def _device(arguments: tuple[Any, ...]) -> str:
    if not arguments or any(type(part) not in (str, int) for part in arguments):
        raise Refusal("PK", "it makes a torch.device from something else than a name")
    return "device"


CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
}
ALLOWED = frozenset((*CALLS, *ITEM_BYTES, *DTYPES))


def kind_of(value: Any) -> str:
    """Return what a stand-in stands for, in a word."""
    if type(value) is Global:
        return str(value.name)
    return {Map: "dict", Storage: "storage", TensorRef: "tensor"}.get(type(value), type(value).__name__)
