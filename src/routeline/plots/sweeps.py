"""Charts of a finished sweep, by the kind of its reducer: a verdict map, a histogram, a front, spreads, or the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np

from ..errors import RoutelineError, UnknownName
from . import scales, sweep_groups, theme, verdict
from .figure import Figure
from .sweep_axes import Rows, group, label, split, title

VERDICTS = {
    "dense": ("dense wins", theme.DENSE),
    "tie": ("a tie", "#C9D3DC"),
    "moe": ("MoE wins", theme.MOE),
    "moe_infeasible": ("MoE does not fit", "#9CC4E0"),
    "dense_infeasible": ("dense does not fit", "#F0B896"),
    "neither_fits": ("neither fits", "#8D99A5"),
}
MOST = 5000
"""Most rows drawn; a picture with more marks than pixels shows nothing more."""


def names(result: Any) -> list[str]:
    """What can be drawn of a sweep's result: its reducers, or its stored outputs."""
    return list(result.reduced) if result.reduced else list(result.arrays)


def chart(result: Any, name: str | None = None) -> Figure:
    """The chart of one reducer or output of a sweep; default the first.

    Raises:
        RoutelineError: nothing kept in memory to draw, an unknown name, or too many groups for a picture.
    """
    known = names(result)
    if not known:
        raise RoutelineError("this sweep's blocks were streamed to disk; add a [reduce.NAME] and draw that")
    chosen = name or known[0]
    if chosen not in known:
        raise UnknownName("result of the sweep", chosen, known, f"known: {', '.join(known)}")
    table = result.reduced[chosen] if result.reduced else _slice(result, chosen)
    rows = [dict(zip(table, row, strict=True)) for row in zip(*(_plain(v) for v in table.values()), strict=True)]
    if not rows:
        raise RoutelineError(f"{chosen} of this sweep is empty: no point has an answer")
    if len(rows) > MOST:
        raise RoutelineError(f"{chosen} has {len(rows):,} groups, too many for a picture; group by fewer axes")
    given = dict(result.space.reducers[chosen]) if result.reduced else {"kind": "grid", "output": chosen}
    by = [c for c in table if c in {a.name for a in result.space.axes}]
    panel, note = KINDS[given["kind"]](rows, by, given)
    if not result.reduced:
        held = [f"{a.name} = {a.values[len(a.values) // 2]}" for a in result.space.axes if a.name not in table]
        note += f" At {', '.join(held)}." if held else ""
    fixed = "; ".join(f"{k} {v}" for k, v in dict(result.space.fixed).items())
    axes = "; ".join(f"{a.name} ({len(a.values)})" for a in result.space.axes)
    return Figure(
        name="sweep",
        title=f"Sweep: {theme.short(chosen.replace('_', ' '), 40)}",
        note=note,
        caption=f"{result.points:,.0f} points over {axes}. Fixed: {fixed or 'nothing'}. Everything else as `compare` "
        "has it.",
        alt=f"Chart of {chosen} of a sweep over {axes}.",
        panels=(panel,),
    )


def _plain(column: Any) -> list[Any]:
    return [None if isinstance(v, float) and not np.isfinite(v) else v for v in np.asarray(column).tolist()]


def _slice(result: Any, name: str) -> dict[str, Any]:
    """One output over the two longest number axes, the others at their middle value."""
    axes = result.space.axes
    numeric = [i for i, a in enumerate(axes) if not isinstance(a.values[0], str)]
    keep = sorted(sorted(numeric, key=lambda i: -len(axes[i].values))[:2])
    if not keep:
        raise RoutelineError("a picture of stored outputs needs an axis of numbers")
    at = tuple(slice(None) if i in keep else len(a.values) // 2 for i, a in enumerate(axes))
    field = np.asarray(result.arrays[name])[at]
    grids = np.meshgrid(*(np.asarray(axes[i].values, float) for i in keep), indexing="ij")
    return {axes[i].name: g.ravel() for i, g in zip(keep, grids, strict=True)} | {name: field.ravel()}


def _verdicts(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    along, rest, _ = split(rows, by)
    drawn = [
        {
            "at": label(along, r[along]) if along else "all",
            "group": group(r, rest),
            "verdict": VERDICTS[str(r["verdict"])][0],
        }
        for r in rows
        if str(r["verdict"]) in VERDICTS
    ]
    order = list(dict.fromkeys(d["at"] for d in drawn))
    present = [v for v in VERDICTS.values() if any(d["verdict"] == v[0] for d in drawn)]
    groups = list(dict.fromkeys(d["group"] for d in drawn))
    side = alt.Axis() if rest else None
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect(stroke=theme.GROUND)
        .encode(
            x=alt.X("at:N", sort=order, title=title(along), axis=alt.Axis(labelAngle=0)),
            y=alt.Y("group:N", sort=groups, title=" · ".join(rest) or None, axis=side),
            color=alt.Color(
                "verdict:N",
                scale=alt.Scale(domain=[v[0] for v in present], range=[v[1] for v in present]),
                legend=alt.Legend(title=None, symbolType="square", columns=3),
            ),
            tooltip=[alt.Tooltip("at:N", title=along), alt.Tooltip("group:N"), alt.Tooltip("verdict:N")],
        )
        .properties(width=560, height={"step": 26})
    )
    return panel, "The most frequent verdict in every group."


def _grid(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    value = given["output"]
    if len(by) == 2:
        return _heat(rows, by, value)
    return sweep_groups.lines(rows, by, {"output": value, "kind": "grid"})


def _heat(rows: Rows, by: list[str], value: str) -> tuple[Any, str]:
    drawn = [
        {"x": label(by[0], r[by[0]]), "y": label(by[1], r[by[1]]), "R": r[value]}
        for r in rows
        if r[value] is not None and (value != "ratio" or r[value] > 0)
    ]
    orders = [list(dict.fromkeys(label(b, r[b]) for r in sorted(rows, key=lambda r, b=b: r[b]))) for b in by]
    legend = alt.Legend(title=title(value), gradientLength=260, format=".3~g")
    colour = (
        verdict.colour(title(value))
        if value == "ratio"
        else alt.Color("R:Q", scale=alt.Scale(scheme="viridis"), legend=legend)
    )
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect()
        .encode(
            x=alt.X("x:N", sort=orders[0], title=title(by[0]), axis=alt.Axis(labelAngle=0)),
            y=alt.Y("y:N", sort=orders[1][::-1], title=title(by[1])),
            color=colour,
            tooltip=[
                alt.Tooltip("x:N", title=by[0]),
                alt.Tooltip("y:N", title=by[1]),
                alt.Tooltip("R:Q", title=value, format=".4g"),
            ],
        )
        .properties(width=520, height=320)
    )
    return panel, f"{title(value)}, at every point of the grid."


KINDS: dict[str, Callable[[Rows, list[str], dict[str, Any]], tuple[Any, str]]] = {
    "verdict": _verdicts, "histogram": sweep_groups.histogram, "pareto": sweep_groups.front,
    "best": sweep_groups.lines, "stats": sweep_groups.spread, "quantiles": sweep_groups.spread, "grid": _grid,
}  # fmt: skip
"""Kind of reducer -> its picture: (rows, grouping columns, the reducer's settings) -> (panel, note)."""
