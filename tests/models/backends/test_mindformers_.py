"""The mindformers backend: the conformance checks, what is refused, what a CPU changes, saving (environment `ms`)."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from modelscope_ext import Model, pipeline, plan, resolve
from modelscope_ext.errors import (
    BackendNotLoadable,
    ConfigError,
    LimitExceeded,
    MalformedMetadata,
    ModelNotFound,
    ModelScopeExtError,
    NotAModel,
    OptionError,
    RemoteCodeRefused,
    TemplateRefused,
    WeightsMismatch,
)
from modelscope_ext.models.backends.mindformers_ import MindFormers
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_close
from tests.reference import OFFLINE
from tests.tiny import mindformers_

pytestmark = pytest.mark.ms

TEXTS = ["the cat", "a dog and the dog", "hello world"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function that builds a tiny model once."""
    root = tmp_path_factory.mktemp("built")

    def get(name, kind="llama", **options):
        return root / name if (root / name).is_dir() else mindformers_.build(kind, root / name, **options)

    return get


@pytest.fixture
def copied(built, tmp_path):
    def copy(name="llama", **options):
        return Path(shutil.copytree(built(name, **options), tmp_path / name))

    return copy


@pytest.fixture(scope="module")
def loaded(built):
    with pipeline(model=built("llama")) as pipe:
        yield pipe


@pytest.fixture(scope="module", autouse=True)
def library():
    """Import MindSpore and mindformers once, before any test looks at what it leaves behind."""
    from modelscope_ext.models.backends._mindformers.library import imported
    from modelscope_ext.models.backends._mindspore.device import start
    from modelscope_ext.models.backends._mindspore.quiet import loading

    with loading():
        start("cpu")
        imported("mindformers")


class TestMindFormers(BackendConformance):
    backend = MindFormers
    task = "text-generation"
    inputs = TEXTS
    predict_options = {"max_new_tokens": 4}
    tolerance = 1e-5
    damage = [
        "config.json", "mindspore_model.ckpt.index.json", "mindspore_model-00003-of-00004.ckpt", "tokenizer.json",
        "generation_config.json",
    ]  # fmt: skip
    load_values = {"seq_length": 64}
    call_values = {
        "max_new_tokens": 3, "return_full_text": False, "do_sample": True, "temperature": 0.7, "top_k": 3, "top_p": 0.9,
        "repetition_penalty": 1.3, "seed": 1, "eos_token_id": [3, 4], "min_new_tokens": 2, "add_special_tokens": False,
        "skip_special_tokens": False, "min_length": 4,
    }  # fmt: skip

    def make_folder(self, tmp_path):
        return mindformers_.build("qwen2", tmp_path / "model", size="100kB")

    def near_misses(self, tmp_path):
        # A yaml of another library beside a checkpoint of Lightning, and the original itself.
        other = tmp_path / "other"
        other.mkdir()
        (other / "hyperparams.yaml").write_text("model: {hidden_size: 8}\n")
        (other / "last.ckpt").write_bytes(b"PK\3\4" + bytes(64))
        yield other
        yield mindformers_.original("llama", tmp_path / "original")


# How it decides


def test_the_files_decide(built, tmp_path):
    for name, options in (("llama", {}), ("run", {"layout": "yaml"}), ("shards", {"size": "100kB"})):
        info = resolve(built(name, **options))
        assert (info.backend, info.framework, info.default_task) == ("mindformers", "mindspore", "text-generation")
        assert info.loadable
        assert "mindformers" in info.code()
    names = [file.name for file in plan(built("shards", size="100kB")).files]
    assert "mindspore_model.ckpt.index.json" in names
    assert len([name for name in names if name.endswith(".ckpt")]) == 4


