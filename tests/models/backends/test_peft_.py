"""The peft backend: what peft itself answers, and an error for everything that it would only warn about."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext import Model, pipeline, resolve
from modelscope_ext.errors import (
    BackendNotLoadable,
    LimitExceeded,
    ModelNotFound,
    NotAModel,
    OptionError,
    PickleRefused,
    RedirectRefused,
    UnknownTypeError,
    UnsafeBackendError,
    WeightsMismatch,
)
from modelscope_ext.models.backends.peft_ import Peft
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close, assert_equal
from tests.reference import OFFLINE, reference
from tests.tiny.peft_ import FAMILIES

pytestmark = [
    pytest.mark.pt,
    # peft's own, where a test calls it directly.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

TEXTS = ["the cat sat on the mat", "the movie was great and very good", "bad dog"]
QUESTIONS = [
    {"question": "who lives in paris?", "context": "john works at london and mary lives in paris."},
    {"question": "what sat?", "context": "the big red cat sat on the small blue mat"},
    {"question": "where is john?", "context": "the cat eats fish. john is in london"},
]
PICTURES = [0, 1, 2]


# What every backend is held to


class PeftConformance(BackendConformance):
    backend = Peft
    family = ""

    def make_folder(self, tmp_path):
        from tests.tiny import peft_

        folder = peft_.build(self.family, tmp_path / "made")
        self.load_options = {"base_model": str(tmp_path / "made" / "base")}
        return folder

    def near_misses(self, tmp_path):
        from tests.tiny import transformers_

        yield transformers_.build("text-classification", tmp_path / "whole")
        other = tmp_path / "adapters"
        other.mkdir()
        config = {"model_class": "BertAdapterModel", "config": {"adapter_residual_before_ln": False}}
        (other / "adapter_config.json").write_text(json.dumps(config))
        yield other


class TestText(PeftConformance):
    family = "lora"
    task = "text-generation"
    inputs = TEXTS
    call_values = {"max_new_tokens": 2, "return_full_text": False}
    load_values = {"merge": True, "attn_implementation": "eager"}


class TestClassifier(PeftConformance):
    family = "classifier"
    has_raw = False  # the pipeline gives what the schema wants
    task = "text-classification"
    inputs = TEXTS
    call_values = {"top_k": 2}


class TestPrompted(PeftConformance):
    family = "prompted-classifier"
    has_raw = False
    task = "text-classification"
    inputs = TEXTS


# Equality


REFERENCE = """
import warnings, torch, transformers
from transformers import pipelines
from peft import PeftModel
warnings.simplefilter("ignore")
def answer(job):
    heads = {"num_labels": job["labels"]} if job["labels"] else {}
    base = getattr(transformers, job["auto"]).from_pretrained(job["base"], local_files_only=True, **heads)
    model = PeftModel.from_pretrained(base, job["adapter"]).eval()
    if job["task"] == "image-classification":
        from PIL import Image
        processor = transformers.AutoImageProcessor.from_pretrained(job["base"])
        out = []
        for number in job["inputs"]:
            inputs = processor(Image.open(job["pictures"] + "/%d.png" % number), return_tensors="pt")
            scores = model(**inputs).logits[0].softmax(-1)
            out.append([{"label": model.config.id2label[i], "score": float(scores[i])}
                        for i in scores.argsort(descending=True).tolist()])
        return out
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["base"])
    if job["task"] == "token-classification":
        pipe = pipelines.TokenClassificationPipeline(model=model.get_base_model(), tokenizer=tokenizer)
        return [[{k: r[k].item() if hasattr(r[k], "item") else r[k] for k in r} for r in pipe(t)]
                for t in job["inputs"]]
    out = []
    for item in job["inputs"]:
        if job["task"] == "question-answering":
            inputs = tokenizer(item["question"], item["context"], return_tensors="pt")
            found = model(**inputs)
            takes = [i for i, kind in enumerate(inputs.sequence_ids(0)) if kind == 1]
            first, last = max(((i, j) for i in takes for j in takes if i <= j < i + 15),
                              key=lambda p: float(found.start_logits[0, p[0]] + found.end_logits[0, p[1]]))
            chars = [inputs.word_to_chars(0, inputs.token_to_word(0, i), 1) for i in (first, last)]
            out.append(item["context"][chars[0].start:chars[1].end])
            continue
        inputs = tokenizer(item, return_tensors="pt")
        if job["task"] in ("text-generation", "text2text-generation"):
            made = model.generate(**inputs, do_sample=False, **job["options"])[0]
            if job["task"] == "text-generation":
                made = made[inputs["input_ids"].shape[1]:]
            out.append(tokenizer.decode(made, skip_special_tokens=True))
        elif job["task"] == "feature-extraction":
            out.append(model(**inputs).last_hidden_state[0])
        else:
            scores = model(**inputs).logits[0].softmax(-1)
            out.append([{"label": model.config.id2label[i], "score": float(scores[i])}
                        for i in scores.argsort(descending=True).tolist()])
    return out
