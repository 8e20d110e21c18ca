"""q as evidence: what laws and matched pairs say, and how far the verdict depends on it."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..compare import Comparison
from . import beliefs, data, scales, theme
from .figure import Figure

KINDS = {
    "law, in range": ("square", theme.DENSE),
    "law, outside its range": ("square", theme.SKY),
    "law, for study only": ("square", theme.MUTED),
    "matched pair, enters": ("circle", theme.MOE),
    "matched pair, shown only": ("circle", theme.ORANGE),
}


def _q_axis(title: str) -> alt.X:
    scale = alt.Scale(type="log", nice=False, padding=10)
    return alt.X("q:Q", title=title, scale=scale, axis=scales.log_axis(count=8))


def q_curve(c: Comparison) -> Figure:
    """R over q with the evidence's 50% and 90% intervals shaded and P(dense wins) in the title."""
    rows, found = beliefs.over_q(c)
    low, high = min(r["q"] for r in rows), max(r["q"] for r in rows)
    bands = [
        {"what": "90% of the evidence", "a": found["interval90"][0], "b": found["interval90"][1]},
        {"what": "50% of the evidence", "a": found["interval50"][0], "b": found["interval50"][1]},
    ]
    drawn = [b | {"a": max(b["a"], low), "b": min(b["b"], high)} for b in bands if b["a"] < high and b["b"] > low]
    names = [b["what"] for b in drawn]
    shade = alt.Color(
        "what:N",
        scale=alt.Scale(domain=names, range=["#DCEBF5", "#B5D5EA"][: len(names)]),
        legend=alt.Legend(title=None, symbolType="square"),
    )
    x = _q_axis("q, size of the matched dense model over the MoE's active parameters")
    area = alt.Chart(scales.values(drawn)).mark_rect().encode(x=alt.X("a:Q"), x2=alt.X2("b:Q"), color=shade)
    line = (
        alt.Chart(scales.values(rows))
        .mark_line(color=theme.INK)
        .encode(
            x=x,
            y=alt.Y(
                "R:Q", title="R, dense over MoE throughput", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)
            ),
            tooltip=[alt.Tooltip("q:Q", format=".3g"), alt.Tooltip("R:Q", format=".3g")],
        )
    )
    one = alt.Chart(scales.values([{"R": 1.0}])).mark_rule(color=theme.MUTED).encode(y=alt.Y("R:Q"))
    median = (
        alt.Chart(scales.values([{"q": found["median"]}]))
        .mark_rule(color=theme.DENSE, strokeDash=[5, 3])
        .encode(x=alt.X("q:Q"))
    )
    used = min(rows, key=lambda r: abs(r["q"] - c.q))
    here = (
        alt.Chart(scales.values([used]))
        .mark_point(shape="diamond", size=120, fill=theme.GROUND, stroke=theme.INK, strokeWidth=2, opacity=1)
        .encode(
            x=alt.X("q:Q"), y=alt.Y("R:Q"), tooltip=[alt.Tooltip("q:Q", format=".3g"), alt.Tooltip("R:Q", format=".3g")]
        )
    )
    layers = [area, one, median, line, here] if low <= found["median"] <= high else [area, one, line, here]
    flips = ", ".join(f"{q:.3g}" for q in found["flips"])
    turn = f"The verdict flips at q = {flips}. " if flips else "The verdict does not flip on this range. "
    rest = f"No dense match that fits: {found['unfit']:.0%}. " if found["unfit"] > 0.004 else ""
    known = "unknown" if found["dense"] is None else chance(found["dense"])
    return Figure(
        name="q",
        title=f"How the answer depends on q: P(dense wins) {known}",
        note=f"{turn}{rest}Diamond: the q this answer used; dashed: the median of the evidence, {found['median']:.3g}.",
        caption=f"q by {found['origin']}, matched at {found['convention'].replace('-', ' ')}; R at "
        f"{'the batch given' if c.scenario.batch is not None else 'the largest admissible batches'}. "
        + data.assumptions(c, layout=False, q=False),
        alt=f"R over q; probability that the dense model wins: {known}.",
        panels=(alt.layer(*layers).properties(width=580, height=280),),
    )


def chance(p: float) -> str:
    """A probability for people: never rounded to certainty."""
    return "> 99%" if p > 0.995 else "< 1%" if p < 0.005 else f"= {p:.0%}"


def evidence(c: Comparison) -> Figure:
    """Every law and matched pair about the model, against the combined estimate."""
    return of_evidence(beliefs.spread(c), data.labels(c)[0])


def of_evidence(found: Any, name: str) -> Figure:
    """The chart of one QEvidence."""
    rows = beliefs.opinions(found)
    order = [r["what"] for r in sorted(rows, key=lambda r: (r["kind"].startswith("matched"), r["q"]))]
    present = [k for k in KINDS if any(r["kind"] == k for r in rows)]
    low, high = found.interval90
    inner = found.interval50
    x = _q_axis("q, matched dense size over active parameters")
    y = alt.Y("what:N", sort=list(dict.fromkeys(order)), title=None, axis=alt.Axis(labelLimit=330, grid=True))
    band = [{"a": low, "b": high, "s": "90% interval"}, {"a": inner[0], "b": inner[1], "s": "50% interval"}]
    area = (
        alt.Chart(scales.values(band))
        .mark_rect()
        .encode(
            x=alt.X("a:Q"),
            x2=alt.X2("b:Q"),
            color=alt.Color(
                "s:N",
                scale=alt.Scale(domain=["90% interval", "50% interval"], range=["#E7F0F6", "#C6DEEE"]),
                legend=alt.Legend(title="estimate", symbolType="square"),
            ),
        )
    )
    middle = (
        alt.Chart(scales.values([{"q": found.median}]))
        .mark_rule(color=theme.INK, strokeDash=[5, 3])
        .encode(x=alt.X("q:Q"))
    )
    tint = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=present, range=[KINDS[k][1] for k in present]),
        legend=alt.Legend(title=None, columns=2),
    )
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(domain=present, range=[KINDS[k][0] for k in present]),
        legend=alt.Legend(title=None, columns=2),
    )
    tips = [alt.Tooltip("what:N"), alt.Tooltip("q:Q", format=".3g"), alt.Tooltip("kind:N"), alt.Tooltip("note:N")]
    marks = alt.Chart(scales.values(rows)).mark_point(size=75, filled=True, opacity=0.95)
    dots = marks.encode(x=x, y=y, color=tint, shape=shape, tooltip=tips)
    reach = [r for r in rows if r["high"] > r["low"]]
    span = (
        alt.Chart(scales.values(reach))
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=tint)
    )
    layers = [area, middle, *([span] if reach else []), dots]
    chart = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    return Figure(
        name="evidence",
        title=f"What is known of q for {theme.short(name, 40)}",
        note=f"Median {found.median:.3g}, 90% between {low:.3g} and {high:.3g}. "
        "Published laws and pairs disagree: read the spread, not one mark.",
        caption=f"q by {found.origin}, matched at {found.convention.replace('-', ' ')}. Rows shown only are confounded "
        "(other families or recipes) or bounds. A mark far outside comes from a benchmark beyond its ladder.",
        alt=f"Estimates of q from laws and matched pairs; median {found.median:.3g}.",
        panels=(chart.properties(width=440, height={"step": 19}),),
    )
