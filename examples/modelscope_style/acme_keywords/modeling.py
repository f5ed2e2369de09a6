"""Written for ModelScope: nothing in this file knows of modelscope_ext."""

import json
from pathlib import Path


class KeywordClassifier:
    """Scores each label by the share of its keywords among the words of a text."""

    def __init__(self, model_dir, default="none", **kwargs):
        self.default = default
        text = Path(model_dir, "keywords.json").read_text(encoding="utf-8")
        self.keywords = {label: set(words) for label, words in json.loads(text).items()}

    @classmethod
    def _instantiate(cls, **kwargs):
        return cls(**kwargs)

    def forward(self, input):
        words = input["text"].lower().split()
        hits = {label: sum(word in known for word in words) for label, known in self.keywords.items()}
        total = sum(hits.values())
        return {label: count / total for label, count in hits.items()} if total else {self.default: 1.0}

    def __call__(self, input):
        return self.forward(input)


class KeywordPipeline:
    """Text in, ModelScope's `scores` and `labels` out."""

    def __init__(self, model, preprocessor=None, **kwargs):
        self.model = model
        self.preprocessor = preprocessor or (lambda text: {"text": text})

    def __call__(self, input, topk=None):
        scores = self.model(self.preprocessor(input))
        ranked = sorted(scores.items(), key=lambda item: -item[1])[:topk]
        return {"labels": [label for label, _ in ranked], "scores": [score for _, score in ranked]}
