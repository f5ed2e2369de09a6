"""mindone, run whole on MindSpore's CPU side and held against PyTorch on the same weights (environment `ms`).

transformers and diffusers answer in another process. What needs MindSpore only to be refused stands at the end.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelscope_ext import Model, pipeline, resolve
from modelscope_ext.errors import BackendNotLoadable, ModelScopeExtError, OptionError, PickleRefused, WeightsMismatch
from modelscope_ext.models.backends._mindone.tasks import PIPELINES, ROWS
from modelscope_ext.models.backends.mindone_ import Mindone
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close, assert_equal
from tests.reference import reference

pytestmark = pytest.mark.ms

TEXTS = ("the cat sat on the mat", "the movie was great and very good", "bad dog", "john works at london")
MINDSPORE = {"framework": "mindspore"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds a tiny model once, PyTorch's, as transformers 4.57 writes it."""
    root = tmp_path_factory.mktemp("built")

    def get(name):
        from tests.tiny import diffusers_, transformers_

        module = diffusers_ if name in diffusers_.FAMILIES else transformers_
        return root / name if (root / name).is_dir() else module.build(name, root / name)

    return get


@pytest.fixture
def copied(built, tmp_path):
    return lambda name: Path(shutil.copytree(built(name), tmp_path / name))


def edit(file, **changes):
    document = json.loads(file.read_text())
    document = {k: v for k, v in {**document, **changes}.items() if v is not None}
    file.write_text(json.dumps(document))


def rewritten(file, change):
    """Rewrite a safetensors file with what `change` makes of its tensors."""
    from safetensors.numpy import load_file, save_file

    save_file(change(load_file(file)), file, metadata={"format": "pt"})


class TestClassification(BackendConformance):
    """The whole of what holds for every backend, with a folder that declares MindSpore."""

    backend = Mindone
    task = "text-classification"
    inputs = TEXTS
    call_values = {"top_k": 2}
    damage = ["config.json", "model.safetensors", "tokenizer.json"]
    libraries = ("mindone", "mindspore", "transformers", "torch")

    def make_folder(self, tmp_path):
        from tests.tiny import transformers_

        folder = transformers_.build("text-classification", tmp_path / "model")
        declared = {"framework": "mindspore", "backend": "mindone", "tasks": ["text-classification"]}
        (folder / "configuration.json").write_text(json.dumps(declared))
        return folder

    def near_misses(self, tmp_path):
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "model_index.json").write_text('{"metadata": {}, "weight_map": {}}')
        yield folder


# --- what it answers -------------------------------------------------------------------------------------------------

_REFERENCE = """
import torch, transformers
from transformers import pipeline
pipe = pipeline(arg["task"], arg["folder"], device="cpu")
result = [pipe(one, **arg["options"]) for one in arg["inputs"]]
"""

#: Family -> (inputs, options of our call, options of transformers'), where transformers 4.57 still has the pipeline.
PIPES = {
    "text-classification": (TEXTS, {"top_k": 3}, {"top_k": 3}),
    "token-classification": (TEXTS, {}, {}),
    "fill-mask": (("the [MASK] sat on the mat", "a [MASK] dog"), {}, {}),
    "zero-shot-classification": (TEXTS, {"candidate_labels": ["a cat", "a dog", "sport"]}, None),
    "text-generation": (TEXTS[:2], {}, {"do_sample": False, "max_new_tokens": 8}),
    "qwen2": (TEXTS[:2], {}, {"do_sample": False, "max_new_tokens": 8}),
    "gpt2": (TEXTS[1:], {}, {"do_sample": False, "max_new_tokens": 6}),
    "qwen2-sequences": (TEXTS, {"top_k": 3}, {"top_k": 3}),
}


