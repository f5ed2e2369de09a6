"""Step 5 of 6: from a model string to a loaded `Model`, the one way through.

Locate and snapshot, resolve, gate A on metadata, requirements, the plan's files, gate B on their bytes; only then a
library is imported. A registered class beats the built-in backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import (
    MalformedMetadata,
    ModelNotFound,
    ModelScopeExtError,
    OptionError,
)
from modelscope_ext.models import gate, modelscope_form
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.base import Model
from modelscope_ext.models.checks import (
    Choice,
    check_base,
    check_class,
    check_framework,
    check_loadable,
    check_needs,
    check_options,
)
from modelscope_ext.models.early import map_libraries
from modelscope_ext.models.gate.signature import check_signature, check_signer, consulted
from modelscope_ext.models.gate.unchanged import check_unchanged, marks
from modelscope_ext.models.memory import eased_collector
from modelscope_ext.models.request import Request
from modelscope_ext.models.resolution import Reason, Resolution, Source
from modelscope_ext.utils.imports import away_from
from modelscope_ext.utils.text import listing, printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants
    from modelscope_ext.utils.entry import Entry

__all__ = ["adopt", "files_of", "load", "load_request", "place_of_load", "refuse_load_options"]


def load(model: Any, *, model_class: type[Model] | None = None, **keywords: Any) -> Model:
    """Load `model` and return the resolved class's instance, or `model_class`'s.

    Args:
        model: A folder, a hub id or a Snapshot; None where `lock` names it.
        model_class: The class to make; None chooses the registered one, or `Model`.
        **keywords: The keywords of `modelscope_ext.pipeline`.

    Raises:
        OptionError, ModelNotFound, NotAModel, AmbiguousModel, SafetyError, BackendNotLoadable, MissingRequirement,
        RequirementConflict, WeightsMismatch: In the order in which the steps come.
    """
    if keywords.get("lock") is not None:
        from modelscope_ext.models.lock import apply_lock

        model, keywords = apply_lock(model, keywords)
    return load_request(model, Request.of(keywords), model_class=model_class)


def load_request(model: Any, request: Request, *, model_class: type[Model] | None = None) -> Model:
    """Load `model` as a request asks whose keywords were checked already; else as `load`."""
    from modelscope_ext.hub.locate import open_snapshot

    grants = request.grants
    where: dict[str, Any] = {name: request.values[name] for name in _LOCATION if name in request.values}
    snapshot = open_snapshot(model, limits=grants.limits, **where)
    seen = marks(snapshot.folder, snapshot.names) if snapshot.folder is not None else {}
    evidence, resolution, choice = _decided(snapshot, request, model_class)
    gate_a = partial(
        gate.gate_a, resolution, evidence, grants=grants, engine=choice.engine, base_model=request.get("base_model")
    )
    gate_a(snapshot)
    _check(request, snapshot, evidence, resolution, choice)
    map_libraries(resolution.framework)
    files = files_of(resolution, snapshot, choice.engine)
    if (lock := request.get("lock")) is not None:
        lock.check_decision(resolution, snapshot.source.commit)
        lock.check_files(snapshot, files)
    gate.check_floors(resolution, files, choice.engine)
    decided = () if grants.verify is None else consulted(evidence, snapshot)
    if snapshot.remote is not None:
        snapshot = _fetched(snapshot, files, resolution, request, (*decided, *_signature(snapshot, grants)))
        files = tuple(name for name in files if name in snapshot)
        gate_a(snapshot)  # what would run could not be hashed before its bytes were here
        seen = marks(_folder(snapshot), snapshot.names)
    folder = _folder(snapshot)
    if grants.verify is not None:
        code = choice.own or (grants.may_run_code and gate.code_of(resolution, evidence, snapshot, grants)[0])
        check_signature(folder, None if code else (*files, *decided), grants.verify, snapshot)
    gate.gate_b(resolution, snapshot, files, grants)
    options = {**request.load_options(), **request.extra, "task": request.get("task") or resolution.default_task}
    with _placed(where, snapshot), eased_collector(), away_from(None if choice.own else folder):
        made = _built(choice, folder, resolution, evidence, {**options, "grants": grants})
    try:
        check_unchanged(folder, seen, (*files, *decided), source=str(snapshot.source))
    except ModelScopeExtError:
        made.close()
        raise
    return made


def _decided(
    snapshot: Snapshot, request: Request, model_class: type[Model] | None
) -> tuple[Evidence, Resolution, Choice]:
    """Return what the files say, the decision, and who loads."""
    from modelscope_ext.metadata.evidence import collect
    from modelscope_ext.models.resolve import Asked, decide

    grants = request.grants
    evidence = collect(snapshot, cfg_dict=request.get("cfg_dict"), limits=grants.limits)
    gate.check_task(request.get("task"), evidence, snapshot, grants)
    gate.check_custom_pipeline(request.extra.get("custom_pipeline"), snapshot, grants)
    asked = {**_of_class(model_class), **request.resolve_options()}
    named = Asked(asked.get("task"), asked.get("backend"), asked.get("framework"), evidence)
    resolution = decide(evidence, named, variant=request.get("variant"))
    choice = _choose(resolution, evidence, model_class)
    return evidence, _completed(resolution, choice, request.get("task")), choice


def _check(request: Request, snapshot: Snapshot, evidence: Evidence, resolution: Resolution, choice: Choice) -> None:
    """Raise for whatever stands against the load and can be known without reading weights or importing anything."""
    check_framework(resolution, evidence, request.get("framework"))
    check_loadable(resolution, choice)
    check_needs(resolution)
    check_signer(request.grants, str(snapshot.source))
    check_options(request, choice)
    check_base(request, snapshot, evidence, choice)


@contextmanager
def _placed(where: Mapping[str, Any], snapshot: Snapshot) -> Iterator[None]:
    """Let `place_of_load` say where the model of this load comes from."""
    place = {name: where[name] for name in ("token", "cache_dir", "local_files_only") if name in where}
    hub = where.get("hub", snapshot.source.hub if snapshot.source.repo else None)
    token = _PLACE.set({**place, "hub": hub})
    try:
        yield
    finally:
        _PLACE.reset(token)


def adopt(native: Any, *, task: str | None = None, preprocessor: Any = None) -> Model:
    """Return a `Model` around an object the caller made with a library, asking each backend whether it is its own.

    Raises:
        OptionError: No backend knows the object, or nothing says what it is for.
    """
    from modelscope_ext.models.builder import BACKENDS
    from modelscope_ext.models.tasks import canonical

    wanted = None if task is None else canonical(str(task), strict=True)
    for _, engine in BACKENDS.loadable():
        loaded = engine.adopt(native, task=wanted, preprocessor=preprocessor)
        if loaded is None:
            continue
        own = tuple(loaded.parts.get("tasks", ())) if isinstance(loaded, Loaded) else ()
        tasks = (wanted,) if wanted else own
        if not tasks:
            raise OptionError(f"{type(native).__name__} does not say what it is for: pass task=, e.g. 'fill-mask'")
        return _adopted(native, loaded, engine, tasks)
    kind = f"{type(native).__module__}.{type(native).__name__}"
    raise OptionError(
        f"model: {printable(kind)} belongs to no backend. Expected a folder, a hub id, a Snapshot, a Model, or an"
        f" object of {listing(BACKENDS.names())}"
    )


def _adopted(native: Any, loaded: Any, engine: Backend, tasks: tuple[str, ...]) -> Model:
    kind = type(native).__name__
    reason = Reason("(argument)", "model", kind, f"an object of {engine.name}")
    source = Source("object", path=kind)
    made = Model()
    decided = Resolution(source, engine.frameworks[0], engine.name, tasks, because={"backend": (reason,)})
    made._attach(loaded, decided, engine=engine)
    return made


def refuse_load_options(keywords: Mapping[str, Any]) -> None:
    """Raise OptionError for what would change a load, where nothing is loaded any more."""
    unused = [k for k, v in keywords.items() if k != "task" and v not in (None, False, (), "weights_only")]
    if unused:
        raise OptionError(f"the model is loaded already: {listing(unused)} would change nothing; leave them out")


#: Keywords that say where the model is.
_LOCATION = ("hub", "revision", "subfolder", "token", "cache_dir", "local_files_only")
#: Those of the load that is going on: an adapter's base is looked for where the adapter was.
_PLACE: ContextVar[Mapping[str, Any]] = ContextVar("place", default={})  # noqa: B039 - never written to


def place_of_load() -> dict[str, Any]:
    """Return `token`, `cache_dir` and `local_files_only` of the load that is going on, and the hub it came from."""
    return dict(_PLACE.get())


def _of_class(model_class: type[Any] | None) -> dict[str, Any]:
    """Return what the caller asks for by the class he calls: its backend and framework, where it has one."""
    if model_class is None:
        return {}
    from modelscope_ext.models.metadata import ModelMetadata

    said = ModelMetadata.of(model_class)
    return {name: value for name in ("backend", "framework") if isinstance(value := getattr(said, name), str) and value}


def _choose(resolution: Resolution, evidence: Evidence, model_class: type[Any] | None) -> Choice:
    """Choose the class: the caller's, the registered one with most conditions, the one `model.type` names, or Model."""
    engine = _engine(resolution)
    if model_class is not None:
        check_class(model_class, resolution)
        return Choice(model_class, engine)
    entry = _registered(resolution, evidence)
    return Choice(entry.load() if entry else Model, engine, entry)


