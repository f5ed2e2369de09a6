"""``python -m benchmarks [ROW ...] [--json FILE] [--plot FILE]``: measure, print a table, say what misses a bound."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, alternate, scratch
from benchmarks.rows import ROWS, Row


def measure(name: str, row: Row, folder: Path) -> dict[str, Any]:
    row.check()
    ours, theirs = alternate(row.make(folder), row.repeats)
    ratio = ours.median / theirs.median
    return {
        "row": name,
        "title": row.title,
        "ours": {"what": ours.name, "median_s": ours.median, "spread": ours.spread, "seconds": ours.seconds},
        "theirs": {"what": theirs.name, "median_s": theirs.median, "spread": theirs.spread, "seconds": theirs.seconds},
        "ratio": ratio,
        "at_most": row.at_most,
        "ok": row.at_most is None or ratio <= row.at_most,
    }


def show(result: dict[str, Any]) -> str:
    verdict = "" if result["at_most"] is None else "ok" if result["ok"] else "MISS"
    bound = "" if result["at_most"] is None else f"(bound {_ratio(result['at_most'])})"
    sides = "  ".join(
        f"{side['what']} {_time(side['median_s'])} +-{side['spread']:.0%}"
        for side in (result["ours"], result["theirs"])
    )
    return f"{result['title']:<32} {_ratio(result['ratio']):>8} {bound:<14} {verdict:<5} {sides}"


def _ratio(value: float) -> str:
    return f"{value:.2f}x" if value >= 1 else f"1/{1 / value:.1f}"


def _time(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.0f} us"
        if seconds < 1e-3
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks.json", help="where the figures go")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this SVG file")
    args = parser.parse_args()
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"unknown row {sorted(unknown)}; there are {', '.join(ROWS)}")
    results = []
    for name in args.rows or ROWS:
        with scratch() as folder:
            results.append(measure(name, ROWS[name], folder))
        print(show(results[-1]), flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "platform": platform.platform()}
    args.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2), encoding="utf-8")
    print(f"Ratios are ours / theirs, medians of one run; figures in {args.json}")
    if args.plot:
        from benchmarks.plot import draw

        draw(results, args.plot)
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
