"""Headers of weight files: dtypes, shapes and metadata, read without reading a tensor.

`safetensors_header` follows https://github.com/huggingface/safetensors#format; GGUF and MindSpore have modules of
their own beside this one and are offered from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NoReturn

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, SafetyError
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.utils import bounded
from modelscope_ext.utils.record import Record, dataclass, field
from modelscope_ext.utils.text import printable

__all__ = [
    "Header",
    "Read",
    "Spans",
    "Tensor",
    "ckpt_header",
    "gguf_header",
    "read_header",
    "safetensors_header",
    "safetensors_spans",
]

#: Reads bytes: first byte, number of bytes at most.
Read = Callable[[int, int], bytes]

#: Where the bytes of each tensor lie in a file: one or more pieces in order, each its first byte and its length.
Spans = Mapping[str, tuple[tuple[int, int], ...]]

#: Bits of one element, by dtype.
BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64, "C128": 128, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor(Record):
    """Dtype (in the format's own spelling) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Header(Record):
    """What a weight file says about itself.

    Attributes:
        format: ``"safetensors"``, ``"gguf"`` or ``"mindspore"``.
        metadata: Its own key-value pairs; of GGUF without long arrays, plus ``"quantization"`` where it is known.
        tensors: Dtype and shape by name.
        complete: All of it was read; else there may be more keys, and there are no tensors.

    Example:
        >>> header = Header("safetensors", {}, {"a": Tensor("F32", (2, 3)), "b": Tensor("F16", (4,))})
        >>> header.parameters, header.dtypes
        (10, {'F32': 6, 'F16': 4})
    """

    format: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    complete: bool = True

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Elements by dtype."""
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.elements
        return counts


def safetensors_header(
    read: Read, size: int, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None
) -> Header:
    """Read and check the header of a safetensors file.

    Checked as the format demands: offsets cover the rest of the file without holes or overlaps, and agree with dtype
    and shape.

    Args:
        read: Reads bytes of the file.
        size: Bytes of the whole file.
        file: Its name, for messages.
        limits: Bytes of the header, tensors, elements.
        source: The model as the caller named it.

    Raises:
        MalformedMetadata: Not a safetensors file, or one that contradicts itself.
        LimitExceeded: A header or a shape beyond the limits.

    Example:
        >>> text = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        >>> data = len(text).to_bytes(8, "little") + text + bytes(8)
        >>> safetensors_header(lambda start, count: data[start:start + count], len(data), file="m").tensors["w"].shape
        (2,)
    """
    return safetensors_spans(read, size, file=file, limits=limits, source=source)[0]


def safetensors_spans(
    read: Read, size: int, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None
) -> tuple[Header, Spans]:
    """Return what `safetensors_header` does, and where each tensor's bytes lie.

    Example:
        >>> text = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        >>> data = len(text).to_bytes(8, "little") + text + bytes(8)
        >>> safetensors_spans(lambda start, count: data[start:start + count], len(data), file="m")[1]
        {'w': ((62, 8),)}
    """
    check = _Checker(file, source, limits)
    head = read(0, 16)
    if len(head) < 8:
        check.malformed(f"{size} bytes are no safetensors file; expected at least 8")
    length = int.from_bytes(head[:8], "little")
    if length > size - 8 or head[8:9] not in (b"{", b""):
        from modelscope_ext.safety.magic import kind_of

        kind = kind_of(head)
        found = f"this is a {kind}" if kind else f"its header would be {length} bytes long in a file of {size}"
        check.malformed(f"not a safetensors file: {found}")
    if length > limits.header_bytes:
        check.beyond(f"a header of {length} bytes", "header_bytes")
    text = read(8, length)
    if len(text) != length:
        check.malformed(f"the header has {len(text)} bytes; {length} were announced")
    document = bounded.parse_json(
        text, file=file, source=source, max_bytes=limits.header_bytes, max_depth=4, max_nodes=limits.tensors * 24
    )
    if not isinstance(document, dict):
        check.malformed("the header is no object")
    metadata = document.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        check.malformed("__metadata__: expected an object of strings")
    if len(document) > limits.tensors:
        check.beyond(f"{len(document)} tensors", "tensors")
    spans: list[tuple[int, int, str]] = []
    tensors = {name: check.tensor(name, entry, spans) for name, entry in document.items()}
    check.cover(spans, size - 8 - length)
    places = {name: ((8 + length + begin, end - begin),) for begin, end, name in spans}
    return Header("safetensors", metadata, tensors), places


class _Checker:
    def __init__(self, file: str, source: str | None, limits: Limits) -> None:
        self.file = file
        self.source = source
        self.limits = limits

    def tensor(self, name: str, entry: Any, spans: list[tuple[int, int, str]]) -> Tensor:
        """Check one entry and note its span of bytes."""
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            bits = BITS[dtype]
        except (KeyError, TypeError, ValueError):
            self.malformed(f"tensor {printable(name)!r}: expected a known dtype, a shape and two data_offsets")
        if not isinstance(shape, list):
            self.malformed(f"tensor {printable(name)!r}: shape: expected a list of integers")
        for number in (*shape, begin, end):
            if type(number) is not int or number < 0:
                self.malformed(f"tensor {printable(name)!r}: {printable(number, 40)} is no size")
        if any(number > self.limits.elements for number in shape) or prod(shape) > self.limits.elements:
            self.beyond(f"tensor {printable(name)!r} of shape {printable(shape)}", "elements")
        if end < begin or (end - begin) * 8 != prod(shape) * bits:
            self.malformed(f"tensor {printable(name)!r}: {dtype} {printable(shape)} does not take {end - begin} bytes")
        spans.append((begin, end, name))
        return Tensor(dtype, tuple(shape))

    def cover(self, spans: list[tuple[int, int, str]], available: int) -> None:
        """Check that the spans fill the rest of the file, without holes or overlaps."""
        spans.sort()
        at = 0
        for begin, end, name in spans:
            if begin != at:
                what = "overlaps another tensor" if begin < at else "leaves a hole before it"
                self.malformed(f"tensor {printable(name)!r} {what} (byte {begin}, expected {at})")
            at = end
        if at != available:
            self.malformed(f"its tensors take {at} bytes, the file has {available}")

    def malformed(self, text: str) -> NoReturn:
        raise MalformedMetadata(f"{printable(self.file)}: {text}.", file=self.file, source=self.source)

    def beyond(self, text: str, limit: str) -> NoReturn:
        raise LimitExceeded(
            f"{printable(self.file)}: {text}; the limit is {getattr(self.limits, limit)}. Nothing was allocated. "
            f"If you trust the file, pass limits=Limits({limit}=...).",
            file=self.file,
            source=self.source,
            grant="limits",
        )


def gguf_header(
    read: Read,
    size: int,
    *,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    enough: int | None = None,
) -> Header:
    """Read and check the header of a GGUF file; see `safety.gguf`."""
    from modelscope_ext.safety.gguf import gguf_header as header

    return header(read, size, file=file, limits=limits, source=source, enough=enough)


def ckpt_header(
    read: Read, size: int, *, file: str, limits: Limits = DEFAULT_LIMITS, source: str | None = None
) -> Header:
    """Read and check the structure of a MindSpore checkpoint; see `safety.mindspore_ckpt`."""
    from modelscope_ext.safety.mindspore_ckpt import ckpt_header as header

    return header(read, size, file=file, limits=limits, source=source)


_READERS: Mapping[str, Callable[..., Header]] = {
    "safetensors": safetensors_header,
    "gguf": gguf_header,
    "mindspore": ckpt_header,
}


def read_header(
    form: str,
    read: Read,
    size: int,
    *,
    file: str,
    limits: Limits = DEFAULT_LIMITS,
    source: str | None = None,
    enough: int | None = None,
) -> Header | None:
    """Return the header of a weight file of the given format, or None where the format has none that is read here.

    Args:
        form: The format.
        read: Reads bytes of the file.
        size: Bytes of the whole file.
        file: Its name, for messages.
        limits: What is too large.
        source: The model as the caller named it.
        enough: Bytes of a GGUF file after which its keys are enough; see `safety.gguf`. None reads all of the header.

    Raises:
        SafetyError: What the format's reader raises.

    Example:
        >>> read_header("h5", lambda start, count: b"", 0, file="tf_model.h5") is None
        True
    """
    reader = _READERS.get(form)
    if reader is None:
        return None
    try:
        more = {"enough": enough} if form == "gguf" else {}
        return reader(read, size, file=file, limits=limits, source=source, **more)
    except SafetyError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, UnicodeError) as error:
        raise MalformedMetadata(
            f"{printable(file)}: not a readable {form} file ({type(error).__name__}).", file=file, source=source
        ) from error
