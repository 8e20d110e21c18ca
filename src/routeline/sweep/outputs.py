"""Outputs of a sweep by name: the value, the condition under which it is one, unit and meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import counts, layouts, memory, side
from ..errors import RoutelineError
from ..numeric import choose, maximum, minimum
from .graph import Graph
from .lower import REASONS, VERDICTS, Cell, Lowered, Output
from .sides import all_of, pick


@dataclass(frozen=True, kw_only=True)
class Known:
    """An output: how it is made, its unit and meaning. labels: texts of a coded output."""

    make: Callable[[Lowered], Output]
    unit: str
    what: str
    labels: tuple[str, ...] = ()


def _weights(x: Lowered, role: str) -> Output:
    one = x.side(role)
    values = [memory.weights_per_device(one.counted, layout, x.ground.routing.redundant) for layout in one.layouts]
    return pick(x.point(role).choice, values), x.fits(role) if len(values) > 1 else x.ok


def _cache(x: Lowered, role: str) -> Output:
    one = x.side(role)
    values = [memory.cache_per_device(one.counted, layout, x.ground.workload) for layout in one.layouts]
    return pick(x.point(role).choice, values), x.fits(role) if len(values) > 1 else x.ok


def _q(x: Lowered) -> Any:
    assert x.opponent is not None
    return x.q if x.q is not None else counts.active(x.opponent).all / counts.active(x.model).all


def _touched(x: Lowered) -> Output:
    one, point = x.side("moe"), x.point("moe")
    values = [side.step_at(one.counted, x.ground, layout, point.batch).touched for layout in one.layouts]
    return pick(point.choice, values), x.fits("moe")


def _sided(unit: str, what: str, make: Callable[[Lowered, str], Output]) -> dict[str, Known]:
    return {
        role: Known(make=lambda x, role=role: make(x, role), unit=unit, what=f"{what} ({label})")
        for role, label in (("moe", "MoE"), ("dense", "dense"))
    }


def _both_sides() -> dict[str, Known]:
    made = {
        "batch": ("sequences", "sequences decoded together", lambda x, r: (x.point(r).batch, x.fits(r))),
        "max_batch": ("sequences", "largest admissible batch, 0 where none fits",
                      lambda x, r: (choose(x.side(r).fits, x.largest(r).limit, 0.0), x.ok)),
        "step": ("s", "time of a step", lambda x, r: (x.point(r).seconds, x.fits(r))),
        "tpot": ("s", "time per output token of a sequence",
                 lambda x, r: (x.point(r).seconds / x.ground.workload.accepted, x.fits(r))),
        "rate": ("tokens/s", "output tokens per second over all devices", lambda x, r: (x.rate(r), x.fits(r))),
        "rate_per_device": ("tokens/s", "output tokens per second and device",
                            lambda x, r: (x.rate(r) / float(x.cell.cluster.count), x.fits(r))),
        "weights": ("B", "resident weight bytes per device", _weights),
        "cache": ("B", "cache bytes of one sequence per device of its group", _cache),
    }  # fmt: skip
    out: dict[str, Known] = {}
    for name, (unit, what, make) in made.items():
        for role, known in _sided(unit, what, make).items():
            out[f"{role}_{name}"] = known
    return out


OUTPUTS: dict[str, Known] = {
    "ratio": Known(make=lambda x: (x.ratio, x.both), unit="-",
                   what="R: dense over MoE throughput, each at its largest batch"),
    "reuse_penalty": Known(make=lambda x: (x.reuse, x.both), unit="-", what="t_m(B_m) / t_d(B_m)"),
    "headroom_gain": Known(make=lambda x: (x.ratio / x.reuse, x.both), unit="-", what="R over the reuse penalty"),
    "ratio_equal_batch": Known(make=Lowered.equal, unit="-", what="R at the largest batch both sides admit"),
    "ratio_tpot": Known(make=Lowered.equal_tpot, unit="-", what="R under the same time per output token"),
    "ratio_request": Known(make=Lowered.request, unit="-", what="R per request: prefill and decode"),
    "verdict": Known(make=lambda x: (x.verdict(), True), unit="", what="who serves more", labels=VERDICTS),
    "feasible": Known(make=lambda x: (choose(x.both, 1.0, 0.0), True), unit="", what="1 where R exists"),
    "reason": Known(make=lambda x: (x.reason(), True), unit="", what="why values are missing", labels=REASONS),
    "touched": Known(make=_touched, unit="experts", what="experts read per MoE layer and step"),
    "fragmentation": Known(
        make=lambda x: (_touched(x)[0] / x.side("moe").counted.top_k, x.fits("moe")), unit="-", what="phi = U/k"),
    "sparsity": Known(make=lambda x: (counts.sparsity(x.model), x.ok), unit="-", what="s = N_a/N"),
    "q": Known(make=lambda x: (_q(x), x.ok),
               unit="-", what="size multiplier of the dense model"),
    "qs": Known(make=lambda x: (OUTPUTS["q"].make(x)[0] * counts.sparsity(x.model), x.ok), unit="-",
                what="q*s: matched dense size over what the MoE keeps resident"),
    "break_even_batch": Known(make=lambda x: break_even(x)  # noqa: PLW0108  defined below
       , unit="tokens",
                              what="tokens per step above which the MoE reads more weight bytes than the dense model"),
    **_both_sides(),
}  # fmt: skip


def break_even(x: Lowered) -> Output:
    """T* where fixed + routed * U(T)/E = dense weight bytes read, pooled (docs/physics.md section 6, form 2).

    Solved for uniform routing: U = E(1 - (1-k/E)**T). No value where the MoE always or never reads more.
    """
    from ..breakeven import weights_read

    routed = x.ground.routing
    if routed.name != "uniform" or routed.probabilities is not None:
        raise RoutelineError("break_even_batch is solved for uniform routing; leave it out, or sweep routing = uniform")
    pool, one = layouts.pooled(1.0), x.side("moe").counted
    fixed, every = (weights_read(one, pool, t, routed) for t in (0.0, math.inf))
    share = (weights_read(x.side("dense").counted, pool, 1.0, routed) - fixed) / (every - fixed)
    chosen = one.top_k / one.experts
    exists = all_of(share > 0.0, share < 1.0, chosen < 1.0, x.ok)
    inside, chosen = (minimum(maximum(v, 1e-300), 1.0 - 1e-16) for v in (share, chosen))
    return _log(1.0 - inside) / _log(1.0 - chosen), exists


def _log(x: Any) -> Any:
    return math.log(x) if isinstance(x, (float, int)) else np.log(x)


def trace(
    cell: Cell, axes: Mapping[str, Any], dims: int, wanted: Sequence[str], points: int
) -> tuple[Graph, dict[str, Any]]:
    """Outputs of a cell over numeric axes (open-grid arrays), traced: (graph, {name: value, name?: condition})."""
    tracer = Graph(dims)
    numbers = {name: tracer.leaf(values) for name, values in axes.items()}
    lowered = Lowered(cell, numbers, tracer, max(2**12, min(2**20, points)))
    found = _collect(lowered, wanted)
    return tracer, {k: tracer.leaf(v) if isinstance(v, np.ndarray) else v for k, v in found.items()}


def _collect(lowered: Lowered, wanted: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in sorted(wanted, key=lambda n: n == "reason"):  # last: it answers for the others
        out[name], lowered.exists[name] = OUTPUTS[name].make(lowered)
        out[f"{name}?"] = lowered.exists[name]
    return out


def direct(cell: Cell, numbers: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The outputs of a cell at open-grid arrays (or scalars) without tracing: slow, for what cannot be traced."""
    with np.errstate(all="ignore"):
        return _collect(Lowered(cell, numbers), wanted)
