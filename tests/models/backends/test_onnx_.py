"""The ONNX backend without torch: what handmade graphs must answer, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    MalformedMetadata,
    NotAModel,
    OptionError,
    PathEscapeRefused,
    TemplateRefused,
    UnknownTypeError,
)
from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close
from tests.models.backends.onnx_cases import CHAT, TEXTS, edit, load, predict, sentence


class OnnxConformance(BackendConformance):
    """What holds for every kind of folder."""

    backend = Onnx

    def make_folder(self, tmp_path):
        from tests.tiny import onnx_

        return onnx_.write(self.task, tmp_path / "model")

    def near_misses(self, tmp_path):
        from tests.tiny import onnx_

        torch = onnx_.write(self.task, tmp_path / "torch")
        (torch / "model.onnx").rename(torch / "pytorch_model.bin")
        yield torch
        notes = tmp_path / "notes"
        notes.mkdir()
        (notes / "model.onnx.md").write_text("about a model")
        yield notes


class TestTexts(OnnxConformance):
    task = "text-classification"
    inputs = TEXTS
    call_values = {"top_k": 2, "function_to_apply": "sigmoid"}
    load_values = {"file_name": "model.onnx", "threads": 1, "max_length": 8}


class TestTokens(OnnxConformance):
    task = "token-classification"
    inputs = TEXTS
    call_values = {"aggregation_strategy": "first", "ignore_labels": []}


class TestMasks(OnnxConformance):
    task = "fill-mask"
    inputs = ("the [MASK] sat", "john [MASK] in paris")
    call_values = {"top_k": 2, "targets": ["cat"]}


class TestFeatures(OnnxConformance):
    task = "feature-extraction"
    inputs = TEXTS
    load_values = {"max_length": 8}


class TestRankings(OnnxConformance):
    task = "text-ranking"
    inputs = ({"query": "a", "documents": ["cat", "dog"]}, {"query": "john", "documents": ["paris", "in london", "a"]})
    call_values = {"top_k": 1}


class TestGeneration(OnnxConformance):
    task = "text-generation"
    inputs = ("the cat", "john lives")
    call_values = {"max_new_tokens": 2, "return_full_text": False, "repetition_penalty": 1.2, "eos_token_id": 7}


class TestAnswers(OnnxConformance):
    task = "question-answering"
    inputs = (
        {"question": "who lives in paris?", "context": "john lives in london and mary lives in paris"},
        {"question": "what sat?", "context": "the cat sat on the big red mat"},
    )
    call_values = {
        "top_k": 2,
        "max_seq_len": 24,
        "doc_stride": 4,
        "max_answer_len": 2,
        "handle_impossible_answer": True,
    }


class TestBoxes(OnnxConformance):
    task = "object-detection"
    inputs = tuple(str(p) for p in digits_samples()[:3])
    call_values = {"threshold": 0.1}

    def make_folder(self, tmp_path):
        from tests.tiny import onnx_queries

        outputs = {"logits": "labels", "pred_boxes": "boxes"}
        folder = onnx_queries.write(tmp_path / "model", "DetrImageProcessor", outputs)
        edit(folder, "config.json", architectures=["DetrForObjectDetection"])
        return folder

    def near_misses(self, tmp_path):
        folder = self.make_folder(tmp_path / "other")
        (folder / "model.onnx").unlink()
        yield folder


class TestMasksOfPictures(TestBoxes):
    task = "image-segmentation"
    call_values = {
        "subtask": "semantic",
        "threshold": 0.1,
        "mask_threshold": 0.2,
        "overlap_mask_area_threshold": 0.1,
    }

    def make_folder(self, tmp_path):
        from tests.tiny import onnx_queries

        outputs = {"class_queries_logits": "labels", "masks_queries_logits": "masks"}
        folder = onnx_queries.write(tmp_path / "model", "MaskFormerImageProcessor", outputs)
        edit(folder, "config.json", model_type="maskformer", architectures=["MaskFormerForInstanceSegmentation"])
        return folder


class TestSounds(OnnxConformance):
    task = "audio-classification"
    call_values = {"top_k": 1, "function_to_apply": "sigmoid"}

    @property
    def inputs(self):
        from tests.models.backends.test_onnx_sounds import sound

        return tuple({"raw": sound(n, seconds=s), "sampling_rate": 8000} for n, s in ((0, 0.4), (1, 0.5), (2, 0.4)))

    def make_folder(self, tmp_path):
        from tests.tiny import onnx_sounds

        return onnx_sounds.write(self.task, tmp_path / "model")

    def near_misses(self, tmp_path):
        folder = self.make_folder(tmp_path / "other")
        (folder / "model.onnx").unlink()
        yield folder


class TestSpeech(TestSounds):
    task = "automatic-speech-recognition"
    call_values = {"return_timestamps": "word", "chunk_length_s": 0.2, "stride_length_s": 0.05}


class TestPictures(OnnxConformance):
    """The shipped model, as it is where nobody has its PyTorch weights."""

    task = "image-classification"
    inputs = tuple(str(p) for p in digits_samples()[:3])
    call_values = {"top_k": 1}

    def make_folder(self, tmp_path):
        return Path(
            shutil.copytree(digits_folder(), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
        )

    def near_misses(self, tmp_path):
        yield Path(shutil.copytree(digits_folder(), tmp_path / "torch", ignore=shutil.ignore_patterns("onnx")))


@pytest.fixture
def fixture(tmp_path):
    """Return a function that writes a handmade folder, to be changed at will."""

    def make(name, **options):
        from tests.tiny import onnx_

        return onnx_.write(name, tmp_path / name, **options)

    return make


def test_a_question_that_fills_the_window_is_told(fixture):
    question = {"question": "who lives in paris and who lives in london?", "context": "mary lives in paris"}
    with pytest.raises(OptionError, match=r"windows of 12 tokens that share 6 leave no room.*pass max_seq_len="):
        predict(fixture("question-answering"), "question-answering", [question], max_seq_len=12)
    with pytest.raises(OptionError, match="the context is empty"):
        predict(fixture("question-answering"), "question-answering", [{**question, "context": ""}])


def test_an_answer_is_the_likeliest_span_of_words(fixture):
    """By hand: chances over the context and the first token, the best pair, widened to words."""
    import numpy as np

    from tests.tiny import onnx_

    folder = fixture("question-answering")
    asked = {"question": "who sat?", "context": "john lives in london and mary lives in paris"}
    [found] = predict(folder, "question-answering", [asked])
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(asked["question"], asked["context"])
    logits = onnx_.expected("question-answering", words.ids)
    inside = [i for i, part in enumerate(words.sequence_ids) if part == 1]
    start, end = (np.exp(column) / np.exp(column[[0, *inside]]).sum() for column in logits.T)
    score, first, last = max((start[i] * end[j], i, j) for i in inside for j in inside if i <= j < i + 15)
    a, b = words.offsets[first][0], words.offsets[last][1]
    assert found["answer"] == asked["context"][found["start"] : found["end"]]
    assert (found["start"], found["end"]) == (a, b)
    assert found["score"] == pytest.approx(float(score), abs=1e-5)


def test_nothing_of_torch_is_imported(fixture):
    script = f"""
