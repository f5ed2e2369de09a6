"""The names of tasks, in every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import OptionError
from modelscope_ext.models.tasks import ALIASES, TASKS, Tasks, UnknownTask, canonical, canonical_all


@pytest.mark.parametrize(
    ("spelling", "task"),
    [
        ("TTS", "text-to-speech"),
        ("chat", "text-generation"),
        ("chatbot", "text-generation"),
        ("image_classification", "image-classification"),
        ("Pose-driven-image-generation", "text-to-image"),
        ("auto-speech-recognition", "automatic-speech-recognition"),
        ("text-to-video-synthesis", "text-to-video"),
        ("image-captioning", "image-to-text"),
        ("multimodal-dialogue", "image-text-to-text"),
        ("talking-head", "image-to-video"),
        ("sentence-embedding", "sentence-similarity"),
        ("punctuation", "token-classification"),
        ("Text Classification", "text-classification"),
        ("domain-specific-object-detection", "object-detection"),
        ("skin-retouching", "skin-retouching"),
        ("rex-uninlu", "rex-uninlu"),
    ],
)
def test_spellings_of_real_folders(spelling: str, task: str) -> None:
    assert canonical(spelling) == task


@pytest.mark.parametrize("spelling", ["others", "other", "None", "", "Strategic Reasoning Models", "undefined", "<b>"])
def test_what_names_no_task(spelling: str) -> None:
    assert canonical(spelling) is None


def test_strict_refuses_with_the_nearest_name() -> None:
    with pytest.raises(
        UnknownTask, match=r"Unknown task 'text-clasification'.*Did you mean 'text-classification'"
    ) as e:
        canonical("text-clasification", strict=True)
    assert isinstance(e.value, OptionError)
    with pytest.raises(UnknownTask, match="must be a str, not int"):
        canonical(3, strict=True)


def test_every_alias_leads_to_a_known_task_and_no_task_is_an_alias() -> None:
    assert {to for to in ALIASES.values() if to} <= set(TASKS)
    assert not ALIASES.keys() & TASKS.keys()


def test_constants() -> None:
    assert Tasks.text_classification == "text-classification"
    assert Tasks.sentence_embedding == "sentence-similarity"
    assert Tasks.vop_retrieval == "video-text-retrieval"
    assert "fill-mask" in Tasks and "nothing" not in Tasks and len(Tasks) == len(list(Tasks))
    assert Tasks.find_field_by_task("image-captioning") == "multi-modal"
    with pytest.raises(UnknownTask, match="Did you mean 'text_classification'"):
        Tasks.text_clasification
    assert not hasattr(Tasks, "no_such_task")
    assert "image_classification" in dir(Tasks)


@settings(max_examples=100, derandomize=True)
@given(st.text(max_size=80))
def test_canonical_is_total_and_idempotent(text: str) -> None:
    task = canonical(text)
    if task is not None:
        assert canonical(task) == task
        assert task == task.lower() and " " not in task


def test_lists_keep_order_and_lose_doubles() -> None:
    assert canonical_all(["chat", "others", "text-generation", 3, "vqa"]) == (
        "text-generation",
        "visual-question-answering",
    )


@pytest.mark.pt
def test_all_of_modelscopes_tasks_are_known() -> None:
    from modelscope.utils.constant import Tasks as Theirs

    names = [n for n in dir(Theirs) if not n.startswith("_") and isinstance(getattr(Theirs, n), str)]
    assert len(names) > 190
    for name in names:
        value = getattr(Theirs, name)
        if value == "other":
            assert canonical(value) is None and Tasks.other == "other"
            continue
        task = canonical(value)
        assert task in TASKS, value
        assert getattr(Tasks, name) == task
        if task == value:  # a name of its own keeps ModelScope's field, unless it is a tag of the hub's
            assert Tasks.find_field_by_task(value)
