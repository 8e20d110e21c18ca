"""Prefill and mixed steps in measured kernels: what prefill.mixed is to rates, for the tier `calibrated`.

Linear layers, experts and collectives take the launches of a decode step with all tokens of the pass
(routeline.measured); attention of the prompt runs at its own fitted fraction of peak compute. Encoders have
no measured kernels and are left to the roofline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from . import kernels, measured
from .arch import Stream
from .counts import Counted, Operation
from .estimate import Rates
from .kernels import chosen
from .memory import shards
from .numeric import maximum
from .routing import Routing
from .scenario import Efficiency, Layout, Workload


def part_seconds(
    counted: Counted,
    rates_: Rates,
    layout: Layout,
    efficiency: Efficiency,
    routed: Routing,
    workload: Workload,
    *,
    decoded: Any,
    per_rank: Any,
    ahead: Any,
    heads: Any,
    finished: Any,
    prompts: Any,
    attention: Callable[[Stream, Operation], tuple[Any, Any]],
    attention_format: str,
) -> dict[str, Any]:
    """Seconds by part of a step with `decoded` and `ahead` tokens on a rank; arguments as in prefill.mixed.

    attention: (bytes, FLOP) of the prompt's attention by stream; finished: prompts that end in the step
    (each costs the engine step.request, and every step with prompt tokens step.prefill).
    """
    c, rows = efficiency.kernels or {}, maximum(decoded + ahead, 1e-9)
    common = {
        "constants": c, "peaks": rates_.peaks, "computed_in": rates_.computed_in, "bandwidth": rates_.bandwidth,
        "network": rates_.network, "attention_format": attention_format,
    }  # fmt: skip
    linear = tuple(op for op in counted.operations if op.stream is None and op.state is None and op.kind != "head")
    last = tuple(op for op in counted.operations if op.kind == "head")
    all_rows = Workload(context=1.0, tokens_per_sequence=rows)
    flat = replace(layout, cp=1.0)
    out, _ = measured.part_seconds(
        replace(counted, operations=linear), flat, layout.dp, 1.0, all_rows, routed, **common
    )
    table, _ = measured.part_seconds(
        replace(counted, operations=last), layout, heads, heads / layout.dp, Workload(context=1.0), routed, **common
    )
    out["head"] = table["head"]
    if np.any(np.asarray(per_rank) > 0):
        cores = tuple(op for op in counted.operations if op.stream is not None or op.state is not None)
        own, _ = measured.part_seconds(
            replace(counted, operations=cores), layout, per_rank * layout.dp, per_rank, workload, routed, **common
        )
        for name in ("cache", "state"):
            out[name] = own.get(name, 0.0) * (per_rank > 0)
    peak, band = rates_.peaks[attention_format], rates_.bandwidth
    for op in counted.operations:
        if op.stream is not None and not op.encoder:
            k = chosen(c, "mla" if op.stream.shards == 1.0 else "gqa")
            moved, flop = attention(op.stream, op)
            busy = kernels.joined(k["p"], moved / (band * k["eta"]), flop / (peak * k["prefill"]))
            out["cache"] = out.get("cache", 0.0) + op.count * (k["t0"] + busy)
        elif op.state is not None and not op.encoder:
            k = chosen(c, "state")
            moved = prompts * 2.0 * op.state.bytes / shards(op.state.shards, layout)
            work = ahead * op.flop / layout.tp / (peak * k["prefill"])
            out["state"] = out.get("state", 0.0) + op.count * (k["t0"] + moved / (band * k["eta"]) + work)
    out["scheduling"] = (
        c["step.fixed"] + c["step.sequence"] * per_rank + c["step.prefill"] + c["step.request"] * finished
    )
    return out
