"""The harness itself: what it alternates, divides, refuses and draws. Nothing here depends on how fast anything is."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import decisions, page, plot
from benchmarks.folders import configuration, plain_transformers
from benchmarks.measure import (
    Answering,
    Cost,
    Sample,
    alternate,
    each,
    modules_after,
    process,
    profile,
    repeated,
    scratch,
)
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
    drawn = []
    monkeypatch.setattr(plot, "draw", lambda results, path: drawn.append((path.name, [one["row"] for one in results])))
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
    assert "| a row | 0.60x | 1/2 | **missed** | ours: 6.00 s (±0%) | theirs: 10.00 s (±0%) | 20" in text
    assert "| a row: memory | 1.50x | 2x | ok | ours: 0 MiB (±0%) |" in text
    assert "old" not in text
    assert drawn == [("benchmarks.png", ["one", "one-memory"])]


def test_a_row_that_is_published_takes_the_place_of_its_older_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "draw", lambda results, path: None)
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, marks in page.PAGES.items():
        (docs / name).write_text("".join(f"<!-- {mark} -->\n<!-- /{mark} -->\n" for mark in marks))
    monkeypatch.setattr(page, "ROOT", tmp_path)
    for ours, names in ((6.0, ["one", "two", "gone"]), (3.0, ["two"])):
        monkeypatch.setattr(command, "ROWS", {name: row(ours, 10.0, 0.5) for name in ("two", "one", "gone")})
        monkeypatch.setattr("sys.argv", ["benchmarks", *names, "--json", str(tmp_path / "f.json"), "--publish"])
        command.main()
    monkeypatch.setattr(command, "ROWS", {name: row(4.0, 10.0, 0.5) for name in ("one", "two", "new")})
    monkeypatch.setattr("sys.argv", ["benchmarks", "new", "--json", str(tmp_path / "f.json"), "--publish"])
    command.main()
    found = {one["row"]: one["ours"]["median"] for one in page.figures(docs / "benchmarks.json")}
    assert found == {"one": 6.0, "two": 3.0, "new": 4.0} and list(found) == ["one", "two", "new"]


def test_nothing_is_published_when_a_row_fails(tmp_path, monkeypatch, capsys):
    def fails(_):
        raise RuntimeError("no such machine")

    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(command, "ROWS", {"one": Row("a row", fails, 1.0)})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(tmp_path / "f.json"), "--publish"])
    assert command.main() == 1
    assert "nothing is published: one failed" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


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


@pytest.mark.pt
def test_a_picture_has_a_bar_for_each_row_with_a_bound_or_without(tmp_path):
    from PIL import Image

    rows = [{"title": "<a> $x$", "ratio": 0.1, "at_most": None, "ok": True}]
    plot.draw(rows, tmp_path / "p.png")
    plot.draw([*rows, {"title": "b", "ratio": 5.0, "at_most": 2.0, "ok": False}], tmp_path / "q.png")
    with Image.open(tmp_path / "p.png") as one, Image.open(tmp_path / "q.png") as two:
        assert (one.format, two.width) == ("PNG", one.width)
        assert one.height < two.height
        red = [colour for _, colour in two.convert("RGB").getcolors(1 << 24) if colour == (179, 55, 47)]
        assert red, "a row that misses its bound is red"


def test_inputs_have_the_size_and_shape_they_claim(tmp_path):
    for size in (300, 100_000):
        assert configuration(tmp_path / "c.json", size).stat().st_size == pytest.approx(size, rel=0.15)
    assert (plain_transformers(tmp_path / "m") / "config.json").is_file()


def test_the_folders_of_a_scan_are_those_of_real_layouts_and_are_read_alike_by_the_floor(tmp_path):
    from modelscope_ext.models.resolve import resolve

    known = dict(decisions.layouts())
    assert len(known) > 400
    root, listed = decisions._tree(tmp_path, len(known) + 3)
    folders = sorted(Path(root).glob("*/*"))
    assert len(folders) == len(known) + 3
    for folder in folders[::40]:
        layout = folder.name.partition("-")[2]
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == known[
            layout
        ].keys()
        assert resolve(folder, installed=False).backend
    needed = json.loads(Path(listed).read_text())
    assert "config.json" in needed["0"] and needed.keys() == known.keys()


def test_a_scan_that_says_too_little_is_no_measurement(tmp_path):
    root, _ = decisions._tree(tmp_path, 10)
    with scratch():
        cost = decisions._scan(root, 10)()
        assert cost.seconds > 0 and cost.peak > 0
        with pytest.raises(AssertionError, match="of 1000 folders only"):
            decisions._scan(root, 1000)()


def test_one_of_many_is_measured_by_dividing():
    assert each(lambda: Cost(10.0, 300), 5)() == Cost(2.0, 300)


def test_a_terminal_is_one_to_the_program_and_its_end_is_seen():
    with scratch():
        process("-c", "import sys; assert sys.stdout.isatty(); print('x' * 100_000)", terminal=True)()
        with pytest.raises(RuntimeError, match=r"ended with 3: (?s:.*)why"):
            process("-c", "import sys; print('why', flush=True); sys.exit(3)", terminal=True)()


def test_a_profile_is_that_of_the_process_that_does_the_work(monkeypatch, capsys):
    work = "def slow(): return sum(range(1000))\nprint(slow())"
    sides = (("ours", Answering(work)), ("theirs", Answering("print(1)")))
    monkeypatch.setattr(command, "ROWS", {"one": Row("a row", lambda _: sides, None)})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--profile", "one"])
    assert command.main() == 0
    assert "(slow)" in capsys.readouterr().out
    with scratch():
        assert profile(repeated(lambda: sorted([1]))).total_calls > 3


def test_rows_have_the_bounds_that_were_promised():
    bounds = {name: row.at_most for name, row in ROWS.items() if row.at_most is not None}
    assert bounds == {
        "import": 1 / 40, "inspect": 1 / 60, "inspect-bare": 6, "inspect-terminal": 10,
        "resolve": 8, "resolve-again": 3, "scan": 8, "scan-growth": 1.25,
        "config-300B": 1 / 10, "config-100kB": 1 / 8, "config-2MB": 1 / 4, "config-growth": 1.25,
        "access-300B": 1 / 1.5,
        **{f"{name}-{size}": 1.0 for name in ("merge", "deepcopy") for size in ("300B", "100kB", "2MB")},
        "pretty": 1 / 20, "registry-get": 1 / 2, "registry-build": 1 / 2, "registry-first": 1 / 2,
        "first-bert": 0.85, "first-minilm": 0.9, "first-llama": 0.9, "first-similarity": 1.0, "first-onnx": 0.15,
        "first-diffusion": 1.0, "first-mindone": 1.05, "job-loop": 1 / 2, "job-workers": 1 / 1.6, "job-ray": 1 / 1.6,
        **{f"download-{kind}-{hub}": 1 / 0.9 for kind in ("large", "small") for hub in ("hf", "ms")},
        **{f"download-{kind}-{hub}-cpu": 1.1 for kind in ("large", "small") for hub in ("hf", "ms")},
        "batch-8": 1 / 2, "batch-32": 1 / 2, "batch-growth": 1.25, "checks": 0.03, "serve-steady": 1 / 2,
    }  # fmt: skip
    assert {name: row.memory for name, row in ROWS.items() if name.startswith("first-")} == {
        **dict.fromkeys((name for name in ROWS if name.startswith("first-")), 1.02), "first-bert": 1.0,
    }  # fmt: skip
