"""What a class declares and what it was registered with, merged; the class itself is left alone."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from modelscope_ext.models.builder import MODELS, canonical_condition
from modelscope_ext.models.metadata import ModelMetadata
from modelscope_ext.utils.registry import Registry


class Base:
    languages = ("en",)
    license = "mit"


class Classifier(Base):
    """A docstring is not metadata."""

    tasks: ClassVar = ("text_classification", "fill-mask")
    framework = "pytorch"
    requirement_dependency = ("transformers>=4.37",)
    license = "apache-2.0"
    threshold = 0.5
    helper = staticmethod(len)
    _private = 1

    @property
    def late(self):
        return 1

    def forward(self, inputs):
        return inputs


@pytest.fixture
def models():
    return Registry("models", normalise=canonical_condition)


def test_an_unregistered_class_says_what_it_declares(models: Registry) -> None:
    assert ModelMetadata.of(Classifier, models) == ModelMetadata(
        name="Classifier",
        path="tests.models.test_metadata:Classifier",
        tasks=("text-classification", "fill-mask"),
        frameworks=("pytorch",),
        requirement_dependency=("transformers>=4.37",),
        extra={"languages": ("en",), "license": "apache-2.0", "threshold": 0.5},
    )


def test_registrations_are_merged_and_the_class_is_not_written_to(models: Registry) -> None:
    before = dict(vars(Classifier))
    models.register_module(module_name="one", module_cls=Classifier, backend="transformers", task="fill-mask")
    models.register_module(
        module_name="two", module_cls="tests.models.test_metadata:Classifier", model_type=("bert", "gpt2")
    )
    known = ModelMetadata.of(Classifier, models)
    assert (known.tasks, known.default_task) == (("text-classification", "fill-mask"), "text-classification")
    assert (known.backends, known.backend) == (("transformers",), "transformers")
    assert (known.model_types, known.model_type) == (("bert", "gpt2"), "bert")
    assert known.framework == "pytorch"
    assert known.names == ("one", "two")
    assert known.origins == ("module tests.models.test_metadata",)
    assert dict(vars(Classifier)) == before


def test_what_only_the_registration_says(models: Registry) -> None:
    class Bare: ...

    models.register_module("translation", "bare", Bare, framework="Pytorch")
    known = ModelMetadata.of(Bare, models)
    assert (known.default_task, known.framework, known.backend, known.model_type) == (
        "translation",
        "pytorch",
        None,
        None,
    )
    assert known.extra == {}


def test_it_is_json(models: Registry) -> None:
    document = json.loads(json.dumps(ModelMetadata.of(Classifier, models).to_dict()))
    assert document["tasks"] == ["text-classification", "fill-mask"]
    assert (document["default_task"], document["framework"], document["backend"]) == (
        "text-classification",
        "pytorch",
        None,
    )
    assert document["extra"] == {"languages": ["en"], "license": "apache-2.0", "threshold": 0.5}


def test_the_public_registry_is_the_default_and_our_base_adds_nothing() -> None:
    from modelscope_ext import Model
    from modelscope_ext import ModelMetadata as Public

    class Mine(Model):
        tasks = ("fill-mask",)
        license = "mit"

    with MODELS.temporary():
        MODELS.register_module("fill-mask", "mine", Mine, backend="transformers")
        known = Public.of(Mine)
    assert (known.names, known.backend, known.extra) == (("mine",), "transformers", {"license": "mit"})
    assert ModelMetadata.of(Model).extra == {}
    assert ModelMetadata.of(Mine).names == ()


@pytest.mark.pt
def test_a_framework_base_adds_nothing(models: Registry) -> None:
    import torch

    class Net(torch.nn.Module):
        tasks = "image-classification"
        image_size = 8

    known = ModelMetadata.of(Net, models)
    assert (known.tasks, known.extra) == (("image-classification",), {"image_size": 8})