@pytest.mark.parametrize("name", PIPES)
def test_answers_are_those_of_pytorch(built, name):
    inputs, ours, theirs = PIPES[name]
    folder = built(name)
    asked = name if name == "zero-shot-classification" else None  # the others are what the files say
    with pipeline(asked, folder, **MINDSPORE) as pipe:
        assert (pipe.model.backend, pipe.model.framework) == ("mindone", "mindspore")
        answers = pipe(list(inputs), **ours)
        task = pipe.task
    expected = reference(
        _REFERENCE,
        {
            "task": task,
            "folder": str(folder),
            "inputs": inputs,
            "options": ours if theirs is None else theirs,
        },
    )
    if task == "text-generation":
        expected = [one[0] for one in expected]
    assert_equal(answers, expected, inputs=inputs if task == "text-generation" else ())


_LOGITS = """
import torch, transformers
tokenizer = transformers.AutoTokenizer.from_pretrained(arg["folder"])
model = getattr(transformers, arg["kind"]).from_pretrained(arg["folder"]).eval()
result = []
with torch.no_grad():
    for text in arg["texts"]:
        result.append(model(**tokenizer(text, return_tensors="pt")).logits[0].numpy())
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("text-classification", "AutoModelForSequenceClassification"),
        ("text-generation", "AutoModelForCausalLM"),
        ("qwen2", "AutoModelForCausalLM"),
    ],
)
def test_logits_are_within_1e_5_of_pytorch(built, name, kind):
    import mindspore

    folder = built(name)
    with Model.from_pretrained(folder, **MINDSPORE) as model:
        tokenizer = model._loaded.parts["tokenizer"]
        found = []
        for text in TEXTS:
            words = {k: mindspore.Tensor(v) for k, v in tokenizer(text, return_tensors="np").items()}
            found.append(model.native(**words, return_dict=True).logits.asnumpy()[0])
    expected = reference(_LOGITS, {"folder": str(folder), "kind": kind, "texts": TEXTS})
    assert_equal(found, expected, tolerance=1e-5)


_HIDDEN = """
import torch, transformers
tokenizer = transformers.AutoTokenizer.from_pretrained(arg["folder"])
model = transformers.AutoModel.from_pretrained(arg["folder"]).eval()
with torch.no_grad():
    result = [model(**tokenizer(text, return_tensors="pt"))[0][0].numpy() for text in arg["texts"]]
"""


def test_hidden_states_alone_and_in_a_batch(built):
    folder = built("feature-extraction")
    with pipeline(model=folder, **MINDSPORE) as pipe:
        alone, together = pipe(list(TEXTS)), pipe(list(TEXTS), batch_size=4)
    assert_equal(alone, reference(_HIDDEN, {"folder": str(folder), "texts": TEXTS}))
    assert_close(together, alone)


def test_questions_and_rankings(built):
    asked = [
        {"question": "who sat?", "context": "the cat sat on the mat"},
        {"question": "where?", "context": "john lives in paris"},
    ]
    with pipeline(model=built("question-answering"), **MINDSPORE) as pipe:
        answers = pipe(asked)
    script = """
from transformers import pipeline
pipe = pipeline("question-answering", arg["folder"], device="cpu")
result = [pipe(**one) for one in arg["asked"]]
"""
    assert_equal(answers, reference(script, {"folder": str(built("question-answering")), "asked": asked}))
    with pipeline(model=built("text-ranking"), **MINDSPORE) as pipe:
        ranked = pipe({"query": "who sat?", "documents": list(TEXTS)})
    script = """
import torch, transformers
tokenizer = transformers.AutoTokenizer.from_pretrained(arg["folder"])
model = transformers.AutoModelForSequenceClassification.from_pretrained(arg["folder"]).eval()
pairs = tokenizer(["who sat?"] * 4, arg["texts"], return_tensors="pt", padding=True)
with torch.no_grad():
    scores = model(**pairs).logits[:, 0].sigmoid().tolist()
order = sorted(range(4), key=lambda i: -scores[i])
result = [{"index": i, "score": scores[i], "document": arg["texts"][i]} for i in order]
"""
    assert_close(ranked, reference(script, {"folder": str(built("text-ranking")), "texts": list(TEXTS)}))


def test_a_chat_is_continued(built, capsys):
    chat = [{"role": "user", "content": "where lives john"}]
    folder = built("text-generation")
    with pipeline(model=folder, **MINDSPORE) as pipe:
        answer = pipe([chat, [{"role": "user", "content": "a good dog"}]])
    script = """
