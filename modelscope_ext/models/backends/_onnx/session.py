"""A running graph: which device it runs on, which inputs it wants, and the folder's own words about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import MalformedMetadata, MissingRequirement, NotAModel, OptionError
from modelscope_ext.models.backends._onnx import text as text_
from modelscope_ext.safety.limits import DEFAULT_LIMITS, Limits
from modelscope_ext.safety.reading import parse_json, read_inside
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.models.backends._onnx.image import Processor
    from modelscope_ext.models.backends._onnx.sounds import Extractor

__all__ = ["DEVICES", "Bundle", "Graph", "alike", "batches", "open_session"]

#: device -> execution provider of onnxruntime, and the package that brings it.
DEVICES: Mapping[str, tuple[str, str]] = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "mps": ("CoreMLExecutionProvider", "onnxruntime"),
    "npu": ("CANNExecutionProvider", "onnxruntime-cann"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "rocm": ("ROCMExecutionProvider", "onnxruntime-rocm"),
}

_PREPARATION = "preprocessor_config.json"

_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def open_session(path: Path, device: str, threads: int | None, *, file: str) -> Any:
    """Return an `onnxruntime.InferenceSession` on `device`.

    Args:
        path: The ONNX file; what it pulls in has been checked.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        threads: Threads inside one operator; None takes OMP_NUM_THREADS, or onnxruntime's choice.
        file: The file's name inside the model, for messages.

    Raises:
        OptionError: No such device.
        MissingRequirement: The installed onnxruntime was built without it, or it could not be started.
        MalformedMetadata: onnxruntime cannot read the graph.
    """
    import onnxruntime

    provider, options = _provider(device, onnxruntime.get_available_providers())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if threads is None and os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        threads = int(os.environ["OMP_NUM_THREADS"])  # onnxruntime asks the machine alone, unlike other libraries
    if threads is not None:
        settings.intra_op_num_threads = threads
    chosen = [(provider, options)] if options else [provider]
    fallback = [] if provider == DEVICES["cpu"][0] else [DEVICES["cpu"][0]]
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=[*chosen, *fallback])
    except Exception as error:
        raise MalformedMetadata(
            f"{file}: onnxruntime {onnxruntime.__version__} cannot load it: {printable(str(error), 300)}. "
            "Download it again; if it was made for a newer onnxruntime, update that.",
            file=file,
        ) from error
    if provider not in session.get_providers():
        raise MissingRequirement(
            f"device={device!r}: onnxruntime has {provider}, but could not start it and fell back to "
            f'{listing(session.get_providers())}. Check the driver, or pass device="cpu".'
        )
    return session


def _provider(device: str, available: Sequence[str]) -> tuple[str, dict[str, Any]]:
    kind, _, index = device.partition(":")
    if kind not in DEVICES or (index and not index.isdigit()):
        raise OptionError(
            f"device={device!r} is no device of the onnx backend.{did_you_mean(device, DEVICES)} "
            f"There are: {listing(DEVICES)}, with a number where there are several (cuda:1)."
        )
    provider, package = DEVICES[kind]
    if provider not in available:
        raise MissingRequirement(
            f"device={device!r} needs {provider}, which the installed onnxruntime does not have (it has: "
            f'{listing(available)}). pip install {package}, or pass device="cpu".'
        )
    return provider, {"device_id": int(index)} if index else {}


class Graph:
    """A session whose inputs are given by name and cast to what the graph declares.

    Attributes:
        session: The `onnxruntime.InferenceSession`.
        inputs: Input name -> numpy dtype name.
        outputs: Output names in order.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs: dict[str, str] = {i.name: _DTYPES.get(i.type, i.type) for i in session.get_inputs()}
        self.shapes: dict[str, list[Any]] = {i.name: i.shape for i in session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(o.name for o in session.get_outputs())
        self._seen = threading.local()

    @contextmanager
    def recording(self) -> Iterator[list[dict[str, Any]]]:
        """Collect the outputs of every run of this thread, for callers who want the graph's own words."""
        self._seen.runs = []
        try:
            yield self._seen.runs
        finally:
            self._seen.runs = None

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return output name -> array; arrays that the graph does not want are left out.

        Raises:
            OptionError: The graph wants an input that nothing here provides.
        """
        missing = sorted(self.inputs.keys() - arrays.keys())
        if missing:
            raise OptionError(
                f"The ONNX graph wants {listing(missing)}, which this task does not provide (it provides "
                f"{listing(arrays)}). The graph was exported for another task, or is one part of a larger model."
            )
        feed = {name: arrays[name].astype(dtype, copy=False) for name, dtype in self.inputs.items()}
        names = list(self.outputs)
        try:
            found = dict(zip(names, self.session.run(names, feed), strict=True))
        except Exception as error:
            shapes = {name: list(array.shape) for name, array in feed.items()}
            said = printable(" ".join(str(error).split()), 300)
            declared = {name: self.shapes[name] for name in feed}
            raise OptionError(
                f"The ONNX graph refused its inputs {shapes}; it declares {printable(declared, 300)}: {said}. A text "
                "may be too long (pass max_length=), or the files beside the graph may belong to another model."
            ) from error
        if getattr(self._seen, "runs", None) is not None:
            self._seen.runs.append(found)
        return found

    @property
    def pixels(self) -> str:
        """The name of the input that takes pictures."""
        return "pixel_values" if "pixel_values" in self.inputs else next(iter(self.inputs))

    def rows(self, name: str) -> int | None:
        """Return how many items the input `name` takes at once; None where it takes any number."""
        shape = self.shapes.get(name) or [None]
        return shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None

    def words(self, words: text_.Words) -> dict[str, Any]:
        """Run the graph on a batch of texts."""
        return self.run(words.arrays())

    def take(self, found: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
        """Return the outputs of these names as float32.

        Raises:
            OptionError: The graph has no output of a name.
        """
        import numpy as np

        missing = [name for name in names if name not in found]
        if missing:
            raise OptionError(
                f"The ONNX graph has no output {listing(missing)}, which this task reads. It gives "
                f"{listing(self.outputs)}: it was exported for another task."
            )
        return tuple(np.asarray(found[name]).astype(np.float32, copy=False) for name in names)

    def logits(self, found: Mapping[str, Any]) -> Any:
        """Return ``logits``, or the first output, as float32."""
        import numpy as np

        return np.asarray(found["logits" if "logits" in found else self.outputs[0]]).astype(np.float32, copy=False)


@dataclass
class Bundle:
    """A loaded folder: the graph and the documents beside it, each read when a task first needs it.

    Attributes:
        graph: The running graph.
        folder: The model's folder.
        file: The ONNX file's name in it.
        external: The files of tensors that the graph pulled in.
        limits: What may be read.
        options: The caller's `max_length`, `pooling`, ...
    """

    graph: Graph
    folder: Path
    file: str
    external: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    options: Mapping[str, Any] | None = None

    def document(self, name: str) -> Any:
        """Return a parsed JSON file, an empty dict where there is none."""
        if not (self.folder / name).is_file():
            return {}
        return parse_json(read_inside(self.folder, name, limits=self.limits), file=name, limits=self.limits)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The parsed `config.json`, for tasks that cannot do without: names of labels, the token that ends a text."""
        if not (self.folder / "config.json").is_file():
            raise NotAModel(
                "The folder has no config.json, which names the model's labels and its end of text. Copy it from the "
                "model that was exported."
            )
        found = self.document("config.json")
        if not isinstance(found, Mapping):
            raise MalformedMetadata(
                f"config.json should be an object, found {type(found).__name__}.", file="config.json"
            )
        return found

    @cached_property
    def text(self) -> text_.Text:
        """The tokenizer."""
        most = (self.options or {}).get("max_length")
        return text_.Text.of(self.folder, self._object, self.limits, most)

    @cached_property
    def processor(self) -> Processor:
        """What prepares pictures."""
        from modelscope_ext.models.backends._onnx.image import Processor

        return Processor.of(self._preparation("image_processor", "pictures are"))

    @cached_property
    def extractor(self) -> Extractor:
        """What prepares sounds."""
        from modelscope_ext.models.backends._onnx.sounds import Extractor

        return Extractor.of(self._preparation("feature_extractor", "sounds are"))

    def _preparation(self, part: str, what: str) -> Mapping[str, Any]:
        """Return the settings of a processor: a part of processor_config.json, or preprocessor_config.json."""
        whole = self._object("processor_config.json").get(part)
        if isinstance(whole, Mapping):
            return whole
        if not (self.folder / _PREPARATION).is_file():
            raise NotAModel(
                f"The folder has no {_PREPARATION} (nor a {part} in processor_config.json), which says how {what} "
                "prepared. Copy it from the model that was exported."
            )
        return self._object(_PREPARATION)

    def label(self, index: int) -> str:
        """Return a class's name; `LABEL_<index>` where `config.json` has none."""
        return self._labels.get(index, f"LABEL_{index}")

    @cached_property
    def _labels(self) -> dict[int, str]:
        names = self.config.get("id2label")
        if not isinstance(names, Mapping):
            return {}
        return {int(k): str(v) for k, v in names.items() if str(k).isdigit()}

    def _object(self, name: str) -> dict[str, Any]:
        found = self.document(name)
        return found if isinstance(found, dict) else {}


def alike(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Return the numbers of the arrays that have one shape, for each shape.

    Example:
        >>> alike([(2,), (3,), (2,)])
        [[0, 2], [1]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(number)
    return list(groups.values())


def batches(inputs: Sequence[Any], size: int | None) -> Iterator[Sequence[Any]]:
    """Yield `inputs` in order, at most `size` at a time (all at once up to 32 where the caller said nothing)."""
    size = size or 32
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]
