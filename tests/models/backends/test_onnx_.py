"""The ONNX backend: the same answers as transformers and sentence-transformers, without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from modelscope_ext.errors import (
    AmbiguousModel,
    BackendNotLoadable,
    LimitExceeded,
    MalformedMetadata,
    MissingRequirement,
    NotAModel,
    OptionError,
    PathEscapeRefused,
    TemplateRefused,
    UnknownTypeError,
)
from modelscope_ext.models.backends.onnx_ import Onnx
from modelscope_ext.models.resolution import Resolution, Source, Weights
from modelscope_ext.models.schemas import check_output
from modelscope_ext.safety.grants import Grants

TEXTS = ["the cat sat on the big red mat", "john lives in paris", "a dog"]


def resolution(folder, *, tasks=(), files=(), variant=None):
    weights = Weights("onnx", tuple(files), variant=variant)
    return Resolution(Source("local", path=str(folder)), "onnx", "onnxruntime", tuple(tasks), weights=weights)


def load(folder, **options):
    known = {"device": None, "dtype": None, "device_map": None, "variant": None, **options}
    return Onnx().load(Path(folder), resolution(folder), Grants.of(), **known)


def predict(folder, task, inputs, *, loading=None, **options):
    loaded = load(folder, **(loading or {}))
    outputs = Onnx().predict(loaded, task, inputs, **options)
    for item, output in zip(inputs, outputs, strict=True):
        if task != "feature-extraction":
            check_output(task, output, item, options=options)
    return outputs


def edit(folder, name, **changes):
    path = Path(folder, name)
    document = json.loads(path.read_text()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, **changes}))


@pytest.fixture
def fixture(tmp_path):
    """Return a function that writes a handmade folder, to be changed at will."""

    def make(name, **options):
        from tests.tiny import onnx_

        return onnx_.write(name, tmp_path / name, **options)

    return make


def close(found, expected, path="output"):
    """Assert that two answers are equal, numbers within 1e-4."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), path
        for key in expected:
            close(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            close(a, b, f"{path}[{i}]")
    elif isinstance(expected, float):
        assert abs(float(found) - expected) <= 1e-4, (path, found, expected)
    else:
        assert found == expected, path


# ---------------------------------------------------------------- with transformers as the judge


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function that exports a tiny model once; PyTorch weights stay, for the reference."""
    root = tmp_path_factory.mktemp("exported")

    def get(name):
        from tests.tiny import onnx_

        folder = root / name
        return folder if folder.is_dir() else onnx_.build(name, folder)

    return get


PIPELINE = """
import warnings
from transformers import pipeline
pipe = pipeline(arg["task"], model=arg["folder"], **arg.get("loading", {}))
result = [pipe(text, **arg.get("options", {})) for text in arg["inputs"]]
if arg["task"] == "token-classification":
    result = [[{k: v.item() if hasattr(v, "item") else v for k, v in e.items()} for e in r] for r in result]
"""


def native(folder, task, inputs, **options):
    from tests.reference import reference

    return reference(PIPELINE, {"folder": str(folder), "task": task, "inputs": list(inputs), "options": options})


@pytest.mark.pt
@pytest.mark.parametrize("options", [{}, {"top_k": None}, {"top_k": 2}, {"function_to_apply": "sigmoid"}])
def test_text_classification_equals_transformers(exported, options):
    folder = exported("text-classification")
    found = predict(folder, "text-classification", TEXTS, **options)
    expected = [r[0] if "top_k" not in options else r for r in native(folder, "text-classification", TEXTS, **options)]
    close(found, expected)
    best = [f[0] if isinstance(f, list) else f for f in found]
    assert len({round(f["score"], 3) for f in best}) > 1


@pytest.mark.pt
def test_text_pairs_equal_transformers(exported):
    folder = exported("text-classification")
    pairs = [{"text": "a cat", "text_pair": "a dog sat"}, {"text": "who", "text_pair": "john"}]
    close(predict(folder, "text-classification", pairs), native(folder, "text-classification", pairs))


@pytest.mark.pt
@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("ignore", [None, []])
def test_token_classification_equals_transformers(exported, strategy, ignore):
    folder = exported("token-classification")
    options = {"aggregation_strategy": strategy, **({} if ignore is None else {"ignore_labels": ignore})}
    texts = ["Hello John, parisian cats work!", "the london catdog", "mary's house is 42"]
    found = predict(folder, "token-classification", texts, **options)
    expected = native(folder, "token-classification", texts, **options)
    close(found, expected)
    assert len({e.get("entity", e.get("entity_group")) for entities in found for e in entities}) > 1


@pytest.mark.pt
@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"targets": ["cat", "dog", "unseenword"]}])
def test_fill_mask_equals_transformers(exported, options):
    folder = exported("fill-mask")
    texts = ["the [MASK] sat on the mat", "john lives in [MASK] ."]
    found = predict(folder, "fill-mask", texts, **options)
    close(found, native(folder, "fill-mask", texts, **options))
    assert found[0][0]["token_str"] != found[1][0]["token_str"] or found[0][0]["score"] != found[1][0]["score"]


@pytest.mark.pt
def test_several_masks_equal_transformers(exported):
    folder, texts = exported("fill-mask"), ["[MASK] sat on the [MASK]"]
    close(predict(folder, "fill-mask", texts, top_k=2), native(folder, "fill-mask", texts, top_k=2))


@pytest.mark.pt
def test_feature_extraction_equals_transformers(exported):
    folder = exported("feature-extraction")
    found = predict(folder, "feature-extraction", TEXTS)
    close([f.tolist() for f in found], [r[0] for r in native(folder, "feature-extraction", TEXTS)])
    assert {str(f.dtype) for f in found} == {"float32"}
    assert [f.shape[0] for f in found] == [10, 6, 4]


@pytest.mark.pt
@pytest.mark.parametrize(
    "options", [{}, {"multi_label": True}, {"hypothesis_template": "It is about {} ."}], ids=["one", "many", "template"]
)
def test_zero_shot_equals_transformers(exported, options):
    folder = exported("zero-shot-classification")
    options = {"candidate_labels": ["cat", "paris", "not good"], **options}
    found = predict(folder, "zero-shot-classification", TEXTS, **options)
    close(found, native(folder, "zero-shot-classification", TEXTS, **options))
    assert len({round(f["scores"][0], 4) for f in found}) == len({round(s, 4) for s in found[0]["scores"]}) == 3


RANK = """
from sentence_transformers import CrossEncoder
model = CrossEncoder(arg["folder"], local_files_only=True, device="cpu")
result = [
    [
        {"index": r["corpus_id"], "score": float(r["score"]), "document": item["documents"][r["corpus_id"]]}
        for r in model.rank(item["query"], item["documents"], show_progress_bar=False)
    ]
    for item in arg["inputs"]
]
"""


@pytest.mark.pt
@pytest.mark.parametrize("activation", [None, "torch.nn.modules.linear.Identity"])
def test_text_ranking_equals_cross_encoder(exported, tmp_path, activation):
    from tests.reference import reference

    folder = Path(shutil.copytree(exported("text-ranking"), tmp_path / "ranker"))
    if activation:
        edit(folder, "config.json", sentence_transformers={"activation_fn": activation})
    inputs = [
        {"query": "where is john", "documents": ["john lives in london", "the cat eats", "fish"]},
        {"query": "the bird", "documents": ["a bird sings", "no"]},
    ]
    found = predict(folder, "text-ranking", inputs)
    close(found, reference(RANK, {"folder": str(folder), "inputs": inputs}))
    assert len({r["score"] for r in found[0]}) > 1


@pytest.mark.pt
@pytest.mark.parametrize("name", ["text-generation", "gpt2"])
def test_text_generation_equals_transformers(exported, name):
    folder = exported(name)
    options = {"max_new_tokens": 9, "do_sample": False}
    found = predict(folder, "text-generation", TEXTS, **options)
    close(found, [r[0] for r in native(folder, "text-generation", TEXTS, **options)])
    assert len({f["generated_text"][-12:] for f in found}) > 1


@pytest.mark.pt
def test_generation_with_a_cache_equals_transformers(exported, tmp_path):
    from tests.tiny import onnx_, transformers_

    folder = Path(shutil.copytree(exported("text-generation"), tmp_path / "cached"))
    shutil.rmtree(folder / "onnx")
    model, _ = transformers_.make("text-generation")
    onnx_.export_cached(model, folder / "onnx" / "model.onnx")
    options = {"max_new_tokens": 9, "do_sample": False}
    expected = [r[0] for r in native(folder, "text-generation", TEXTS, **options)]
    close(predict(folder, "text-generation", TEXTS, **options), expected)
    loaded = load(folder)
    seen = loaded.parts["bundle"].graph
    with seen.recording() as runs:
        Onnx().predict(loaded, "text-generation", TEXTS[:1], max_new_tokens=3, eos_token_id=-1)
    assert [r["logits"].shape[1] for r in runs] == [9, 1, 1]


CHAT = [{"role": "user", "content": "hello dog"}]


@pytest.mark.pt
@pytest.mark.parametrize("chat", [CHAT, [*CHAT, {"role": "assistant", "content": "the cat"}]], ids=["ask", "continue"])
def test_chat_equals_transformers(exported, chat):
    folder = exported("text-generation")
    options = {"max_new_tokens": 6, "do_sample": False}
    found = predict(folder, "text-generation", [chat], **options)
    close(found, [r[0] for r in native(folder, "text-generation", [chat], **options)])


@pytest.mark.pt
def test_image_classification_equals_transformers(exported):
    import numpy as np
    from PIL import Image

    folder = exported("image-classification")
    rng = np.random.default_rng(0)
    paths = []
    for i, size in enumerate([(16, 16), (40, 24), (31, 64)]):
        paths.append(str(folder / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(paths[-1])
    found = predict(folder, "image-classification", [Image.open(p) for p in paths], top_k=2)
    close(found, native(folder, "image-classification", paths, top_k=2))
    assert len({f[0]["label"] for f in found} | {round(f[0]["score"], 3) for f in found}) > 1


PIXELS = """
import numpy as np, transformers
from PIL import Image
result = {}
for name, settings in arg["processors"]:
    processor = getattr(transformers, name + "Pil")(**settings)
    values = [
        processor(images=Image.open(p).convert("RGB"), return_tensors="np")["pixel_values"][0] for p in arg["paths"]
    ]
    result[name + repr(sorted(settings))] = [v.astype(np.float32).tobytes().hex() for v in values]
"""

SETTINGS = [
    {},
    {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 48}, "do_center_crop": True},
    {
        "do_resize": False,
        "do_center_crop": True,
        "crop_size": {"height": 41, "width": 33},
        "image_mean": [0.1, 0.2, 0.3],
    },
    {"do_normalize": False, "rescale_factor": 0.01, "resample": 1},
]


@pytest.mark.pt
def test_pixel_values_are_equal_bit_by_bit(tmp_path):
    import numpy as np
    from PIL import Image

    from modelscope_ext.models.backends._onnx_image import PROCESSORS, Processor, picture
    from tests.reference import reference

    rng = np.random.default_rng(1)
    paths = []
    for i, size in enumerate([(37, 53), (64, 20), (30, 30)]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(paths[-1])
    cases = [(n, s) for n in PROCESSORS for s in SETTINGS if n != "ConvNextImageProcessor" or "size" not in s]
    cases.append(("ConvNextImageProcessor", {"size": {"shortest_edge": 50}, "crop_pct": 0.9}))
    expected = reference(PIXELS, {"processors": cases, "paths": paths})
    for name, said in cases:
        processor = Processor.of({"image_processor_type": name, **said})
        for path, values in zip(paths, expected[name + repr(sorted(said))], strict=True):
            found = processor.pixel_values([picture(path)])[0]
            assert found.astype("float32").tobytes().hex() == values, (name, said, path)


EMBED = """
import warnings
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(arg["folder"], local_files_only=True, device="cpu")
vectors = model.encode(arg["texts"], **arg.get("options", {}))
result = {"vectors": vectors, "similar": model.similarity(vectors[:1], vectors[1:])[0]}
"""


@pytest.mark.pt
@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "mean"},
        {"pooling_mode": ["cls", "max"]},
        {"pooling_mode": "mean_sqrt_len_tokens"},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode": "lasttoken"},
        {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode": "mean", "include_prompt": False},
    ],
    ids=lambda p: "-".join(map(str, p.values())),
)
@pytest.mark.parametrize("measure", ["cosine", "euclidean"])
def test_sentence_vectors_equal_sentence_transformers(exported, tmp_path, pooling, measure):
    from tests.reference import reference

    folder = Path(shutil.copytree(exported("feature-extraction"), tmp_path / "sentences"))
    sentence(folder, pooling, measure, normalize=measure == "cosine")
    options = {"prompt_name": "query"} if "include_prompt" in pooling else {}
    expected = reference(EMBED, {"folder": str(folder), "texts": TEXTS, "options": options})
    found = predict(folder, "feature-extraction", TEXTS, **options)
    close([f.tolist() for f in found], expected["vectors"])
    similar = predict(folder, "sentence-similarity", [{"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}], **options)
    close(similar, [expected["similar"]])
    assert len(set(similar[0])) > 1


def sentence(folder, pooling, measure="cosine", *, normalize=True):
    """Turn a folder into one of sentence-transformers' layout."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    edit(folder, "1_Pooling/config.json", **{"word_embedding_dimension": 16, **pooling})
    (folder / "2_Normalize").mkdir(exist_ok=True)
    edit(folder, "config_sentence_transformers.json", prompts={"query": "the big "}, similarity_fn_name=measure)
    edit(folder, "sentence_bert_config.json", max_seq_length=12, do_lower_case=False)


# ---------------------------------------------------------------- without torch, against plain numpy


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
    close(predict(folder, "text-classification", TEXTS, top_k=None), single)
    close(predict(folder, "text-classification", TEXTS, top_k=None, batch_size=2), single)


def test_token_features_and_their_lengths(fixture):
    from tests.tiny import onnx_

    folder = fixture("feature-extraction")
    found = predict(folder, "feature-extraction", TEXTS)
    for text, states in zip(TEXTS, found, strict=True):
        close(states.tolist(), onnx_.expected("feature-extraction", ids(folder, text)).tolist())


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


def test_vocabulary_alone_gives_the_same_tokens(fixture):
    folder = fixture("text-classification")
    expected = predict(folder, "text-classification", TEXTS)
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    pieces = {number: piece for piece, number in vocab.items()}
    lines = [pieces.get(number, f"[unused{number}]") for number in range(max(pieces) + 1)]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer.json").unlink()
    close(predict(folder, "text-classification", TEXTS), expected)


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
    close(predict(folder, "sentence-similarity", inputs), by_hand)
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


# ---------------------------------------------------------------- which file, which device


def test_raw_gives_the_graphs_own_outputs(fixture):
    raw = predict_raw(fixture("text-classification"), "text-classification", TEXTS)
    assert [set(r) for r in raw] == [{"logits"}] * 3
    assert raw[0]["logits"].shape == (1, 3)


def predict_raw(folder, task, inputs):
    return Onnx().predict(load(folder), task, inputs, raw=True)


def test_an_unknown_task_lists_the_known(fixture):
    with pytest.raises(OptionError, match="It serves: feature-extraction"):
        Onnx().predict(load(fixture("feature-extraction")), "text-to-image", ["a"])


def test_a_graph_of_another_task_says_what_it_wants(fixture):
    import numpy as np

    with pytest.raises(OptionError, match="wants attention_mask, input_ids"):
        load(fixture("text-classification")).parts["bundle"].graph.run({"pixel_values": np.zeros(1)})


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (["model.onnx", "onnx/model.onnx"], {}, "model.onnx"),
        (["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"], {}, "onnx/model.onnx"),
        (["onnx/model.onnx", "onnx/model_fp16.onnx"], {"variant": "float16"}, "onnx/model_fp16.onnx"),
        (["onnx/model_quantized.onnx", "onnx/model.onnx"], {"variant": "int8"}, "onnx/model_quantized.onnx"),
        (["onnx/model_int8.onnx", "onnx/model_quantized.onnx"], {"variant": "int8"}, "onnx/model_int8.onnx"),
        (["onnx/decoder_model_merged.onnx", "onnx/decoder_model.onnx"], {}, "onnx/decoder_model_merged.onnx"),
        (["classifier.onnx", "config.json"], {}, "classifier.onnx"),
        (["a.onnx", "b.onnx"], {"file_name": "b.onnx"}, "b.onnx"),
    ],
)
def test_exactly_one_file_is_chosen(names, options, expected):
    from modelscope_ext.models.backends._onnx_files import choose

    assert choose(names, **options) == expected


