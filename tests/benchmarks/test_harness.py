"""The harness itself: what it alternates, divides, refuses and draws. Nothing here depends on how fast anything is."""

import json
import time
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import page
from benchmarks.folders import configuration, plain_transformers
from benchmarks.measure import Answering, Cost, Sample, alternate, modules_after, process, repeated, scratch
from benchmarks.plot import draw
from benchmarks.rows import ROWS, Row


def row(ours, theirs, at_most, *, memory=None):
    sides = (("ours", lambda: Cost(ours, 300)), ("theirs", lambda: Cost(theirs, 200)))
    return Row("a row", lambda _: sides, at_most, memory=memory, repeats=3)


def test_the_sides_alternate_after_one_uncounted_round():
    calls = []
    times = iter([9.0, 9.0, 1.0, 10.0, 3.0, 30.0, 2.0, 20.0])

    def side(name):
        return lambda: calls.append(name) or Cost(next(times))

    ours, theirs = alternate((("a", side("a")), ("b", side("b"))), 3)
    assert calls == ["a", "b"] * 4
    assert [cost.seconds for cost in ours] == [1.0, 3.0, 2.0]
    assert [cost.seconds for cost in theirs] == [10.0, 30.0, 20.0]
    assert Sample("a", (1.0, 3.0, 2.0)).median == 2.0


def test_the_spread_is_half_the_distance_of_the_quartiles():
    assert Sample("x", (1.0, 2.0, 3.0)).spread == pytest.approx(0.5)
    assert Sample("x", (1.0, 2.0)).spread == 0.0


@pytest.mark.parametrize(("ours", "ok"), [(1.0, True), (5.0, True), (6.0, False)])
def test_a_ratio_beyond_its_bound_is_no_ok(tmp_path, ours, ok):
    (result,) = command.measure("r", row(ours, 10.0, 0.5), tmp_path)
    assert (result["ratio"], result["ok"]) == (ours / 10, ok)
    assert ("MISS" in command.show(result)) is not ok


@pytest.mark.parametrize(("bound", "ok"), [(1.5, True), (1.4, False)])
def test_memory_is_a_result_of_its_own_where_it_has_a_bound(tmp_path, bound, ok):
    taken, memory = command.measure("r", row(1.0, 10.0, 0.5, memory=bound), tmp_path)
    assert (taken["row"], taken["unit"], taken["ok"]) == ("r", "seconds", True)
    assert (memory["row"], memory["unit"], memory["ratio"], memory["ok"]) == ("r-memory", "bytes", 1.5, ok)
    assert "MiB" in command.show(memory)


@pytest.mark.parametrize(("ours", "status"), [(1.0, 0), (6.0, 1)])
def test_the_command_fails_on_a_miss_and_writes_figures_and_picture(tmp_path, monkeypatch, capsys, ours, status):
    monkeypatch.setattr(command, "ROWS", {"one": row(ours, 10.0, 0.5)})
    figures = tmp_path / "f.json"
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(figures)])
    assert command.main() == status
    (result,) = json.loads(figures.read_text())["results"]
    assert result["ours"]["values"] == [ours] * 3
    assert "a row" in capsys.readouterr().out


def test_publishing_writes_figures_picture_and_tables(tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, marks in page.PAGES.items():
        (docs / name).write_text("".join(f"a\n<!-- {mark} -->\nold\n<!-- /{mark} -->\nb\n" for mark in marks))
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(command, "ROWS", {"one": row(6.0, 10.0, 0.5, memory=2.0)})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(tmp_path / "f.json"), "--publish"])
    assert command.main() == 1
    assert [one["row"] for one in page.figures(docs / "benchmarks.json")] == ["one", "one-memory"]
    text = (docs / "benchmarks.md").read_text()
    assert "| a row | 0.60x | 1/2 | **missed** | ours: 6.00 s (±0%) | theirs: 10.00 s (±0%) |" in text
    assert "| a row: memory | 1.50x | 2x | ok | ours: 0 MiB (±0%) |" in text
    assert "old" not in text
    assert "a row" in "".join(ElementTree.fromstring((docs / "benchmarks.svg").read_text()).itertext())


def test_some_rows_are_not_published(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "import", "--publish"])
    with pytest.raises(SystemExit):
        command.main()
    assert "measured in one run" in capsys.readouterr().err


@pytest.mark.parametrize("name", page.PAGES)
def test_the_tables_of_the_docs_are_those_of_the_published_figures(name):
    text = (page.ROOT / "docs" / name).read_text("utf-8")
    assert page.rendered(name, text, page.figures()) == text, "run python -m benchmarks --publish"


def test_work_is_timed_and_preparation_comes_before_each_round():
    calls = []
    timer = repeated(lambda: calls.append("work"), before=lambda: calls.append("before"), at_least=0.0)
    assert timer().seconds >= 0
    assert calls == ["before", "work"] * 3


def test_a_process_that_fails_is_an_error_not_a_time():
    with scratch(), pytest.raises(RuntimeError, match="ended with 3"):
        process("-c", "raise SystemExit(3)")()


def test_an_answer_comes_with_its_time_and_with_the_memory_of_that_process_alone():
    held = b"x" * 200 * 2**20  # of this process; the other's peak must not contain it
    code = "import json, sys, time; x = b'x' * {}; print('noise'); print(json.dumps([sys.argv[1]])); time.sleep({})"
    start = time.perf_counter()
    with scratch():
        first, small = (side := Answering(code.format(0, 3), "hello"))()
        assert first + 1 < time.perf_counter() - start  # up to the answer, not up to the end
        assert side.answer == ["hello"]
        _, large = Answering(code.format(100 * 2**20, 0), "hello")()
    assert small < 50 * 2**20 < 100 * 2**20 < large < len(held)


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "pass"])
def test_a_process_without_an_answer_is_an_error(code):
    with scratch(), pytest.raises(RuntimeError, match="ended with"):
        Answering(code)()


def test_modules_are_those_of_a_fresh_process():
    with scratch():
        assert "benchmarks" not in modules_after("import json")


def test_a_picture_needs_no_bound(tmp_path):
    draw([{"title": "<a>", "ratio": 0.1, "at_most": None, "ok": True}], tmp_path / "p.svg")
    ElementTree.parse(tmp_path / "p.svg")


def test_inputs_have_the_size_and_shape_they_claim(tmp_path):
    for size in (300, 100_000):
        assert configuration(tmp_path / "c.json", size).stat().st_size == pytest.approx(size, rel=0.15)
    assert (plain_transformers(tmp_path / "m") / "config.json").is_file()


def test_rows_have_the_bounds_that_were_promised():
    bounds = {name: row.at_most for name, row in ROWS.items() if row.at_most is not None}
    assert bounds == {
        "import": 1 / 30, "inspect": 1 / 60, "resolve": 10, "resolve-again": 3,
        "config-300B": 1 / 10, "config-100kB": 1 / 8, "config-2MB": 1 / 4,
        "first-bert": 0.9, "first-minilm": 0.9, "first-similarity": 1.0, "first-onnx": 0.2, "first-diffusion": 1.0,
        "first-mindone": 1.05,
        **{f"download-{kind}-{hub}": 1 / 0.9 for kind in ("large", "small") for hub in ("hf", "ms")},
        **{f"download-{kind}-{hub}-cpu": 1.1 for kind in ("large", "small") for hub in ("hf", "ms")},
        "batch-8": 1 / 2, "batch-32": 1 / 2,
    }  # fmt: skip
    assert {row.memory for name, row in ROWS.items() if name.startswith("first-")} == {1.02}
