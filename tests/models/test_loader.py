from __future__ import annotations

import gc
import json
import logging
from pathlib import Path

import pytest

from modelscope_ext import errors
from modelscope_ext.errors import (
    BackendNotLoadable,
    ConfigError,
    MissingRequirement,
    ModelNotFound,
    ModelScopeExtError,
    NotAModel,
    OptionError,
    RequirementConflict,
)
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.base import Model
from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.loader import load
from modelscope_ext.models.memory import eased_collector
from modelscope_ext.models.modelscope_form import ModelScopeModel
from modelscope_ext.pipelines.builder import pipeline
from tests.toy import LABELS, NAME, Toy, Weights, make_folder

GOOD = {"label": "POSITIVE", "score": 0.9}


@pytest.fixture(autouse=True)
def toy():
    with BACKENDS.temporary(), MODELS.temporary():
        BACKENDS.register("toy", Toy)
        yield


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "model")


def predict(model, *texts):
    return model.predict("text-classification", list(texts))


# What is returned


def test_a_folder_loads_by_the_backend_that_claims_it(folder):
    model = Model.from_pretrained(folder)
    assert type(model) is Model
    assert (model.backend, model.framework, model.tasks[0]) == ("toy", "numpy", "text-classification")
    assert predict(model, "good") == [GOOD]
    assert model.model_dir == str(folder)
    assert model.parts == {"scale": 1.0}
    assert model.resolution.because["backend"][0].file == NAME


