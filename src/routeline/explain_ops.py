"""The operations of a step as traces: bytes, FLOP, attainable rates and seconds of one class of layers."""

from __future__ import annotations

import math
from typing import Any

from . import estimate, explain, routing
from .compare import Comparison, Side, hardware
from .counts import Operation, element_bytes, entries
from .formulas import Trace, apply, call, leaf
from .memory import shards
from .numeric import minimum
from .side import Point


def operation_time(c: Comparison, role: str, one: Side, p: Point, op: Operation) -> Trace:
    """Seconds of one class of equal operations on the slowest rank (the mean one in tier bandwidth)."""
    e, ground = c.ground.efficiency, c.ground
    fmt = ground.attention_format if op.kind in ("attention", "state") else op.format
    if op.kind == "activation":
        fmt = "bf16"
    moved, flop = _work(c, role, one, p, op)
    fixed = float(e.overhead.get(op.kind, 0.0))
    source = f"tier {e.name}"
    inputs: dict[str, Any] = {
        "layers": explain._config(one, f"layers of this {op.kind} class", op.count),
        "bytes_": moved,
        "flop": flop,
        "bandwidth": _rate(c, "memory bandwidth", "B/s", c.cluster.device.bandwidth, e.memory_fraction(op.kind, fmt)),
        "peak": _rate(
            c,
            f"{ground.rates.computed_in.get(fmt, fmt)} peak",
            "FLOP/s",
            _peak(c, fmt),
            e.compute_fraction(op.kind, fmt),
        ),
        "fixed": leaf(
            "fixed time per layer", fixed + _per_expert(c, p, op), "s", "fitted" if fixed else "given", source
        ),
    }
    if math.isinf(e.sharpness):
        return apply("time", f"{role} {op.part} time", **inputs)
    return apply("soft_time", f"{role} {op.part} time", p=leaf("p", e.sharpness, "-", "fitted", source), **inputs)


def _per_expert(c: Comparison, p: Point, op: Operation) -> float:
    """Fixed time for each expert touched on the rank [s]."""
    e = c.ground.efficiency
    if op.kind != "routed" or not float(e.per_expert):
        return 0.0
    law, tokens = c.ground.routing, p.step.tokens
    if e.worst_rank:
        return float(e.per_expert * routing.worst_rank_touched(law, op.experts, op.top_k, tokens, p.layout.ep))
    return float(e.per_expert * routing.experts_touched(law, op.experts, op.top_k, tokens) / p.layout.ep)


def _peak(c: Comparison, fmt: str) -> float:
    """Peak rate that weights of a format are computed at, with its source [FLOP/s]."""
    return c.cluster.device.peaks.get(c.ground.rates.computed_in.get(fmt, fmt), c.ground.rates.peaks[fmt])


def _rate(c: Comparison, name: str, unit: str, nominal: float, fraction: float) -> Trace:
    e = c.ground.efficiency
    kind = "given" if e.name in ("bandwidth", "ideal") else "fitted"
    share = leaf("fraction reached", fraction, "-", kind, f"tier {e.name}: {e.source}")
    return apply("attainable", name, unit=unit, nominal=explain._device(c, name, nominal, unit), fraction=share)


def _per_rank(c: Comparison, role: str, one: Side, p: Point) -> Trace:
    name = "per_rank_worst" if c.ground.efficiency.worst_rank else "per_rank_mean"
    dp = explain._width(p.layout, "dp", p.layout.dp)
    return apply(name, "sequences per rank", per_group=explain._per_group(c, role, one, p), dp=dp)


def _rows(c: Comparison, role: str, one: Side, p: Point) -> Trace:
    per_group = _per_rank(c, role, one, p)
    return apply("tokens", "tokens per rank", per_group=per_group, verified=explain._verified(c))


