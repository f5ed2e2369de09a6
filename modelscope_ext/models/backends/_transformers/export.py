"""From a loaded transformers model to an ONNX graph, by torch's own exporter, and the proof that both agree.

Two of torch's exporters are tried. The first (TorchScript, ``dynamo=False``) traces the model once and takes seconds;
the second (``dynamo=True``, through `torch.export`) follows its Python code and takes a minute, and is asked where the
first fails or where its graph does not hold for other shapes. Whichever made it, the graph is run by onnxruntime on
three batches of real inputs with different numbers, lengths and sizes, and every number is compared with torch's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import BackendNotLoadable, ModelScopeExtError, OptionError
from modelscope_ext.models.backend import Example, Exported
from modelscope_ext.models.backends._transformers.examples import COUNTS, EXAMPLES, asked
from modelscope_ext.models.backends._transformers.graphs import GRAPHS, WRITES, Graph
from modelscope_ext.models.backends._transformers.run import Session
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE", "export", "without_code", "write_graph"]

FILE = "model.onnx"
_DATA = "model.onnx_data"

#: The largest model whose tensors stay inside the graph; protobuf ends at 2 GiB.
INLINE = 2**31 - 2**26

_OPSETS = {"TorchScript": (14, 17, 20), "torch.export": (18, 18, 23)}  # least, usual, most


@dataclass(frozen=True)
class Traced:
    """A model as a function of tensors, and three batches for it.

    Attributes:
        module: Takes the tensors in the order of `names`, returns those of `outputs`.
        names: Names of the inputs.
        outputs: Names of the outputs.
        batches: Three batches, each a tensor per input.
        answers: What the module gives for each.
    """

    module: Any
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    batches: tuple[tuple[Any, ...], ...]
    answers: tuple[tuple[Any, ...], ...]

    def open_axes(self) -> dict[str, dict[int, str]]:
        """Return for each input and output the axes whose size is not the same in all batches."""
        axes: dict[str, dict[int, str]] = {}
        for names, values in ((self.names, self.batches), (self.outputs, self.answers)):
            for at, name in enumerate(names):
                sizes = zip(*(batch[at].shape for batch in values), strict=True)
                axes[name] = {i: f"{name}_{i}" for i, size in enumerate(sizes) if len(set(size)) > 1}
        return axes


def export(session: Session, folder: Path, options: Mapping[str, Any]) -> Exported:
    """Write the graph of `session.task` with config, tokenizer and processors beside it into `folder`, and check it.

    Args:
        session: The loaded model and the task.
        folder: An empty folder.
        options: `opset` and `tolerance`.

    Raises:
        BackendNotLoadable: This model is not one graph.
        OptionError: A dtype or device in which no graph is made, or an opset that torch does not write.
        ModelScopeExtError: Both exporters failed, or their graphs give other numbers than the model.
    """
    task = session.task
    row = GRAPHS[task]
    if row.examples == "sounds" and session.model.can_generate():
        raise BackendNotLoadable(
            f"{type(session.model).__name__} is not exportable for {task}, because {WRITES}. "
            "Models with a CTC head are."
        )
    _check_place(session)
    traced, again = (_decoder if row.examples == "prompts" else _encoder)(session, row)
    made, difference = write_graph(traced, folder / FILE, options.get("opset"), options["tolerance"])
    write_documents(session, folder)
    item, call = asked(session, row.examples)
    example = Example(row.task or task, item, {**row.options, **call, "raw": True}, again)
    shapes = tuple({n: tuple(t.shape) for n, t in zip(traced.names, b, strict=True)} for b in traced.batches)
    return Exported("onnxruntime", (task, *(t for t in row.also if t != task)), made, difference, shapes, (example,))


def _check_place(session: Session) -> None:
    import torch

    dtype, device = session.model.dtype, session.device
    if dtype is not torch.float32 or device.type != "cpu":
        raise OptionError(
            f"a graph is made of a model in float32 on the CPU; this one is in {dtype} on {device}. Load it with "
            'dtype="float32", device="cpu".'
        )


def _encoder(session: Session, row: Graph) -> tuple[Traced, dict[str, Any]]:
    """Return the model as a function of its example inputs, and its answer to the single input."""
    import torch

    examples = [EXAMPLES[row.examples](session, number) for number in range(len(COUNTS))]
    names = tuple(examples[0])
    with torch.no_grad():
        answer = session.model(**examples[0], return_dict=True)
    outputs = tuple(name for name in row.outputs if torch.is_tensor(answer.get(name)))
    if not outputs:
        raise BackendNotLoadable(
            f"{type(session.model).__name__} is not exportable for {session.task}, because its answer has none of "
            f"{listing(row.outputs)}; it has {listing(answer)}."
        )

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = session.model

        def forward(self, *inputs: Any) -> Any:
            found = self.model(**dict(zip(names, inputs, strict=True)), return_dict=True)
            return tuple(found[name] for name in outputs)

    batches = tuple(tuple(example[name] for name in names) for example in examples)
    traced = _traced(Whole().eval(), names, outputs, batches)
    return traced, dict(zip(outputs, (t.float().numpy() for t in traced.answers[1]), strict=True))


def _decoder(session: Session, row: Graph) -> tuple[Traced, dict[str, Any]]:
    """Return a decoder as a function of new tokens and the cache, by the names under which others write them too."""
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    examples = [EXAMPLES[row.examples](session, number) for number in range(len(COUNTS))]
    with torch.no_grad():
        first = session.model(input_ids=examples[1]["input_ids"], use_cache=True, return_dict=True)
    cache = first.get("past_key_values")
    layers = list(getattr(cache, "layers", ()))
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        kinds = {type(layer).__name__ for layer in layers} or {type(cache).__name__}
        raise BackendNotLoadable(
            f"{type(session.model).__name__} is not exportable for text-generation, because it remembers more than "
            f"keys and values of every token ({listing(kinds)})."
        )
    past = tuple(f"past_key_values.{i}.{kind}" for i in range(len(layers)) for kind in ("key", "value"))
    present = tuple(name.replace("past_key_values", "present") for name in past)
    states = [state for layer in layers for state in (layer.keys, layer.values)]
    placed = "position_ids" in _parameters(session.model)
    names = ("input_ids", "attention_mask", *(("position_ids",) if placed else ()), *past)
    heads = len(names) - len(past)

    class Step(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = session.model

        def forward(self, *inputs: Any) -> Any:
            known = inputs[heads:]
            found = self.model(
                **dict(zip(names[:heads], inputs[:heads], strict=True)),
                past_key_values=DynamicCache(list(zip(known[::2], known[1::2], strict=True))),
                use_cache=True,
                return_dict=True,
            )
            layers = found.past_key_values.layers
            return (found.logits, *(state for layer in layers for state in (layer.keys, layer.values)))

    batches = []
    for number, known in enumerate((3, 0, 5)):
        ids = examples[number]["input_ids"]
        mask = torch.ones(ids.shape[0], known + ids.shape[1], dtype=torch.long)
        places = torch.arange(known, known + ids.shape[1]).expand_as(ids).contiguous()
        shaped = [torch.randn(ids.shape[0], s.shape[1], known, s.shape[3], generator=_dice()) * 0.1 for s in states]
        batches.append((ids, mask, *((places,) if placed else ()), *shaped))
    traced = _traced(Step().eval(), names, ("logits", *present), tuple(batches))
    return traced, dict(zip(traced.outputs, (t.float().numpy() for t in traced.answers[1]), strict=True))


def _dice() -> Any:
    import torch

    return torch.Generator().manual_seed(0)


def _parameters(model: Any) -> Mapping[str, Any]:
    import inspect

    return inspect.signature(model.forward).parameters


def _traced(module: Any, names: tuple[str, ...], outputs: tuple[str, ...], batches: tuple[Any, ...]) -> Traced:
    import torch

    with torch.no_grad():
        answers = tuple(tuple(module(*batch)) for batch in batches)
    return Traced(module, names, outputs, batches, answers)


def write_graph(traced: Traced, path: Path, opset: int | None, tolerance: float) -> tuple[str, float]:
    """Write the graph to `path` and return which exporter made it, and the largest difference from torch.

    Raises:
        OptionError: No exporter writes this opset.
        ModelScopeExtError: None of them made a graph that gives the model's numbers.
    """
    makers = [name for name, (least, _, most) in _OPSETS.items() if opset is None or least <= opset <= most]
    if not makers:
        ranges = [f"{least} to {most} ({name})" for name, (least, _, most) in _OPSETS.items()]
        raise OptionError(f"opset={opset}: torch writes {listing(ranges)}.")
    problems: list[str] = []
    cause: Exception | None = None
    for maker in makers:
        version = opset or _OPSETS[maker][1]
        for old in path.parent.glob("*"):
            old.unlink()
        try:
            with _silence():
                _MAKERS[maker](traced, path, version)
                _gather(traced, path)
            difference, where = compare(traced, path)
        except Exception as error:  # noqa: BLE001  the next exporter may do better; what is raised names both
            problems.append(f"{maker}: {type(error).__name__}: {printable(' '.join(str(error).split()), 200)}")
            cause = cause or error
            continue
        if difference <= tolerance:
            return f"torch's {maker} exporter, opset {version}", difference
        problems.append(f"{maker}: the graph differs by {difference:.3g} in {where}, more than {tolerance:g}")
    raise ModelScopeExtError(
        f"no ONNX graph of {type(traced.module.model).__name__} could be made that gives its numbers. "
        f"{'; '.join(problems)}. Nothing was written."
    ) from cause


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters from announcing each other, and what was traced, on stdout and as warnings."""
    import io
    import logging

    import torch

    loud = logging.getLogger("torch.onnx")
    level = loud.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        loud.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            loud.setLevel(level)


