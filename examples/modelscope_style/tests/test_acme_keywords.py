"""Run with the package installed: `pytest examples/modelscope_style`."""

from modelscope_ext import MODELS, PIPELINES, Model, build_model, build_pipeline, pipeline


def test_both_are_registered_in_modelscopes_groups():
    assert MODELS.get("acme-keywords", "text-classification").__name__ == "KeywordClassifier"
    assert PIPELINES.get("acme-keywords-pipeline", group_key="text-classification").__name__ == "KeywordPipeline"
    assert MODELS.select(task="text-classification") is None  # a type is asked for by name; it takes no other folder


def test_built_as_modelscope_builds_them(folder):
    model = build_model({"type": "acme-keywords", "model_dir": str(folder)}, "text-classification")
    pipe = build_pipeline({"type": "acme-keywords-pipeline", "model": model}, "text-classification")
    assert pipe("great fine awful day") == {"labels": ["good", "bad"], "scores": [2 / 3, 1 / 3]}
    assert pipe("nothing")["labels"] == ["none"]


def test_the_folder_is_enough(folder):
    with pipeline(model=folder) as pipe:
        assert type(pipe.model.native).__name__ == "KeywordClassifier"
        assert pipe("a great day") == {"labels": ["good", "bad"], "scores": [1.0, 0.0]}
        assert pipe(["awful", "nothing"], topk=1) == [
            {"labels": ["bad"], "scores": [1.0]},
            {"labels": ["neutral"], "scores": [1.0]},  # an argument from configuration.json
        ]


def test_the_model_alone(folder):
    model = Model.from_pretrained(folder)
    assert model({"text": "great"}) == {"good": 1.0, "bad": 0.0}
    assert model.keywords["bad"] == {"awful"}  # its own attributes are a call away
    assert (model.default_task, model.framework) == ("text-classification", "pytorch")
