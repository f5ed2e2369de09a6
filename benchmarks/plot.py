"""The ratios as a picture: one bar a row on a logarithmic axis, its bound as a mark. Needs matplotlib (extra `dev`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.page import ratio

__all__ = ["draw"]

_OK, _MISS, _PLAIN = "#2a7f62", "#b3372f", "#7a8594"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.32 * len(results) + 1.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(results))
    shares = [one["ratio"] for one in results]
    colours = [_PLAIN if one["at_most"] is None else _OK if one["ok"] else _MISS for one in results]
    axes.barh(places, [share - 1 for share in shares], left=1, color=colours, height=0.7)
    bounds = [(place, one["at_most"]) for place, one in zip(places, results, strict=True) if one["at_most"]]
    axes.plot([at for _, at in bounds], [place for place, _ in bounds], "|", color="black", markersize=13, mew=2)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(
            ratio(share), (share, place), xytext=(4 if share >= 1 else -4, 0), textcoords="offset points",
            ha="left" if share >= 1 else "right", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yticks(places, [one["title"].replace("$", r"\$") for one in results], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="#333", linewidth=0.8)
    axes.margins(x=0.12, y=0.01)
    axes.grid(axis="x", color="#ddd")
    axes.set_axisbelow(True)
    axes.set_title("ours / theirs, in time and memory: left is less; black mark: the bound", fontsize=10)
    figure.savefig(path, metadata={"Software": None})
