"""Classes in ModelScope's form, among them one of its real base class, register, load and run unchanged."""

from __future__ import annotations

import json

import pytest

from modelscope_ext.models.base import Model
from modelscope_ext.models.modelscope_form import is_form, loads_itself, options_of
from tests.reference import in_process
from tests.toy import make_folder


def test_what_counts_as_the_form():
    class Theirs:
        def __init__(self, model_dir, width=1, **kwargs): ...

    class Made(Model):
        @classmethod
        def _instantiate(cls, model_dir, height=1): ...

    class Ours(Model):
        @classmethod
        def load(cls, folder, resolution, *, depth=1): ...

    assert [is_form(kind) for kind in (Theirs, Made, Ours, Model, lambda model_dir: None)] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert loads_itself(Ours)
    assert not loads_itself(Model)
    assert options_of(Theirs) == (("width",), True)
    assert options_of(Made) == (("height",), False)
    assert "depth" in options_of(Ours)[0]


@pytest.mark.pt
def test_a_class_of_modelscopes_real_base_runs_unchanged(tmp_path):
    folder = make_folder(tmp_path / "model")
    document = {
        "framework": "pytorch",
        "task": "text-classification",
        "model": {"type": "their-model", "width": 3},
        "pipeline": {"type": "their-pipeline"},
    }
    (folder / "configuration.json").write_text(json.dumps(document))
    answer = in_process(_SCRIPT, str(folder))
    assert answer["model"] == ["their-model's class", 3, str(folder)]
    assert answer["pipeline"] == ["POSITIVE", "NEGATIVE"]
    assert answer["single"] == {"label": "POSITIVE", "score": pytest.approx(0.9)}


_SCRIPT = '''
import json as j, warnings
warnings.simplefilter("ignore")
import torch
from modelscope.models.base import TorchModel
from modelscope_ext import MODELS, PIPELINES, Model, pipeline
from modelscope_ext.models.builder import BACKENDS
from tests.toy import Toy

BACKENDS.register("toy", Toy)

@MODELS.register_module("text-classification", module_name="their-model")
class TheirModel(TorchModel):
    says = "their-model's class"

    def __init__(self, model_dir, *args, width=1, **kwargs):
        super().__init__(model_dir, *args, **kwargs)
        self.width = width
        self.table = j.load(open(model_dir + "/toy.json"))["weights"]

    def forward(self, input):
        return {"logits": torch.tensor(self.table[input["word"]])}

@PIPELINES.register_module("text-classification", module_name="their-pipeline")
class TheirPipeline:
    """Without ModelScope's own base, which needs the package `datasets`."""

    def __init__(self, model, **kwargs):
        self.model = model

    def __call__(self, word):
        scores = self.model({"word": word})["logits"].tolist()
        return {"label": ["NEGATIVE", "POSITIVE"][scores.index(max(scores))], "score": max(scores)}

model = Model.from_pretrained(arg)
pipe = pipeline(model=arg)
result = {
    "model": [model.native.says, model.native.width, model.native.model_dir],
    "pipeline": [one["label"] for one in pipe(["good", "bad"])],
    "single": pipe("good"),
}
'''


def test_a_class_for_a_type_of_its_own_needs_nothing_of_modelscope(tmp_path):
    """What `model.type` names is the class; the package modelscope is asked for only where a class hands over to it."""
    from modelscope_ext import MODELS, resolve

    said = {"framework": "pytorch", "task": "text-classification", "model": {"type": "own-type"}}
    (tmp_path / "configuration.json").write_text(json.dumps(said))

    class Own:
        def __init__(self, model_dir, **keywords):
            self.model_dir = model_dir

        def forward(self, inputs):
            return {"label": "a", "score": 1.0}

    with MODELS.temporary():
        MODELS.register_module("text-classification", "own-type", Own)
        info = resolve(tmp_path)
        assert (info.backend, info.requirement_dependency, info.missing) == ("modelscope", (), ())
        with Model.from_pretrained(tmp_path) as model:
            assert model.requirement_dependency == ()
