"""Step 4 of 6: from evidence to one decision, with its reasons.

The order is the one of docs/decisions.md: the caller, what is declared, a library's own format, the card, what can
merely be read. What is installed breaks ties between libraries that load the same folder, and nothing else.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelscope_ext.errors import AmbiguousModel, OptionError, RegistryError
from modelscope_ext.hub.locate import open_snapshot
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.backends import BUILTINS
from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.decision.asked import Asked
from modelscope_ext.models.decision.claims import TWINS, all_claims, twins
from modelscope_ext.models.decision.framework_choice import choose_framework, declared_framework
from modelscope_ext.models.decision.needs import missing, requirements
from modelscope_ext.models.decision.not_a_model import refuse
from modelscope_ext.models.decision.recognised import claim, find, precedence
from modelscope_ext.models.decision.signs import shows
from modelscope_ext.models.decision.task_choice import TaskChoice, choose_tasks
from modelscope_ext.models.decision.ties import break_tie
from modelscope_ext.models.decision.weight_choice import choice_finding, choose_weights
from modelscope_ext.models.resolution import Finding, Match, Reason, Rejected, Resolution, Strength
from modelscope_ext.safety.limits import Limits
from modelscope_ext.utils.distributions import Distribution, distributions
from modelscope_ext.utils.record import replace
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.utils.entry import Entry

__all__ = ["Asked", "cache_clear", "decide", "resolve"]

#: Call -> the folder's fingerprint and what was installed, when it was decided; and the decision.
_REMEMBERED: OrderedDict[Any, tuple[Any, object, Resolution]] = OrderedDict()
_MOST_REMEMBERED = 256


def resolve(
    model: str | Path | Snapshot,
    *,
    task: str | None = None,
    backend: str | None = None,
    framework: str | None = None,
    cfg_dict: Any = None,
    installed: bool = True,
    hub: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
    limits: Limits | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Resolution:
    """Decide framework, backend and task of a model from its metadata; nothing is imported and no weight is read.

    Args:
        model: A folder, or a Snapshot.
        task: The task it is to run; wins over what the files say.
        backend: The library that is to load it.
        framework: The framework it is to run in.
        cfg_dict: Stands in for configuration.json.
        installed: Let what is installed, and ``MODELSCOPE_EXT_FRAMEWORK``, break ties; also fills `missing`.
        hub: Where to look; see `hub.locate`.
        revision: Branch, tag or commit.
        subfolder: The folder inside the model that holds it.
        variant: E.g. ``"fp16"``: which copy of the weights.
        limits: What is too large to be read.
        token: For hubs.
        cache_dir: For hubs.
        local_files_only: For hubs.

    Returns:
        The decision. A library that is recognised but cannot be loaded here, and requirements that are missing, are
        fields of it, not errors.

    Raises:
        ModelNotFound: There is no such folder.
        NotAModel: There is, but nothing in it can be taken for a model; the message says what it is.
        AmbiguousModel: Several models; the message names them and the argument that settles it.
        OptionError: An argument whose value nobody knows.
        SafetyError: Metadata that is malformed, too large, or leads out of the folder.

    Example:
        >>> config = '{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}'
        >>> info = resolve(Snapshot.from_mapping({"config.json": config}), installed=False)
        >>> info.backend, info.framework, info.default_task
        ('transformers', 'pytorch', 'text-generation')
    """
    if not isinstance(variant, str | None):
        raise OptionError(f"variant={printable(repr(variant))}: expected a str such as 'fp16'")
    limits = limits if limits is None or type(limits) is Limits else Limits.of(limits)
    key = _key(model, (task, backend, framework, installed, hub, revision, subfolder, variant, limits), cfg_dict)
    here = distributions() if installed else None
    if key and (known := _REMEMBERED.get(key)) and known[1] is here and known[0] == Snapshot.fingerprint(key[0]):
        return known[2]
    snapshot = open_snapshot(
        model, hub=hub, revision=revision, subfolder=subfolder, limits=limits, token=token, cache_dir=cache_dir,
        local_files_only=local_files_only,
    )  # fmt: skip
    evidence = collect(snapshot, cfg_dict=cfg_dict, limits=limits)
    asked = Asked(task, backend, framework, evidence)
    resolution = decide(evidence, asked, installed=here or installed, variant=variant)
    if shows(evidence):
        from modelscope_ext.models.gate.findings import foreseen

        findings = (*resolution.findings, *foreseen(resolution, evidence, snapshot))
        resolution = replace(resolution, findings=findings)
    if key and snapshot.mark is not None:
        _REMEMBERED[key] = (snapshot.mark, here, resolution)
        while len(_REMEMBERED) > _MOST_REMEMBERED:
            _REMEMBERED.popitem(last=False)
    return resolution


def cache_clear() -> None:
    """Forget the decisions about unchanged folders; made for tests and measurements."""
    _REMEMBERED.clear()


def decide(
    evidence: Evidence,
    asked: Asked,
    *,
    installed: bool | Mapping[str, Distribution] = True,
    variant: str | None = None,
) -> Resolution:
    """Choose one claim and fill every field from it. Pure, except for what ``installed=True`` looks up.

    Args:
        evidence: What the files say.
        asked: The caller's arguments.
        installed: As in `resolve`; or what is installed, as `distributions` gives it.
        variant: Which copy of the weights.
    """
    plugged_in, broken = _plugged_in(evidence)
    claims = all_claims(evidence, plugged_in)
    if not claims and asked.backend is None:
        refuse(evidence)
    pool = sorted([*claims, *twins(claims)], key=_rank)
    match, findings = _choose(evidence, pool, asked)
    here = distributions() if installed is True else installed or None
    if here is not None and asked.backend is None and asked.framework is None and match.strength < Strength.DECLARED:
        match = break_tie(match, pool, here)
    framework, framework_reasons, remarks = choose_framework(evidence, match, asked)
    findings += [*remarks, *broken]
    entry, choice = _class_and_tasks(evidence, match, framework, asked)
    because = _reasons(match, framework_reasons, choice.because, entry)
    weights = choose_weights(evidence, match, framework, variant)
    chosen = choice_finding(evidence, weights)
    findings += [*([chosen] if chosen else []), *_elsewhere(evidence, match)]
    needs = requirements(evidence, match, weights.quantization, entry)
    return Resolution(
        source=evidence.source,
        framework=framework,
        backend=match.backend,
        tasks=tuple(choice.tasks),
        model_type=match.model_type or _fact(evidence, "model_type"),
        requirement_dependency=needs,
        missing=missing(needs, here) if here is not None else (),
        loadable=match.loadable or entry is not None,
        weights=weights,
        because=because,
        alternatives=_alternatives(match, pool),
        findings=(*evidence.findings, *findings, *choice.findings),
        installed=here is not None,
    )


def _class_and_tasks(
    evidence: Evidence, match: Match, framework: str | None, asked: Asked
) -> tuple[Entry | None, TaskChoice]:
    """Return the registered class that is to load the model, if any, and the tasks; each may decide the other."""
    if not MODELS.entries:
        return None, choose_tasks(evidence, match, caller=asked.task)
    known = {"backend": match.backend, "framework": framework, "model_type": match.model_type}
    native = _fact(evidence, "native_type")
    entry = _select(name=native, task=asked.task, **known)
    choice = choose_tasks(evidence, match, caller=asked.task, registered=tuple(entry.task or ()) if entry else ())
    task = next(iter(choice.tasks), None)
    if task is not None:
        entry = _select(name=native, task=task, **known) or entry
    if entry is None and not match.loadable and choice.by_default:  # nobody else can load it: the class says for what
        entry = next((_select(task=task, **known) for task in _tasks_for(match)), None)
        choice = choose_tasks(evidence, match, caller=asked.task, registered=tuple(entry.task or ()) if entry else ())
    return entry, choice


def _select(**known: str | None) -> Entry | None:
    """Return the registered class for what is known; two that fit equally well are for the caller to settle."""
    try:
        return MODELS.select(**known)
    except RegistryError as error:
        raise AmbiguousModel(str(error)) from error


def _tasks_for(match: Match) -> Iterator[str]:
    """Yield the tasks of the classes that are registered for just this backend."""
    for entry in MODELS.entries:
        if match.backend in (entry.backend or ()):
            yield from entry.task or ()


def _rank(match: Match) -> tuple[int, int]:
    """The policy: the stronger claim first, then the order of the table."""
    return (-match.strength, precedence(match.backend))


def _choose(evidence: Evidence, pool: list[Match], asked: Asked) -> tuple[Match, list[Finding]]:
    """Return the claim that the caller's arguments leave on top, and what contradicts it."""
    if asked.backend is not None:
        return _asked_backend(evidence, pool, asked.backend)
    if asked.framework is not None:
        reason = Reason("(argument)", "framework", asked.framework, "the caller asks for it")
        fitting = [m for m in pool if m.framework == asked.framework]
        if fitting:
            return replace(fitting[0], because=(reason, *fitting[0].because)), []
        text = f"framework={asked.framework!r} was asked for; nothing in the folder is for it"
        return pool[0], [Finding("framework-not-there", "warning", None, "framework", text)]
    declared = declared_framework(evidence)
    if declared == "mindspore" and pool[0].framework != declared and pool[0].strength < Strength.DECLARED:
        twin = next((m for m in pool if m.framework == declared), None)
        if twin is not None:
            return twin, []
    return pool[0], [*_contradictions(pool)]


