"""What fills a device: weights by part, cache and what is left, for both sides."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import data, scales, theme
from .figure import Figure


def memory(c: Comparison) -> Figure:
    """Stacked bars of GB per device, MoE and dense, against the memory there is."""
    rows = data.memory_stack(c)
    names = list(data.labels(c))
    order = data_order([r["part"] for r in rows])
    drawn = [r | {"order": order[r["part"]]} for r in rows]
    capacity = float(c.ground.capacity) / 1e9
    bar = (
        alt.Chart(scales.values(drawn))
        .mark_bar(stroke=theme.GROUND, strokeWidth=0.8, height={"band": 0.72})
        .encode(
            y=alt.Y("side:N", sort=names, title=None, axis=alt.Axis(labelFontSize=12, domain=False, ticks=False)),
            x=alt.X("gb:Q", title="GB per device (1 GB = 1e9 bytes)", stack="zero", axis=alt.Axis(tickCount=8)),
            color=scales.part_colour([r["part"] for r in rows]),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("side:N"),
                alt.Tooltip("part:N"),
                alt.Tooltip("gb:Q", title="GB", format=".4g"),
                alt.Tooltip("batch:Q", title="sequences", format=",.0f"),
                alt.Tooltip("layout:N"),
            ],
        )
    )
    rule = (
        alt.Chart(scales.values([{"gb": capacity}]))
        .mark_rule(color=theme.INK, strokeDash=[5, 3])
        .encode(x=alt.X("gb:Q"))
    )
    chart = alt.layer(bar, rule).properties(width=640, height=150)
    unfit = [one.name for _, _, one in data.sides(c) if not one.fits]
    facts = "; ".join(
        f"{label}: {one.point.batch:,.0f} sequences of {one.cache_bytes / 1e9:.3g} GB"
        if one.fits and one.point is not None
        else f"{label}: does not fit, needs {one.devices_needed or 'more than 65,536'} devices"
        for _, label, one in data.sides(c)
    )
    return Figure(
        name="memory",
        title="What fills a device",
        note=facts + ".",
        caption=f"Fullest device in each side's layout; dashed line: usable for weights and cache ({capacity:,.4g} "
        f"GB). {data.assumptions(c)}",
        alt=f"Memory per device for both models; {'both fit' if not unfit else ', '.join(unfit) + ' does not fit'}.",
        panels=(chart,),
    )


def data_order(parts: list[str]) -> dict[str, int]:
    """Stacking position of the parts present."""
    return scales.part_order(parts)
