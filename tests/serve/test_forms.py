"""Forms and answers of the page, without Gradio: every task can be asked for, every answer shown."""

import pytest

from modelscope_ext.models.inputs import KINDS
from modelscope_ext.models.schemas import SCHEMAS, normalise
from modelscope_ext.serve.refusal import Refused
from modelscope_ext.web.forms import FORMS, fields_of, item_of
from modelscope_ext.web.shows import show_of
from modelscope_ext.web.words import WORDS

CHATS = {task for task, schema in SCHEMAS.items() if schema.input in ("chat", "talk")}


@pytest.mark.parametrize("task", sorted(set(SCHEMAS) - CHATS))
def test_every_task_has_a_form(task):
    for name, kind in fields_of(task).items():
        assert kind.rstrip("?") in FORMS
        assert name in WORDS or kind.rstrip("?") in WORDS, f"{name} has no words in two languages"
    assert callable(show_of(task).value)


def test_every_kind_has_a_form_or_is_a_chat():
    assert set(KINDS) - set(FORMS) == {"pair", "chat", "talk"}


def test_the_values_of_a_form_become_an_input_of_the_task():
    assert item_of("text-classification", ["good", ""]) == "good"
    assert item_of("text-classification", ["good", "bad"]) == {"text": "good", "text_pair": "bad"}
    ranking = item_of("text-ranking", ["red", "a cherry\n\na lemon"])
    assert ranking == {"query": "red", "documents": ["a cherry", "a lemon"]}
    assert normalise("text-ranking", ranking)[0] == [ranking]
    table = item_of("table-question-answering", [[["city", "people"], ["Rome", "3"], ["", ""]], "how many?"])
    assert table == {"table": {"city": ["Rome"], "people": ["3"]}, "query": "how many?"}
    assert item_of("unconditional-image-generation", [None]) is None
    assert list(item_of("time-series-forecasting", ["1, 2 3"])) == [1.0, 2.0, 3.0]
    assert item_of("decision", ["it rains", '{"a": {"type": "noul"}}'])["questions"] == {"a": {"type": "noul"}}


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("text-classification", ["", ""]),
        ("text-ranking", ["red", " \n "]),
        ("image-classification", [None]),
        ("time-series-forecasting", ["1, x"]),
        ("decision", ["it rains", "{"]),
    ],
)
def test_what_is_missing_or_wrong_is_said(task, values):
    with pytest.raises(Refused):
        item_of(task, values)


def test_answers_are_drawn():
    import numpy as np
    from PIL import Image

    image = Image.new("L", (6, 4))
    found = [{"label": "cat", "score": 0.9, "box": {"xmin": 1, "ymin": 0, "xmax": 3, "ymax": 2}}]
    picture, boxes = show_of("object-detection").value(found, image)
    assert picture.mode == "RGB" and boxes == [((1, 0, 3, 2), "cat 0.90")]
    mask = Image.fromarray(np.array([[0, 255]] * 2, dtype=np.uint8))
    _, [(drawn, name)] = show_of("image-segmentation").value([{"label": "sky", "score": None, "mask": mask}], image)
    assert name == "sky" and drawn.tolist() == [[0, 1], [0, 1]]
    item = {"source_sentence": "a", "sentences": ["b", "c"]}
    assert show_of("sentence-similarity").value([0.1, 0.91239], item) == [["c", 0.9124], ["b", 0.1]]
    rate, samples = show_of("text-to-audio").value({"audio": np.zeros((2, 5), "float32"), "sampling_rate": 8}, "x")
    assert (rate, samples.shape) == (8, (5, 2))
    entities = [{"entity_group": "PER", "score": 0.9, "word": "Ann", "start": 0, "end": 3}]
    shown = show_of("token-classification").value(entities, "Ann sat")
    assert shown == {"text": "Ann sat", "entities": [{"entity": "PER", "start": 0, "end": 3}]}


def test_both_languages_have_every_word():
    assert all(len(both) == 2 and all(both) for both in WORDS.values())