with torch.no_grad():
    result = [answer(job) for job in arg]
"""

#: Task -> the options that make our answers those of the script.
ASKED = {
    "text-generation": {"return_full_text": False, "max_new_tokens": 8},
    "text2text-generation": {"max_new_tokens": 8},
    "text-classification": {"top_k": None},
    "image-classification": {"top_k": 20},
    "token-classification": {"ignore_labels": []},
}


#: Random weights whose answers tell the inputs apart.
SEEDS = {"classifier": 4, "prompted-classifier": 6, "seq2seq": 4, "pictures": 7}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds base and adapter of a family once."""
    root = tmp_path_factory.mktemp("built")

    def get(name):
        from tests.tiny import peft_

        if not (root / name).exists():
            peft_.build(name, root / name, seed=SEEDS.get(name, 3))
        return root / name / "adapter"

    return get


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    for number in PICTURES:
        values = np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(values // (8 * number * number + 1)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def native(built, pictures):
    """What transformers and peft answer, without this package."""
    jobs = []
    for name, (family, auto, task, _) in FAMILIES.items():
        folder = built(name)
        labels = 3 if family == "feature-extraction" and auto != "AutoModel" else 0
        options = {"max_new_tokens": 8} if "generation" in task else {}
        place = {"base": str(folder.parent / "base"), "adapter": str(folder), "pictures": str(pictures)}
        jobs.append({**place, "auto": auto, "task": task, "labels": labels, "options": options, "inputs": asked(task)})
    return dict(zip(FAMILIES, reference(REFERENCE, jobs), strict=True))


def asked(task):
    return {"question-answering": QUESTIONS, "image-classification": PICTURES}.get(task, TEXTS)


def answers(model, task, pictures, **options):
    """Our answers in the form of the script's."""
    given = [str(pictures / f"{n}.png") for n in PICTURES] if task == "image-classification" else asked(task)
    found = pipeline(task, model=model)(given, **{**ASKED.get(task, {}), **options})
    if task in ("text-generation", "text2text-generation"):
        return [one["generated_text"] for one in found]
    return [one["answer"] for one in found] if task == "question-answering" else found


def base_of(folder):
    return folder.parent / "base"


def load(folder, **options):
    return Model.from_pretrained(folder, **{"base_model": base_of(folder), "device": "cpu", **options})


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_those_of_peft(name, built, native, pictures):
    task = FAMILIES[name][2]
    with load(built(name)) as model:
        assert (model.backend, model.default_task) == ("peft", task)
        assert type(model.native).__module__.startswith("peft")
        ours = answers(model, task, pictures)
        assert_equal(ours, native[name])
        assert_close(answers(model, task, pictures, batch_size=2), ours)


#: Prompts cannot be merged, and peft's own model for questions leaves out the token types that a merged one gets.
APART = ("prompt", "prefix", "p-tuning", "prompted-classifier", "answers")
MERGED = [name for name in FAMILIES if name not in APART]


@pytest.mark.parametrize("name", MERGED)
def test_merged_is_as_good_as_apart(name, built, native, pictures):
    task = FAMILIES[name][2]
    with load(built(name), merge=True) as model:
        assert type(model.native).__module__.startswith("transformers.")
        assert_equal(answers(model, task, pictures), native[name], tolerance=1e-3)
        assert not any("lora" in key for key, _ in model.native.named_parameters())


def test_the_base_alone_answers_otherwise(built, native, pictures):
    """Or equality would prove nothing about adapters."""
    for name, (family, auto, task, _) in FAMILIES.items():
        if family == "feature-extraction" and auto != "AutoModel":
            continue  # the base has no head
        with (
            Model.from_pretrained(base_of(built(name)), task=task, device="cpu") as base,
            pytest.raises(AssertionError),
        ):
            assert_close(answers(base, task, pictures), native[name])


def test_it_streams_what_it_generates(built):
    with load(built("lora")) as model:
        pipe = pipeline(model=model)
        whole = pipe(TEXTS[0], return_full_text=False, max_new_tokens=6)["generated_text"]
        assert "".join(pipe(TEXTS[0], stream=True, max_new_tokens=6)).strip() == whole.strip()


# The base


def test_the_base_is_another_source(built):
    folder = built("lora")
    with pytest.raises(RedirectRefused, match="base_model_name_or_path leads to another source"):
        pipeline(model=folder)
    allowed = pipeline(model=folder, allow_sources=[str(base_of(folder))], device="cpu")
    assert allowed(TEXTS[0]) == pipeline(model=load(folder))(TEXTS[0])


def test_a_hub_id_is_named_and_what_to_do(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    edit(folder, base_model_name_or_path="org/base")
    with pytest.raises(ModelNotFound, match=r"adapter_config\.json: base_model_name_or_path: org/base.*base_model=<"):
        pipeline(model=folder, allow_sources=["org/base"])
    edit(folder, base_model_name_or_path=None)
    with pytest.raises(OptionError, match="names no base"):
        pipeline(model=folder)


def test_a_loaded_base_is_changed_until_the_adapter_is_closed(built):
    folder = built("lora")
    with Model.from_pretrained(base_of(folder), device="cpu") as base:
        before = pipeline(model=base)(TEXTS)
        model = load(folder, base_model=base, device=None)
        assert pipeline(model=model)(TEXTS) != before
        with pytest.raises(OptionError, match="for good"):
            load(folder, base_model=base, device=None, merge=True)
        model.close()
        assert pipeline(model=base)(TEXTS) == before
        assert not any("lora" in key for key, _ in base.native.named_parameters())


def test_what_an_adapter_brings_is_given_back_too(built, tmp_path):
    """Biases are written over, not added to."""
    folder = tmp_path / "biased"
    write_biased(base_of(built("features")), folder)
    with Model.from_pretrained(base_of(built("features")), device="cpu") as base:
        before = {key: value.clone() for key, value in base.native.named_parameters()}
        model = load(folder, base_model=base, device=None)
        assert not all(value.equal(before[key]) for key, value in base.native.named_parameters() if key in before)
        model.close()
        assert all(value.equal(before[key]) for key, value in base.native.named_parameters())


def write_biased(base, folder):
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query"], bias="all", init_lora_weights=False)
    model = get_peft_model(transformers.AutoModel.from_pretrained(base), config)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith("bias"):
                value.add_(1.0)
    model.save_pretrained(folder)


def test_a_failed_load_leaves_a_loaded_base_as_it_was(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    rewrite(folder, drop=["lora_B"])
    with Model.from_pretrained(base_of(built("lora")), device="cpu") as base:
        before = pipeline(model=base)(TEXTS)
        with pytest.raises(WeightsMismatch):
            load(folder, base_model=base, device=None)
        assert pipeline(model=base)(TEXTS) == before


def test_an_adapter_to_an_adapter(built, tmp_path):
    """The inner one is merged into its base."""
    import torch

    inner = built("lora")
    both = [str(inner), str(base_of(inner))]
    outer = copied(built("ia3"), tmp_path)
    with load(inner, merge=True) as one:
        wanted = load(outer, base_model=one, device=None)
        expected = pipeline(model=wanted)(TEXTS)
    with load(outer, base_model=inner, allow_sources=both) as model:
        assert pipeline(model=model)(TEXTS) == expected
        assert torch.isfinite(next(model.native.parameters())).all()
    with pytest.raises(RedirectRefused, match="its base"):
        load(outer, base_model=inner)


def test_the_base_may_lie_beside_the_adapter(built, tmp_path):
    """The adapter wins; the whole model beside it is its base where the caller says so."""
    folder = Path(shutil.copytree(base_of(built("lora")), tmp_path / "both"))
    shutil.copytree(built("lora"), folder, dirs_exist_ok=True)
    assert resolve(folder).backend == "peft"
    with pytest.raises(RedirectRefused):
        pipeline(model=folder)
    expected = pipeline(model=load(built("lora")))(TEXTS)
    with load(folder, base_model=folder) as model:
        assert pipeline(model=model)(TEXTS) == expected
    with pytest.raises(BackendNotLoadable, match="without_adapter=True"):
        pipeline(model=folder, backend="transformers", allow_sources=[str(base_of(built("lora")))])
    plain = pipeline(
        model=folder, backend="transformers", without_adapter=True, allow_sources=[str(base_of(built("lora")))]
    )
    assert plain(TEXTS) == pipeline(model=base_of(built("lora")))(TEXTS) != expected


def test_a_base_of_another_library_is_refused(built, tmp_path):
    class Strange:
        pass

    base = Model()
    base._loaded, base.backend = Strange(), "strange"
    with pytest.raises(BackendNotLoadable, match="its base is a model of strange"):
        load(built("lora"), base_model=base, device=None)


# Heads that were trained along


def test_the_head_comes_from_the_adapter(built, tmp_path):
    folder = built("classifier")
    with load(folder) as model:
        assert model.native.config.num_labels == 3
    named = copied(folder, tmp_path)
    names = {"0": "bad", "1": "so so", "2": "good"}
    (named / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": names}))
    with load(named, base_model=base_of(folder)) as model:
        found = pipeline(model=model)(TEXTS, top_k=None)
        assert {row["label"] for row in found[0]} == set(names.values())
        model.save_pretrained(tmp_path / "saved")
    with load(tmp_path / "saved", base_model=base_of(folder)) as again:
        assert pipeline(model=again)(TEXTS, top_k=None) == found


def test_a_head_that_nobody_brings_is_missed(built, tmp_path):
    """The base has no classifier, and an adapter of another kind does not bring one."""
    folder = copied(built("features"), tmp_path)
    edit(folder, task_type="SEQ_CLS")
    with pytest.raises(WeightsMismatch, match=r"classifier\.weight"):
        load(folder, base_model=base_of(built("features")))


def test_a_head_that_the_configuration_promises_is_missed(built, tmp_path):
    folder = copied(built("classifier"), tmp_path)
    rewrite(folder, drop=["classifier"])
    with pytest.raises(WeightsMismatch, match="classifier"):
        load(folder, base_model=base_of(built("classifier")))
    with pytest.raises(WeightsMismatch, match=r"adapter's file lacks .*classifier.*modules_to_save"):
        load(folder, base_model=base_of(built("prompted-classifier")))


def test_more_tokens_than_the_base_has(built, tmp_path):
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    base = base_of(built("lora"))
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(150)
    config = LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], r=2,
        init_lora_weights=False,
    )  # fmt: skip
    grown = get_peft_model(model, config)
    grown.save_pretrained(tmp_path / "grown", save_embedding_layers=False)
    with load(tmp_path / "grown", base_model=base) as ours:
        assert ours.native.get_input_embeddings().weight.shape[0] == 150
        ids = torch.tensor([[1, 9, 10, 149]])
        assert torch.equal(ours.native(input_ids=ids).logits, grown.eval()(input_ids=ids).logits)
    rewrite(tmp_path / "grown", drop=["lm_head"])
    with pytest.raises(WeightsMismatch, match=r"embeddings of 150 tokens for a base of.*lm_head"):
        load(tmp_path / "grown", base_model=base)


# What peft would only warn about


def copied(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "adapter"))


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))


