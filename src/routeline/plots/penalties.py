"""Throughput over context, and the two penalties between the dense model and the MoE as a waterfall."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from ..errors import RoutelineError
from . import data, grid, scales, theme
from .figure import Figure

KINDS = {"dense": theme.DENSE, "moe": theme.MOE, "loss": "#8D99A5", "gain": theme.GREEN}


def throughput(c: Comparison) -> Figure:
    """Tokens/s per device and R over context, each side at its largest batch."""
    rows = grid.over_context(c)
    labels = data.labels(c)
    rates = [r for r in rows if r["role"] != "ratio"]
    ratio = [r for r in rows if r["role"] == "ratio"]
    if not rates:
        raise RoutelineError(f"neither model fits on {c.cluster.name} at any context drawn: use more devices")
    x = scales.tokens("context", "context [tokens]")
    dash = alt.StrokeDash("side:N", scale=alt.Scale(domain=list(labels), range=[[1, 0], [7, 3]]))
    line = (
        alt.Chart(scales.values(rates))
        .mark_line()
        .encode(
            x=x,
            y=scales.log_y("rate", "tokens/s per device", si=True),
            color=scales.side_colour(labels),
            strokeDash=dash,
            tooltip=[
                alt.Tooltip("side:N"),
                alt.Tooltip("context:Q", format=",.0f"),
                alt.Tooltip("batch:Q", format=",.0f"),
                alt.Tooltip("rate:Q", title="tokens/s per device", format=",.4g"),
            ],
        )
    )
    here = (
        alt.Chart(scales.values([{"context": float(c.scenario.context)}]))
        .mark_rule(color=theme.MUTED, strokeDash=[3, 3])
        .encode(x=alt.X("context:Q"))
    )
    first = alt.layer(here, line).properties(width=theme.WIDTH, height=260)
    one = alt.Chart(scales.values([{"R": 1.0}])).mark_rule(color=theme.MUTED).encode(y=alt.Y("R:Q"))
    curve = (
        alt.Chart(scales.values(ratio))
        .mark_line(color=theme.INK)
        .encode(
            x=x,
            y=alt.Y(
                "R:Q", title="R, dense over MoE throughput", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)
            ),
            tooltip=[alt.Tooltip("context:Q", format=",.0f"), alt.Tooltip("R:Q", format=".3g")],
        )
    )
    second = alt.layer(one, here, curve).properties(width=theme.WIDTH, height=260)
    limit = c.model.context_limit
    past = " Contexts stop at the model's own limit." if limit else ""
    return Figure(
        name="throughput",
        title="Throughput over context",
        note="Above R = 1 the dense model serves more tokens per second on the same devices, below it the MoE does.",
        caption="Each side at its largest admissible batch and best layout at every context; where a line stops, "
        f"its model does not fit.{past} " + data.assumptions(c, context=False, layout=False),
        alt="Tokens per second per device over context for both models, and their ratio.",
        panels=(first, second),
        columns=2,
    )


def waterfall(c: Comparison) -> Figure:
    """Both penalties: dense throughput, less what the smaller batch takes, less what lost reuse takes, is the MoE's."""
    rows = data.waterfall(c)
    order = [r["step"] for r in rows]
    x = alt.X("step:N", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelLimit=150, labelExpr=_BREAK))
    bar = (
        alt.Chart(scales.values(rows))
        .mark_bar(width={"band": 0.62})
        .encode(
            x=x,
            y=alt.Y("low:Q", title="tokens/s per device", axis=alt.Axis(tickCount=6)),
            y2=alt.Y2("high:Q"),
            color=alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())), legend=None),
            tooltip=[alt.Tooltip("step:N"), alt.Tooltip("from:Q", format=",.4g"), alt.Tooltip("to:Q", format=",.4g")],
        )
    )
    text = (
        alt.Chart(scales.values(rows))
        .mark_text(dy=-8, fontSize=13, fontWeight=600)
        .encode(x=x, y=alt.Y("high:Q"), text=alt.Text("text:N"))
    )
    ties = [{"step": rows[i]["step"], "next": rows[i + 1]["step"], "y": rows[i]["to"]} for i in range(3)]
    tie = (
        alt.Chart(scales.values(ties))
        .mark_rule(color=theme.MUTED, strokeDash=[2, 2])
        .encode(x=x, x2=alt.X2("next:N"), y=alt.Y("y:Q"))
    )
    chart = alt.layer(tie, bar, text).properties(width=620, height=270)
    r = c.throughput_ratio
    return Figure(
        name="waterfall",
        title=f"R = {r:.3g} = {c.reuse_penalty:.3g} reuse × {c.headroom_gain:.3g} headroom",
        note="Reuse: the MoE's step over the dense step at the same batch. Headroom: what the memory left over buys "
        "in batch.",
        caption="Tokens/s per device at each side's largest admissible batch; the middle value is the dense model "
        "held to the MoE's batch. "
        "The split is ours (arXiv:2603.08960 names the two penalties). " + data.assumptions(c),
        alt="Waterfall from the dense model's throughput to the MoE's through headroom and reuse.",
        panels=(chart,),
    )


_BREAK = "split(datum.label, '\\n')"
"""Vega expression: an axis label becomes lines at its line breaks."""
