"""Axes and scales that several chart families share."""

from __future__ import annotations

from typing import Any

import altair as alt

from . import theme

BINARY = (
    "datum.value >= 1048576 ? format(datum.value/1048576, '~r') + 'M' : "
    "datum.value >= 1024 ? format(datum.value/1024, '~r') + 'k' : format(datum.value, '~r')"
)
"""Token counts as people write them: 131072 -> 128k."""


def tokens(field: str, title: str, **kw: Any) -> alt.X:
    """A log-2 x axis in tokens or sequences."""
    scale = kw.pop("scale", {})
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="log", base=2, nice=False, **scale),
        axis=alt.Axis(labelExpr=BINARY, tickCount=9, grid=True),
        **kw,
    )


def log_y(field: str, title: str, **kw: Any) -> alt.Y:
    """A log-10 y axis."""
    axis = log_axis("~s" if kw.pop("si", False) else "~r")
    scale = {"nice": False, "padding": 12} | kw.pop("scale", {})
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log", **scale), axis=axis, **kw)


def log_axis(form: str = "~r", count: int = 5) -> alt.Axis:
    """An axis of a log scale with grid lines only where there is a label."""
    return alt.Axis(
        tickCount=count,
        format=form,
        gridOpacity=alt.condition("datum.label === ''", alt.value(0), alt.value(1)),
        tickOpacity=alt.condition("datum.label === ''", alt.value(0.4), alt.value(1)),
    )


def side_colour(labels: tuple[str, str], field: str = "side", **kw: Any) -> alt.Color:
    """MoE vermilion, dense blue; the legend names the models."""
    return alt.Color(
        f"{field}:N",
        scale=alt.Scale(domain=list(labels), range=list(theme.SIDE_COLOURS)),
        legend=kw.pop("legend", alt.Legend(title=None)),
        **kw,
    )


def part_colour(parts: list[str]) -> alt.Color:
    """Fixed colour per part of memory or time, in stacking order."""
    domain = [p for p in theme.PARTS if p in parts]
    return alt.Color(
        "part:N",
        scale=alt.Scale(domain=domain, range=[theme.PARTS[p] for p in domain]),
        sort=domain,
        legend=alt.Legend(title=None, columns=3),
    )


def part_order(parts: list[str]) -> dict[str, int]:
    """Stacking position of each part."""
    return {p: i for i, p in enumerate(p for p in theme.PARTS if p in parts)}


def values(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows as inline data."""
    return alt.Data(values=rows)