def _work(c: Comparison, role: str, one: Side, p: Point, op: Operation) -> tuple[Trace, Trace]:
    """(bytes, FLOP) of one layer on one device."""
    layout, work = p.layout, c.ground.workload
    none = leaf("FLOP", 0.0, "FLOP", "derived", "no matrix product")
    if op.kind == "activation":
        cut = explain._width(layout, "cut", layout.tp if layout.pooled else 1.0)
        passes = leaf("passes", estimate.ACTIVATION_PASSES, "-", "derived", "estimate.ACTIVATION_PASSES")
        moved = apply(
            "activation_bytes",
            "bytes",
            rows=_rows(c, role, one, p),
            hidden=explain._config(one, "hidden size", p.counted.model.hidden),
            passes=passes,
            cut=cut,
        )
        return moved, none
    per_token = explain._config(one, f"{op.part} FLOP per token and layer", op.flop, "FLOP")
    stored = explain._config(one, f"{op.part} bytes of one layer", op.bytes, "B")
    if op.kind == "routed":
        return _routed(c, role, one, p, op, stored, per_token)
    if op.stream is not None:
        s = op.stream
        kept = entries(s, work.encoder_tokens if s.per_input else work.context)
        read, seen = minimum(kept, s.read * work.tokens_per_sequence), minimum(kept, s.read)
        source = "context, capped by window and sparse reads, divided by stride"
        split = explain._width(layout, f"ranks that split {s.name}", shards(s.shards, layout))
        moved = apply(
            "cache_bytes",
            "bytes",
            per_rank=_per_rank(c, role, one, p),
            entries=leaf("entries read", read, "-", "derived", source),
            elements=explain._config(one, f"{s.name} elements per entry", s.elements),
            element=explain._config(
                one, f"bytes per element ({p.counted.cache})", element_bytes(s, p.counted.cache), "B"
            ),
            shards=split,
        )
        flop = apply(
            "cache_flop",
            "FLOP",
            rows=_rows(c, role, one, p),
            entries=leaf("entries seen", seen, "-", "derived", source),
            flop_per_entry=explain._config(one, "FLOP per query and entry", op.flop, "FLOP"),
            tp=explain._width(layout, "tp", layout.tp),
        )
        return moved, flop
    if op.state is not None:
        split = explain._width(layout, "ranks that split the state", shards(op.state.shards, layout))
        state = explain._config(one, f"{op.state.name} bytes", op.state.bytes, "B")
        moved = apply("state_bytes", "bytes", per_rank=_per_rank(c, role, one, p), state=state, shards=split)
        tp = explain._width(layout, "tp", layout.tp)
        return moved, apply("gemm_flop", "FLOP", flop_per_token=per_token, rows=_rows(c, role, one, p), cut=tp)
    if op.kind == "head":
        cut = explain._width(layout, "tp * dp", layout.tp * layout.dp)
        rows = explain._tokens(c, role, one, p)
    else:
        cut = explain._width(layout, "ranks that cut it", layout.tp if layout.pooled else minimum(layout.tp, op.ways))
        rows = _rows(c, role, one, p)
    moved = apply("gemm_bytes", "bytes", stored=stored, cut=cut)
    return moved, apply("gemm_flop", "FLOP", flop_per_token=per_token, rows=rows, cut=cut)


def _routed(
    c: Comparison, role: str, one: Side, p: Point, op: Operation, stored: Trace, per_token: Trace
) -> tuple[Trace, Trace]:
    layout, law = p.layout, c.ground.routing
    moe_tp, ep = explain._width(layout, "moe_tp", layout.moe_tp), explain._width(layout, "ep", layout.ep)
    if c.ground.efficiency.worst_rank:
        hot = explain._worst(c, role, one, p, op)
        value = routing.worst_rank_load(law, op.experts, op.top_k, p.step.tokens, layout.ep)
        load = call(
            "routing.worst_rank_load",
            "load of the busiest rank",
            "-",
            value,
            "expected maximum over ranks (routing.worst_rank_load)",
            tokens=explain._tokens(c, role, one, p),
            ep=ep,
        )
    else:
        hot = apply("mean_hot", "experts on the mean rank", touched=explain._touched(c, role, one, p, op), ep=ep)
        load = leaf("load", 1.0, "-", "given", "tier bandwidth takes the mean rank")
    experts = explain._config(one, "experts", op.experts)
    moved = apply("routed_bytes", "bytes", stored=stored, hot=hot, experts=experts, moe_tp=moe_tp)
    flop = apply(
        "routed_flop",
        "FLOP",
        flop_per_token=per_token,
        tokens=explain._tokens(c, role, one, p),
        moe_tp=moe_tp,
        ep=ep,
        load=load,
    )
    return moved, flop


def fixed_part(c: Comparison, key: str, name: str, p: Point) -> Trace:
    """Communication and scheduling: evaluated as a whole from estimate's own functions."""
    e, ground = c.ground.efficiency, c.ground
    per_group = math.ceil(p.batch / (p.layout.replicas * p.layout.pp) - 1e-9)
    per_rank = math.ceil(per_group / p.layout.dp - 1e-9) if e.worst_rank else per_group / p.layout.dp
    rank = leaf("sequences per rank", per_rank, "sequences", "derived", f"layout {p.layout}")
    if name == "scheduling":
        value = float(e.step + e.per_sequence * per_rank)
        return call("scheduling", key, "s", value, f"tier {e.name}: step + per_sequence * sequences", per_rank=rank)
    tokens = per_rank * ground.workload.tokens_per_sequence
    value = estimate.communication(p.counted, ground.rates, p.layout, tokens, e)
    used: dict[str, Any] = {
        name.removeprefix("device.").replace(".", "_"): explain._device(c, name, amount, unit)
        for name, amount, unit in hardware(c.cluster, c.scenario, ground, c.moe, c.dense)
        if name.split(".")[-1] in ("link", "nic", "hop")
    }
    source = "collectives of every layer: estimate.communication, routeline.comm"
    layout = leaf("layout", str(p.layout), "", "derived", f"asked: {c.scenario.layout}")
    return call("estimate.communication", key, "s", value, source, per_rank=rank, **used, layout=layout)
