from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscope_ext.errors import OptionError
from modelscope_ext.models.inputs import KINDS, is_lazy
from modelscope_ext.models.outputs import LAWS, SCALARS, difference
from modelscope_ext.models.schemas import SCHEMAS, check_output, normalise, schema_of
from modelscope_ext.models.tasks import TASKS

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
PAIR = {"text": "a", "text_pair": "b"}
SIMILAR = {"source_sentence": "a", "sentences": ["b", "c"]}
RANKING = {"query": "a", "documents": ["b", "c"]}
QUESTION = {"question": "who?", "context": "me"}

#: task, what users write for one input, what a backend gets
ONE = [
    ("text-classification", "good", "good"),
    ("text-classification", {"text": "good"}, "good"),
    ("text-classification", ("a", "b"), PAIR),
    ("text-classification", PAIR, PAIR),
    ("text-classification", {"text": "a", "text_pair": None}, "a"),
    ("token-classification", "Paris", "Paris"),
    ("fill-mask", "a [MASK]", "a [MASK]"),
    ("feature-extraction", "", ""),
    ("text-generation", "once", "once"),
    ("text-generation", CHAT, CHAT),
    ("text-generation", {"messages": CHAT}, CHAT),
    ("zero-shot-classification", "news", "news"),
    ("sentence-similarity", SIMILAR, SIMILAR),
    ("sentence-similarity", {"source_sentence": ["a"], "sentences_to_compare": ["b", "c"]}, SIMILAR),
    ("text-ranking", RANKING, RANKING),
    ("text-ranking", {"source_sentence": ["a"], "sentences_to_compare": ["b", "c"]}, RANKING),
    ("question-answering", QUESTION, QUESTION),
    ("audio-classification", [0.0, 0.5], None),
    ("siamese-uie", {"anything": 1}, {"anything": 1}),
]


def same(left, right):
    return right is None or left == right


@pytest.mark.parametrize(("task", "given", "expected"), ONE, ids=lambda v: v if isinstance(v, str) else None)
def test_one_input_is_single_and_a_list_of_it_is_not(task, given, expected):
    items, single = normalise(task, given)
    assert single
    assert len(items) == 1
    assert same(items[0], expected)
    for length in (1, 3):
        items, single = normalise(task, [given] * length)
        assert not single
        assert len(items) == length
        assert all(same(item, expected) for item in items)


def test_an_empty_list_stays_an_empty_list():
    assert normalise("text-generation", []) == ([], False)
    assert normalise("question-answering", []) == ([], False)


def test_a_list_of_chats_is_a_batch_and_the_caller_keeps_his_own():
    items, single = normalise("text-generation", [CHAT, "x", CHAT])
    assert (len(items), single, items[1]) == (3, False, "x")
    items[0][0]["content"] = "changed"
    assert CHAT[0]["content"] == "Hi"


@pytest.mark.parametrize(
    ("task", "given", "says"),
    [
        ("text-classification", 3, r"text-classification: expected a str, a tuple of two str, or .*got int: 3"),
        ("text-classification", ["a", None], r"text-classification, input 1: expected a str"),
        ("text-classification", {"txt": "a"}, r"expected a str, a tuple of two str"),
        ("token-classification", [["a"]], r"input 0: expected a str or \{'text': str\}; got list"),
        ("text-generation", [{"role": "user"}], r"message 0: it has a role but no content; its keys: \['role'\]"),
        ("text-generation", [{"role": 1, "content": "x"}], r"message 0: role must be a str, got int"),
        ("question-answering", "who?", r"expected a dict \{'question': text, 'context': text\}; got str"),
        ("question-answering", {"question": "who?"}, r"the key 'context' is missing"),
        ("question-answering", {"question": "q", "contxt": "c"}, r"unknown key 'contxt'.*Did you mean 'context'\?"),
        ("text-ranking", {"query": "q", "documents": "d"}, r"key 'documents': expected a list of str; got str"),
        ("image-classification", "https://x/y.png", r"is a URL, and inputs are fetched only where you say so"),
        ("image-classification", "no/such.png", r"no/such.png: no such file; expected an image: a path"),
        ("image-classification", ".", r"\.: a folder; expected an image"),
        ("image-classification", b"GIF", r"3 bytes: not an image that can be read"),
        ("image-classification", {"image": None}, r"expected an image"),
        ("audio-classification", {"raw": [[1.0, 2.0]] * 2}, r"audio is one channel of numbers; got shape \(2, 2\)"),
        ("video-classification", 1, r"expected a video"),
    ],
)
def test_what_a_task_does_not_take_is_named(task, given, says):
    with pytest.raises(OptionError, match=says):
        normalise(task, given)