def rewrite(folder, *, drop=(), add=(), change=None):
    """Write the adapter's weights anew: without the keys that hold `drop`, with further ones, or changed."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if not any(part in k for part in drop)}
    tensors |= {key: torch.ones(2, 2) for key in add}
    save_file({k: (change(k, v) if change else v).contiguous() for k, v in tensors.items()}, path)


def test_missing_weights_are_named(built, tmp_path, caplog):
    folder, base = copied(built("lora"), tmp_path), base_of(built("lora"))
    rewrite(folder, drop=["v_proj.lora_B"])
    with pytest.raises(WeightsMismatch, match=r"would be random \(.*v_proj\.lora_B\.default\.weight"):
        load(folder, base_model=base)
    with caplog.at_level(logging.WARNING), load(folder, base_model=base, allow_missing_weights=True) as model:
        assert pipeline(model=model)(TEXTS)
    assert "v_proj.lora_B" in caplog.text


def test_weights_without_a_place_are_named(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    rewrite(folder, add=["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"])
    with pytest.raises(WeightsMismatch, match=r"no place in the base \(.*layers\.7\.self_attn\.q_proj"):
        load(folder, base_model=base_of(built("lora")))


def test_random_beginnings_do_not_hide_missing_weights(built, tmp_path):
    """With init_lora_weights: false peft would leave the missing half random, and only warn."""
    folder = copied(built("lora"), tmp_path)
    assert json.loads((folder / "adapter_config.json").read_text())["init_lora_weights"] is False
    rewrite(folder, drop=["lora_"], add=["base_model.model.model.other.lora_A.weight"])
    with pytest.raises(WeightsMismatch, match=r"lora_A\.default.*no place"):
        load(folder, base_model=base_of(built("lora")))


NEUTRAL = {
    "lora": lambda key, v: v * ("lora_A" in key), "dora": None, "ia3": lambda key, v: v * 0 + 1,
    "adalora": lambda key, v: v * 0, "loha": lambda key, v: v * 0, "lokr": lambda key, v: v * 0,
    "vera": lambda key, v: v * ("vera_A" in key), "fourierft": lambda key, v: v * 0, "oft": lambda key, v: v * 0,
    "boft": lambda key, v: v * 0 + float("boft_s" in key), "hra": lambda key, v: v * 0 + 1,
    "ln-tuning": lambda key, v: v * 0 + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, change in NEUTRAL.items() if change])
def test_an_adapter_that_changes_nothing_is_refused(name, built, tmp_path):
    folder = copied(built(name), tmp_path)
    rewrite(folder, change=NEUTRAL[name])
    with pytest.raises(WeightsMismatch, match=r"adapter changes nothing.*every answer would be the base's"):
        load(folder, base_model=base_of(built(name)))


def test_an_adapter_as_peft_makes_it_changes_nothing(built, tmp_path):
    """Also with the lengths of DoRA, which begin as the base's own."""
    import transformers
    from peft import LoraConfig, get_peft_model

    for number, dora in enumerate((False, True)):
        model = transformers.AutoModelForCausalLM.from_pretrained(base_of(built("lora")))
        config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], use_dora=dora)
        get_peft_model(model, config).save_pretrained(tmp_path / str(number))
        with pytest.raises(WeightsMismatch, match="changes nothing"):
            load(tmp_path / str(number), base_model=base_of(built("lora")))
    rewrite(tmp_path / "1", change=lambda key, v: v * 2 if "magnitude" in key else v)
    load(tmp_path / "1", base_model=base_of(built("lora"))).close()