def _by_tracing(traced: Traced, path: Path, opset: int) -> None:
    import torch

    torch.onnx.export(
        traced.module,
        traced.batches[0],
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=list(traced.names),
        output_names=list(traced.outputs),
        dynamic_axes=traced.open_axes(),
    )


def _by_export(traced: Traced, path: Path, opset: int) -> None:
    import torch

    axes = traced.open_axes()
    shapes = tuple(dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC) for name in traced.names)
    torch.onnx.export(
        traced.module,
        traced.batches[0],
        str(path),
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=list(traced.names),
        output_names=list(traced.outputs),
        dynamic_shapes=(shapes,),
        external_data=_weight(traced) > INLINE,
    )


_MAKERS = {"TorchScript": _by_tracing, "torch.export": _by_export}


def _weight(traced: Traced) -> int:
    """Return the bytes of the model's tensors."""
    tensors = (*traced.module.parameters(), *traced.module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _gather(traced: Traced, path: Path) -> None:
    """Put the tensors of a model that is too large for one protobuf file into one file beside it."""
    if _weight(traced) <= INLINE:
        return
    import onnx

    model = onnx.load(str(path))
    for old in path.parent.glob("*"):
        old.unlink()
    onnx.save_model(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=_DATA)


def compare(traced: Traced, path: Path) -> tuple[float, str]:
    """Return how far onnxruntime's numbers are from torch's at most, and in which output.

    A difference is taken relative to torch's number where that is above one.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    running = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in running.get_inputs()}
    worst = (0.0, traced.outputs[0])
    for batch, answers in zip(traced.batches, traced.answers, strict=True):
        feed = {name: t.numpy() for name, t in zip(traced.names, batch, strict=True) if name in wanted}
        found = running.run(list(traced.outputs), feed)
        for name, ours, theirs in zip(traced.outputs, found, answers, strict=True):
            worst = max(worst, (_distance(ours, theirs.numpy()), name))
    return worst


def _distance(ours: Any, theirs: Any) -> float:
    import numpy as np

    if ours.shape != theirs.shape:
        return float("inf")
    if not theirs.size:
        return 0.0
    found = np.abs(ours.astype(np.float64) - theirs) / np.maximum(1.0, np.abs(theirs.astype(np.float64)))
    return float("inf") if np.isnan(found).any() else float(found.max())


def write_documents(session: Session, folder: Path) -> None:
    """Write config.json, generation settings, tokenizer and processors beside the graph."""
    import copy

    model = session.model
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(str(folder))
    without_code(folder / "config.json")
    generation = getattr(model, "generation_config", None)
    if generation is not None and session.task == "text-generation":
        generation.save_pretrained(str(folder))
    for kind in ("tokenizer", "image_processor", "feature_extractor", "video_processor", "processor"):
        part = session.loaded.parts.get(kind)
        if part is not None:
            part.save_pretrained(str(folder))


def without_code(path: Path) -> None:
    """Take out of a config.json the names of classes that came with the model: the graph needs none of them."""
    import json

    document = json.loads(path.read_text(encoding="utf-8"))
    if document.pop("auto_map", None) is not None:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
