from __future__ import annotations

import inspect
import json

import pytest

from modelscope_ext.errors import OptionError, RegistryError
from modelscope_ext.models.base import Model
from modelscope_ext.models.builder import BACKENDS
from modelscope_ext.models.tasks import Tasks
from modelscope_ext.pipelines.base import Pipeline
from modelscope_ext.pipelines.builder import PIPELINES, build_pipeline, pipeline
from modelscope_ext.pipelines.foreign import ForeignPipeline
from tests.toy import Toy, make_folder

GOOD = {"label": "POSITIVE", "score": 0.9}


@pytest.fixture(autouse=True)
def toy():
    with BACKENDS.temporary(), PIPELINES.temporary():
        BACKENDS.register("toy", Toy)
        yield


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "model")


def test_the_signature_is_modelscopes_first():
    parameters = inspect.signature(pipeline).parameters
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [
        "task", "model", "preprocessor", "config_file", "pipeline_name", "framework", "device", "model_revision",
        "ignore_file_pattern", "trust_remote_code",
    ]  # fmt: skip
    named = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert named == [
        "backend", "hub", "revision", "cfg_dict", "dtype", "device_map", "batch_size", "variant", "subfolder",
        "base_model", "allow_missing_weights", "token", "cache_dir", "local_files_only", "allow_pickle",
        "allow_sources", "code_sha256", "limits", "verify", "lock",
    ]  # fmt: skip
    assert parameters["backend_kwargs"].kind is inspect.Parameter.VAR_KEYWORD


def test_every_way_to_call_it(folder):
    for pipe in (
        pipeline(model=folder),
        pipeline("text-classification", str(folder)),
        pipeline(Tasks.text_classification, model=folder),
        pipeline(task="sentiment-analysis", model=[folder]),
        pipeline("text-classification", folder, None, None, None, None, "gpu", None, None, False),
        pipeline("text-classification", Model.from_pretrained(folder)),
    ):
        assert (pipe.task, pipe("good")) == ("text-classification", GOOD)


def test_the_first_task_is_the_default_and_another_may_be_asked_for(folder):
    assert pipeline(model=folder).task == "text-classification"
    assert pipeline("text-generation", folder)("hi")["generated_text"].startswith("hi")
    (folder / "configuration.json").write_text(json.dumps({"tasks": ["text-generation", "text-classification"]}))
    assert pipeline(model=folder).task == "text-generation"


@pytest.mark.parametrize(
    ("args", "keywords", "says"),
    [
        ((), {}, r"no model: write pipeline\(model='./folder'\)"),
        (("org/x",), {}, r"'org/x' stands where the task belongs.*pipeline\(model='org/x'\)"),
        (("fill-mask",), {}, r"no model for the task 'fill-mask': write pipeline\('fill-mask', './folder'\)"),
        ((), {"model": []}, r"model: an empty list"),
    ],
)
def test_a_call_without_a_model_shows_how_it_is_written(args, keywords, says):
    with pytest.raises(OptionError, match=says):
        pipeline(*args, **keywords)


def test_an_unknown_task_or_keyword_names_the_nearest(folder):
    with pytest.raises(OptionError, match=r"text-clasification.*Did you mean 'text-classification'"):
        pipeline("text-clasification", folder)
    with pytest.raises(OptionError, match=r"unknown argument 'modle_revision'.*Did you mean 'model_revision'"):
        pipeline(model=folder, modle_revision="v1")
    with pytest.raises(OptionError, match="device='cpu' and device_map='auto' say the same"):
        pipeline(model=folder, device="cpu", device_map="auto")


def test_a_loaded_model_takes_no_load_options(folder):
    model = Model.from_pretrained(folder)
    with pytest.raises(OptionError, match="the model is loaded already: device, dtype would change nothing"):
        pipeline(model=model, device="cpu", dtype="float16")
    with pytest.raises(
        OptionError, match=r"does not serve 'fill-mask'; it serves text-classification, text-generation"
    ):
        pipeline("fill-mask", model)


def test_modelscopes_other_keywords_warn(folder):
    with pytest.warns(UserWarning, match="external_engine_for_llm is accepted for ModelScope's sake") as caught:
        pipeline(model=folder, external_engine_for_llm=False)
    assert caught[0].filename == __file__, "the warning points at the caller"


