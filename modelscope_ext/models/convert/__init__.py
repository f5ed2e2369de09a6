"""Weights of one library turned into another's, bit by bit: transformers' Llama and Qwen2 for mindformers, and back.

The files are read by their headers and copied in pieces of a few megabytes, so that memory does not grow with the
model, and no framework is needed. The source passes the same gates as before a load; every tensor's name and shape is
held against the settings before anything is written; the folder is made beside its place and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.convert.matching import matched
from modelscope_ext.models.convert.sources import COPIED, TARGETS, Target, judged
from modelscope_ext.models.convert.tensors import DTYPES, Source, Stored, shards
from modelscope_ext.models.convert.writers import FORMATS, Format, write_weights
from modelscope_ext.utils.new_folder import publish, staging, target_folder
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.limits import Limits

__all__ = ["TARGETS", "Conversion", "convert"]

#: Told a label, the bytes written and the bytes of all tensors.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Conversion(Record):
    """A model that was converted.

    Attributes:
        path: The folder.
        to: E.g. ``"mindformers"``.
        framework: What it runs in.
        model_type: The model type of the original, e.g. ``"qwen2"``.
        tasks: What it is for, the default first.
        tensors: How many tensors it has.
        dtypes: Elements by dtype.
        files: Names and sizes in bytes.
        bytes: Their sizes added up.
        left_out: Tensors of the original that every library computes anew.
    """

    path: str
    to: str
    framework: str
    model_type: str
    tasks: tuple[str, ...] = ()
    tensors: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    left_out: tuple[str, ...] = ()


def convert(
    model: Any,
    output: str | PathLike[str],
    *,
    to: str,
    overwrite: bool = False,
    max_shard_size: int | str = "2GB",
    yaml: str | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
    **where: Any,
) -> Conversion:
    """Write the weights of `model` into the folder `output` in the layout of another library, without loss.

    Every tensor keeps its bits and its dtype; the tokenizer's files are copied; config.json and configuration.json are
    written anew. No framework is imported, and no more than a few megabytes of weights are in memory at once.

    Args:
        model: A folder, or a Snapshot of one.
        output: The folder to make. Its parent has to exist.
        to: ``"mindformers"``, for a Llama or Qwen2 of transformers in safetensors; ``"transformers"``, for a Llama of
            mindformers.
        overwrite: Replace `output` where it is an earlier conversion.
        max_shard_size: Bytes of one weight file at most, e.g. ``"2GB"``; MindSpore holds a whole file in memory to
            read it.
        yaml: Which of several yaml files of a mindformers folder describes the model.
        progress: Called with a label, the bytes written and the bytes of all tensors.
        limits: What is too large to be read.
        **where: `hub`, `revision`, `subfolder`, `variant`, `token`, `cache_dir`, `local_files_only`, as for
            `resolve`.

    Returns:
        What was written.

    Raises:
        OptionError: `output` is there already, or an argument makes no sense.
        BackendNotLoadable: A model type or a setting that is not converted; the message names what is.
        WeightsMismatch: A tensor is missing, left over, or of another shape than the settings describe.
        SafetyError: A file that is not what it says.
        ModelScopeExtError: The disk has no room, or a file could not be written; nothing is left behind.
    """
    target = target_folder(output, overwrite=overwrite, mark=_MARK, what="conversion")
    row = _target(to)
    most = _bytes_of(max_shard_size)
    snapshot, resolution, files = judged(model, row, yaml, limits, where)
    source = str(snapshot.source)
    if target.exists() and target.samefile(str(snapshot.folder)):
        raise OptionError(f"{printable(str(target))} is the model itself; give another name for the copy")
    with Source(Path(str(snapshot.folder)), files, row.reads, snapshot.limits, source) as weights:
        dtype = _usual(weights.tensors.values())
        read = row.read(snapshot, dtype, yaml)
        place = f"{printable(source)}: {printable(read.file)}"
        pairs, left_out = matched(weights.tensors, read.values, row.origin, place)
        new_names = {tensor.name: getattr(one, to) for one, tensor in pairs}
        parts = [[(new_names[t.name], t) for t in shard] for shard in shards((t for _, t in pairs), most)]
        copied = [name for name in COPIED if name in snapshot]
        _check_room(target, parts, FORMATS[row.writes], sum(snapshot.sizes[name] for name in copied))
        with staging(target) as folder, _told(target):
            tell = _Teller(progress, sum(tensor.bytes for _, tensor in pairs))
            written = write_weights(folder, FORMATS[row.writes], parts, weights.pieces, tell)
            _check_written(folder, written, row, parts, snapshot.limits)
            _write_json(folder / "config.json", read.config)
            for name in copied:
                _copy(snapshot, name, folder / name)
            tasks = _declare(folder, to, resolution.tasks)
            done = Conversion(
                path=str(target),
                to=to,
                framework=_engine(to).frameworks[0],
                model_type=read.model_type,
                tasks=tasks,
                tensors=len(pairs),
                dtypes=_elements(tensor for _, tensor in pairs),
                left_out=left_out,
            )
            _mark(folder, row, done)
            sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
            publish(folder, target)
    return replace(done, files=sizes, bytes=sum(sizes.values()))


#: What every conversion leaves in its folder: from what and to what; the sign of an earlier conversion.
_MARK = "conversion.json"


def _target(to: Any) -> Target:
    if to not in TARGETS:
        raise OptionError(
            f"to={printable(repr(to))} is no library that is converted to.{did_you_mean(str(to), TARGETS)} There are:"
            f" {listing(TARGETS)}"
        )
    return TARGETS[to]


def _bytes_of(size: Any) -> int:
    """Return a number of bytes; text is read as huggingface_hub does: powers of ten, or of two with an ``i``.

    Example:
        >>> _bytes_of("5GB"), _bytes_of("1MiB"), _bytes_of(7)
        (5000000000, 1048576, 7)
    """
    text = str(size).strip().upper() if isinstance(size, int | str) and not isinstance(size, bool) else ""
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    text = text.removesuffix(unit).strip()
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise OptionError(f"max_shard_size={printable(repr(size))}: expected a number of bytes, e.g. '2GB'")
    return int(text) * _UNITS.get(unit, 1)


_UNITS: Mapping[str, int] = {
    f"{letter}{kind}B": (1024 if kind else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for kind in ("I", "")
}


# Writing


class _Teller:
    """Counts bytes for a progress bar, which is weighted by them."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, tensor: Stored, count: int) -> None:
        self._done += count
        if self._progress is not None:
            share = f"{self._done / 1e9:.2f} of {self._total / 1e9:.2f} GB"
            self._progress(f"{share}  {tensor.name}", self._done, self._total)