def test_images_of_every_form_become_the_same_picture(tmp_path):
    import io

    import numpy as np
    from PIL import Image

    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    image = Image.fromarray(array)
    path = tmp_path / "a.png"
    image.save(path)
    stream = io.BytesIO()
    image.save(stream, "png")
    data = stream.getvalue()
    forms = [image, array, path, str(path), data, {"path": str(path)}, {"bytes": data, "path": None}, {"image": image}]
    for form in forms:
        [item], single = normalise("image-classification", form)
        assert single
        assert np.array_equal(np.asarray(item), array), form
    items, single = normalise("image-classification", np.stack([array, array]))
    assert (len(items), single) == (2, False)
    [grey], _ = normalise("image-classification", np.zeros((4, 4, 1), np.uint8))
    assert (grey.mode, grey.size) == ("L", (4, 4))


def test_a_photo_is_turned_upright(tmp_path):
    from PIL import Image

    photo = Image.new("RGB", (2, 4))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.jpg", exif=exif)
    [item], _ = normalise("image-classification", tmp_path / "a.jpg")
    assert item.size == (4, 2)


def test_an_array_of_floats_is_refused_with_the_conversion():
    import numpy as np

    with pytest.raises(OptionError, match=r"must be uint8.*\(array \* 255\)\.astype\('uint8'\)"):
        normalise("image-classification", np.zeros((4, 4)))
    with pytest.raises(OptionError, match=r"HxW or HxWxC with 1, 3 or 4 channels; got \(4, 4, 2\)"):
        normalise("image-classification", np.zeros((4, 4, 2), np.uint8))


def test_audio_keeps_its_rate_and_its_samples():
    import numpy as np

    [item], single = normalise("automatic-speech-recognition", {"array": np.zeros(3), "sampling_rate": 16_000})
    assert single
    assert (item["sampling_rate"], item["raw"].dtype.name, item["raw"].shape) == (16_000, "float32", (3,))
    items, single = normalise("automatic-speech-recognition", [np.zeros(3), np.zeros(5)])
    assert ([i["raw"].shape for i in items], single) == ([(3,), (5,)], False)


def test_lazy_is_what_must_be_walked():
    import numpy as np

    class Dataset:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return "a"

    assert all(map(is_lazy, [iter("ab"), (x for x in "ab"), range(2), {"a"}, Dataset(), map(str, [1])]))
    assert not any(map(is_lazy, ["a", b"a", ["a"], ("a", "b"), {"text": "a"}, np.zeros(3), 3, None]))


GOOD = {
    "text-classification": [{"label": "a", "score": 0.5}, [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.1}]],
    "token-classification": [
        [],
        [{"entity": "B", "score": 1.0, "index": 1, "word": "a", "start": 0, "end": 1}],
        [{"entity_group": "B", "score": 1.0, "word": "a", "start": None, "end": None}],
    ],
    "fill-mask": [[{"score": 0.5, "token": 3, "token_str": "a", "sequence": "a b"}]],
    "text-generation": [{"generated_text": "a"}, {"generated_text": CHAT}, [{"generated_text": "a"}]],
    "sentence-similarity": [[0.5, 0.25]],
    "text-ranking": [[{"index": 1, "score": 0.5, "document": "c"}, {"index": 0, "score": 0.25, "document": "b"}]],
    "zero-shot-classification": [{"sequence": "a", "labels": ["x", "y"], "scores": [0.9, 0.1]}],
    "image-classification": [[{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}]],
}


@pytest.mark.parametrize("task", GOOD)
def test_good_outputs_pass_and_are_json(task):
    for value in GOOD[task]:
        check_output(task, value)
        json.dumps(value)


@pytest.mark.parametrize(
    ("task", "value", "item", "says"),
    [
        (
            "text-classification",
            {"label": "a", "score": 1},
            None,
            r"output.score: expected a finite Python float, got int 1",
        ),
        ("text-classification", {"label": "a", "score": math.nan}, None, r"expected a finite Python float"),
        ("text-classification", {"label": "a"}, None, r"missing \['score'\]"),
        ("text-classification", {"label": "a", "score": 0.1, "x": 1}, None, r"not expected \['x'\]"),
        ("text-classification", [{"label": "a", "score": 0.1}, {"label": "a", "score": 0.2}], None, "falling order"),
        ("token-classification", {}, None, r"output: expected a list, got dict"),
        (
            "fill-mask",
            [{"score": 0.5, "token": True, "token_str": "a", "sequence": "b"}],
            None,
            r"token: expected an int",
        ),
        ("text-generation", {"generated_text": 1}, None, r"output.generated_text: expected a str, got int 1"),
        ("text-generation", {"generated_text": [{"role": "user"}]}, None, r"expected a chat message"),
        ("feature-extraction", [[0.1]], None, r"expected a float32 numpy array, got list"),
        ("sentence-similarity", [0.1], SIMILAR, r"1 scores for 2 sentences"),
        ("text-ranking", [{"index": 0, "score": 0.5, "document": "b"}], RANKING, r"1 of 2 documents are ranked"),
        ("text-ranking", [{"index": 2, "score": 0.5, "document": "b"}], RANKING, r"do not name each of 2 documents"),
        ("zero-shot-classification", {"sequence": "a", "labels": ["x"], "scores": []}, None, r"1 labels and 0 scores"),
        ("image-classification", {"label": "a", "score": 0.1}, None, r"output: expected a list"),
        ("siamese-uie", None, None, "anything but None"),
    ],
)
def test_a_bad_output_is_named_with_its_place(task, value, item, says):
    with pytest.raises(AssertionError, match=f"^{task}: .*{says}"):
        check_output(task, value, item)


