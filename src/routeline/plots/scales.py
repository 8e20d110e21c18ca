"""Axes, scales and small layers that several chart families share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from . import theme

BINARY = (
    "datum.value >= 1048576 ? format(datum.value/1048576, '~r') + 'M' : "
    "datum.value >= 1024 ? format(datum.value/1024, '~r') + 'k' : format(datum.value, '~r')"
)
"""Token counts as people write them: 131072 -> 128k."""

COARSE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
FINE = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2, 2.5, 3)
"""Labels of a log axis of ratios, 1 always among them: over more than a factor 4, and over less."""


def tokens(field: str, title: str, **kw: Any) -> alt.X:
    """A log-2 x axis in tokens or sequences."""
    scale = kw.pop("scale", {})
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="log", base=2, nice=False, **scale),
        axis=binary_axis(),
        **kw,
    )


def binary_axis(grid: bool = True) -> alt.Axis:
    """An axis labelled at powers of two; those out of range or too close are left out when drawn."""
    return alt.Axis(labelExpr=BINARY, values=[2.0**i for i in range(31)], grid=grid, labelOverlap="parity")


def log_y(field: str, title: str, **kw: Any) -> alt.Y:
    """A log-10 y axis."""
    axis = log_axis("~s" if kw.pop("si", False) else ",~r")
    scale = {"nice": False, "padding": 12} | kw.pop("scale", {})
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log", **scale), axis=axis, **kw)


def log_axis(form: str = ",~r", count: int = 5) -> alt.Axis:
    """An axis of a log scale with grid lines only where there is a label."""
    return alt.Axis(
        tickCount=count,
        format=form,
        gridOpacity=alt.condition("datum.label === ''", alt.value(0), alt.value(1)),
        tickOpacity=alt.condition("datum.label === ''", alt.value(0.4), alt.value(1)),
    )


def ratio_axis(ratios: Iterable[float]) -> alt.Axis:
    """An axis of a log scale of ratios, labelled at round values on both sides of 1."""
    seen = list(ratios)
    wide = max(seen, default=1.0) > 4 * min(seen, default=1.0)
    return alt.Axis(values=list(COARSE if wide else FINE), format="~r", labelOverlap="greedy", labelSeparation=2)


def side_colour(labels: tuple[str, str], field: str = "side", **kw: Any) -> alt.Color:
    """MoE vermilion, dense blue; the legend names the models."""
    return alt.Color(
        f"{field}:N",
        scale=alt.Scale(domain=list(labels), range=list(theme.SIDE_COLOURS)),
        legend=kw.pop("legend", alt.Legend(title=None)),
        **kw,
    )


def line_legend(title: str | None = None, **kw: Any) -> alt.Legend:
    """A legend of lines, long enough to show their dashes."""
    return alt.Legend(title=title, symbolType="stroke", symbolSize=420, symbolStrokeWidth=2.2, **kw)


ABOVE = 19
"""Offset of a legend that leaves room for the label of a rule (`asked`) between itself and the plot [px]."""


def side_line(labels: tuple[str, str], **legend_options: Any) -> dict[str, Any]:
    """Colour and dash of the two sides, in one legend."""
    legend = line_legend(**legend_options)
    scale = alt.Scale(domain=list(labels), range=[[1, 0], [7, 3]])
    return {
        "color": side_colour(labels, legend=legend),
        "strokeDash": alt.StrokeDash("side:N", scale=scale, legend=legend),
    }


def named_line(
    field: str, names: list[str], tints: Iterable[str], dashes: Iterable[Any], legend: alt.Legend | None
) -> dict[str, Any]:
    """Colour and dash of several named lines, in one legend."""
    tint, dash = list(tints)[: len(names)], [list(d) for d in dashes][: len(names)]
    return {
        "color": alt.Color(f"{field}:N", sort=names, scale=alt.Scale(domain=names, range=tint), legend=legend),
        "strokeDash": alt.StrokeDash(
            f"{field}:N", sort=names, scale=alt.Scale(domain=names, range=dash), legend=legend
        ),
    }


def part_colour(parts: list[str], **legend: Any) -> alt.Color:
    """Fixed colour per part of memory or time, in stacking order."""
    domain = [p for p in theme.PARTS if p in parts]
    return alt.Color(
        "part:N",
        scale=alt.Scale(domain=domain, range=[theme.PARTS[p] for p in domain]),
        sort=domain,
        legend=alt.Legend(title=None, **legend),
    )


def values(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows as inline data."""
    return alt.Data(values=rows)


def halo(base: alt.Chart, encoding: dict[str, Any], **mark: Any) -> list[alt.Chart]:
    """Text that stays readable over lines and bars: once in white, wide, then in its own colour."""
    under = base.mark_text(**mark, stroke=theme.GROUND, strokeWidth=3, strokeJoin="round", fill=theme.GROUND)
    white = {k: v for k, v in encoding.items() if k != "color"}
    return [under.encode(**white), base.mark_text(**mark).encode(**encoding)]


def unity(ratios: Iterable[float], names: tuple[str, str] = ("MoE", "dense")) -> list[alt.Chart]:
    """The line R = 1, and on each side of it that the ratios reach who serves more there."""
    seen = list(ratios)
    layers: list[alt.Chart] = [
        alt.Chart(values([{"R": 1.0}])).mark_rule(color=theme.INK, strokeWidth=1.3).encode(y=alt.Y("R:Q"))
    ]
    below, above = min(seen, default=1.0) < 1, max(seen, default=1.0) > 1
    for name, reached, shift, tint in ((names[1], above, -8, theme.DENSE), (names[0], below, 9, theme.MOE)):
        if reached:
            base = alt.Chart(values([{"R": 1.0, "text": f"{name} serves more"}]))
            place = {"x": alt.value(6), "y": alt.Y("R:Q"), "text": alt.Text("text:N")}
            layers += halo(base, place, align="left", dy=shift, color=tint, fontWeight=600, fontSize=10)
    return layers


def here(rows: list[dict[str, Any]], **encoding: Any) -> alt.Chart:
    """The hollow diamond that marks the scenario itself."""
    base = alt.Chart(values(rows))
    return base.mark_point(
        shape="diamond", size=120, fill=theme.GROUND, stroke=theme.INK, strokeWidth=2, opacity=1
    ).encode(**encoding)


def asked(field: str, value: float, text: str, axis: str = "x") -> list[alt.Chart]:
    """A dashed rule at a value of the scenario, named at its end."""
    base = alt.Chart(values([{field: value, "text": text}]))
    rule = base.mark_rule(color=theme.MUTED, strokeDash=[4, 3])
    if axis == "x":
        label = base.mark_text(color=theme.MUTED, align="center", baseline="bottom", dy=-3, fontSize=10)
        return [rule.encode(x=alt.X(f"{field}:Q")),
                label.encode(x=alt.X(f"{field}:Q"), y=alt.value(0), text=alt.Text("text:N"))]  # fmt: skip
    label = base.mark_text(color=theme.MUTED, align="left", baseline="middle", dx=4, fontSize=10)
    return [rule.encode(y=alt.Y(f"{field}:Q")),
            label.encode(y=alt.Y(f"{field}:Q"), x=alt.value("width"), text=alt.Text("text:N"))]  # fmt: skip
