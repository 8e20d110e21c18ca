"""Where the time of a decode step goes, for both sides."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import bars, data, parts
from .figure import Figure


def step(c: Comparison) -> Figure:
    """Two stacked bars a panel: milliseconds per step, and microseconds per output token of the whole cluster."""
    rows, totals = parts.step_parts(c), parts.step_totals(c)
    tips = [
        alt.Tooltip("side:N"),
        alt.Tooltip("part:N"),
        alt.Tooltip("ms:Q", format=".4g"),
        alt.Tooltip("us_per_token:Q", title="µs per token", format=".4g"),
    ]
    panels = tuple(
        bars.stack(
            parts.stacked(rows, field),
            field,
            title,
            {t["side"]: t[field] for t in totals},
            tips,
            width=560,
            legend=field == "ms",
        )
        for field, title in (("ms", "milliseconds per step"), ("us_per_token", "microseconds per output token"))
    )
    most = "; ".join(f"{t['side']}: {t['most']} {t['share']}" for t in totals)
    return Figure(
        name="step",
        title="Where the time of a step goes",
        note=f"The largest part: {most}.",
        caption="Each side at its own batch and layout, slowest rank; the parts sum to the step. Below: the time of "
        f"one output token with all devices together. {data.assumptions(c)}",
        alt="Step time by part for both models, per step and per output token.",
        panels=panels,
    )