def test_closing_the_pipeline_closes_what_it_loaded_only(folder):
    with pipeline(model=folder) as pipe:
        model = pipe.model
    assert model._closed
    model = Model.from_pretrained(folder)
    with pipeline(model=model) as pipe:
        assert pipe("good") == GOOD
    assert not model._closed


class Loud(Pipeline):
    def __init__(self, model, preprocessor=None, **kwargs):
        super().__init__(model=model, preprocessor=preprocessor, **kwargs)

    def preprocess(self, inputs):
        return inputs.lower()

    def postprocess(self, inputs):
        return {**inputs, "label": inputs["label"] + "!"}


def test_a_registered_pipeline_is_chosen_by_its_conditions(folder):
    PIPELINES.register_module(task="text-classification", backend="toy", module_cls=Loud)
    pipe = pipeline(model=folder)
    assert type(pipe) is Loud
    assert pipe(["GOOD", "bad"])[0] == {"label": "POSITIVE!", "score": 0.9}
    assert type(pipeline("text-generation", folder)) is Pipeline


def test_a_registered_pipeline_is_chosen_by_name(folder):
    PIPELINES.register_module("text-classification", "loud", Loud)
    assert type(pipeline(model=folder)) is Pipeline
    pipe = pipeline(model=folder, pipeline_name="loud", batch_size=4)
    assert (type(pipe), pipe.batch_size, pipe.task) == (Loud, 4, "text-classification")
    with pytest.raises(RegistryError, match="Did you mean 'loud'"):
        pipeline(model=folder, pipeline_name="luod")


def test_configuration_json_may_name_the_pipeline(folder):
    PIPELINES.register_module("text-classification", "loud", Loud)
    document = {"task": "text-classification", "pipeline": {"type": "loud"}}
    (folder / "configuration.json").write_text(json.dumps(document))
    assert type(pipeline(model=folder)) is Loud


def test_an_initialiser_without_keywords_still_gets_its_task(folder):
    class Plain(Pipeline):
        def __init__(self, model):
            super().__init__(model)

    PIPELINES.register_module(module_name="plain", module_cls=Plain)
    with pipeline("text-generation", folder, pipeline_name="plain") as pipe:
        assert pipe.task == "text-generation"
        model = pipe.model
    assert model._closed


def test_a_class_of_another_base_gets_the_librarys_object(folder):
    class Foreign:
        def __init__(self, model, preprocessor=str):
            self.model = model
            self.preprocessor = preprocessor

        def __call__(self, word, twice=False):
            return [self.model(self.preprocessor(word))] * (2 if twice else 1)

    PIPELINES.register_module(module_name="foreign", module_cls=Foreign)
    pipe = pipeline(model=folder, pipeline_name="foreign", preprocessor=str.lower)
    assert type(pipe) is ForeignPipeline
    assert pipe("GOOD") == [[0.1, 0.9]]
    assert pipe(["good", "bad"], twice=True)[1] == [[0.8, 0.2]] * 2
    pipe.close()


def test_build_pipeline_builds_by_type(folder):
    PIPELINES.register_module("text-classification", "loud", Loud)
    model = Model.from_pretrained(folder)
    pipe = build_pipeline({"type": "loud", "model": model}, "text-classification")
    assert type(pipe) is Loud
    assert pipe("GOOD")["label"] == "POSITIVE!"


def test_a_preprocessor_is_called_on_each_input(folder):
    assert pipeline(model=folder, preprocessor=str.lower)("GOOD") == GOOD


def test_swapped_arguments_show_the_right_order(folder):
    with pytest.raises(OptionError, match=r"the task comes first, then the model: write pipeline\('fill-mask', '.*'\)"):
        pipeline(str(folder), "fill-mask")


def test_a_model_where_the_task_belongs_is_told_to_be_named(folder):
    model = Model.from_pretrained(folder)
    with pytest.raises(OptionError, match=r"task: expected a str .*, got Model; .* write pipeline\(model="):
        pipeline(model)


def test_a_task_is_registered_in_any_spelling():
    class Spelled(Pipeline):
        pass

    with PIPELINES.temporary():
        PIPELINES.register_module(task="text_classification", module_name="spelled", module_cls=Spelled)
        entry = PIPELINES.select(task="text-classification")
        assert entry is not None and entry.load() is Spelled