def test_numpy_scalars_and_wrong_arrays_are_found():
    import numpy as np

    with pytest.raises(AssertionError, match=r"got numpy.float32"):
        check_output("text-classification", {"label": "a", "score": np.float32(0.5)})
    with pytest.raises(AssertionError, match=r"got numpy.float64"):
        check_output("text-classification", {"label": "a", "score": np.float64(0.5)})
    check_output("feature-extraction", np.zeros((2, 3), np.float32))
    check_output("feature-extraction", np.zeros(3, np.float32))
    with pytest.raises(AssertionError, match=r"an array \[tokens, width\], or \[width\] .*got \(1, 2, 3\)"):
        check_output("feature-extraction", np.zeros((1, 2, 3), np.float32))
    with pytest.raises(AssertionError, match=r"expected a float32 numpy array"):
        check_output("feature-extraction", np.zeros((2, 3)))


def test_a_top_k_may_shorten_a_ranking():
    value = [{"index": 1, "score": 0.5, "document": "c"}]
    check_output("text-ranking", value, RANKING, options={"top_k": 1})
    with pytest.raises(AssertionError):
        check_output("text-ranking", [{**value[0], "document": "b"}], RANKING, options={"top_k": 1})


def test_the_table_speaks_of_tasks_kinds_and_laws_that_exist():
    def scalars(pattern):
        if isinstance(pattern, dict):
            return {s for p in pattern.values() for s in scalars(p)}
        if isinstance(pattern, list | tuple):
            return {s for p in pattern for s in scalars(p)}
        return {pattern.rstrip("?")}

    assert set(SCHEMAS) <= set(TASKS)
    for task, schema in SCHEMAS.items():
        assert (schema.input in ("fields", "talk")) == bool(schema.fields), task
        assert schema.input in {*KINDS, "fields"}, task
        assert {kind.rstrip("?") for kind in schema.fields.values()} <= set(KINDS), task
        assert set(schema.aliases.values()) <= set(schema.fields), task
        assert set(schema.laws) <= set(LAWS), task
        assert scalars(schema.pattern) <= set(SCALARS), task
    assert schema_of("no-such-task").input == "any"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=6))
def test_any_list_of_texts_comes_back_in_order(texts):
    for task in ("text-classification", "text-generation", "feature-extraction", "zero-shot-classification"):
        assert normalise(task, texts) == (texts, False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(JSON, st.sampled_from(sorted(SCHEMAS)))
def test_any_input_is_normalised_or_refused_in_our_words(value, task):
    try:
        items, single = normalise(task, value)
    except OptionError as error:
        assert str(error).startswith(task)
        return
    assert single is False or len(items) == 1


@settings(max_examples=100, derandomize=True, deadline=None)
@given(JSON, st.sampled_from(sorted(SCHEMAS)))
def test_any_output_passes_or_fails_with_an_assertion(value, task):
    try:
        check_output(task, value)
    except AssertionError as error:
        assert str(error).startswith(task)


def test_outputs_are_compared_to_the_last_number():
    import numpy as np
    from PIL import Image

    one = {"a": [1.0, "x"], "b": np.ones((2, 2), np.float32), "c": Image.new("L", (2, 2))}
    same = {"a": [1.0 + 1e-9, "x"], "b": np.ones((2, 2), np.float32), "c": Image.new("L", (2, 2))}
    assert difference(one, same, 1e-6) is None
    assert difference(one, {**same, "b": np.zeros((2, 2), np.float32)}, 1e-6).startswith("output.b")
    assert difference(one, {**same, "b": [[1.0, 1.0], [1.0, 1.0]]}, 1e-6).startswith("output.b")
    assert difference(one, {**same, "b": np.ones(4, np.float32)}, 1e-6).startswith("output.b")
    assert difference(one, {**same, "c": Image.new("L", (2, 2), 9)}, 1e-6).startswith("output.c")
    assert difference(one, {**same, "a": [1.1, "x"]}, 1e-6) == "output.a[0]: 1.0 and 1.1"
    assert difference([1], [1, 2]) == "output: 1 and 2 items"
    assert difference({"a": 1}, {"b": 1}) == "output: the keys ['a'] and ['b']"
