"""One combination of names -> every output as a formula over the numeric axes.

The formulas come from the functions that `compare` calls (compare.make_ground, layouts, memory, estimate,
dense, requests); this module only says which of them make up an output, and when it has a value.
Numbers may be floats, arrays on an open grid or traced nodes: one code for all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import arch, counts, dense, layouts, memory, requests, side
from ..arch import Model
from ..compare import TIE, make_ground, options
from ..counts import Counted
from ..errors import RoutelineError
from ..hardware import Cluster
from ..numeric import choose, maximum, minimum
from ..routing import Routing
from ..scenario import Efficiency, Layout, Scenario
from ..side import Ground
from . import graph, synthetic
from .graph import Graph, Node

REASONS = (
    "ok", "moe does not fit", "dense does not fit", "neither fits", "context is past the model's limit",
    "q is too small for the dense shape", "the architecture cannot be built", "the batch does not fit",
    "refused",
)  # fmt: skip
"""Why values are missing at a point; the index is what the output `reason` holds. The batch asked for may not
fit (no step, rate or equal-batch ratio) where R at the largest batches exists all the same."""

VERDICTS = ("moe", "tie", "dense", "moe_infeasible", "dense_infeasible", "neither_fits", "refused")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of names, resolved: what a block is evaluated for.

    scenario holds the text settings and scalar numbers; q a number or None where it is an axis; shape the
    fixed settings of a synthetic architecture (None: a real model).
    """

    model: Model | None
    cluster: Cluster
    scenario: Scenario
    opponent: Model | None = None
    shape: Mapping[str, Any] | None = None
    routed: Routing | None = None
    efficiency: Efficiency | None = None
    numbers: Mapping[str, float] | None = None
    """Numeric settings that are the same everywhere and are no Scenario fields (bandwidth, memory, ...)."""


Output = tuple[Any, Any]
"""A value and the condition under which it is one."""


def _and(*conditions: Any) -> Any:
    out: Any = True
    for c in conditions:
        if c is True or out is False:
            continue
        out = c if out is True else (False if c is False else out & c)
    return out


def _not(c: Any) -> Any:
    return not c if isinstance(c, (bool, np.bool_)) else ~c


@dataclass
class _Side:
    """One side's candidate layouts with what `compare` asks of each."""

    counted: Counted
    ground: Ground
    layouts: Sequence[Layout]
    limits: Sequence[Any]
    """Largest admissible batch of each layout (0: does not fit)."""
    used: Sequence[Any]
    """The same, at least one sequence per attention rank: safe to put into a formula."""
    fits: Any

    def seconds(self, batch: Any, index: int) -> Any:
        return side.step_at(self.counted, self.ground, self.layouts[index], batch).seconds

    @property
    def accepted(self) -> Any:
        return self.ground.workload.accepted


@dataclass
class _Point:
    """A batch in the chosen layout. choice: (condition, layout index) pairs, first that holds."""

    batch: Any
    limit: Any
    seconds: Any
    choice: Sequence[tuple[Any, int]]
    fits: Any

    def rate(self, accepted: Any) -> Any:
        return self.batch * accepted / self.seconds


def _sequences(definition: Any, tracer: Graph | None, budget: int) -> Any:
    """A largest batch made ready for formulas: at least 1, and a variable that can be tabulated."""
    if tracer is None or not isinstance(definition, Node):
        return maximum(definition, 1.0)
    scale, factors = graph.split(definition)
    single = next(iter(factors)) if len(factors) == 1 else None
    if single is None or factors[single] != 1.0 or not single.whole or scale != round(scale):
        single, scale = definition, 1.0
    least = graph.maximum(single, 1.0)
    if not isinstance(least, Node) or not single.whole:
        return graph.mul(scale, least)
    cap = int(min(least.hi, 1e12))
    return graph.mul(scale, tracer.variable(least, cap if cap <= budget else None))


def make_side(counted: Counted, ground: Ground, choice: Layout, tracer: Graph | None, budget: int) -> _Side:
    """A side with its largest batches."""
    many = layouts.size(choice) if np.ndim(choice.tp) else 1
    each = [layouts.pick(choice, i) for i in range(many)] if np.ndim(choice.tp) else [choice]
    limits = [side.max_batch(counted, ground, one) for one in each]
    used = [_sequences(x, tracer, budget) for x in limits]
    fits: Any = False
    for x in limits:
        here = x >= 1.0
        fits = (
            True
            if fits is True or here is True
            else here
            if fits is False
            else (fits if here is False else fits | here)
        )
    return _Side(counted, ground, each, limits, used, fits)


