from __future__ import annotations

import gc
import weakref

import pytest

from modelscope_ext.errors import ModelScopeExtError, OptionError
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.base import Model
from modelscope_ext.models.resolution import Resolution, Source
from modelscope_ext.pipelines.base import Pipeline
from tests.toy import LABELS, WEIGHTS, Toy, Weights

GOOD = {"label": "POSITIVE", "score": 0.9}
BAD = {"label": "NEGATIVE", "score": 0.8}


class Counting(Toy):
    """Notes the size of every batch."""

    def __init__(self):
        self.batches = []

    def predict(self, native, task, inputs, **options):
        self.batches.append(len(inputs))
        return super().predict(native, task, inputs, **options)


def make_model(cls=Model, engine=None, tasks=("text-classification", "text-generation")):
    model = cls()
    resolution = Resolution(Source("local", path="./toy"), "numpy", "toy", tasks)
    model._attach(Loaded(Weights(LABELS, dict(WEIGHTS))), resolution, engine=engine or Toy())
    return model


@pytest.fixture
def pipe():
    return Pipeline(make_model())


def test_single_in_single_out_list_in_list_out(pipe):
    assert pipe("good") == GOOD
    assert pipe(["good"]) == [GOOD]
    assert pipe(["good", "bad"]) == [GOOD, BAD]
    assert pipe([]) == []


def test_a_generator_is_answered_lazily_in_bounded_batches():
    engine = Counting()
    pipe = Pipeline(make_model(engine=engine))
    taken = []

    def inputs():
        for word in ["good", "bad", "good", "bad", "good"]:
            taken.append(word)
            yield word

    outputs = pipe(inputs(), batch_size=2)
    assert taken == []
    assert next(outputs) == GOOD
    assert taken == ["good", "bad"]
    assert list(outputs) == [BAD, GOOD, BAD, GOOD]
    assert engine.batches == [2, 2, 1]


def test_anything_that_can_be_walked_is_answered_by_a_generator(pipe):
    class Dataset:
        def __getitem__(self, index):
            return ["good", "bad"][index]

        def __len__(self):
            return 2

    for inputs in (iter(["good", "bad"]), dict.fromkeys(["good", "bad"]).keys(), Dataset()):
        outputs = pipe(inputs)
        assert next(outputs) == GOOD
        assert list(outputs) == [BAD]


def test_a_bad_item_of_a_generator_is_named_when_it_comes(pipe):
    outputs = pipe(iter(["good", 3]))
    assert next(outputs) == GOOD
    with pytest.raises(OptionError, match="text-classification, input 1: expected a str"):
        next(outputs)


def test_batch_size_of_the_pipeline_and_of_the_call():
    engine = Counting()
    pipe = Pipeline(make_model(engine=engine), batch_size=3)
    pipe(["good"] * 4)
    pipe(["good"] * 4, batch_size=2)
    Pipeline(make_model(engine=engine))(["good"] * 2)
    assert engine.batches == [3, 1, 2, 2, 1, 1]


class Lengths(Toy):
    """Answers with the length of each text, and notes the batches."""

    def __init__(self):
        self.batches = []

    def predict(self, native, task, inputs, **options):
        self.batches.append([len("".join(one.values()) if isinstance(one, dict) else one) for one in inputs])
        return [{"label": str(length), "score": 1.0} for length in self.batches[-1]]


def test_texts_of_like_length_share_a_batch_and_answers_keep_their_order():
    engine = Lengths()
    pipe = Pipeline(make_model(engine=engine))
    texts = ["a" * 5, "a", ("aa", "aaaaa"), "aaa", "aa", "aaaa"]

    outputs = pipe(texts, batch_size=2)

    assert engine.batches == [[7, 5], [4, 3], [2, 1]]
    assert [output["label"] for output in outputs] == ["5", "1", "7", "3", "2", "4"]


def test_batches_are_as_given_where_numbers_are_drawn_or_inputs_come_one_by_one():
    engine = Lengths()
    pipe = Pipeline(make_model(engine=engine))
    texts = ["a", "aaa", "aa"]

    pipe(texts)
    list(pipe(iter(texts), batch_size=2))
    Pipeline(make_model(engine=engine), "text-generation")(texts, batch_size=2)

    assert engine.batches == [[1], [3], [2], [1, 3], [2], [1, 3], [2]]


@pytest.mark.parametrize("size", [0, -1, True, "2", 1.5])
def test_a_batch_size_is_a_whole_number(pipe, size):
    with pytest.raises(OptionError, match="expected a whole number of at least 1"):
        pipe("good", batch_size=size)


