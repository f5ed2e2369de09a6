"""What mindone serves, as two tables: tasks of folders in transformers' layout, and of pipelines. Imports nothing.

The rows of transformers' layout are those of `_transformers.tasks` whose runners work on MindSpore, with the runner
where it needs one of its own. A task stands in `NOT_SERVED` with its reason where mindone has the classes, but they do
not run whole or have not been seen to answer as PyTorch's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from modelscope_ext.models.backends._diffusers.tasks import ROWS as PIPELINE_ROWS
from modelscope_ext.models.backends._diffusers.tasks import Row as PipelineRow
from modelscope_ext.models.backends._transformers.tasks import ROWS as ALL_ROWS
from modelscope_ext.models.backends._transformers.tasks import Row

__all__ = ["NOT_SERVED", "PIPELINES", "ROWS"]

#: Task -> the runner: ``"_transformers.<module>.<function>"`` is shared, the others are of this package.
_RUNNERS: Mapping[str, str] = {
    "text-classification": "_transformers.text.classify",
    "token-classification": "_transformers.text.tag",
    "fill-mask": "_transformers.text.fill",
    "zero-shot-classification": "_mindone.run.zero_shot",
    "text-generation": "_mindone.run.generate",
    "feature-extraction": "_mindone.run.features",
    "question-answering": "_mindone.run.answer",
    "text-ranking": "_mindone.run.rank",
    "image-classification": "_transformers.vision.classify",
}

ROWS: Mapping[str, Row] = MappingProxyType({task: replace(ALL_ROWS[task], run=run) for task, run in _RUNNERS.items()})

PIPELINES: Mapping[str, PipelineRow] = MappingProxyType(
    {task: PIPELINE_ROWS[task] for task in ("text-to-image", "image-to-image", "unconditional-image-generation")}
)

_UNTRIED = "mindone may have classes for it, but its answers have not been held against PyTorch's"
_REASONS: Mapping[str, str] = {
    "decision": "transformers 4.57, on which mindone builds, has no such models",
}

NOT_SERVED: Mapping[str, str] = MappingProxyType(
    {
        task: _REASONS.get(task, _UNTRIED)
        for task in (*ALL_ROWS, *PIPELINE_ROWS)
        if task not in ROWS and task not in PIPELINES
    }
)