def at_max(one: _Side) -> _Point:
    """side.at_max: the layout with the highest throughput at its own largest batch."""
    rates = [b / one.seconds(b, i) for i, b in enumerate(one.used)]
    return _best(one, one.used, rates, [x >= 1.0 for x in one.limits])


def _best(one: _Side, batches: Sequence[Any], scores: Sequence[Any], allowed: Sequence[Any]) -> _Point:
    """The first layout with the highest score among those allowed."""
    if len(scores) == 1:
        return _Point(batches[0], one.limits[0], one.seconds(batches[0], 0), [(True, 0)], allowed[0])
    best: Any = -1.0
    index: Any = -1.0
    for i, (score, ok) in enumerate(zip(scores, allowed, strict=True)):
        masked = choose(ok, score, -1.0) if not isinstance(ok, bool) else (score if ok else -1.0)
        better = masked > best
        index = choose(better, float(i), index) if not isinstance(better, bool) else (float(i) if better else index)
        best = maximum(best, masked)
    choice = [(_same(index, i), i) for i in range(len(scores))]
    seconds = [one.seconds(b, i) for i, b in enumerate(batches)]
    fits: Any = False
    for ok in allowed:
        fits = ok if fits is False else fits | ok if fits is not True and ok is not True else True
    return _Point(_pick(choice, batches), _pick(choice, one.limits), _pick(choice, seconds), choice, fits)


def _same(index: Any, i: int) -> Any:
    low, high = index > i - 0.5, index < i + 0.5
    return _and(low, high)


def _pick(choice: Sequence[tuple[Any, int]], values: Sequence[Any]) -> Any:
    out = values[choice[0][1]]
    for ok, i in choice[1:]:
        out = values[i] if ok is True else (out if ok is False else choose(ok, values[i], out))
    return out


def at_batch(one: _Side, batch: Any) -> _Point:
    """side.at_batch: the fastest layout that admits a batch."""
    scores = [1.0 / one.seconds(batch, i) for i in range(len(one.layouts))]
    return _best(one, [batch] * len(scores), scores, [x >= batch for x in one.limits])


def under_tpot(one: _Side, tpot: Any) -> _Point:
    """side.under_tpot: the highest throughput whose time per output token stays within the limit."""
    found, allowed = [], []
    for i, limit in enumerate(one.limits):
        batch = _largest(lambda b, i=i: one.seconds(b, i) / one.accepted <= tpot * (1.0 + 1e-12), limit)
        found.append(maximum(batch, 1.0))
        allowed.append(batch >= 1.0)
    rates = [b / one.seconds(b, i) for i, b in enumerate(found)]
    return _best(one, found, rates, allowed)


def _largest(holds: Callable[[Any], Any], limit: Any) -> Any:
    """Largest whole number in [1, limit] for which `holds` (true up to some number); 0 where 1 fails."""
    high = limit + 1.0
    low: Any = 0.0 * limit if isinstance(limit, np.ndarray) else 0.0
    top = graph.bounds(limit)[1] if isinstance(limit, Node) else float(np.max(limit))
    for _ in range(max(1, math.ceil(math.log2(top + 2.0)))):
        mid = _floor(0.5 * (low + high))
        good = _and(holds(maximum(mid, 1.0)), mid <= limit)
        zero = mid < 1.0
        good = _or(good, zero)
        low, high = choose(good, mid, low), choose(good, high, mid)
    return low


def _or(a: Any, b: Any) -> Any:
    if a is True or b is True:
        return True
    return b if a is False else a if b is False else a | b


def _floor(x: Any) -> Any:
    from ..numeric import floor

    return floor(x)


