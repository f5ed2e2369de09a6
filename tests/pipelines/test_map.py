"""`pipe.map`: one answer a row, in order, whatever is wrong with some of the rows."""

import gc
import weakref

import pytest

from modelscope_ext import pipeline
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.base import Model
from modelscope_ext.pipelines.base import Pipeline
from modelscope_ext.pipelines.mapping import Answer, Failure, window_of
from tests.equality import assert_close
from tests.tiny import onnx_

TEXTS = ["the cat", "a dog runs", "good", "the the the the the the the the", "bad film"] * 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return onnx_.write("text-classification", tmp_path_factory.mktemp("map") / "model")


@pytest.fixture
def pipe(folder):
    with pipeline(model=folder) as pipe:
        yield pipe


def test_rows_are_answered_as_a_call_answers_them_and_in_their_order(pipe):
    rows = [{"id": n, "text": f"{text} {n}"} for n, text in enumerate(TEXTS)]
    answers = list(pipe.map(rows, batch_size=4))
    assert [answer.row for answer in answers] == list(range(len(rows)))
    expected = pipe([row["text"] for row in rows])
    assert len({one["label"] for one in expected}) > 1
    assert_close([answer.output for answer in answers], expected)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 200])
def test_bad_rows_are_errors_in_their_place(pipe, batch_size):
    rows = [{"text": text} for text in TEXTS]
    bad = {
        0: {"text": 7},
        5: {"other": "x"},
        6: "no row",
        70: {"text": None},
        149: Failure("JSONDecodeError", "no JSON"),
    }
    for place, row in bad.items():
        rows[place] = row
    answers = list(pipe.map(iter([{"text": "the first row says which column"}, *rows]), batch_size=batch_size))
    assert [a.row - 1 for a in answers if a.error] == sorted(bad)
    assert [a.row for a in answers] == list(range(151))
    assert answers[150].error == bad[149]
    assert "no column 'text'" in answers[6].error.message and "got str" in answers[7].error.message
    good = [a for a in answers[1:] if a.error is None]
    assert_close([a.output for a in good], pipe([rows[a.row - 1]["text"] for a in good]))


class Picky(Model):
    """Fails for a whole batch where one text displeases it."""

    tasks = ("text-classification",)

    def __init__(self):
        self.batches = []

    def predict(self, task, inputs, **options):
        self.batches.append(list(inputs))
        for text in inputs:
            if text.startswith("bad"):
                raise ValueError(f"cannot do {text}")
            if text == "large" and len(inputs) > 1:
                raise MemoryError
        return [{"label": text, "score": 1.0} for text in inputs]


def test_a_batch_that_fails_is_cut_until_only_the_bad_rows_fail():
    model = Picky()
    rows = [f"t{n}" for n in range(16)]
    rows[3], rows[12], rows[13] = "bad 3", "bad 12", "large"
    answers = list(Pipeline(model).map(rows, batch_size=16))
    assert [a.output and a.output["label"] for a in answers] == [None if row.startswith("bad") else row for row in rows]
    assert answers[3].error == Failure("ValueError", "cannot do bad 3")
    assert len(model.batches) < 16


def test_a_model_that_gives_too_few_outputs_shifts_nothing():
    class Short(Picky):
        def predict(self, task, inputs, **options):
            return super().predict(task, inputs)[: 3 if len(inputs) > 3 else None]

    answers = list(Pipeline(Short()).map([f"t{n}" for n in range(8)], batch_size=8))
    assert [a.output["label"] for a in answers] == [f"t{n}" for n in range(8)]


def test_memory_holds_a_window_of_rows_at_most():
    class Row(str):
        __slots__ = ("__weakref__",)

    alive, most = weakref.WeakSet(), 0

    def rows():
        for n in range(1000):
            row = Row(f"t{n}")
            alive.add(row)
            yield row

    class Quiet(Picky):
        def predict(self, task, inputs, **options):
            return [{"label": str(text), "score": 1.0} for text in inputs]

    for answer in Pipeline(Quiet()).map(rows(), batch_size=4):
        if answer.row % 100 == 99:
            gc.collect()
            most = max(most, len(alive))
    assert answer.row == 999
    assert most <= 2 * window_of("text-classification", 4)


def test_columns_are_found_by_their_usual_names_or_asked_for(pipe):
    rows = [{"review": "the cat", "id": "a"}, {"review": "good dog", "id": "b"}]
    with pytest.raises(OptionError, match=r"which column is the input\? There are id, review"):
        list(pipe.map(rows))
    expected = pipe(["the cat", "good dog"])
    assert_close([a.output for a in pipe.map(rows, columns="review")], expected)
    assert_close([a.output for a in pipe.map(rows, columns={"text": "review"})], expected)
    with pytest.raises(OptionError, match=r"no column 'reviw'\. Did you mean 'review'"):
        list(pipe.map(rows, columns="reviw"))
    with pytest.raises(OptionError, match=r"has no field 'txt'\. Did you mean 'text'"):
        list(pipe.map(rows, columns={"txt": "review"}))


def test_pairs_have_two_columns(pipe):
    rows = [{"premise": "the cat", "hypothesis": "a dog"}, {"premise": "good", "hypothesis": "bad film"}]
    expected = pipe([("the cat", "a dog"), ("good", "bad film")])
    assert_close([a.output for a in pipe.map(rows)], expected)
    assert_close([a.output for a in pipe.map(rows, columns={"text": "premise", "text_pair": "hypothesis"})], expected)


def test_a_field_may_be_the_same_for_every_row(tmp_path):
    with pipeline(model=onnx_.write("question-answering", tmp_path)) as qa:
        rows = [{"context": "the cat runs"}, {"context": "a good dog"}]
        answers = [a.output for a in qa.map(rows, question="the dog")]
        assert_close(answers, qa([{"question": "the dog", **row} for row in rows]))
        with pytest.raises(OptionError, match="no column is named question"):
            list(qa.map(rows))


def test_pictures_and_a_missing_one():
    with pipeline(model=digits_folder(), backend="onnx") as digits:
        paths = [*map(str, digits_samples()), "none.png"]
        answers = list(digits.map(({"image": path} for path in paths), batch_size=4, top_k=1))
        assert [a.output[0]["label"] for a in answers[:10]] == list("0123456789")
        assert answers[10].error.type == "OptionError" and "none.png" in answers[10].error.message


def test_what_nobody_takes_is_said_before_a_row_is_read(pipe):
    def rows():
        raise AssertionError("a row was read")
        yield

    with pytest.raises(OptionError, match=r"unknown option 'topk'\. Did you mean 'top_k'"):
        pipe.map(rows(), topk=1)
    with pytest.raises(OptionError, match="expected rows, got one str"):
        pipe.map("a text")
    with pytest.raises(OptionError, match="batch_size=0"):
        pipe.map(rows(), batch_size=0)
    with pytest.raises(OptionError, match="a call takes URLs"):
        pipe.map(rows(), allow_sources=["org/name"])


def test_a_closed_pipeline_is_no_bad_row(folder):
    with pipeline(model=folder) as pipe:
        answers = pipe.map(["a"] * 100)
        assert isinstance(next(answers), Answer)
    with pytest.raises(ModelScopeExtError, match="was closed"):
        list(answers)


def test_raw_gives_the_librarys_own(pipe):
    [answer] = pipe.map(["the cat"], raw=True)
    assert_close(answer.output, pipe("the cat", raw=True))
