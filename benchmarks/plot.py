"""The ratios as a picture, without a plotting library: one bar a row on a logarithmic axis, its bound as a mark."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.page import ratio

_LEFT, _WIDTH, _STEP, _TOP = 330, 420, 34, 40
_OK, _MISS, _PLAIN = "#2a7f62", "#b3372f", "#7a8594"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Write the picture as SVG."""
    values = [v for r in results for v in (r["ratio"], r["at_most"], 1.0) if v]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(value: float) -> float:
        return _LEFT + _WIDTH * (math.log10(value) - low) / max(high - low, 1)

    height = _TOP + _STEP * len(results) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 130} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="22" font-size="15">modelscope_ext / the other, in time and memory (left is less)</text>',
    ]
    for power in range(low, high + 1):
        label = f"1/{10**-power}" if power < 0 else f"{10**power}x"
        grey = "#333" if power == 0 else "#ddd"
        line = f'<line x1="{x(10.0**power):.0f}" x2="{x(10.0**power):.0f}" y1="{_TOP - 8}" y2="{height - 30}"'
        parts.append(f'{line} stroke="{grey}"/>')
        parts.append(f'<text x="{x(10.0**power):.0f}" y="{height - 12}" text-anchor="middle">{label}</text>')
    for number, result in enumerate(results):
        y = _TOP + _STEP * number
        start, end = sorted((x(result["ratio"]), x(1.0)))
        share = ratio(result["ratio"])
        colour = _PLAIN if result["at_most"] is None else _OK if result["ok"] else _MISS
        parts.append(f'<text x="10" y="{y + 16}">{escape(result["title"])}</text>')
        parts.append(f'<rect x="{start:.0f}" y="{y}" width="{max(end - start, 1):.0f}" height="22" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + _WIDTH + 14}" y="{y + 16}">{share}</text>')
        if result["at_most"]:
            mark = x(result["at_most"])
            parts.append(
                f'<line x1="{mark:.0f}" x2="{mark:.0f}" y1="{y - 4}" y2="{y + 26}" stroke="black" stroke-width="2"/>'
            )
    parts.append(f'<text x="10" y="{height - 12}" fill="#555">black mark: the bound</text></svg>')
    path.write_text("\n".join(parts), encoding="utf-8")
