"""mindformers: language models in MindSpore, from a yaml or config.json and ``.ckpt`` files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modelscope_ext.models.backend import Backend
from modelscope_ext.models.resolution import Match

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["MindFormers"]


class MindFormers(Backend):
    """Loads and runs Llama models of mindformers."""

    name: ClassVar[str] = "mindformers"
    frameworks: ClassVar[tuple[str, ...]] = ("mindspore",)
    requires: ClassVar[tuple[str, ...]] = ("mindformers>=1.8,<2", "mindspore>=2.7")
    install: ClassVar[str] = 'pip install "modelscope-ext[mindspore]"'
    tasks: ClassVar[tuple[str, ...]] = ("text-generation",)

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim folders in mindformers' own layouts."""
        from modelscope_ext.models.decision.recognised import recognise_one

        return recognise_one(self.name, evidence)
