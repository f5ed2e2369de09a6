"""A backend without any library: words and weights in one JSON file. Exact, so that tests can compute the answer."""

from __future__ import annotations

import json
from pathlib import Path

from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.resolution import Match, Reason, Strength

LABELS = ["NEGATIVE", "POSITIVE"]
WEIGHTS = {"good": [0.1, 0.9], "bad": [0.8, 0.2], "fine": [0.4, 0.6]}
NAME = "toy.json"


class Weights:
    """The library's own object: can be referred to weakly, and called."""

    def __init__(self, labels, table):
        self.labels = labels
        self.table = table
        self.closed = False
        self.myself = self  # a cycle: only the collector frees it

    def __call__(self, word):
        return self.table.get(word, [0.5, 0.5])


class Toy(Backend):
    """Reads `toy.json`."""

    name = "toy"
    frameworks = ("numpy",)
    options = {"scale": "a factor for every score", "strict": "refuse unknown words"}
    call_options = {"*": ("top_k",), "text-generation": ("max_new_tokens",)}
    tasks = ("text-classification", "text-generation", "question-answering", "sentence-similarity")

    def probe(self, evidence):
        if NAME not in evidence.basenames:
            return None
        reason = Reason(NAME, "", None, "the toy library's own file")
        return Match("toy", Strength.FORMAT, (reason,), "numpy", ("text-classification", "text-generation"))

    def files(self, resolution, snapshot):
        return (NAME,)

    def load(self, folder, resolution, grants, **options):
        document = json.loads((Path(folder) / NAME).read_text())
        scale = options.get("scale") or 1.0
        table = {word: [v * scale for v in row] for word, row in document["weights"].items()}
        return Loaded(Weights(document["labels"], table), {"scale": scale}, "cpu")

    def predict(self, native, task, inputs, **options):
        return [self._one(native.native, task, item, options) for item in inputs]

    def _one(self, model, task, item, options):
        if task == "text-generation":
            text = item if isinstance(item, str) else item[-1]["content"]
            return {"generated_text": text + " and so on"[: options.get("max_new_tokens") or 100]}
        if task == "question-answering":
            return {"score": 1.0, "answer": item["context"].split()[0]}
        if task == "sentence-similarity":
            return [float(item["source_sentence"] == other) for other in item["sentences"]]
        scores = model(item if isinstance(item, str) else item["text"])
        if options.get("raw"):
            return scores
        ranked = [
            {"label": label, "score": score}
            for score, label in sorted(zip(scores, model.labels, strict=True), reverse=True)
        ]
        return ranked[: options["top_k"]] if "top_k" in options else ranked[0]

    def stream(self, native, task, item, **options):
        if task != "text-generation":
            raise NotImplementedError
        return iter((item if isinstance(item, str) else item[-1]["content"]).split())

    def save(self, native, folder):
        (Path(folder) / NAME).write_text(json.dumps({"labels": native.native.labels, "weights": native.native.table}))

    def close(self, native):
        native.native.closed = True

    def adopt(self, native, *, task=None, preprocessor=None):
        return Loaded(native, {"tasks": self.tasks[:1]}) if isinstance(native, Weights) else None


def make_folder(folder: Path, **more: object) -> Path:
    """Write the toy model into `folder`; further arguments are files: name with ``__`` for a dot -> document."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(json.dumps({"labels": LABELS, "weights": WEIGHTS}))
    for name, document in more.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(document))
    return folder