@pytest.mark.parametrize(
    ("names", "options", "error", "text"),
    [
        (["config.json"], {}, NotAModel, "has no .onnx file"),
        (["text.onnx", "vision.onnx"], {}, NotAModel, "text.onnx, vision.onnx.*file_name="),
        (["model.onnx"], {"variant": "q4"}, OptionError, "no ONNX file for variant='q4'.*model.onnx"),
        (["model.onnx"], {"file_name": "modle.onnx"}, OptionError, "Did you mean 'model.onnx'"),
    ],
)
def test_no_or_several_files_are_errors(names, options, error, text):
    from modelscope_ext.models.backends._onnx_files import choose

    with pytest.raises(error, match=text):
        choose(names, **options)


def test_a_variant_is_loaded(fixture):
    folder = fixture("text-classification")
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.onnx", folder / "onnx" / "model_quantized.onnx")
    assert load(folder).parts["bundle"].file == "model.onnx"
    assert load(folder, variant="int8").parts["bundle"].file == "onnx/model_quantized.onnx"
    assert load(folder, file_name="onnx/model_quantized.onnx").parts["bundle"].file == "onnx/model_quantized.onnx"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "float16"}, 'variant="fp16"'),
        ({"device_map": "auto"}, "device_map"),
        ({"device": "tpu"}, "no device of the onnx backend.*cpu, cuda"),
        ({"device": "cuda:x"}, "no device"),
        ({"threads": 0}, "threads=0"),
        ({"max_length": True}, "max_length=True"),
        ({"pooling": "median"}, "There are: cls, lasttoken"),
    ],
)
def test_wrong_options_are_named(fixture, options, text):
    with pytest.raises(OptionError, match=text):
        load(fixture("text-classification"), **options)


