"""Stacked bars of both sides, one under the other: names and totals above, numbers on the segments."""

from __future__ import annotations

from typing import Any

import altair as alt

from . import data, scales, theme

BAND, BAR, DROP = 62, 30, 9
"""Height of one side's band, of its bar, and how far the bar lies below the middle, leaving room for a name [px]."""


def stack(
    rows: data.Rows, field: str, title: str, heads: dict[str, str], tips: list[alt.Tooltip], **options: Any
) -> Any:
    """One stacked bar a side. rows: parts.stacked; heads: side -> the line above its bar; over: layers on top;
    legend=False leaves the legend out."""
    names = list(heads)
    y = alt.Y("side:N", sort=names, title=None, axis=None)
    base = alt.Chart(scales.values(rows))
    x = alt.X(f"{field}:Q", title=title, stack="zero", axis=alt.Axis(tickCount=8))
    order = alt.Order("order:Q")
    over = options.pop("over", [])
    colour = scales.part_colour([r["part"] for r in rows], columns=3, offset=scales.ABOVE if over else 6)
    if not options.pop("legend", True):
        colour["legend"] = None
    bar = base.mark_bar(stroke=theme.GROUND, strokeWidth=0.8, height=BAR, yOffset=DROP).encode(
        y=y, x=x, color=colour, order=order, tooltip=tips
    )
    number = base.mark_text(yOffset=DROP, fontSize=10).encode(
        y=y,
        x=alt.X(f"{field}:Q", stack="zero", bandPosition=0.5),
        order=order,
        text=alt.Text("number:N"),
        color=alt.Color("ink:N", scale=None),
        detail=alt.Detail("part:N"),
    )
    head = (
        alt.Chart(scales.values([{"side": n, "head": text} for n, text in heads.items()]))
        .mark_text(align="left", baseline="middle", yOffset=DROP - BAR / 2 - 10, fontWeight=600)
        .encode(y=y, x=alt.value(0), text=alt.Text("head:N"))
    )
    return (
        alt.layer(bar, number, head, *over)
        .resolve_scale(color="independent")
        .properties(height={"step": BAND}, **options)
    )