import sys
from pathlib import Path
from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.models.resolution import Resolution, Source
from modelscope_ext.safety.grants import Grants
assert not {{"onnxruntime", "numpy", "PIL", "tokenizers"}} & set(sys.modules)
folder = Path({str(fixture("text-classification"))!r})
loaded = Onnx().load(folder, Resolution(Source("local"), "onnx", "onnxruntime"), Grants())
print(Onnx().predict(loaded, "text-classification", ["a cat"]))
assert not {{"torch", "transformers", "PIL"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=Path(__file__).parents[3])


def test_text_classification_is_what_the_graph_says(fixture):
    import numpy as np

    from tests.tiny import onnx_

    folder = fixture("text-classification")
    found = predict(folder, "text-classification", TEXTS, top_k=None)
    for text, labels in zip(TEXTS, found, strict=True):
        logits = onnx_.expected("text-classification", ids(folder, text)).mean(axis=0)
        scores = np.exp(logits) / np.exp(logits).sum()
        assert {r["label"]: pytest.approx(r["score"], abs=1e-5) for r in labels} == dict(
            zip(("NEGATIVE", "NEUTRAL", "POSITIVE"), scores.tolist(), strict=True)
        )
    assert len({labels[0]["label"] for labels in found}) > 1


def ids(folder, text):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def test_one_by_one_equals_the_batch(fixture):
    folder = fixture("text-classification")
    single = [predict(folder, "text-classification", [text], top_k=None)[0] for text in TEXTS]
    assert_close(predict(folder, "text-classification", TEXTS, top_k=None), single)
    assert_close(predict(folder, "text-classification", TEXTS, top_k=None, batch_size=2), single)


def test_what_the_settings_of_an_embedder_say_is_done(fixture):
    """Vectors are cut, texts put in lower case, and similarities measured as the files say; by hand in numpy."""
    import numpy as np

    from tests.tiny import onnx_

    folder = fixture("feature-extraction")
    sentence(folder, {"pooling_mode": "mean"}, normalize=False)
    one, *others = (onnx_.expected("feature-extraction", ids(folder, text)).mean(axis=0)[:3] for text in TEXTS)
    by_hand = {
        "dot": [float(one @ other) for other in others],
        "manhattan": [-float(np.abs(one - other).sum()) for other in others],
        "euclidean": [-float(np.sqrt(((one - other) ** 2).sum())) for other in others],
        "cosine": [float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) for other in others],
    }
    ask = [{"source_sentence": TEXTS[0].upper(), "sentences": [text.title() for text in TEXTS[1:]]}]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "normalizer": None}))
    edit(folder, "sentence_bert_config.json", do_lower_case=True)
    for measure, expected in by_hand.items():
        edit(folder, "config_sentence_transformers.json", similarity_fn_name=measure, truncate_dim=3)
        assert_close(predict(folder, "sentence-similarity", ask), [expected])
    assert len({round(scores[0], 3) for scores in by_hand.values()}) == 4


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"])
def test_padding_on_either_side_changes_no_vector(fixture, side, pooling):
    import numpy as np

    from tests.tiny import onnx_

    folder = fixture("feature-extraction")
    edit(folder, "tokenizer_config.json", padding_side=side)
    sentence(folder, {"pooling_mode": pooling}, normalize=False)
    for text, vector in zip(TEXTS, predict(folder, "feature-extraction", TEXTS, batch_size=3), strict=True):
        states = onnx_.expected("feature-extraction", ids(folder, text))
        places = np.arange(1, len(states) + 1, dtype=np.float32)[:, None]
        by_hand = {
            "cls": states[0],
            "max": states.max(axis=0),
            "mean": states.mean(axis=0),
            "lasttoken": states[-1],
            "weightedmean": (states * places).sum(axis=0) / places.sum(),
            "mean_sqrt_len_tokens": states.sum(axis=0) / len(states) ** 0.5,
        }
        assert_close(vector.tolist(), by_hand[pooling].tolist())


