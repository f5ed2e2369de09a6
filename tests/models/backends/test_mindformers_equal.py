"""mindformers against PyTorch on the same weights, and against mindformers itself (environment `ms`).

The reference process imports neither this package nor what it replaces: logits of a whole forward pass and greedy
tokens are transformers'; MindSpore reads the converted checkpoint, and mindformers loads the converted folder.
"""

from __future__ import annotations

import json
import shutil

import pytest

from modelscope_ext import pipeline, resolve
from modelscope_ext.models.convert import convert
from tests.equality import assert_close, assert_equal
from tests.reference import reference
from tests.tiny import checkpoints, mindformers_

pytestmark = pytest.mark.ms

TEXTS = ["the cat", "a dog and the dog ran", "hello world paris"]
CHATS = [[{"role": "user", "content": text}] for text in ("hello london", "where is the cat")]
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
#: Name -> model type, dtype of the weights, further keys of transformers' configuration.
CASES = {
    "llama": ("llama", "float32", {}),
    "qwen2": ("qwen2", "float32", {}),
    "llama-bias": ("llama", "float32", {"attention_bias": True, "num_key_value_heads": 1, "rope_theta": 500.0}),
    "llama-llama3": ("llama", "float32", {"rope_scaling": LLAMA3}),
    "llama-linear": ("llama", "float32", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "qwen2-tied-bf16": ("qwen2", "bfloat16", {"tie_word_embeddings": True}),
}
NEW = 6

#: transformers computes in float32, in which every bfloat16 weight is exact.
PYTORCH = """
import torch, transformers
def answer(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pipe = transformers.pipelines.TextGenerationPipeline(model=model, tokenizer=tokenizer)
    options = {"max_new_tokens": arg["new"], "do_sample": False}
    rows = []
    for text in arg["texts"]:
        tokens = {k: v for k, v in tokenizer(text, return_tensors="pt").items() if k in ("input_ids", "attention_mask")}
        made = model.generate(**tokens, **options, output_logits=True, return_dict_in_generate=True)
        logits = torch.stack(made.logits, 1)[0]
        rows.append({"prompt": tokens["input_ids"][0], "sequences": made.sequences[0], "logits": logits})
    return {
        "rows": rows,
        "texts": [pipe(text, **options)[0] for text in arg["texts"]],
        "new": [pipe(text, return_full_text=False, **options)[0] for text in arg["texts"]],
        "chats": [pipe(chat, **options)[0] for chat in arg["chats"]],
    }
with torch.no_grad():
    result = {folder: answer(folder) for folder in arg["folders"]}
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("equal")
    return {
        name: mindformers_.build(kind, root / name, dtype=dtype, **changed)
        for name, (kind, dtype, changed) in CASES.items()
    }


@pytest.fixture(scope="module")
def expected(folders):
    originals = {name: str(folder.with_name(f"{folder.name}-hf")) for name, folder in folders.items()}
    job = {"folders": list(originals.values()), "texts": TEXTS, "chats": CHATS, "new": NEW}
    answers = reference(PYTORCH, job)
    return {name: answers[folder] for name, folder in originals.items()}


@pytest.fixture(scope="module", autouse=True)
def library():
    """Import MindSpore and mindformers once, before any test looks at what it leaves behind."""
    from modelscope_ext.models.backends._mindformers.library import imported
    from modelscope_ext.models.backends._mindspore.device import start
    from modelscope_ext.models.backends._mindspore.quiet import loading

    with loading():
        start("cpu")
        imported("mindformers")


def agree(pipe, theirs, *, texts=False):
    """Hold logits and tokens against transformers', one by one and in a batch; with `texts` also texts and chats."""
    alone = pipe(TEXTS, raw=True, max_new_tokens=NEW, output_logits=True)
    together = pipe(TEXTS, raw=True, max_new_tokens=NEW, output_logits=True, batch_size=3)
    for rows in (alone, together):
        assert_equal([row["prompt"] for row in rows], [row["prompt"] for row in theirs["rows"]])
        assert_equal([row["sequences"] for row in rows], [row["sequences"] for row in theirs["rows"]])
        assert_close([row["logits"] for row in rows], [row["logits"] for row in theirs["rows"]], 1e-5)
    if not texts:
        return
    assert_equal(pipe(TEXTS, max_new_tokens=NEW), theirs["texts"])
    assert_equal(pipe(TEXTS, max_new_tokens=NEW, return_full_text=False), theirs["new"])
    assert_equal(pipe(CHATS, max_new_tokens=NEW), theirs["chats"])


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_pytorch_computes(folders, expected, name):
    info = resolve(folders[name])
    assert (info.backend, info.default_task) == ("mindformers", "text-generation")
    with pipeline(model=folders[name]) as pipe:
        agree(pipe, expected[name], texts=name in ("llama", "qwen2"))


def test_a_yaml_folder_is_what_pytorch_computes(folders, expected, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "run")
    mindformers_.as_yaml(folder)
    with pipeline(model=folder) as pipe:
        assert pipe.task == "text-generation"
        agree(pipe, expected["llama"])
        pipe.model.save_pretrained(tmp_path / "saved")
    with pipeline(model=tmp_path / "saved") as pipe:
        agree(pipe, expected["llama"])


#: mindformers on its own: it loads what was converted, and writes a yaml of it.
MINDFORMERS = """
import hashlib, os, sys, tempfile
os.environ["LOG_MF_PATH"] = tempfile.mkdtemp()
os.environ["GLOG_v"] = "4"
import mindspore
mindspore.set_device("CPU")
mindspore.runtime.launch_blocking()
from mindformers import AutoModelForCausalLM
cpu = {"fused_rms_norm": False, "use_rope_slice": True}
model = AutoModelForCausalLM.from_pretrained(arg["folder"], **cpu)
length = model.config.seq_length
rows = [tokens + [arg["pad"]] * (length - len(tokens)) for tokens in arg["prompts"]]
logits = model(mindspore.Tensor(rows, mindspore.int32))[0].asnumpy()
model.save_pretrained(arg["yaml"], save_name="llama")
def digest(path):
    found = mindspore.load_checkpoint(path)
    sha = lambda value: hashlib.sha256(value.get_bytes()).hexdigest()
    return {name: [str(value.dtype), list(value.shape), sha(value)] for name, value in found.items()}
result = {
    "last": [row[len(tokens) - 1] for row, tokens in zip(logits, arg["prompts"])],
    "read": [digest(path) for path in arg["files"]],
    "yaml": sorted(os.listdir(arg["yaml"])),
}
"""


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """Folders of transformers whose weights are random bits, and their conversions."""
    root = tmp_path_factory.mktemp("bits")
    found = []
    for kind, dtype in (("llama", "F32"), ("qwen2", "F16"), ("llama", "BF16")):
        source = checkpoints.build(root / f"{kind}-{dtype}", kind, dtype, dtypes={"norm.weight": "F32"})
        convert(source, root / f"{kind}-{dtype}-ms", to="mindformers")
        found.append((source, root / f"{kind}-{dtype}-ms"))
    return found


@pytest.fixture(scope="module")
def mindformers_itself(folders, expected, bits, tmp_path_factory):
    job = {
        "folder": str(folders["llama"]),
        "yaml": str(tmp_path_factory.mktemp("yaml") / "run"),
        "prompts": [row["prompt"] for row in expected["llama"]["rows"]],
        "pad": 0,
        "files": [str(folder / "mindspore_model.ckpt") for _, folder in bits],
    }
    return job, reference(MINDFORMERS, job, fresh=True)


def test_mindspore_reads_every_bit_of_a_conversion(bits, mindformers_itself):
    import hashlib

    dtypes = {"F32": "Float32", "F16": "Float16", "BF16": "BFloat16"}
    for (source, _), read in zip(bits, mindformers_itself[1]["read"], strict=True):
        tensors = checkpoints.contents(source)
        meant = sorted([dtypes[d], shape, hashlib.sha256(data).hexdigest()] for d, shape, data in tensors.values())
        assert sorted(read.values()) == meant
        name = "model.layers.1.self_attn.k_proj.weight"
        assert read["model.layers.1.attention.wk.weight"][2] == hashlib.sha256(tensors[name][2]).hexdigest()


def test_mindformers_itself_loads_a_conversion(expected, mindformers_itself):
    theirs = [row["logits"][0] for row in expected["llama"]["rows"]]
    assert_close(mindformers_itself[1]["last"], theirs, 1e-5)


def test_a_yaml_that_mindformers_wrote_keeps_its_dtype(folders, expected, mindformers_itself, tmp_path):
    """It leaves the dtypes out, and would come back in float16 in mindformers itself."""
    import yaml

    job, said = mindformers_itself
    assert said["yaml"] == ["llama.ckpt", "llama.yaml"]
    folder = shutil.copytree(job["yaml"], tmp_path / "run")
    assert "compute_dtype" not in yaml.safe_load((folder / "llama.yaml").read_text())["model"]["model_config"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(folders["llama"] / name, folder / name)
    with pipeline(model=folder) as pipe:
        assert {str(p.dtype) for p in pipe.model.native.get_parameters()} == {"Float32"}
        agree(pipe, expected["llama"])
        pipe.model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["compute_dtype"] == "float32"
    convert(folder, tmp_path / "back", to="transformers")
    original = folders["llama"].with_name("llama-hf")
    assert checkpoints.contents(tmp_path / "back") == checkpoints.contents(original)