def _registered(resolution: Resolution, evidence: Evidence) -> Entry | None:
    from modelscope_ext.models.builder import MODELS

    named = (fact.value for fact in evidence.declared.get("native_type", ()) if isinstance(fact.value, str))
    return MODELS.select(
        name=next(named, None),
        task=resolution.default_task,
        backend=resolution.backend,
        framework=resolution.framework,
        model_type=resolution.model_type,
    )


def _engine(resolution: Resolution) -> Backend | None:
    from modelscope_ext.models.builder import BACKENDS

    return BACKENDS.get(resolution.backend) if resolution.backend in BACKENDS else None


def _completed(resolution: Resolution, choice: Choice, task: str | None) -> Resolution:
    """Return the decision with what the class adds: a reason, its requirements, tasks where the files name none."""
    if choice.kind is Model:
        return resolution
    from modelscope_ext.models.metadata import ModelMetadata

    said = ModelMetadata.of(choice.kind)
    name = f"{choice.kind.__module__}:{choice.kind.__qualname__}"
    how = f"registered ({choice.entry})" if choice.entry else "named by the caller"
    reason = Reason("(registry)" if choice.entry else "(argument)", "class", name, f"loaded by a class {how}")
    tasks = said.tasks if said.tasks and task is None and _only_inferred(resolution) else resolution.tasks
    handed_over = choice.engine.requires if choice.engine is not None and not choice.own else ()
    needs = (*resolution.requirement_dependency, *handed_over, *said.requirement_dependency)
    return replace(
        resolution,
        tasks=tuple(dict.fromkeys((*tasks, *resolution.tasks))),
        requirement_dependency=tuple(dict.fromkeys(needs)),
        because={**resolution.because, "class": (reason,)},
    )


