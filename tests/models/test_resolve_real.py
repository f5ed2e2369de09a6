"""Folders that the libraries themselves write: each resolves to its library and task from its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_ext.models.resolve import resolve

pytestmark = pytest.mark.pt


#: Families whose hub shows them under another of their tasks first: CLAP is an embedder of sounds there.
OTHERWISE = {"zero-shot-audio-classification": "feature-extraction"}


def test_every_tiny_transformers_folder(tmp_path: Path) -> None:
    from tests.tiny.transformers_ import FAMILIES, build

    wrong = {}
    for name, (_, tasks) in FAMILIES.items():
        folder = tmp_path / name
        folder.mkdir()
        build(name, folder)
        info = resolve(folder, installed=False)
        served = info.default_task in ((OTHERWISE[name],) if name in OTHERWISE else tasks)
        if info.framework != "pytorch" or not served or not info.weights.files:
            wrong[name] = (info.backend, info.framework, info.tasks, info.weights.files)
    assert wrong == {}
