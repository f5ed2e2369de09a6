"""`run`: every way in and every way out, on the model that ships with the package."""

import io
import json
import subprocess
import sys

import pytest

from modelscope_ext.cli import run as command
from modelscope_ext.cli.run import read_item
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import OptionError
from tests.cli.test_main import ENV

SAMPLES = [str(path) for path in digits_samples()]


def best(done):
    return [json.loads(line)[0]["label"] for line in done.out.splitlines()]


def test_one_answer_an_input_in_order(cli):
    done = cli("run", digits_folder(), *SAMPLES[:3], "--json")
    assert done.code == 0
    assert best(done) == ["0", "1", "2"]


def test_text_for_a_reader(cli):
    done = cli("run", digits_folder(), SAMPLES[4], "--option", "top_k=2")
    lines = done.out.splitlines()
    assert len(lines) == 2
    assert lines[0].split()[1] == "4" and 0.5 < float(lines[0].split()[0]) <= 1


def test_inputs_from_a_file(cli, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(SAMPLES[5:7]) + "\n\n")
    assert best(cli("run", digits_folder(), "--file", tmp_path / "in.txt", "--json")) == ["5", "6"]


def test_inputs_from_json_lines(cli, tmp_path):
    lines = [json.dumps(SAMPLES[7]), json.dumps({"path": SAMPLES[8]})]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert best(cli("run", digits_folder(), "--file", tmp_path / "in.jsonl", "--json")) == ["7", "8"]


@pytest.mark.parametrize("how", [[], ["--file", "-"]])
def test_inputs_from_a_pipe(cli, monkeypatch, how):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SAMPLES[9]}\n{SAMPLES[0]}\n"))
    assert best(cli("run", digits_folder(), *how, "--json", "--batch-size", "2")) == ["9", "0"]


def test_answers_into_a_file(cli, tmp_path):
    out = tmp_path / "out.jsonl"
    done = cli("run", digits_folder(), *SAMPLES[:2], "--output", out)
    assert (done.code, done.out) == (0, "")
    assert [json.loads(line)[0]["label"] for line in out.read_text().splitlines()] == ["0", "1"]


def test_a_failed_run_leaves_the_old_answers(cli, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    done = cli("run", digits_folder(), SAMPLES[0], "no-such.png", "--output", out)
    assert done.code == 2 and "no-such.png" in done.err
    assert out.read_text() == "precious\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_answers_come_before_a_later_input_fails(cli):
    done = cli("run", digits_folder(), SAMPLES[3], "no-such.png", "--json")
    assert done.code == 2
    first, last = map(json.loads, done.out.splitlines())
    assert first[0]["label"] == "3" and last["error"]["class"] == "OptionError"


def test_an_unknown_option_of_the_task(cli):
    done = cli("run", digits_folder(), SAMPLES[0], "--option", "topk=2")
    assert done.code == 2 and "topk" in done.err and "top_k" in done.err


def test_a_task_that_the_backend_cannot_run(cli):
    done = cli("run", digits_folder(), "x", "--task", "text-to-image")
    assert done.code == 2 and "text-to-image" in done.err


def test_a_device_nobody_has(cli):
    done = cli("run", digits_folder(), SAMPLES[0], "--device", "gpuu")
    assert done.code == 2 and "gpuu" in done.err


def test_what_a_library_prints_is_no_data(cli, monkeypatch):
    def noisy(args):
        print("a library says hello")
        return load(args)

    load = command._load
    monkeypatch.setattr(command, "_load", noisy)
    done = cli("run", digits_folder(), SAMPLES[0], "--json")
    assert best(done) == ["0"]
    assert "says hello" in done.err


def test_a_failure_inside_a_library_is_the_models(cli, monkeypatch):
    from modelscope_ext.models.backends.onnx_ import Onnx

    def broken(self, *args, **kwargs):
        raise RuntimeError("kernel not found")

    monkeypatch.setattr(Onnx, "predict", broken)
    done = cli("run", digits_folder(), SAMPLES[0], "--backend", "onnx")
    assert (done.code, done.out) == (7, "")
    assert "onnxruntime failed at image-classification: RuntimeError: kernel not found" in done.err


def test_text_that_is_not_utf8_is_named(cli, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    done = cli("run", digits_folder(), "--file", tmp_path / "latin.txt")
    assert done.code == 2 and "UTF-8" in done.err and "latin.txt" in done.err


def test_the_real_program_in_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "modelscope_ext", "run", str(digits_folder()), "--json"],
        input=f"{SAMPLES[6]}\n", capture_output=True, text=True, env=ENV, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0]["label"] == "6"


@pytest.mark.parametrize(
    ("task", "text", "item"),
    [
        ("text-classification", "plain", "plain"),
        ("text-classification", "[sic] a text", "[sic] a text"),
        ("text-classification", '{"text": "a", "text_pair": "b"}', {"text": "a", "text_pair": "b"}),
        ("text-classification", "[1, 2]", "[1, 2]"),
        ("fill-mask", '{"text": "stays text"}', '{"text": "stays text"}'),
        ("text-generation", "Once", "Once"),
        ("text-generation", '[{"role": "user", "content": "Hi"}]', [{"role": "user", "content": "Hi"}]),
        ("text-generation", '["no", "chat"]', '["no", "chat"]'),
        ("image-classification", "{odd}.png", "{odd}.png"),
        ("text-ranking", '{"query": "q", "documents": ["d"]}', {"query": "q", "documents": ["d"]}),
        ("no-such-task-here", "[1, 2]", [1, 2]),
    ],
)
def test_what_an_argument_means(task, text, item):
    assert read_item(task, text) == item


@pytest.mark.parametrize("text", ["a text", '["a"]', '{"query": '])
def test_tasks_of_several_fields_take_json(text):
    with pytest.raises(OptionError, match=r'text-ranking takes a JSON object \{"query": text, "documents": texts\}'):
        read_item("text-ranking", text)


@pytest.mark.pt
@pytest.mark.parametrize("stream", [False, True])
def test_text_is_generated_whole_or_piece_by_piece(cli, tmp_path, stream):
    from tests.tiny.transformers_ import build

    folder = build("gpt2", tmp_path / "gpt2")
    done = cli("run", folder, "the red", "--option", "max_new_tokens=5", *(["--stream"] if stream else []))
    assert done.code == 0, done.err
    assert done.out.endswith("\n") and len(done.out.split()) >= 1
    if stream:
        lines = cli("run", folder, "the red", "--option", "max_new_tokens=5", "--stream", "--json").out.splitlines()
        pieces = [json.loads(line)["piece"] for line in lines]
        assert pieces[-1] is None
        assert "".join(pieces[:-1]) + "\n" == done.out


@pytest.mark.pt
def test_a_ranking_from_the_command_line(cli, tmp_path):
    from tests.tiny.transformers_ import build

    folder = build("text-ranking", tmp_path / "ranker")
    query = json.dumps({"query": "red", "documents": ["the cat", "a dog ran", "blue"]})
    done = cli("run", folder, query, "--task", "text-ranking", "--json")
    assert done.code == 0, done.err
    scores = [row["score"] for row in json.loads(done.out)]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
