"""The roofline with the MoE's experts, the matched dense FFN and attention placed on it over batch."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..compare import Comparison
from . import data, roofs, scales, theme
from .figure import Figure

COLOURS = {"routed": theme.MOE, "dense_ffn": theme.DENSE, "cache": theme.GREEN}
SHAPES = {"routed": "circle", "dense_ffn": "square", "cache": "triangle-up"}
TITLE = "attained TFLOP/s per device"


def roofline(c: Comparison) -> Figure:
    """Two panels: attained TFLOP/s over arithmetic intensity under the roof, and over tokens per step.

    Both ridge points are marked: where the dense FFN turns compute-bound and the reuse penalty starts to
    fade, and where the experts do.
    """
    rows = roofs.roofline_points(c)
    names = list(dict.fromkeys(r["part"] for r in rows))
    kinds = [next(r["kind"] for r in rows if r["part"] == n) for n in names]
    tint = alt.Scale(domain=names, range=[COLOURS[k] for k in kinds])
    legend = alt.Legend(title=None, columns=1, offset=34)  # room for two labels of ridges
    marks = {
        "color": alt.Color("part:N", scale=tint, sort=names, legend=legend),
        "shape": alt.Shape("part:N", scale=alt.Scale(domain=names, range=[SHAPES[k] for k in kinds]), sort=names,
                           legend=legend),
        "fill": alt.Fill("part:N", scale=tint, sort=names, legend=legend),
        "fillOpacity": alt.FillOpacity("admitted:N", legend=None, scale=alt.Scale(
            domain=["fits", "past the largest batch"], range=[1.0, 0.0])),
        "tooltip": [
            alt.Tooltip("part:N"),
            alt.Tooltip("tokens:Q", title="tokens per step", format=",.0f"),
            alt.Tooltip("intensity:Q", title="FLOP per byte", format=".3g"),
            alt.Tooltip("tflops:Q", title="TFLOP/s per device", format=".3g"),
            alt.Tooltip("admitted:N", title="batch"),
        ],
    }  # fmt: skip
    dense, moe = roofs.ridge_tokens(c, c.dense, "dense_ffn"), roofs.ridge_tokens(c, c.moe, "routed")
    note = "Each mark is a batch, doubling from 1; hollow marks need more memory than there is."
    if dense and moe:
        note += (
            f" The dense FFN turns compute-bound from {dense[0]:,.0f} tokens a step, the experts from {moe[0]:,.0f}:"
            " between the two the reuse penalty fades."
        )
    free = c.ground.efficiency.name == "bandwidth"
    first, second = data.labels(c)
    return Figure(
        name="roofline",
        title=f"Roofline: {first} against {second}",
        note=note,
        caption="FLOP and bytes of one decode step in this layout; roofs are the device's dense datasheet peaks. "
        + ("Tier bandwidth leaves compute out, so marks end at the ridge. " if free else "")
        + data.assumptions(c),
        alt=f"Roofline of {c.cluster.device.name} with experts, dense FFN and attention placed by arithmetic "
        "intensity.",
        panels=(_under_roof(c, rows, marks), _over_tokens(rows, marks, (("dense FFN", dense), ("experts", moe)))),
        columns=2,
    )


def _under_roof(c: Comparison, rows: data.Rows, marks: dict[str, Any]) -> Any:
    xs = [r["intensity"] for r in rows]
    low, high = min(xs) / 2, max(*xs, 1000.0) * 2
    roof = roofs.roofs(c, low, high)
    x = alt.X(
        "intensity:Q",
        title="arithmetic intensity [FLOP per byte]",
        scale=alt.Scale(type="log", nice=False, domain=[low, high * 6]),
        axis=scales.log_axis(),
    )
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
    ends = [r for r in roof if r["intensity"] == high]
    text = (
        alt.Chart(scales.values(ends))
        .mark_text(align="left", baseline="middle", dx=4, color=theme.INK, fontSize=10)
        .encode(x=alt.X("intensity:Q"), y=alt.Y("tflops:Q"), text=alt.Text("format:N"))
    )
    base = alt.Chart(scales.values(rows))
    path = base.mark_line(strokeWidth=1.2).encode(x=x, y=_rate(), color=marks["color"], order=alt.Order("tokens:Q"))
    dots = base.mark_point(size=36, strokeWidth=1.5, filled=False).encode(x=x, y=alt.Y("tflops:Q"), **marks)
    return alt.layer(line, text, path, dots).properties(width=theme.HALF, height=theme.HEIGHT)


def _rate() -> alt.Y:
    return scales.log_y("tflops", TITLE, scale={"padding": 24})


def _over_tokens(rows: data.Rows, marks: dict[str, Any], ridges: tuple[tuple[str, Any], ...]) -> Any:
    base = alt.Chart(scales.values(rows))
    x = scales.tokens("tokens", "tokens per step T")
    path = base.mark_line(strokeWidth=1.2).encode(x=x, y=_rate(), color=marks["color"])
    dots = base.mark_point(size=36, strokeWidth=1.5, filled=False).encode(x=x, y=alt.Y("tflops:Q"), **marks)
    shown = [(name, found[0]) for name, found in ridges if found and found[0] < roofs.MOST]
    lines = []
    for i, (name, at) in enumerate(shown):
        ridge = alt.Chart(scales.values([{"t": at, "text": f"ridge of {name}: {at:,.0f}"}]))
        tint = theme.DENSE if name == "dense FFN" else theme.MOE
        last = i == len(shown) - 1 and len(shown) > 1
        lines.append(ridge.mark_rule(color=tint, strokeDash=[5, 3], strokeWidth=1.6).encode(x=alt.X("t:Q")))
        lines.append(
            ridge.mark_text(color=tint, align="right", baseline="bottom", dx=4, fontSize=10, fontWeight=600).encode(
                x=alt.X("t:Q"), y=alt.value(-4 if last else -17), text=alt.Text("text:N")
            )
        )
    return alt.layer(*lines, path, dots).properties(width=theme.HALF, height=theme.HEIGHT)
