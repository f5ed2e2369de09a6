import json

import pytest


@pytest.fixture
def folder(tmp_path):
    """A model folder as it would lie on ModelScope's hub."""
    configuration = {
        "framework": "pytorch",
        "task": "text-classification",
        "model": {"type": "acme-keywords", "default": "neutral"},
        "pipeline": {"type": "acme-keywords-pipeline"},
    }
    (tmp_path / "configuration.json").write_text(json.dumps(configuration))
    (tmp_path / "keywords.json").write_text(json.dumps({"good": ["fine", "great"], "bad": ["awful"]}))
    return tmp_path
