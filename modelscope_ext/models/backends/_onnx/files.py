"""Which ONNX file of a folder is the model, and which files of tensors it pulls in.

An ONNX graph may keep its tensors in other files, named inside it (`TensorProto.external_data`, key ``location``:
https://onnx.ai/onnx/repo-docs/ExternalData.html). `external_files` reads those names without the onnx package, by
walking the few protobuf fields in which a tensor can hide, and never looks at tensor bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelscope_ext.errors import LimitExceeded, MalformedMetadata, ModelNotFound, NotAModel, OptionError
from modelscope_ext.safety.paths import check_name
from modelscope_ext.safety.reading import open_inside
from modelscope_ext.utils.text import did_you_mean, listing, printable

__all__ = ["FOLDERS", "STEMS", "choose", "external_files", "siblings"]

#: Folders in which exporters put the graph, the likeliest first.
FOLDERS: tuple[str, ...] = ("", "onnx/")

#: File stems of a whole model, the likeliest first; a variant is joined on with an underscore.
STEMS: tuple[str, ...] = ("model", "decoder_model_merged", "decoder_with_past_model", "decoder_model")

#: The file name's ending for a variant, where it is not the variant's own name.
ENDINGS = {"int8": ("int8", "quantized"), "uint8": ("uint8", "quantized"), "fp32": ("",), "float32": ("",)}
ENDINGS |= {"float16": ("fp16",)}

_LOCATION = "external_data.location"
_MOST_DEPTH, _MOST_FIELDS, _MOST_NAMES = 16, 20_000_000, 10_000


def choose(names: Iterable[str], variant: str | None = None, file_name: str | None = None) -> str:
    """Return the one ONNX file to load.

    The rule: `file_name` if given; else ``model.onnx`` in the root, then in ``onnx/``, then the decoder names, with
    ``_<variant>`` joined on if `variant` is given; else the only ONNX file there is.

    Example:
        >>> choose(["config.json", "onnx/model.onnx", "onnx/model_fp16.onnx"])
        'onnx/model.onnx'
        >>> choose(["onnx/model.onnx", "onnx/model_quantized.onnx"], variant="int8")
        'onnx/model_quantized.onnx'

    Raises:
        OptionError: No such file or variant; the message lists what there is.
        NotAModel: There is no ONNX file, or several and none of the usual names.
    """
    there = tuple(sorted(name for name in names if name.lower().endswith(".onnx")))
    if file_name is not None:
        if file_name not in there:
            raise OptionError(
                f"file_name={printable(file_name)!r} is not in the model.{did_you_mean(file_name, there)} "
                f"ONNX files there: {_shown(there)}."
            )
        return file_name
    if not there:
        raise NotAModel(
            'The model has no .onnx file, so backend="onnx" cannot load it. Export it first '
            "(optimum-cli export onnx, or torch.onnx.export), or use the backend of its weights."
        )
    endings = ENDINGS.get(variant, (variant,)) if variant else ("",)
    for ending in endings:
        for stem in STEMS:
            for folder in FOLDERS:
                name = f"{folder}{stem}{'_' + ending if ending else ''}.onnx"
                if name in there:
                    return name
    if variant:
        raise OptionError(f"The model has no ONNX file for variant={variant!r}. There are: {_shown(there)}.")
    if len(there) == 1:
        return there[0]
    raise NotAModel(
        f"The model has {len(there)} ONNX files and none is called model.onnx: {_shown(there)}. "
        "They may be the parts of one model; to load one of them by itself, pass file_name=."
    )


def siblings(chosen: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return `chosen` and the files that by their name hold its tensors (``model.onnx_data``, ``model.onnx.data``)."""
    return (chosen, *sorted(n for n in names if n != chosen and n.startswith((chosen + "_data", chosen + ".data"))))


