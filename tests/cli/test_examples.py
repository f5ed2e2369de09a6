"""The examples of every ``--help`` are run as they stand, with real folders in the place of their paths."""

import io
import json
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from modelscope_ext import cli as frame
from modelscope_ext.data import digits_folder, digits_samples
from tests.cli.folders import BERT, safetensors
from tests.cli.test_main import ENV
from tests.conftest import LOOPBACK

#: Example path of `run` -> the tiny model that stands for it, and its task where the files alone do not say it.
MODELS = {
    "./sentiment": ("text-classification", None),
    "./reranker": ("text-ranking", "text-ranking"),
    "./chat": ("text-generation", None),
    "./zero-shot": ("zero-shot-classification", "zero-shot-classification"),
    "./embedder": ("feature-extraction", None),
    "./depth": ("depth-estimation", None),
}


def examples(command):
    """Return (arguments, whether stdin feeds it) of each example of a command."""
    text = import_module(f"modelscope_ext.cli.{frame.COMMANDS[command][0]}").EXAMPLES
    lines = text.partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    assert lines and all("modelscope-ext" in line for line in lines)
    for line in lines:
        words = shlex.split(line, comments=True)
        at = words.index("modelscope-ext")
        rest = words[at + 1 :]
        end = next((i for i, word in enumerate(rest) if word in ("|", ">")), len(rest))
        yield rest[:end], "|" in words[:at]


_HEAVY = ("run", "batch", "serve", "export", "convert")
LIGHT = [
    (a, fed) for command in frame.COMMANDS if command not in _HEAVY for a, fed in examples(command) if "--web" not in a
]


@pytest.fixture
def hubs(hub_server, monkeypatch, tmp_path):
    """The hubs with the model of the examples, and an empty home."""
    weights = {name: safetensors() for name in ("model.safetensors", "model.fp16.safetensors")}
    hub_server.add("org/model", {"config.json": json.dumps(BERT), **weights}, tokens=["s3cret"])
    for name, value in hub_server.environment("modelscope", "huggingface").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "0")
    for name in ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_EXT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "s3cret")
    monkeypatch.chdir(tmp_path)
    return hub_server


@pytest.mark.allow_hosts(LOOPBACK)
@pytest.mark.parametrize(("arguments", "fed"), LIGHT, ids=[" ".join(a) for a, _ in LIGHT])
def test_the_example_runs(cli, hubs, make_model, monkeypatch, arguments, fed):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # somebody agrees to what is to be pushed
    monkeypatch.setattr("modelscope_ext.cli.init.is_terminal", lambda stream: True)
    folder = make_model(name="models/one")
    places = {"./my-model": folder, "~/models": folder.parent, "/srv/models": folder.parent}
    places["~/.cache/huggingface/hub"] = folder.parent
    done = cli(*(places.get(word, word) for word in arguments))
    assert done.code == 0, done.err
    assert done.out or arguments == ["list", "models"] or "-o" in arguments


RUN = [(arguments, fed) for arguments, fed in examples("run") if "--python" not in arguments]


@pytest.mark.pt
@pytest.mark.parametrize(("arguments", "fed"), RUN, ids=[" ".join(a[:2]) for a, _ in RUN])
def test_the_example_of_run_answers(cli, tmp_path, tiny_root, monkeypatch, arguments, fed):
    from PIL import Image

    places = {"cat.png": digits_samples()[0], "dog.png": digits_samples()[1], "./vit": digits_folder()}
    Image.open(digits_samples()[0]).convert("RGB").resize((64, 64)).save(tmp_path / "street.png")
    places |= {"street.png": tmp_path / "street.png", "depths/": tmp_path / "depths"}
    name, task = MODELS.get(arguments[1], (None, None))
    if name is not None:
        from tests.tiny.transformers_ import build

        places[arguments[1]] = build(name, tiny_root / "examples" / name)
    if fed:
        monkeypatch.setattr("sys.stdin", io.StringIO("one line\nanother line\n"))
    done = cli(*(places.get(word, word) for word in arguments), *(["--task", task] if task else []))
    assert done.code == 0, done.err
    assert done.out.strip()
    assert "depths/" not in arguments or list((tmp_path / "depths").glob("*.png"))


