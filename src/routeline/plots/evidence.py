"""q as evidence: what laws and matched pairs say, and how far the verdict depends on it."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..compare import Comparison
from . import beliefs, data, scales, theme
from .figure import Figure

KINDS = {
    "law, in range": ("square", theme.GREEN),
    "law, outside its range": ("square", "#93CDB9"),
    "law, for study only": ("square", theme.MUTED),
    "matched pair, enters": ("circle", theme.INK),
    "matched pair, shown only": ("circle", "#9AA5AF"),
}
BANDS = ("90% of the evidence", "50% of the evidence")
ROW = 34
"""Height of one law or pair: its name stands above its mark [px]."""


def _q_axis(title: str) -> alt.X:
    scale = alt.Scale(type="log", nice=False, padding=10)
    return alt.X("q:Q", title=title, scale=scale, axis=scales.log_axis(count=8))


def _bands(found: dict[str, Any], low: float, high: float, columns: int = 2) -> tuple[Any, list[alt.Chart]]:
    """The evidence's intervals as shaded areas and its median as a rule, cut to what is drawn."""
    rows = [
        {"what": name, "a": max(float(a), low), "b": min(float(b), high)}
        for name, (a, b) in zip(BANDS, (found["interval90"], found["interval50"]), strict=True)
        if a < high and b > low
    ]
    names = [r["what"] for r in rows]
    tints = [theme.BANDS[BANDS.index(n)] for n in names]
    shade = alt.Color(
        "what:N",
        scale=alt.Scale(domain=names, range=tints),
        legend=alt.Legend(title=None, symbolType="square", columns=columns),
    )
    area = alt.Chart(scales.values(rows)).mark_rect().encode(x=alt.X("a:Q"), x2=alt.X2("b:Q"), color=shade)
    if not low <= found["median"] <= high:
        return area, []
    rule = alt.Chart(scales.values([{"q": found["median"]}])).mark_rule(color=theme.MUTED, strokeDash=[5, 3])
    return area, [rule.encode(x=alt.X("q:Q"))]


def q_curve(c: Comparison) -> Figure:
    """R over q with the evidence's 50% and 90% intervals shaded and P(dense wins) in the title."""
    rows, found = beliefs.over_q(c)
    moe, dense = data.names(c)
    area, median = _bands(found, min(r["q"] for r in rows), max(r["q"] for r in rows))
    tips = [alt.Tooltip("q:Q", format=".3g"), alt.Tooltip("R:Q", format=".3g")]
    line = (
        alt.Chart(scales.values(rows))
        .mark_line(color=theme.INK)
        .encode(
            x=_q_axis("q, dense size over the MoE's active parameters [-]"),
            y=alt.Y("R:Q", title=data.ratio_title(c), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)),
            tooltip=tips,
        )
    )
    one = scales.unity([r["R"] for r in rows], (moe, dense))
    used = min(rows, key=lambda r: abs(r["q"] - c.q))
    here = scales.here([used], x=alt.X("q:Q"), y=alt.Y("R:Q"), tooltip=tips)
    flips = ", ".join(f"{q:.3g}" for q in found["flips"])
    turn = f"The verdict flips at q = {flips}. " if flips else "The verdict does not flip on this range. "
    rest = f"No dense match that fits: {found['unfit']:.0%}. " if found["unfit"] > 0.004 else ""
    known = "unknown" if found["dense"] is None else chance(found["dense"])
    where = {
        "max_batch": "the largest admissible batches",
        "equal_batch": f"batch {float(c.scenario.batch or 0):,.0f} on both sides",
        "tpot": "the same limit on time per output token",
    }[found["ratio"]]
    return Figure(
        name="q",
        title=f"How the answer depends on q: P(dense wins) {known}",
        note=f"{turn}{rest}Diamond: the q this answer used; dashed: the median of the evidence, {found['median']:.3g}.",
        caption=f"q by {found['origin']}, matched at {found['convention'].replace('-', ' ')}; R at {where}. "
        + data.assumptions(c, layout=False, q=False),
        alt=f"R over q; probability that the dense model wins: {known}.",
        panels=(alt.layer(area, one[0], *median, line, *one[1:], here).properties(width=560, height=280),),
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
    order = list(dict.fromkeys(order))
    present = [k for k in KINDS if any(r["kind"] == k for r in rows)]
    low, high = found.interval90
    x = _q_axis("q, dense size over active parameters [-]")
    y = alt.Y("what:N", sort=order, title=None, axis=None)
    spread = {"interval90": (low, high), "interval50": found.interval50, "median": found.median}
    area, median = _bands(spread, 0.0, float("inf"), columns=1)
    legend = alt.Legend(title=None, columns=1)
    tint = alt.Color("kind:N", scale=alt.Scale(domain=present, range=[KINDS[k][1] for k in present]), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=present, range=[KINDS[k][0] for k in present]), legend=legend)
    tips = [alt.Tooltip("what:N"), alt.Tooltip("q:Q", format=".3g"), alt.Tooltip("kind:N"), alt.Tooltip("note:N")]
    marks = alt.Chart(scales.values(rows)).mark_point(size=75, filled=True, yOffset=6)
    dots = marks.encode(x=x, y=y, color=tint, shape=shape, tooltip=tips)
    reach = [r for r in rows if r["high"] > r["low"]]
    span = (
        alt.Chart(scales.values(reach))
        .mark_rule(strokeWidth=2, yOffset=6)
        .encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=tint)
    )
    named = alt.Chart(scales.values([{"what": what} for what in order]))
    guide = named.mark_rule(color="#C3CBD2", strokeWidth=0.7, yOffset=6).encode(y=y)
    text = scales.halo(
        named, {"x": alt.value(0), "y": y, "text": alt.Text("what:N")}, align="left", yOffset=-6, fontSize=10
    )
    layers = [area, guide, *median, *text, *([span] if reach else []), dots]
    chart = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    return Figure(
        name="evidence",
        title=f"What is known of q for {theme.short(name, 40)}",
        note=f"Median {found.median:.3g}, 90% between {low:.3g} and {high:.3g}. "
        "Published laws and pairs disagree: read the spread, not one mark.",
        caption=f"q by {found.origin}, matched at {found.convention.replace('-', ' ')}; dashed: the median. Rows shown "
        "only are confounded (other families or recipes) or bounds. A mark far outside comes from a benchmark beyond "
        "its ladder.",
        alt=f"Estimates of q from laws and matched pairs; median {found.median:.3g}.",
        panels=(chart.properties(width=560, height={"step": ROW}),),
    )