from transformers import pipeline
pipe = pipeline("text-generation", arg["folder"], device="cpu")
result = [pipe(one, do_sample=False, max_new_tokens=8)[0] for one in arg["chats"]]
"""
    chats = [chat, [{"role": "user", "content": "a good dog"}]]
    assert_equal(answer, reference(script, {"folder": str(folder), "chats": chats}))
    assert "sampling" not in capsys.readouterr().out  # mindone prints the pace of every token


def test_a_seed_repeats_a_sample(built):
    with pipeline(model=built("text-generation"), **MINDSPORE) as pipe:
        options = {"do_sample": True, "max_new_tokens": 6}
        first, again = (pipe("the cat", seed=1, **options) for _ in range(2))
        others = [pipe("the cat", seed=seed, **options) for seed in (2, 3, 4)]
    assert first == again and any(first != other for other in others)


def test_pictures_are_classified(built):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    images = [Image.fromarray((random.random((32, 32, 3)) * top).astype("uint8")) for top in (255, 40)]
    folder = built("image-classification")
    with pipeline(model=folder, **MINDSPORE) as pipe:
        found = pipe(images)
    script = """
import numpy as np
from PIL import Image
from transformers import pipeline
pipe = pipeline("image-classification", arg["folder"], device="cpu")
result = [pipe(Image.fromarray(np.array(one, dtype="uint8"))) for one in arg["images"]]
"""
    assert_equal(found, reference(script, {"folder": str(folder), "images": [np.asarray(i).tolist() for i in images]}))


# --- pictures --------------------------------------------------------------------------------------------------------

_PICTURES = """
import numpy as np, torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(arg["folder"])
pipe.set_progress_bar_config(disable=True)
result = []
for given, seed in arg["calls"]:
    generator = torch.Generator("cpu").manual_seed(seed)
    result.append(pipe(**given, generator=generator, num_inference_steps=2, output_type="np").images[0])
"""


def pixels(image):
    import numpy as np

    return np.asarray(image, dtype="float32") / 255


@pytest.mark.parametrize("name", ["ddpm", "stable-diffusion"])
def test_pictures_are_those_of_pytorch_from_the_same_seed(built, name):
    folder = built(name)
    with pipeline(model=folder, **MINDSPORE) as pipe:
        assert (pipe.model.backend, pipe.model.framework) == ("mindone", "mindspore")
        if name == "ddpm":
            assert pipe.task == "unconditional-image-generation"
            calls = [({}, 3), ({}, 4)]
            raw = [pipe(seed, num_inference_steps=2) for seed in (3, 4)]
        else:
            assert pipe.task == "text-to-image"
            calls = [({"prompt": "a cat"}, 3), ({"prompt": "a red house"}, 4)]
            raw = [pipe(given["prompt"], seed=seed, num_inference_steps=2) for given, seed in calls]
        native = numbers(pipe.model.native, calls)
    expected = reference(_PICTURES, {"folder": str(folder), "calls": calls})
    assert_equal(native, expected)  # as numbers, within 1e-4
    for image, theirs in zip(raw, expected, strict=True):  # as pictures, to the last of 256 steps
        assert abs(pixels(image) - theirs).max() <= 1 / 255


def numbers(native, calls):
    from modelscope_ext.models.backends._mindone.chance import generator

    return [
        native(**given, generator=generator(seed), num_inference_steps=2, output_type="np")[0][0]
        for given, seed in calls
    ]


_FROM_IMAGES = """
import numpy as np, torch
from PIL import Image
from diffusers import AutoPipelineForImage2Image
pipe = AutoPipelineForImage2Image.from_pretrained(arg["folder"])
pipe.set_progress_bar_config(disable=True)
image, result = Image.fromarray(np.array(arg["image"], dtype="uint8")), []
for prompt, seed in arg["calls"]:
    generator = torch.Generator("cpu").manual_seed(seed)
    made = pipe(prompt=prompt, image=image, generator=generator, num_inference_steps=2, output_type="np")
    result.append(made.images[0])
