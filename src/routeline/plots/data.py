"""Numbers for charts: every value comes from the functions `compare` calls, converted here to the unit shown.

Rows are dictionaries of plain numbers and text, one per mark. Charts draw them and do no arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from .. import counts, layouts, memory, routing, side
from ..answer.rows import number
from ..arch import Model
from ..compare import Comparison, Side
from ..errors import RoutelineError
from ..numeric import choose
from ..routing import Routing
from ..scenario import Layout
from ..units import show
from .theme import short

Rows = list[dict[str, Any]]

GROUPS = {
    "routed": "routed experts",
    "shared": "shared experts",
    "dense_ffn": "dense FFN",
    "attention": "attention weights",
    "cache": "cache",
    "state": "state",
    "head": "embedding, head",
    "embedding": "embedding, head",
    "activations": "activations",
    "communication": "communication",
    "scheduling": "overhead",
}
"""Part of the model -> group shown; anything else is 'norms, routers, other'."""
REST = "norms, routers, other"


def labels(c: Comparison) -> tuple[str, str]:
    """Display names of both sides: bounded, one line, never equal."""
    one, two = short(c.model.name, 34), short(c.opponent.name, 34)
    if c.opponent.architecture == "matched dense":
        two = f"matched dense, {show(float(counts.total(c.opponent)), 'count', 3)}"
    return (one, two) if one != two else (one, f"{two} (second)")


def sides(c: Comparison) -> Iterable[tuple[str, str, Side]]:
    """(role, label, side) of both."""
    first, second = labels(c)
    return (("moe", first, c.moe), ("dense", second, c.dense))


def assumptions(c: Comparison, *, batch: bool = True, context: bool = True, layout: bool = True, q: bool = True) -> str:
    """What a chart rests on, in one sentence a reader can check. Flags leave out what the chart varies."""
    s = c.scenario
    parts = [short(c.cluster.name, 60)]
    if context:
        parts.append(f"context {show(float(s.context), 'tokens')} tokens")
    if batch and s.batch is not None:
        parts.append(f"batch {float(s.batch):,.0f}")
    parts.append(f"weights {s.weights}, cache {c.moe.counted.cache}")
    parts.append(f"tier {c.ground.efficiency.name}, routing {short(c.ground.routing.name)}")
    parts.append(f"{s.memory} memory × {float(s.utilisation):g}")
    if layout:
        chosen = [f"{label}: {one.point.layout}" for _, label, one in sides(c) if one.point is not None]
        parts.append(f"layout {short(s.layout)}" + (f" ({'; '.join(chosen)})" if chosen else ""))
    if q:
        parts.append(f"q = {c.q:.3g}" + (f" ({short(c.q_source, 110)})" if c.q_source else ""))
    return "; ".join(parts) + "."


def need(c: Comparison, *roles: str) -> None:
    """Refuse a chart that needs a side which does not fit."""
    for role, _, one in sides(c):
        if role in roles and one.point is None:
            fits = f"it needs {one.devices_needed} devices" if one.devices_needed else "no cluster size tried holds it"
            raise RoutelineError(
                f"{one.name} does not fit on {c.cluster.name} at this context, so there is nothing to draw: {fits}; "
                "use more devices, or --ignore-fit to see the times all the same"
            )


def powers(limit: float, start: float = 1.0) -> np.ndarray:
    """start, 2*start, ... up to and including the last not above `limit`."""
    return start * 2.0 ** np.arange(0, int(np.floor(np.log2(max(limit / start, 1.0)))) + 1)


# --- fragmentation ---------------------------------------------------------------------------------


def routings(c: Comparison) -> list[tuple[str, Routing]]:
    """The routings a fragmentation chart sets side by side: uniform, a skewed one and the scenario's own."""
    own = c.ground.routing
    found = [("uniform", routing.UNIFORM), ("skewed (zipf 1.2)", routing.parse("zipf:1.2"))]
    if own.probabilities is not None:
        found.append(("measured", own))
    elif own.name == "zipf" and own.exponent != 1.2:
        found.append((f"zipf {own.exponent:g}", own))
    found.append(("balanced (limit)", routing.BALANCED))
    return found


def fragmentation(c: Comparison, limit: float = 2.0**16) -> Rows:
    """phi = U/k, phi/q and tokens per fetched expert over tokens per step T, per routing."""
    experts, k = c.moe.counted.experts, c.moe.counted.top_k
    if not np.any(c.moe.counted.moe_layers):
        raise RoutelineError(f"{c.model.name} has no routed experts: there is no reuse to fragment")
    tokens = np.unique(np.round(2.0 ** np.arange(0, np.log2(limit) + 0.01, 0.5)))
    out: Rows = []
    for name, rule in routings(c):
        touched = routing.experts_touched(rule, experts, k, tokens)
        phi = routing.fragmentation(touched, k)
        reuse = routing.tokens_per_expert(tokens, k, touched)
        out += [
            {
                "tokens": float(t),
                "routing": name,
                "touched": float(u),
                "phi": float(p),
                "phi_over_q": float(p) / c.q,
                "tokens_per_expert": float(r),
            }
            for t, u, p, r in zip(tokens, np.atleast_1d(touched), np.atleast_1d(phi), np.atleast_1d(reuse), strict=True)
        ]
    return out