class Lowered:
    """Both sides of a cell, worked out as far as the outputs asked for need it.

    tracer: the graph of traced numbers, or None when the numbers are plain or arrays. budget: the
    largest table over a batch that pays for itself.
    """

    def __init__(
        self, cell: Cell, numbers: Mapping[str, Any], tracer: Graph | None = None, budget: int = 2**18
    ) -> None:
        self.cell, self.tracer, self.budget = cell, tracer, budget
        given = {**(cell.numbers or {}), **numbers}
        fields = {k: given.pop(k) for k in list(given) if k in Scenario.__dataclass_fields__ and k != "memory"}
        self.q = fields.get("q", cell.scenario.q)
        self.scenario = replace(cell.scenario, **fields)
        self.given = given
        self.refusals: list[tuple[Any, int]] = []
        self._memo: dict[str, Any] = {}
        model = cell.model
        if model is None:
            assert cell.shape is not None
            shape = {**cell.shape, **{k: given[k] for k in given if k in synthetic.DEFAULTS}}
            for wrong, why in synthetic.checks(shape):
                if wrong is True:
                    raise RoutelineError(f"synthetic model: {why}")
                if wrong is not False:
                    self.refusals.append((wrong, 6))
            model = synthetic.build(shape)
        self.model = model
        self.opponent = cell.opponent
        if self.opponent is None:
            self.opponent = self._matched(model)
        self._context_limits()
        self.ground = self._ground()

    # --- pieces ---

    def _matched(self, model: Model) -> Model:
        if self.q is None:
            raise RoutelineError("q is needed: give an axis q, or a value under [fixed]")
        before = len(self.tracer.guards) if self.tracer is not None else 0
        q = self.q
        if isinstance(q, np.ndarray) and not _builds(model, float(q.min()), self.scenario.dense):
            least = smallest_q(model, self.scenario.dense)
            self.refusals.append((q <= least, 5))
            q = np.maximum(q, least * (1 + 1e-9) + 1e-12)
        found = dense.matched(model, q, self.scenario.dense)
        if self.tracer is not None:
            self.refusals += [(g, 5) for g in self.tracer.guards[before:]]
        return found

    def _context_limits(self) -> None:
        if self.scenario.extend_context:
            return
        context = self.scenario.context
        assert self.opponent is not None
        reach = context
        if self.scenario.input is not None or self.scenario.output is not None:
            shape = self.request_shape
            reach = maximum(reach, shape.input + shape.output)
        for one in (self.model, self.opponent):
            if one.context_limit is not None:
                self.refusals.append((reach > one.context_limit, 4))

    @property
    def request_shape(self) -> requests.Shape:
        s = self.scenario
        return requests.Shape(
            input=s.context if s.input is None else s.input, output=requests.OUTPUT if s.output is None else s.output,
            prefix_hit=s.prefix_hit,
        )  # fmt: skip

    def _ground(self) -> Ground:
        g = self.given
        ground = make_ground(self.cell.cluster, self.scenario, self.cell.routed, self.cell.efficiency)
        if "memory" in g:
            ground = replace(ground, capacity=g["memory"] * self.scenario.utilisation - self.scenario.overhead)
        rates = ground.rates
        if "bandwidth" in g:
            rates = replace(rates, bandwidth=g["bandwidth"])
        if "peak" in g:
            rates = replace(rates, peaks={k: v * g["peak"] for k, v in rates.peaks.items()})
        net = rates.network
        net = replace(net, **{k: g[k] for k in ("link", "nic") if k in g and getattr(net, k) != math.inf})
        return replace(ground, rates=replace(rates, network=net))

    def _counted(self, model: Model) -> Counted:
        s = self.scenario
        stored = model if s.weights == "native" else arch.restore(model, s.weights)
        return counts.count(stored, s.cache, with_mtp=bool(s.draft))

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._memo:
            self._memo[name] = make()
        return self._memo[name]

    def side(self, role: str) -> _Side:
        def make() -> _Side:
            model = self.model if role == "moe" else self.opponent
            assert model is not None
            counted = self._counted(model)
            choice = options(counted, self.cell.cluster, self.scenario, role)
            return make_side(counted, self.ground, choice, self.tracer, self.budget)

        return self._kept(role, make)

    def largest(self, role: str) -> _Point:
        """compare's point of a side at its largest admissible batch."""

        def make() -> _Point:
            found = at_max(self.side(role))
            many = len(self.side(role).layouts) > 1
            return replace(found, batch=_sequences(found.batch, self.tracer, self.budget)) if many else found

        return self._kept(f"{role}.largest", make)

    def point(self, role: str) -> _Point:
        """compare's point of a side: at the batch asked for, else at its largest."""
        if self.scenario.batch is None:
            return self.largest(role)
        return self._kept(f"{role}.point", lambda: at_batch(self.side(role), self.scenario.batch))

    @property
    def ok(self) -> Any:
        """Nothing refused."""
        return self._kept("ok", lambda: _and(*(_not(c) for c, _ in self.refusals)))

    def fits(self, role: str) -> Any:
        return _and(self.ok, self.point(role).fits)

    @property
    def both(self) -> Any:
        """Both sides fit at some batch: a ratio exists."""
        return self._kept("both", lambda: _and(self.ok, self.largest("moe").fits, self.largest("dense").fits))

    @property
    def ratio(self) -> Any:
        """R at the largest batches."""
        accepted = self.ground.workload.accepted
        return self._kept("ratio", lambda: self.largest("dense").rate(accepted) / self.largest("moe").rate(accepted))

    @property
    def reuse(self) -> Any:
        """Reuse penalty t_m(B_m) / t_d(B_m)."""
        return self.largest("moe").seconds / self.there

    def rate(self, role: str) -> Any:
        return self.point(role).rate(self.ground.workload.accepted)

    @property
    def there(self) -> Any:
        """The dense model's step at the MoE's batch, in its own layout [s]."""
        m, d, one = self.largest("moe"), self.largest("dense"), self.side("dense")
        used = [i for _, i in d.choice]
        return self._kept("there", lambda: _pick(d.choice, [one.seconds(m.batch, i) for i in used]))

    # --- outputs ---

    def output(self, name: str) -> Output:
        """(value, condition) of an output."""
        return OUTPUTS[name].make(self)

    def reason(self, *, fixed: bool = True) -> Any:
        """Index into REASONS; with fixed, a batch asked for that does not fit counts."""
        m, d = self.point("moe"), self.point("dense")
        out: Any = 0.0
        missing = [choose(_not(self.side(r).fits), float(c), 0.0) for r, c in (("moe", 1), ("dense", 2))]
        out = missing[0] + missing[1]
        if fixed and self.scenario.batch is not None:
            none = _and(out < 0.5, _not(_and(m.fits, d.fits)))
            out = choose(none, 7.0, out)
        for wrong, code in self.refusals[::-1]:
            out = float(code) if wrong is True else out if wrong is False else choose(wrong, float(code), out)
        return out

    def verdict(self) -> Any:
        r = self.ratio
        out = choose(r > 1.0 + TIE, 2.0, choose(r < 1.0 - TIE, 0.0, 1.0))
        why = self.reason(fixed=False)
        for code, name in ((1.0, 3.0), (2.0, 4.0), (3.0, 5.0)):
            same = _and(why > code - 0.5, why < code + 0.5)
            out = name if same is True else out if same is False else choose(same, name, out)
        over = why > 3.5
        return 6.0 if over is True else out if over is False else choose(over, 6.0, out)

    def equal(self) -> Output:
        batch: Any = self.scenario.batch
        if batch is None:
            batch = minimum(*(maximum(self.largest(r).limit, 1.0) for r in ("moe", "dense")))
            batch = _sequences(batch, self.tracer, self.budget)
        a, b = (self._kept(f"equal.{r}", lambda r=r: at_batch(self.side(r), batch)) for r in ("moe", "dense"))
        return a.seconds / b.seconds, _and(self.both, a.fits, b.fits)

    def equal_tpot(self) -> Output:
        m, accepted, limit = self.largest("moe"), self.ground.workload.accepted, self.scenario.tpot
        own = limit is None and len(self.side("moe").layouts) == 1
        if limit is None:
            limit = m.seconds / accepted
        a = m if own else under_tpot(self.side("moe"), limit)
        b = under_tpot(self.side("dense"), limit)
        return b.rate(accepted) / a.rate(accepted), _and(self.both, a.fits, b.fits)

    def request(self) -> Output:
        if self.scenario.input is None and self.scenario.output is None:
            raise RoutelineError("ratio_request needs input or output: an axis, or a value under [fixed]")
        shape = self.request_shape
        totals, fits = [], []
        for role in ("moe", "dense"):
            one = self.side(role)
            work = requests.decode_workload(one.counted, self.ground, shape)
            best: Any = math.inf
            some: Any = False
            for layout in one.layouts:
                limit = side.max_batch(one.counted, self.ground, layout, work)
                asked = limit if self.scenario.batch is None else self.scenario.batch
                ok = limit >= maximum(asked, 1.0)
                used = _sequences(asked, self.tracer, self.budget)
                total = requests.cost(one.counted, self.ground, layout, shape, batch=used).total
                some = _or(some, ok)
                best = minimum(best, total)
            totals.append(best)
            fits.append(some)
        return totals[0] / totals[1], _and(self.both, *fits)


