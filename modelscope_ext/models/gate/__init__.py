"""Step 5 of 6: the two gates between a decision and a load.

Gate A judges what the metadata asks for (`metadata`, `types`, `requests`, `code`), gate B the bytes
of exactly the files that will be read (`contents`). Passing one never opens the other: code that is trusted may still
come with a pickle that is not. Every refusal says that nothing was executed, where it was found, and the argument that
would permit it, if one would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import (
    ModelNotFound,
    RedirectRefused,
    RemoteCodeRefused,
    SafetyError,
    UnsafeBackendError,
)
from modelscope_ext.models.gate.case import Case
from modelscope_ext.models.gate.code import CodeRequest, code_digest, code_files, module_file, refuse_code
from modelscope_ext.models.gate.contents import check_file, is_pickle
from modelscope_ext.models.gate.metadata import RULES
from modelscope_ext.models.gate.requests import code_requests
from modelscope_ext.models.gate.shapes import check_shapes
from modelscope_ext.models.gate.tables import CODE_RUNNERS, FLOORS
from modelscope_ext.utils.logger import logger
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.models.backend import Backend
    from modelscope_ext.models.resolution import Resolution
    from modelscope_ext.safety.grants import Grants

__all__ = [
    "check_custom_pipeline",
    "check_floors",
    "check_task",
    "code_of",
    "gate_a",
    "gate_b",
    "refusals",
    "unsafe_libraries",
]


def gate_a(
    resolution: Resolution,
    evidence: Evidence,
    snapshot: Snapshot,
    grants: Grants,
    *,
    engine: Backend | None = None,
    base_model: Any = None,
) -> None:
    """Judge the metadata; return only if nothing in it asks for what the caller did not permit.

    Args:
        resolution: The decision.
        evidence: The facts it rests on.
        snapshot: The source.
        grants: What the caller permits.
        engine: The backend that will load, if one will.
        base_model: The adapter's base as the caller named it; naming it permits it.

    Raises:
        InstallRefused, MalformedMetadata, UnknownTypeError, RemoteCodeRefused, RedirectRefused, PathEscapeRefused,
        ExecutableFormatRefused: In this order.
    """
    for error in refusals(resolution, evidence, snapshot, grants, engine=engine, base_model=base_model):
        raise error


def refusals(
    resolution: Resolution,
    evidence: Evidence,
    snapshot: Snapshot,
    grants: Grants,
    *,
    engine: Backend | None = None,
    base_model: Any = None,
) -> Iterator[SafetyError]:
    """Yield everything for which gate A would refuse a load, without raising; the first is what `gate_a` raises."""
    runs_code = engine.runs_code if engine is not None else resolution.backend in CODE_RUNNERS
    base = engine.base(evidence) if engine is not None else None
    case = Case(resolution, evidence, snapshot, grants, runs_code, base_model, base)
    before, after = RULES
    for rule in before:
        yield from rule(case)
    requests = code_requests(case)
    if requests:
        try:
            refuse_code(requests, snapshot, grants)
        except RemoteCodeRefused as error:
            yield error
    for rule in after:
        yield from rule(case)


def code_of(
    resolution: Resolution, evidence: Evidence, snapshot: Snapshot, grants: Grants
) -> tuple[tuple[str, ...], str]:
    """Return the Python files that a trusted load would run, and the digest that `code_sha256` is compared with.

    Both are empty where the model asks for no code.
    """
    requests = code_requests(Case(resolution, evidence, snapshot, grants))
    files = code_files(snapshot, [request.module for request in requests if request.module])
    return files, code_digest(snapshot, files) or ""


def check_task(task: Any, evidence: Evidence, snapshot: Snapshot, grants: Grants) -> None:
    """Refuse a task that only the folder's own pipeline code would serve (A05), before anyone asks what it means.

    Raises:
        RemoteCodeRefused: config.json's ``custom_pipelines`` has an entry of that name.
    """
    custom = evidence.get("config.json", "custom_pipelines", default={})
    if not isinstance(task, str) or not isinstance(custom, dict) or task not in custom:
        return
    entry = custom[task]
    reference = str(entry.get("impl", "")) if isinstance(entry, dict) else str(entry)
    module = module_file(reference.rpartition("--")[2], evidence.name_set)
    refuse_code([CodeRequest("config.json", f"custom_pipelines.{task}", reference, module)], snapshot, grants)


def check_custom_pipeline(name: Any, snapshot: Snapshot, grants: Grants) -> None:
    """Refuse diffusers' `custom_pipeline`, which fetches and runs code that is none of this model's (D06).

    Raises:
        RemoteCodeRefused: Code is not permitted.
        RedirectRefused: It is, but of this source alone.
    """
    if name is None:
        return
    kind = RedirectRefused if grants.may_run_code else RemoteCodeRefused
    raise kind(
        f"custom_pipeline={printable(str(name))!r} names code of another source (nothing was contacted or executed). A"
        " folder's own pipeline.py is found by model_index.json, and runs with trust_remote_code=True.",
        source=str(snapshot.source), field="custom_pipeline",
    )  # fmt: skip


def gate_b(resolution: Resolution, snapshot: Snapshot, files: Iterable[str], grants: Grants) -> None:
    """Check the bytes of exactly the files that will be read; every other file of the folder stays unopened.

    Raises:
        PathEscapeRefused, MalformedMetadata, LimitExceeded, PickleRefused, ExecutableFormatRefused: Of the first file
            that fails.
        ModelNotFound: The source has no folder.
    """
    if snapshot.folder is None:
        raise ModelNotFound(f"{printable(str(snapshot.source))} has no folder to read from")
    folder, source = Path(snapshot.folder), str(snapshot.source)
    files = tuple(files)
    declared = dict.fromkeys(resolution.weights.files, resolution.weights.format)
    if resolution.weights.format == "safetensors":  # a pipeline's other components may still be pickles
        declared = {name: form for name, form in declared.items() if not name.endswith(".bin")}
    if resolution.framework == "mindspore":  # whatever the first bytes of a .ckpt are (B21)
        declared |= {name: "mindspore" for name in files if name.endswith(".ckpt")}
    tensors: int | None = None
    for name in files:
        try:
            header = check_file(folder, name, snapshot.sizes, grants, source, declared.get(name))
        except SafetyError as error:
            error.source = error.source or source
            raise
        if header is not None:
            tensors = (tensors or 0) + len(header.tensors)
    if resolution.backend in CODE_RUNNERS and resolution.weights.files:
        configs = {name: snapshot.document(name) for name in files if name.rpartition("/")[2] == "config.json"}
        weights = {*resolution.weights.files, *(name for name in files if name.endswith((".safetensors", ".bin")))}
        check_shapes(configs, sum(snapshot.sizes[name] for name in weights), tensors, source=source)


def check_floors(resolution: Resolution, files: Iterable[str], engine: Backend | None) -> None:
    """Refuse a library with a known hole that this load would meet; nothing is imported to find out.

    Raises:
        UnsafeBackendError: An installed release is older than the one that closed the hole.
    """
    pickles = is_pickle(resolution.weights.format) or any(name.endswith((".bin", ".pt", ".pth")) for name in files)
    wanted = " ".join(resolution.requirement_dependency) + f" {resolution.backend}"
    for name, (floor, patched, only_pickles, why) in FLOORS.items():
        if (only_pickles and not pickles) or not (only_pickles or name in wanted):
            continue
        _check_floor(name, floor, patched, why, str(resolution.source))


def unsafe_libraries() -> Iterator[tuple[str, str]]:
    """Yield each installed library with a known hole, and one sentence about it; nothing is imported to find out."""
    for name, (floor, patched, only_pickles, why) in FLOORS.items():
        version = _below(name, floor)
        if version is not None and not _patched(version, patched):
            where = " This concerns pickles alone." if only_pickles else ""
            yield name, f'{name} {version} is installed; before {floor} {why}.{where} pip install "{name}>={floor}"'


def _check_floor(name: str, floor: str, patched: str | None, why: str, source: str) -> None:
    version = _below(name, floor)
    if version is None:
        return
    if _patched(version, patched):
        logger.warning("%s %s is a patched line, not the current one: prefer %s", name, version, floor)
        return
    raise UnsafeBackendError(
        f"{name} {version} is installed; before {floor} {why}. Refused to load {printable(source)} with it."
        f' Install a newer one: pip install "{name}>={floor}"',
        source=source,
    )


def _below(name: str, floor: str) -> str | None:
    """Return the installed release where it is older than `floor`."""
    from modelscope_ext.utils.distributions import installed

    found = installed(name)
    return found.version if found is not None and _release(found.version) < _release(floor) else None


def _patched(version: str, line: str | None) -> bool:
    return line is not None and _release(version)[: len(_release(line))] == _release(line)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers before any suffix: ``"2.13.0+cpu"`` -> (2, 13, 0)."""
    numbers = []
    for part in version.partition("+")[0].split("."):
        digits = part[: next((i for i, c in enumerate(part) if not c.isdigit()), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