def _only_inferred(resolution: Resolution) -> bool:
    """Whether the repo itself says nothing of its task: then the class's word counts for more than a guess."""
    said = resolution.because.get("tasks", ())
    return not said or said[0].file not in ("(argument)", "configuration.json", "README.md")


def _folder(snapshot: Snapshot) -> Path:
    if snapshot.folder is None:
        raise ModelNotFound(
            f"{printable(str(snapshot.source))} was made from texts and has no folder to load from; pass the folder"
        )
    return Path(snapshot.folder).resolve()


def files_of(resolution: Resolution, snapshot: Snapshot, engine: Backend | None) -> tuple[str, ...]:
    """Return exactly the files that a load by `engine` may read.

    Raises:
        ModelNotFound: Some of them are missing.
    """
    from modelscope_ext.models.plan import default_files, shards_of

    if engine is not None:
        files = engine.files(resolution, snapshot)
    else:
        files = default_files(resolution, snapshot)
    lost = [name for name in (*files, *shards_of(snapshot, files)) if name not in snapshot]
    if lost:
        raise ModelNotFound(
            f"{printable(str(snapshot.source))} lacks {listing(map(printable, lost))}: the copy is incomplete; fetch"
            " the missing files"
        )
    return tuple(files)


def _signature(snapshot: Snapshot, grants: Grants) -> tuple[str, ...]:
    """Return the file of the signature that is wanted, where the model has it."""
    return (grants.verify.signature,) if grants.verify is not None and grants.verify.signature in snapshot else ()


