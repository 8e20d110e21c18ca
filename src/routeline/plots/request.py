"""R per request: what prefill does to the answer, over output length and prefix-cache hits."""

from __future__ import annotations

from dataclasses import replace

import altair as alt
import numpy as np

from .. import requests
from ..compare import Comparison
from ..errors import RoutelineError
from ..units import show
from . import data, scales, theme
from .figure import Figure

HITS = (0.0, 0.5, 0.9, 0.99)
DASHES = ([1, 0], [8, 3], [4, 3], [2, 2], [8, 3, 2, 3])


def over_output(c: Comparison, points: int = 25) -> tuple[data.Rows, requests.Shape]:
    """R per request and prefill's share of the MoE's time over output tokens, per share of prefix hits."""
    shape = requests.shape_of(c.scenario, illustrate=True)
    assert shape is not None
    limit = float(c.model.context_limit or np.inf)
    top = min(max(16384.0, 4 * float(shape.output)), max(limit - float(shape.input), float(shape.output)))
    outputs = np.unique(np.append(np.round(np.geomspace(1.0, max(top, 2.0), points)), float(shape.output)))
    hits = sorted({*HITS, float(shape.prefix_hit)})
    many = replace(shape, output=np.tile(outputs, len(hits)), prefix_hit=np.repeat(hits, outputs.size))
    found = [requests.cheapest(one.counted, c.ground, one.options, many, c.scenario.batch) for one in (c.moe, c.dense)]
    size = many.output.shape
    moe, dense = (np.broadcast_to(np.asarray(f.total, float), size) for f in found)
    share = np.broadcast_to(np.asarray(found[0].prefill, float), size)
    rows = [
        {
            "output": float(o),
            "hits": f"{h:.0%}",
            "R": float(m / d),
            "moe_prefill_share": float(p / m),
            "moe_s": float(m),
            "dense_s": float(d),
        }
        for o, h, m, d, p in zip(many.output, many.prefix_hit, moe, dense, share, strict=True)
        if np.isfinite(m) and np.isfinite(d)
    ]
    return rows, shape


def request(c: Comparison) -> Figure:
    """R per request over output length, one line per share of the prompt found in the prefix cache."""
    rows, shape = over_output(c)
    if not rows:
        raise RoutelineError(f"{data.labels(c)[0]} or its match does not fit on {c.cluster.name} at this request")
    names = list(dict.fromkeys(r["hits"] for r in rows))
    kinds = scales.named_line(
        "hits", names, theme.GREENS, DASHES, scales.line_legend("share of the prompt found in the prefix cache")
    )
    tips = [
        alt.Tooltip("hits:N", title="prefix hits"),
        alt.Tooltip("output:Q", format=",.0f"),
        alt.Tooltip("R:Q", format=".3g"),
        alt.Tooltip("moe_prefill_share:Q", title="prefill share of the MoE's time", format=".0%"),
    ]
    moe, dense = data.names(c)
    y = alt.Y(
        "R:Q", title=f"R, {moe} over {dense} request time", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)
    )
    line = (
        alt.Chart(scales.values(rows))
        .mark_line()
        .encode(x=scales.tokens("output", "output tokens per request"), y=y, tooltip=tips, **kinds)
    )
    one = scales.unity([r["R"] for r in rows], (moe, dense))
    here = [r for r in rows if r["output"] == float(shape.output) and r["hits"] == f"{float(shape.prefix_hit):.0%}"]
    spot = scales.here(here, x=alt.X("output:Q"), y=alt.Y("R:Q"), tooltip=tips)
    assumed = f" An illustration: no {' or '.join(shape.assumed)} was given." if shape.assumed else ""
    said = f"R = {here[0]['R']:.3g} at the diamond ({shape})." if here else ""
    return Figure(
        name="request",
        title=f"Whole requests: {show(float(shape.input), 'tokens')} tokens in",
        note=f"{said} Prefill favours a sparse model, so short answers to long uncached prompts can turn the "
        f"verdict.{assumed}",
        caption="Cluster time per request: prefill of the uncached prompt, then decode at the largest batch that "
        "fits at the request's mean context; both phases share devices and layout. "
        "Tiers that leave compute out count it here. " + data.assumptions(c, context=False, layout=False),
        alt="Ratio of request cost over output length for several prefix-cache hit rates.",
        panels=(alt.layer(one[0], line, *one[1:], spot).properties(width=560, height=290),),
    )
