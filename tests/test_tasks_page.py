"""docs/tasks.md is what the tables of tasks, inputs, outputs and backends say."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_is_current():
    script = ROOT / "scripts" / "make_tasks.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run scripts/make_tasks.py\n{done.stderr}"


def test_every_task_that_a_backend_serves_is_on_it_with_an_input_and_an_output():
    from modelscope_ext import BACKENDS
    from modelscope_ext.models.schemas import SCHEMAS

    text = (ROOT / "docs" / "tasks.md").read_text("utf-8")
    described, rest = text.split("## Tasks without a schema")
    sections = dict(re.findall(r"^### ([\w-]+)\n\n(.*?)(?=^##|\Z)", described, re.M | re.S))
    for name in BACKENDS.names():
        backend = BACKENDS.get(name)
        for task in backend.tasks:
            if task in SCHEMAS:
                assert f"- `{backend.name}`, options: " in sections[task], (task, name)
                assert "- Input: " in sections[task]
                assert "- Output: `" in sections[task]
            else:
                assert re.search(rf"^- `{backend.name}`: .*\b{task}[,.]", rest, re.M), (task, name)


def test_every_kind_of_input_is_in_its_table():
    from modelscope_ext.models.inputs import KINDS

    text = (ROOT / "docs" / "tasks.md").read_text("utf-8")
    assert set(re.findall(r"^\| ([a-z]+) \|", text, re.M)) >= set(KINDS)