def _fetched(
    snapshot: Snapshot, files: tuple[str, ...], resolution: Resolution, request: Request, also: tuple[str, ...] = ()
) -> Snapshot:
    """Fetch exactly the plan's files and `also`, once it is known that there is room for them."""
    from modelscope_ext.hub.fetch import fetched
    from modelscope_ext.metadata.weights import classify
    from modelscope_ext.models.fetching import matching
    from modelscope_ext.models.plan import plan_of
    from modelscope_ext.models.room import check_memory

    if (ignored := request.get("ignore_file_pattern")) is not None:
        patterns = (ignored,) if isinstance(ignored, str) else tuple(ignored)
        files = tuple(name for name in files if not matching((name,), patterns))
    planned = plan_of(resolution, snapshot, files)
    if planned.to_fetch_bytes:
        where: dict[str, Any] = {name: request.get(name) for name in ("dtype", "device", "device_map")}
        variants = (weight.variant for weight in classify(snapshot.sizes) if weight.variant)
        check_memory(planned, resolution, **where, variants=tuple(dict.fromkeys(variants)))
    return fetched(snapshot, (*files, *also))


def _built(choice: Choice, folder: Path, resolution: Resolution, evidence: Evidence, options: dict[str, Any]) -> Model:
    """Make the model: by its class in ModelScope's form, or by `load` and an instance that holds what it returned."""
    configuration = _configuration(evidence, options.get("cfg_dict"))
    engine = choice.engine
    if modelscope_form.is_form(choice.kind):
        made = modelscope_form.build(choice.kind, folder, resolution, configuration, options)
        loaded, engine = made._loaded, None
    else:
        loaded = _load(choice, folder, resolution, options)
        made = loaded if isinstance(loaded, Model) else choice.kind()
        loaded = made._loaded if loaded is made else loaded
        if loaded is None:
            raise ModelScopeExtError(
                f"{choice.kind.__name__}.load() returned None; expected the library's own object, a Loaded, or an"
                " instance of the class"
            )
    made._attach(loaded, resolution, engine=engine, configuration=configuration, folder=folder)
    return made


def _load(choice: Choice, folder: Path, resolution: Resolution, options: dict[str, Any]) -> Any:
    """Call the class's `load`. What a library raises over a damaged file is told with the model's name."""
    names, takes_any = modelscope_form.options_of(choice.kind)
    taken = options if takes_any else {k: v for k, v in options.items() if k in names}
    if choice.own:
        return choice.kind.load(folder, resolution, **taken)
    try:
        return choice.kind.load(folder, resolution, **taken)
    except (ModelScopeExtError, MemoryError, AssertionError, NotImplementedError):
        raise
    except BaseException as error:
        said = printable(str(error), 400)
        if type(error).__name__ == "PanicException":  # Rust's, of tokenizers and safetensors; no Exception
            source = str(resolution.source)
            raise MalformedMetadata(
                f"{resolution.backend} could not read a damaged file of {printable(source)}: {said}", source=source
            ) from error
        if not isinstance(error, Exception):
            raise
        raise ModelScopeExtError(
            f"{resolution.backend} could not load {printable(str(resolution.source))}: {type(error).__name__}: {said}"
        ) from error


def _configuration(evidence: Evidence, cfg_dict: Any) -> Mapping[str, Any]:
    if cfg_dict is not None:
        return dict(cfg_dict)
    document = evidence.documents.get("configuration.json", {})
    return document if isinstance(document, Mapping) else {}
