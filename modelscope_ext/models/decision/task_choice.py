"""Which tasks a model is for: the caller, then what is declared, then the card, then what was inferred.

A declaration or tag that the architecture cannot serve is dropped where it is weak and kept where it is not; either way
a finding says so. Example of a weak one: a trainer writes ``{"framework": "pytorch", "task": "text-generation",
"allow_remote": true}`` beside any model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelscope_ext.models.decision import conventions
from modelscope_ext.models.decision.heads import compatible
from modelscope_ext.models.decision.recognised import library
from modelscope_ext.models.resolution import Finding, Match, Reason
from modelscope_ext.models.tasks import ALIASES, TASKS, canonical
from modelscope_ext.utils.record import dataclass, field
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence, Fact

__all__ = ["TaskChoice", "choose_tasks"]

#: Keys of a configuration.json that say nothing more than a stub does.
_STUB = frozenset(("framework", "task", "allow_remote"))
#: Backends that read Hugging Face's layout: their inferred task is a fact about the weights.
_BY_HEAD = frozenset(("transformers", "mindone", "onnxruntime", "transformers.js"))
#: Tasks that a bare tag may narrow.
_NARROWED = {
    "text-generation": frozenset(("text-to-speech", "text-ranking", "image-text-to-text", "audio-text-to-text")),
    "text2text-generation": frozenset(("translation", "summarization", "question-answering", "text-to-speech")),
}


@dataclass(frozen=False)
class TaskChoice:
    """The tasks, the default first, why, and what had to be remarked.

    `by_default` holds while neither the caller nor the repo has named a task.
    """

    tasks: dict[str, None] = field(default_factory=dict)
    because: list[Reason] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    by_default: bool = True

    def take(self, task: str, reason: Reason) -> None:
        """Add a task behind those already taken."""
        self.because.append(reason)
        self.tasks.setdefault(task)


def choose_tasks(
    evidence: Evidence, match: Match, *, caller: str | None = None, registered: tuple[str, ...] = ()
) -> TaskChoice:
    """Return the tasks of what `match` claims.

    Args:
        evidence: What the files say.
        match: The chosen backend's claim, with the tasks it infers.
        caller: The caller's task, canonical; it wins over everything.
        registered: The tasks of the registered class that will load the model.
    """
    choice = TaskChoice()
    if caller is not None:
        choice.take(caller, Reason("(argument)", "task", caller, "the caller asks for it"))
        if not _serves(evidence, match, caller):
            text = f"task={caller!r} was asked for; by its files the model is for {match.tasks[0]}"
            choice.findings.append(Finding("task-not-served", "warning", None, "task", text, None))
    _declared(evidence, match, choice)
    _tagged(evidence, match, choice)
    choice.by_default = not choice.tasks
    for task in registered:
        choice.take(task, Reason("(registry)", "task", task, "the registered class is for it"))
    inferred = match.because[-1] if match.because else Reason("(table)", match.backend, None, "inferred")
    for task in match.tasks:
        choice.take(task, inferred)
    row = library(match.backend)
    if not choice.tasks and row is not None:
        for task in row.tasks.split():
            choice.take(task, Reason("(table)", row.name, task, f"what models of {row.name} are usually for"))
    return choice


def _declared(evidence: Evidence, match: Match, choice: TaskChoice) -> None:
    facts = evidence.declared.get("tasks", ())
    document = evidence.documents.get("configuration.json") or {}
    weak = facts and facts[0].file != "(argument)" and document.keys() <= _STUB
    for fact in facts:
        task = _known(fact, choice)
        if task is None:
            continue
        serves = _serves(evidence, match, task)
        if weak and not serves:
            text = f"{printable(fact.value)} is declared, but the files are for {match.tasks[0]}: ignored"
            choice.findings.append(Finding("task-dropped", "warning", fact.file, fact.key, text))
            continue
        if not serves:
            text = f"{printable(fact.value)} is declared and taken, but the files are for {match.tasks[0]}"
            choice.findings.append(Finding("task-contradiction", "warning", fact.file, fact.key, text))
        choice.take(task, Reason(fact.file, fact.key, fact.value, _said("declared", fact, task)))


def _tagged(evidence: Evidence, match: Match, choice: TaskChoice) -> None:
    for fact in _card_tasks(evidence):
        task = _known(fact, choice)
        if task is None:
            continue
        if not _serves(evidence, match, task):
            text = f"the card says {printable(fact.value)}, but the files are for {match.tasks[0]}: ignored"
            choice.findings.append(Finding("task-tag-dropped", "warning", fact.file, fact.key, text))
            continue
        if choice.tasks and task not in choice.tasks and fact.key in ("pipeline_tag", "tasks", "tasks[0]"):
            first = next(iter(choice.tasks))
            text = f"the card says {printable(fact.value)}, which comes after {first}"
            choice.findings.append(Finding("task-contradiction", "info", fact.file, fact.key, text))
        choice.take(task, Reason(fact.file, fact.key, fact.value, _said("the card says", fact, task)))
    for fact in evidence.tagged.get("tags", ()):
        tag = fact.value.strip().lower() if isinstance(fact.value, str) else ""
        task = tag if tag in TASKS else "text-generation" if tag == "conversational" else None
        if task and _may_narrow(evidence, match, task, choice):
            choice.take(task, Reason(fact.file, fact.key, fact.value, _said("the card is tagged", fact, task)))


def _card_tasks(evidence: Evidence) -> Iterator[Fact]:
    """Yield what the card says, the strongest first: a widget's task is what the hub really runs."""
    facts = evidence.tagged.get("tasks", ())
    widgets = [fact for fact in facts if fact.key.startswith("widgets")]
    others = [fact for fact in facts if not fact.key.startswith("widgets")]
    pipeline = [fact for fact in others if fact.key == "pipeline_tag"]
    yield from pipeline
    yield from widgets
    yield from (fact for fact in others if fact.key != "pipeline_tag")


def _known(fact: Fact, choice: TaskChoice) -> str | None:
    """Return the canonical task of a fact; what names none becomes a finding."""
    if not isinstance(fact.value, str):
        return None
    task = canonical(fact.value)
    if task is None and ALIASES.get(fact.value.strip().lower()) != "":
        text = f"{printable(fact.value)} is no task's name: ignored"
        choice.findings.append(Finding("task-unknown", "info", fact.file, fact.key, text))
    return task


def _serves(evidence: Evidence, match: Match, task: str) -> bool:
    """Whether the claim's own tasks leave room for `task`; the default of a library leaves room for anything."""
    if not match.tasks or (match.because and match.because[-1].file == "(table)"):
        return True
    names = evidence.get("config.json", "architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    by_head = match.backend in _BY_HEAD
    model_type = evidence.get("config.json", "model_type")
    return compatible(match.tasks, name if by_head else None, model_type if by_head else None, task)


def _may_narrow(evidence: Evidence, match: Match, task: str, choice: TaskChoice) -> bool:
    """A bare tag decides only where the files are silent or general."""
    if choice.tasks:
        return False
    if not match.tasks or match.tasks[0] in conventions.HEADLESS or task in match.tasks:
        return True
    if match.backend in ("diffusers", "onediff", "sentence-transformers", "peft"):
        return _serves(evidence, match, task)
    return task in _NARROWED.get(match.tasks[0], ())


def _said(how: str, fact: Fact, task: str) -> str:
    return f"{how} so" if fact.value == task else f"{how} {printable(fact.value)!r}, which is {task}"
