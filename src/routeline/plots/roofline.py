"""The roofline with the MoE's experts, the matched dense FFN and attention placed on it over batch."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..compare import Comparison
from . import data, scales, theme
from .figure import Figure

COLOURS = {"routed": theme.MOE, "dense_ffn": theme.DENSE, "cache": theme.GREEN}


def roofline(c: Comparison) -> Figure:
    """Two panels: attained TFLOP/s over arithmetic intensity under the roof, and over tokens per step.

    Both ridge points are marked: where the dense FFN turns compute-bound and the reuse penalty starts to
    fade, and where the experts do.
    """
    rows = data.roofline_points(c)
    xs = [r["intensity"] for r in rows]
    roof = data.roofs(c, min(xs) / 2, max(*xs, 1000.0) * 2)
    names = list(dict.fromkeys(r["part"] for r in rows))
    kinds = [next(r["kind"] for r in rows if r["part"] == n) for n in names]
    colour = alt.Color(
        "part:N",
        scale=alt.Scale(domain=names, range=[COLOURS[k] for k in kinds]),
        sort=names,
        legend=alt.Legend(title=None, columns=1),
    )
    shape = alt.Shape(
        "part:N",
        scale=alt.Scale(domain=names, range=["circle", "square", "triangle-up"][: len(names)]),
        sort=names,
        legend=None,
    )
    fill = alt.FillOpacity(
        "admitted:N", scale=alt.Scale(domain=["fits", "past the largest batch"], range=[0.95, 0.0]), legend=None
    )
    tips = [
        alt.Tooltip("part:N"),
        alt.Tooltip("tokens:Q", title="tokens per step", format=",.0f"),
        alt.Tooltip("intensity:Q", title="FLOP per byte", format=".3g"),
        alt.Tooltip("tflops:Q", title="TFLOP/s per device", format=".3g"),
        alt.Tooltip("admitted:N", title="batch"),
    ]
    y = scales.log_y("tflops", "attained TFLOP/s per device", scale={"padding": 24})
    line = (
        alt.Chart(scales.values(roof))
        .mark_line(color=theme.INK, strokeWidth=1.6)
        .encode(
            x=alt.X("intensity:Q"),
            y=alt.Y("tflops:Q"),
            strokeDash=alt.StrokeDash("roof:N", legend=None),
            detail=alt.Detail("roof:N"),
        )
    )
    ends = [
        max((r for r in roof if r["roof"] == n), key=lambda r: r["intensity"])
        for n in dict.fromkeys(r["roof"] for r in roof)
    ]
    roof_text = (
        alt.Chart(scales.values(ends))
        .mark_text(align="right", dy=-13, color=theme.MUTED)
        .encode(x=alt.X("intensity:Q"), y=alt.Y("tflops:Q"), text=alt.Text("roof:N"))
    )
    base = alt.Chart(scales.values(rows))
    path = base.mark_line(strokeWidth=1.2, opacity=0.7).encode(
        x=alt.X(
            "intensity:Q",
            title="arithmetic intensity [FLOP per byte]",
            scale=alt.Scale(type="log"),
            axis=scales.log_axis("~s"),
        ),
        y=y,
        color=colour,
        order=alt.Order("tokens:Q"),
    )
    marks = base.mark_point(size=42, strokeWidth=1.5, filled=False).encode(
        x=alt.X("intensity:Q"),
        y=alt.Y("tflops:Q"),
        color=colour,
        shape=shape,
        fill=alt.Fill("part:N", scale=colour["scale"], sort=colour["sort"], legend=None),
        fillOpacity=fill,
        tooltip=tips,
    )
    under = alt.layer(line, roof_text, path, marks).properties(width=theme.WIDTH, height=theme.HEIGHT)
    over = _over_tokens(c, rows, colour, shape, fill, tips)
    dense, moe = data.ridge_tokens(c, c.dense, "dense_ffn"), data.ridge_tokens(c, c.moe, "routed")
    note = "Each mark is a batch, doubling from 1; hollow marks need more memory than there is."
    if dense and moe:
        note += (
            f" The dense FFN turns compute-bound from {dense[0]:,.0f} tokens a step, the experts from {moe[0]:,.0f}:"
            " between the two the reuse penalty fades."
        )
    first, second = data.labels(c)
    return Figure(
        name="roofline",
        title=f"Roofline: {first} against {second}",
        note=note,
        caption="FLOP and bytes of one decode step in this layout; roofs are the device's dense datasheet peaks. "
        f"{data.assumptions(c)}",
        alt=f"Roofline of {c.cluster.device.name} with experts, dense FFN and attention placed by arithmetic "
        "intensity.",
        panels=(under, over),
        columns=2,
    )


def _over_tokens(
    c: Comparison, rows: data.Rows, colour: alt.Color, shape: alt.Shape, fill: alt.FillOpacity, tips: list
) -> Any:
    base = alt.Chart(scales.values(rows))
    x = scales.tokens("tokens", "tokens per step T")
    path = base.mark_line(strokeWidth=1.2, opacity=0.7).encode(
        x=x, y=scales.log_y("tflops", "attained TFLOP/s per device", scale={"padding": 24}), color=colour
    )
    marks = base.mark_point(size=42, strokeWidth=1.5, filled=False).encode(
        x=alt.X("tokens:Q"),
        y=alt.Y("tflops:Q"),
        color=colour,
        shape=shape,
        fill=alt.Fill("part:N", scale=colour["scale"], sort=colour["sort"], legend=None),
        fillOpacity=fill,
        tooltip=tips,
    )
    lines = []
    for one, part, tint, text in (
        (c.dense, "dense_ffn", theme.DENSE, "dense FFN"),
        (c.moe, "routed", theme.MOE, "experts"),
    ):
        found = data.ridge_tokens(c, one, part)
        if found and found[0] < 2**15:
            at = alt.Chart(scales.values([{"t": found[0], "text": f"ridge of {text}, T = {found[0]:,.0f}"}]))
            lines.append(at.mark_rule(color=tint, strokeDash=[5, 3], strokeWidth=1.6).encode(x=alt.X("t:Q")))
            lines.append(
                at.mark_text(color=tint, align="left", angle=270, dy=-9).encode(
                    x=alt.X("t:Q"), y=alt.value(theme.HEIGHT - 6), text=alt.Text("text:N")
                )
            )
    chart = alt.layer(path, marks, *lines)
    return chart.properties(width=theme.WIDTH, height=theme.HEIGHT)
