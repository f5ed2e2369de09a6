"""Step 4 of 6: ModelScope's own types, by the table of its index: which types there are, for which tasks, needing what.

The index knows a type by the task as well: ``structbert`` is one class for fill-mask and another for nli. Tasks are in
ModelScope's spelling in the table and in canonical names everywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelscope_ext.models.decision import tables
from modelscope_ext.models.resolution import Match, Reason, Strength
from modelscope_ext.models.tasks import canonical
from modelscope_ext.utils.record import dataclass

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["NativeType", "modelscope_claim", "native_type", "tasks_of_index"]


@dataclass(frozen=True)
class NativeType:
    """What configuration.json names, as far as ModelScope's index knows it.

    Attributes:
        model: `model.type`, or None where the index does not have it for the task.
        pipeline: `pipeline.type`, or the only one the index has for the task.
        task: The task in ModelScope's spelling, or None where none fits.
        tasks: All tasks that the two are registered for, in ModelScope's spelling.
        pipelines: The pipelines that are registered for `task`.
        needs: What they need installed, as requirement strings.
    """

    model: str | None = None
    pipeline: str | None = None
    task: str | None = None
    tasks: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def native_type(model: str | None, pipeline: str | None, task: str | None) -> NativeType:
    """Look a pair of types up in the index.

    Args:
        model: `model.type`.
        pipeline: `pipeline.type`.
        task: The wanted task in any spelling; None takes the first that both are registered for.

    Example:
        >>> found = native_type("nafnet", "nafnet-image-denoise", "image-denoising")
        >>> found.task, "torchvision" in found.needs
        ('image-denoising', True)
        >>> "sentiment-analysis" in native_type("structbert", None, "text-classification").pipelines
        True
    """
    table = tables.modelscope()
    known = [table.models.get(model or "", ()), table.pipelines.get(pipeline or "", ())]
    known = [tasks for tasks in known if tasks]
    tasks = tuple(one for one in (known[0] if known else ()) if all(one in others for others in known))
    wanted = canonical(task) if task else None
    fitting = [one for one in tasks if task is None or one == task or canonical(one) == wanted]
    chosen = task if task in fitting else next(iter(fitting), None)
    pipelines = tuple(name for name, served in table.pipelines.items() if chosen in served) if chosen else ()
    if pipeline not in pipelines:
        pipeline = pipelines[0] if len(pipelines) == 1 else None
    model = model if chosen in table.models.get(model or "", ()) else None
    needs = {*table.needs_of("models", model, chosen), *table.needs_of("pipelines", pipeline, chosen)}
    return NativeType(model, pipeline, chosen, tasks, pipelines, tuple(sorted(needs)))


def modelscope_claim(evidence: Evidence) -> Match | None:
    """Claim a type of ModelScope's index as declared, another one as the model's own code."""
    table = tables.modelscope()
    named = {kind: _named(evidence, kind) for kind in ("native_type", "pipeline_type")}
    task = _named(evidence, "tasks")
    for kind, known in (("native_type", table.models), ("pipeline_type", table.pipelines)):
        value = named[kind]
        if value is None:
            continue
        fact = evidence.declared[kind][0]
        in_index = value in known
        text = "a type of ModelScope's own index" if in_index else "a type that comes with the model's own code"
        native = native_type(named["native_type"], named["pipeline_type"], task)
        tasks = tuple(dict.fromkeys(filter(None, map(canonical, native.tasks or known.get(value, ())))))
        return Match(
            "modelscope",
            Strength.DECLARED if in_index else Strength.READABLE,
            (Reason(fact.file, fact.key, value, text),),
            framework="pytorch",
            tasks=tasks if len(tasks) == 1 else (),
            model_type=value,
            requires=native.needs,
            loadable=True,
        )
    return None


def tasks_of_index() -> tuple[str, ...]:
    """Return the canonical names of all tasks that ModelScope has a pipeline for."""
    named = (task for tasks in tables.modelscope().pipelines.values() for task in tasks)
    return tuple(dict.fromkeys(filter(None, map(canonical, named))))


def _named(evidence: Evidence, kind: str) -> str | None:
    return next((fact.value for fact in evidence.declared.get(kind, ())[:1] if isinstance(fact.value, str)), None)
