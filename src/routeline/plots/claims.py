"""Figures for the abstract's four claims, drawn from what `routeline.reproduce` computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt

from ..errors import RoutelineError, UnknownName
from . import scales, theme
from .figure import Figure

OURS = "The paper's settings are unknown to us; every number is Routeline's own (arXiv:2603.08960, abstract only)."


def claim(found: dict[str, Any]) -> Figure:
    """The figure of one claim of reproduce()['claims']."""
    if found["id"] not in FIGURES:
        raise UnknownName("claim", found["id"], FIGURES)
    return FIGURES[found["id"]](found)


def _caption(found: dict[str, Any]) -> str:
    return f"{'; '.join(found['assumptions'])}. {OURS}"


def ratio_map(found: dict[str, Any], weights: str = "bf16", memory: str = "marketed") -> Figure:
    """(a) R over memory utilisation and q on several clusters, with the 4.5x contour."""
    strips = [s for s in found["map"] if s["weights"] == weights and s["memory"] == memory]
    names = list(dict.fromkeys(s["devices"] for s in strips))
    sizes = sorted({s["q"] for s in strips})
    labels = [f"{q:g}" for q in sizes]
    step = strips[0]["utilisation"][1] - strips[0]["utilisation"][0]
    cells, empty, marks = [], [], []
    for strip in strips:
        base = {"devices": strip["devices"], "q": f"{strip['q']:g}"}
        for u, r in zip(strip["utilisation"], strip["ratio"], strict=True):
            row = base | {"u": u - step / 2, "u1": u + step / 2}
            if r is None:
                empty.append(row)
            else:
                cells.append(row | {"R": r, "at": u})
        marks += [base | {"u": u} for u in strip["reached_at"]]
    if not cells:
        raise RoutelineError("claim a has no map for this precision and memory basis: choose another")
    x = alt.X(
        "u:Q",
        title="share of device memory used",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(tickCount=5, format=".0%"),
    )
    y = alt.Y("q:N", sort=labels[::-1], title="q")
    colour = alt.Color(
        "R:Q",
        scale=alt.Scale(
            type="log", domain=[1 / 8, 1 / 4, 1 / 1.5, 1, 1.5, 4, 8], range=list(theme.DIVERGING), clamp=True
        ),
        legend=alt.Legend(title="R, dense over MoE", gradientLength=220, values=[0.25, 0.5, 1, 2, 4, 8], format="~r"),
    )
    panels = []
    for name in names:

        def of(rows: list[dict[str, Any]], name: str = name) -> alt.Data:
            return scales.values([r for r in rows if r["devices"] == name])

        layers = [
            alt.Chart(of(empty)).mark_rect(color="#E3E7EB").encode(x=x, x2=alt.X2("u1:Q"), y=y),
            alt.Chart(of(cells))
            .mark_rect()
            .encode(
                x=x,
                x2=alt.X2("u1:Q"),
                y=y,
                color=colour,
                tooltip=[
                    alt.Tooltip("q:N"),
                    alt.Tooltip("at:Q", title="utilisation", format=".2f"),
                    alt.Tooltip("R:Q", format=".3g"),
                ],
            ),
            alt.Chart(of(marks)).mark_tick(color=theme.INK, thickness=3, size=20).encode(x=x, y=y),
        ]
        panels.append(alt.layer(*layers).properties(width=300, height=170, title=name))
    return Figure(
        name="claim-a",
        title=f"(a) Where is R = {found['claimed']:g}? DeepSeek-V3 at 128k",
        note=f"Black ticks: R = {found['claimed']:g} exactly, solved for; grey: one side does not fit. Weights "
        f"{weights}, "
        f"memory {memory}.",
        caption=_caption(found),
        alt="Maps of R over memory utilisation and q on six clusters.",
        panels=tuple(panels),
        columns=3,
    )


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
        data = scales.values([r for r in rows if r["setting"] == setting])
        x = scales.tokens("context", "context [tokens]")
        y = alt.Y(
            "R:Q",
            title="R at largest batches",
            scale=alt.Scale(type="log", nice=False, padding=14),
            axis=scales.log_axis(count=6),
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
        one = alt.Chart(scales.values([{"R": 1.0}])).mark_rule(color=theme.MUTED).encode(y=alt.Y("R:Q"))
        panels.append(alt.layer(one, line, dots).properties(width=400, height=270, title=setting))
    return Figure(
        name="claim-b",
        title="(b) Is the effect general?",
        note="Above 1 dense serves more, below 1 the MoE does. Hollow marks: contexts past the model's own limit.",
        caption=_caption(found),
        alt="R over context for four models in two settings.",
        panels=tuple(panels),
        columns=2,
    )


def fits(found: dict[str, Any], weights: str = "bf16") -> Figure:
    """(c) On which clusters Switch-C and its matched dense model fit."""
    cells = [c for c in found["cells"] if c["weights"] == weights]
    sizes = [str(n) for n in sorted({c["devices"] for c in cells})]
    states = {
        (True, True): "both fit",
        (False, True): "only the dense model fits",
        (True, False): "only Switch-C fits",
        (False, False): "neither fits",
    }
    rows = [
        {
            "device": c["device"],
            "devices": str(c["devices"]),
            "state": states[c["moe_fits"], c["dense_fits"]],
            "text": f"R {c['ratio']:.2g}" if c["ratio"] is not None else "dense" if c["dense_fits"] else "–",
        }
        for c in cells
    ]
    names = [s for s in states.values() if any(r["state"] == s for r in rows)]
    tints = {
        "both fit": "#DCEBF5",
        "only the dense model fits": theme.DENSE,
        "only Switch-C fits": theme.MOE,
        "neither fits": "#C9D3DC",
    }
    x = alt.X("devices:N", sort=sizes, title="devices", axis=alt.Axis(labelAngle=0, grid=False))
    y = alt.Y("device:N", sort=list(dict.fromkeys(c["device"] for c in cells)), title=None, axis=alt.Axis(grid=False))
    tile = (
        alt.Chart(scales.values(rows))
        .mark_rect(stroke=theme.GROUND, strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "state:N",
                scale=alt.Scale(domain=names, range=[tints[s] for s in names]),
                legend=alt.Legend(title=None, symbolType="square"),
            ),
            tooltip=[alt.Tooltip("device:N"), alt.Tooltip("devices:N"), alt.Tooltip("state:N")],
        )
    )
    text = (
        alt.Chart(scales.values(rows))
        .mark_text(fontSize=11)
        .encode(
            x=x,
            y=y,
            text=alt.Text("text:N"),
            color=alt.condition(
                "datum.state === 'only the dense model fits' || datum.state === 'only Switch-C fits'",
                alt.value("white"),
                alt.value(theme.INK),
            ),
        )
    )
    only = sum(r["state"] == "only the dense model fits" for r in rows)
    return Figure(
        name="claim-c",
        title="(c) Switch-C against its matched dense model, cluster by cluster",
        note=f"Weights {weights}. On {only} of {len(rows)} clusters only the dense model fits; the number is R where "
        "both do.",
        caption=_caption(found),
        alt=f"Grid of devices and cluster sizes: on {only} of {len(rows)} only the dense model fits.",
        panels=(alt.layer(tile, text).resolve_scale(color="independent").properties(width=560, height={"step": 38}),),
    )


def distillation(found: dict[str, Any]) -> Figure:
    """(d) How small a distilled dense model must be to serve more, beside the size evidence asks of one trained "
    "alike."""
    rows: list[dict[str, Any]] = []
    for r in found["rows"]:
        label = f"{theme.short(r['model'], 24)} ({r['devices']})"
        active = r["dense_parameters"] / r["q"]
        sizes = (
            ("parameters used per token", active),
            ("break-even: smaller serves more than the MoE", r["break_even_parameters"]),
            ("matched in quality, trained alike", r["dense_parameters"]),
            ("parameters of the MoE", active / r["s"]),
        )
        rows += [{"model": label, "what": what, "billion": n / 1e9} for what, n in sizes if n is not None]
    names = list(dict.fromkeys(r["what"] for r in rows))
    names.sort(
        key=[
            "parameters used per token",
            "break-even: smaller serves more than the MoE",
            "matched in quality, trained alike",
            "parameters of the MoE",
        ].index
    )
    tint = alt.Color(
        "what:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[theme.SKY, theme.GREEN, theme.DENSE, theme.MOE][: len(names)]),
        legend=alt.Legend(title=None, columns=2),
    )
    shape = alt.Shape(
        "what:N",
        sort=names,
        scale=alt.Scale(domain=names, range=["circle", "diamond", "square", "triangle-up"][: len(names)]),
        legend=alt.Legend(title=None, columns=2),
    )
    y = alt.Y("model:N", sort=list(dict.fromkeys(r["model"] for r in rows)), title=None, axis=alt.Axis(labelLimit=260))
    x = alt.X(
        "billion:Q",
        title="billion parameters",
        scale=alt.Scale(type="log", nice=False, padding=16),
        axis=scales.log_axis(count=6),
    )
    spans = [
        {
            "model": m,
            "low": min(r["billion"] for r in rows if r["model"] == m),
            "high": max(r["billion"] for r in rows if r["model"] == m),
        }
        for m in dict.fromkeys(r["model"] for r in rows)
    ]
    rule = (
        alt.Chart(scales.values(spans))
        .mark_rule(color=theme.FAINT, strokeWidth=3)
        .encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y)
    )
    dots = (
        alt.Chart(scales.values(rows))
        .mark_point(size=130, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=tint,
            shape=shape,
            tooltip=[alt.Tooltip("model:N"), alt.Tooltip("what:N"), alt.Tooltip("billion:Q", format=".4g")],
        )
    )
    return Figure(
        name="claim-d",
        title="(d) How small must a distilled dense model be?",
        note="Left of the diamond it serves more tokens per second than the MoE. Whether distillation keeps the "
        "quality there is not computed; "
        "a model without a diamond has no break-even in range.",
        caption=_caption(found),
        alt="Parameter counts per model: active, break-even, matched dense, total.",
        panels=(alt.layer(rule, dots).properties(width=480, height={"step": 44}),),
    )


FIGURES: dict[str, Callable[[dict[str, Any]], Figure]] = {"a": ratio_map, "b": generality, "c": fits, "d": distillation}
