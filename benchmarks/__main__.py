"""``python -m benchmarks [ROW ...] [--json FILE] [--publish]``: measure, print a table, say what misses a bound.

``--profile ROW`` shows instead where the time of our side goes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Sample, alternate, profile, scratch
from benchmarks.page import amount, publish, ratio
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
    share = ours["median"] / theirs["median"]
    ok = at_most is None or share <= at_most
    return {
        "row": name, "title": title, "unit": unit, "ours": ours, "theirs": theirs, "ratio": share,
        "at_most": at_most, "ok": ok, "machine": _MACHINE,
    }  # fmt: skip


#: When and where a row was measured: rows that are published together may come from several runs.
_MACHINE = {
    "date": date.today().isoformat(), "python": platform.python_version(), "platform": platform.platform(),
}  # fmt: skip


def show(result: dict[str, Any]) -> str:
    verdict = "" if result["at_most"] is None else "ok" if result["ok"] else "MISS"
    bound = "" if result["at_most"] is None else f"(bound {ratio(result['at_most'])})"
    sides = "  ".join(
        f"{side['what']} {amount(side['median'], result['unit'])} +-{side['spread']:.0%}"
        for side in (result["ours"], result["theirs"])
    )
    return f"{result['title']:<46} {ratio(result['ratio']):>8} {bound:<14} {verdict:<5} {sides}"


def show_profile(row: Row) -> None:
    """Print the forty functions in which, with what they call, most of our side's time is spent."""
    with scratch(), scratch() as folder:
        (_, ours), _ = row.make(folder)
        ours()  # bytecode and caches are written by a run that does not count
        profile(ours).sort_stats("cumulative").print_stats(40)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks.json", help="where the figures go")
    parser.add_argument(
        "--publish", action="store_true", help="write the figures to docs/, with what is published of other rows"
    )
    parser.add_argument("--profile", metavar="ROW", choices=ROWS, help="show where the time of our side goes instead")
    args = parser.parse_args()
    if args.profile:
        show_profile(ROWS[args.profile])
        return 0
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"unknown row {sorted(unknown)}; there are {', '.join(ROWS)}")
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    with scratch():  # bytecode is kept in it for the whole run
        for name in args.rows or ROWS:
            if ROWS[name].missing:
                print(f"{ROWS[name].title:<46} not measured here: {', '.join(ROWS[name].missing)} not installed")
                continue
            try:
                with scratch() as folder:
                    found = measure(name, ROWS[name], folder)
            except Exception as error:  # noqa: BLE001 - a run takes long: the other rows are worth their figures
                failed.append(name)
                print(f"{ROWS[name].title:<46} failed: {type(error).__name__}: {error}", flush=True)
                continue
            print("\n".join(map(show, found)), flush=True)
            results += found
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"results": results}, indent=2), encoding="utf-8")
    print(f"Ratios are ours / theirs, medians of one run; figures in {args.json}")
    if args.publish and failed:
        print(f"nothing is published: {', '.join(failed)} failed", file=sys.stderr)
    elif args.publish:
        publish(results, list(ROWS))
    return 0 if not failed and all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
