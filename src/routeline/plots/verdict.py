"""The verdict map: R over two axes, the line where neither side wins, and what does not fit."""

from __future__ import annotations

import altair as alt
import numpy as np

from ..compare import Comparison
from ..errors import RoutelineError, UnknownName
from . import data, grid, scales, theme
from .figure import Figure

STATES = {"MoE does not fit": "#C9D3DC", "dense does not fit": "#E8CDBB", "neither fits": "#9AA5AF"}


def axis(c: Comparison, name: str, points: int = 32) -> np.ndarray:
    """The range of an axis that fits this comparison."""
    if name not in grid.AXES:
        raise UnknownName("axis", name, grid.AXES)
    s = c.scenario
    if name == "context":
        return np.unique(np.round(np.geomspace(1024.0, grid.context_range(c, 3)[-1], points)))
    if name == "batch":
        most = max([one.point.max_batch for _, _, one in data.sides(c) if one.point is not None], default=64.0)
        return np.unique(np.round(2.0 ** np.linspace(0, np.log2(max(4.0 * most, 64.0)), points)))
    if name == "utilisation":
        return np.linspace(0.5, 0.98, points)
    if name == "q":
        return np.geomspace(min(1.2, c.q), max(12.0, c.q), points)
    if name == "overhead":
        return np.linspace(0.0, 0.3 * float(c.cluster.device.memory(s.memory)), points)
    return np.linspace(0.0, 1.0, points)


def verdict_map(c: Comparison, x: str = "context", y: str = "batch", points: int = 32) -> Figure:
    """R over x and y (names of grid.AXES). With batch as an axis both sides run that batch; else each its largest."""
    if x == y:
        raise RoutelineError(f"a map needs two different axes, not {x!r} twice; known: {', '.join(grid.AXES)}")
    cells, line = grid.verdict_map(c, x, axis(c, x, points), y, axis(c, y, points))
    both = [r for r in cells if "R" in r]
    rest = [r for r in cells if "R" not in r]
    if all(r["state"] == "neither fits" for r in cells):
        raise RoutelineError(f"neither model fits on {c.cluster.name} anywhere on this map: use more devices")
    tips = [alt.Tooltip("x:Q", title=x, format=",.4g"), alt.Tooltip("y:Q", title=y, format=",.4g")]
    ex, ey = _scale(x), _scale(y)
    encode = {"x2": alt.X2("x1:Q"), "y2": alt.Y2("y1:Q")}
    xx = alt.X("x0:Q", title=grid.AXES[x], scale=ex, axis=_axis(x))
    yy = alt.Y("y0:Q", title=grid.AXES[y], scale=ey, axis=_axis(y))
    layers: list[alt.Chart] = []
    if rest:
        states = [s for s in STATES if any(r["state"] == s for r in rest)]
        shade = alt.Color(
            "state:N", scale=alt.Scale(domain=states, range=[STATES[s] for s in states]), legend=alt.Legend(title=None)
        )
        layers.append(
            alt.Chart(scales.values(rest))
            .mark_rect(strokeWidth=0.7)
            .encode(
                x=xx,
                y=yy,
                color=shade,
                stroke=alt.Stroke("state:N", scale=shade["scale"], legend=None),
                tooltip=[*tips, alt.Tooltip("state:N", title="memory")],
                **encode,
            )
        )
    if both:
        colour = alt.Color(
            "R:Q",
            scale=alt.Scale(
                type="log", domain=[1 / 8, 1 / 4, 1 / 1.5, 1, 1.5, 4, 8], range=list(theme.DIVERGING), clamp=True
            ),
            legend=alt.Legend(
                title="R = dense / MoE throughput   (MoE wins < 1 < dense wins)",
                gradientLength=300,
                values=[0.125, 0.25, 0.5, 1, 2, 4, 8],
                format="~r",
                orient="top",
            ),
        )
        edge = alt.Stroke("R:Q", scale=colour["scale"], legend=None)
        layers.append(
            alt.Chart(scales.values(both))
            .mark_rect(strokeWidth=0.7)
            .encode(x=xx, y=yy, color=colour, stroke=edge, tooltip=[*tips, alt.Tooltip("R:Q", format=".3g")], **encode)
        )
    if line:
        layers.append(
            alt.Chart(scales.values(line))
            .mark_rule(color=theme.INK, strokeWidth=2.2, strokeCap="round")
            .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), x2=alt.X2("x1:Q"), y2=alt.Y2("y1:Q"))
        )
    spot = _spot(c, x, y)
    if spot is not None and _inside(spot, cells):
        layers.append(
            alt.Chart(scales.values([spot]))
            .mark_point(shape="diamond", size=120, fill=theme.GROUND, stroke=theme.INK, strokeWidth=2, opacity=1)
            .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), tooltip=[alt.Tooltip("text:N", title="asked")])
        )
    chart = alt.layer(*layers).resolve_scale(color="independent").properties(width=560, height=360)
    first, second = data.labels(c)
    equal = "batch" in (x, y) or c.scenario.batch is not None
    rule = (
        "both sides at the same batch, each in its fastest layout that admits it"
        if equal
        else "each side at its largest admissible batch and best layout"
    )
    wins = _shares(both)
    return Figure(
        name="map",
        title=f"Who wins where: {first} or {second}",
        note=wins + (" Black line: R = 1." if line else " R = 1 is not crossed here."),
        caption=f"R: {rule}. The line is interpolated between cells. "
        + data.assumptions(
            c, context="context" not in (x, y), batch="batch" not in (x, y), layout=False, q="q" not in (x, y)
        ),
        alt=f"Map of the throughput ratio over {x} and {y}. {wins}",
        panels=(chart,),
    )


def _shares(both: data.Rows) -> str:
    if not both:
        return "Nowhere on this map do both sides fit."
    dense = sum(r["R"] > 1.02 for r in both)
    moe = sum(r["R"] < 1 / 1.02 for r in both)
    return f"Where both fit, dense wins in {dense / len(both):.0%} of the cells and the MoE in {moe / len(both):.0%}."


def _scale(name: str) -> alt.Scale:
    if name in grid.LINEAR:
        return alt.Scale(nice=False, zero=False)
    return alt.Scale(type="log", base=10 if name == "q" else 2, nice=False)


def _axis(name: str) -> alt.Axis:
    if name in ("context", "batch"):
        return alt.Axis(labelExpr=scales.BINARY, tickCount=9, grid=False)
    return alt.Axis(tickCount=7, grid=False, format="~s" if name == "overhead" else "~r")


def _spot(c: Comparison, x: str, y: str) -> dict | None:
    def value(name: str) -> float | None:
        found = c.q if name == "q" else getattr(c.scenario, name)
        return None if found is None else float(found)

    a, b = value(x), value(y)
    return None if a is None or b is None else {"x": a, "y": b, "text": f"{x} {a:g}, {y} {b:g}"}


def _inside(spot: dict, cells: data.Rows) -> bool:
    return min(r["x0"] for r in cells) <= spot["x"] <= max(r["x1"] for r in cells) and min(
        r["y0"] for r in cells
    ) <= spot["y"] <= max(r["y1"] for r in cells)
