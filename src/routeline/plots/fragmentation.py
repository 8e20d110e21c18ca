"""Reuse fragmentation: how many fewer tokens an expert serves per fetch than a dense FFN does."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from ..units import show
from . import data, scales, theme
from .figure import Figure

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
COLOURS = (theme.MOE, theme.DENSE, theme.GREEN, theme.INK)


def fragmentation(c: Comparison) -> Figure:
    """phi = U/k, phi/q and tokens per fetched expert over tokens per step, for several routings."""
    rows = data.fragmentation(c)
    names = list(dict.fromkeys(r["routing"] for r in rows))
    colour = alt.Color(
        "routing:N",
        sort=names,
        scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])),
        legend=alt.Legend(title="routing", columns=2),
    )
    dash = alt.StrokeDash(
        "routing:N", sort=names, scale=alt.Scale(domain=names, range=[list(d) for d in DASHES[: len(names)]])
    )
    x = scales.tokens("tokens", "tokens per step T")
    fields = (
        ("phi", "fragmentation φ = U/k", "linear"),
        ("phi_over_q", f"φ/q, time over matched FFN (q = {c.q:.3g})", "linear"),
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
        line = alt.Chart(scales.values(rows)).mark_line().encode(x=x, y=y, color=colour, strokeDash=dash, tooltip=tips)
        layers: list[alt.Chart] = [line]
        if field == "phi_over_q":
            one = alt.Chart(scales.values([{"y": 1.0, "text": "same time"}]))
            layers.append(one.mark_rule(color=theme.MUTED, strokeDash=[3, 3]).encode(y=alt.Y("y:Q")))
        if c.moe.point is not None:
            layers += batch_rule(c)
        panels.append(alt.layer(*layers).properties(width=300, height=240))
    first, _ = data.labels(c)
    k, e = float(c.moe.counted.top_k), float(c.moe.counted.experts)
    return Figure(
        name="fragmentation",
        title=f"Reuse fragmentation of {first}: {e:g} experts, {k:g} per token",
        note="A dense FFN serves T tokens per fetch of its weights; an expert serves T·k/U. φ runs from 1 to E/k = "
        f"{e / k:.3g}.",
        caption=(
            "U: expected distinct experts touched per layer and step under the routing named; φ/q is the time the "
            "routed experts take over the "
            "matched dense FFN while both are bandwidth-bound. Routed experts only. Dashed rule: the MoE's batch. "
            + data.assumptions(c, layout=False)
        ),
        alt=f"Three line charts of reuse fragmentation over tokens per step for {first}.",
        panels=tuple(panels),
        columns=3,
    )


def batch_rule(c: Comparison) -> list[alt.Chart]:
    """A rule at the tokens per step of the MoE's own batch."""
    assert c.moe.point is not None
    tokens = float(c.moe.point.step.tokens)
    if not 1 <= tokens <= 65536:
        return []
    at = alt.Chart(scales.values([{"t": tokens, "text": f"T = {show(tokens, 'count', 4)}"}]))
    return [at.mark_rule(color=theme.MUTED, strokeDash=[5, 3]).encode(x=alt.X("t:Q"))]