def external_files(folder: Path, file: str) -> tuple[str, ...]:
    """Return the files of tensors that the graph `file` names, as names inside `folder`; each is checked to be there.

    Args:
        folder: The model's folder.
        file: The name of the ONNX file in it.

    Raises:
        PathEscapeRefused: A location leaves the folder, by its name or through a link.
        MalformedMetadata: Not a readable ONNX file, or a named file is missing.
        LimitExceeded: More structure than any real graph has.
    """
    import mmap
    import os

    descriptor, size = open_inside(folder, file)
    try:
        if size == 0:
            raise MalformedMetadata(f"{file} is empty. Download it again.", file=file)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
            if data[:8] == b"version ":
                raise MalformedMetadata(f"{file} is a git-LFS pointer, not the graph. Run git lfs pull.", file=file)
            locations = sorted(set(_Walk(data, file).locations()))
    finally:
        os.close(descriptor)
    return tuple(_located(folder, file, location) for location in locations)


def _located(folder: Path, file: str, location: str) -> str:
    import os

    check_name(location, file=file, field=_LOCATION)
    above = file.rpartition("/")[0]
    name = f"{above}/{location}" if above else location
    try:
        os.close(open_inside(folder, name)[0])
    except ModelNotFound as error:
        raise MalformedMetadata(
            f"{file}: {_LOCATION} names {printable(location)!r}, which is not there. Download it too.",
            file=file,
            field=_LOCATION,
        ) from error
    return name


def _shown(names: Sequence[str]) -> str:
    return listing(printable(n, 60) for n in names)


# Message kinds and the fields in which a tensor can hide: kind -> {field number: kind of what is inside}.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _ENTRY, _TRAINING = range(9)
_FIELDS: tuple[dict[int, int], ...] = (
    {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    {5: _ATTRIBUTE},
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    {13: _ENTRY},
    {1: _TENSOR, 2: _TENSOR},
    {7: _NODE, 11: _ATTRIBUTE},
    {},
    {1: _GRAPH, 2: _GRAPH},
)


class _Walk:
    """One pass over the protobuf structure of a model, skipping every field that cannot hold a tensor."""

    def __init__(self, data: Any, file: str) -> None:
        self.data = data
        self.file = file
        self.fields = 0

    def locations(self) -> list[str]:
        found: list[str] = []
        self._visit(_MODEL, 0, len(self.data), 0, found)
        return found

    def _visit(self, kind: int, start: int, end: int, depth: int, found: list[str]) -> None:
        if depth > _MOST_DEPTH:
            raise LimitExceeded(f"{self.file} nests graphs deeper than {_MOST_DEPTH} messages.", file=self.file)
        for number, inner, stop in self._lengths(start, end):
            below = _FIELDS[kind].get(number)
            if below == _ENTRY:
                self._entry(inner, stop, found)
            elif below is not None:
                self._visit(below, inner, stop, depth + 1, found)

    def _entry(self, start: int, end: int, found: list[str]) -> None:
        pair = {number: bytes(self.data[inner:stop]) for number, inner, stop in self._lengths(start, end)}
        if pair.get(1) == b"location":
            if len(found) >= _MOST_NAMES:
                raise LimitExceeded(f"{self.file} names more than {_MOST_NAMES} external tensors.", file=self.file)
            found.append(pair.get(2, b"")[:4096].decode("utf-8", "surrogateescape"))

    def _lengths(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield field number, start and end of each length-delimited field; step over the others."""
        at = start
        while at < end:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise LimitExceeded(f"{self.file} has more than {_MOST_FIELDS} protobuf fields.", file=self.file)
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == 2:
                length, at = self._varint(at, end)
                if length > end - at:
                    raise self._broken(at)
                yield number, at, at + length
                at += length
            elif wire == 0:
                _, at = self._varint(at, end)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise self._broken(at)
        if at != end:
            raise self._broken(at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 64:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise self._broken(at)

    def _broken(self, at: int) -> MalformedMetadata:
        return MalformedMetadata(
            f"{self.file} is not a readable ONNX file (it breaks the protobuf format at byte {at}). "
            "It may be cut off: download it again.",
            file=self.file,
        )