@pytest.mark.pt
def test_the_example_of_run_in_another_environment(tiny_root):
    from tests.tiny.transformers_ import build

    [arguments] = [arguments for arguments, _ in examples("run") if "--python" in arguments]
    # This environment stands in for the one with MindSpore; `tests/cli/test_elsewhere.py` makes another one.
    places = {"ms/bin/python": sys.executable, "mindspore": "pytorch"}
    places["./llama"] = build("text-generation", tiny_root / "examples" / "text-generation")
    argv = [sys.executable, "-m", "modelscope_ext", *(str(places.get(word, word)) for word in arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, env=ENV, check=False)
    assert (done.returncode, bool(done.stdout.strip())) == (0, True), done.stderr


EXPORT = list(examples("export"))


@pytest.mark.pt
@pytest.mark.parametrize("arguments", [a for a, _ in EXPORT], ids=[" ".join(a) for a, _ in EXPORT])
def test_the_example_of_export_writes_a_folder(cli, tmp_path, tiny_root, arguments):
    from tests.tiny.transformers_ import build

    name = MODELS.get(arguments[1], ("fill-mask", None))[0]
    done = cli("export", build(name, tiny_root / "examples" / name), tmp_path / "copy", *arguments[3:])
    assert done.code == 0, done.err
    assert (tmp_path / "copy" / "model.onnx").is_file()
    assert str(tmp_path / "copy") in done.out


CONVERT = [arguments for arguments, _ in examples("convert")]


@pytest.mark.parametrize("arguments", CONVERT, ids=[" ".join(arguments) for arguments in CONVERT])
def test_the_example_of_convert_writes_a_folder(cli, tmp_path, arguments):
    from tests.tiny import checkpoints

    source = checkpoints.build(tmp_path / "hf", "qwen2" if "qwen2" in arguments[1] else "llama")
    if arguments[4] == "transformers":
        assert cli("convert", source, tmp_path / "ms", "--to", "mindformers").code == 0
        source = tmp_path / "ms"
    done = cli("convert", source, tmp_path / "copy", *arguments[3:])
    assert done.code == 0, done.err
    assert list((tmp_path / "copy").glob("m*.ckpt" if arguments[4] == "mindformers" else "*.safetensors"))
    assert str(tmp_path / "copy") in done.out


BATCH = [arguments for arguments, _ in examples("batch")]


@pytest.mark.parametrize("arguments", BATCH, ids=[" ".join(arguments) for arguments in BATCH])
def test_the_example_of_batch_writes_one_record_a_row(cli, tmp_path, arguments):
    import shutil

    from tests.tiny import onnx_

    out = tmp_path / "out"
    rows = [{"id": n, "review": text, "question": text, "found": ["a", "b"]} for n, text in enumerate(("good", "bad"))]
    (tmp_path / "reviews.csv").write_text("".join(f"{a},{b}\n" for a, b in [("id", "review"), (0, "good"), (1, "bad")]))
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps({"text": row["review"]}) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "photos").mkdir()
    for path in digits_samples()[:2]:
        shutil.copy(path, tmp_path / "photos")
    places = {name: tmp_path / name for name in ("reviews.csv", "reviews.jsonl", "queries.jsonl")}
    places |= {
        "photos/": tmp_path / "photos",
        "./vit": digits_folder(),
        "results/": out,
        "labels/": out,
        "ranked/": out,
    }
    places["./sentiment"] = onnx_.write("text-classification", tmp_path / "sentiment")
    places["./reranker"] = onnx_.write("text-ranking", tmp_path / "reranker")
    backend = ("--backend", "onnx") if "./vit" in arguments else ()
    done = cli(*(places.get(word, word) for word in arguments), *backend)
    assert done.code == 0, done.err
    assert str(out) in done.out
    [shard] = out.glob("part-*")
    assert len(shard.read_text().splitlines()) == (3 if shard.suffix == ".csv" else 2)