def smallest_q(model: Model, shape: str) -> float:
    """The q at or below which the dense shape cannot be built, to 1e-9 of itself [-]; 0 when any q can."""
    low, high = 0.0, 1e6
    if _builds(model, 1e-6, shape):
        return 0.0
    low = 1e-6
    for _ in range(80):
        mid = math.sqrt(low * high)
        if _builds(model, mid, shape):
            high = mid
        else:
            low = mid
        if high / low < 1.0 + 1e-15:
            break
    return low


def _builds(model: Model, q: float, shape: str) -> bool:
    try:
        dense.matched(model, q, shape)
    except RoutelineError:
        return False
    return True


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
    return _pick(x.point(role).choice, values), x.fits(role) if len(values) > 1 else x.ok


def _cache(x: Lowered, role: str) -> Output:
    one = x.side(role)
    values = [memory.cache_per_device(one.counted, layout, x.ground.workload) for layout in one.layouts]
    return _pick(x.point(role).choice, values), x.fits(role) if len(values) > 1 else x.ok


def _touched(x: Lowered) -> Output:
    one, point = x.side("moe"), x.point("moe")
    values = [side.step_at(one.counted, x.ground, layout, point.batch).touched for layout in one.layouts]
    return _pick(point.choice, values), x.fits("moe")


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
    "q": Known(make=lambda x: (x.q if x.q is not None else counts.active(x.opponent).all / counts.active(x.model).all, x.ok),  # type: ignore[arg-type]
               unit="-", what="size multiplier of the dense model"),
    "qs": Known(make=lambda x: (OUTPUTS["q"].make(x)[0] * counts.sparsity(x.model), x.ok), unit="-",
                what="q*s: matched dense size over what the MoE keeps resident"),
    "break_even_batch": Known(make=lambda x: break_even(x), unit="tokens",
                              what="tokens per step above which the MoE reads more weight bytes than the dense model"),
    **_both_sides(),
}  # fmt: skip