@pytest.mark.parametrize("spelling", ["str", "path", "relative", "link", "snapshot", "subfolder"])
def test_every_way_to_name_a_folder(folder, spelling, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    given = {
        "str": lambda: Model.from_pretrained(str(folder)),
        "path": lambda: Model.from_pretrained(folder),
        "relative": lambda: Model.from_pretrained("model"),
        "link": lambda: Model.from_pretrained(tmp_path / "link"),
        "snapshot": lambda: Model.from_pretrained(Snapshot.from_folder(folder)),
        "subfolder": lambda: Model.from_pretrained(tmp_path, subfolder="model"),
    }
    assert predict(given[spelling](), "good") == [GOOD]


def test_options_reach_the_backend(folder):
    model = load(folder, scale=0.5, device="cpu")
    assert predict(model, "good") == [{"label": "POSITIVE", "score": 0.45}]


def test_a_base_is_refused_where_there_is_no_adapter(folder):
    with pytest.raises(OptionError, match=r"base_model=.*is no adapter to toy, so it takes no base"):
        load(folder, base_model="org/base")


def test_the_backend_gets_none_where_the_caller_said_nothing(folder):
    seen = {}

    class Spy(Toy):
        name = "spy"

        def load(self, folder, resolution, grants, **options):
            seen.update(options, grants=grants)
            return super().load(folder, resolution, grants, **options)

    BACKENDS.register("spy", Spy)
    load(folder, backend="spy", dtype="fp16", model_revision=None)
    assert seen.pop("grants").trust_remote_code is False
    assert seen == {
        "task": "text-classification",
        "device": None,
        "device_map": None,
        "dtype": "float16",
        "variant": None,
        "cfg_dict": None,
        "base_model": None,
        "allow_missing_weights": False,
    }


def test_the_collector_looks_at_young_objects_only_while_loading_and_is_as_it_was_again(folder):
    seen = []

    class Spy(Toy):
        name = "spy"

        def load(self, folder, resolution, grants, **options):
            seen.append((gc.isenabled(), gc.get_threshold()))
            return super().load(folder, resolution, grants, **options)

    BACKENDS.register("spy", Spy)
    before = gc.get_threshold()
    load(folder, backend="spy").close()
    ((enabled, (young, middle, old)),) = seen
    assert enabled
    assert young > before[0]
    assert middle == old > 1000 * before[1]
    assert (gc.isenabled(), gc.get_threshold()) == (True, before)


@pytest.mark.parametrize("off", [gc.disable, lambda: gc.set_threshold(0)])
def test_a_collector_that_the_caller_switched_off_stays_off(off):
    before = gc.get_threshold()
    off()
    try:
        mine, frozen = (gc.isenabled(), gc.get_threshold()), gc.get_freeze_count()
        with eased_collector():
            assert not gc.isenabled() or gc.get_threshold()[0] == 0
        assert (gc.isenabled(), gc.get_threshold()) == mine
        assert gc.get_freeze_count() == frozen
    finally:
        gc.enable()
        gc.set_threshold(*before)


def test_a_failed_load_leaves_the_collector_as_it_was(folder):
    before = gc.get_threshold()
    (folder / NAME).write_text("{")
    with pytest.raises(ModelScopeExtError):
        load(folder)
    with pytest.raises(ZeroDivisionError), eased_collector():
        raise ZeroDivisionError
    assert (gc.isenabled(), gc.get_threshold()) == (True, before)


# Registered classes


def test_a_registered_class_beats_the_built_in_and_appears_in_because(folder):
    @MODELS.register_module(backend="toy", task="text-classification", framework="numpy")
    class Mine(Model):
        def postprocess(self, outputs):
            return [{**one, "label": one["label"].lower()} for one in outputs]

    model = Model.from_pretrained(folder)
    assert type(model) is Mine
    assert predict(model, "good") == [{"label": "positive", "score": 0.9}]
    assert model.resolution.because["class"][0].file == "(registry)"
    assert "Mine" in model.resolution.because["class"][0].value
    with pipeline(model=folder) as pipe:
        assert pipe("good")["label"] == "positive"


def test_the_most_specific_class_wins(folder):
    @MODELS.register_module(backend="toy")
    class Wide(Model): ...

    @MODELS.register_module(backend="toy", task="text-generation")
    class Narrow(Model): ...

    assert type(load(folder)) is Wide
    assert type(load(folder, task="text-generation")) is Narrow


def test_a_subclass_returns_itself_or_an_error(folder):
    class Mine(Model): ...

    class Other(Model):
        tasks = ("image-classification",)

    assert type(Mine.from_pretrained(folder)) is Mine
    with pytest.raises(
        OptionError, match=r"Other is for tasks image-classification; .* has text-classification, text-gen"
    ):
        Other.from_pretrained(folder)


def test_a_class_of_a_backend_asks_for_it(folder):
    class ByAnother(Toy):
        name = "another"

    class Mine(Model):
        backend = "another"

    BACKENDS.register("another", ByAnother)
    assert Mine.from_pretrained(folder).backend == "another"


def test_a_class_may_load_by_itself(tmp_path):
    (tmp_path / "configuration.json").write_text(json.dumps({"backend": "mine", "tasks": ["text-classification"]}))
    (tmp_path / "words.txt").write_text("good")

    @MODELS.register_module(backend="mine")
    class Mine(Model):
        requirement_dependency = ("pip>=1",)

        @classmethod
        def load(cls, folder, resolution, lower=False):
            text = (folder / "words.txt").read_text()
            return set(text.lower().split()) if lower else set(text.split())

        def forward(self, inputs):
            return [{"label": str(word in self.native), "score": 1.0} for word in inputs]

    model = load(tmp_path, lower=True)
    assert model.native == {"good"}
    assert predict(model, "good", "bad") == [{"label": "True", "score": 1.0}, {"label": "False", "score": 1.0}]
    assert model.requirement_dependency == ("pip>=1",)
    with pytest.raises(OptionError, match=r"unknown argument 'lowr'\. Did you mean 'lower'\?"):
        load(tmp_path, lowr=True)


def test_the_classs_requirements_are_checked_before_anything_is_loaded(folder):
    @MODELS.register_module(backend="toy")
    class Mine(Model):
        requirement_dependency = ("no-such-package-here>=2",)

        @classmethod
        def load(cls, folder, resolution, **options):
            raise AssertionError("loaded")

    with pytest.raises(MissingRequirement) as caught:
        load(folder)
    assert "no-such-package-here>=2: missing" in str(caught.value)
    assert str(caught.value).endswith('Install it with: pip install "no-such-package-here>=2"')
    assert isinstance(caught.value, ImportError)


# ModelScope's form


class Theirs:
    """As written for ModelScope: made with the folder, works on one input."""

    def __init__(self, model_dir, *args, suffix="", **kwargs):
        self.model_dir = model_dir
        self.arguments = kwargs
        self.suffix = suffix
        self.table = json.loads(Path(model_dir, NAME).read_text())["weights"]

    def __call__(self, word, shout=False):
        label = ("POSITIVE" if self.table[word][1] > 0.5 else "NEGATIVE") + self.suffix
        return {"label": label.upper() if shout else label, "score": max(self.table[word])}


def declare(folder, **model):
    document = {"framework": "pytorch", "task": "text-classification", "model": {"type": "theirs", **model}}
    (folder / "configuration.json").write_text(json.dumps(document))
    return folder


def test_a_class_in_modelscopes_form_loads_unchanged(folder):
    declare(folder, suffix="!", width=3, trust_remote_code=False)
    MODELS.register_module("text-classification", "theirs", Theirs)
    model = load(folder)
    assert type(model) is ModelScopeModel
    assert type(model.native) is Theirs
    assert (model.native.model_dir, model.native.arguments) == (str(folder), {"width": 3})
    assert model.native.cfg.model.type == "theirs"
    with pipeline("text-classification", str(folder)) as pipe:
        assert pipe("good") == {"label": "POSITIVE!", "score": 0.9}
        assert [one["label"] for one in pipe(["bad", "good"])] == ["NEGATIVE!", "POSITIVE!"]


def test_modelscopes_instantiate_is_used(folder):
    class Made(Theirs):
        @classmethod
        def _instantiate(cls, model_dir, **kwargs):
            made = cls(model_dir)
            made.how = sorted(kwargs)
            return made

    MODELS.register_module("text-classification", "theirs", Made)
    assert load(declare(folder, a=1)).native.how == ["a"]


def test_a_subclass_of_ours_in_modelscopes_form_works_on_one_input(folder):
    class Both(Model):
        def __init__(self, model_dir, *args, **kwargs):
            super().__init__(model_dir, *args, **kwargs)
            self.table = json.loads(Path(model_dir, NAME).read_text())["weights"]

        def preprocess(self, word):
            return word.lower()

        def forward(self, word):
            return self.table[word]

        def postprocess(self, scores):
            return {"label": LABELS[scores.index(max(scores))], "score": max(scores)}

    MODELS.register_module("text-classification", "theirs", Both)
    model = load(declare(folder))
    assert type(model) is Both
    assert model.native is model
    assert model("good") == GOOD
    assert predict(model, "GOOD", "bad") == [GOOD, {"label": "NEGATIVE", "score": 0.8}]
    model.close()
    with pytest.raises(ModelScopeExtError, match="was closed"):
        predict(model, "good")


# Native objects


def test_an_object_of_a_library_becomes_a_model():
    with pipeline(model=Weights(LABELS, {"good": [0.1, 0.9]})) as pipe:
        assert pipe("good") == GOOD
        assert pipe.model.resolution.because["backend"][0].text == "an object of toy"
    assert pipe.model.native.labels == LABELS, "the caller's own object is not closed with the pipeline"
    with pytest.raises(OptionError, match=r"model: builtins\.int belongs to no backend\. Expected a folder"):
        pipeline(model=3)


# Errors, in the order of the steps


def test_there_is_no_such_folder(tmp_path):
    with pytest.raises(ModelNotFound, match="no folder"):
        load(tmp_path / "none")
    with pytest.raises(ModelNotFound, match="is a file"):
        load(make_folder(tmp_path) / NAME)


def test_nothing_in_it_is_a_model(tmp_path):
    with pytest.raises(NotAModel, match="empty"):
        load(tmp_path)


def test_a_source_without_a_folder_cannot_be_loaded():
    with pytest.raises(ModelNotFound, match="was made from texts and has no folder to load from"):
        load(Snapshot.from_mapping({NAME: "{}"}))


def test_a_recognised_library_names_itself_and_how_it_is_installed(tmp_path):
    (tmp_path / "gliner_config.json").write_text('{"model_name": "x"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        BackendNotLoadable, match=r"'gliner', which is recognised but cannot be loaded here yet.*gliner"
    ):
        load(tmp_path)


def test_a_declared_requirement_that_is_missing_gives_the_one_command(folder):
    document = {"requirement_dependency": ["no-such-a>=1", "no-such-b"], "tasks": ["text-classification"]}
    (folder / "configuration.json").write_text(json.dumps(document))
    with pytest.raises(MissingRequirement) as caught:
        load(folder)
    assert str(caught.value).endswith('Install it with: pip install "no-such-a>=1" no-such-b')


def test_a_requirement_that_cannot_be_met_is_a_conflict(folder):
    document = {"requirement_dependency": ["pip<1"], "tasks": ["text-classification"]}
    (folder / "configuration.json").write_text(json.dumps(document))
    with pytest.raises(RequirementConflict, match="cannot be loaded in this environment"):
        load(folder)


def test_an_unknown_keyword_names_the_nearest(folder):
    with pytest.raises(
        OptionError, match=r"unknown argument 'devise'\. Did you mean 'device'\?.*backend 'toy': scale, str"
    ):
        load(folder, devise="cpu")
    with pytest.raises(OptionError, match=r"unknown argument 'scal'\. Did you mean 'scale'\?"):
        load(folder, scal=1)


def test_the_bytes_of_the_plan_are_checked_before_the_backend_sees_them(folder):
    """Gate B stands in the loader: the backend is not called, and what is not planned is not opened."""
    import os
    import pickle

    from modelscope_ext.errors import PickleRefused

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    called = []

    class Planning(Toy):
        def files(self, resolution, snapshot):
            return (NAME, "pytorch_model.bin")

        def load(self, folder, resolution, grants, **options):
            called.append(folder)
            return super().load(folder, resolution, grants, **options)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    assert predict(Model.from_pretrained(folder), "good") == [GOOD]
    BACKENDS.register("toy", Planning, force=True)
    with pytest.raises(PickleRefused, match=r"pytorch_model\.bin"):
        Model.from_pretrained(folder)
    assert called == []


def test_a_library_with_a_known_hole_is_refused_before_it_is_called(folder, monkeypatch):
    from modelscope_ext.utils import distributions

    found = distributions.installed

    def installed(name):
        return distributions.Distribution("torch", "2.9.1") if name == "torch" else found(name)

    class Planning(Toy):
        def files(self, resolution, snapshot):
            return (NAME, "pytorch_model.bin")

    monkeypatch.setattr(distributions, "installed", installed)
    (folder / "pytorch_model.bin").write_bytes(b"")
    BACKENDS.register("toy", Planning, force=True)
    with pytest.raises(errors.UnsafeBackendError, match="CVE-2026-24747"):
        Model.from_pretrained(folder)


def test_a_file_of_the_plan_that_is_not_there(folder):
    class Ghost(Toy):
        name = "ghost"

        def files(self, resolution, snapshot):
            return (NAME, "ghost.json")

    BACKENDS.register("ghost", Ghost)
    with pytest.raises(ModelNotFound, match=r"lacks ghost\.json: the copy is incomplete; fetch the missing files"):
        load(folder, backend="ghost")


def test_what_a_library_raises_is_told_with_the_models_name(folder):
    (folder / NAME).write_text("{")
    with pytest.raises(ModelScopeExtError, match=r"toy could not load .*model: JSONDecodeError: ") as caught:
        load(folder)
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


def test_an_error_of_a_contributors_class_comes_through_unchanged(folder):
    @MODELS.register_module(backend="toy")
    class Mine(Model):
        @classmethod
        def load(cls, folder, resolution, **options):
            raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^'?mine'?$"):
        load(folder)


def test_a_failed_load_changes_no_file(folder):
    (folder / "configuration.json").write_text(
        '{"tasks": ["text-classification"], "requirement_dependency": ["no-such-x"]}'
    )
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    with pytest.raises(MissingRequirement):
        load(folder)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


def test_cfg_dict_replaces_configuration_and_is_never_changed(folder):
    (folder / "configuration.json").write_text('{"tasks": ["text-generation"], "old": 1}')
    document = {"tasks": ["text-classification"], "mine": {"a": 1}}
    model = Model.from_pretrained(folder, document)
    assert model.default_task == "text-classification"
    assert model.config.mine.a == 1
    assert "old" not in model.config
    model.config.mine.a = 2
    assert document == {"tasks": ["text-classification"], "mine": {"a": 1}}
    assert Model.from_pretrained(folder).default_task == "text-generation"


def test_every_error_of_a_load_is_ours():
    assert all(issubclass(getattr(errors, name), ModelScopeExtError) for name in errors.__all__)


def test_a_folder_that_looks_like_a_hub_id_is_said_in_the_log(tmp_path, monkeypatch, caplog):
    make_folder(tmp_path / "org" / "x")
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO, logger="modelscope_ext"):
        model = load("org/x")
    assert "org/x is taken as the local folder of that name" in caplog.text
    assert any(finding.code == "local-folder" for finding in model.resolution.findings)


