"""Figures for the abstract's four claims, drawn from what `routeline.reproduce` computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt

from ..errors import RoutelineError, UnknownName
from . import claims_sizes, scales, theme, verdict
from .claims_sizes import OURS
from .claims_sizes import caption as _caption
from .figure import Figure


def claim(found: dict[str, Any]) -> Figure:
    """The figure of one claim of reproduce()['claims']."""
    if found["id"] not in FIGURES:
        raise UnknownName("claim", found["id"], FIGURES)
    return FIGURES[found["id"]](found)


def ratio_map(found: dict[str, Any], weights: str = "bf16", memory: str = "marketed") -> Figure:
    """(a) R over memory utilisation and q on several clusters, with the 4.5x contour."""
    strips = [s for s in found["map"] if s["weights"] == weights and s["memory"] == memory]
    names = list(dict.fromkeys(s["devices"] for s in strips))
    labels = [f"{q:g}" for q in sorted({s["q"] for s in strips})]
    cells, marks = _strips(strips)
    if not any("R" in c for c in cells):
        raise RoutelineError("claim a has no map for this precision and memory basis: choose another")
    share = alt.X(
        "u:Q",
        title="share of device memory used",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(tickCount=4, format=".0%"),
    )
    y = alt.Y("q:N", sort=labels[::-1], title="q", axis=alt.Axis(grid=False))
    tint = verdict.colour("R = dense / MoE throughput")
    panels = []
    for name in names:
        mine = [c for c in cells if c["devices"] == name]
        fit, unfit = [c for c in mine if "R" in c], [c for c in mine if "R" not in c]
        tips = [
            alt.Tooltip("q:N"),
            alt.Tooltip("at:Q", title="utilisation", format=".2f"),
            alt.Tooltip("R:Q", format=".3g"),
        ]
        blank = alt.Chart(scales.values(unfit)).mark_rect(color=verdict.UNFIT, stroke=verdict.UNFIT)
        heat = alt.Chart(scales.values(fit)).mark_rect(strokeWidth=0.7)
        ticks = alt.Chart(scales.values([m for m in marks if m["devices"] == name]))
        layers = [
            blank.encode(x=share, x2=alt.X2("u1:Q"), y=y),
            heat.encode(x=share, x2=alt.X2("u1:Q"), y=y, color=tint, tooltip=tips,
                        stroke=alt.Stroke("R:Q", scale=tint["scale"], legend=None)),
            ticks.mark_tick(color=theme.GROUND, thickness=5, size=20, opacity=1).encode(x=share, y=y),
            ticks.mark_tick(color=theme.INK, thickness=2.5, size=20, opacity=1).encode(x=share, y=y),
        ]  # fmt: skip
        if not fit:
            said = alt.Chart(scales.values([{"text": "one side does not fit"}])).mark_text(color=theme.MUTED)
            layers.append(said.encode(x=alt.value(theme.THIRD / 2), y=alt.value(85), text=alt.Text("text:N")))
        panels.append(alt.layer(*layers).properties(width=theme.THIRD, height=170, title=name))
    return Figure(
        name="claim-a",
        title=f"(a) Where is R = {found['claimed']:g}? DeepSeek-V3 at 128k",
        note=f"Black ticks: R = {found['claimed']:g} exactly, solved for. Grey: one side does not fit.",
        caption=f"{weights.upper()} weights, BF16 cache, {memory} memory, overhead 0; pooled: all devices as one, "
        "communication free; tier bandwidth: compute free; matched dense model with the same attention; each side at "
        f"its own largest batch. {OURS}",
        alt="Maps of R over memory utilisation and q on six clusters.",
        panels=tuple(panels),
        columns=3,
    )


def _strips(strips: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(cells, marks of the contour) of the map's strips; a cell without R is one where a side does not fit."""
    step = strips[0]["utilisation"][1] - strips[0]["utilisation"][0] if strips else 0.0
    cells, marks = [], []
    for strip in strips:
        base = {"devices": strip["devices"], "q": f"{strip['q']:g}"}
        for u, r in zip(strip["utilisation"], strip["ratio"], strict=True):
            row = base | {"u": u - step / 2, "u1": min(u + step / 2, 1.0), "at": u}
            cells.append(row if r is None else row | {"R": r})
        marks += [base | {"u": u} for u in strip["reached_at"]]
    return cells, marks


def generality(found: dict[str, Any]) -> Figure:
    """(b) R over context for four models, idealised and as a bound."""
    rows = [
        r
        | {"R": r["ratios"]["max_batch"], "limit": "past the model's limit" if r["past_limit"] else "within its limit"}
        for r in found["rows"]
        if r["ratios"].get("max_batch") is not None
    ]
    keep = ("model", "devices", "context", "R", "limit", "setting", "q")
    rows = [{k: r[k] for k in keep} for r in rows]
    models = list(dict.fromkeys(r["model"] for r in rows))
    colour = alt.Color(
        "model:N",
        sort=models,
        scale=alt.Scale(domain=models, range=list(theme.SERIES[: len(models)])),
        legend=alt.Legend(title=None),
    )
    shape = alt.Shape(
        "model:N",
        sort=models,
        scale=alt.Scale(domain=models, range=["circle", "square", "triangle-up", "diamond"][: len(models)]),
        legend=alt.Legend(title=None),
    )
    fill = alt.FillOpacity(
        "limit:N", scale=alt.Scale(domain=["within its limit", "past the model's limit"], range=[1.0, 0.0]), legend=None
    )
    panels = []
    for setting in dict.fromkeys(r["setting"] for r in rows):
        mine = [r for r in rows if r["setting"] == setting]
        data = scales.values(mine)
        x = scales.tokens("context", "context [tokens]")
        y = alt.Y(
            "R:Q",
            title="R, dense over MoE throughput",
            scale=alt.Scale(type="log", nice=False, padding=14),
            axis=scales.ratio_axis(r["R"] for r in mine),
        )
        line = alt.Chart(data).mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour)
        dots = (
            alt.Chart(data)
            .mark_point(size=60, filled=False, strokeWidth=1.6)
            .encode(
                x=x,
                y=y,
                color=colour,
                shape=shape,
                fill=alt.Fill("model:N", scale=colour["scale"], sort=models, legend=None),
                fillOpacity=fill,
                tooltip=[
                    alt.Tooltip("model:N"),
                    alt.Tooltip("devices:N"),
                    alt.Tooltip("context:Q", format=",.0f"),
                    alt.Tooltip("R:Q", format=".3g"),
                    alt.Tooltip("q:Q", format=".3g"),
                    alt.Tooltip("limit:N", title="context"),
                ],
            )
        )
        one = scales.unity([r["R"] for r in mine])
        panels.append(alt.layer(one[0], line, dots, *one[1:]).properties(width=theme.HALF, height=270, title=setting))
    return Figure(
        name="claim-b",
        title="(b) Is the effect general?",
        note="Each side at its largest batch. Hollow marks: contexts past the model's own limit.",
        caption=_caption(found),
        alt="R over context for four models in two settings.",
        panels=tuple(panels),
        columns=2,
    )


FIGURES: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "a": ratio_map, "b": generality, "c": claims_sizes.fits, "d": claims_sizes.distillation,
}  # fmt: skip