def _asked_backend(evidence: Evidence, pool: list[Match], name: str) -> tuple[Match, list[Finding]]:
    reason = Reason("(argument)", "backend", name, "the caller asks for it")
    match = next((m for m in pool if m.backend == name), None)
    if match is None and name == "onnxruntime":  # it runs the graphs that were made for Transformers.js
        match = next((replace(m, backend=name) for m in pool if m.backend == "transformers.js"), None)
    if match is not None:
        loadable = _loads(name) and (match.loadable or name not in BUILTINS)
        return replace(match, strength=Strength.CALLER, because=(reason, *match.because), loadable=loadable), []
    row = find(name)
    tasks = pool[0].tasks if pool else ()
    asked = Match(name, Strength.CALLER, (reason,), tasks=tasks, loadable=_loads(name))
    if row is not None:
        asked = replace(claim(row, evidence, Strength.CALLER, (reason,)), loadable=_loads(name))
        asked = replace(asked, tasks=asked.tasks or tasks)
    instead = f"; they speak for {pool[0].backend}" if pool else ""
    text = f"backend={name!r} was asked for; nothing in the files speaks for it{instead}"
    return asked, [Finding("backend-not-there", "warning", None, "backend", text)]


def _contradictions(pool: list[Match]) -> list[Finding]:
    """A card or another format that names a different library than the one chosen."""
    chosen, found = pool[0], []
    for other in pool[1:]:
        twin = chosen.backend in TWINS.get(other.backend, {})  # it loads that format too
        if other.strength >= Strength.TAGGED and other.because and not twin:
            code = "backend-contradiction" if other.strength > Strength.TAGGED else "backend-tag-contradiction"
            fact = other.because[0]
            text = f"{printable(fact.value)} speaks for {other.backend}; {chosen.backend} was chosen: "
            text += chosen.because[0].text
            found.append(Finding(code, "info", fact.file, fact.key, text))
    return found