# --- memory ----------------------------------------------------------------------------------------


def _only(model: Model, parts: set[str]) -> Model:
    """The model with every weight outside `parts` emptied: what is left is what those parts keep resident."""

    def keep(w: Any) -> Any:
        return w if w.part in parts else replace(w, params=0.0)

    return replace(
        model,
        embedding=keep(model.embedding),
        head=keep(model.head),
        extra=tuple(keep(w) for w in model.extra),
        layers=tuple(replace(g, weights=tuple(keep(w) for w in g.weights)) for g in model.layers),
    )


def weights_by_part(c: Comparison, one: Side, layout: Layout) -> dict[str, float]:
    """Resident weight bytes on one device by group shown [B]; they sum to memory.weights_per_device."""
    model, out = one.counted.model, {}
    for part in {w.part for w, _, _ in counts.weights(model)}:
        held = counts.residents(_only(model, {part}), with_mtp=bool(c.scenario.draft))
        amount = memory.weights_per_device(replace(one.counted, residents=held), layout, c.ground.routing.redundant)
        group = GROUPS.get(part, REST)
        out[group] = out.get(group, 0.0) + float(np.max(amount))
    return {k: v for k, v in out.items() if v > 0}


def leanest(one: Side, redundant: Any = 0.0) -> Layout:
    """Of the layouts a side may use, the one with the fewest weight bytes a device."""
    if np.ndim(one.options.tp) == 0:
        return one.options
    return layouts.pick(one.options, int(np.argmin(memory.weights_per_device(one.counted, one.options, redundant))))


def memory_stack(c: Comparison) -> Rows:
    """GB on the fullest device by what holds them, per side; a side that does not fit shows its weights alone."""
    device = float(c.cluster.device.memory(c.scenario.memory))
    capacity = float(c.ground.capacity)
    out: Rows = []
    for role, label, one in sides(c):
        layout = one.point.layout if one.point is not None else leanest(one, c.ground.routing.redundant)
        batch = one.point.batch if one.point is not None and one.fits else 0.0
        held = weights_by_part(c, one, layout)
        ranks = float(layout.dp * layout.replicas)
        cache = float(memory.cache_per_device(one.counted, layout, c.ground.workload)) * float(np.ceil(batch / ranks))
        stack = held | {"cache": cache}
        stack["free"] = max(capacity - sum(stack.values()), 0.0)
        stack["not used (utilisation, runtime)"] = max(device - capacity, 0.0)
        out += [
            {
                "role": role,
                "side": label,
                "part": part,
                "gb": amount / 1e9,
                "fits": one.fits,
                "batch": batch,
                "layout": str(layout),
            }
            for part, amount in stack.items()
            if amount > 0
        ]
    return out


# --- step time -------------------------------------------------------------------------------------


def step_parts(c: Comparison) -> Rows:
    """Milliseconds of one step and microseconds per output token, by part, per side at its own batch."""
    need(c, "moe", "dense")
    out: Rows = []
    for role, label, one in sides(c):
        point = one.point
        assert point is not None
        grouped: dict[str, float] = {}
        for part, time in point.step.parts.items():
            name = GROUPS.get(part, REST)
            grouped[name] = grouped.get(name, 0.0) + float(time.seconds)
        tokens = float(point.step.output)
        out += [
            {
                "role": role,
                "side": f"{label}, batch {point.batch:,.0f}",
                "part": part,
                "ms": seconds * 1e3,
                "us_per_token": seconds / tokens * 1e6,
                "batch": point.batch,
            }
            for part, seconds in grouped.items()
            if seconds > 0
        ]
    return out


# --- the two penalties -----------------------------------------------------------------------------


