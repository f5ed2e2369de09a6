"""What ``python -m benchmarks --publish`` writes into docs/: the figures, the picture, and the tables made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT

__all__ = ["amount", "figures", "publish", "ratio", "rendered"]

#: page -> mark -> what stands between ``<!-- mark -->`` and ``<!-- /mark -->``.
PAGES: dict[str, dict[str, Callable[[list[dict[str, Any]]], str]]] = {
    "benchmarks.md": {"benchmarks": lambda results: _table(results)},
    "speed.md": {"benchmarks: first": lambda results: _table([r for r in results if r["row"].startswith("first-")])},
    "decisions.md": {"benchmarks: config": lambda results: _config(results)},
}


def ratio(value: float) -> str:
    """Return 5 as 5x, 0.9 as 0.90x, and what is under a half as 1/n."""
    if value >= 2:
        return f"{value:.1f}x"
    return f"{value:.2f}x" if value > 0.5 else f"1/{1 / value:.1f}"


def amount(value: float, unit: str) -> str:
    """Return seconds or bytes for a reader."""
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def publish(results: list[dict[str, Any]], order: Sequence[str]) -> None:
    """Write figures, picture and tables into docs/.

    Args:
        results: What was measured; it takes the place of what is published of the same rows.
        order: All rows. What is published of a row that there is no longer is dropped.
    """
    from benchmarks.plot import draw

    docs = ROOT / "docs"
    known = figures(docs / "benchmarks.json") if (docs / "benchmarks.json").is_file() else []
    by_row = {one["row"]: one for one in (*known, *results)}
    names = [name for row in order for name in (row, f"{row}-memory") if name in by_row]
    together = [by_row[name] for name in names]
    (docs / "benchmarks.json").write_text(json.dumps({"results": together}, indent=2) + "\n", encoding="utf-8")
    draw(together, docs / "benchmarks.png")
    for name in PAGES:
        path = docs / name
        path.write_text(rendered(name, path.read_text("utf-8"), together), encoding="utf-8")


def figures(path: Path = ROOT / "docs" / "benchmarks.json") -> list[dict[str, Any]]:
    """Return the published results."""
    return list(json.loads(path.read_text("utf-8"))["results"])


def rendered(name: str, text: str, results: list[dict[str, Any]]) -> str:
    """Return the page `name` with its tables made of `results`."""
    for mark, make in PAGES[name].items():
        block = f"<!-- {mark} -->\n{make(results)}\n<!-- /{mark} -->"
        text, count = re.subn(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _, b=block: b, text, flags=re.S)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{name} has no place for {mark}")
    return text


def _table(results: list[dict[str, Any]]) -> str:
    lines = ["| row | ratio | bound | | ours (spread) | theirs (spread) | measured |", "|---|---|---|---|---|---|---|"]
    for one in results:
        verdict = "" if one["at_most"] is None else "ok" if one["ok"] else "**missed**"
        sides = [
            f"{side['what']}: {amount(side['median'], one['unit'])} (±{side['spread']:.0%})"
            for side in (one["ours"], one["theirs"])
        ]
        cells = (one["title"], ratio(one["ratio"]), _bound(one), verdict, *sides, one["machine"]["date"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _bound(one: dict[str, Any]) -> str:
    return "" if one["at_most"] is None else re.sub(r"\.0(?!\d)", "", ratio(one["at_most"]))


def _config(results: list[dict[str, Any]]) -> str:
    lines = ["| size of the file | ratio (bound) |", "|---|---|"]
    for one in results:
        if one["title"].startswith("Config.from_file, "):
            size = one["title"].rpartition(", ")[2]
            missed = "" if one["ok"] else ", missed"
            lines.append(f"| {size} | {1 / one['ratio']:.1f}x faster ({1 / one['at_most']:.0f}x){missed} |")
    return "\n".join(lines)
