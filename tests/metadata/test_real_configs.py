"""No false refusals: every configuration that transformers itself can write is read without a complaint."""

import pytest

from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from tests.reference import reference

pytestmark = pytest.mark.pt

WRITE_ALL = """
from transformers import CONFIG_MAPPING
result = {}
for name in CONFIG_MAPPING:
    try:
        config = CONFIG_MAPPING[name]()
        result[name] = [config.to_json_string(), config.to_json_string(use_diff=False)]
    except Exception as error:  # a few cannot be made without arguments
        result[name] = []
"""


def test_f09_every_configuration_of_transformers_passes():
    written = reference(WRITE_ALL)
    made = {name: texts for name, texts in written.items() if texts}
    assert len(made) > 300 and len(made) > 0.95 * len(written)
    assert any("Infinity" in texts[0] for texts in made.values()), "some of them are no JSON, and are read all the same"
    for name, texts in made.items():
        for text in texts:
            evidence = collect(Snapshot.from_mapping({"config.json": text}))
            assert not evidence.findings, name
            assert isinstance(evidence.get("config.json", "model_type"), str), name