def test_raw_gives_the_librarys_own(pipe):
    assert pipe("good", raw=True) == [0.1, 0.9]
    assert pipe(["good", "bad"], raw=True) == [[0.1, 0.9], [0.8, 0.2]]
    assert list(pipe(iter(["good"]), raw=True)) == [[0.1, 0.9]]
    with pytest.raises(OptionError, match="expected True or False"):
        pipe("good", raw=1)


def test_options_reach_the_backend_and_unknown_ones_are_named(pipe):
    assert [one["label"] for one in pipe("bad", top_k=2)] == ["NEGATIVE", "POSITIVE"]
    assert len(pipe("bad", top_k=1)) == 1
    with pytest.raises(
        OptionError, match=r"text-classification: unknown option 'topk'\. Did you mean 'top_k'\?.*top_k"
    ):
        pipe("bad", topk=2)
    with pytest.raises(OptionError, match="unknown option 'max_new_tokens'"):
        pipe("bad", max_new_tokens=2)


def test_a_chat_is_one_input_and_streams():
    pipe = Pipeline(make_model(), "text-generation")
    chat = [{"role": "user", "content": "well now"}]
    assert pipe(chat) == {"generated_text": "well now and so on"}
    assert pipe([chat, "x"], max_new_tokens=4) == [{"generated_text": "well now and"}, {"generated_text": "x and"}]
    assert list(pipe(chat, stream=True)) == ["well", "now"]
    with pytest.raises(OptionError, match="one input at a time; got a list of 2"):
        pipe(["a", "b"], stream=True)
    with pytest.raises(OptionError, match="one input at a time: call the pipeline once for each"):
        pipe(iter("a"), stream=True)
    shouting = type("Shouting", (Pipeline,), {"postprocess": lambda self, inputs: inputs})
    with pytest.raises(OptionError, match="stream=True: Shouting has hooks of its own"):
        shouting(make_model(), "text-generation")("a", stream=True)


def test_half_a_character_is_refused_with_its_place(pipe):
    with pytest.raises(OptionError, match=r"text-classification: the text holds half a character at 5, .*\\ud800"):
        pipe("good \ud800")


def test_what_cannot_be_called_is_no_preprocessor():
    with pytest.raises(OptionError, match=r"preprocessor: expected something that can be called .* got int 3"):
        Pipeline(make_model(), preprocessor=3)


def test_what_a_library_raises_while_running_is_told_as_ours_with_its_cause():
    class Broken(Toy):
        def predict(self, native, task, inputs, **options):
            yield {"label": "x", "score": 0.5}
            raise ValueError("no such axis")

    with pytest.raises(ModelScopeExtError, match="toy failed at text-classification: ValueError: no such axis") as told:
        Pipeline(make_model(engine=Broken()))(["a", "b"], batch_size=2)
    assert isinstance(told.value.__cause__, ValueError)


def test_a_lack_of_memory_comes_through_unchanged():
    class OutOfMemoryError(RuntimeError):
        """As torch's class of that name."""

    for kind in (MemoryError, OutOfMemoryError):

        class Full(Toy):
            error = kind

            def predict(self, native, task, inputs, **options):
                raise self.error("full")

        with pytest.raises(kind, match="full"):
            Pipeline(make_model(engine=Full()))("a")


def test_an_infinite_generator_is_pulled_one_batch_at_a_time(pipe):
    pulled = []

    def endless():
        while True:
            pulled.append(len(pulled))
            yield "good"

    outputs = pipe(endless(), batch_size=3)
    assert pulled == []
    assert next(outputs) == GOOD
    assert pulled == [0, 1, 2]
    outputs.close()


def test_an_interruption_comes_through_and_leaves_the_pipeline_usable(pipe):
    def interrupted():
        yield "good"
        raise KeyboardInterrupt

    outputs = pipe(interrupted())
    assert next(outputs) == GOOD
    with pytest.raises(KeyboardInterrupt):
        next(outputs)
    assert pipe("good") == GOOD


def test_threads_share_a_pipeline(pipe):
    from concurrent.futures import ThreadPoolExecutor

    words = ["good", "bad", "fine"] * 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pipe, words)) == pipe(words)


def test_what_cannot_stream_says_so(pipe):
    with pytest.raises(OptionError, match="stream=True: backend 'toy' cannot stream 'text-classification'"):
        pipe("good", stream=True)


