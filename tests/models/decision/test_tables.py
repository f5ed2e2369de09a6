"""The generated tables: well-formed here, equal to the libraries' own mappings where those are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.models.decision import tables
from modelscope_ext.models.tasks import TASKS, canonical

ROOT = Path(__file__).resolve().parents[3]


def test_every_task_of_the_tables_is_known() -> None:
    for auto in tables.transformers().autos:
        assert auto.name.startswith("Auto") and set(auto.tasks) <= set(TASKS)
    for tasks in tables.diffusers().pipelines.values():
        assert set(tasks) <= set(TASKS)
    for kind in (tables.modelscope().models, tables.modelscope().pipelines):
        assert all(canonical(task) in TASKS for tasks in kind.values() for task in tasks)


def test_lookups() -> None:
    table = tables.transformers()
    assert [auto.name for auto in table.of_class("BertForMaskedLM")] == ["AutoModelForMaskedLM"]
    assert table.of_class("lightonocrforconditionalgeneration")
    assert table.of_class("NoSuchModel") == () and table.of_type("no-such-type") == ()
    assert table.knows_type("qwen2") and not table.knows_type(None) and not table.knows_type(["bert"])
    assert table.has_head("bert", "AutoModelForMaskedLM") and not table.has_head("vit", "AutoModelForMaskedLM")
    assert "AutoencoderKL" in tables.diffusers().components


@pytest.mark.pt
def test_the_tables_are_what_the_installed_libraries_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_tables.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.pt
def test_no_mapping_of_transformers_is_left_out() -> None:
    code = "import sys; sys.path.insert(0, 'scripts'); import make_tables; print(sorted(make_tables.unused_mappings()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
