"""How many devices it takes: feasibility over cluster size, weights per device over expert-parallel width."""

from __future__ import annotations

import altair as alt

from ..compare import Comparison
from . import data, fleet, scales, theme
from .figure import Figure

HEIGHT = 280


def cluster_size(c: Comparison) -> Figure:
    """Sequences per device of each side over the number of devices; a cross marks where it does not fit."""
    rows = fleet.over_devices(c)
    labels = data.labels(c)
    fits, unfit = [r for r in rows if r["fits"]], [r for r in rows if not r["fits"]]
    sizes = sorted({r["devices"] for r in rows})
    x = alt.X(
        "devices:O", title=f"devices ({c.cluster.device.name})", sort=sizes, axis=alt.Axis(labelAngle=0, grid=False)
    )
    offset = alt.XOffset("side:N", sort=list(labels), scale=alt.Scale(domain=list(labels)))
    legend = alt.Legend(title=None, symbolType="square")
    y = alt.Y("each:Q", title="sequences per device at the largest batch", axis=alt.Axis(tickCount=6, format=",~r"))
    bar = (
        alt.Chart(scales.values(fits))
        .mark_bar(width={"band": 0.92})
        .encode(
            x=x,
            xOffset=offset,
            y=y,
            color=scales.side_colour(labels, legend=legend),
            tooltip=[
                alt.Tooltip("side:N"),
                alt.Tooltip("devices:O"),
                alt.Tooltip("batch:Q", title="largest batch", format=",.0f"),
                alt.Tooltip("rate:Q", title="tokens/s per device", format=",.4g"),
            ],
        )
    )
    number = (
        alt.Chart(scales.values(fits))
        .mark_text(dy=-6, fontSize=9)
        .encode(x=x, xOffset=offset, y=alt.Y("each:Q"), text=alt.Text("each:Q", format=".3~s"))
    )
    cross = (
        alt.Chart(scales.values(unfit))
        .mark_text(text="×", fontSize=18, fontWeight=700, dy=-8)
        .encode(
            x=x,
            xOffset=offset,
            y=alt.value("height"),
            color=scales.side_colour(labels, legend=legend),
            tooltip=[alt.Tooltip("side:N"), alt.Tooltip("devices:O")],
        )
    )
    layers = [*([bar, number] if fits else []), *([cross] if unfit else [])]
    notes = [
        f"{label} from {one.devices_needed} {'device' if one.devices_needed == 1 else 'devices'}"
        if one.devices_needed
        else f"{label} on no size tried"
        for _, label, one in data.sides(c)
    ]
    return Figure(
        name="cluster",
        title="On how many devices does it fit?",
        note="; ".join(notes) + ". A cross: does not fit.",
        caption="Largest admissible batch over the devices at each cluster size, layouts searched anew at each unless "
        "one is fixed. " + data.assumptions(c, batch=False, layout=False),
        alt="Sequences per device at the largest admissible batch of both models over cluster size.",
        panels=(alt.layer(*layers).properties(width=600, height=HEIGHT),),
    )


def expert_width(c: Comparison) -> Figure:
    """Weight GB on a device as the experts spread over more ranks."""
    rows = fleet.over_width(c)
    widths = sorted({r["ep"] for r in rows})
    names = list(fleet.SPREAD)
    capacity = float(c.ground.capacity) / 1e9
    totals = [{"ep": w, "total_gb": next(r["total_gb"] for r in rows if r["ep"] == w)} for w in widths]
    x = alt.X("ep:O", title="expert-parallel width [devices]", sort=widths, axis=alt.Axis(labelAngle=0))
    bar = (
        alt.Chart(scales.values(rows))
        .mark_bar(stroke=theme.GROUND, strokeWidth=0.8)
        .encode(
            x=x,
            y=alt.Y("gb:Q", title="weight GB per device", stack="zero", axis=alt.Axis(tickCount=6, format=",~r")),
            color=alt.Color(
                "part:N",
                sort=names,
                scale=alt.Scale(domain=names, range=[theme.GREEN, theme.MOE]),
                legend=alt.Legend(title=None),
            ),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("ep:O"), alt.Tooltip("part:N"), alt.Tooltip("gb:Q", format=".4g")],
        )
    )
    limit = [
        alt.Chart(scales.values([{"gb": capacity}])).mark_rule(color=theme.INK, strokeDash=[5, 3]).encode(y="gb:Q"),
        *scales.halo(
            alt.Chart(scales.values([{"gb": capacity, "text": f"usable {theme.digits(capacity)} GB"}])),
            {"x": alt.value("width"), "y": alt.Y("gb:Q"), "text": alt.Text("text:N")},
            align="right", dy=-8, dx=-4, fontSize=10,
        ),
    ]  # fmt: skip
    number = {"x": x, "y": alt.Y("total_gb:Q"), "text": alt.Text("total_gb:Q", format=",.3r")}
    text = scales.halo(alt.Chart(scales.values(totals)), number, dy=-7, fontSize=10)
    first, _ = data.labels(c)
    return Figure(
        name="width",
        title=f"Weights per device as {first}'s experts spread",
        note="Spreading thins the experts only: attention, embeddings and shared parts are copied to every rank.",
        caption="Attention data parallel over the same ranks, tp = 1, embedding and head cut over them; dashed: "
        f"usable memory of one {c.cluster.device.name} ({capacity:,.4g} GB). "
        + data.assumptions(c, batch=False, layout=False, q=False),
        alt="Weight bytes per device over expert-parallel width.",
        panels=(alt.layer(bar, *limit, *text).properties(width=600, height=HEIGHT),),
    )
