"""Run with the package installed: `pytest examples/backend_entry_point`."""

import json
import math

from acme_centroid import Centroid
from conftest import LABELS, write

from modelscope_ext import BACKENDS, Snapshot, pipeline, resolve
from modelscope_ext.testing.conformance import BackendConformance


class TestCentroid(BackendConformance):
    backend = Centroid
    task = "text-classification"
    inputs = ("the team lost the match", "too much salt in the soup", "a song for one guitar")
    call_values = {"top_k": 2}  # noqa: RUF012
    libraries = ("acme",)

    def make_folder(self, tmp_path):
        return write(tmp_path / "model")

    def near_misses(self, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        (other / "centroids.json").write_text("{}")
        yield other


def test_the_entry_point_is_enough(folder):
    assert type(BACKENDS.get("centroid")) is Centroid
    assert BACKENDS.list()[-1].origin == "entry point 'centroid' of acme-centroid 1.0"
    found = resolve(folder)
    assert (found.backend, found.framework, found.default_task) == ("centroid", "python", "text-classification")
    assert "centroid.json format: centroid.json is this library's own format" in found.explain()


def test_a_folder_runs_by_its_name_alone(folder):
    with pipeline(model=folder) as pipe:
        assert pipe("the team lost the match")["label"] == "sport"
        assert [one["label"] for one in pipe(["soup", "guitar"])] == ["food", "music"]
        everything = pipe("soup and song", top_k=3)
        assert [one["label"] for one in everything] == ["music", "food", "sport"]
        assert math.isclose(sum(one["score"] for one in everything), 1.0)
        assert set(pipe("soup", raw=True)) == set(LABELS)


def test_it_can_be_declared(folder):
    (folder / "configuration.json").write_text(json.dumps({"backend": "centroid", "tasks": ["text-classification"]}))
    assert resolve(folder).loadable
    with pipeline(model=folder) as pipe:
        assert pipe("soup")["label"] == "food"


def test_the_native_snippet_runs(folder):
    names = {}
    exec(resolve(folder).code(), names)
    assert max(names["model"].scores("soup").items(), key=lambda item: item[1])[0] == "food"


def test_it_claims_a_listing_too():
    listing = Snapshot.from_mapping({"centroid.json": json.dumps({"format": "centroid-1", "labels": LABELS})})
    assert resolve(listing).backend == "centroid"
