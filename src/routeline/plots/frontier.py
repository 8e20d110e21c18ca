"""Throughput against interactivity: what a device delivers at the speed one user sees."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from ..errors import RoutelineError
from . import data, grid, scales
from .figure import Figure


def interactivity(c: Comparison) -> Figure:
    """Tokens/s/device over tokens/s/user for both sides, best layout and batch at every point."""
    rows = grid.frontier(c)
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
    y = scales.log_y("device", "tokens/s per device (throughput)", si=True)
    base = alt.Chart(scales.values(rows))
    dash = alt.StrokeDash("side:N", scale=alt.Scale(domain=list(labels), range=[[1, 0], [7, 3]]), legend=None)
    line = base.mark_line(interpolate="step-after", strokeWidth=2.2).encode(
        x=x, y=y, color=scales.side_colour(labels), strokeDash=dash, order=alt.Order("user:Q")
    )
    marks = base.mark_point(size=26, filled=True).encode(
        x=alt.X("user:Q"),
        y=alt.Y("device:Q"),
        color=scales.side_colour(labels),
        shape=alt.Shape("side:N", scale=alt.Scale(domain=list(labels), range=["circle", "square"]), legend=None),
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
        caption="Upper envelope over every layout allowed and every admissible batch. "
        + data.assumptions(c, batch=False, layout=False),
        alt="Pareto fronts of tokens per second per device over tokens per second per user for both models.",
        panels=(chart,),
    )