@pytest.mark.parametrize(("side", "column"), [("left", -1), ("right", 0)])
def test_padding_goes_where_the_tokenizer_says(fixture, side, column):
    folder = fixture("feature-extraction")
    edit(folder, "tokenizer_config.json", padding_side=side)
    mask = load(folder).parts["bundle"].text.encode(TEXTS).mask
    assert mask[:, column].tolist() == [1, 1, 1]
    assert mask[:, -1 - column].tolist() == [1, 0, 0]


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "feature-extraction", "text-classification"])
def test_padding_on_either_side_changes_no_answer(fixture, task):
    folder = fixture(task)
    texts = ["the [MASK] sat on the big red mat", "john [MASK]", "a [MASK] dog"]
    options = {"token-classification": {"ignore_labels": []}, "fill-mask": {"top_k": 3}}.get(task, {})
    alone = [predict(folder, task, [text], **options)[0] for text in texts]
    for side in ("left", "right"):
        edit(folder, "tokenizer_config.json", padding_side=side)
        assert_close(predict(folder, task, texts, batch_size=3, **options), alone)


def test_token_features_and_their_lengths(fixture):
    from tests.tiny import onnx_

    folder = fixture("feature-extraction")
    found = predict(folder, "feature-extraction", TEXTS)
    for text, states in zip(TEXTS, found, strict=True):
        assert_close(states.tolist(), onnx_.expected("feature-extraction", ids(folder, text)).tolist())


