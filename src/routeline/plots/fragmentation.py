"""Reuse fragmentation: how many fewer tokens an expert serves per fetch than a dense FFN does."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import data, reuse, scales, theme
from .figure import Figure

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
STYLE = {"uniform": 0, "zipf 1.2": 1, "balanced": 2}
"""Routing -> its tint and dash; the scenario's own takes the last."""


def fragmentation(c: Comparison) -> Figure:
    """phi = U/k, phi/q and tokens per fetched expert over tokens per step, for several routings."""
    rows = reuse.fragmentation(c)
    names = list(dict.fromkeys(r["routing"] for r in rows))
    style = [STYLE.get(n, 3) for n in names]
    kinds = scales.named_line(
        "routing", names, [theme.MOE_TINTS[i] for i in style], [DASHES[i] for i in style],
        scales.line_legend(columns=2, offset=scales.ABOVE),
    )  # fmt: skip
    x = scales.tokens("tokens", "tokens per step T")
    fields = (
        ("phi", "fragmentation φ = U/k", "linear"),
        ("phi_over_q", f"φ/q at q = {c.q:.3g}", "linear"),
        ("tokens_per_expert", "tokens per fetched expert", "log"),
    )
    panels = []
    for field, title, kind in fields:
        y = (
            scales.log_y(field, title)
            if kind == "log"
            else alt.Y(f"{field}:Q", title=title, axis=alt.Axis(tickCount=6))
        )
        tips = [
            alt.Tooltip("routing:N"),
            alt.Tooltip("tokens:Q", format=",.0f"),
            alt.Tooltip("touched:Q", title="experts touched U", format=".1f"),
            alt.Tooltip(f"{field}:Q", format=".3g"),
        ]
        line = alt.Chart(scales.values(rows)).mark_line().encode(x=x, y=y, tooltip=tips, **kinds)
        layers: list[alt.Chart] = [line]
        if field == "phi_over_q":
            one = alt.Chart(scales.values([{"y": 1.0, "text": "same time as the dense FFN"}]))
            layers.append(one.mark_rule(color=theme.INK).encode(y=alt.Y("y:Q")))
            place = {"x": alt.value("width"), "y": alt.Y("y:Q"), "text": alt.Text("text:N")}
            above = max(r[field] for r in rows) > 2.0  # else the line is near the top
            layers += scales.halo(one, place, align="right", dx=-4, dy=-8 if above else 9, color=theme.INK, fontSize=10)
        panels.append(alt.layer(*layers, *batch_rule(c)).properties(width=theme.THIRD, height=220))
    first, _ = data.labels(c)
    k, e = float(c.moe.counted.top_k), float(c.moe.counted.experts)
    return Figure(
        name="fragmentation",
        title=f"Reuse fragmentation of {first}: {e:,.0f} experts, {k:g} per token",
        note="A dense FFN serves T tokens per fetch of its weights; an expert serves T·k/U. φ runs from 1 to E/k = "
        f"{theme.digits(e / k)}.",
        caption=(
            "U: expected distinct experts touched per layer and step under the routing named (zipf: skewed; balanced: "
            "the most that balancing can reach); φ/q is the time the "
            "routed experts take over the matched dense FFN while both are bandwidth-bound. Routed experts only. "
            "Dashed rule: tokens per step at the MoE's batch. " + data.assumptions(c, layout=False)
        ),
        alt=f"Three line charts of reuse fragmentation over tokens per step for {first}.",
        panels=tuple(panels),
        columns=3,
    )


def batch_rule(c: Comparison) -> list[alt.Chart]:
    """A rule at the tokens per step of the MoE's own batch; none where it does not fit or is off the chart."""
    if c.moe.point is None:
        return []
    tokens = float(c.moe.point.step.tokens)
    return scales.asked("t", tokens, f"T = {tokens:,.0f}") if 1 <= tokens <= reuse.MOST else []
