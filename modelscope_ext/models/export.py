"""Writing a model in another format: exported, checked against the original, and published only when both agree.

A backend says by `Backend.exports` into which formats it writes, and by `Backend.export` how. Around that stands what
is the same for all: requirements are looked at before any weight is read; the copy is made in a folder of its own
beside the target; it is loaded by this package as any other model is, must resolve to the same task, and must answer
the backend's examples as the original did; then the folder is renamed into place. What fails, or is interrupted, leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import (
    BackendNotLoadable,
    MissingRequirement,
    ModelScopeExtError,
    OptionError,
    RequirementConflict,
)
from modelscope_ext.models.base import Model
from modelscope_ext.models.hooks import library_errors
from modelscope_ext.models.outputs import difference
from modelscope_ext.utils.new_folder import publish, staging, target_folder
from modelscope_ext.utils.record import Record
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from modelscope_ext.models.backend import Backend, Exported
    from modelscope_ext.models.resolution import Resolution

__all__ = ["TOLERANCE", "Export", "export", "formats"]

#: Largest difference between two numbers of the original and the copy, relative where they are above one.
TOLERANCE = 1e-4

#: What a copy is made in; a caller who asks for something else has misunderstood.
_FIXED = {"dtype": "float32", "device": "cpu"}


@dataclass(frozen=True)
class Export(Record):
    """A model that was written in another format.

    Attributes:
        path: The folder.
        format: E.g. ``"onnx"``.
        backend: The backend that loads it.
        tasks: The tasks it serves, the default first.
        files: Names and sizes in bytes.
        bytes: Their sizes added up.
        made_by: The exporter.
        difference: The largest difference from the original's numbers, relative where they are above one.
        tolerance: How much was allowed.
        shapes: The shapes of the inputs on which both were compared, one dict per batch.
    """

    path: str
    format: str
    backend: str
    tasks: tuple[str, ...]
    files: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    made_by: str = ""
    difference: float = 0.0
    tolerance: float = TOLERANCE
    shapes: tuple[Mapping[str, tuple[int, ...]], ...] = ()


def formats() -> dict[str, tuple[str, ...]]:
    """Return the formats there are, each with the backends that write it.

    Example:
        >>> "transformers" in formats()["onnx"]
        True
    """
    from modelscope_ext.models.builder import BACKENDS

    found: dict[str, tuple[str, ...]] = {}
    for name, engine in BACKENDS.loadable():
        for to in engine.exports:
            found[to] = (*found.get(to, ()), name)
    return found


def export(
    model: Any,
    output: str | PathLike[str],
    *,
    to: str = "onnx",
    task: str | None = None,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
    **keywords: Any,
) -> Export:
    """Write `model` into the folder `output` in the format `to`, checked against the original.

    Args:
        model: A folder, a hub id, a Snapshot, or a loaded `Model` (in float32 on the CPU).
        output: The folder to make. Its parent has to exist.
        to: A format of `formats()`.
        task: What the copy is for; the model's default task unless given.
        opset: The version of the ONNX operators; the exporter's usual one unless given.
        tolerance: Largest difference between a number of the copy and the original's, relative above one.
        overwrite: Replace `output` where it is an earlier export.
        **keywords: Those of `modelscope_ext.pipeline` that say where the model is and what is permitted.

    Raises:
        OptionError: `output` is there already, or an argument makes no sense.
        MissingRequirement: A package that the export needs is not installed; no weight was read.
        BackendNotLoadable: No backend writes this model in this format, and why.
        ModelScopeExtError: The copy differs from the original; nothing was written.
    """
    target = target_folder(output, overwrite=overwrite, mark=_MARK, what="export")
    _check_numbers(opset, tolerance)
    given = isinstance(model, Model)
    decided = model.resolution if given else _decided(model, task, keywords)
    engine = _engine(model._engine if given else None, decided, to)
    wanted = _task(decided, task)
    reason = engine.cannot_export(wanted, to)
    if reason is not None:
        raise BackendNotLoadable(f"{wanted} is not exportable to {to}, because {reason}. Nothing was loaded.")
    if not given:
        for name, only in _FIXED.items():
            if str(keywords.pop(name, None) or only) not in (only, only.replace("float", "fp")):
                raise OptionError(f"{name}: a copy is made of the model in {only}; leave {name} out")
        model = Model.from_pretrained(model, task=task, **_FIXED, **keywords)
    elif keywords:
        raise OptionError(f"the model is loaded already: {listing(keywords)} would change nothing; leave them out")
    try:
        with library_errors(f"{engine.name} failed to export {wanted} to {to}"), staging(target) as folder:
            exported = engine.export(model._loaded, wanted, to, folder, opset=opset, tolerance=tolerance)
            also = [name for name in exported.tasks[1:] if name in model.tasks]
            exported = replace(exported, tasks=(exported.tasks[0], *also))
            worst = _published_checks(model, exported, folder, tolerance)
            result = _result(target, folder, to, exported, worst, tolerance)
            publish(folder, target)
        return result
    finally:
        if not given:
            model.close()


#: What every export leaves in its folder: which exporter, from what, and how close; the sign of an earlier export.
_MARK = "export.json"


def _check_numbers(opset: Any, tolerance: Any) -> None:
    if opset is not None and (type(opset) is not int or opset < 1):
        raise OptionError(f"opset={printable(opset)}: expected a whole number of at least 1")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
        raise OptionError(f"tolerance={printable(tolerance)}: expected a number from 0 up to 1")


def _engine(own: Backend | None, decided: Resolution | None, to: str) -> Backend:
    """Return the backend that writes the format, after a look at what it needs; nothing is imported.

    Args:
        own: The backend that loaded the model, where one did.
        decided: The decision about the model.
        to: The format.

    Raises:
        OptionError: No such format.
        BackendNotLoadable: The model's backend does not write it.
        MissingRequirement: A package is not there, or too old.
    """
    from modelscope_ext.models.builder import BACKENDS

    known = formats()
    if to not in known:
        raise OptionError(
            f"to={printable(repr(to))} is no format.{did_you_mean(str(to), known)} There are: {listing(known)}"
        )
    name = decided.backend if decided is not None else "none"
    engine = own or (BACKENDS.get(name) if name in BACKENDS else None)
    if engine is None or to not in engine.exports:
        source = printable(str(decided.source)) if decided is not None else "the model"
        already = f" It is {to} already." if decided is not None and decided.framework == to else ""
        raise BackendNotLoadable(
            f"{source}: backend {name!r} does not write {to}.{already} These do: {listing(known[to])}; "
            "choose one with backend= where it can load the model."
        )
    from modelscope_ext.utils.requirement import check_requirements, install_command

    needs = dict.fromkeys((*engine.requires, *engine.exports[to]))
    bad = [check for check in check_requirements(needs) if not check.ok]
    if bad:
        kind = RequirementConflict if any(check.problem == "conflict" for check in bad) else MissingRequirement
        lines, command = "\n".join(f"  {check}" for check in bad), install_command(bad)
        raise kind(f"an export to {to} needs what is not installed:\n{lines}\nInstall it with: {command}")
    return engine


def _decided(model: Any, task: str | None, keywords: Mapping[str, Any]) -> Resolution:
    from modelscope_ext.models.request import Request
    from modelscope_ext.models.resolve import resolve

    request = Request.of({**keywords, "task": task})
    where = ("hub", "revision", "subfolder", "variant", "token", "cache_dir", "local_files_only", "cfg_dict")
    taken = {name: request.values[name] for name in where if name in request.values}
    return resolve(model, **request.resolve_options(), **taken, limits=request.grants.limits)


def _task(decided: Resolution | None, task: str | None) -> str:
    from modelscope_ext.models.tasks import canonical

    wanted = canonical(str(task), strict=True) if task is not None else decided.default_task if decided else None
    if wanted is None:
        raise OptionError("nothing says what the model is for: pass task=, e.g. 'text-classification'")
    return wanted


def _published_checks(model: Model, exported: Exported, folder: Path, tolerance: float) -> float:
    """Load the copy as any model is loaded and hold it against the original; return the largest difference found.

    Raises:
        ModelScopeExtError: It resolves to something else, cannot be loaded, or answers otherwise.
    """
    _declare(folder, exported, model)
    try:
        with Model.from_pretrained(str(folder)) as copy:
            assert copy.resolution is not None
            said = {"backend": copy.backend, "task": copy.default_task, "model_type": copy.model_type}
            meant = {"backend": exported.backend, "task": exported.tasks[0], "model_type": model.model_type}
            wrong = [f"{k} {said[k]!r}, not {meant[k]!r}" for k in said if meant[k] is not None and said[k] != meant[k]]
            if wrong:
                raise ModelScopeExtError(f"the copy resolves to {'; '.join(wrong)}. Nothing was written.")
            return max((_answers_alike(copy, example, tolerance) for example in exported.examples), default=0.0)
    except ModelScopeExtError as error:
        if "Nothing was written" in str(error):
            raise
        raise BackendNotLoadable(
            f"the copy was made, but {exported.backend} cannot run it: {error} Nothing was written."
        ) from error


def _answers_alike(copy: Model, example: Any, tolerance: float) -> float:
    """Return how far the copy's answer to an example is from the original's."""
    from modelscope_ext.models.schemas import normalise

    items, _ = normalise(example.task, [example.item], batch=True)
    [answer] = copy.predict(example.task, items, **example.options)
    expected = example.answer
    if isinstance(answer, Mapping) and isinstance(expected, Mapping):
        answer = {name: answer.get(name) for name in expected}
    problem = difference(expected, answer, tolerance, "the answer")
    if problem is not None:
        raise ModelScopeExtError(
            f"{example.task}: the copy answers otherwise than the original, by more than {tolerance:g}: "
            f"{printable(problem, 300)} (largest difference {_furthest(expected, answer):.3g}). Nothing was written."
        )
    return _furthest(expected, answer)


def _furthest(one: Any, other: Any) -> float:
    """Return the largest difference between two numbers of two answers; infinity where anything else differs."""
    import numpy as np

    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        return max((_furthest(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(_furthest, one, other), default=0.0)
    left, right = np.asarray(one), np.asarray(other)
    if left.shape != right.shape or left.dtype.kind not in "fiu":
        return 0.0 if left.dtype.kind not in "fiu" and one == other else float("inf")
    gap = np.abs(left.astype(np.float64) - right) / np.maximum(1.0, np.abs(left.astype(np.float64)))
    return float(gap.max()) if gap.size else 0.0


def _declare(folder: Path, exported: Exported, model: Model) -> None:
    """Write a complete configuration.json: what the files say of themselves, and the tasks that were asked for."""
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.declare import NAME, complete_configuration, document_text
    from modelscope_ext.models.resolve import resolve

    found = resolve(str(folder), backend=exported.backend, installed=False)
    engine = BACKENDS.get(exported.backend)
    decided = replace(
        found,
        framework=engine.frameworks[0],
        backend=exported.backend,
        tasks=exported.tasks,
        model_type=found.model_type,
        requirement_dependency=tuple(engine.requires),
    )
    (folder / NAME).write_text(document_text(complete_configuration(decided)), encoding="utf-8")


def _result(target: Path, folder: Path, to: str, exported: Exported, worst: float, tolerance: float) -> Export:
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    result = Export(
        path=str(target),
        format=to,
        backend=exported.backend,
        tasks=exported.tasks,
        files=files,
        bytes=sum(files.values()),
        made_by=exported.made_by,
        difference=max(exported.difference, worst),
        tolerance=tolerance,
        shapes=exported.shapes,
    )
    _mark(folder, result)
    return result


def _mark(folder: Path, result: Export) -> None:
    """Leave beside the model how it was made and how close it is; no path of this machine."""
    import json

    said = {k: v for k, v in result.to_dict().items() if k not in ("path", "files", "bytes")}
    (folder / _MARK).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
