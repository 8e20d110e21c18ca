"""Predicted against measured: serving points, and the reuse penalty that kernels show."""

from __future__ import annotations

from typing import Any

import altair as alt

from ..errors import RoutelineError
from . import scales, theme
from .figure import Figure

MARKS = ("circle", "square", "triangle-up", "diamond", "cross")
UNIT = {"tpot": "time per output token [ms]", "ttft": "time to first token [ms]"}


def predicted(result: dict[str, Any], target: str = "tpot") -> Figure:
    """Predictions over measurements of validate.run(), a panel per model family, each predicted without itself."""
    detail = result.get("rows_detail")
    if target not in UNIT or not detail:
        raise RoutelineError(f"no rows to draw for {target!r}: run `routeline validate` and choose tpot or ttft")
    names = ("family", "engine", f"measured_{target}_ms", f"predicted_{target}_ms")
    rows = [
        {"family": f, "engine": e, "measured": float(m), "predicted": float(p)}
        for f, e, m, p in zip(*(detail[n] for n in names), strict=True)
        if m is not None and p is not None and m > 0 and p > 0
    ]
    found, errors = result[target]["all_rows"], result[target]["by"]["family"]
    values = [v for r in rows for v in (r["measured"], r["predicted"])]
    low, high = min(values) * 0.9, max(values) * 1.1
    families = sorted({r["family"] for r in rows}, key=lambda f: errors[f]["mape"])
    panels = [_family(f, [r for r in rows if r["family"] == f], errors[f]["mape"], low, high) for f in families]
    what = UNIT[target].split(" [")[0]
    return Figure(
        name=target,
        title=f"{what[:1].upper()}{what[1:]}, predicted against measured",
        note=f"{len(rows):,} serving points: mean absolute error {found['mape']:.1%}, median {found['median']:.1%}. "
        "Band: within 20% of the measurement; families in the order of their mean error.",
        caption="Every family is predicted by constants fitted without it (`routeline validate`). Measurements: "
        "the clean benchmark rows of aiconfigurator-core; which rows are excluded, and the error with them in, is in "
        "its tables.",
        alt=f"Scatter of predicted over measured {UNIT[target]} by model family; mean error {found['mape']:.1%}.",
        panels=tuple(panels),
        columns=5,
    )


def _family(name: str, rows: list[dict[str, Any]], error: float, low: float, high: float) -> Any:
    scale = alt.Scale(type="log", nice=False, domain=[low, high])
    ends = [{"x": x, "a": x * 0.8, "b": x * 1.2} for x in (low, high)]
    edge = alt.Chart(scales.values(ends))
    axis = scales.log_axis("~s", 3)
    band = edge.mark_area(color="#DDE5EB", opacity=1, clip=True).encode(
        x=alt.X("x:Q", scale=scale), y=alt.Y("a:Q", scale=scale), y2=alt.Y2("b:Q")
    )
    line = edge.mark_line(color=theme.INK, strokeWidth=1).encode(x=alt.X("x:Q"), y=alt.Y("x:Q"))
    dots = (
        alt.Chart(scales.values(rows))
        .mark_point(size=9, filled=True, opacity=0.45, color=theme.GREEN)
        .encode(
            x=alt.X("measured:Q", title="measured [ms]", scale=scale, axis=axis),
            y=alt.Y("predicted:Q", title="predicted [ms]", scale=scale, axis=axis),
            tooltip=[alt.Tooltip("engine:N"), alt.Tooltip("measured:Q", format=".3g"),
                     alt.Tooltip("predicted:Q", format=".3g")],
        )
    )  # fmt: skip
    head = {"text": f"{name}: {error:.0%}", "fontSize": 11, "offset": 4}
    return alt.layer(band, line, dots).properties(width=130, height=130, title=head)


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
        legend=alt.Legend(title=None, columns=2, symbolType="circle"),
    )
    mark = alt.Shape("shape:N", sort=shapes, legend=tint["legend"],
                     scale=alt.Scale(domain=shapes, range=list(MARKS[: len(shapes)])))  # fmt: skip
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=["measured", "predicted"], range=[[1, 0], [4, 3]]),
        legend=None,
    )
    y = alt.Y(
        "R:Q",
        title="MoE FFN time over dense FFN time",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=scales.ratio_axis(r["R"] for r in rows),
    )
    x = scales.tokens("batch", "tokens per step")
    tips = [alt.Tooltip("shape:N"), alt.Tooltip("kind:N"), alt.Tooltip("batch:Q", format=",.0f"),
            alt.Tooltip("R:Q", format=".3g")]  # fmt: skip
    panels = []
    for where in dict.fromkeys(r["where"] for r in rows):
        mine = [r for r in rows if r["where"] == where]
        line = alt.Chart(scales.values(mine)).mark_line(strokeWidth=1.6).encode(x=x, y=y, color=tint, strokeDash=dash)
        seen = alt.Chart(scales.values([r for r in mine if r["kind"] == "measured"])).mark_point(size=38, filled=True)
        dots = seen.encode(x=x, y=alt.Y("R:Q"), color=tint, shape=mark, tooltip=tips)
        one = alt.Chart(scales.values([{"R": 1.0}])).mark_rule(color=theme.INK, strokeWidth=1.3).encode(y=alt.Y("R:Q"))
        panels.append(alt.layer(one, line, dots).properties(width=theme.THIRD, height=230, title=where))
    return Figure(
        name="penalty",
        title=f"The reuse penalty on silicon, against a dense FFN of q = {q:g}",
        note="Solid with marks: measured; dashed: predicted. It peaks at batches of 64 to 256 and fades once the "
        "experts are compute-bound.",
        caption="Measured: kernel times of aiconfigurator-core (routed experts, power-law routing 1.2); "
        "predicted: this model. "
        "Time of the routed experts over the GEMMs of a dense FFN of width q·k·expert width.",
        alt="Measured and predicted MoE over dense FFN time over batch.",
        panels=tuple(panels),
        columns=3,
    )
