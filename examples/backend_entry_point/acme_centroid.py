"""Text classifiers in `centroid.json`: each label is a bag of weighted words, the nearest one wins.

Format: ``{"format": "centroid-1", "labels": {"sport": {"ball": 1.0, "team": 0.5}, ...}}``.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelscope_ext.errors import MalformedMetadata
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.resolution import Match, Reason, Resolution, Strength
from modelscope_ext.safety.reading import parse_json, read_inside

FILE = "centroid.json"


class Centroids:
    """The library's own object: knows nothing of modelscope_ext."""

    def __init__(self, labels: dict[str, dict[str, float]]) -> None:
        self.labels = labels

    def scores(self, text: str) -> dict[str, float]:
        """Return the softmax over the labels of the cosine between the text's words and the label's."""
        words = Counter(re.findall(r"\w+", text.lower()))
        cosines = {label: self._cosine(words, bag) for label, bag in self.labels.items()}
        total = sum(math.exp(8 * cosine) for cosine in cosines.values())
        return {label: math.exp(8 * cosine) / total for label, cosine in cosines.items()}

    @staticmethod
    def _cosine(words: Counter[str], bag: dict[str, float]) -> float:
        product = sum(count * bag.get(word, 0.0) for word, count in words.items())
        lengths = math.hypot(*words.values()) * math.hypot(*bag.values())
        return product / lengths if lengths else 0.0


class Centroid(Backend):
    """The hooks stand in the order in which they are called."""

    name = "centroid"
    frameworks = ("python",)
    requires = ()
    install = "pip install acme-centroid"
    tasks = ("text-classification",)
    call_options = {"text-classification": ("top_k",)}  # noqa: RUF012

    def probe(self, evidence: Any) -> Match | None:
        if not evidence.has(FILE):
            return None
        fact = evidence.fact(FILE, "format")
        reason = Reason(FILE, "format", fact.value if fact else None, "centroid.json is this library's own format")
        return Match(self.name, Strength.FORMAT, (reason,), framework="python", tasks=self.tasks)

    def files(self, resolution: Resolution, snapshot: Any) -> tuple[str, ...]:
        return tuple(name for name in (FILE, "configuration.json") if name in snapshot)

    def load(self, folder: Path, resolution: Resolution, grants: Any, **options: Any) -> Centroids:
        document = parse_json(read_inside(folder, FILE, limits=grants.limits), file=FILE, limits=grants.limits)
        labels = document.get("labels") if isinstance(document, dict) else None
        if document.get("format") != "centroid-1" or not isinstance(labels, dict) or not labels:
            raise MalformedMetadata(f"{FILE}: expected format 'centroid-1' with labels", file=FILE, field="labels")
        return Centroids(
            {label: {word: float(weight) for word, weight in bag.items()} for label, bag in labels.items()}
        )

    def predict(self, native: Centroids, task: str, inputs: Sequence[Any], **options: Any) -> list[Any]:
        texts = [one if isinstance(one, str) else f"{one['text']} {one['text_pair']}" for one in inputs]
        scored = [native.scores(text) for text in texts]
        if options.get("raw"):
            return scored
        ranked = [sorted(one.items(), key=lambda item: -item[1]) for one in scored]
        labels = [[{"label": label, "score": score} for label, score in one] for one in ranked]
        return [one[: options["top_k"]] for one in labels] if "top_k" in options else [one[0] for one in labels]

    def save(self, native: Centroids, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps({"format": "centroid-1", "labels": native.labels}))

    def code(self, resolution: Resolution) -> str:
        path = str(Path(str(resolution.source), FILE))
        return (
            "import json\nfrom pathlib import Path\nfrom acme_centroid import Centroids\n\n"
            f"model = Centroids(json.loads(Path({path!r}).read_text())['labels'])"
        )
