"""How many devices it takes: feasibility over cluster size, weights per device over expert-parallel width."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import data, grid, scales, theme
from .figure import Figure


def cluster_size(c: Comparison) -> Figure:
    """Largest batch of each side over the number of devices; a cross marks a size on which it does not fit."""
    rows = grid.over_devices(c)
    labels = data.labels(c)
    fits = [r | {"per_device": r["batch"] / r["devices"]} for r in rows if r["fits"] and r["batch"] >= 1]
    unfit = [r for r in rows if not r["fits"]]
    sizes = sorted({r["devices"] for r in rows})
    x = alt.X(
        "devices:O", title=f"devices ({c.cluster.device.name})", sort=sizes, axis=alt.Axis(labelAngle=0, grid=False)
    )
    colour = scales.side_colour(labels)
    offset = alt.XOffset("side:N", sort=list(labels), scale=alt.Scale(domain=list(labels)))
    tips = [
        alt.Tooltip("side:N"),
        alt.Tooltip("devices:O"),
        alt.Tooltip("batch:Q", title="largest batch", format=",.0f"),
        alt.Tooltip("rate:Q", title="tokens/s per device", format=",.4g"),
    ]
    layers: list[alt.Chart] = []
    if fits:
        y = scales.log_y("batch", "largest admissible batch [sequences]", scale={"domainMin": 0.5, "padding": 0})
        layers.append(
            alt.Chart(scales.values(fits))
            .mark_bar(width={"band": 0.92})
            .encode(x=x, xOffset=offset, y=y, y2=alt.Y2Datum(0.5), color=colour, tooltip=tips)
        )
        layers.append(
            alt.Chart(scales.values(fits))
            .mark_text(dy=-7, fontSize=10)
            .encode(x=x, xOffset=offset, y=alt.Y("batch:Q"), text=alt.Text("batch:Q", format=",.0f"))
        )
    if unfit:
        cross = (
            alt.Chart(scales.values(unfit))
            .mark_text(text="×", fontSize=18, fontWeight=700, dy=-8)
            .encode(
                x=x,
                xOffset=offset,
                y=alt.value(300),
                color=colour,
                tooltip=[alt.Tooltip("side:N"), alt.Tooltip("devices:O")],
            )
        )
        layers.append(cross)
    chart = alt.layer(*layers).properties(width=600, height=300)
    notes = [
        f"{label} from {one.devices_needed} {'device' if one.devices_needed == 1 else 'devices'}"
        if one.devices_needed
        else f"{label} on no size tried"
        for _, label, one in data.sides(c)
    ]
    return Figure(
        name="cluster",
        title="On how many devices does it fit?",
        note="× does not fit. " + "; ".join(notes) + ".",
        caption="Largest admissible batch at each cluster size, layouts searched anew at each unless one is fixed. "
        + data.assumptions(c, batch=False, layout=False),
        alt="Largest admissible batch of both models over cluster size.",
        panels=(chart,),
    )


def expert_width(c: Comparison) -> Figure:
    """Weight GB on a device as the experts spread over more ranks."""
    rows = grid.over_width(c)
    widths = sorted({r["ep"] for r in rows})
    names = ["routed experts", "everything else, one copy on each"]
    capacity = float(c.ground.capacity) / 1e9
    totals = [{"ep": w, "total_gb": next(r["total_gb"] for r in rows if r["ep"] == w)} for w in widths]
    x = alt.X(
        "ep:O",
        title="expert-parallel width (devices the experts are spread over)",
        sort=widths,
        axis=alt.Axis(labelAngle=0),
    )
    drawn = [r | {"order": names.index(r["part"])} for r in rows]
    bar = (
        alt.Chart(scales.values(drawn))
        .mark_bar(stroke=theme.GROUND, strokeWidth=0.8)
        .encode(
            x=x,
            y=alt.Y("gb:Q", title="weight GB per device", stack="zero", axis=alt.Axis(tickCount=6)),
            color=alt.Color(
                "part:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[theme.MOE, theme.GREEN]),
                legend=alt.Legend(title=None),
            ),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("ep:O"), alt.Tooltip("part:N"), alt.Tooltip("gb:Q", format=".4g")],
        )
    )
    text = (
        alt.Chart(scales.values(totals))
        .mark_text(dy=-7, fontSize=10)
        .encode(x=x, y=alt.Y("total_gb:Q"), text=alt.Text("total_gb:Q", format=",.3g"))
    )
    limit = (
        alt.Chart(scales.values([{"gb": capacity}]))
        .mark_rule(color=theme.INK, strokeDash=[5, 3])
        .encode(y=alt.Y("gb:Q"))
    )
    first, _ = data.labels(c)
    return Figure(
        name="width",
        title=f"Weights per device as {first}'s experts spread",
        note="Spreading thins the experts only: attention, embeddings and shared parts are copied to every rank.",
        caption="Attention data parallel over the same ranks, tp = 1, embedding and head cut over them; dashed: "
        f"usable memory of one {c.cluster.device.name} ({capacity:,.4g} GB). "
        + data.assumptions(c, batch=False, layout=False, q=False),
        alt="Weight bytes per device over expert-parallel width.",
        panels=(alt.layer(bar, limit, text).properties(width=600, height=290),),
    )
