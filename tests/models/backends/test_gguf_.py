"""The gguf backend: bit by bit the weights that were written, and a clear answer for what only llama.cpp runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from modelscope_ext import Model, pipeline, plan, resolve
from modelscope_ext.errors import (
    BackendNotLoadable,
    MalformedMetadata,
    NotAModel,
    OptionError,
    WeightsMismatch,
)
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.backends.gguf_ import Gguf
from modelscope_ext.testing.conformance import BackendConformance
from tests.equality import assert_equal
from tests.reference import OFFLINE, reference

pytestmark = [
    pytest.mark.pt,
    # peft's own, where a test calls it directly.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

TEXTS = ["the cat", "a dog and the dog", "hello world"]


class TestLlama(BackendConformance):
    backend = Gguf
    task = "text-generation"
    inputs = TEXTS
    call_values = {"max_new_tokens": 3, "return_full_text": False}
    load_values = {"attn_implementation": "eager"}

    def make_folder(self, tmp_path):
        from tests.tiny import gguf_

        return gguf_.build("llama", tmp_path / "model", "Q8_0")

    def near_misses(self, tmp_path):
        from tests.tiny import gguf_, transformers_

        both = transformers_.build("text-generation", tmp_path / "both")
        yield gguf_.build("llama", both, "Q8_0")  # a copy beside the model itself
        other = tmp_path / "ggml"
        other.mkdir()
        (other / "ggml-tiny.bin").write_bytes(b"lmgg" + bytes(64))
        yield other


# Equality

REFERENCE = """
import torch, transformers
def answer(job):
    given = {"gguf_file": job["file"], "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32, **given).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], **given)
    pipe = transformers.pipelines.TextGenerationPipeline(model=model, tokenizer=tokenizer)
    texts = [pipe(text, max_new_tokens=8, do_sample=False)[0] for text in job["texts"]]
    logits = [model(**tokenizer(text, return_tensors="pt")).logits[0, -1] for text in job["texts"]]
    return {"texts": texts, "logits": logits}
with torch.no_grad():
    result = [answer(job) for job in arg]
"""
ARCHITECTURES = ("llama", "qwen2")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each architecture in several quantisations, in one folder."""
    from tests.tiny import gguf_

    root = tmp_path_factory.mktemp("gguf")
    return {name: gguf_.build(name, root / name, "F32", "F16", "Q8_0", "Q4_0", seed=1) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def native(built):
    """What transformers answers, without this package."""
    kinds = [(name, kind) for name in ARCHITECTURES for kind in ("F32", "Q8_0", "Q4_0")]
    jobs = [{"folder": str(built[name]), "file": f"tiny-{kind}.gguf", "texts": TEXTS} for name, kind in kinds]
    return dict(zip(kinds, reference(REFERENCE, jobs), strict=True))


def load(folder, **options):
    return Model.from_pretrained(folder, **{"device": "cpu", **options})


def logits(model, texts=TEXTS):
    import torch

    tokenizer = model.parts["tokenizer"]
    with torch.inference_mode():
        return [model.native(**tokenizer(text, return_tensors="pt")).logits[0, -1] for text in texts]


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_are_those_of_transformers(name, kind, built, native):
    with load(built[name], variant=kind) as model:
        assert (model.backend, model.default_task) == ("gguf", "text-generation")
        found = pipeline(model=model)(TEXTS, max_new_tokens=8)
        assert_equal(found, native[name, kind]["texts"], inputs=TEXTS)
        assert_equal([row.tolist() for row in logits(model)], native[name, kind]["logits"], tolerance=0.0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_not_quantised_is_the_original_bit_by_bit(name, built):
    import torch

    from tests.tiny import gguf_

    made = gguf_.model(name, seed=1)
    with load(built[name], variant="F32") as model, torch.inference_mode():
        weights = dict(made.named_parameters())
        assert all(torch.equal(value, weights[key]) for key, value in model.native.named_parameters())
        ids = torch.tensor([[1, 70, 80, 90, 261]])
        assert torch.equal(model.native(input_ids=ids).logits, made(input_ids=ids).logits)
        other = load(built[name], variant="Q4_0")
        assert not torch.equal(other.native(input_ids=ids).logits, made(input_ids=ids).logits)


def test_blocks_are_unpacked_as_gguf_does(built):
    """Brought into llama.cpp's names and order again, every weight is what gguf reads from the file."""
    import gguf
    import torch

    from tests.tiny import gguf_

    reader = gguf.GGUFReader(built["llama"] / "tiny-Q8_0.gguf")
    stored = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    with load(built["llama"], variant="Q8_0") as model:
        ours = gguf_.tensors(model.native)
    assert ours.keys() == stored.keys()
    assert all(torch.equal(torch.tensor(ours[key]), torch.tensor(stored[key])) for key in stored)


def test_it_streams_and_chats(built):
    with load(built["qwen2"], variant="F32") as model:
        pipe = pipeline(model=model)
        whole = pipe(TEXTS[0], return_full_text=False, max_new_tokens=6)["generated_text"]
        assert "".join(pipe(TEXTS[0], stream=True, max_new_tokens=6)) == whole
        answers = [pipe([{"role": "user", "content": text}], max_new_tokens=4)["generated_text"] for text in TEXTS]
        assert {len(one) for one in answers} == {2}
        assert len({one[-1]["content"] for one in answers}) > 1


# Which file


def test_one_of_several_copies_is_chosen_and_said(built):
    info = resolve(built["llama"])
    assert info.weights.files == ("tiny-Q4_0.gguf",)
    assert any(f.code == "weights-choice" and "Q8_0" in f.message for f in info.findings)
    assert resolve(built["llama"], variant="q8_0").weights.files == ("tiny-Q8_0.gguf",)
    with pytest.raises(OptionError, match="no weight file has it"):
        load(built["llama"], variant="Q3_K_M")


def test_the_plan_says_what_it_takes_unpacked(built):
    found = plan(built["llama"], variant="Q8_0")
    with load(built["llama"], variant="Q8_0") as model:
        taken = sum(p.numel() * p.element_size() for p in model.native.parameters())
    assert [file.name for file in found.files] == ["tiny-Q8_0.gguf"]
    assert found.memory_needed["float32"] == taken > 3 * found.memory_needed["as stored"]
    assert "int8" not in found.memory_needed
    with load(built["llama"], variant="Q8_0", dtype="bfloat16") as model:
        half = sum(p.numel() * p.element_size() for p in model.native.parameters())
    assert half == found.memory_needed["bfloat16"]


def test_split_files_are_for_llama_cpp(tmp_path):
    from tests.tiny import gguf_

    gguf_.build("llama", tmp_path, "Q8_0", name="tiny-{}-00001-of-00002.gguf")
    gguf_.build("llama", tmp_path, "Q8_0", name="tiny-{}-00002-of-00002.gguf")
    with pytest.raises(BackendNotLoadable, match=r"reads no split files.*llama-gguf-split --merge"):
        load(tmp_path)


# What transformers cannot load


def test_a_projector_is_no_language_model(tmp_path):
    from tests.tiny import gguf_

    gguf_.build("llama", tmp_path, "F16", name="mmproj-{}.gguf", arch="clip")
    assert not resolve(tmp_path).loadable
    with pytest.raises(BackendNotLoadable, match=r"general\.architecture: clip.*pip install llama-cpp-python"):
        load(tmp_path)
    gguf_.build("llama", tmp_path, "Q8_0")
    info = resolve(tmp_path, task="text-generation")
    assert (info.loadable, info.weights.files) == (True, ("tiny-Q8_0.gguf",))
    load(tmp_path, task="text-generation").close()
    with pytest.raises(OptionError, match="'image-text-to-text' is not what"):
        load(tmp_path, task="image-text-to-text")


@pytest.mark.parametrize("architecture", ["flux", "wan", "silero-vad", "deepseek2", "t5encoder", "llama4"])
def test_other_architectures_are_recognised_only(architecture, tmp_path):
    from tests.tiny import gguf_

    gguf_.build("llama", tmp_path, "Q8_0", arch=architecture)
    info = resolve(tmp_path)
    assert (info.backend, info.loadable) == ("gguf", False)
    assert info.requirement_dependency == ("llama-cpp-python",)
    assert "llama_cpp" in info.code() or info.default_task != "text-generation"
    for asked in ({}, {"backend": "gguf"}, {"task": "text-generation"}):
        assert not resolve(tmp_path, **asked).loadable
        with pytest.raises(BackendNotLoadable, match=f"general.architecture: '{architecture}'.*llama.cpp"):
            Gguf().load(tmp_path, resolve(tmp_path, **asked), grants())
    with pytest.raises(BackendNotLoadable, match=f"general.architecture: {architecture}.*llama-cpp-python"):
        load(tmp_path)


def grants():
    from modelscope_ext.safety.grants import Grants

    return Grants()


def test_a_listing_without_headers_may_be_loadable():
    listed = Snapshot.from_mapping({}, {"model-Q4_K_M.gguf": 1000})
    assert resolve(listed, installed=False).loadable
    assert not resolve(Snapshot.from_mapping({}, {"mmproj-model-f16.gguf": 1000}), installed=False).loadable


# Damage


def test_missing_tensors_are_named(tmp_path):
    from tests.tiny import gguf_

    gguf_.build("llama", tmp_path, drop="blk.1.ffn_up")
    with pytest.raises(WeightsMismatch, match=r"layers\.1\.mlp\.up_proj\.weight"):
        load(tmp_path)
    load(tmp_path, allow_missing_weights=True).close()


def test_blocks_that_would_be_left_out_are_told(tmp_path):
    from tests.tiny import gguf_

    gguf_.build("qwen2", tmp_path, blocks=1)
    with pytest.raises(WeightsMismatch, match=r"qwen2\.block_count is 1, but there are weights of 2 blocks"):
        load(tmp_path)


@pytest.mark.parametrize("cut", [3, 100, 0.5, 0.99])
def test_a_file_that_was_cut_short(cut, tmp_path):
    from tests.tiny import gguf_

    path = gguf_.build("qwen2", tmp_path) / "tiny-F32.gguf"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    with pytest.raises(MalformedMetadata, match=r"tiny-F32\.gguf"):
        load(tmp_path)


def test_nothing_is_left_of_the_vocabulary(tmp_path):
    from tests.tiny import gguf_

    path = gguf_.build("llama", tmp_path) / "tiny-F32.gguf"
    path.write_bytes(path.read_bytes().replace(b"tokenizer.ggml.merges", b"tokenizer.ggml.mergez"))
    with pytest.raises(MalformedMetadata, match=r"tokenizer in tiny-F32\.gguf"):
        load(tmp_path)


# Saving, code


def test_it_is_saved_bit_by_bit(built, tmp_path):
    with load(built["llama"], variant="Q8_0") as model:
        expected = pipeline(model=model)(TEXTS)
        model.save_pretrained(tmp_path / "saved")
        model.save_pretrained(tmp_path / "saved")
    saved = tmp_path / "saved" / "tiny-Q8_0.gguf"
    assert saved.read_bytes() == (built["llama"] / saved.name).read_bytes()
    assert (resolve(saved.parent).backend, resolve(saved.parent).tasks[0]) == ("gguf", "text-generation")
    with load(saved.parent) as again:
        assert pipeline(model=again)(TEXTS) == expected
        again.save_pretrained(saved.parent)  # onto itself
        saved.unlink()
        with pytest.raises(NotAModel, match="is gone"):
            again.save_pretrained(tmp_path / "later")


def test_what_lies_beside_is_read_planned_and_saved(tmp_path):
    """As transformers does; code that is named there is never run, not even where it would be permitted."""
    from tests.tiny import gguf_, transformers_

    other = transformers_.build("text-generation", tmp_path / "other")
    folder = gguf_.build("llama", tmp_path / "model")
    settings = json.loads((other / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_bytes((other / "config.json").read_bytes())
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: pass\n")
    assert {"config.json", "tokenizer_config.json"} <= {file.name for file in plan(folder).files}
    with load(folder, trust_remote_code=True) as model:
        expected = pipeline(model=model)(TEXTS)
        model.save_pretrained(tmp_path / "saved")
    with load(tmp_path / "saved") as again:
        assert again.backend == "gguf"
        assert pipeline(model=again)(TEXTS) == expected
    assert not (tmp_path / "ran").exists()


def test_an_adapter_can_be_applied_to_it(tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    from tests.tiny import gguf_

    base = gguf_.build("llama", tmp_path / "base")
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False)
    native = get_peft_model(gguf_.model("llama"), config).eval()
    native.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    ids = torch.tensor([[1, 70, 80, 90]])
    with torch.inference_mode():
        expected = native(input_ids=ids).logits
        with load(tmp_path / "adapter", base_model=base) as apart:
            assert apart.backend == "peft"
            assert torch.equal(apart.native(input_ids=ids).logits, expected)
        with load(tmp_path / "adapter", base_model=base, merge=True) as merged:
            assert torch.allclose(merged.native(input_ids=ids).logits, expected, atol=1e-4)
            merged.save_pretrained(tmp_path / "saved")
        with load(tmp_path / "saved") as plain:
            assert plain.backend == "transformers"
            assert torch.allclose(plain.native(input_ids=ids).logits, expected, atol=1e-4)


def test_the_snippet_runs(built):
    code = resolve(built["llama"], variant="F32").code()
    assert "gguf_file=file" in code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **OFFLINE}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "generated_text" in done.stdout
