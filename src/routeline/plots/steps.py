"""Where the time of a decode step goes, for both sides."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import data, scales, theme
from .figure import Figure


def step(c: Comparison) -> Figure:
    """Two stacked bars a panel: milliseconds per step, and microseconds per output token of the whole cluster."""
    rows = data.step_parts(c)
    names = list(dict.fromkeys(r["side"] for r in rows))
    order = scales.part_order([r["part"] for r in rows])
    drawn = [r | {"order": order[r["part"]]} for r in rows]
    panels = []
    for field, title in (
        ("ms", "milliseconds per step"),
        ("us_per_token", "microseconds per output token, all devices together"),
    ):
        panels.append(
            alt.Chart(scales.values(drawn))
            .mark_bar(stroke=theme.GROUND, strokeWidth=0.8, height={"band": 0.72})
            .encode(
                y=alt.Y("side:N", sort=names, title=None, axis=alt.Axis(labelFontSize=12, domain=False, ticks=False)),
                x=alt.X(f"{field}:Q", title=title, stack="zero", axis=alt.Axis(tickCount=8)),
                color=scales.part_colour([r["part"] for r in rows]),
                order=alt.Order("order:Q"),
                tooltip=[
                    alt.Tooltip("side:N"),
                    alt.Tooltip("part:N"),
                    alt.Tooltip("ms:Q", format=".4g"),
                    alt.Tooltip("us_per_token:Q", title="µs per token", format=".4g"),
                ],
            )
            .properties(width=600, height=120)
        )
    most = []
    for name in names:
        mine = sorted((r for r in rows if r["side"] == name), key=lambda r: -r["ms"])
        most.append(f"{name}: {mine[0]['part']} takes {mine[0]['ms'] / sum(r['ms'] for r in mine):.0%}")
    return Figure(
        name="step",
        title="Where the time of a step goes",
        note="; ".join(most) + ".",
        caption="Each side at its own batch and layout, slowest rank; the parts sum to the step. "
        f"{data.assumptions(c)}",
        alt="Step time by part for both models, per step and per output token.",
        panels=tuple(panels),
    )
