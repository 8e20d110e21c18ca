"""Throughput over context with both penalties, and the two between the dense model and the MoE as a waterfall."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..compare import Comparison
from ..errors import RoutelineError
from . import data, grid, parts, scales, theme
from .figure import Figure

KINDS = {"dense": theme.DENSE, "moe": theme.MOE, "loss": "#8D99A5", "gain": theme.GREEN}
FACTORS = {"R": ("R", theme.INK, [1, 0]), "reuse": ("reuse penalty", theme.PURPLE, [6, 3]),
           "headroom": ("headroom gain", theme.GREEN, [2, 2])}  # fmt: skip
"""Ratio over context -> (name, tint, dash)."""


def throughput(c: Comparison) -> Figure:
    """Tokens/s per device over context, and R with its two factors, at the batch asked for or the largest."""
    rows = grid.over_context(c)
    labels = data.labels(c)
    rates = [r for r in rows if r["role"] != "ratio"]
    ratios = [r for r in rows if r["role"] == "ratio"]
    if not rates:
        raise RoutelineError(f"neither model fits on {c.cluster.name} at any context drawn: use more devices")
    x = scales.tokens("context", "context [tokens]")
    here = scales.asked("context", float(c.scenario.context), "asked")
    line = (
        alt.Chart(scales.values(rates))
        .mark_line()
        .encode(
            x=x,
            y=scales.log_y("rate", "tokens/s per device"),
            tooltip=[
                alt.Tooltip("side:N"),
                alt.Tooltip("context:Q", format=",.0f"),
                alt.Tooltip("batch:Q", format=",.0f"),
                alt.Tooltip("rate:Q", title="tokens/s per device", format=",.4g"),
            ],
            **scales.side_line(labels, offset=scales.ABOVE),
        )
    )
    panels: list[Any] = [alt.layer(*here, line).properties(width=theme.HALF, height=260)]
    if ratios:
        panels.append(_ratios(c, ratios, x, here))
    moe, dense = data.subjects(c)
    given = c.scenario.batch
    rule = (
        "Each side at its largest admissible batch and best layout at every context"
        if given is None
        else f"Both sides at batch {float(given):,.0f}, each in its fastest layout that admits it"
    )
    past = " Contexts stop at the model's own limit." if c.model.context_limit else ""
    absent = "" if ratios else " The two never fit together here, so there is no ratio to draw."
    return Figure(
        name="throughput",
        title="Throughput over context",
        note=f"Above R = 1 {dense} serves more tokens per second on the same devices, below it {moe} does."
        f"{' R = reuse penalty × headroom gain.' if ratios and given is None else ''}{absent}",
        caption=f"{rule}; where a line stops, its model does not fit.{past} "
        + data.assumptions(c, context=False, layout=False, batch=False),
        alt="Tokens per second per device over context for both models, and their ratio with its two factors.",
        panels=tuple(panels),
        columns=2,
        shared=False,
    )


def _ratios(c: Comparison, rows: data.Rows, x: alt.X, here: list[alt.Chart]) -> Any:
    shown = ["R"] if c.scenario.batch is not None else list(FACTORS)
    drawn = [{"context": r["context"], "what": FACTORS[k][0] if len(shown) > 1 else "R", "R": r[k]}
             for k in shown for r in rows]  # fmt: skip
    names = list(dict.fromkeys(r["what"] for r in drawn))
    style = scales.named_line(
        "what", names, [FACTORS[k][1] for k in shown], [FACTORS[k][2] for k in shown],
        scales.line_legend(offset=scales.ABOVE) if len(shown) > 1 else None,
    )  # fmt: skip
    y = alt.Y("R:Q", title=data.ratio_title(c), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    curve = (
        alt.Chart(scales.values(drawn))
        .mark_line()
        .encode(
            x=x,
            y=y,
            tooltip=[alt.Tooltip("what:N"), alt.Tooltip("context:Q", format=",.0f"), alt.Tooltip("R:Q", format=".3g")],
            **style,
        )
    )
    one = scales.unity([r["R"] for r in rows], data.names(c))
    return alt.layer(one[0], *here, curve, *one[1:]).properties(width=theme.HALF, height=260)


def waterfall(c: Comparison) -> Figure:
    """Both penalties: dense throughput, less what the smaller batch takes, less what lost reuse takes, is the MoE's."""
    rows = parts.waterfall(c)
    order = [r["step"] for r in rows]
    x = alt.X(
        "step:N",
        sort=order,
        title=None,
        axis=alt.Axis(labelAngle=0, labelLimit=150, labelExpr=_BREAK, labelOverlap=False),
    )
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
    text = scales.halo(
        alt.Chart(scales.values(rows)),
        {"x": x, "y": alt.Y("high:Q"), "text": alt.Text("text:N")},
        dy=-8, fontSize=13, fontWeight=600,
    )  # fmt: skip
    ties = [{"step": rows[i]["step"], "next": rows[i + 1]["step"], "y": rows[i]["to"]} for i in range(3)]
    tie = (
        alt.Chart(scales.values(ties))
        .mark_rule(color=theme.MUTED, strokeDash=[2, 2])
        .encode(x=x, x2=alt.X2("next:N"), y=alt.Y("y:Q"))
    )
    at = c.ratios["max_batch"]
    assert at.value is not None
    assert c.reuse_penalty is not None
    assert c.headroom_gain is not None
    moe, dense = data.subjects(c)
    return Figure(
        name="waterfall",
        title=f"R = {theme.digits(at.value)} = {theme.digits(c.reuse_penalty)} reuse × "
        f"{theme.digits(c.headroom_gain)} headroom",
        note=f"From {dense} to {moe}. Headroom: what the memory left over buys in batch. Reuse: {moe}'s step over "
        f"{dense}'s at the same batch. Below 1 either is a gain for {moe} (green).",
        caption="Tokens/s per device at each side's largest admissible batch; the middle value is the dense model "
        "held to the MoE's batch. The split is ours (arXiv:2603.08960 names the two penalties). "
        + data.assumptions(c, batch=False, at=at),
        alt="Waterfall from the dense model's throughput to the MoE's through headroom and reuse.",
        panels=(alt.layer(tie, bar, *text).properties(width=560, height=270),),
    )


_BREAK = "split(datum.label, '\\n')"
"""Vega expression: an axis label becomes lines at its line breaks."""
