"""Where the verdict turns: every value of a variable at which one side overtakes the other.

Found by a scan of the range and multi-section of each bracket, all points in one vectorised call. Every
result names its form (static, finite batch, end to end: docs/physics.md section 6), tier and layout, and says
which side leads where nothing crosses. Works on a finished Comparison; nothing here runs unless asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from . import layouts, requests, routing, side
from .compare import Comparison
from .counts import Counted
from .errors import RoutelineError, UnknownName
from .ground import make_ground, options
from .numeric import minimum
from .routing import Routing
from .scenario import Layout, Workload
from .side import Ground

POINTS = 49
"""Points of the first scan: two crossings closer than its step can be missed."""
SECTIONS, ROUNDS = 16, 3
"""Each round narrows a bracket 17-fold; three rounds leave 1/4913 of a scan step."""
CONTEXTS = (256.0, 2.0**20)
UTILISATIONS = (0.3, 1.0)
LARGEST_Q = 64.0
ABOVE = 1.01
"""Break-evens over q start a hair above the smallest that the dense shape can take [-]."""
VARIABLES = ("batch", "context", "q", "utilisation", "output", "prefix_hit", "devices")


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """One value where R passes 1. above: the side that leads just above it, 'dense' or 'moe'."""

    value: float
    above: str


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """All crossings of one variable under one form.

    form: 'static' | 'finite batch' | 'end to end'; ratio: which R (max_batch, equal_batch, request) or
    '' ; low, high: the range scanned; feasible: the part of it where both sides have an answer, None
    where there is none; leader: who leads throughout when nothing crosses ('dense', 'moe', 'tie'),
    '' otherwise; note: what the reader must know.
    """

    variable: str
    form: str
    ratio: str
    tier: str
    layout: str
    unit: str
    low: float
    high: float
    crossings: tuple[Crossing, ...]
    feasible: tuple[float, float] | None
    leader: str = ""
    note: str = ""

    def payload(self) -> dict[str, Any]:
        """For JSON: plain values, `none` says why the list is empty."""
        return {
            "form": self.form, "ratio": self.ratio or None, "tier": self.tier, "layout": self.layout, "unit": self.unit,
            "range": [self.low, self.high], "feasible": list(self.feasible) if self.feasible else None,
            "crossings": [{"value": c.value, "above": c.above} for c in self.crossings],
            "leader": self.leader or None, "none": None if self.crossings else self.why_none(), "note": self.note,
        }  # fmt: skip

    def why_none(self) -> str:
        """One clause on an empty list."""
        if self.feasible is None:
            return "no value in range lets both sides fit" if self.high > self.low else self.note
        leads = {"dense": "dense leads throughout", "moe": "MoE leads throughout", "tie": "a tie throughout"}
        return f"none in range: {leads.get(self.leader, 'undecided')}"


# --- the solver ------------------------------------------------------------------------------------


def crossings(
    f: Callable[[np.ndarray], Any],
    low: float,
    high: float,
    *,
    log: bool = True,
    whole: bool = False,
    points: int = POINTS,
) -> tuple[tuple[Crossing, ...], tuple[float, float] | None, str]:
    """(crossings of 1, feasible range, leader where none) of a vectorised ratio on [low, high].

    nan marks infeasible values. Steps (floored batches) count as crossings at the step. whole: the
    variable counts things, and the value is the first whole number on the far side.
    """
    x = np.geomspace(low, high, points) if log else np.linspace(low, high, points)
    if whole:
        x = np.unique(np.round(x))
    y = np.broadcast_to(np.asarray(f(x), float), x.shape)
    known = np.isfinite(y)
    if not np.any(known):
        return (), None, ""
    feasible = (float(x[known][0]), float(x[known][-1]))
    sign = _signs(y)
    decided = [i for i in range(len(x)) if known[i] and sign[i] != 0]
    brackets = [(i, j) for i, j in pairwise(decided) if sign[i] != sign[j] and np.all(known[i : j + 1])]
    if not brackets:
        return (), feasible, _throughout(sign[known])
    a, b = (np.array([x[p[k]] for p in brackets]) for k in (0, 1))
    first = np.array([sign[i] for i, _ in brackets])
    share = np.arange(0, SECTIONS + 2) / (SECTIONS + 1.0)
    for _ in range(ROUNDS):
        probe = a[:, None] * (b / a)[:, None] ** share if log else a[:, None] + (b - a)[:, None] * share
        if whole:
            probe = np.round(probe)
        found = np.asarray(f(probe.ravel()), float)
        value = np.broadcast_to(found, (probe.size,)).reshape(probe.shape)
        turned = np.sign(value - 1.0) * first[:, None] < 0
        turned[:, -1] = True
        at = np.argmax(turned, axis=1)
        rows = np.arange(len(a))
        a, b = probe[rows, np.maximum(at - 1, 0)], probe[rows, at]
    where = b if whole else (np.sqrt(a * b) if log else 0.5 * (a + b))
    return (
        tuple(Crossing(value=float(w), above="dense" if s < 0 else "moe") for w, s in zip(where, first, strict=True)),
        feasible, "",
    )  # fmt: skip


def _signs(ratio: np.ndarray) -> np.ndarray:
    """1 where the dense side is ahead, -1 where the MoE is, 0 where they are equal (or there is no ratio)."""
    away = np.nan_to_num(ratio - 1.0)
    return np.where(np.abs(away) <= 1e-12, 0.0, np.sign(away))


def _leader(sign: float) -> str:
    return "dense" if sign > 0 else "moe"


def _throughout(signs: np.ndarray) -> str:
    """Who leads wherever the ratio has a value: 'tie' where nobody does, '' where both do."""
    ahead = {float(s) for s in signs} - {0.0}
    return "tie" if not ahead else _leader(ahead.pop()) if len(ahead) == 1 else ""


def weights_read(counted: Counted, layout: Layout, tokens: Any, routed: Routing, *, worst: bool = False) -> Any:
    """Weight bytes that one device reads in a step of `tokens` tokens of its replica [B].

    Attention, shared, dense and head weights once, U(T)/E of the routed ones (worst: of the fullest
    expert-parallel rank). Equals Step.weight_bytes / devices where that is computed.
    """
    out: Any = 0.0
    for op in counted.operations:
        if op.encoder or op.stream is not None or op.state is not None:
            continue
        if op.kind == "routed":
            if worst:
                hot = routing.worst_rank_touched(routed, op.experts, op.top_k, tokens, layout.ep)
            else:
                hot = routing.experts_touched(routed, op.experts, op.top_k, tokens) / layout.ep
            out = out + op.count * op.bytes * hot / op.experts / layout.moe_tp
        elif op.kind == "head":
            out = out + op.bytes / (layout.tp * layout.dp)
        else:
            out = out + op.count * op.bytes / (layout.tp if layout.pooled else minimum(layout.tp, op.ways))
    return out


def best_rate(counted: Counted, ground: Ground, choice: Layout, work: Workload, batch: Any = None) -> np.ndarray:
    """Output tokens/s in the best layout at its largest admissible batch (or at `batch`); nan where none fits.

    Work, batch and ground.capacity may hold arrays of one axis.
    """
    many = bool(np.ndim(choice.tp))
    wide = layouts.as_column(choice) if many else choice
    limit = side.max_batch(counted, ground, wide, work)
    used = limit if batch is None else batch
    rate = np.asarray(side.step_at(counted, ground, wide, np.maximum(used, 1.0), work).rate, float)
    rate = np.where(limit >= np.maximum(used, 1.0), rate, np.nan)
    if not many:
        return rate
    best = np.max(np.where(np.isnan(rate), -np.inf, rate), axis=0)
    return np.where(np.isfinite(best), best, np.nan)


# --- the variables ---------------------------------------------------------------------------------


def break_evens(comparison: Comparison, which: Iterable[str] | None = None) -> dict[str, tuple[BreakEven, ...]]:
    """Break-evens by variable, in the order asked (all of VARIABLES by default).

    Raises:
        UnknownName: a variable that is not in VARIABLES.
    """
    out = {}
    for name in VARIABLES if which is None else which:
        if name not in VARIABLES:
            raise UnknownName("break-even variable", name, VARIABLES, f"known: {', '.join(VARIABLES)}")
        out[name] = _SOLVERS[name](comparison)
    return out


def payload(found: dict[str, tuple[BreakEven, ...]]) -> dict[str, list[dict[str, Any]]]:
    """{'batch': [...], 'context': [...], ...} for JSON."""
    return {name: [one.payload() for one in several] for name, several in found.items()}


def _answer(c: Comparison, variable: str, f: Callable, low: float, high: float, **more: Any) -> BreakEven:
    """Solve one end-to-end break-even and label it."""
    solver = {k: more.pop(k) for k in ("log", "whole", "points") if k in more}
    found, feasible, leader = crossings(f, low, high, **solver) if high > low else ((), None, "")
    shown = {"form": "end to end", "ratio": "max_batch", "tier": c.ground.efficiency.name, "layout": _layout(c)}
    return BreakEven(variable=variable, low=low, high=high, crossings=found, feasible=feasible, leader=leader,
                     **(shown | more))  # fmt: skip


def _layout(c: Comparison) -> str:
    text = c.scenario.layout.strip().lower()
    return "auto (each side its best)" if text == "auto" else text


def _fixed(c: Comparison) -> Any:
    return None if c.scenario.batch is None else float(c.scenario.batch)


def _batch(c: Comparison) -> tuple[BreakEven, ...]:
    m, d, ground = c.moe.counted, c.dense.counted, c.ground
    pool = layouts.pooled(1)
    out = [
        _answer(
            c, "batch", lambda t: weights_read(m, pool, t, ground.routing) / weights_read(d, pool, t, ground.routing),
            1.0, 2.0**20, form="finite batch", ratio="", tier="any", layout="pooled", unit="tokens per step",
            note="weight bytes read in one step; below it the MoE reads less",
        )
    ]  # fmt: skip
    if c.moe.point is not None and c.dense.point is not None and not c.moe.point.layout.pooled:
        lm, ld = c.moe.point.layout, c.dense.point.layout
        verified, worst = ground.workload.tokens_per_sequence, ground.efficiency.worst_rank

        def bytes_ratio(b: np.ndarray) -> Any:
            a, z = (b * verified / (x.replicas * x.pp) for x in (lm, ld))
            return weights_read(m, lm, a, ground.routing, worst=worst) / weights_read(
                d, ld, z, ground.routing, worst=worst
            )

        out.append(
            _answer(c, "batch", bytes_ratio, 1.0, 2.0**20, form="finite batch", ratio="", tier="any",
                    layout=f"MoE {lm}; dense {ld}", unit="sequences",
                    note=f"weight bytes on the {'slowest' if worst else 'mean'} device in one step")
        )  # fmt: skip
    top = max((float(np.max(side.max_batch(x.counted, ground, x.options))) for x in (c.moe, c.dense)), default=0.0)
    if top >= 1:
        f = _equal_batch(c)
        out.append(_answer(c, "batch", f, 1.0, max(top, 2.0), whole=True, ratio="equal_batch", unit="sequences"))
    else:
        out.append(_nowhere(c, "batch", "sequences", "neither side fits"))
    return tuple(out)


def _equal_batch(c: Comparison) -> Callable[[np.ndarray], np.ndarray]:
    def f(batch: np.ndarray) -> np.ndarray:
        work = c.ground.workload
        one, two = (best_rate(x.counted, c.ground, x.options, work, batch) for x in (c.dense, c.moe))
        return one / two

    return f


def _nowhere(c: Comparison, variable: str, unit: str, note: str, ratio: str = "max_batch") -> BreakEven:
    tier = c.ground.efficiency.name
    return BreakEven(variable=variable, form="end to end", ratio=ratio, tier=tier, layout=_layout(c), unit=unit,
                     low=0.0, high=0.0, crossings=(), feasible=None, note=note)  # fmt: skip


def _context(c: Comparison) -> tuple[BreakEven, ...]:
    limits = [x.context_limit for x in (c.model, c.opponent) if x.context_limit is not None]
    high = max(CONTEXTS[1] if c.scenario.extend_context or not limits else min(limits), float(c.scenario.context))
    low = min(CONTEXTS[0], float(c.scenario.context))

    def f(context: np.ndarray) -> np.ndarray:
        work = replace(c.ground.workload, context=context)
        return best_rate(c.dense.counted, c.ground, c.dense.options, work, _fixed(c)) / best_rate(
            c.moe.counted, c.ground, c.moe.options, work, _fixed(c)
        )

    return (_answer(c, "context", f, low, high, unit="tokens", **_at_batch(c)),)


def _at_batch(c: Comparison) -> dict[str, str]:
    return {} if _fixed(c) is None else {"ratio": "equal_batch"}


def _utilisation(c: Comparison) -> tuple[BreakEven, ...]:
    memory = float(c.cluster.device.memory(c.scenario.memory))

    def f(share: np.ndarray) -> np.ndarray:
        ground = replace(c.ground, capacity=memory * share - c.scenario.overhead)
        return best_rate(c.dense.counted, ground, c.dense.options, ground.workload, _fixed(c)) / best_rate(
            c.moe.counted, ground, c.moe.options, ground.workload, _fixed(c)
        )

    return (_answer(c, "utilisation", f, *UTILISATIONS, log=False, unit="-", **_at_batch(c)),)


def _q(c: Comparison) -> tuple[BreakEven, ...]:
    from .dense import SHAPES, smallest_q

    top = max(LARGEST_Q, 1.0 / c.s)
    static = BreakEven(
        variable="q", form="static", ratio="", tier="any", layout="any", unit="-", low=0.0, high=top,
        crossings=(Crossing(value=1.0 / c.s, above="moe"),), feasible=(0.0, top),
        note="qs = 1: above it the matched dense model is the larger of the two",
    )  # fmt: skip
    if c.scenario.dense not in SHAPES:
        return (static, _nowhere(c, "q", "-", f"q is implied by {c.opponent.name}: it cannot vary"))
    if c.ratios["max_batch"].moe is None:
        return (static, _nowhere(c, "q", "-", c.ratios["max_batch"].reason or "the MoE does not fit"))
    from .odds import ratios_at

    low = smallest_q(c.model, c.scenario.dense) * ABOVE
    alone = replace(c, ratios={"max_batch": c.ratios["max_batch"]})

    def f(q: np.ndarray) -> np.ndarray:
        return ratios_at(alone, q)["max_batch"]

    return (static, _answer(c, "q", f, low, max(LARGEST_Q, 2.0 * low), unit="-"))


def _request(c: Comparison, variable: str, low: float, high: float, log: bool, unit: str) -> tuple[BreakEven, ...]:
    shape = requests.shape_of(c.scenario, illustrate=True)
    assert shape is not None

    def f(value: np.ndarray) -> np.ndarray:
        many = replace(shape, **{variable: value})
        m, d = (requests.cheapest(x.counted, c.ground, x.options, many, c.scenario.batch) for x in (c.moe, c.dense))
        bad = ~(np.isfinite(np.asarray(m.total, float)) & np.isfinite(np.asarray(d.total, float)))
        return np.where(bad, np.nan, np.where(bad, 1.0, m.total) / np.where(bad, 1.0, d.total))

    others = {"output": f"{int(shape.input):,} in", "prefix_hit": f"{int(shape.input):,} in, {int(shape.output):,} out"}
    note = others[variable] + (f", {float(shape.prefix_hit):.0%} prefix hits" if variable == "output" else "")
    if shape.assumed:
        note += f" ({' and '.join(shape.assumed)} assumed)"
    return (_answer(c, variable, f, low, high, log=log, unit=unit, ratio="request", note=note),)


def _output(c: Comparison) -> tuple[BreakEven, ...]:
    shape = requests.shape_of(c.scenario, illustrate=True)
    assert shape is not None
    limits = [x.context_limit for x in (c.model, c.opponent) if x.context_limit is not None]
    room = min(limits) - float(shape.input) if limits and not c.scenario.extend_context else CONTEXTS[1]
    return _request(c, "output", 1.0, max(room, float(shape.output)), True, "tokens")


def _prefix_hit(c: Comparison) -> tuple[BreakEven, ...]:
    return _request(c, "prefix_hit", 0.0, 1.0, False, "-")


def sizes(c: Comparison) -> list[int]:
    """Cluster sizes to try: powers of two inside a node, then doubling nodes up to 8 times the devices given; and the
    smallest that holds each side."""
    node = c.cluster.largest_node
    inside = [2**i for i in range(12) if 2**i < node] + [node]
    top = max(8 * c.cluster.count, 8 * node, *(x.devices_needed or 0 for x in (c.moe, c.dense)))
    nodes = [node * 2**i for i in range(1, 16) if node * 2**i <= top]
    return sorted({*inside, *nodes, c.cluster.count, *(x.devices_needed or c.cluster.count for x in (c.moe, c.dense))})


def at_size(c: Comparison, count: int) -> tuple[side.Point | None, side.Point | None]:
    """Both sides at their largest batches on `count` of the same devices, laid out anew."""
    from .devices import make_cluster

    place = c.cluster if count == c.cluster.count else make_cluster(c.cluster.device, count)
    ground = replace(make_ground(place, c.scenario, c.ground.routing, c.ground.efficiency), routing=c.ground.routing)
    points = []
    for role, x in (("moe", c.moe), ("dense", c.dense)):
        text = c.scenario.layout.strip().lower()
        try:
            if text in ("pooled", "auto") or count == c.cluster.count:
                choice = options(x.counted, place, c.scenario, role)
            else:
                choice = layouts.candidates(x.counted, count, place.node, ground.routing.redundant)
        except RoutelineError:
            points.append(None)
            continue
        points.append(side.at_max(x.counted, ground, choice) if layouts.size(choice) else None)
    return points[0], points[1]


def _devices(c: Comparison) -> tuple[BreakEven, ...]:
    counts_ = sizes(c)
    both = [at_size(c, n) for n in counts_]
    ratio = np.array([np.nan if m is None or d is None else d.rate / m.rate for m, d in both])
    sign = _signs(ratio)
    ok = [i for i in range(len(counts_)) if np.isfinite(ratio[i])]
    turns = tuple(
        Crossing(value=float(counts_[j]), above=_leader(sign[j]))
        for i, j in pairwise([i for i in ok if sign[i]]) if sign[i] != sign[j]
    )  # fmt: skip
    need = f"MoE needs {c.moe.devices_needed or 'no known number'}, dense {c.dense.devices_needed or 'no known number'}"
    text = c.scenario.layout.strip().lower()
    layout = _layout(c) if text in ("auto", "pooled") else f"{text} on {c.cluster.count}, best elsewhere"
    tried = f"sizes tried: {', '.join(map(str, counts_))}"
    return (
        BreakEven(
            variable="devices", form="end to end", ratio="max_batch", tier=c.ground.efficiency.name, layout=layout,
            unit="devices", low=float(counts_[0]), high=float(counts_[-1]), crossings=turns,
            feasible=(float(counts_[ok[0]]), float(counts_[ok[-1]])) if ok else None,
            leader="" if turns or not ok else _throughout(sign[ok]), note=f"{need}; {tried}",
        ),
    )  # fmt: skip


_SOLVERS: dict[str, Callable[[Comparison], tuple[BreakEven, ...]]] = {
    "batch": _batch, "context": _context, "q": _q, "utilisation": _utilisation, "output": _output,
    "prefix_hit": _prefix_hit, "devices": _devices,
}  # fmt: skip