def test_a_device_without_its_provider_names_the_package(fixture):
    import onnxruntime

    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(MissingRequirement, match=r"pip install onnxruntime-gpu"):
        load(fixture("text-classification"), device="cuda:0")


def test_a_cut_off_graph_is_malformed(fixture):
    folder = fixture("text-classification")
    data = (folder / "model.onnx").read_bytes()
    for content in (data[: len(data) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x0b" * 100):
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(MalformedMetadata, match=r"model\.onnx"):
            load(folder)


def test_save_writes_what_load_reads(fixture, tmp_path):
    folder = fixture("text-classification")
    (folder / "onnx").mkdir()
    shutil.copy(folder / "model.onnx", folder / "onnx" / "model_fp16.onnx")
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "evil.py").write_text("raise SystemExit")
    loaded = load(folder)
    Onnx().save(loaded, tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").rglob("*") if p.is_file()) == [
        "config.json",
        "model.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    expected = Onnx().predict(loaded, "text-classification", TEXTS)
    close(predict(tmp_path / "saved", "text-classification", TEXTS), expected)


def test_close_drops_the_session(fixture):
    import gc
    import weakref

    loaded = load(fixture("text-classification"))
    Onnx().predict(loaded, "text-classification", TEXTS)
    seen = weakref.ref(loaded.parts["bundle"])
    Onnx().close(loaded)
    gc.collect()
    assert seen() is None
    assert loaded.native is None


@pytest.mark.parametrize("task", ["text-classification", "image-classification"])
def test_the_native_snippet_runs(fixture, task):
    from modelscope_ext.data import digits_folder

    folder = fixture(task) if task == "text-classification" else digits_folder()
    file = "model.onnx" if task == "text-classification" else "onnx/model.onnx"
    snippet = Onnx().code(resolution(folder, tasks=[task], files=[file]))
    assert "import modelscope_ext" not in snippet and "from modelscope_ext" not in snippet
    names: dict = {}
    exec(snippet, names)
    assert names["output"].shape == (1, 3 if task == "text-classification" else 10)


# ---------------------------------------------------------------- tensors in other files


def test_external_tensors_are_found_and_used(fixture):
    from modelscope_ext.models.backends._onnx_files import external_files

    expected = [f.tolist() for f in predict(fixture("feature-extraction"), "feature-extraction", TEXTS)]
    folder = fixture("feature-extraction", file="onnx/model.onnx", location="model.onnx_data")
    (folder / "model.onnx").unlink()
    assert external_files(folder, "onnx/model.onnx") == ("onnx/model.onnx_data",)
    close([f.tolist() for f in predict(folder, "feature-extraction", TEXTS)], expected)


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("../../outside.bin", PathEscapeRefused),
        ("../model.onnx", PathEscapeRefused),
        ("/etc/hostname", PathEscapeRefused),
        ("C:\\outside.bin", PathEscapeRefused),
        ("..\\outside.bin", PathEscapeRefused),
        ("link.bin", PathEscapeRefused),
        ("linked/outside.bin", PathEscapeRefused),
        ("not_there.bin", MalformedMetadata),
        ("pipe.bin", MalformedMetadata),
        ("", MalformedMetadata),
        ("a\0b", MalformedMetadata),
        ("x" * 5000, MalformedMetadata),
    ],
    ids=range(12),
)
def test_external_tensors_stay_inside(fixture, tmp_path, location, error):
    import os

    folder = fixture("feature-extraction", file="onnx/model.onnx", location="x.bin")
    graph = folder / "onnx" / "model.onnx"
    (folder / "onnx" / "x.bin").unlink()
    (tmp_path / "outside.bin").write_bytes(b"secret" * 10_000)
    (folder / "onnx" / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "onnx" / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "onnx" / "pipe.bin")
    graph.write_bytes(hostile(location))
    with pytest.raises(error) as refused:
        load(folder)
    assert "onnx" in str(refused.value) or "bin" in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "secret" not in str(refused.value)