"""


def test_a_related_task_runs_with_the_same_components(built):
    import numpy as np
    from PIL import Image

    folder, calls = built("stable-diffusion"), [("a cat", 1), ("a red house", 2)]
    image = Image.fromarray((np.random.default_rng(0).random((16, 16, 3)) * 255).astype("uint8"))
    with pipeline("image-to-image", folder, **MINDSPORE) as pipe:
        made = [pipe({"image": image, "prompt": p}, seed=seed, num_inference_steps=2) for p, seed in calls]
        with pytest.raises(OptionError, match="does not serve 'text-to-video'"):
            pipe.model.predict("text-to-video", ["a cat"])
    expected = reference(_FROM_IMAGES, {"folder": str(folder), "image": np.asarray(image).tolist(), "calls": calls})
    assert_equal([pixels(one) for one in made], expected, tolerance=1 / 255)


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 31, 64, 1000])
def test_the_generator_draws_what_torch_draws(count):
    import numpy as np
    import torch

    from modelscope_ext.models.backends._mindone.chance import generator

    ours, theirs = generator(7), torch.Generator("cpu").manual_seed(7)
    for shape in ((count,), (2, count)):
        found = ours.standard_normal(size=shape, dtype=np.float32)
        np.testing.assert_allclose(found, torch.randn(shape, generator=theirs).numpy(), atol=2e-6)
    assert not np.array_equal(generator(None).standard_normal(3), generator(None).standard_normal(3))


# --- who is chosen ---------------------------------------------------------------------------------------------------


def test_the_framework_decides(built, copied, monkeypatch):
    folder = built("text-classification")
    assert resolve(folder, framework="mindspore").backend == resolve(folder, backend="mindone").backend == "mindone"
    assert resolve(folder, framework="pytorch").backend == "transformers"
    monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
    assert resolve(folder).backend == "mindone" and resolve(folder).loadable
    monkeypatch.delenv("MODELSCOPE_EXT_FRAMEWORK")
    declared = copied("text-classification")
    (declared / "configuration.json").write_text('{"framework": "MindSpore", "task": "text-classification"}')
    with pipeline(model=declared) as pipe:
        assert (pipe.model.backend, pipe.task) == ("mindone", "text-classification")


# --- weights ---------------------------------------------------------------------------------------------------------


def test_missing_and_foreign_weights_are_named(copied):
    folder = copied("text-classification")
    rewritten(folder / "model.safetensors", lambda w: {k: v for k, v in w.items() if k != "classifier.weight"})
    with pytest.raises(WeightsMismatch, match=r"would be random \(classifier\.weight\)"):
        pipeline(model=folder, **MINDSPORE)
    with pipeline(model=folder, allow_missing_weights=True, **MINDSPORE) as pipe:
        assert len(pipe(list(TEXTS))) == len(TEXTS)
    rewritten(folder / "model.safetensors", lambda w: {**w, "classifier.weight": w["classifier.bias"].reshape(1, 3)})
    with pytest.raises(WeightsMismatch, match=r"another shape .*classifier\.weight is \(1, 3\), not \(3, 16\)"):
        pipeline(model=folder, **MINDSPORE)


def test_layers_left_over_are_refused(copied):
    folder = copied("text-classification")
    more = "bert.encoder.layer.1.output.dense.bias"
    rewritten(folder / "model.safetensors", lambda w: {**w, more: w["bert.encoder.layer.0.output.dense.bias"]})
    with pytest.raises(WeightsMismatch, match=rf"no place in the model \({more}\)"):
        pipeline(model=folder, **MINDSPORE)


def test_a_head_that_was_not_trained_is_no_answer(built):
    with pytest.raises(WeightsMismatch, match="classifier"):
        pipeline("text-classification", built("fill-mask"), **MINDSPORE)


def test_a_text_encoder_of_transformers_5_is_refused(copied):
    """transformers 5 drops the prefix of CLIP's names; mindone alone would go on with random weights."""
    folder = copied("stable-diffusion")
    weights = folder / "text_encoder" / "model.safetensors"
    rewritten(weights, lambda w: {k.removeprefix("text_model."): v for k, v in w.items()})
    with pytest.raises(WeightsMismatch, match=r"text_encoder: .*would be random \(text_model\."):
        pipeline(model=folder, **MINDSPORE)


