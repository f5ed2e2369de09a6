"""Step 6 of 6, transformers: typed questions about a text, answered by the chance of every option in one forward pass.

The library's pipeline runs from the loaded model and tokenizer, never from a path: given a path it first makes a model
of a default configuration, of gigabytes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backends._transformers.run import Outcome, Session, same
from modelscope_ext.utils.text import printable

__all__ = ["decide"]


def decide(session: Session, items: Sequence[Any], options: dict[str, Any]) -> Outcome:
    """Answer questions about a state: ``{"state": ..., "questions": {name: {"type": ..., "instructions": ...}}}``.

    A question is a `choice` (`criteria` maps options to descriptions), a `score` (`criteria` lists the levels, lowest
    first) or a `noul` (yes or no). Each is answered under its name.
    """
    pipe = _pipe(session)
    natives = []
    for item in items:
        try:
            natives.append(pipe({"state": item["state"], "questions": item["questions"]}))
        except ValueError as error:
            raise OptionError(f"decision: {printable(str(error), 400)}") from error
    return natives, same


def _pipe(session: Session) -> Any:
    """Return the pipeline, with a tokenizer of its own, to which it adds marks."""
    made = session.loaded.parts.setdefault("pipelines", {})
    if session.task not in made:
        from transformers.decision import DecisionConfig
        from transformers.pipelines import DecisionPipeline

        made[session.task] = DecisionPipeline(
            model=session.model,
            tokenizer=copy.deepcopy(session.part("tokenizer")),
            decision_config=session.optional("decision_config") or DecisionConfig(),
            task=session.task,
            device=session.device,
        )
    return made[session.task]
