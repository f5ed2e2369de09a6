"""``python -m tests.fuzz [READER ...] [--seconds 600]``: fuzz each reader in a process of its own, one after another.

A crash, a hang of ten seconds, a gigabyte of memory or an error that is not ours ends the reader's run; its input is
left in ``build/fuzz/READER`` and belongs into ``tests/fuzz/found/READER`` together with the mending.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from tests.fuzz.readers import READERS, seeds_of

ROOT = Path(__file__).parents[2]


def fuzz(name: str, seconds: int, corpus: Path, artifacts: Path) -> tuple[bool, str]:
    """Return whether a reader held, and libFuzzer's last word about it."""
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    for data in seeds_of(name):
        (corpus / sha256(data).hexdigest()[:16]).write_bytes(data)
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-print_final_stats=1"]
    options = [f"-max_total_time={seconds}", *limits]
    command = [sys.executable, "-m", "tests.fuzz.run", name, str(corpus), *options, f"-artifact_prefix={artifacts}/"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    count = f"{int(runs.group(1)):,} inputs" if runs else "no count"
    return (
        done.returncode == 0,
        count if done.returncode == 0 else f"{count}\n{done.stdout[-2000:]}{done.stderr[-2000:]}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--seconds", type=int, default=600, help="for each reader")
    parser.add_argument("--artifacts", type=Path, default=ROOT / "build" / "fuzz", help="where what was found is left")
    args = parser.parse_args()
    if unknown := sorted(set(args.readers) - set(READERS)):
        parser.error(f"unknown reader {unknown[0]}; there are {', '.join(READERS)}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        for name in args.readers or READERS:
            held, text = fuzz(name, args.seconds, Path(place, name), args.artifacts / name)
            print(f"{name:<18} {'held' if held else 'FAILED'}  {text}", flush=True)
            failed += [] if held else [name]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
