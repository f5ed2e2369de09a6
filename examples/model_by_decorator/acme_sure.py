"""A classifier that would rather say nothing than guess."""

from __future__ import annotations

from typing import Any

from modelscope_ext import MODELS, Model


@MODELS.register_module(task="image-classification", model_type="vit")
class SureOrSilent(Model):
    """Leaves out labels below `at_least`; a picture that has none left is ``unsure``."""

    license = "apache-2.0"

    def postprocess(self, outputs: Any, *, at_least: float = 0.9, **options: Any) -> Any:
        return [self._sure(labels, at_least) for labels in outputs]

    def _sure(self, labels: list[dict[str, Any]], at_least: float) -> list[dict[str, Any]]:
        return [one for one in labels if one["score"] >= at_least] or [{"label": "unsure", "score": labels[0]["score"]}]