def waterfall(c: Comparison) -> Rows:
    """From the dense model's tokens/s to the MoE's: what the smaller batch takes, what lost reuse takes.

    R = reuse penalty x headroom gain (model.md section 7): the dense model held to the MoE's batch reaches
    rate_dense / headroom; the MoE reaches that / reuse.
    """
    ratio = c.ratios["max_batch"]
    if ratio.value is None or c.headroom_gain is None or c.reuse_penalty is None:
        raise RoutelineError(f"the two penalties need both sides to fit: {ratio.reason}")
    assert ratio.moe is not None
    assert ratio.dense is not None
    first, second = labels(c)
    top, bottom = ratio.dense.rate / c.cluster.count, ratio.moe.rate / c.cluster.count
    middle = top / c.headroom_gain

    def row(order: int, name: str, start: float, end: float, kind: str, text: str) -> dict[str, Any]:
        return {
            "order": order,
            "step": name,
            "from": start,
            "to": end,
            "kind": kind,
            "text": text,
            "low": min(start, end),
            "high": max(start, end),
        }

    def change(start: float, end: float) -> str:
        return "loss" if end < start else "gain"

    return [
        row(0, f"{second}\nbatch {ratio.dense.batch:,.0f}", 0.0, top, "dense", number(top)),
        row(
            1,
            f"held to batch {ratio.moe.batch:,.0f}\n(headroom)",
            top,
            middle,
            change(top, middle),
            f"÷ {c.headroom_gain:.3g}",
        ),
        row(2, "less reuse per\nfetched weight", middle, bottom, change(middle, bottom), f"÷ {c.reuse_penalty:.3g}"),
        row(3, f"{first}\nbatch {ratio.moe.batch:,.0f}", 0.0, bottom, "moe", number(bottom)),
    ]


# --- roofline --------------------------------------------------------------------------------------


def ridge_tokens(c: Comparison, one: Side, part: str) -> tuple[float, float, str] | None:
    """(tokens per step at which a part's weights turn compute-bound, intensity there, format), at peak rates.

    FLOP*T/F = bytes*U(T)/E/BW, solved by bisection; None when the side has no such part.
    """
    found = [op for op in one.counted.operations if op.part == part and op.bytes and op.flop and not op.encoder]
    if not found:
        return None
    op = max(found, key=lambda o: float(np.max(o.bytes * o.count)))
    peak, band = float(c.ground.rates.peaks[op.format]), float(c.ground.rates.bandwidth)

    def surplus(tokens: float) -> float:
        share = routing.experts_touched(c.ground.routing, op.experts, op.top_k, tokens) / op.experts
        return op.flop * tokens / peak - op.bytes * float(np.max(share)) / band

    low, high = 0.0, 60.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if surplus(2.0**middle) > 0 else (middle, high)
    return 2.0**high, peak / band, c.ground.rates.computed_in.get(op.format, op.format)


def roofline_points(c: Comparison, limit: float = 2.0**15) -> Rows:
    """Where routed experts, the dense FFN and the attention core sit as tokens per step grow.

    TFLOP/s attained per device (this tier) over FLOP per byte moved; `admitted`: within the largest batch.
    """
    need(c, "moe", "dense")
    out: Rows = []
    first, second = labels(c)
    wanted = [
        (c.moe, "routed", f"experts of {first}"),
        (c.dense, "dense_ffn", f"FFN of {second}"),
        (c.moe, "cache", f"attention over the cache, {first}"),
    ]
    for one, part, name in wanted:
        point = one.point
        assert point is not None
        batches = powers(limit / float(c.ground.workload.tokens_per_sequence))
        step = side.step_at(one.counted, c.ground, point.layout, batches)
        if part not in step.parts:
            continue
        time, devices = step.parts[part], float(point.layout.devices)
        moved, flop = np.broadcast_to(time.bytes, batches.shape), np.broadcast_to(time.flop, batches.shape)
        seconds = np.broadcast_to(time.seconds, batches.shape)
        out += [
            {
                "part": name,
                "kind": part,
                "tokens": float(b) * float(c.ground.workload.tokens_per_sequence),
                "batch": float(b),
                "intensity": float(f / m),
                "tflops": float(f / s / devices) / 1e12,
                "admitted": "fits" if b <= point.max_batch else "past the largest batch",
            }
            for b, m, f, s in zip(batches, moved, flop, seconds, strict=True)
            if m > 0 and f > 0
        ]
    return out


def roofs(c: Comparison, low: float, high: float) -> Rows:
    """The device's roof per compute format in use: bandwidth slope and dense peak (datasheet), TFLOP/s per device."""
    band = float(c.ground.rates.bandwidth)
    used = {op.format for one in (c.moe, c.dense) for op in one.counted.operations if op.bytes} | {"bf16"}
    out: Rows = []
    for fmt in sorted(used):
        if fmt not in c.ground.rates.peaks:
            continue
        peak, ran = float(c.ground.rates.peaks[fmt]), c.ground.rates.computed_in.get(fmt, fmt)
        name = f"roof, {ran}"
        if any(r["roof"] == name for r in out):
            continue
        ridge = peak / band
        out += [
            {"roof": name, "intensity": x, "tflops": float(choose(x < ridge, x * band, peak)) / 1e12, "ridge": ridge}
            for x in (low, min(max(ridge, low), high), high)
        ]
    return out