def test_generation_follows_the_graph_and_streams_the_same(fixture):
    from tests.tiny import onnx_

    folder = fixture("text-generation")
    loaded = load(folder)
    prompts = ["the cat", "john lives"]
    found = Onnx().predict(loaded, "text-generation", prompts, max_new_tokens=5, eos_token_id=-1)
    for prompt, output in zip(prompts, found, strict=True):
        tokens = ids(folder, prompt)
        for _ in range(5):
            tokens.append(int(onnx_.expected("text-generation", tokens)[-1].argmax()))
        new = loaded.parts["bundle"].text.decode(tokens[-5:])
        assert output == {"generated_text": prompt + new}
        pieces = list(Onnx().stream(loaded, "text-generation", prompt, max_new_tokens=5, eos_token_id=-1))
        assert "".join(pieces) == new
        assert len(pieces) > 1
    short = Onnx().predict(loaded, "text-generation", prompts[:1], max_new_tokens=2, return_full_text=False)
    assert found[0]["generated_text"].startswith(prompts[0] + short[0]["generated_text"])


def test_generation_ends_at_any_of_several_tokens(fixture):
    """A list of ends, from the call or from generation_config.json, which goes before config.json."""
    folder = fixture("text-generation")
    loaded = load(folder)

    def tokens(**options):
        with loaded.parts["bundle"].graph.recording() as seen:
            Onnx().predict(loaded, "text-generation", ["the cat"], max_new_tokens=6, **options)
        return [int(run["logits"][0, -1].argmax()) for run in seen]

    whole = tokens(eos_token_id=-1)
    end = next(i for i, token in enumerate(whole) if i and token not in whole[:i])
    assert tokens(eos_token_id=[10_000, whole[end]]) == tokens(eos_token_id=[whole[end], 10_000]) == whole[: end + 1]
    edit(folder, "config.json", eos_token_id=whole[0])
    edit(folder, "generation_config.json", eos_token_id=[whole[end]])
    loaded = load(folder)
    assert tokens() == whole[: end + 1]


def test_generation_stops_where_positions_end(fixture):
    folder = fixture("text-generation")
    edit(folder, "config.json", max_position_embeddings=8)
    used = len(ids(folder, "the cat"))
    loaded = load(folder)
    with loaded.parts["bundle"].graph.recording() as runs:
        Onnx().predict(loaded, "text-generation", ["the cat"], eos_token_id=-1)
    assert len(runs) == 8 - used
    with pytest.raises(OptionError, match="takes fewer than 8"):
        predict(folder, "text-generation", ["the cat sat on the big red mat"])


def test_sampling_is_refused(fixture):
    with pytest.raises(OptionError, match=r'backend="transformers" to sample'):
        predict(fixture("text-generation"), "text-generation", ["a"], do_sample=True)


def test_a_chat_needs_a_template(fixture):
    folder = fixture("text-generation")
    for path in folder.glob("chat_template*"):
        path.unlink()
    with pytest.raises(OptionError, match="no chat template"):
        predict(folder, "text-generation", [CHAT])


@pytest.mark.pt
def test_a_template_that_reaches_out_is_refused(fixture):
    folder = fixture("text-generation")
    (folder / "chat_template.jinja").write_text("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(TemplateRefused, match=r"chat_template\.jinja"):
        predict(folder, "text-generation", [CHAT])


def test_texts_are_cut_at_the_models_length(fixture):
    folder = fixture("feature-extraction")
    long = "the cat sat " * 100
    assert predict(folder, "feature-extraction", [long])[0].shape[0] == 64
    assert predict(folder, "feature-extraction", [long], loading={"max_length": 9})[0].shape[0] == 9


@pytest.mark.parametrize(("kind", "pad", "most"), [("bert", 0, 20), ("roberta", 1, 18), ("mpnet", None, 18)])
def test_positions_that_start_behind_the_padding_leave_room_for_fewer(fixture, kind, pad, most):
    folder = fixture("feature-extraction")
    edit(folder, "config.json", model_type=kind, max_position_embeddings=20, pad_token_id=pad)
    assert predict(folder, "feature-extraction", ["the cat sat " * 100])[0].shape[0] == most


def test_vocabulary_alone_gives_the_same_tokens(fixture):
    folder = fixture("text-classification")
    expected = predict(folder, "text-classification", TEXTS)
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    pieces = {number: piece for piece, number in vocab.items()}
    lines = [pieces.get(number, f"[unused{number}]") for number in range(max(pieces) + 1)]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer.json").unlink()
    assert_close(predict(folder, "text-classification", TEXTS), expected)


def test_a_folder_without_tokenizer_says_how_to_make_one(fixture):
    folder = fixture("text-classification")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotAModel, match="save_pretrained"):
        predict(folder, "text-classification", TEXTS)


