"""The harness itself: what it alternates, divides, refuses and draws. Nothing here depends on how fast anything is."""

import json
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks.folders import configuration, plain_transformers
from benchmarks.measure import Sample, alternate, modules_after, process, repeated, scratch
from benchmarks.plot import draw
from benchmarks.rows import ROWS, Row


def row(ours, theirs, at_most):
    return Row("a row", lambda _: (("ours", lambda: ours), ("theirs", lambda: theirs)), at_most, repeats=3)


def test_the_sides_alternate_after_one_uncounted_round():
    calls = []
    times = iter([9.0, 9.0, 1.0, 10.0, 3.0, 30.0, 2.0, 20.0])

    def side(name):
        return lambda: calls.append(name) or next(times)

    ours, theirs = alternate((("a", side("a")), ("b", side("b"))), 3)
    assert calls == ["a", "b"] * 4
    assert (ours.seconds, theirs.seconds) == ((1.0, 3.0, 2.0), (10.0, 30.0, 20.0))
    assert (ours.median, theirs.median) == (2.0, 20.0)


def test_the_spread_is_half_the_distance_of_the_quartiles():
    assert Sample("x", (1.0, 2.0, 3.0)).spread == pytest.approx(0.5)
    assert Sample("x", (1.0, 2.0)).spread == 0.0


@pytest.mark.parametrize(("ours", "ok"), [(1.0, True), (5.0, True), (6.0, False)])
def test_a_ratio_beyond_its_bound_is_no_ok(tmp_path, ours, ok):
    result = command.measure("r", row(ours, 10.0, 0.5), tmp_path)
    assert (result["ratio"], result["ok"]) == (ours / 10, ok)
    assert ("MISS" in command.show(result)) is not ok


@pytest.mark.parametrize(("ours", "status"), [(1.0, 0), (6.0, 1)])
def test_the_command_fails_on_a_miss_and_writes_figures_and_picture(tmp_path, monkeypatch, capsys, ours, status):
    monkeypatch.setattr(command, "ROWS", {"one": row(ours, 10.0, 0.5)})
    figures, picture = tmp_path / "f.json", tmp_path / "p.svg"
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(figures), "--plot", str(picture)])
    assert command.main() == status
    (result,) = json.loads(figures.read_text())["results"]
    assert result["ours"]["seconds"] == [ours] * 3
    assert "a row" in capsys.readouterr().out
    assert "a row" in "".join(ElementTree.fromstring(picture.read_text()).itertext())


def test_work_is_timed_and_preparation_comes_before_each_round():
    calls = []
    timer = repeated(lambda: calls.append("work"), before=lambda: calls.append("before"), at_least=0.0)
    assert timer() >= 0
    assert calls == ["before", "work"] * 3


def test_a_process_that_fails_is_an_error_not_a_time():
    with scratch(), pytest.raises(RuntimeError, match="ended with 3"):
        process("-c", "raise SystemExit(3)")()


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
    }  # fmt: skip
