"""A batch in this process: its records, its shards, and going on with it."""

import csv
import json
import shutil

import pytest

from modelscope_ext import pipeline
from modelscope_ext.batch import run_batch
from modelscope_ext.batch.work import Runner
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import ConfigError, MissingRequirement, OptionError
from tests.batch.data import model, records, write_rows
from tests.equality import assert_close


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model(tmp_path_factory.mktemp("batch") / "model")


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "in.jsonl", 300)


def batch(folder, tmp_path, **more):
    options = {"batch_size": 4, "shard_rows": 64, **more}
    return run_batch(
        folder, options.pop("input", tmp_path / "in.jsonl"), options.pop("output", tmp_path / "out"), **options
    )


def test_one_record_a_row_in_order_and_equal_to_a_call(folder, tmp_path, rows):
    seen = []
    report = batch(folder, tmp_path, keep=["id"], progress=lambda *told: seen.append(told))
    assert report.rows == 300 and report.errors == report.resumed == 0
    assert report.shards == tuple(f"part-{n:05}.jsonl" for n in range(5))
    found = records(tmp_path / "out")
    assert [r["row"] for r in found] == list(range(300))
    assert [r["id"] for r in found] == [row["id"] for row in rows]
    assert list(found[0]) == ["row", "id", "output", "error"] and found[0]["error"] is None
    with pipeline(model=folder) as pipe:
        expected = pipe([row["text"] for row in rows])
    assert len({one["label"] for one in expected}) > 1
    assert_close([r["output"] for r in found], expected)
    assert seen[-1] == (300, 300, 0) and [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert (
        manifest["finished"] and manifest["rows"] == 300 and manifest["model"]["decision"]["backend"] == "onnxruntime"
    )


def test_bad_rows_are_error_records_in_their_place(folder, tmp_path, rows):
    lines = (tmp_path / "in.jsonl").read_text().splitlines()
    lines[0], lines[7], lines[299] = "{broken", '{"id": "x"}', '{"id": "y", "text": ["a"]}'
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert batch(folder, tmp_path, keep="id").errors == 3
    found = records(tmp_path / "out")
    assert [r["row"] for r in found] == list(range(300))
    assert {r["row"]: r["error"]["type"] for r in found if r["error"]} == {
        0: "JSONDecodeError", 7: "OptionError", 299: "OptionError",
    }  # fmt: skip
    assert found[0]["id"] is None and found[7]["id"] == "x"
    assert all(r["output"] is None for r in found if r["error"])


def stopped(monkeypatch, after):
    """Let the process fail after so many chunks, as a crash would."""
    run, calls = Runner.run, []

    def failing(self, chunk):
        calls.append(chunk.first)
        if len(calls) > after:
            raise KeyboardInterrupt
        return run(self, chunk)

    monkeypatch.setattr(Runner, "run", failing)
    return calls


def test_going_on_behind_the_finished_shards(folder, tmp_path, rows, monkeypatch):
    batch(folder, tmp_path, output=tmp_path / "whole", keep=["id"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stopped(patch, 3)
        batch(folder, tmp_path, keep=["id"])
    out = tmp_path / "out"
    assert sorted(p.name for p in out.glob("*part-*")) == [f"part-{n:05}.jsonl" for n in range(3)]
    (out / "part-00003.jsonl").write_text("not in the manifest: its process was killed between the two\n" * 9)
    (out / ".part-00004.jsonl.tmp").write_text("half a shard")
    with monkeypatch.context() as patch:
        calls = stopped(patch, 1000)
        report = batch(folder, tmp_path, keep=["id"], resume=True)
    assert calls == [192, 256] and report.resumed == 192
    assert records(out) == records(tmp_path / "whole")
    assert batch(folder, tmp_path, keep=["id"], resume=True).resumed == 300
    assert records(out) == records(tmp_path / "whole")


def test_resume_begins_where_nothing_is(folder, tmp_path, rows):
    assert batch(folder, tmp_path, resume=True).resumed == 0
    assert len(records(tmp_path / "out")) == 300


CHANGES = [
    ({"batch_size": 8}, "options.batch_size was 4, and is 8"),
    ({"options": {"top_k": 1}}, "options.options.top_k was null, and is 1"),
    ({"keep": ["id"]}, "options.keep was"),
    ({"format": "csv"}, r'options.format was "jsonl", and is "csv"'),
    ({"columns": "id"}, r'options.columns was "text", and is "id"'),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_going_on_with_something_else_names_what_differs(folder, tmp_path, rows, change, says):
    batch(folder, tmp_path)
    with pytest.raises(OptionError, match=says):
        batch(folder, tmp_path, resume=True, **change)


def test_another_input_or_model_is_named_too(folder, tmp_path, rows):
    batch(folder, tmp_path)
    write_rows(tmp_path / "in.jsonl", 300, seed=1)
    with pytest.raises(OptionError, match=r"input\.bytes was .*input\.sha256 was"):
        batch(folder, tmp_path, resume=True)
    write_rows(tmp_path / "in.jsonl", 300)
    other = shutil.copytree(folder, tmp_path / "other")
    assert batch(other, tmp_path, resume=True).resumed == 300  # the same model elsewhere
    config = json.loads((other / "config.json").read_text())
    config["id2label"]["0"] = "BAD"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(OptionError, match=r"model\.files\.config\.json was"):
        batch(other, tmp_path, resume=True)


def test_a_folder_with_something_in_it_is_left_alone(folder, tmp_path, rows):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OptionError, match=r"not empty \(mine.txt\)"):
        batch(folder, tmp_path, resume=True)
    (out / "mine.txt").unlink()
    batch(folder, tmp_path)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in out.iterdir())
    with pytest.raises(OptionError, match="a batch was begun here"):
        batch(folder, tmp_path)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in out.iterdir()) == before
    with pytest.raises(OptionError, match="a file of that name is there"):
        batch(folder, tmp_path, output=tmp_path / "in.jsonl")


def test_a_finished_shard_that_was_changed_is_no_base_to_go_on_from(folder, tmp_path, rows):
    batch(folder, tmp_path)
    shard = tmp_path / "out" / "part-00001.jsonl"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(ConfigError, match=r"part-00001.jsonl: a finished shard, rows 64 to 127, has"):
        batch(folder, tmp_path, resume=True)
    shard.unlink()
    with pytest.raises(ConfigError, match=r"part-00001.jsonl: a finished shard, rows 64 to 127, is missing"):
        batch(folder, tmp_path, resume=True)
    (tmp_path / "out" / "_manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"_manifest.json: cannot be read"):
        batch(folder, tmp_path, resume=True)


def test_two_processes_do_not_share_a_folder(folder, tmp_path, rows):
    told = []

    def again(*_):
        with pytest.raises(OptionError, match="another process is writing into this folder"):
            batch(folder, tmp_path, resume=True)
        told.append(True)

    batch(folder, tmp_path, progress=again)
    assert told
    assert len(records(tmp_path / "out")) == 300


def test_a_shard_ends_after_some_time_too(folder, tmp_path, rows):
    report = batch(folder, tmp_path, shard_rows=10_000, shard_seconds=0)
    assert len(report.shards) == 5
    assert len(records(tmp_path / "out")) == 300


def test_csv_records(folder, tmp_path):
    (tmp_path / "in.csv").write_text('id,review\n1,"the cat, ""good"""\n2,bad film\n3\n')
    batch(folder, tmp_path, input=tmp_path / "in.csv", output=tmp_path / "out.csv", columns="review", keep=["review"])
    with (tmp_path / "out.csv" / "part-00000.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [r["row"] for r in found] == ["0", "1", "2"]
    assert found[0]["review"] == 'the cat, "good"' and found[0]["error"] == ""
    with pipeline(model=folder) as pipe:
        assert_close([json.loads(r["output"]) for r in found[:2]], pipe(['the cat, "good"', "bad film"]))
    assert json.loads(found[2]["error"])["type"] == "csv.Error" and found[2]["output"] == ""


def test_lines_of_text_and_options(folder, tmp_path):
    (tmp_path / "in.txt").write_text("the cat\ngood\n")
    batch(folder, tmp_path, input=tmp_path / "in.txt", options={"top_k": 2})
    assert [len(r["output"]) for r in records(tmp_path / "out")] == [2, 2]


def test_a_folder_of_pictures_keeps_their_names(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in digits_samples():
        shutil.copy(path, pictures)
    (pictures / "x.png").write_text("no picture")
    batch(digits_folder(), tmp_path, input=pictures, backend="onnx", options={"top_k": 1})
    found = records(tmp_path / "out")
    assert [r["file"] for r in found] == [*(f"{n}.png" for n in range(10)), "x.png"]
    assert [r["output"][0]["label"] for r in found[:10]] == list("0123456789")
    assert "x.png" in found[10]["error"]["message"]


def test_paths_in_rows_are_those_of_their_file(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    shutil.copy(digits_samples()[3], tmp_path / "data" / "three.png")
    rows = ({"image": "three.png"}, {"image": str(digits_samples()[4])})
    (tmp_path / "data" / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    batch(digits_folder(), tmp_path, input="data/in.jsonl", backend="onnx")
    assert [r["output"][0]["label"] for r in records(tmp_path / "out")] == ["3", "4"]


MISTAKES = [
    ({"engine": "dask"}, "expected local, ray"),
    ({"workers": 0}, "workers=0: expected a whole number"),
    ({"address": "auto"}, "pass engine='ray' with it"),
    ({"format": "json"}, "Did you mean 'jsonl'"),
    ({"keep": ["idd"]}, "keep: no column 'idd'. Did you mean 'id'"),
    ({"keep": ["row"]}, "keep: row would stand twice in a record"),
    ({"options": {"topk": 1}}, "unknown option 'topk'"),
    ({"thread": 1}, "unknown argument 'thread'"),
]


@pytest.mark.parametrize(("more", "says"), MISTAKES)
def test_mistakes_are_said_before_anything_is_written(folder, tmp_path, rows, more, says):
    with pytest.raises(OptionError, match=says):
        batch(folder, tmp_path, **more)
    assert not list((tmp_path / "out").glob("part-*"))


def test_engines_and_formats_name_what_they_need(folder, tmp_path, rows, monkeypatch):
    monkeypatch.setattr("modelscope_ext.batch.ray_.find_spec", lambda name: None)
    with pytest.raises(MissingRequirement, match=r"modelscope-ext\[ray\]"):
        batch(folder, tmp_path, engine="ray")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingRequirement, match=r"modelscope-ext\[parquet\]"):
        batch(folder, tmp_path, output=tmp_path / "out.parquet")
