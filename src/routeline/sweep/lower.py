"""One combination of names -> every output as a formula over the numeric axes.

The formulas come from the functions that `compare` calls (ground.make_ground, layouts, memory, estimate,
dense, requests); this module only says which of them make up an output, and when it has a value.
Numbers may be floats, arrays on an open grid or traced nodes: one code for all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from .. import arch, counts, dense, requests, side
from ..arch import Model
from ..compare import TIE
from ..counts import Counted
from ..errors import RoutelineError
from ..ground import make_ground, options
from ..hardware import Cluster
from ..numeric import choose, maximum, minimum
from ..routing import Routing
from ..scenario import Efficiency, Scenario
from ..side import Ground
from . import synthetic
from .graph import Graph
from .sides import Chosen, Sided, all_of, any_of, at_batch, at_max, make_side, negated, pick, sequences, under_tpot

REASONS = (
    "ok", "moe does not fit", "dense does not fit", "neither fits", "context is past the model's limit",
    "q is too small for the dense shape", "the architecture cannot be built", "the batch does not fit",
    "refused", "the request does not fit", "the time per token is out of reach", "no batch breaks even",
)  # fmt: skip
"""Why values are missing at a point; the index is what the output `reason` holds. From "the batch does not fit" on
(but for "refused"), R at the largest batches exists all the same and only some outputs have no value."""

LATE = {"ratio_request": 9.0, "ratio_tpot": 10.0, "break_even_batch": 11.0}
"""Outputs that may have no value where R has one, and the reason then."""

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


Output: TypeAlias = tuple[Any, Any]
"""A value and the condition under which it is one."""


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
        self.exists: dict[str, Any] = {}
        """Where the outputs made so far have a value: what `reason` answers for."""
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
        if self.tracer is None:
            least = dense.smallest_q(model, self.scenario.dense)
            low = q <= least
            if np.ndim(low) and np.any(low):
                self.refusals.append((low, 5))
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

    def side(self, role: str) -> Sided:
        def make() -> Sided:
            model = self.model if role == "moe" else self.opponent
            assert model is not None
            counted = self._counted(model)
            choice = options(counted, self.cell.cluster, self.scenario, role)
            return make_side(counted, self.ground, choice, self.tracer, self.budget)

        return self._kept(role, make)

    def largest(self, role: str) -> Chosen:
        """compare's point of a side at its largest admissible batch."""

        def make() -> Chosen:
            found = at_max(self.side(role))
            many = len(self.side(role).layouts) > 1
            return replace(found, batch=sequences(found.batch, self.tracer, self.budget)) if many else found

        return self._kept(f"{role}.largest", make)

    def point(self, role: str) -> Chosen:
        """compare's point of a side: at the batch asked for, else at its largest."""
        if self.scenario.batch is None:
            return self.largest(role)
        return self._kept(f"{role}.point", lambda: at_batch(self.side(role), self.scenario.batch))

    @property
    def ok(self) -> Any:
        """Nothing refused."""
        return self._kept("ok", lambda: all_of(*(negated(c) for c, _ in self.refusals)))

    def fits(self, role: str) -> Any:
        return all_of(self.ok, self.point(role).fits)

    @property
    def both(self) -> Any:
        """Both sides fit at some batch: a ratio exists."""
        return self._kept("both", lambda: all_of(self.ok, self.largest("moe").fits, self.largest("dense").fits))

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
        return self._kept("there", lambda: pick(d.choice, [one.seconds(m.batch, i) for i in used]))

    # --- outputs ---

    def reason(self, *, fixed: bool = True) -> Any:
        """Index into REASONS of the first that holds; with fixed, a batch asked for that does not fit and the
        outputs of LATE made so far count."""
        m, d = self.point("moe"), self.point("dense")
        out: Any = 0.0
        missing = [choose(negated(self.side(r).fits), float(c), 0.0) for r, c in (("moe", 1), ("dense", 2))]
        out = missing[0] + missing[1]
        if fixed and self.scenario.batch is not None:
            none = all_of(out < 0.5, negated(all_of(m.fits, d.fits)))
            out = choose(none, 7.0, out)
        for name, code in LATE.items() if fixed else ():
            none = all_of(out < 0.5, negated(self.exists.get(name, True)))
            out = out if none is False else choose(none, code, out)
        for wrong, code in self.refusals[::-1]:
            out = float(code) if wrong is True else out if wrong is False else choose(wrong, float(code), out)
        return out

    def verdict(self) -> Any:
        r = self.ratio
        out = choose(r > 1.0 + TIE, 2.0, choose(r < 1.0 - TIE, 0.0, 1.0))
        why = self.reason(fixed=False)
        for code, name in ((1.0, 3.0), (2.0, 4.0), (3.0, 5.0)):
            same = all_of(why > code - 0.5, why < code + 0.5)
            out = name if same is True else out if same is False else choose(same, name, out)
        over = why > 3.5
        return 6.0 if over is True else out if over is False else choose(over, 6.0, out)

    def equal(self) -> Output:
        batch: Any = self.scenario.batch
        if batch is None:
            batch = minimum(*(maximum(self.largest(r).limit, 1.0) for r in ("moe", "dense")))
            batch = sequences(batch, self.tracer, self.budget)
        a, b = (self._kept(f"equal.{r}", lambda r=r: at_batch(self.side(r), batch)) for r in ("moe", "dense"))
        return a.seconds / b.seconds, all_of(self.both, a.fits, b.fits)

    def equal_tpot(self) -> Output:
        m, accepted, limit = self.largest("moe"), self.ground.workload.accepted, self.scenario.tpot
        own = limit is None and len(self.side("moe").layouts) == 1
        if limit is None:
            limit = m.seconds / accepted
        a = m if own else under_tpot(self.side("moe"), limit)
        b = under_tpot(self.side("dense"), limit)
        return b.rate(accepted) / a.rate(accepted), all_of(self.both, a.fits, b.fits)

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
                used = sequences(asked, self.tracer, self.budget)
                total = requests.cost(one.counted, self.ground, layout, shape, batch=used).total
                some = any_of(some, ok)
                best = minimum(best, total)
            totals.append(best)
            fits.append(some)
        return totals[0] / totals[1], all_of(self.ok, *fits)
