"""The tables of docs/compatibility.md are what the backends and the pins say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_tables_are_current():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_compatibility.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run scripts/make_compatibility.py\n{done.stderr}"
