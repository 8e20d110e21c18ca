"""The verdict map: R over two axes, the line where neither side wins, and what does not fit."""

from __future__ import annotations

import altair as alt
import numpy as np

from ..compare import Comparison
from ..errors import RoutelineError, UnknownName
from . import contour, data, grid, scales, theme
from .figure import Figure

STATES = ("MoE does not fit", "dense does not fit", "neither fits")
UNFIT, HATCH = "#EEF1F3", "#A9B4BD"
"""Ground and hatching of what does not fit: no shade of either side."""
R_DOMAIN = [1 / 8, 1 / 4, 1 / 1.5, 1, 1.5, 4, 8]


def axis(c: Comparison, name: str, points: int = 32) -> np.ndarray:
    """The range of an axis that fits this comparison."""
    if name not in grid.AXES:
        raise UnknownName("axis", name, grid.AXES)
    s = c.scenario
    if name == "context":
        known = grid.context_range(c, 3)
        return np.unique(np.round(np.geomspace(known[0], known[-1], points)))
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


def colour(title: str = "R = dense / MoE throughput", length: int = 220) -> alt.Color:
    """R in the house's diverging colours, on a log scale cut at 1/8 and 8."""
    return alt.Color(
        "R:Q",
        scale=alt.Scale(type="log", domain=R_DOMAIN, range=list(theme.DIVERGING), clamp=True),
        legend=alt.Legend(
            title=title,
            type="gradient",
            gradientLength=length,
            offset=scales.ABOVE,
            values=[0.125, 0.25, 0.5, 1, 2, 4, 8],
            format="~r",
        ),
    )


def verdict_map(c: Comparison, x: str = "context", y: str = "batch", points: int = 32) -> Figure:
    """R over x and y (names of grid.AXES). With batch as an axis both sides run that batch; else each its largest."""
    if x == y:
        raise RoutelineError(f"a map needs two different axes, not {x!r} twice; known: {', '.join(grid.AXES)}")
    xs, ys = axis(c, x, points), axis(c, y, points)
    cells, line = grid.verdict_map(c, x, xs, y, ys)
    both = [r for r in cells if "R" in r]
    rest = [r for r in cells if "R" not in r]
    if all(r["state"] == "neither fits" for r in cells):
        raise RoutelineError(f"neither model fits on {c.cluster.name} anywhere on this map: use more devices")
    moe, dense = data.names(c)
    place = {
        "x": alt.X("x0:Q", title=grid.AXES[x], scale=_scale(x), axis=_axis(x)),
        "y": alt.Y("y0:Q", title=grid.AXES[y], scale=_scale(y), axis=_axis(y)),
    }
    to = {"x2": alt.X2("x1:Q"), "y2": alt.Y2("y1:Q")}
    tips = [alt.Tooltip("x:Q", title=x, format=",.4g"), alt.Tooltip("y:Q", title=y, format=",.4g")]
    layers: list[alt.Chart] = []
    if both:
        tint = colour(f"R = {dense} / {moe} throughput")
        layers.append(
            alt.Chart(scales.values(both))
            .mark_rect(strokeWidth=0.7)
            .encode(
                color=tint,
                stroke=alt.Stroke("R:Q", scale=tint["scale"], legend=None),
                tooltip=[*tips, alt.Tooltip("R:Q", format=".3g")],
                **place,
                **to,
            )
        )
    if rest:
        ground = alt.Chart(scales.values(rest)).mark_rect(color=UNFIT, stroke=UNFIT, strokeWidth=0.7)
        layers.append(ground.encode(tooltip=[*tips, alt.Tooltip("state:N", title="memory")], **place, **to))
        hatch = alt.Chart(scales.values(contour.hatch(rest, x, y))).mark_rule(color=HATCH, strokeWidth=0.8)
        layers.append(hatch.encode(**place, **to))
    if line:
        layers.append(
            alt.Chart(scales.values(line))
            .mark_rule(color=theme.INK, strokeWidth=2.2, strokeCap="round")
            .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), x2=alt.X2("x1:Q"), y2=alt.Y2("y1:Q"))
        )
    names = grid.areas(cells, xs, ys, x, y, {
        "moe": f"{moe} serves more", "dense": f"{dense} serves more", "MoE does not fit": f"{moe} does not fit",
        "dense does not fit": f"{dense} does not fit", "neither fits": "neither fits",
    })  # fmt: skip
    if names:
        spot = {"x": alt.X("x:Q"), "y": alt.Y("y:Q"), "text": alt.Text("text:N")}
        layers += scales.halo(alt.Chart(scales.values(names)), spot, fontWeight=600, color=theme.INK)
    layers += _asked(c, x, y, cells)
    chart = alt.layer(*layers).resolve_scale(color="independent").properties(width=560, height=360)
    first, second = data.labels(c)
    equal = "batch" in (x, y) or c.scenario.batch is not None
    rule = (
        "both sides at the same batch, each in its fastest layout that admits it"
        if equal
        else "each side at its largest admissible batch and best layout"
    )
    wins = _shares(both, data.subjects(c))
    hatched = " Hatched: does not fit." if rest else ""
    return Figure(
        name="map",
        title=f"Who wins where: {first} or {second}",
        note=wins + (" Black line: R = 1." if line else " R = 1 is not crossed here.") + hatched,
        caption=f"R: {rule}. The line is interpolated between cells. "
        + data.assumptions(
            c, context="context" not in (x, y), batch="batch" not in (x, y), layout=False, q="q" not in (x, y)
        ),
        alt=f"Map of the throughput ratio over {x} and {y}. {wins}",
        panels=(chart,),
    )


def _asked(c: Comparison, x: str, y: str, cells: data.Rows) -> list[alt.Chart]:
    """The scenario on the map: a diamond where both axes are known, a rule where only one is."""

    def value(name: str, low: str, high: str) -> float | None:
        found = c.q if name == "q" else getattr(c.scenario, name)
        if found is None or not min(r[low] for r in cells) <= float(found) <= max(r[high] for r in cells):
            return None
        return float(found)

    a, b = value(x, "x0", "x1"), value(y, "y0", "y1")
    if a is not None and b is not None:
        spot = {"x": a, "y": b, "text": f"{x} {a:g}, {y} {b:g}"}
        return [scales.here([spot], x=alt.X("x:Q"), y=alt.Y("y:Q"), tooltip=[alt.Tooltip("text:N", title="asked")])]
    if a is not None:
        return scales.asked("x", a, "asked")
    return scales.asked("y", b, "asked", "y") if b is not None else []


def _shares(both: data.Rows, names: tuple[str, str]) -> str:
    if not both:
        return "Nowhere on this map do both sides fit."
    dense = sum(r["R"] > 1.02 for r in both)
    moe = sum(r["R"] < 1 / 1.02 for r in both)
    return (
        f"Where both fit, {names[1]} wins in {dense / len(both):.0%} of the cells and {names[0]} in "
        f"{moe / len(both):.0%}."
    )


def _scale(name: str) -> alt.Scale:
    if name in contour.LINEAR:
        return alt.Scale(nice=False, zero=False)
    return alt.Scale(type="log", base=10 if name == "q" else 2, nice=False)


def _axis(name: str) -> alt.Axis:
    if name in ("context", "batch"):
        return scales.binary_axis(grid=False)
    if name == "overhead":  # bytes, shown as the title says
        return alt.Axis(tickCount=7, grid=False, labelExpr="format(datum.value / 1e9, ',~r')")
    return alt.Axis(tickCount=7, grid=False, format=",~r")
