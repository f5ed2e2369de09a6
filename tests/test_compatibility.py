"""docs/compatibility.md says what docs/compatibility.json says, and that is what tests ran with the pinned releases."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from modelscope_ext.utils.distributions import canonical_name

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_compatibility", ROOT / "scripts" / "make_compatibility.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(script):
    """Data in which everything is proven with the pinned releases: the backends' own tables, one test for all."""
    pins, test = script.pins("pt"), "tests/test_compatibility.py::test_everything_can_be_proven"
    backends = {}
    for name, engine in script.engines().items():
        needed = [canonical_name(Requirement(text).name) for text in engine.requires]
        versions = {package: pins[package] for package in needed if package in pins}
        backends[name] = {"versions": versions, "tasks": {task: {test: 1} for task in engine.tasks}}
    return {"pt": {"python": "3.11.7", "card": None, "backends": backends}}


@pytest.fixture
def published(script):
    return json.loads(script.DATA.read_text("utf-8"))


def test_the_page_is_what_the_tests_ran(script, published):
    text = script.PAGE.read_text("utf-8")
    assert script.page(text, published) == text, "run `make test`, then scripts/make_compatibility.py"


def test_everything_served_is_proven_by_tests_that_are_there_with_the_pinned_releases(script, published):
    assert list(script.problems(published)) == [], "run `make test`, then scripts/make_compatibility.py"


def test_everything_can_be_proven(script, data):
    assert list(script.problems(data)) == []
    assert "proven by no test" not in script.details(data)


def _says(line, backend, task):
    return line.startswith(f"{backend}: no test that ran compared") and task in line


def test_a_task_without_a_test_is_named(script, data):
    whole = script.details(data)
    for environment in data.values():
        environment["backends"]["transformers"]["tasks"].pop("fill-mask", None)
    assert any(_says(line, "transformers", "fill-mask") for line in script.problems(data))
    assert "Served, and proven by no test: fill-mask." in script.details(data)
    assert len(script.details(data).splitlines()) == len(whole.splitlines()) + 1  # its row is gone, a blank line came


def test_a_backend_that_serves_more_than_can_be_proven_names_the_rest_and_proves_something(script, data, monkeypatch):
    monkeypatch.setattr(script, "NOT_ALL", {"transformers": "as an example"})
    tasks = data["pt"]["backends"]["transformers"]["tasks"]
    tasks.pop("fill-mask")
    assert list(script.problems(data)) == []
    assert "Served, and proven by no test (as an example): fill-mask." in script.details(data)
    tasks.clear()
    assert any(_says(line, "transformers", "fill-mask") for line in script.problems(data))


@pytest.mark.parametrize(
    ("test", "said"),
    [("tests/test_nowhere.py::test_x", "no such test"), ("tests/test_compatibility.py::test_nothing", "no such test")],
)
def test_a_test_that_is_gone_is_named(script, data, test, said):
    data["pt"]["backends"]["transformers"]["tasks"]["fill-mask"] = {test: 1}
    assert any(said in line and "test_" in line for line in script.problems(data))


def test_another_release_than_the_pinned_one_is_named(script, data):
    data["pt"]["backends"]["transformers"]["versions"]["torch"] = "1.0"
    assert any("torch 1.0; pinned is 2." in line for line in script.problems(data))


def record(tests, *, complete, release="2.13.0"):
    backends = {"transformers": {"versions": {"torch": release}, "tasks": tests}}
    return {"complete": complete, "python": "3.11.7", "card": None, "backends": backends}


def test_a_complete_record_replaces_and_a_partial_one_adds(script):
    first, second = {"fill-mask": {"a": 1}, "translation": {"b": 2}}, {"fill-mask": {"c": 3}}
    data = script.merged({}, {"pt": record(first, complete=True)})
    before = copy.deepcopy(data)
    added = script.merged(data, {"pt": record(second, complete=False)})
    assert added["pt"]["backends"]["transformers"]["tasks"] == {"fill-mask": {"c": 3}, "translation": {"b": 2}}
    replaced = script.merged(data, {"pt": record(second, complete=True)})
    assert replaced["pt"]["backends"]["transformers"]["tasks"] == second
    assert data == before
    with pytest.raises(SystemExit, match="other releases of transformers"):
        script.merged(data, {"pt": record(second, complete=False, release="2.14.0")})


def test_a_gpu_is_named_by_its_card_and_needs_no_pins(script, data):
    gpu = record({"fill-mask": {"tests/test_compatibility.py::test_everything_can_be_proven": 4}}, complete=True)
    gpu = {**gpu, "card": "NVIDIA H100"}
    gpu["backends"]["transformers"]["versions"]["torch"] = "2.99.0"
    data = script.merged(data, {"gpu": gpu})
    text = script.details(data)
    assert "`gpu`: torch 2.99.0; Python 3.11.7, NVIDIA H100" in text
    assert list(script.problems(data)) == []
    assert "gpu" not in script.overview(data)


def test_constraints_follow_environments_that_name_others(script):
    assert script.pins("bench") == script.pins("pt")
    assert script.pins("core")["numpy"] != script.pins("pt")["numpy"]
    assert script.pins("nowhere") == {}