def test_rope_settings_of_transformers_5_are_read(copied, built):
    folder = copied("text-generation")
    edit(folder / "config.json", rope_theta=None, rope_parameters={"rope_theta": 321.0, "rope_type": "default"})
    with pipeline(model=folder, **MINDSPORE) as pipe:
        assert pipe.model.native.config.rope_theta == 321.0
    edit(folder / "config.json", rope_parameters={"full": {"rope_theta": 1.0}, "rope_theta": "x"})
    with pytest.raises(BackendNotLoadable, match="rope_parameters"):
        pipeline(model=folder, **MINDSPORE)


# --- dtypes ----------------------------------------------------------------------------------------------------------


def test_dtypes(built, copied):
    folder = built("text-classification")
    with pipeline(model=folder, dtype="float16", **MINDSPORE) as pipe:
        assert str(pipe.model.native.dtype).lower() == "float16"
        halves = pipe(list(TEXTS))
    with pipeline(model=folder, **MINDSPORE) as pipe:
        assert_close([one["score"] for one in halves], [one["score"] for one in pipe(list(TEXTS))], 2e-2)
    with pytest.raises(OptionError, match=r"bfloat16 on a CPU. Pass dtype='float32'"):
        pipeline(model=folder, dtype="bfloat16", **MINDSPORE)
    import torch
    from safetensors.torch import load_file, save_file

    stored = copied("text-classification")
    save_file(
        {k: v.to(torch.bfloat16) for k, v in load_file(stored / "model.safetensors").items()},
        stored / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pipeline(model=stored, **MINDSPORE) as pipe:
        assert str(pipe.model.native.dtype).lower() == "float32"
        assert "no bfloat16" in pipe.model.resolution.because["dtype"][0].text


# --- refusals --------------------------------------------------------------------------------------------------------


def test_pickles_are_refused_before_mindone_is_called(copied):
    import torch
    from safetensors.torch import load_file

    folder = copied("text-classification")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PickleRefused, match=r"pytorch_model\.bin: mindone reads safetensors only"):
        pipeline(model=folder, **MINDSPORE)
    pictures = copied("ddpm")
    weights = pictures / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(PickleRefused, match=r"unet/diffusion_pytorch_model\.bin"):
        pipeline(model=pictures, **MINDSPORE)


@pytest.mark.parametrize(
    "entry", [["os", "system"], ["diffusers", "UNet9DModel"], ["mindone.diffusers", "UNet2DModel"]]
)
def test_a_component_outside_the_table_is_not_imported(copied, entry):
    folder = copied("ddpm")
    edit(folder / "model_index.json", unet=entry)
    with pytest.raises(ModelScopeExtError, match=f"unet.*{entry[1]}"):
        pipeline(model=folder, **MINDSPORE)


@pytest.mark.parametrize("name", ["os.system", "WanPipeline9"])
def test_a_pipeline_outside_the_table_is_not_imported(copied, name):
    folder = copied("ddpm")
    edit(folder / "model_index.json", _class_name=name)
    with pytest.raises(ModelScopeExtError, match=name.replace(".", r"\.")):
        pipeline(model=folder, **MINDSPORE)


