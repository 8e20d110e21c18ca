"""Axes, outputs and groups of a sweep, as people write them."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..sweep.outputs import OUTPUTS
from ..units import show
from . import scales

Rows = list[dict[str, Any]]
COUNTS = ("context", "batch", "input", "output")
"""Axes in tokens or sequences, drawn on a log-2 scale."""
UNITS = {"context": "tokens", "batch": "sequences", "input": "tokens", "output": "tokens", "utilisation": "-", "q": "-",
         "overhead": "B", "tpot": "s", "bandwidth": "B/s"}  # fmt: skip
"""Axis of numbers -> its unit."""


def title(name: str) -> str:
    """An axis or output with its unit: 'context [tokens]', 'moe tpot [s]'."""
    if name == "ratio":
        return "R, dense over MoE throughput"
    unit = OUTPUTS[name].unit if name in OUTPUTS else UNITS.get(name, "")
    return f"{name.replace('_', ' ')} [{unit}]" if unit else name.replace("_", " ")


def label(name: str, value: Any) -> str:
    """A value of an axis as people write it: 8k tokens, 0.95."""
    if isinstance(value, str):
        return value
    if name in COUNTS:
        return show(float(value), "tokens") if value < 1024 or value % 1024 == 0 else f"{value / 1024:.3g}k"
    return f"{value:,.6g}"


def group(row: dict[str, Any], columns: list[str], otherwise: str = "all") -> str:
    """The name of a row's group."""
    return " · ".join(label(c, row[c]) for c in columns) or otherwise


def axis(field: str, name: str, text: bool) -> alt.X:
    """The horizontal axis of a column of numbers or names."""
    if text:
        return alt.X(f"{field}:N", title=title(name), axis=alt.Axis(labelAngle=0))
    if name in COUNTS:
        return scales.tokens(field, title(name))
    scale = alt.Scale(zero=False, nice=False, padding=6)
    return alt.X(f"{field}:Q", title=title(name), scale=scale, axis=alt.Axis(tickCount=7))


def split(rows: Rows, by: list[str]) -> tuple[str, list[str], bool]:
    """The axis to draw along (the last of numbers, else the last), the other grouping columns, whether it is text."""
    along = next((c for c in reversed(by) if not isinstance(rows[0][c], str)), by[-1] if by else "")
    return along, [c for c in by if c != along], not along or isinstance(rows[0][along], str)
