import json

import pytest

LABELS = {
    "sport": {"ball": 1.0, "goal": 1.0, "match": 0.8, "team": 0.5},
    "food": {"soup": 1.0, "salt": 0.7, "oven": 0.6},
    "music": {"song": 1.0, "guitar": 0.9},
}


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "centroid.json").write_text(json.dumps({"format": "centroid-1", "labels": LABELS}))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "topics")
