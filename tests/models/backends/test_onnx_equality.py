"""The ONNX backend gives the answers of transformers and sentence-transformers, asked in a process of their own."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from modelscope_ext.models.backends.onnx_ import Onnx
from tests.equality import assert_equal
from tests.models.backends.onnx_cases import CHAT, TEXTS, edit, load, predict, sentence

pytestmark = pytest.mark.pt


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


@pytest.mark.parametrize("options", [{}, {"top_k": None}, {"top_k": 2}, {"function_to_apply": "sigmoid"}])
def test_text_classification_equals_transformers(exported, options):
    folder = exported("text-classification")
    found = predict(folder, "text-classification", TEXTS, **options)
    expected = [r[0] if "top_k" not in options else r for r in native(folder, "text-classification", TEXTS, **options)]
    assert_equal(found, expected)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification", "single_label_classification"])
def test_what_config_json_says_of_the_problem_is_followed(exported, tmp_path, problem):
    folder = Path(shutil.copytree(exported("text-classification"), tmp_path / "problem"))
    edit(folder, "config.json", problem_type=problem)
    found = predict(folder, "text-classification", TEXTS, top_k=None)
    assert_equal(found, native(folder, "text-classification", TEXTS, top_k=None))
    inside = all(0 <= row["score"] <= 1 for rows in found for row in rows)
    whole = all(abs(sum(row["score"] for row in rows) - 1) < 1e-5 for rows in found)
    assert (inside, whole) == (problem != "regression", problem == "single_label_classification")


def test_one_label_is_a_probability_of_its_own(exported):
    folder = exported("text-ranking")
    found = predict(folder, "text-classification", TEXTS)
    expected = [rows[0]["score"] for rows in native(folder, "text-classification", TEXTS)]
    assert {row["label"] for row in found} == {"LABEL_0"}
    assert_equal([row["score"] for row in found], expected, tolerance=1e-6)


def test_text_pairs_equal_transformers(exported):
    folder = exported("text-classification")
    pairs = [{"text": "a cat", "text_pair": "a dog sat"}, {"text": "who", "text_pair": "john"}]
    assert_equal(predict(folder, "text-classification", pairs), native(folder, "text-classification", pairs))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("ignore", [None, []])
def test_token_classification_equals_transformers(exported, strategy, ignore):
    folder = exported("token-classification")
    options = {"aggregation_strategy": strategy, **({} if ignore is None else {"ignore_labels": ignore})}
    texts = ["Hello John, parisian cats work!", "the london catdog", "mary's house is 42"]
    found = predict(folder, "token-classification", texts, **options)
    expected = native(folder, "token-classification", texts, **options)
    assert_equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"targets": ["eats", "of", "unseenword"]}])
def test_fill_mask_equals_transformers(exported, options):
    folder = exported("fill-mask")
    texts = ["the [MASK] sat", "john [MASK] mary"]
    found = predict(folder, "fill-mask", texts, **options)
    assert_equal(found, native(folder, "fill-mask", texts, **options))


def test_several_masks_equal_transformers(exported):
    folder, texts = exported("fill-mask"), ["[MASK] sat on the [MASK]"]
    assert_equal(predict(folder, "fill-mask", texts, top_k=2), native(folder, "fill-mask", texts, top_k=2))


def test_feature_extraction_equals_transformers(exported):
    folder = exported("feature-extraction")
    found = predict(folder, "feature-extraction", TEXTS)
    assert_equal([f.tolist() for f in found], [r[0] for r in native(folder, "feature-extraction", TEXTS)])
    assert {str(f.dtype) for f in found} == {"float32"}
    assert [f.shape[0] for f in found] == [10, 6, 4]


@pytest.mark.parametrize(
    "options", [{}, {"multi_label": True}, {"hypothesis_template": "It is about {} ."}], ids=["one", "many", "template"]
)
def test_zero_shot_equals_transformers(exported, options):
    folder = exported("zero-shot-classification")
    options = {"candidate_labels": ["cat", "paris", "not good"], **options}
    found = predict(folder, "zero-shot-classification", TEXTS, **options)
    assert_equal(found, native(folder, "zero-shot-classification", TEXTS, **options))


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
    assert_equal(found, reference(RANK, {"folder": str(folder), "inputs": inputs}))


@pytest.mark.parametrize("name", ["text-generation", "gpt2"])
@pytest.mark.parametrize("penalty", [{}, {"repetition_penalty": 3.0}, {"repetition_penalty": 0.2}], ids=str)
def test_text_generation_equals_transformers(exported, name, penalty):
    folder = exported(name)
    options = {"max_new_tokens": 9, "do_sample": False, **penalty}
    found = predict(folder, "text-generation", TEXTS, **options)
    expected = [r[0] for r in native(folder, "text-generation", TEXTS, **options)]
    assert_equal(found, expected, inputs=TEXTS)


def test_generation_with_a_cache_equals_transformers(exported, tmp_path):
    from tests.tiny import onnx_, transformers_

    folder = Path(shutil.copytree(exported("text-generation"), tmp_path / "cached"))
    shutil.rmtree(folder / "onnx")
    model, _ = transformers_.make("text-generation")
    onnx_.export_cached(model, folder / "onnx" / "model.onnx")
    options = {"max_new_tokens": 9, "do_sample": False}
    expected = [r[0] for r in native(folder, "text-generation", TEXTS, **options)]
    assert_equal(predict(folder, "text-generation", TEXTS, **options), expected, inputs=TEXTS)
    loaded = load(folder)
    seen = loaded.parts["bundle"].graph
    with seen.recording() as runs:
        Onnx().predict(loaded, "text-generation", TEXTS[:1], max_new_tokens=3, eos_token_id=-1)
    assert [r["logits"].shape[1] for r in runs] == [9, 1, 1]


@pytest.mark.parametrize("chat", [CHAT, [*CHAT, {"role": "assistant", "content": "the cat"}]], ids=["ask", "continue"])
def test_chat_equals_transformers(exported, chat):
    folder = exported("text-generation")
    options = {"max_new_tokens": 6, "do_sample": False}
    found = predict(folder, "text-generation", [chat], **options)
    assert_equal(found, [r[0] for r in native(folder, "text-generation", [chat], **options)])


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
    assert_equal(found, native(folder, "image-classification", paths, top_k=2))


PIXELS = """
import hashlib
import numpy as np, transformers
from PIL import Image
result = {}
for name, settings in arg["processors"]:
    processor = getattr(transformers, name + "Pil")(**settings)
    values = [processor([Image.open(p).convert("RGB")], return_tensors="np")["pixel_values"][0] for p in arg["paths"]]
    values = [v[0] if v.ndim == 4 else v for v in values]  # a film of one frame
    result[name + repr(sorted(settings))] = [
        hashlib.sha256(v.astype(np.float32).tobytes()).hexdigest() for v in values
    ]