def break_even(x: Lowered) -> Output:
    """T* where fixed + routed * U(T)/E = dense weight bytes read, pooled (model.md section 6, form 2).

    Solved for uniform routing: U = E(1 - (1-k/E)**T). No value where the MoE always or never reads more.
    """
    from ..breakeven import weights_read

    routed = x.ground.routing
    if routed.name != "uniform" or routed.probabilities is not None:
        raise RoutelineError("break_even_batch is solved for uniform routing; leave it out, or sweep routing = uniform")
    pool, one = layouts.pooled(1.0), x.side("moe").counted
    fixed, every = (weights_read(one, pool, t, routed) for t in (0.0, math.inf))
    share = (weights_read(x.side("dense").counted, pool, 1.0, routed) - fixed) / (every - fixed)
    exists = _and(share > 0.0, share < 1.0, x.ok)
    inside = minimum(maximum(share, 1e-300), 1.0 - 1e-16)
    return _log(1.0 - inside) / _log(1.0 - one.top_k / one.experts), exists


def _log(x: Any) -> Any:
    return math.log(x) if isinstance(x, (float, int)) else np.log(x)


def trace(
    cell: Cell, axes: Mapping[str, Any], dims: int, wanted: Sequence[str], points: int
) -> tuple[Graph, dict[str, Any]]:
    """Trace the outputs of a cell over numeric axes (open-grid arrays). Returns (graph, {name: value, name?: condition})."""
    tracer = Graph(dims)
    numbers = {name: tracer.leaf(values) for name, values in axes.items()}
    lowered = Lowered(cell, numbers, tracer, max(2**12, min(2**20, 4 * points)))
    found = _collect(lowered, wanted)
    return tracer, {k: tracer.leaf(v) if isinstance(v, np.ndarray) else v for k, v in found.items()}


def _collect(lowered: Lowered, wanted: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in wanted:
        out[name], out[f"{name}?"] = lowered.output(name)
    return out


def direct(cell: Cell, numbers: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The outputs of a cell at open-grid arrays (or scalars) without tracing: slow, for what cannot be traced."""
    with np.errstate(all="ignore"):
        return _collect(Lowered(cell, numbers), wanted)