def test_options_nobody_takes(built):
    folder = built("text-classification")
    for options, message in (
        ({"ms_dtype": "float16"}, "ms_dtype"),
        ({"device": "cuda"}, r"MindSpore runs on 'cpu' and on Ascend cards"),
        ({"device": "npu:0"}, "one device per process"),
        ({"device_map": "auto"}, "device_map"),
    ):
        with pytest.raises(OptionError, match=message):
            pipeline(model=folder, **MINDSPORE, **options)
    with pytest.raises(OptionError, match="'audio-classification' is not served by mindone"):
        pipeline("audio-classification", folder, backend="mindone")
    with pipeline(model=folder, **MINDSPORE) as pipe, pytest.raises(OptionError, match="no_such"):
        pipe("the cat", no_such=1)


def test_quantised_weights_and_single_components_are_refused(copied):
    folder = copied("text-classification")
    edit(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(BackendNotLoadable, match="quantization_config"):
        pipeline(model=folder, **MINDSPORE)
    with pytest.raises(BackendNotLoadable, match="one component of a pipeline"):
        Model.from_pretrained(copied("ddpm") / "unet", **MINDSPORE)


# --- saving, adopting ------------------------------------------------------------------------------------------------


def test_a_saved_pipeline_is_the_same(built, tmp_path):
    calls = [({"prompt": "a cat"}, 3), ({"prompt": "a red house"}, 4)]
    with pipeline(model=built("stable-diffusion"), **MINDSPORE) as pipe:
        before = numbers(pipe.model.native, calls)
        pipe.model.save_pretrained(tmp_path / "saved")
    with pipeline(model=tmp_path / "saved") as pipe:
        assert pipe.model.backend == "mindone"
        assert_close(numbers(pipe.model.native, calls), before, 0)


def test_the_callers_own_model(built):
    import mindone.transformers as theirs
    from transformers import AutoTokenizer

    folder = str(built("text-classification"))
    native = theirs.BertForSequenceClassification.from_pretrained(folder)
    with pipeline(model=native, preprocessor=AutoTokenizer.from_pretrained(folder)) as pipe:
        assert (pipe.model.backend, pipe.task) == ("mindone", "text-classification")
        found = pipe(list(TEXTS))
    with pipeline(model=folder, **MINDSPORE) as pipe:
        assert_close(found, pipe(list(TEXTS)))


def test_the_snippet_runs(built):
    for name in ("text-classification", "ddpm"):
        code = resolve(built(name), **MINDSPORE).code()
        compile(code, name, "exec")
        assert "mindone" in code and str(built(name)) in code


def test_every_task_of_the_tables_is_tested():
    tested = {"text-to-image", "image-to-image", "unconditional-image-generation"}
    assert set(PIPELINES) == tested
    assert set(ROWS) == {
        "text-classification",
        "token-classification",
        "fill-mask",
        "zero-shot-classification",
        "text-generation",
        "feature-extraction",
        "question-answering",
        "text-ranking",
        "image-classification",
    }


# --- both frameworks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("text-classification", {"top_k": 3}),
        ("token-classification", {"aggregation_strategy": "simple"}),
        ("fill-mask", {"top_k": 3}),
        ("text-generation", {"max_new_tokens": 4}),
        ("feature-extraction", {}),
    ],
)
def test_one_call_in_both_frameworks(built, name, options):
    folder = built(name)
    inputs = ["the [MASK] sat on the mat", "a [MASK] dog"] if name == "fill-mask" else list(TEXTS)
    answers = {}
    for framework in ("pytorch", "mindspore"):
        with pipeline(model=folder, framework=framework) as pipe:
            assert (pipe.model.framework, pipe.task) == (framework, name)
            answers[framework] = pipe(inputs, **options)
    assert_equal(answers["mindspore"], answers["pytorch"], inputs=inputs if name == "text-generation" else ())


def test_rope_settings_of_transformers_5_in_pytorch_on_4_57(copied):
    folder = copied("text-generation")
    edit(folder / "config.json", rope_theta=None, rope_parameters={"rope_theta": 7.0, "rope_type": "default"})
    found = [
        Model.from_pretrained(folder, framework=one).predict("text-generation", list(TEXTS))
        for one in ("pytorch", "mindspore")
    ]
    assert found[0] == found[1]