def _elsewhere(evidence: Evidence, match: Match) -> Iterator[Finding]:
    """Another source that configuration.json names as where the model was made from; only ModelScope would open it."""
    for fact in evidence.declared.get("pretrained", ()):
        if isinstance(fact.value, str) and match.backend != "modelscope":
            text = (
                f"{printable(fact.value)} is another source; {match.backend} does not need it, and it is never opened"
            )
            yield Finding("other-source", "info", fact.file, fact.key, text)


def _reasons(
    match: Match, framework: list[Reason], tasks: list[Reason], entry: Entry | None
) -> Mapping[str, tuple[Reason, ...]]:
    backend = list(match.because)
    if entry is not None:
        backend.insert(0, Reason("(registry)", entry.name, str(entry.origin), f"{entry.name} is registered for it"))
    because = {"backend": _once(backend), "framework": _once(framework), "tasks": _once(tasks)}
    if match.model_type:
        because["model_type"] = (Reason("config.json", "model_type", match.model_type, "as it stands there"),)
    return because


def _once(reasons: list[Reason]) -> tuple[Reason, ...]:
    """Return each reason once; their values may be lists, which have no hash."""
    return tuple({(r.file, r.key, r.text): r for r in reasons}.values())


def _alternatives(chosen: Match, pool: list[Match]) -> tuple[Rejected, ...]:
    found = []
    for match in pool:
        if match.backend == chosen.backend:
            continue
        why = match.because[0] if match.because else None
        fact = f": {why.file} {why.key} ({why.text})" if why else ""
        rank = "as strong, lower in the table" if match.strength == chosen.strength else match.strength.name.lower()
        found.append(Rejected(match.backend, f"{rank}{fact}"))
    return tuple(found)


def _plugged_in(evidence: Evidence) -> tuple[list[Match], list[Finding]]:
    """Return the claims of backends from other packages; one that is broken is a finding and breaks nobody else."""
    claims, broken = [], []
    for name in BACKENDS.names():
        if name in BUILTINS:
            continue
        try:
            match = BACKENDS.get(name).probe(evidence)
        except Exception as error:  # noqa: BLE001 - a stranger's code, asked about every model
            text = f"the backend {name!r} of another package was not asked: {printable(str(error), 300)}"
            from modelscope_ext.utils.logger import logger

            logger.warning("%s", text)
            broken.append(Finding("backend-broken", "warning", None, None, text))
            continue
        if match is not None:
            claims.append(match)
    return claims, broken


def _loads(name: str) -> bool:
    return name in BUILTINS or name in BACKENDS


def _fact(evidence: Evidence, name: str) -> str | None:
    return next((f.value for f in evidence.declared.get(name, ()) if isinstance(f.value, str)), None)


def _key(model: Any, arguments: tuple[Any, ...], cfg_dict: Any) -> tuple[Any, ...] | None:
    """Return what tells one call from another, or None for a call that is not remembered."""
    if cfg_dict is not None or not isinstance(model, str | os.PathLike) or arguments[6] is not None:
        return None
    environment = os.environ.get("MODELSCOPE_EXT_FRAMEWORK") if arguments[3] else None
    path = os.fspath(model)
    here = None if os.path.isabs(path) else os.getcwd()  # noqa: PTH109, PTH117 - on the path of every resolve()
    return (path, here, environment, arguments, MODELS.entries, BACKENDS.names())
