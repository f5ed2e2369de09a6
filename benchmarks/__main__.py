"""``python -m benchmarks [ROW ...] [--json FILE] [--plot FILE]``: measure, print a table, say what misses a bound."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Sample, alternate, scratch
from benchmarks.rows import ROWS, Row


def measure(name: str, row: Row, folder: Path) -> list[dict[str, Any]]:
    """Measure one row: its time, and its memory where it has a bound for that."""
    row.check()
    sides = row.make(folder)
    costs = alternate(sides, row.repeats)
    names = [what for what, _ in sides]
    times = [Sample(what, tuple(c.seconds for c in side)) for what, side in zip(names, costs, strict=True)]
    results = [_result(name, row.title, times, "seconds", row.at_most)]
    if row.memory is not None:
        peaks = [Sample(what, tuple(c.peak or 0 for c in side)) for what, side in zip(names, costs, strict=True)]
        results.append(_result(f"{name}-memory", f"{row.title}: memory", peaks, "bytes", row.memory))
    return results


def _result(name: str, title: str, sides: list[Sample], unit: str, at_most: float | None) -> dict[str, Any]:
    ours, theirs = (
        {"what": side.name, "median": side.median, "spread": side.spread, "values": side.values} for side in sides
    )
    ratio = ours["median"] / theirs["median"]
    ok = at_most is None or ratio <= at_most
    return {
        "row": name, "title": title, "unit": unit, "ours": ours, "theirs": theirs, "ratio": ratio,
        "at_most": at_most, "ok": ok,
    }  # fmt: skip


def show(result: dict[str, Any]) -> str:
    verdict = "" if result["at_most"] is None else "ok" if result["ok"] else "MISS"
    bound = "" if result["at_most"] is None else f"(bound {_ratio(result['at_most'])})"
    amount = _time if result["unit"] == "seconds" else _size
    sides = "  ".join(
        f"{side['what']} {amount(side['median'])} +-{side['spread']:.0%}" for side in (result["ours"], result["theirs"])
    )
    return f"{result['title']:<40} {_ratio(result['ratio']):>8} {bound:<14} {verdict:<5} {sides}"


def _ratio(value: float) -> str:
    return f"{value:.2f}x" if value > 0.5 else f"1/{1 / value:.1f}"


def _size(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"


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
    results: list[dict[str, Any]] = []
    with scratch():  # bytecode is kept in it for the whole run
        for name in args.rows or ROWS:
            with scratch() as folder:
                found = measure(name, ROWS[name], folder)
            print("\n".join(map(show, found)), flush=True)
            results += found
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
