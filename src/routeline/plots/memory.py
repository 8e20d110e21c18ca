"""What fills a device: weights by part, cache and what is left, for both sides."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison, Side
from ..units import show
from . import bars, data, parts, scales, theme
from .figure import Figure


def memory(c: Comparison) -> Figure:
    """Stacked bars of GB per device, MoE and dense, against the memory there is."""
    capacity = float(c.ground.capacity) / 1e9
    tips = [
        alt.Tooltip("side:N"),
        alt.Tooltip("part:N"),
        alt.Tooltip("gb:Q", title="GB", format=".4g"),
        alt.Tooltip("batch:Q", title="sequences", format=",.0f"),
        alt.Tooltip("layout:N"),
    ]
    limit = scales.asked("gb", capacity, f"usable {theme.digits(capacity)} GB")
    panel = bars.stack(
        parts.memory_stack(c),
        "gb",
        "GB per device (1 GB = 1e9 bytes)",
        {label: _head(label, one) for _, label, one in data.sides(c)},
        tips,
        over=limit,
        width=600,
    )
    unfit = [label for _, label, one in data.sides(c) if not one.fits]
    return Figure(
        name="memory",
        title="What fills a device",
        note="Weights first: what they leave is what sequences can use."
        + (" A side that does not fit is shown by the leanest weights a device would have to hold." if unfit else ""),
        caption=f"Fullest device in each side's layout; dashed line: usable for weights and cache ({capacity:,.4g} "
        f"GB). {data.assumptions(c)}",
        alt=f"Memory per device for both models; {'both fit' if not unfit else ', '.join(unfit) + ' does not fit'}.",
        panels=(panel,),
    )


def _head(label: str, one: Side) -> str:
    if one.fits and one.point is not None:
        many = f"{one.point.batch:,.0f} {'sequence' if one.point.batch == 1 else 'sequences'}"
        return f"{label}: {many} of {show(one.cache_bytes, 'B', 3)}"
    return f"{label}: does not fit, needs {one.devices_needed or 'more than 65,536'} devices"
