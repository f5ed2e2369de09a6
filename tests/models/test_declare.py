"""Declarations completed and compared, on hand-made decisions and on snapshots."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.metadata.declared import DECLARED, Fact, facts_of
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.declare import compare, complete_configuration, contradictions, document_text
from modelscope_ext.models.resolution import Finding, Reason, Resolution, Source

RESOLUTION = Resolution(
    Source("local", path="m"),
    "pytorch",
    "transformers",
    ("fill-mask", "feature-extraction"),
    "bert",
    ("torch>=2", "transformers"),
    because={"tasks": (Reason("config.json", "architectures", "BertForMaskedLM", "it is for fill-mask"),)},
)
COMPLETE = {
    "model_type": "bert",
    "framework": "pytorch",
    "backend": "transformers",
    "tasks": ["fill-mask", "feature-extraction"],
    "requirement_dependency": ["torch>=2", "transformers"],
}
BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}


def snapshot(configuration=None, config=BERT, **texts):
    files = {"config.json": json.dumps(config), **texts}
    if configuration is not None:
        files["configuration.json"] = json.dumps(configuration)
    return Snapshot.from_mapping(files, {"model.safetensors": 4096})


def test_a_new_document_has_the_documented_order():
    assert list(complete_configuration(RESOLUTION).items()) == list(COMPLETE.items())


def test_open_fields_are_left_out():
    assert complete_configuration(Resolution(Source("local"), None, "toy")) == {"backend": "toy"}


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_value_is_no_declaration(empty):
    assert complete_configuration(RESOLUTION, {"tasks": empty})["tasks"] == COMPLETE["tasks"]


keys = st.text(min_size=1, max_size=8) | st.sampled_from(sorted(COMPLETE))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(keys, values, max_size=6))
@settings(max_examples=100, derandomize=True)
def test_nothing_that_was_there_is_lost_or_moved_or_changed(existing):
    before = json.dumps(existing)
    complete = complete_configuration(RESOLUTION, existing)
    assert json.dumps(existing) == before
    assert [key for key in complete if key in existing] == list(existing)
    assert {k: v for k, v in complete.items() if existing.get(k) not in (None, "", [])} == {
        k: v for k, v in existing.items() if v not in (None, "", [])
    }
    assert set(complete) == set(existing) | set(COMPLETE)
    assert complete_configuration(RESOLUTION, complete) == complete


def test_replaced_fields_give_way_and_no_others():
    existing = {"task": "text-to-image", "tasks": ["text-to-image"], "framework": "Pytorch", "mine": 1}
    complete = complete_configuration(RESOLUTION, existing, replace=["tasks"])
    assert (complete["task"], complete["tasks"]) == ("fill-mask", COMPLETE["tasks"])
    assert (complete["framework"], complete["mine"]) == ("Pytorch", 1)


@pytest.mark.parametrize(
    ("like", "text"),
    [
        ("", '{\n  "a": "\u00e4"\n}\n'),
        ('{\n    "a": 1\n}', '{\n    "a": "\\u00e4"\n}\n'),
        ('{"a": "\u00f6"}', '{\n  "a": "\u00e4"\n}\n'),
        ('{\n\t"a": 1\n}', '{\n\t"a": "\\u00e4"\n}\n'),
    ],
)
def test_the_text_looks_like_the_one_before(like, text):
    assert document_text({"a": "\u00e4"}, like=like) == text


def test_a_lone_surrogate_can_be_written():
    document_text({"a": "\ud800"}).encode("utf-8")


def test_what_the_resolver_noted_is_the_verdict_on_tasks_and_frameworks():
    declared = facts_of({"task": "text-to-image", "framework": "paddle"}, DECLARED, "configuration.json")
    noted = [
        Finding("task-contradiction", "warning", "configuration.json", "task", "..."),
        Finding("framework-contradiction", "warning", "configuration.json", "framework", "..."),
        Finding("code-files", "info", "x.py", None, "..."),
    ]
    found = contradictions(RESOLUTION, declared, noted)
    assert [(c.level, c.field, c.declared) for c in found] == [
        ("error", "framework", "paddle"),
        ("error", "tasks", "text-to-image"),
    ]
    assert found[1].inferred == ["fill-mask", "feature-extraction"]
    assert found[1].message == (
        "configuration.json: task='text-to-image' is not what this architecture is made for; "
        "they say fill-mask, feature-extraction (config.json: it is for fill-mask)."
    )
    assert contradictions(RESOLUTION, declared) == ()


@pytest.mark.parametrize("name", ["transformers", "Transformers", "hf", "mindone"])
def test_a_backend_that_can_load_the_files_is_no_contradiction(name):
    assert (
        contradictions(RESOLUTION, {"backend": (Fact("configuration.json", "backend", name),)}, able=["mindone"]) == ()
    )


@pytest.mark.parametrize(
    ("file", "name", "level"),
    [
        ("configuration.json", "diffusers", "error"),
        ("configuration.json", "nobody-knows-it", "error"),
        ("README.md", "diffusers", "error"),
        ("README.md", "nobody-knows-it", "warning"),
        ("configuration.json", 7, "error"),
    ],
)
def test_a_backend_that_cannot(file, name, level):
    found = contradictions(RESOLUTION, {"backend": (Fact(file, "backend", name),)})
    assert [c.level for c in found] == [level]


def test_a_stranger_s_words_are_escaped():
    (found,) = contradictions(RESOLUTION, {"backend": (Fact("configuration.json", "backend", "x\x1b[2J\u202e"),)})
    assert found.message.isprintable()


def test_a_folder_is_compared_with_and_without_its_declarations():
    found = compare(snapshot({"framework": "pytorch", "task": "image-classification", "mine": 1}))
    assert found.inferred.tasks[0] == "fill-mask"
    assert [c.field for c in found.contradictions] == ["tasks"]
    assert [fact.key for fact in found.declared["tasks"]] == ["task"]


def test_a_trainers_stub_is_found_out():
    stub = {"framework": "pytorch", "task": "text-generation", "allow_remote": True}
    found = compare(snapshot(stub))
    assert [(c.field, c.level) for c in found.contradictions] == [("tasks", "error")]
    assert found.decided.default_task == "fill-mask"


@pytest.mark.parametrize(
    "configuration",
    [
        None,
        {},
        {"framework": "Pytorch", "task": "fill-mask"},
        {"backend": "mindone", "framework": "mindspore"},
        COMPLETE,
    ],
)
def test_agreement(configuration):
    assert compare(snapshot(configuration)).contradictions == ()


def test_a_model_known_by_its_declaration_alone_contradicts_nothing():
    configuration = {"framework": "pytorch", "task": "image-denoising", "model": {"type": "nafnet"}}
    only = Snapshot.from_mapping({"configuration.json": json.dumps(configuration)}, {"pytorch_model.pt": 4096})
    found = compare(only)
    assert found.decided.backend == "modelscope"
    assert found.contradictions == ()


def test_what_is_installed_plays_no_part(monkeypatch):
    before = compare(snapshot({"framework": "pytorch"}))
    monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
    assert compare(snapshot({"framework": "pytorch"})) == before