def test_fields_may_be_given_as_a_dict_by_name_or_by_position():
    pipe = Pipeline(make_model(tasks=("question-answering",)))
    answer = {"score": 1.0, "answer": "me"}
    for call in (
        lambda: pipe({"question": "who?", "context": "me too"}),
        lambda: pipe(question="who?", context="me too"),
        lambda: pipe("who?", "me too"),
        lambda: pipe("who?", context="me too"),
    ):
        assert call() == answer
    assert pipe(question=["who?", "what?"], context="me too") == [answer, answer]
    assert pipe(question=["who?", "what?"], context=["me", "you"])[1]["answer"] == "you"
    assert pipe([{"question": "who?", "context": "me"}]) == [answer]
    with pytest.raises(OptionError, match="lists of different lengths: 2 of question, 1 of context"):
        pipe(question=["a", "b"], context=["c"])
    with pytest.raises(OptionError, match="no input was given; it takes context, question"):
        pipe()
    with pytest.raises(OptionError, match="3 arguments for context, question"):
        pipe("a", "b", "c")


def test_a_list_field_is_not_a_batch():
    pipe = Pipeline(make_model(tasks=("sentence-similarity",)))
    assert pipe("a", ["a", "b"]) == [1.0, 0.0]
    assert pipe(source_sentence="a", sentences_to_compare=["a"]) == [1.0]
    assert pipe([{"source_sentence": "a", "sentences": ["b"]}]) == [[0.0]]


def test_positional_arguments_that_the_task_does_not_take(pipe):
    with pytest.raises(OptionError, match="takes one input; pass several as a list"):
        pipe("good", "bad")


def test_a_preprocessor_runs_before_the_model():
    pipe = Pipeline(make_model(), preprocessor=[str.strip, str.lower])
    assert pipe(["  GOOD ", "Bad"]) == [GOOD, BAD]


class Louder(Pipeline):
    """ModelScope's form: hooks on one input each."""

    def __init__(self, model, preprocessor=None, **kwargs):
        super().__init__(model=model, preprocessor=preprocessor, **kwargs)

    def preprocess(self, inputs, strip="x"):
        return inputs.strip(strip)

    def postprocess(self, inputs, suffix="!"):
        return {**inputs, "label": inputs["label"] + suffix}


def test_hooks_of_a_subclass_are_called_one_by_one_with_their_own_options():
    pipe = Louder(make_model())
    assert pipe("xgoodx")["label"] == "POSITIVE!"
    assert [one["label"] for one in pipe(["good", "ybad"], strip="y", suffix="?")] == ["POSITIVE?", "NEGATIVE?"]
    assert pipe("good", raw=True) == [0.1, 0.9]
    with pytest.raises(OptionError, match=r"unknown option 'sufix'\. Did you mean 'suffix'\?"):
        pipe("good", sufix="?")


def test_forward_alone_may_be_overridden():
    class Fixed(Pipeline):
        def forward(self, inputs, **options):
            return {"label": inputs, "score": float(options.get("score", 1))}

    assert Fixed(make_model())("x", score=2) == {"label": "x", "score": 2.0}


def test_closing_gives_back_only_what_it_owns():
    model = make_model()
    with Pipeline(model) as pipe:
        assert pipe("good") == GOOD
    with pytest.raises(ModelScopeExtError, match="was closed; make it again"):
        pipe("good")
    assert model.predict("text-classification", ["good"]) == [GOOD]
    native = weakref.ref(model.native)
    with Pipeline(model, owns_model=True) as pipe:
        outputs = pipe(iter(["good", "bad"]))
        next(outputs)
    pipe.close()
    gc.collect()
    assert native() is None
    with pytest.raises(ModelScopeExtError, match="was closed"):
        next(outputs)
    assert repr(pipe) == (
        "Pipeline(task='text-classification',"
        " model=Model(task='text-classification', backend='toy', source='./toy', closed))"
    )


def test_outputs_must_be_one_per_input():
    class Short(Toy):
        name = "short"

        def predict(self, native, task, inputs, **options):
            return list(super().predict(native, task, inputs, **options))[1:]

    with pytest.raises(ModelScopeExtError, match="0 outputs for 1 inputs from backend 'short'; expected one each"):
        Pipeline(make_model(engine=Short()))("good")


def test_no_task_is_an_error_that_says_what_to_pass():
    with pytest.raises(OptionError, match="no task: nothing says what this model is for"):
        Pipeline(make_model(tasks=()))("good")


@pytest.mark.parametrize("top_k", [0, -1, "2", 1.5, True])
def test_top_k_is_a_whole_number_where_answers_are_ranked(pipe, top_k):
    with pytest.raises(OptionError, match=r"text-classification: top_k=.*: expected a whole number of at least 1"):
        pipe("good", top_k=top_k)
    # Where text is made it belongs to the sampling, and 0 switches it off.
    Pipeline(make_model(), "text-generation")("good", top_k=0)