@pytest.mark.parametrize("content", ["{}", "not json", '{"version": "1.0", "model": {"type": "Nothing"}}'])
def test_a_broken_tokenizer_is_malformed(fixture, content):
    folder = fixture("text-classification")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(MalformedMetadata, match=r"tokenizer\.json cannot be read"):
        predict(folder, "text-classification", TEXTS)


def test_a_malformed_normaliser_does_not_bring_the_process_down(fixture):
    folder = fixture("text-classification")
    edit(folder, "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    with pytest.raises(MalformedMetadata, match=r"tokenizer\.json cannot be read"):
        predict(folder, "text-classification", TEXTS)


def test_similarity_needs_a_declared_pooling(fixture):
    folder = fixture("feature-extraction")
    inputs = [{"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}]
    with pytest.raises(AmbiguousModel, match='pooling="mean"'):
        predict(folder, "sentence-similarity", inputs)
    by_hand = predict(folder, "sentence-similarity", inputs, loading={"pooling": "mean"})
    sentence(folder, {"pooling_mode": "mean"})
    assert_close(predict(folder, "sentence-similarity", inputs), by_hand)
    assert len(set(by_hand[0])) == 2


def test_a_dense_module_is_not_left_out(fixture):
    folder = fixture("feature-extraction")
    sentence(folder, {"pooling_mode": "mean"})
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BackendNotLoadable, match=r"models\.Dense"):
        predict(folder, "feature-extraction", TEXTS)


def test_a_pooling_path_that_leaves_the_folder_is_refused(fixture):
    folder = fixture("feature-extraction")
    sentence(folder, {"pooling_mode": "mean"})
    text = (folder / "modules.json").read_text().replace('"1_Pooling"', '"../other"')
    (folder / "modules.json").write_text(text)
    with pytest.raises(PathEscapeRefused, match=r"modules\.json"):
        predict(folder, "feature-extraction", TEXTS)


def test_an_unknown_pooling_is_malformed(fixture):
    folder = fixture("feature-extraction")
    sentence(folder, {"pooling_mode": "median"})
    with pytest.raises(MalformedMetadata, match=r"1_Pooling/config\.json: pooling_mode is median"):
        predict(folder, "feature-extraction", TEXTS)


@pytest.mark.parametrize("name", ["torch.utils.collect_env.main", "torch.random.seed", 3])
@pytest.mark.parametrize("key", ["sentence_transformers", "sbert_ce_default_activation_function"])
def test_activations_come_from_a_closed_table(fixture, name, key):
    folder = fixture("text-ranking")
    edit(folder, "config.json", **{key: {"activation_fn": name} if key == "sentence_transformers" else name})
    with pytest.raises(UnknownTypeError, match="Nothing was imported"):
        predict(folder, "text-ranking", [{"query": "a", "documents": ["cat"]}])


def test_ranking_orders_documents(fixture):
    inputs = [{"query": "where is john", "documents": ["john lives in london", "the cat eats", "fish"]}]
    found = predict(fixture("text-ranking"), "text-ranking", inputs)[0]
    assert sorted(r["index"] for r in found) == [0, 1, 2]
    assert len({r["score"] for r in found}) == 3


def test_ranking_with_classes_is_an_error(fixture):
    with pytest.raises(OptionError, match='task="text-classification"'):
        predict(fixture("text-classification"), "text-ranking", [{"query": "a", "documents": ["cat"]}])


def test_zero_shot_needs_entailment(fixture):
    with pytest.raises(OptionError, match="entail"):
        predict(fixture("text-classification"), "zero-shot-classification", ["a"], candidate_labels=["b"])


def test_zero_shot_ranks_labels(fixture):
    folder = fixture("text-classification")
    edit(folder, "config.json", id2label={"0": "contradiction", "1": "neutral", "2": "entailment"})
    options = {"candidate_labels": "sport, politics, science"}
    found = predict(folder, "zero-shot-classification", TEXTS, **options)
    assert all(abs(sum(f["scores"]) - 1) < 1e-5 and set(f["labels"]) == {"sport", "politics", "science"} for f in found)
    many = predict(folder, "zero-shot-classification", TEXTS, multi_label=True, **options)
    assert many[0]["scores"] != found[0]["scores"]
    with pytest.raises(OptionError, match=r"needs a \{\}"):
        predict(folder, "zero-shot-classification", ["a"], hypothesis_template="none", **options)
    with pytest.raises(OptionError, match="candidate_labels"):
        predict(folder, "zero-shot-classification", ["a"])


def test_entities_are_gathered(fixture):
    folder = fixture("token-classification")
    text = "John Smithson saw london"
    tokens = predict(folder, "token-classification", [text], ignore_labels=[])[0]
    assert [t["index"] for t in tokens] == list(range(1, len(tokens) + 1))
    groups = predict(folder, "token-classification", [text], ignore_labels=[], aggregation_strategy="first")[0]
    assert 1 < len(groups) <= len(text.split())
    assert all(text[g["start"] : g["end"]].lower() == g["word"] for g in groups if "##" not in g["word"])
    with pytest.raises(OptionError, match="aggregation_strategy='median'"):
        predict(folder, "token-classification", [text], aggregation_strategy="median")


def test_fill_mask_without_a_mask_shows_the_token(fixture):
    with pytest.raises(OptionError, match=r"no \[MASK\] in 'a cat'"):
        predict(fixture("fill-mask"), "fill-mask", ["a cat"])


def test_fill_mask_fills(fixture):
    from tests.tiny import onnx_

    folder = fixture("fill-mask")
    found = predict(folder, "fill-mask", ["the [MASK] sat"])[0]
    tokens = ids(folder, "the [MASK] sat")
    assert len(found) == 5
    assert found[0]["token"] == int(onnx_.expected("fill-mask", tokens)[2].argmax())
    assert found[0]["sequence"] == f"the {found[0]['token_str']} sat"


def test_inputs_are_cast_to_what_the_graph_wants_and_outputs_to_float32(fixture):
    from tests.tiny import onnx_

    expected = predict(fixture("feature-extraction"), "feature-extraction", TEXTS)
    folder = fixture("feature-extraction", integers=onnx_._INT32, floats=onnx_._FLOAT16)
    assert load(folder).parts["bundle"].graph.inputs["input_ids"] == "int32"
    for half, whole in zip(predict(folder, "feature-extraction", TEXTS), expected, strict=True):
        assert half.dtype.name == "float32"
        assert 0 < abs(half - whole).max() < 1e-2


INPUTS = {
    "text-classification": (TEXTS[0], {}),
    "token-classification": (TEXTS[1], {"aggregation_strategy": "simple", "ignore_labels": []}),
    "fill-mask": ("the [MASK] sat", {"top_k": 2}),
    "feature-extraction": (TEXTS[0], {}),
    "text-ranking": ({"query": "a cat", "documents": ["the cat sat", "a fish"]}, {}),
    "text-generation": ("the cat", {"max_new_tokens": 4}),
}


@pytest.mark.parametrize("task", INPUTS)
def test_a_pipeline_runs_the_folders_own_task(fixture, task):
    from modelscope_ext import pipeline

    folder, (item, options) = fixture(task), INPUTS[task]
    with pipeline(model=folder) as pipe:
        assert (pipe.resolution.backend, pipe.resolution.framework, pipe.task) == ("onnxruntime", "onnx", task)
        single, many = pipe(item, **options), pipe([item, item], **options)
    (expected,) = predict(folder, task, [item], **options)
    if task == "feature-extraction":
        single, many, expected = single.tolist(), [m.tolist() for m in many], expected.tolist()
    assert_close(single, expected)
    assert_close(many, [expected, expected])


def test_a_pipeline_streams(fixture):
    from modelscope_ext import pipeline

    with pipeline(model=fixture("text-generation")) as pipe:
        pieces = list(pipe("the cat", stream=True, max_new_tokens=4, eos_token_id=-1))
        whole = pipe("the cat", max_new_tokens=4, eos_token_id=-1)
    assert len(pieces) > 1
    assert whole == {"generated_text": "the cat" + "".join(pieces)}


def test_a_keyword_nobody_takes_is_named(fixture):
    from modelscope_ext import pipeline

    with pytest.raises(OptionError, match="Did you mean 'threads'"):
        pipeline(model=fixture("text-classification"), thread=1)


def test_what_the_graph_refuses_is_our_error(fixture):
    folder = fixture("text-classification")
    edit(folder, "tokenizer_config.json", pad_token=None)
    edit(folder, "config.json", pad_token_id=10_000)
    with pytest.raises(OptionError, match="refused its inputs"):
        predict(folder, "text-classification", TEXTS)
