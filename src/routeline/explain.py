"""Trace one number of a comparison to its formula, with values, units, kinds and sources put in.

Nothing carries its history: formulas are evaluated again from named inputs, and a trace that does not
give back the number the comparison holds is refused as a fault instead of being shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from . import counts, measured, memory, routing, side
from .arch import Layers
from .callable import named
from .compare import Comparison, Side
from .counts import Operation
from .errors import RoutelineError, UnknownName
from .formulas import Trace, apply, call, leaf, total
from .scenario import Scenario
from .side import Point

CLOSE = 1e-9
"""Relative agreement between a trace and the number it explains."""
TOP = ("s", "q", "qs", "throughput_ratio", "reuse_penalty", "headroom_gain")
SIDE = (
    "total",
    "active",
    "weight_bytes",
    "cache_bytes",
    "capacity",
    "weights_per_device",
    "cache_per_device",
    "max_batch",
    "batch",
    "experts_touched",
    "worst_rank_touched",
    "fragmentation",
    "tokens_per_expert",
    "step_time_s",
    "tpot_s",
    "tokens_per_s",
)


def keys(comparison: Comparison) -> list[str]:
    """Every key that can be explained for this comparison."""
    out = [*TOP, *(f"ratios.{n}" for n in comparison.ratios)]
    for role, one in (("moe", comparison.moe), ("dense", comparison.dense)):
        out += [f"{role}.{k}" for k in SIDE]
        if one.point is not None:
            out += [f"{role}.parts.{p}" for p in one.point.step.parts]
    return out


def explain(comparison: Comparison, key: str) -> Trace:
    """The trace of one number.

    Raises:
        UnknownName: no such key; carries the nearest ones.
        RoutelineError: the side does not fit, so the number does not exist.
    """
    c = comparison
    if key not in keys(c):
        raise UnknownName("key", key, keys(c), "`routeline explain --keys MODEL --devices ...` lists them")
    role, _, rest = key.partition(".")
    if role in ("moe", "dense") and rest:
        return _side(c, role, rest)
    if role == "ratios":
        return _ratio(c, rest)
    return {
        "s": _s,
        "q": _q,
        "qs": _qs,
        "throughput_ratio": lambda c: _ratio(c, "max_batch"),
        "reuse_penalty": _reuse,
        "headroom_gain": _headroom,
    }[key](c)


def _same(trace: Trace, value: Any) -> Trace:
    """The trace, once it is sure that it explains this number."""
    if not math.isclose(float(trace.value), float(value), rel_tol=CLOSE, abs_tol=1e-300):
        raise AssertionError(f"the trace of {trace.key} gives {trace.value!r}, the answer holds {value!r}")
    return trace


# --- inputs ----------------------------------------------------------------------------------------


def _asked(c: Comparison, name: str) -> Trace:
    field = next(f for f in fields(Scenario) if f.name == name)
    value = getattr(c.scenario, name)
    given = value != field.default
    source = "asked" if given else f"default: {field.metadata['what']}"
    shown = value if isinstance(value, (str, int, float)) else 0.0
    return leaf(name, shown, field.metadata["unit"], "given" if given else "default", source)


def _device(c: Comparison, name: str, value: Any, unit: str) -> Trace:
    kind, source = getattr(value, "kind", "given"), getattr(value, "source", "") or c.cluster.device.name
    return leaf(f"{c.cluster.device.name} {name}", value, unit, kind, source)


def _config(one: Side, name: str, value: Any, unit: str = "-") -> Trace:
    source = one.counted.model.source or "stated shape"
    return leaf(f"{one.name} {name}", value, unit, "derived", f"counted from {source}")


def _width(layout: Any, name: str, value: Any) -> Trace:
    return leaf(name, value, "-", "derived", f"layout {layout}")


def _point(one: Side) -> Point:
    if one.point is None:
        raise RoutelineError(f"{one.name} does not fit, so there is no such number: {one.reason}")
    return one.point


# --- top ------------------------------------------------------------------------------------------


def _s(c: Comparison) -> Trace:
    return _same(apply("s", "s", active=_side(c, "moe", "active"), total=_side(c, "moe", "total")), c.s)


def _q(c: Comparison) -> Trace:
    kind = "given" if c.scenario.q is not None else "fitted"
    return leaf("q", c.q, "-", kind, c.q_source or "asked")


def _qs(c: Comparison) -> Trace:
    return _same(apply("qs", "qs", q=_q(c), s=_s(c)), c.qs)


def _ratio(c: Comparison, name: str) -> Trace:
    ratio = c.ratios[name]
    if ratio.value is None or ratio.moe is None or ratio.dense is None:
        raise RoutelineError(f"there is no R {name}: {ratio.reason or 'a side does not fit'}")
    if name == "request":
        costs: dict[str, Any] = {}
        for role, one, cost in (("moe", c.moe, ratio.detail.moe), ("dense", c.dense, ratio.detail.dense)):
            source = f"routeline.prefill and estimate.step: {ratio.detail.shape}, layout {cost.layout}, {one.name}"
            costs[f"{role}_cost"] = apply(
                "request_cost",
                f"{role}.request_cost",
                prefill=leaf("prefill", cost.prefill, "s", "derived", source),
                decode=leaf("decode", cost.decode, "s", "derived", source),
            )
        return _same(apply("request_ratio", "ratios.request", **costs), ratio.value)
    rates: dict[str, Any] = {
        f"{role}_rate": _rate(c, role, point) for role, point in (("dense", ratio.dense), ("moe", ratio.moe))
    }
    return _same(apply("ratio", f"ratios.{name}", **rates), ratio.value)


def _reuse(c: Comparison) -> Trace:
    pair = c.ratios["max_batch"]
    if c.reuse_penalty is None or pair.moe is None or pair.dense is None:
        raise RoutelineError(f"there is no reuse penalty: {pair.reason or 'a side does not fit'}")
    step = side.step_at(c.dense.counted, c.ground, pair.dense.layout, pair.moe.batch)
    there = Point(
        counted=c.dense.counted,
        layout=pair.dense.layout,
        batch=pair.moe.batch,
        max_batch=pair.dense.max_batch,
        step=step,
    )
    found = apply(
        "reuse_penalty", "reuse_penalty", moe_step=_step(c, "moe", pair.moe), dense_step=_step(c, "dense", there)
    )
    return _same(found, c.reuse_penalty)


def _headroom(c: Comparison) -> Trace:
    reuse = _reuse(c)
    assert c.headroom_gain is not None
    return _same(apply("headroom_gain", "headroom_gain", ratio=_ratio(c, "max_batch"), reuse=reuse), c.headroom_gain)


# --- one side --------------------------------------------------------------------------------------


def _side(c: Comparison, role: str, name: str) -> Trace:
    one = c.moe if role == "moe" else c.dense
    if name.startswith("parts."):
        return _part(c, role, _point(one), name.removeprefix("parts."))
    return _SIDE[name](c, role, one)


def _total(c: Comparison, role: str, one: Side) -> Trace:
    parts = counts.parameters(one.counted.model)
    held = {p: _config(one, f"{p} parameters", v) for p, v in parts.items() if v and p != "mtp"}
    return _same(total(f"{role}.total", "-", "all parameters but MTP layers", held), counts.total(one.counted.model))


def _active(c: Comparison, role: str, one: Side) -> Trace:
    used: dict[str, float] = {}
    for w, count, group in counts.weights(one.counted.model):
        if w.part not in counts.INACTIVE:
            share = group.top_k / group.experts if isinstance(group, Layers) and w.part == "routed" else 1.0
            used[w.part] = used.get(w.part, 0.0) + float(count * w.params * share)
    held = {p: _config(one, f"{p} parameters used per token", v) for p, v in used.items() if v}
    found = total(f"{role}.active", "-", "docs/physics.md section 1: routed experts by top_k/experts", held)
    return _same(found, counts.active(one.counted.model).all)


def _weight_bytes(c: Comparison, role: str, one: Side) -> Trace:
    model, drafting = one.counted.model, bool(c.scenario.draft)
    held = {
        p: _config(one, f"{p} bytes as stored", v, "B") for p, v in counts.stored(model, with_mtp=drafting).items() if v
    }
    return _same(total(f"{role}.weight_bytes", "B", "one copy at its precision", held), one.weight_bytes)


def _cache_bytes(c: Comparison, role: str, one: Side) -> Trace:
    value = one.cache_bytes
    context = _asked(c, "context")
    source = f"counts.cache_bytes in {one.counted.cache}: per token, windows capped, constant state once"
    return call("counts.cache_bytes", f"{role}.cache_bytes", "B", value, source, context=context)


def _capacity(c: Comparison, role: str, one: Side) -> Trace:
    device, s = c.cluster.device, c.scenario
    usable = s.memory == "usable" and device.memory_usable is not None
    basis = device.memory_usable if usable else device.memory_marketed
    found = apply(
        "capacity",
        f"{role}.capacity",
        memory=_device(c, f"{s.memory} memory", basis, "B"),
        utilisation=_asked(c, "utilisation"),
        overhead=_asked(c, "overhead"),
    )
    return _same(found, c.ground.capacity)


def _weights_per_device(c: Comparison, role: str, one: Side) -> Trace:
    p = _point(one)
    value = memory.weights_per_device(one.counted, p.layout, c.ground.routing.redundant)
    return call(
        "memory.weights_per_device",
        f"{role}.weights_per_device",
        "B",
        value,
        "docs/physics.md section 4: matrices over tp, experts over moe_tp*ep, tables over tp*dp, all over pp",
        weight_bytes=_weight_bytes(c, role, one),
        layout=leaf("layout", str(p.layout), "", "derived", f"asked: {c.scenario.layout}"),
    )


def _cache_per_device(c: Comparison, role: str, one: Side) -> Trace:
    p = _point(one)
    value = memory.cache_per_device(one.counted, p.layout, c.ground.workload)
    return call(
        "memory.cache_per_device",
        f"{role}.cache_per_device",
        "B",
        value,
        "docs/physics.md section 4: heads split it, a latent is replicated, cp splits by position",
        cache_bytes=_cache_bytes(c, role, one),
        layout=leaf("layout", str(p.layout), "", "derived", f"asked: {c.scenario.layout}"),
    )


def _max_batch(c: Comparison, role: str, one: Side) -> Trace:
    p = _point(one)
    found = apply(
        "max_batch",
        f"{role}.max_batch",
        capacity=_capacity(c, role, one),
        weights=_weights_per_device(c, role, one),
        cache=_cache_per_device(c, role, one),
        ranks=_width(p.layout, "dp * replicas", p.layout.dp * p.layout.replicas),
    )
    return _same(found, p.max_batch)


def _batch(c: Comparison, role: str, one: Side, point: Point | None = None) -> Trace:
    p = point or _point(one)
    if p.batch == p.max_batch and point in (None, one.point):
        return _max_batch(c, role, one)
    return leaf(f"{role}.batch", p.batch, "sequences", "given", "asked, or the common batch of this ratio")


def _verified(c: Comparison) -> Trace:
    return leaf("verified", c.ground.workload.tokens_per_sequence, "tokens", "given", "1 + draft")


def _per_group(c: Comparison, role: str, one: Side, p: Point) -> Trace:
    return apply(
        "per_group",
        "sequences per replica",
        batch=_batch(c, role, one, p),
        replicas=_width(p.layout, "replicas", p.layout.replicas),
        pp=_width(p.layout, "pp", p.layout.pp),
    )


def _tokens(c: Comparison, role: str, one: Side, p: Point) -> Trace:
    found = apply("tokens", "tokens per step", per_group=_per_group(c, role, one, p), verified=_verified(c))
    return _same(found, p.step.tokens)


def _touched(c: Comparison, role: str, one: Side, point: Point | None = None, op: Operation | None = None) -> Trace:
    p = point or _point(one)
    kernels = c.ground.efficiency.kernels
    launched = [x for x in p.counted.operations if x.kind == "routed" and x.launches and not x.encoder]
    shape, tokens = op or one.counted, _tokens(c, role, one, p)
    if kernels is not None and launched:
        shape, tokens = launched[0], _draws(c, launched[0], tokens)
    inputs: dict[str, Any] = {
        "experts": _config(one, "experts", shape.experts),
        "top_k": _config(one, "experts per token", shape.top_k),
        "tokens": tokens,
    }
    key, routed = f"{role}.experts_touched", c.ground.routing
    value = p.step.touched if op is None else routing.experts_touched(routed, op.experts, op.top_k, p.step.tokens)
    if routed.name == "uniform":
        found = apply("touched_uniform", key, **inputs)
    else:
        found = call(
            "routing.experts_touched",
            key,
            "experts",
            value,
            f"routing {routed.name}: docs/physics.md section 2",
            **inputs,
        )
    return _same(found, value)


def _draws(c: Comparison, op: Operation, tokens: Trace) -> Trace:
    """The tokens that touch experts in a tier of measured kernels (measured.draws)."""
    constants, ran = c.ground.efficiency.kernels or {}, c.ground.rates.computed_in
    if measured.draws(op, tokens.value, c.ground.routing, constants, ran) == tokens.value:
        return tokens
    held = measured.expert_constants(op, constants, ran)
    source = f"tier {c.ground.efficiency.name}: routing fitted on measured models"
    skew: dict[str, Any] = {n: leaf(f"moe.{n}", held[n], "-", "fitted", source) for n in ("spread", "skew")}
    return apply("effective_tokens", "independent tokens", tokens=tokens, **skew)


def _worst(c: Comparison, role: str, one: Side, point: Point | None = None, op: Operation | None = None) -> Trace:
    p, shape = point or _point(one), op or one.counted
    touched = _touched(c, role, one, p, op)
    tokens = touched.inputs["tokens"].value  # independent ones: what the tier reads the routing as
    value = routing.worst_rank_touched(c.ground.routing, shape.experts, shape.top_k, tokens, p.layout.ep)
    return call(
        "routing.worst_rank_touched",
        f"{role}.worst_rank_touched",
        "experts",
        value,
        "expected maximum over expert-parallel ranks (routing.worst_rank_touched, checked by simulation)",
        touched=touched,
        ep=_width(p.layout, "ep", p.layout.ep),
    )


def _fragmentation(c: Comparison, role: str, one: Side) -> Trace:
    return apply(
        "fragmentation",
        f"{role}.fragmentation",
        touched=_touched(c, role, one),
        top_k=_config(one, "experts per token", one.counted.top_k),
    )


def _per_expert(c: Comparison, role: str, one: Side) -> Trace:
    return apply(
        "tokens_per_expert",
        f"{role}.tokens_per_expert",
        tokens=_tokens(c, role, one, _point(one)),
        top_k=_config(one, "experts per token", one.counted.top_k),
        touched=_touched(c, role, one),
    )


def _tpot(c: Comparison, role: str, one: Side) -> Trace:
    found = apply("tpot", f"{role}.tpot_s", step=_step(c, role, _point(one)), accepted=_accepted(c))
    return _same(found, _point(one).tpot)


def _accepted(c: Comparison) -> Trace:
    return leaf("accepted", c.ground.workload.accepted, "tokens", "given", "1 + draft * accept")


def _rate(c: Comparison, role: str, point: Point) -> Trace:
    one = c.moe if role == "moe" else c.dense
    output = apply("output", "output tokens a step", batch=_batch(c, role, one, point), accepted=_accepted(c))
    return _same(apply("rate", f"{role}.tokens_per_s", output=output, step=_step(c, role, point)), point.rate)


_SIDE: dict[str, Callable[[Comparison, str, Side], Trace]] = {
    "total": _total,
    "active": _active,
    "weight_bytes": _weight_bytes,
    "cache_bytes": _cache_bytes,
    "capacity": _capacity,
    "weights_per_device": _weights_per_device,
    "cache_per_device": _cache_per_device,
    "max_batch": _max_batch,
    "batch": _batch,
    "experts_touched": _touched,
    "worst_rank_touched": _worst,
    "fragmentation": _fragmentation,
    "tokens_per_expert": _per_expert,
    "tpot_s": _tpot,
    "step_time_s": lambda c, role, one: _step(c, role, _point(one)),
    "tokens_per_s": lambda c, role, one: _rate(c, role, _point(one)),
}


# --- step time -------------------------------------------------------------------------------------


def _step(c: Comparison, role: str, p: Point) -> Trace:
    parts = {name: _part(c, role, p, name) for name, t in p.step.parts.items() if float(t.seconds)}
    found = total(f"{role}.step_time_s", "s", "docs/physics.md section 5: the sum over operations", parts)
    return _same(found, p.step.seconds)


def _part(c: Comparison, role: str, p: Point, name: str) -> Trace:
    from .explain_kernels import kernel_part
    from .explain_ops import fixed_part, operation_time  # the two files call each other

    if c.ground.efficiency.kernels is not None:
        return _same(kernel_part(c, f"{role}.parts.{name}", name, p), p.step.parts[name].seconds)
    one = c.moe if role == "moe" else c.dense
    key, value = f"{role}.parts.{name}", float(p.step.parts[name].seconds)
    if name in ("communication", "scheduling"):
        return _same(fixed_part(c, key, name, p), value)
    found: dict[str, Trace] = {}
    for op in [*p.counted.operations, *([_activation(p)] if name == "activations" else [])]:
        if (op.part == name and not op.encoder) or (name == "cache" and op.stream is not None and not op.encoder):
            label = f"{op.stream.name if op.stream else op.kind}_{len(found) + 1}"
            found[label] = operation_time(c, role, one, p, op)
    return _same(total(key, "s", "classes of equal operations in this part", found), value)


def _activation(p: Point) -> Operation:
    blocks = p.counted.mixers + p.counted.dense_layers + p.counted.moe_layers
    return Operation(part="activations", kind="activation", count=blocks)


__all__ = ["Trace", "explain", "keys"]

named(__name__)
