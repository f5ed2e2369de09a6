from __future__ import annotations

import gc
import json
import weakref

import pytest

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.base import Model
from tests.pipelines.test_base import BAD, GOOD, make_model
from tests.toy import NAME, Toy, make_folder


def test_unknown_attributes_and_calls_go_to_the_librarys_object():
    model = make_model()
    assert model.labels == ["NEGATIVE", "POSITIVE"]
    assert model("good") == [0.1, 0.9]
    assert model.native.table is model.table
    with pytest.raises(AttributeError, match="'Model' object has no attribute 'nothing'"):
        model.nothing
    with pytest.raises(AttributeError, match="'Model' object has no attribute '_private'"):
        model._private


def test_an_empty_model_has_no_attributes_of_another():
    model = Model("./folder")
    assert model.model_dir == "./folder"
    with pytest.raises(AttributeError):
        model.labels


def test_a_str_as_cfg_dict_names_revision():
    with pytest.raises(TypeError, match=r"cfg_dict='v1': expected a Config, .*revision='v1'"):
        Model.from_pretrained("./x", "v1")


def test_hooks_are_called_in_order_on_lists():
    calls = []

    class Mine(Model):
        def preprocess(self, inputs):
            calls.append(("preprocess", inputs))
            return [text.lower() for text in inputs]

        def forward(self, inputs, **options):
            calls.append(("forward", inputs, options))
            return super().forward(inputs, **options)

        def postprocess(self, outputs, suffix=""):
            calls.append(("postprocess", len(outputs)))
            return [{**one, "label": one["label"] + suffix} for one in outputs]

    model = make_model(Mine)
    outputs = model.predict("text-classification", ["GOOD", "bad"], suffix="!", batch_size=2)
    assert [one["label"] for one in outputs] == ["POSITIVE!", "NEGATIVE!"]
    assert [call[0] for call in calls] == ["preprocess", "forward", "postprocess"]
    assert calls[0][1] == ["GOOD", "bad"]
    assert calls[1][1] == ["good", "bad"]
    assert model.call_options("text-classification") == {"top_k", "suffix"}
    assert model.predict("text-classification", ["GOOD"], raw=True) == [[0.1, 0.9]]


def test_a_class_without_backend_and_forward_says_so():
    model = make_model()
    model._engine = None
    with pytest.raises(ModelScopeExtError, match=r"Model has no forward\(\) and no backend to run it"):
        model.predict("text-classification", ["a"])
    with pytest.raises(OptionError, match="Model cannot stream"):
        model.stream("text-generation", "a")


def test_any_option_where_a_class_runs_itself_and_takes_any():
    class Mine(Model):
        def forward(self, inputs, **options):
            return [options["x"] for _ in inputs]

    model = make_model(Mine)
    model._engine = None
    assert model.call_options("text-classification") is None
    assert model.predict("text-classification", ["a"], x=3) == [3]


def test_config_is_completed_and_detached():
    model = make_model()
    model._configuration = {"framework": "Numpy", "mine": {"a": 1}}
    assert model.config.framework == "Numpy"
    assert model.config.mine.a == 1
    assert model.config.tasks == ["text-classification", "text-generation"]
    model.config.mine.a = 2
    assert model.config.mine.a == 1


def test_save_writes_the_model_and_a_complete_configuration(tmp_path):
    target = make_folder(tmp_path / "saved", configuration__json={"framework": "old", "kept": [1]})
    model = make_model()
    model._configuration = {"also": "kept"}
    model.save_pretrained(target)
    assert json.loads((target / "configuration.json").read_text()) == {
        "framework": "numpy",
        "backend": "toy",
        "tasks": ["text-classification", "text-generation"],
        "kept": [1],
        "also": "kept",
    }
    assert json.loads((target / NAME).read_text())["labels"] == model.labels
    assert sorted(p.name for p in target.iterdir()) == ["configuration.json", NAME]


def test_a_failed_save_leaves_the_configuration_alone(tmp_path):
    class Failing(Toy):
        def save(self, native, folder):
            raise OSError("disk full")

    target = make_folder(tmp_path, configuration__json={"kept": 1})
    with pytest.raises(OSError, match="disk full"):
        make_model(engine=Failing()).save_pretrained(target)
    assert json.loads((target / "configuration.json").read_text()) == {"kept": 1}


def test_what_cannot_be_saved_says_so(tmp_path):
    model = make_model()
    model._engine = None
    with pytest.raises(ModelScopeExtError, match=r"Model cannot be saved: it has no save_pretrained\(\)"):
        model.save_pretrained(tmp_path)


def test_a_backend_without_save_says_so_and_leaves_no_folder_behind(tmp_path):
    class Unsaveable(Toy):
        save = Backend.save

    with pytest.raises(ModelScopeExtError, match="backend 'toy' cannot save its models") as told:
        make_model(engine=Unsaveable()).save_pretrained(tmp_path / "new")
    assert isinstance(told.value.__cause__, NotImplementedError)
    assert not (tmp_path / "new").exists()


def test_closing_frees_the_object_and_says_so_afterwards():
    model = make_model()
    native = model.native
    ref = weakref.ref(native)
    model.close()
    model.close()
    assert native.closed
    del native
    gc.collect()
    assert ref() is None
    assert repr(model) == "Model(task='text-classification', backend='toy', source='./toy', closed)"
    for use in (
        lambda: model.native,
        lambda: model("good"),
        lambda: model.predict("text-classification", ["good"]),
        lambda: model.save_pretrained("x"),
    ):
        with pytest.raises(ModelScopeExtError, match="was closed, and its memory given back; load it again"):
            use()
    with pytest.raises(AttributeError, match=r"no attribute 'labels' \(the model is closed\)"):
        model.labels


def test_a_backend_that_fails_to_close_still_loses_its_object():
    class Failing(Toy):
        def close(self, native):
            raise RuntimeError("stuck")

    model = make_model(engine=Failing())
    ref = weakref.ref(model.native)
    with pytest.raises(RuntimeError, match="stuck"):
        model.close()
    gc.collect()
    assert ref() is None


def test_a_model_is_a_context():
    with make_model() as model:
        assert model.predict("text-classification", ["good", "bad"]) == [GOOD, BAD]
    assert model._closed


@pytest.mark.pt
def test_closing_returns_the_memory_of_a_real_model():
    """The resident size of a fresh process drops by most of 128 MB of weights, and does so each time."""
    from tests.reference import in_process

    sizes = in_process(_MEMORY)
    for loaded, closed in sizes:
        assert loaded > 110, sizes
        assert closed < 25, sizes


_MEMORY = """
import gc, os, torch
from modelscope_ext.models.backend import Backend, Loaded
from modelscope_ext.models.base import Model
from modelscope_ext.models.memory import eased_collector
from modelscope_ext.models.resolution import Resolution, Source

class Big(Backend):
    name = "big"

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def layers():
    # Small tensors come from the heap, large ones from maps of their own; both must come back. A cycle holds them.
    net = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(4096))
    net.append(torch.nn.Linear(4096, 4096))
    net.itself = [net]
    return net

layers(); gc.collect()
from modelscope_ext.models.memory import release
release()
result = []
for _ in range(3):
    before = resident()
    with eased_collector():
        model = Model()
        decided = Resolution(Source("local"), "pytorch", "big")
        model._attach(Loaded(layers(), {"twin": torch.ones(1)}), decided, engine=Big())
    loaded = resident() - before
    model.close()
    result.append([loaded, resident() - before])
"""