"""

PLAIN = (
    {},
    {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 48}, "do_center_crop": True},
    {
        "do_resize": False,
        "do_center_crop": True,
        "crop_size": {"height": 41, "width": 33},
        "image_mean": [0.1, 0.2, 0.3],
    },
    {"do_normalize": False, "rescale_factor": 0.01, "resample": 1},
)
EDGES = (
    {},
    {"size": {"shortest_edge": 40, "longest_edge": 50}},
    {"size": {"shortest_edge": 30, "longest_edge": 40}, "do_normalize": False},
    {"size": {"height": 33, "width": 47}, "resample": 3},
    {"size": {"max_height": 40, "max_width": 60}, "pad_size": {"height": 64, "width": 70}},
)

#: What each image processor is asked for, where it is not `PLAIN`: those with edges, and those that round.
SETTINGS = {
    **dict.fromkeys(("ConditionalDetrImageProcessor", "DeformableDetrImageProcessor", "DetrImageProcessor"), EDGES),
    "YolosImageProcessor": (
        {},
        {"size": {"shortest_edge": 40, "longest_edge": 60}},
        {"size": {"shortest_edge": 33, "longest_edge": 90}, "do_normalize": False},
        EDGES[3],
    ),
    "RTDetrImageProcessor": (*EDGES[:4], {"do_normalize": True}),
    **dict.fromkeys(("MaskFormerImageProcessor", "Mask2FormerImageProcessor"), (*EDGES[1:4], {"size_divisor": 20})),
    "ConvNextImageProcessor": ({}, {"size": {"shortest_edge": 50}, "crop_pct": 0.9}),
    "GLPNImageProcessor": ({"size_divisor": 16}, {"size_divisor": 9, "resample": 3}),
    "DPTImageProcessor": (
        {},
        {"size": {"height": 50, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
        {"size": {"height": 50, "width": 70}, "ensure_multiple_of": 8, "do_pad": True, "size_divisor": 12},
    ),
    "MobileViTImageProcessor": (*PLAIN[:2], {"do_flip_channel_order": False}),
    "SegformerImageProcessor": ({}, {"size": {"height": 40, "width": 30}}, PLAIN[3]),
    "Swin2SRImageProcessor": ({}, {"size_divisor": 5}, {"do_pad": False}),
}


def test_pixel_values_are_equal_bit_by_bit(tmp_path):
    import numpy as np
    from PIL import Image

    from modelscope_ext.models.backends._onnx.image import PROCESSORS, Processor, picture
    from tests.reference import reference

    rng = np.random.default_rng(1)
    paths = []
    for i, size in enumerate([(37, 53), (64, 20), (30, 30), (33, 47)]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(paths[-1])
    cases = [(n, s) for n in PROCESSORS for s in SETTINGS.get(n, PLAIN)]
    expected = reference(PIXELS, {"processors": cases, "paths": paths})
    for name, said in cases:
        processor = Processor.of({"image_processor_type": name, **said})
        for path, values in zip(paths, expected[name + repr(sorted(said))], strict=True):
            found = processor.pixel_values([picture(path)])[0]
            assert hashlib.sha256(found.astype("float32").tobytes()).hexdigest() == values, (name, said, path)


EMBED = """
import warnings
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(arg["folder"], local_files_only=True, device="cpu")
vectors = model.encode(arg["texts"], **arg.get("options", {}))
result = {"vectors": vectors, "similar": model.similarity(vectors[:1], vectors[1:])[0]}
"""


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
    assert_equal([f.tolist() for f in found], expected["vectors"], tolerance=1e-5)
    similar = predict(folder, "sentence-similarity", [{"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}], **options)
    assert_equal(similar, [expected["similar"]], tolerance=1e-5)
