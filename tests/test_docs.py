"""The examples of README and docs are executed, in order, so that they cannot drift."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pt

ROOT = Path(__file__).parent.parent
#: Pages that tests of their own run, in the environment that has what they need.
ELSEWHERE = {"signing.md"}  # tests/models/gate/test_signature.py
PAGES = [
    p
    for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "```python" in p.read_text("utf-8") and p.name not in ELSEWHERE
]
FENCE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


#: Pages whose examples need the environment `serve`.
SERVED = {"serve.md"}


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name, marks=[pytest.mark.serve] if p.name in SERVED else []) for p in PAGES]
)
def test_the_examples_of_a_page_run(page, tmp_path):
    blocks = FENCE.findall(page.read_text("utf-8"))
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_backend_of_contributing_passes_its_checks_and_runs_by_its_entry_point(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    site = tmp_path / "site"
    record = site / "word_count-1.0.dist-info"
    record.mkdir(parents=True)
    for name in ("wordcount.py", "test_wordcount.py"):
        [block] = [block for block in FENCE.findall(text) if block.startswith(f"# {name}\n")]
        (site / name).write_text(block, "utf-8")
    [(group, line)] = re.findall(r'entry-points."(modelscope_ext.backends)"\]\nwordcount = "(.*)"', text)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: word-count\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{group}]\nwordcount = {line}\n")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
            env={"PYTHONPATH": f"{ROOT}:{site}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )  # fmt: skip

    checks = run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'models'}", str(site))
    assert checks.returncode == 0, checks.stdout[-3000:]
    [folder] = (tmp_path / "models").glob("test_probe_claims*0/model")
    done = run("-m", "modelscope_ext", "run", str(folder), "a good day", "a bad day")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["POSITIVE", "NEGATIVE"], done.stderr
    assert "entry point 'wordcount' of word-count 1.0" in run("-m", "modelscope_ext", "list", "backends").stdout