def _check_room(target: Path, parts: list[list[tuple[str, Stored]]], form: Format, beside: int) -> None:
    needed = beside + sum(tensor.bytes + form.overhead for part in parts for _, tensor in part)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise ModelScopeExtError(
            f"{printable(str(target.parent))}: the conversion takes {needed} bytes, and {free} are free. Nothing was"
            " written. Make room, or choose a folder on another disk"
        )


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Tell a write that failed as our own error."""
    try:
        yield
    except ModelScopeExtError:
        raise
    except OSError as error:
        reason = printable(error.strerror or str(error))
        raise ModelScopeExtError(
            f"{printable(str(target))} could not be written: {reason}. Nothing is left of it"
        ) from error


def _check_written(
    folder: Path, names: tuple[str, ...], row: Target, parts: list[list[tuple[str, Stored]]], limits: Limits
) -> None:
    """Read the headers of what was written: every tensor has to be there, of its dtype and shape."""
    files = [name for name in names if not name.endswith(".json")]
    with Source(folder, files, row.writes, limits, str(folder)) as made:
        meant = {name: (tensor.dtype, tensor.shape) for part in parts for name, tensor in part}
        found = {name: (tensor.dtype, tensor.shape) for name, tensor in made.tensors.items()}
    if found != meant:
        wrong = [name for name in meant if found.get(name) != meant[name]]
        raise ModelScopeExtError(f"what was written is not what was read: {listing(wrong, 6)}. Nothing is left of it")


def _copy(snapshot: Snapshot, name: str, path: Path) -> None:
    from modelscope_ext.safety.reading import open_inside

    descriptor, _ = open_inside(str(snapshot.folder), name, source=str(snapshot.source))
    with os.fdopen(descriptor, "rb") as file, path.open("xb") as copy:
        shutil.copyfileobj(file, copy)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _declare(folder: Path, to: str, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Write a complete configuration.json, and return the tasks in it."""
    from modelscope_ext.models.declare import NAME, complete_configuration, document_text
    from modelscope_ext.models.resolve import resolve

    found = resolve(str(folder), backend=to, installed=False)
    engine = _engine(to)
    decided = replace(
        found,
        framework=engine.frameworks[0],
        tasks=tasks or found.tasks,
        requirement_dependency=tuple(engine.requires),
    )
    (folder / NAME).write_text(document_text(complete_configuration(decided)), encoding="utf-8")
    return decided.tasks


def _engine(name: str) -> Any:
    from modelscope_ext.models.builder import BACKENDS

    return BACKENDS.get(name)


def _mark(folder: Path, row: Target, done: Conversion) -> None:
    """Leave beside the model what it was made of; no path of this machine."""
    from modelscope_ext import __version__

    said = {key: value for key, value in done.to_dict().items() if key not in ("path", "files", "bytes")}
    _write_json(folder / _MARK, {"from": row.origin, **said, "made_by": f"modelscope-ext {__version__}"})


def _usual(tensors: Any) -> str:
    """Return the dtype that most bytes have."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.bytes
    return sizes.most_common(1)[0][0]


def _elements(tensors: Iterator[Stored]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.bytes // DTYPES[tensor.dtype].bytes
    return dict(counts)
