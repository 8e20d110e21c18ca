"""Groups of a sweep side by side: best values, spreads, histograms and fronts."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..errors import RoutelineError
from . import scales, theme
from .sweep_axes import Rows, axis, group, label, split, title

SIZE = {"width": 560, "height": 300}


def lines(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    """One value a group: a line over an axis of numbers, or bars over names."""
    value = given["output"]
    along, rest, text = split(rows, by)
    drawn = [{"x": r[along] if along else "all", "y": r[value], "group": group(r, rest)}
             for r in rows if r[value] is not None]  # fmt: skip
    _some(drawn)
    offset: dict[str, Any] = {"xOffset": alt.XOffset("group:N")} if text and rest else {}
    base = alt.Chart(scales.values(drawn))
    panel = (base.mark_bar() if text else base.mark_line(point=True)).encode(
        x=axis("x", along, text),
        y=alt.Y("y:Q", title=title(value), scale=alt.Scale(zero=text)),
        color=_colour(rest),
        tooltip=[
            alt.Tooltip("x", type="nominal", title=along),
            alt.Tooltip("y:Q", title=value, format=".4g"),
            alt.Tooltip("group:N"),
        ],
        **offset,
    )
    best = {"best": f"The {'smallest' if given.get('goal') == 'min' else 'largest'} {value.replace('_', ' ')} of every "
            "group."}  # fmt: skip
    return panel.properties(**SIZE), best.get(given["kind"], f"{value.replace('_', ' ')} over {along}.")


def spread(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    """Mean and range, or median and outer quantiles, of every group."""
    value = given["output"]
    low, middle, high, said = _columns(rows[0])
    along, rest, text = split(rows, by)
    drawn = [
        {"x": r[along] if along else "all", "low": r[low], "y": r[middle], "high": r[high], "group": group(r, rest)}
        for r in rows
        if r[middle] is not None
    ]
    _some(drawn)
    offset: dict[str, Any] = {"xOffset": alt.XOffset("group:N")} if text and rest else {}
    base = alt.Chart(scales.values(drawn))
    x = axis("x", along, text)
    y = alt.Y("low:Q", title=title(value), scale=alt.Scale(zero=False))
    colour = _colour(rest)
    reach = base.mark_rule(strokeWidth=3, opacity=0.45) if text else base.mark_area(opacity=0.2)
    tips = [
        alt.Tooltip("x", type="nominal", title=along),
        alt.Tooltip("low:Q", title=low, format=".4g"),
        alt.Tooltip("y:Q", title=middle, format=".4g"),
        alt.Tooltip("high:Q", title=high, format=".4g"),
        alt.Tooltip("group:N"),
    ]
    mark = base.mark_point(size=60) if text else base.mark_line(point=True)
    panel = alt.layer(
        reach.encode(x=x, y=y, y2=alt.Y2("high:Q"), color=colour, **offset),
        mark.encode(x=x, y=alt.Y("y:Q"), color=colour, tooltip=tips, **offset),
    )
    return panel.properties(**SIZE), f"{value.replace('_', ' ')}: {said}"


def _columns(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """(low, middle, high, what they are) of a row of statistics or quantiles."""
    if "mean" in row:
        return "min", "mean", "max", "the mean, and from the least to the greatest."
    known = sorted((c for c in row if c[:1] == "q" and c[1:].replace(".", "").isdigit()), key=lambda c: float(c[1:]))
    low, middle, high = known[0], known[len(known) // 2], known[-1]
    named = [f"{float(c[1:]):.0%}" for c in (low, middle, high)]
    return low, middle, high, f"the {named[1]} quantile, and from {named[0]} to {named[2]}."


def histogram(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    """Points per bin of one output."""
    drawn = [{k: r[k] for k in ("low", "high", "count")} | {"group": group(r, by)} for r in rows if r["count"]]
    _some(drawn)
    scale = alt.Scale(type="log", nice=False) if given.get("scale") == "log" else alt.Scale(zero=False, nice=False)
    logarithmic = (
        scales.ratio_axis(float(r["low"]) for r in drawn) if given["output"][:5] == "ratio" else scales.log_axis()
    )
    ticks = logarithmic if given.get("scale") == "log" else alt.Axis(tickCount=8)
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_rect(opacity=0.55)
        .encode(
            x=alt.X("low:Q", title=title(given["output"]), scale=scale, axis=ticks),
            x2=alt.X2("high:Q"),
            y=alt.Y("count:Q", title="points"),
            y2=alt.Y2Datum(0),
            color=_colour(by),
            tooltip=[alt.Tooltip("low:Q"), alt.Tooltip("high:Q"), alt.Tooltip("count:Q"), alt.Tooltip("group:N")],
        )
    )
    missing = sum(v for r in {tuple(r[c] for c in by): r for r in rows}.values() for v in [r.get("missing") or 0])
    without = f" {missing:,.0f} points have no answer." if missing else ""
    return panel.properties(**SIZE), f"Points per bin.{without}"


def front(rows: Rows, by: list[str], given: dict[str, Any]) -> tuple[Any, str]:
    """The points that none beats in both of the first two outputs of a Pareto front."""
    first, second = list(given["outputs"])[:2]
    grouped = [c for c in given.get("by", []) if c in by]
    drawn = [
        {
            "x": r[first],
            "y": r[second],
            "group": group(r, grouped),
            "point": ", ".join(f"{c} {label(c, r[c])}" for c in by),
        }
        for r in rows
        if r[first] is not None and r[second] is not None
    ]
    _some(drawn)
    panel = (
        alt.Chart(scales.values(drawn))
        .mark_point(size=60, filled=True)
        .encode(
            x=alt.X(
                "x:Q",
                title=title(first),
                scale=alt.Scale(zero=False, nice=False, padding=8),
                axis=alt.Axis(tickCount=7),
            ),
            y=alt.Y("y:Q", title=title(second), scale=alt.Scale(zero=False, nice=False, padding=8)),
            color=_colour(grouped),
            tooltip=[
                alt.Tooltip("point:N"),
                alt.Tooltip("x:Q", title=first, format=".4g"),
                alt.Tooltip("y:Q", title=second, format=".4g"),
            ],
        )
    )
    goals = ", ".join(f"{n.replace('_', ' ')} {g}" for n, g in dict(given["outputs"]).items())
    return panel.properties(**SIZE), f"Points that no other of their group beats in everything ({goals})."


def _colour(columns: list[str]) -> alt.Color:
    """A colour per group; without grouping columns one colour and no legend."""
    legend = alt.Legend(title=" · ".join(columns), columns=3, symbolOpacity=1) if columns else None
    return alt.Color("group:N", legend=legend, scale=alt.Scale(range=list(theme.SERIES)))


def _some(drawn: Rows) -> None:
    if not drawn:
        raise RoutelineError("no group of this result has a number to draw: no point has an answer")
    if len({d["group"] for d in drawn}) > 3 * len(theme.SERIES):
        raise RoutelineError("too many groups to tell apart in a picture; group by fewer axes")