def test_an_untrained_adapter_with_a_head_is_told(built, tmp_path, caplog):
    folder = copied(built("classifier"), tmp_path)
    rewrite(folder, change=lambda key, v: v if "classifier" in key else v * 0)
    with caplog.at_level(logging.WARNING):
        load(folder, base_model=base_of(built("classifier"))).close()
    assert "changes nothing" in caplog.text
    assert "only classifier" in caplog.text


def test_modules_that_are_not_in_the_base(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    edit(folder, target_modules=["query_key_value"])
    with pytest.raises(WeightsMismatch, match=r"target_modules: none of the modules.*query_key_value"):
        load(folder, base_model=base_of(built("lora")))
    edit(folder, target_modules=r".*\.(query|value)$")
    with pytest.raises(WeightsMismatch, match="target_modules"):
        load(folder, base_model=base_of(built("lora")))


def test_a_base_of_another_shape(built, tmp_path):
    with pytest.raises(WeightsMismatch, match="do not fit"):
        load(built("lora"), base_model=wider(tmp_path))


def wider(tmp_path):
    import transformers

    config = transformers.AutoConfig.for_model(
        "llama", vocab_size=138, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "wider")
    from tests.tiny._words import lm_tokenizer

    lm_tokenizer().save_pretrained(tmp_path / "wider")
    return tmp_path / "wider"


def test_sizes_that_the_file_does_not_bear_out(built, tmp_path):
    for name, key in (("vera", "r"), ("prompt", "num_virtual_tokens"), ("fourierft", "n_frequency")):
        folder = copied(built(name), tmp_path / name)
        edit(folder, **{key: 200_000})
        with pytest.raises(LimitExceeded, match=f"{key} is 200000"):
            load(folder, base_model=base_of(built(name)))
    folder = copied(built("lora"), tmp_path)
    edit(folder, rank_pattern={"q_proj": 100_000})
    with pytest.raises(LimitExceeded, match=r"rank_pattern\.q_proj"):
        load(folder, base_model=base_of(built("lora")))
    edit(folder, rank_pattern={}, r=4)
    with pytest.raises(WeightsMismatch, match="do not fit"):
        load(folder, base_model=base_of(built("lora")))


# Files


def test_pickled_weights_are_read_where_they_are_plain(built, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder, base = copied(built("classifier"), tmp_path), base_of(built("classifier"))
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    with load(folder, base_model=base) as model:
        assert pipeline(model=model)(TEXTS) == pipeline(model=load(built("classifier")))(TEXTS)
    with pytest.raises(PickleRefused):
        load(folder, base_model=base, allow_pickle=False)
    torch.save({"base_model.model.x": os.system}, folder / "adapter_model.bin")
    with pytest.raises(PickleRefused, match="system"):
        load(folder, base_model=base)


@pytest.mark.parametrize("gone", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter(gone, built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    (folder / gone).unlink()
    with pytest.raises(NotAModel, match=r"adapter_config\.json|no weights"):
        load(folder, base_model=base_of(built("lora")))


def test_a_kind_that_nothing_is_known_of(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    edit(folder, peft_type="XLORA", adapters={"one": "org/other"})
    with pytest.raises(BackendNotLoadable, match=r"peft_type: 'XLORA'.*Load it with peft itself"):
        load(folder, base_model=base_of(built("lora")))


def test_modules_to_import_are_refused(built, tmp_path):
    folder = copied(built("lora"), tmp_path)
    edit(folder, megatron_config={"a": 1}, megatron_core="evil")
    with pytest.raises(UnknownTypeError, match="megatron_core names evil"):
        load(folder, base_model=base_of(built("lora")))


def test_settings_of_a_newer_peft_are_told(built, tmp_path, caplog):
    folder = copied(built("lora"), tmp_path)
    edit(folder, from_the_future=True)
    with caplog.at_level(logging.WARNING):
        load(folder, base_model=base_of(built("lora"))).close()
    assert "from_the_future" in caplog.text


def test_an_old_peft_is_refused(built, monkeypatch):
    from modelscope_ext.models import gate

    floors = {**gate.FLOORS, "peft": ("99", *gate.FLOORS["peft"][1:])}
    monkeypatch.setattr(gate, "FLOORS", floors)
    with pytest.raises(UnsafeBackendError, match=r"peft .* is installed; before 99 .*peft#3090"):
        load(built("lora"))


def test_a_tokenizer_beside_the_adapter_is_taken(built, tmp_path):
    from transformers import AutoTokenizer

    folder, base = copied(built("lora"), tmp_path), base_of(built("lora"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    with load(folder, base_model=base) as model:
        assert model.parts["tokenizer"].chat_template == tokenizer.chat_template
    with load(built("lora")) as model:
        assert model.parts["tokenizer"].chat_template != tokenizer.chat_template
    bare = Path(shutil.copytree(base, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")))
    with load(folder, base_model=bare) as model:  # the base need not have one
        assert pipeline(model=model)(TEXTS[0])
    with pytest.raises(NotAModel, match="its base"):
        load(built("lora"), base_model=bare)


# Saving, adopting, code


@pytest.mark.parametrize("name", ["lora", "embeddings", "classifier", "prompt", "ia3"])
def test_an_adapter_is_saved_as_one(name, built, tmp_path):
    task, folder = FAMILIES[name][2], built(name)
    with load(folder) as model:
        expected = pipeline(task, model=model)(TEXTS)
        model.save_pretrained(tmp_path / "saved")
    saved = tmp_path / "saved"
    old, new = (json.loads((f / "adapter_config.json").read_text()) for f in (folder, saved))
    assert new["base_model_name_or_path"] == old["base_model_name_or_path"]
    assert not (saved / "model.safetensors").exists()
    assert (resolve(saved).backend, resolve(saved).tasks[0]) == ("peft", task)
    with load(saved, base_model=base_of(folder)) as again:
        assert_close(pipeline(task, model=again)(TEXTS), expected, 0.0)


@pytest.mark.parametrize("name", ["lora", "classifier"])
def test_a_merged_model_is_saved_as_a_model(name, built, tmp_path):
    task = FAMILIES[name][2]
    with load(built(name), merge=True) as model:
        expected = pipeline(task, model=model)(TEXTS)
        model.save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "configuration.json").read_text())
    assert written["backend"] == "transformers"
    assert not any("peft" in need for need in written["requirement_dependency"])
    assert not (tmp_path / "saved" / "adapter_config.json").exists()
    with Model.from_pretrained(tmp_path / "saved", device="cpu") as again:
        assert (again.backend, again.default_task) == ("transformers", task)
        assert_close(pipeline(model=again)(TEXTS), expected)


def test_a_model_of_the_caller_is_adopted(built, tmp_path):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    folder = built("lora")
    native = AutoPeftModelForCausalLM.from_pretrained(folder, adapter_name="mine")
    pipe = pipeline(model=native, preprocessor=AutoTokenizer.from_pretrained(base_of(folder)))
    assert (pipe.model.backend, pipe.task) == ("peft", "text-generation")
    assert pipe(TEXTS) == pipeline(model=load(folder))(TEXTS)
    pipe.model.save_pretrained(tmp_path / "saved")
    assert pipeline(model=load(tmp_path / "saved", base_model=base_of(folder)))(TEXTS) == pipe(TEXTS)


@pytest.mark.parametrize("name", ["lora", "prompt", "prompted-classifier", "seq2seq"])
def test_the_snippet_runs(name, built):
    code = resolve(built(name)).code()
    assert "PeftModel" in code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **OFFLINE}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def test_options(built):
    with pytest.raises(OptionError, match="merge='yes'"):
        load(built("lora"), merge="yes")
    with pytest.raises(OptionError, match="adds tokens"):
        load(built("prompt"), merge=True)
    with load(built("lora"), dtype="bfloat16") as model:
        import torch

        assert model.native.get_base_model().dtype == torch.bfloat16
