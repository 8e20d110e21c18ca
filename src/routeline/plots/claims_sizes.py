"""Figures of the claims about sizes: (c) which clusters hold Switch-C, (d) how small a distilled model must be."""

from __future__ import annotations

from typing import Any

import altair as alt

from . import scales, theme
from .figure import Figure

OURS = "The paper's settings are unknown to us; every number is Routeline's own (arXiv:2603.08960, abstract only)."


def caption(found: dict[str, Any]) -> str:
    """What a claim's figure rests on, and whose numbers they are."""
    text = "; ".join(found["assumptions"])
    return f"{text[:1].upper()}{text[1:]}. {OURS}"


STATES = {
    "both fit, dense serves more": "#CBE2F1",
    "both fit, Switch-C serves more": "#F9D5BC",
    "only the dense model fits": theme.DENSE,
    "only Switch-C fits": theme.MOE,
    "neither fits": "#C9D3DC",
}
"""What a cluster holds -> tint of its cell."""


def _state(cell: dict[str, Any]) -> str:
    if cell["moe_fits"] and cell["dense_fits"]:
        return f"both fit, {'dense' if cell['ratio'] >= 1 else 'Switch-C'} serves more"
    known = {(False, True): "only the dense model fits", (True, False): "only Switch-C fits"}
    return known.get((cell["moe_fits"], cell["dense_fits"]), "neither fits")


def fits(found: dict[str, Any], weights: str = "bf16") -> Figure:
    """(c) On which clusters Switch-C and its matched dense model fit."""
    cells = [c for c in found["cells"] if c["weights"] == weights]
    sizes = [str(n) for n in sorted({c["devices"] for c in cells})]
    rows = [
        {
            "device": c["device"],
            "devices": str(c["devices"]),
            "state": _state(c),
            "text": f"R {c['ratio']:.2f}" if c["ratio"] is not None else "dense" if c["dense_fits"] else "–",
            "ink": theme.on(STATES[_state(c)]),
        }
        for c in cells
    ]
    names = [s for s in STATES if any(r["state"] == s for r in rows)]
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
                scale=alt.Scale(domain=names, range=[STATES[s] for s in names]),
                legend=alt.Legend(title=None, symbolType="square", columns=2),
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
            color=alt.Color("ink:N", scale=None),
        )
    )
    only = sum(r["state"] == "only the dense model fits" for r in rows)
    return Figure(
        name="claim-c",
        title="(c) Switch-C against its matched dense model, cluster by cluster",
        note=f"Weights {weights}. On {only} of {len(rows)} clusters only the dense model fits; R: dense over MoE "
        "throughput where both do.",
        caption=caption(found),
        alt=f"Grid of devices and cluster sizes: on {only} of {len(rows)} only the dense model fits.",
        panels=(alt.layer(tile, text).resolve_scale(color="independent").properties(width=560, height={"step": 38}),),
    )


SIZES = (
    "parameters used per token",
    "break-even: smaller serves more than the MoE",
    "matched in quality, trained alike",
    "parameters of the MoE",
)


def distillation(found: dict[str, Any]) -> Figure:
    """(d) How small a distilled dense model must be to serve more, beside the size evidence asks of one trained "
    "alike."""
    rows: list[dict[str, Any]] = []
    for r in found["rows"]:
        label = f"{theme.short(r['model'], 24)} ({r['devices']})"
        active = r["dense_parameters"] / r["q"]
        counts = (active, r["break_even_parameters"], r["dense_parameters"], active / r["s"])
        rows += [{"model": label, "what": what, "billion": n / 1e9}
                 for what, n in zip(SIZES, counts, strict=True) if n is not None]  # fmt: skip
    names = [n for n in SIZES if any(r["what"] == n for r in rows)]
    rows.sort(key=lambda r: r["what"] == SIZES[1])  # a break-even is drawn over what it falls on
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
        axis=alt.Axis(values=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000], format=",~r"),
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
        .mark_point(size=130, filled=True, opacity=1, stroke=theme.GROUND, strokeWidth=0.8)
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
        caption=caption(found),
        alt="Parameter counts per model: active, break-even, matched dense, total.",
        panels=(alt.layer(rule, dots).properties(width=480, height={"step": 44}),),
    )
