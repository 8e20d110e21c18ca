"""Throughput against interactivity: what a device delivers at the speed one user sees."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from ..errors import RoutelineError
from . import data, fleet, scales
from .figure import Figure


def interactivity(c: Comparison) -> Figure:
    """Tokens/s/device over tokens/s/user for both sides, best layout and batch at every point."""
    rows = fleet.frontier(c)
    if not rows:
        raise RoutelineError(f"neither model fits on {c.cluster.name}: there is no frontier to draw")
    labels = data.labels(c)
    present = {r["side"] for r in rows}
    x = alt.X(
        "user:Q",
        title="tokens/s per user (interactivity)",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=scales.log_axis(count=7),
    )
    y = scales.log_y("device", "tokens/s per device (throughput)")
    base, style = alt.Chart(scales.values(rows)), scales.side_line(labels)
    # step-before: a user speed between two batches is reached with the smaller one, at its throughput
    line = base.mark_line(interpolate="step-before", strokeWidth=1.8).encode(
        x=x, y=y, order=alt.Order("user:Q"), **style
    )
    marks = base.mark_point(size=20, filled=True).encode(
        x=alt.X("user:Q"),
        y=alt.Y("device:Q"),
        color=style["color"],
        tooltip=[
            alt.Tooltip("side:N"),
            alt.Tooltip("user:Q", title="tokens/s/user", format=",.4g"),
            alt.Tooltip("device:Q", title="tokens/s/device", format=",.4g"),
            alt.Tooltip("batch:Q", format=",.0f"),
            alt.Tooltip("layout:N"),
        ],
    )
    chart = alt.layer(line, marks).properties(width=560, height=320)
    absent = [n for n in labels if n not in present]
    return Figure(
        name="interactivity",
        title="Throughput against interactivity",
        note="Up is cheaper to serve, right is faster for each user; a point below and left of the other line is "
        "beaten there." + (f" {absent[0]} does not fit and has no line." if absent else ""),
        caption="Upper envelope over every layout allowed and every admissible batch; each mark is a batch. "
        + data.assumptions(c, batch=False, layout=False),
        alt="Pareto fronts of tokens per second per device over tokens per second per user for both models.",
        panels=(chart,),
    )