def test_a_framework_the_files_are_not_for_is_an_error(folder):
    with pytest.raises(OptionError, match=r"framework='tf': nothing in .* is for it; its files are for numpy \(toy\)"):
        Model.from_pretrained(folder, framework="tf")


def test_a_declared_backend_that_nobody_knows_is_no_package_to_install(folder):
    says = r"declares the backend 'acme-evil' \(configuration.json: backend\), and nothing here knows it"
    (folder / "configuration.json").write_text('{"backend": "acme-evil"}')
    with pytest.raises(BackendNotLoadable, match=says) as told:
        Model.from_pretrained(folder)
    assert "pip install" not in str(told.value)
    assert "Pass backend=" in str(told.value)


def test_a_requirement_that_is_none_names_the_file_and_the_key(folder):
    with pytest.raises(ConfigError, match=r"configuration.json: requirement_dependency: expected requirements"):
        Model.from_pretrained(folder, cfg_dict={"requirement_dependency": ["!!"]})


def test_a_load_that_cannot_be_called_or_returns_nothing_says_so(folder):
    class Forgot(Model):
        def load(self, folder, resolution):
            return 1

    class Nothing(Model):
        @classmethod
        def load(cls, folder, resolution, **options):
            return None

    with pytest.raises(OptionError, match=r"Forgot.load is called on the class: write @classmethod above it"):
        Forgot.from_pretrained(folder)
    with pytest.raises(ModelScopeExtError, match=r"Nothing.load\(\) returned None; expected the library's own object"):
        Nothing.from_pretrained(folder)


def test_hooks_that_give_no_list_are_named(folder):
    class Empty(Model):
        def postprocess(self, outputs, **options):
            return None

    class One(Model):
        def postprocess(self, outputs, **options):
            return outputs[:1]

    says = "text-classification: the hooks of Empty gave NoneType for 2 inputs; expected a list"
    with pytest.raises(ModelScopeExtError, match=says):
        Empty.from_pretrained(folder).predict("text-classification", ["good", "bad"])
    with pytest.raises(ModelScopeExtError, match="1 outputs for 2 inputs from the hooks of One; expected one each"):
        One.from_pretrained(folder).predict("text-classification", ["good", "bad"])


def test_saving_over_a_file_or_nowhere_is_refused_before_anything_is_written(folder):
    model = Model.from_pretrained(folder)
    before = (folder / "toy.json").read_bytes()
    with pytest.raises(OptionError, match=r"save_pretrained: .*toy.json is a file; expected a folder"):
        model.save_pretrained(folder / "toy.json")
    with pytest.raises(OptionError, match=r"save_pretrained: expected a folder .*, got None"):
        model.save_pretrained(None)
    assert (folder / "toy.json").read_bytes() == before
