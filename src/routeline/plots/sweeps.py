"""Charts of a finished sweep: a verdict map, a histogram, a front, groups side by side, or a slice of the grid."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from ..errors import RoutelineError, UnknownName
from . import scales, theme
from .figure import Figure

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
    draw = _verdicts if "verdict" in table else _histogram if {"low", "high", "count"} <= set(table) else _groups
    panel, note = draw(result, rows, list(table))
    if not result.reduced:
        held = [f"{a.name} = {a.values[len(a.values) // 2]}" for a in result.space.axes if a.name not in table]
        note = f"{chosen}" + (f" at {', '.join(held)}." if held else ".")
    fixed = "; ".join(f"{k} {v}" for k, v in dict(result.space.fixed).items())
    axes = "; ".join(f"{a.name} ({len(a.values)})" for a in result.space.axes)
    return Figure(
        name="sweep",
        title=f"Sweep: {theme.short(chosen, 40)}",
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


def _by(result: Any, columns: list[str]) -> list[str]:
    known = {a.name for a in result.space.axes}
    return [c for c in columns if c in known]


def _split(result: Any, rows: list[dict[str, Any]], columns: list[str]) -> tuple[str, list[str]]:
    """The axis of numbers to draw along (the last), and the other grouping columns."""
    by = _by(result, columns)
    along = next((c for c in reversed(by) if not isinstance(rows[0][c], str)), by[-1] if by else columns[0])
    return along, [c for c in by if c != along]


def _x(name: str, rows: list[dict[str, Any]]) -> alt.X:
    if isinstance(rows[0][name], str):
        return alt.X(f"{name}:N", title=name, axis=alt.Axis(labelAngle=-30))
    if name in ("context", "batch", "input", "output"):
        return scales.tokens(name, name)
    return alt.X(f"{name}:Q", title=name, scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(tickCount=7))


def _verdicts(result: Any, rows: list[dict[str, Any]], columns: list[str]) -> tuple[Any, str]:
    along, rest = _split(result, rows, columns)
    drawn = [
        {
            "at": f"{r[along]:,.6g}" if not isinstance(r[along], str) else r[along],
            "group": " · ".join(str(r[c]) for c in rest) or "all",
            "verdict": VERDICTS[str(r["verdict"])][0],
        }
        for r in rows
    ]
    order = list(dict.fromkeys(d["at"] for d in drawn))
    present = [v for v in VERDICTS.values() if any(d["verdict"] == v[0] for d in drawn)]
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect(stroke=theme.GROUND)
        .encode(
            x=alt.X("at:N", sort=order, title=along, axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("group:N", sort=list(dict.fromkeys(d["group"] for d in drawn)), title=" · ".join(rest) or None),
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


def _histogram(result: Any, rows: list[dict[str, Any]], columns: list[str]) -> tuple[Any, str]:
    by = _by(result, columns)
    drawn = [
        {**{k: r[k] for k in ("low", "high", "count")}, "group": " · ".join(str(r[c]) for c in by) or "all"}
        for r in rows
    ]
    many = len({d["group"] for d in drawn}) > 1
    legend = alt.Legend(title=" · ".join(by)) if many else None
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect(opacity=0.6)
        .encode(
            x=alt.X("low:Q", title="value", scale=alt.Scale(zero=False)),
            x2=alt.X2("high:Q"),
            y=alt.Y("count:Q", title="points"),
            y2=alt.Y2Datum(0),
            color=alt.Color("group:N", legend=legend),
            tooltip=[alt.Tooltip("low:Q"), alt.Tooltip("high:Q"), alt.Tooltip("count:Q"), alt.Tooltip("group:N")],
        )
        .properties(width=560, height=300)
    )
    return panel, "Points per bin."


def _groups(result: Any, rows: list[dict[str, Any]], columns: list[str]) -> tuple[Any, str]:
    by = _by(result, columns)
    values = [c for c in columns if c not in by and not isinstance(rows[0][c], (str, type(None)))]
    value = next((c for c in ("ratio", "mean", "p50", *values) if c in values), None)
    if value is None:
        raise RoutelineError("this result has no number to draw")
    if len(by) == 2 and not any(isinstance(rows[0][c], str) for c in by) and value in ("ratio", *result.arrays):
        return _heat(rows, by, value)
    along, rest = _split(result, rows, columns)
    drawn = [
        {"x": r[along], "y": r[value], "group": " · ".join(str(r[c]) for c in rest) or value}
        for r in rows
        if r[value] is not None
    ]
    x = _x("x", drawn) if drawn else alt.X("x:N")
    x["title"] = along
    text = isinstance(drawn[0]["x"], str) if drawn else True
    base = alt.Chart(scales.values(drawn))
    mark = base.mark_bar() if text else base.mark_line(point=True)
    encoding: dict[str, Any] = {"xOffset": alt.XOffset("group:N")} if text and rest else {}
    panel = mark.encode(
        x=x,
        y=alt.Y("y:Q", title=value, scale=alt.Scale(zero=text)),
        color=alt.Color("group:N", legend=alt.Legend(title=" · ".join(rest) or None, columns=3)),
        tooltip=[
            alt.Tooltip("x", type="nominal", title=along),
            alt.Tooltip("y:Q", title=value, format=".4g"),
            alt.Tooltip("group:N"),
        ],
        **encoding,
    ).properties(width=560, height=300)
    return panel, f"{value} per group."


def _heat(rows: list[dict[str, Any]], by: list[str], value: str) -> tuple[Any, str]:
    drawn = [
        {"x": f"{r[by[0]]:,.6g}", "y": f"{r[by[1]]:,.6g}", "v": r[value]}
        for r in rows
        if r[value] is not None and r[value] > 0
    ]
    orders = [list(dict.fromkeys(f"{r[b]:,.6g}" for r in sorted(rows, key=lambda r, b=b: r[b]))) for b in by]
    scale = (
        alt.Scale(type="log", domain=[1 / 8, 1 / 4, 1 / 1.5, 1, 1.5, 4, 8], range=list(theme.DIVERGING), clamp=True)
        if value == "ratio"
        else alt.Scale(scheme="viridis")
    )
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect()
        .encode(
            x=alt.X("x:N", sort=orders[0], title=by[0], axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("y:N", sort=orders[1][::-1], title=by[1]),
            color=alt.Color("v:Q", scale=scale, legend=alt.Legend(title=value, gradientLength=260, format=".3~g")),
            tooltip=[
                alt.Tooltip("x:N", title=by[0]),
                alt.Tooltip("y:N", title=by[1]),
                alt.Tooltip("v:Q", format=".4g"),
            ],
        )
        .properties(width=520, height=320)
    )
    return panel, f"{value} over the grid."
