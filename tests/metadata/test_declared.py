import pytest

from modelscope_ext.metadata.declared import DECLARED, TAGGED, Fact, facts_of, is_configuration


def declared(document):
    return {name: [fact.value for fact in facts] for name, facts in facts_of(document, DECLARED, "f").items()}


def tagged(document):
    return {name: [fact.value for fact in facts] for name, facts in facts_of(document, TAGGED, "f").items()}


SHAPES = {
    "web form": ({"framework": "Pytorch", "task": "fill-mask"}, {"framework": ["Pytorch"], "tasks": ["fill-mask"]}),
    "stub": (
        {"framework": "pytorch", "task": "text-generation", "allow_remote": True},
        {"framework": ["pytorch"], "tasks": ["text-generation"], "allow_remote": [True]},
    ),
    "native": (
        {"framework": "pytorch", "task": "x", "model": {"type": "m", "model_config": {}}, "pipeline": {"type": "p"}},
        {"framework": ["pytorch"], "tasks": ["x"], "native_type": ["m"], "pipeline_type": ["p"]},
    ),
    "ours": (
        {"model_type": "qwen2", "framework": "pytorch", "backend": "transformers", "tasks": ["a", "b"],
         "requirement_dependency": ["transformers>=4.37"]},
        {"model_type": ["qwen2"], "framework": ["pytorch"], "backend": ["transformers"], "tasks": ["a", "b"],
         "requirements": ["transformers>=4.37"]},
    ),
    "tasks before task": ({"tasks": ["a"], "task": "b"}, {"tasks": ["a", "b"]}),
    "lists": ({"framework": ["pytorch", "onnx"]}, {"framework": ["pytorch", "onnx"]}),
    "pretrained": (
        {"task": "x", "model": {"type": "m", "pretrained_model_name_or_path": "org/base"}},
        {"tasks": ["x"], "native_type": ["m"], "pretrained": ["org/base"]},
    ),
    "plugins": ({"task": "x", "plugins": ["evil-plugin"]}, {"tasks": ["x"], "plugins": ["evil-plugin"]}),
    "nothing": ({}, {}),
    "nulls and empty strings": ({"framework": None, "task": "", "model": None}, {}),
    "types that are none": ({"task": "x", "model": "name", "pipeline": []}, {"tasks": ["x"]}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_configuration_json_is_read(shape):
    document, expected = SHAPES[shape]
    assert declared(document) == expected
    assert is_configuration(document)


CARDS = {
    "hugging face": (
        {"library_name": "transformers", "pipeline_tag": "fill-mask", "base_model": ["a/b"], "tags": ["x"]},
        {"library": ["transformers"], "tasks": ["fill-mask"], "base_model": ["a/b"], "tags": ["x"]},
    ),
    "modelscope": (
        {"tasks": ["a", "b"], "frameworks": ["pytorch"], "domain": ["nlp"], "model-type": ["bert"],
         "model_type": "gpt"},
        {"tasks": ["a", "b"], "framework": ["pytorch"], "domain": ["nlp"], "model_type": ["bert", "gpt"]},
    ),
    "a string where a list is usual": (
        {"frameworks": "PyTorch", "domain": "nlp"}, {"framework": ["PyTorch"], "domain": ["nlp"]},
    ),
    "widgets": (
        {"widgets": [{"task": "a", "inputs": []}, "x", {"task": "b"}], "libraries": ["pytorch"]},
        {"tasks": ["a", "b"], "library": ["pytorch"]},
    ),
    "modelers": (
        {"pipeline_tag": "text-to-image", "frameworks": "PyTorch", "library_name": "openmind", "hardwares": ["NPU"]},
        {"tasks": ["text-to-image"], "framework": ["PyTorch"], "library": ["openmind"]},
    ),
    "undefined": ({"base_model": "undefined", "tags": [None, "", "x"]}, {"tags": ["x"]}),
}  # fmt: skip


@pytest.mark.parametrize("shape", CARDS)
def test_every_shape_of_front_matter_is_read(shape):
    document, expected = CARDS[shape]
    assert tagged(document) == expected


def test_a_fact_names_its_place():
    facts = facts_of({"tasks": ["a", "b"], "widgets": [{"task": "c"}]}, TAGGED, "README.md")["tasks"]
    assert facts == (
        Fact("README.md", "tasks[0]", "a"),
        Fact("README.md", "tasks[1]", "b"),
        Fact("README.md", "widgets[0].task", "c"),
    )


FOREIGN = [
    {"a": 1, "b": 2}, {"model": "gpt-4", "temperature": 1}, {"plugins": ["x"], "presets": []}, {"train": True, "lr": 1},
    {"backend": "redis", "host": "a", "port": 1, "db": 0}, {"task": {"id": 5}}, {"model": {"layers": 3}},
    {"entrypoint": "main.py", "dataset": "x"}, {"task": "", "x": 1},
]  # fmt: skip


@pytest.mark.parametrize("document", FOREIGN)
def test_another_programs_file_is_not_a_models(document):
    assert not is_configuration(document)
