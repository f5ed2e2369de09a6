"""Batches in processes: plug-ins, and processes that die."""

import json
import subprocess
import time

import pytest

from modelscope_ext.batch import run_batch
from tests.batch.data import command, environment, install, model, records, run, write_rows
from tests.reference import OFFLINE


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture
def lengths(tmp_path, site):
    """Return a function that runs texts through the plug-in: the process, the records, how often it was loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "lengths.json").write_text("{}")

    def run_texts(texts, *arguments, output="out", **env):
        (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        loads = tmp_path / f"loads-{output}"
        done = run(
            folder, tmp_path / "in.jsonl", tmp_path / output, *arguments, "--json", path=[site], LOADS=loads, **env
        )
        report = json.loads(done.stdout)
        found = records(tmp_path / output) if "rows" in report else []
        return done, found, len(loads.read_text().splitlines())

    return run_texts


def answered(texts):
    return [{"label": text.split(" ")[0], "score": 1 / (1 + len(text))} for text in texts]


def test_each_process_loads_the_plug_in_once_and_the_order_is_kept(lengths):
    texts = ["both", *(f"w{n} " + "x" * (n * 37 % 101) for n in range(1, 400))]
    done, found, loads = lengths(texts, "--workers", 2, "--batch-size", 4)
    assert done.returncode == 0, done.stderr
    assert loads == 2
    assert [r["output"] for r in found] == answered(texts)
    assert [r["row"] for r in found] == list(range(400))


def test_a_row_that_kills_its_process_is_an_error_record_and_the_others_are_done(lengths):
    texts = [f"w{n}" for n in range(100)]
    bad = {20: "die", 21: "die", 63: "die", 99: "die"}
    for place, text in bad.items():
        texts[place] = text
    done, found, _ = lengths(texts, "--workers", 2, "--batch-size", 4)
    assert done.returncode == 1, done.stderr
    assert {r["row"]: r["error"] for r in found if r["error"]} == {
        place: {
            "type": "WorkerDied",
            "message": "the process that ran this row was killed by signal 9, 2 times",
        }
        for place in bad
    }
    good = [r for r in found if not r["error"]]
    assert [r["output"] for r in good] == answered([texts[r["row"]] for r in good]) and len(found) == 100


def test_rows_of_a_process_that_dies_once_are_done_again(lengths, tmp_path):
    texts = [f"w{n}" for n in range(100)]
    texts[0], texts[3], texts[90] = "both", f"once {tmp_path}/first", f"once {tmp_path}/second"
    done, found, loads = lengths(texts, "--workers", 2, "--batch-size", 4)
    assert done.returncode == 0, done.stderr
    assert [r["output"] for r in found] == answered(texts)
    assert loads in (3, 4)  # the other process may be done before the last one has loaded


def test_a_lack_of_memory_is_answered_by_smaller_batches(lengths):
    texts = ["memory " + str(n) for n in range(20)]
    done, found, _ = lengths(texts, "--workers", 1, "--batch-size", 8)
    assert done.returncode == 0, done.stderr
    assert [r["output"] for r in found] == answered(texts)


@pytest.mark.parametrize(
    ("load", "code", "says"),
    [("die", 7, "ended with 3 while it loaded the model, 3 times in a row"), ("raise", 7, "ValueError: no such thing")],
)
def test_a_model_that_cannot_be_loaded_ends_the_batch(lengths, load, code, says):
    done, _, _ = lengths(["a"], "--workers", 2, LOAD=load)
    assert done.returncode == code
    assert says in done.stderr


def test_pictures_among_the_answers_are_files_named_by_their_row(lengths, tmp_path):
    from PIL import Image

    done, found, _ = lengths(["a", "raise x", "abcd"], "--workers", 1, "--task", "text-to-image")
    assert done.returncode == 1, done.stderr
    assert [r["output"] for r in found] == ["files/000000/000000000.png", None, "files/000000/000000002.png"]
    with Image.open(tmp_path / "out" / found[2]["output"]) as picture:
        assert picture.size == (4, 2)


def test_a_script_needs_no_guard_and_its_processes_end_with_it(tmp_path, site):
    """They come from nothing but the interpreter, and watch who started them."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "lengths.json").write_text("{}")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\nfrom modelscope_ext.batch import run_batch\n"
        f"def told(*_):\n    print('told', flush=True)\n    time.sleep(60)\n"
        f"run_batch({str(folder)!r}, ['a', 'b'], {str(tmp_path / 'out')!r}, workers=2, progress=told)\n"
    )
    loads = tmp_path / "loads"
    process = subprocess.Popen(
        [command()[0], str(script)], stdout=subprocess.PIPE, env=environment(path=[site], LOADS=loads), text=True
    )
    assert process.stdout.readline() == "told\n"
    pids = [int(line) for line in loads.read_text().split()]
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids and not any(map(alive, pids))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_two_processes_answer_as_one(tmp_path, monkeypatch):
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    folder = model(tmp_path / "model")
    write_rows(tmp_path / "in.jsonl", 500)
    options = {"batch_size": 4, "shard_rows": 128, "keep": ["id"]}
    run_batch(folder, tmp_path / "in.jsonl", tmp_path / "one", **options)
    run_batch(folder, tmp_path / "in.jsonl", tmp_path / "two", workers=2, devices=["cpu", "cpu"], **options)
    assert records(tmp_path / "one") == records(tmp_path / "two")
    assert len(records(tmp_path / "one")) == 500