def test_a_class_that_is_not_served_is_recognised(copied):
    folder = copied("run", layout="yaml")
    document = yaml.safe_load((folder / "predict_llama.yaml").read_text())
    document["model"]["arch"]["type"] = "ChatGLM2ForConditionalGeneration"
    (folder / "predict_llama.yaml").write_text(yaml.safe_dump(document))
    info = resolve(folder)
    assert (info.backend, info.loadable) == ("mindformers", False)
    with pytest.raises(BackendNotLoadable):
        pipeline(model=folder)


# What a CPU changes, and that it is said


def test_settings_that_the_cpu_lacks_are_changed_and_said(copied, caplog):
    folder = copied()
    document = json.loads((folder / "config.json").read_text())
    more = {"use_flash_attention": True, "use_past": True, "fused_rms_norm": True, "seq_length": 50000}
    (folder / "config.json").write_text(json.dumps({**document, **more}))
    with caplog.at_level(logging.INFO, "modelscope_ext"), pipeline(model=folder) as pipe:
        config = pipe.model.native.config
        assert not (config.use_flash_attention or config.use_past or config.fused_rms_norm)
        assert (config.use_rope_slice, config.seq_length) == (True, 4096)
        said = {reason.key: reason for reason in pipe.model.resolution.because["settings"]}
        assert {*more, "use_rope_slice"} <= set(said)
        assert said["use_past"].value is True
        assert "use_past" in pipe.model.resolution.explain()
        assert "use_past=False" in caplog.text
        pipe.model.save_pretrained(folder.parent / "saved")
    again = json.loads((folder.parent / "saved" / "config.json").read_text())
    assert {key: again[key] for key in more} == more  # the CPU's settings stay here


