"""Predicted against measured: serving points, and the reuse penalty that kernels show."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..errors import RoutelineError
from . import scales, theme
from .figure import Figure

UNIT = {"tpot": "time per output token [ms]", "ttft": "time to first token [ms]"}


def predicted(result: dict[str, Any], target: str = "tpot") -> Figure:
    """One mark per measured serving point of validate.run(): prediction with its model family left out of the fit."""
    detail = result.get("rows_detail")
    if target not in UNIT or not detail:
        raise RoutelineError(f"no rows to draw for {target!r}: run `routeline validate` and choose tpot or ttft")
    names = ("family", "engine", f"measured_{target}_ms", f"predicted_{target}_ms")
    rows = [
        {"family": f, "engine": e, "measured": float(m), "predicted": float(p)}
        for f, e, m, p in zip(*(detail[n] for n in names), strict=True)
        if m is not None and p is not None and m > 0 and p > 0
    ]
    found = result[target]["all_rows"]
    low, high = (
        min(min(r["measured"], r["predicted"]) for r in rows),
        max(max(r["measured"], r["predicted"]) for r in rows),
    )
    scale = alt.Scale(type="log", nice=False, domain=[low * 0.9, high * 1.1])
    ends = [
        {"x": low, "a": low * 0.8, "b": low * 1.2, "y": low},
        {"x": high, "a": high * 0.8, "b": high * 1.2, "y": high},
    ]
    band = (
        alt.Chart(scales.values(ends))
        .mark_area(color="#E7EEF3", opacity=1)
        .encode(x=alt.X("x:Q", scale=scale), y=alt.Y("a:Q", scale=scale), y2=alt.Y2("b:Q"))
    )
    line = (
        alt.Chart(scales.values(ends))
        .mark_line(color=theme.INK, strokeWidth=1.2)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    )
    families = sorted({r["family"] for r in rows})
    tints = [*theme.SERIES, "#8C5A2B", "#7F7F7F", "#004D40"]
    dots = (
        alt.Chart(scales.values(rows))
        .mark_point(size=12, filled=True, opacity=0.55)
        .encode(
            x=alt.X("measured:Q", title=f"measured {UNIT[target]}", scale=scale, axis=scales.log_axis()),
            y=alt.Y("predicted:Q", title=f"predicted {UNIT[target]}", scale=scale, axis=scales.log_axis()),
            color=alt.Color(
                "family:N",
                scale=alt.Scale(domain=families, range=[tints[i % len(tints)] for i in range(len(families))]),
                legend=alt.Legend(title=None, columns=5, symbolOpacity=1),
            ),
        )
    )
    return Figure(
        name=target,
        title=f"Predicted against measured {UNIT[target].split(' [')[0]}: {len(rows):,} serving points",
        note=f"Mean absolute error {found['mape']:.1%}, median {found['median']:.1%}; band: within 20% of the "
        "measurement.",
        caption="Every family is predicted by constants fitted without it (`routeline validate`). Measurements: "
        "the clean benchmark rows of aiconfigurator-core; which rows are excluded, and the error with them in, is in "
        "its tables.",
        alt=f"Scatter of predicted over measured {UNIT[target]}; mean error {found['mape']:.1%}.",
        panels=(alt.layer(band, line, dots).properties(width=480, height=420),),
    )


def penalty(result: dict[str, Any], q: float = 2.0) -> Figure:
    """The reuse penalty measured in kernels over batch, beside the prediction, per model shape and device."""
    rows: list[dict[str, Any]] = []
    for table in result["tables"]:
        if table["q"] != q:
            continue
        where = f"{table['device']}, {table['dtype']}"
        for point in table["points"]:
            base = {"batch": point["batch"], "shape": table["shape"], "where": where}
            rows += [base | {"kind": k, "R": point[k]} for k in ("measured", "predicted") if point[k]]
    if not rows:
        raise RoutelineError(f"no penalty was measured at q = {q:g}")
    shapes = list(dict.fromkeys(r["shape"] for r in rows))
    tint = alt.Color(
        "shape:N",
        sort=shapes,
        scale=alt.Scale(domain=shapes, range=list(theme.SERIES[: len(shapes)])),
        legend=alt.Legend(title=None, columns=2),
    )
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=["measured", "predicted"], range=[[1, 0], [4, 3]]),
        legend=alt.Legend(title=None),
    )
    panels = []
    for where in dict.fromkeys(r["where"] for r in rows):
        data = scales.values([r for r in rows if r["where"] == where])
        y = alt.Y(
            "R:Q",
            title="MoE FFN time over dense FFN time",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=scales.log_axis(),
        )
        line = (
            alt.Chart(data)
            .mark_line(point=False)
            .encode(
                x=scales.tokens("batch", "tokens per step"),
                y=y,
                color=tint,
                strokeDash=dash,
                tooltip=[
                    alt.Tooltip("shape:N"),
                    alt.Tooltip("kind:N"),
                    alt.Tooltip("batch:Q", format=",.0f"),
                    alt.Tooltip("R:Q", format=".3g"),
                ],
            )
        )
        one = alt.Chart(scales.values([{"R": 1.0}])).mark_rule(color=theme.MUTED).encode(y=alt.Y("R:Q"))
        panels.append(alt.layer(one, line).properties(width=300, height=250, title=where))
    return Figure(
        name="penalty",
        title=f"The reuse penalty on silicon, against a dense FFN of q = {q:g}",
        note="It peaks at batches of 64 to 256 and fades once the experts are compute-bound.",
        caption="Solid: measured kernel times of aiconfigurator-core (routed experts, power-law routing 1.2); "
        "dashed: this model. "
        "Time of the routed experts over the GEMMs of a dense FFN of width q·k·expert width.",
        alt="Measured and predicted MoE over dense FFN time over batch.",
        panels=tuple(panels),
        columns=3,
    )