def hostile(location):
    from tests.tiny import onnx_

    return onnx_._model("feature-extraction", location, onnx_._INT64, onnx_._FLOAT)


@pytest.mark.parametrize("place", ["attribute", "subgraph", "sparse", "function", "training"])
def test_external_tensors_are_found_wherever_a_tensor_can_be(tmp_path, place):
    from modelscope_ext.models.backends._onnx_files import external_files
    from tests.tiny.onnx_ import _field

    tensor = _field(13, _field(1, "location") + _field(2, "../../x")) + _field(14, 1)
    graph = {
        "attribute": _field(1, _field(5, _field(5, tensor))),
        "subgraph": _field(1, _field(5, _field(6, _field(5, tensor)))),
        "sparse": _field(15, _field(1, tensor)),
    }.get(place, b"")
    extra = {
        "function": _field(25, _field(7, _field(5, _field(10, tensor)))),
        "training": _field(20, _field(1, _field(5, tensor))),
    }.get(place, b"")
    (tmp_path / "m.onnx").write_bytes(_field(7, graph) + extra)
    with pytest.raises(PathEscapeRefused, match=r"m\.onnx: external_data\.location"):
        external_files(tmp_path, "m.onnx")


def test_graphs_nested_without_end_are_refused(tmp_path):
    from modelscope_ext.models.backends._onnx_files import external_files
    from tests.tiny.onnx_ import _field

    graph = b""
    for _ in range(40):
        graph = _field(1, _field(5, _field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(_field(7, graph))
    with pytest.raises(LimitExceeded, match="nests graphs deeper"):
        external_files(tmp_path, "m.onnx")


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=strategies.binary(max_size=200), at=strategies.integers(0, 5000))
def test_any_bytes_give_an_answer_or_our_error(tmp_path_factory, data, at):
    from modelscope_ext.models.backends._onnx_files import external_files

    folder = tmp_path_factory.mktemp("fuzz")
    for content in (data, (whole := hostile("x.bin"))[: at % len(whole)] + data):
        (folder / "m.onnx").write_bytes(content)
        try:
            external_files(folder, "m.onnx")
        except (MalformedMetadata, PathEscapeRefused, LimitExceeded):
            continue