def test_nothing_is_left_in_the_working_directory(built, tmp_path):
    """In a process of its own: its logs, the environment, the handler of warnings, stdout."""
    script = f"""
import os, sys, warnings
before, shown = dict(os.environ), warnings.showwarning
from modelscope_ext import pipeline
with pipeline(model={str(built("llama"))!r}) as pipe:
    text = pipe("the cat", max_new_tokens=2)["generated_text"]
    pipe.model.native.generate([[1, 5]], max_new_tokens=1, eos_token_id=[2])  # by hand
assert warnings.showwarning is shown
changed = {{k for k in (*before, *os.environ) if before.get(k) != os.environ.get(k)}}
print(sorted(os.listdir(".")), text.startswith("the cat"), sorted(k for k in changed if "LOG" in k or "MF" in k))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, **OFFLINE, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] True []\n"


# Dtypes


@pytest.mark.parametrize("layout", ["json", "yaml"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_checkpoints_dtype_is_kept(built, tmp_path, layout, dtype):
    folder = built(f"{layout}-{dtype}", layout=layout, dtype=dtype)
    here = {"bfloat16": "Float32"}.get(dtype, dtype.capitalize())
    with Model.from_pretrained(folder) as model:
        weights = {p.name: str(p.dtype) for p in model.native.get_parameters()}
        assert {kind for name, kind in weights.items() if "norm" not in name} == {here}
        reasons = " ".join(reason.text for reason in model.resolution.because["settings"])
        assert ("bfloat16 weights are computed in float32" in reasons) is (dtype == "bfloat16")
        model.save_pretrained(tmp_path / "saved")
    assert stored(tmp_path / "saved") == stored(folder)  # every bit of every tensor
    with Model.from_pretrained(tmp_path / "saved") as again:
        assert {p.name: str(p.dtype) for p in again.native.get_parameters()} == weights


def stored(folder):
    """Return dtype and bytes of each parameter, as MindSpore itself reads them."""
    import mindspore

    found = {}
    for path in Path(folder).glob("*.ckpt"):
        for name, value in mindspore.load_checkpoint(str(path)).items():
            found[name] = (str(value.dtype), value.shape, value.get_bytes())
    assert found
    return found


def test_another_dtype_is_the_callers(built, loaded, tmp_path):
    with pipeline(model=built("llama"), dtype="float16") as half:
        weights = {p.name: str(p.dtype) for p in half.model.native.get_parameters()}
        assert weights["model.layers.0.attention.wq.weight"] == "Float16"
        ours = half(TEXTS, raw=True, max_new_tokens=1, output_logits=True)
        full = loaded(TEXTS, raw=True, max_new_tokens=1, output_logits=True)
        for one, other in zip(ours, full, strict=True):
            assert_close(one["logits"], other["logits"], 3e-2)
            assert (one["logits"] != other["logits"]).any()
        half.model.save_pretrained(tmp_path / "half")
    assert {dtype for dtype, *_ in stored(tmp_path / "half").values()} == {"Float16"}
    for dtype, said in (("bfloat16", "cannot compute in bfloat16 on a CPU"), ("float64", "float32, float16 or")):
        with pytest.raises(OptionError, match=said):
            pipeline(model=built("llama"), dtype=dtype)


# Weights that do not fit


def spoil(folder, change):
    """Rewrite a checkpoint through MindSpore itself."""
    import mindspore

    path = str(folder / "mindspore_model.ckpt")
    values = mindspore.load_checkpoint(path)
    values = change({name: mindspore.Tensor(value.asnumpy()) for name, value in values.items()})
    mindspore.save_checkpoint([{"name": name, "data": data} for name, data in values.items()], path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda v: {k: t for k, t in v.items() if "layers.1.ffn_norm" not in k},
            r"missing: model\.layers\.1\.ffn_norm",
        ),
        (
            lambda v: {**v, "adam_m.lm_head.weight": v["lm_head.weight"]},
            r"none of the model's: adam_m\.lm_head\.weight",
        ),
        (lambda v: {**v, "lm_head.weight": v["lm_head.weight"][:9]}, r"lm_head\.weight \[9, 64\], not \[160, 64\]"),
    ],
    ids=["missing", "left over", "another shape"],
)
def test_weights_that_do_not_fit_are_named(copied, change, said):
    folder = copied()
    spoil(folder, change)
    with pytest.raises(WeightsMismatch, match=said):
        pipeline(model=folder)


def test_missing_weights_are_random_only_when_asked(copied, caplog):
    folder = copied()
    spoil(folder, lambda v: {k: t for k, t in v.items() if k != "lm_head.weight"})
    with pipeline(model=folder, allow_missing_weights=True) as pipe:
        assert pipe("the cat", max_new_tokens=2)["generated_text"].startswith("the cat")
    assert "missing: lm_head.weight" in caplog.text


def test_settings_that_the_weights_do_not_fit_are_found_before_anything_is_built(copied):
    folder = copied()
    document = json.loads((folder / "config.json").read_text())
    for key, value, error in (
        ("num_layers", 3, WeightsMismatch),
        ("hidden_size", 128, WeightsMismatch),
        ("n_kv_heads", 4, WeightsMismatch),
        ("num_layers", 10**9, LimitExceeded),
        ("max_position_embedding", 2**40, LimitExceeded),
        ("seq_length", 2**40, LimitExceeded),
        ("num_heads", "four", ConfigError),
        ("num_heads", 0, ConfigError),
        ("num_heads", 5, ConfigError),
        ("eos_token_id", ["a"], ConfigError),
        ("num_heads", None, ConfigError),
        ("moe_config", {"expert_num": 8}, BackendNotLoadable),
        ("quant_config", {"bits": 8}, BackendNotLoadable),
    ):
        (folder / "config.json").write_text(json.dumps({**document, key: value}))
        with pytest.raises(error, match=key if error is not WeightsMismatch else "config.json"):
            pipeline(model=folder)


# What is refused


def test_code_of_the_folder_never_runs(copied):
    folder = copied("run", layout="yaml")
    document = yaml.safe_load((folder / "predict_llama.yaml").read_text())
    (folder / "predict_llama.yaml").write_text(yaml.safe_dump({"auto_register": "evil.Evil", **document}))
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(RemoteCodeRefused, match="auto_register"):
        pipeline(model=folder)
    with pytest.raises(BackendNotLoadable, match="auto_register: the model's own classes are not run"):
        pipeline(model=folder, trust_remote_code=True)


def test_damaged_checkpoints_are_refused_before_mindspore_sees_them(copied):
    folder = copied()
    path = folder / "mindspore_model.ckpt"
    whole = path.read_bytes()
    for data in (whole[:-100], b"", b"\xff" * 40 + whole[40:], b"\x80\x04cos\nsystem\n."):
        path.write_bytes(data)
        with pytest.raises(ModelScopeExtError, match=r"mindspore_model\.ckpt"):
            pipeline(model=folder)


def test_a_shard_that_is_missing(copied):
    folder = copied("shards", size="100kB")
    (folder / "mindspore_model-00002-of-00004.ckpt").unlink()
    with pytest.raises(ModelNotFound, match="mindspore_model-00002-of-00004"):
        pipeline(model=folder)


def test_options_that_make_no_sense(built, loaded):
    for options, said in (
        ({"seq_len": 3}, "seq_length"),
        ({"seq_length": "long"}, "seq_length='long'"),
        ({"seq_length": 0}, "seq_length=0"),
        ({"device": "cuda"}, "MindSpore runs on 'cpu'"),
        ({"device_map": "auto"}, "device_map"),
        ({"task": "fill-mask"}, "fill-mask"),
    ):
        with pytest.raises(OptionError, match=said):
            pipeline(model=built("llama"), **options)
    for options, said in (
        ({"max_tokens": 3}, "max_tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 5000}, "there is room for 128"),
        ({"max_length": 2}, "has 3 tokens already"),
    ):
        with pytest.raises(OptionError, match=said):
            loaded("the cat", **options)
    with pytest.raises(OptionError, match=r"an input of 201 tokens.*seq_length="):
        loaded("cat " * 200)
    with pytest.raises(NotAModel, match=r"yaml='other\.yaml'"):
        pipeline(model=built("llama"), yaml="other.yaml")


def test_several_yaml_files(copied, tmp_path):
    folder = copied("run", layout="yaml")
    shutil.copyfile(folder / "predict_llama.yaml", folder / "finetune_llama.yaml")
    with pytest.raises(ModelScopeExtError, match=r"finetune_llama\.yaml, predict_llama\.yaml each describe a model"):
        pipeline(model=folder)
    with pipeline(model=folder, yaml="predict_llama.yaml") as pipe:
        assert pipe("the cat", max_new_tokens=2)["generated_text"].startswith("the cat")


# Tokenizers and templates


def test_a_folder_without_a_tokenizer(copied):
    folder = copied()
    tokenizer = folder / "tokenizer.json"
    tokenizer.unlink()
    with pytest.raises(NotAModel, match=r"expected tokenizer\.json or tokenizer\.model"):
        pipeline(model=folder)


def test_a_sentencepiece_tokenizer_reads_as_transformers_reads_it(built, copied, tmp_path):
    import sentencepiece
    import transformers

    folder = copied()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat sat on the mat\na dog and the dog ran\nhello world\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(texts), model_prefix=str(folder / "tokenizer"), vocab_size=60, model_type="bpe", minloglevel=9
    )
    (folder / "tokenizer.vocab").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.LlamaTokenizer(str(folder / "tokenizer.model"), legacy=True)
    with pipeline(model=folder) as pipe:
        raw = pipe(TEXTS, raw=True, max_new_tokens=2)
        assert [one["prompt"] for one in raw] == [theirs(text)["input_ids"] for text in TEXTS]
        assert len({tuple(one["prompt"]) for one in raw}) == len(TEXTS)
        assert type(pipe.model._loaded.parts["tokenizer"]).__module__.startswith("mindformers.")


def test_chats(built, copied, loaded):
    chat = [{"role": "user", "content": "hello"}]
    made = loaded(chat, max_new_tokens=3)["generated_text"]
    assert made[:1] == chat
    assert made[1]["role"] == "assistant"
    assert made[1]["content"]
    folder = copied()
    template = folder / "chat_template.jinja"
    template.write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pipeline(model=folder) as pipe, pytest.raises(TemplateRefused):
        pipe(chat, max_new_tokens=1)
    template.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pipeline(model=folder) as pipe, pytest.raises(OptionError, match="has no chat template"):
        pipe(chat, max_new_tokens=1)


def test_a_tokenizer_of_another_model(copied):
    folder = copied()
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"]["cat"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pipeline(model=folder) as pipe, pytest.raises(OptionError, match="the tokenizer belongs to another model"):
        pipe("the cat", max_new_tokens=1)
    (folder / "tokenizer.json").write_text('{"model": {"type": "Nonsense"}}')
    with pytest.raises(MalformedMetadata, match=r"tokenizer\.json"):
        pipeline(model=folder)


# Running


def test_tokens_that_are_padded_with_are_still_seen(loaded):
    """mindformers masks every token that equals the one it pads with: here id 0, in the middle and at the end."""
    text = "the <pad> cat <pad>"
    alone = loaded(text, max_new_tokens=6, raw=True, output_logits=True)
    assert 0 in alone["prompt"][1:-1]
    assert alone["prompt"][-1] == 0
    other = loaded("the <unk> cat <unk>", max_new_tokens=6, raw=True, output_logits=True)
    assert (abs(alone["logits"][0] - other["logits"][0]) > 1e-3).any()
    together = loaded([text, "a dog and the dog ran on the mat"], max_new_tokens=6, batch_size=2, raw=True)
    assert list(together[0]["sequences"]) == list(alone["sequences"])


def test_the_model_itself_says_how_it_generates(copied, loaded):
    folder = copied()
    first = loaded("the cat", max_new_tokens=6, return_full_text=False, raw=True)
    stop = int(first["sequences"][5])
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [stop], "max_new_tokens": 9}))
    with pipeline(model=folder) as pipe:
        made = pipe("the cat", raw=True)["sequences"]
        assert list(made) == list(first["sequences"][:6])
        assert len(pipe("the cat", raw=True, eos_token_id=159)["sequences"]) == 3 + 9


def test_sampling_follows_its_seed_and_leaves_numpys_state(loaded):
    import numpy as np

    options = {"do_sample": True, "temperature": 2.0, "top_k": 0, "max_new_tokens": 8}
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one, two, three = (loaded("the cat", seed=seed, **options) for seed in (1, 1, 2))
    assert (np.random.get_state()[1] == before).all()
    assert one == two
    assert one != three


def test_streaming(loaded):
    text = loaded("the cat", max_new_tokens=8, return_full_text=False)["generated_text"]
    pieces = list(loaded("the cat", max_new_tokens=8, stream=True))
    assert "".join(pieces) == text
    assert len(pieces) > 2
    early = loaded("the cat", max_new_tokens=100, stream=True)
    next(early)
    early.close()
    with pytest.raises(OptionError, match="room"):
        list(loaded("the cat", max_new_tokens=10_000, stream=True))


def test_a_network_that_the_caller_made(built, loaded):
    native, tokenizer = loaded.model.native, loaded.model._loaded.parts["tokenizer"]
    pipe = pipeline(model=native, preprocessor=tokenizer)
    assert pipe("the cat", max_new_tokens=4) == loaded("the cat", max_new_tokens=4)
    assert MindFormers().adopt("a string") is None
    with pytest.raises(OptionError, match="needs a tokenizer of mindformers"):
        pipeline(model=native)("the cat")


def test_closing_lets_go(built):
    import gc
    import weakref

    pipe = pipeline(model=built("llama"))
    pipe("the cat", max_new_tokens=1)
    held = weakref.ref(pipe.model.native)
    pipe.close()
    gc.collect()
    assert held() is None
