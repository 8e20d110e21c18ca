"""One side of a cell as `compare` sees it: layouts, largest batches, the point chosen among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import layouts, side
from ..counts import Counted
from ..numeric import choose, floor, maximum
from ..scenario import Layout
from ..side import Ground
from . import algebra
from .graph import Graph, Node


def all_of(*conditions: Any) -> Any:
    out: Any = True
    for c in conditions:
        if c is True or out is False:
            continue
        out = c if out is True else (False if c is False else out & c)
    return out


def negated(c: Any) -> Any:
    return not c if isinstance(c, (bool, np.bool_)) else ~c


@dataclass
class Sided:
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
class Chosen:
    """A batch in the chosen layout. choice: (condition, layout index) pairs, first that holds."""

    batch: Any
    limit: Any
    seconds: Any
    choice: Sequence[tuple[Any, int]]
    fits: Any

    def rate(self, accepted: Any) -> Any:
        return self.batch * accepted / self.seconds


def sequences(definition: Any, tracer: Graph | None, budget: int) -> Any:
    """A largest batch made ready for formulas: at least 1, and a variable that can be tabulated."""
    if tracer is None or not isinstance(definition, Node):
        return maximum(definition, 1.0)
    scale, factors = algebra.split(definition)
    single = next(iter(factors)) if len(factors) == 1 else None
    if single is None or factors[single] != 1.0 or not single.whole or scale != round(scale):
        single, scale = definition, 1.0
    least = algebra.maximum(single, 1.0)
    if not isinstance(least, Node) or not single.whole:
        return algebra.mul(scale, least)
    cap = int(min(least.hi, 1e12))
    return algebra.mul(scale, tracer.variable(least, cap if cap <= budget else None))


def make_side(counted: Counted, ground: Ground, choice: Layout, tracer: Graph | None, budget: int) -> Sided:
    """A side with its largest batches."""
    many = layouts.size(choice) if np.ndim(choice.tp) else 1
    each = [layouts.pick(choice, i) for i in range(many)] if np.ndim(choice.tp) else [choice]
    limits = [side.max_batch(counted, ground, one) for one in each]
    used = [sequences(x, tracer, budget) for x in limits]
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
    return Sided(counted, ground, each, limits, used, fits)


def at_max(one: Sided) -> Chosen:
    """side.at_max: the layout with the highest throughput at its own largest batch."""
    rates = [b / one.seconds(b, i) for i, b in enumerate(one.used)]
    return best(one, one.used, rates, [x >= 1.0 for x in one.limits])


def best(one: Sided, batches: Sequence[Any], scores: Sequence[Any], allowed: Sequence[Any]) -> Chosen:
    """The first layout with the highest score among those allowed."""
    if len(scores) == 1:
        return Chosen(batches[0], one.limits[0], one.seconds(batches[0], 0), [(True, 0)], allowed[0])
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
    return Chosen(pick(choice, batches), pick(choice, one.limits), pick(choice, seconds), choice, fits)


def _same(index: Any, i: int) -> Any:
    low, high = index > i - 0.5, index < i + 0.5
    return all_of(low, high)


def pick(choice: Sequence[tuple[Any, int]], values: Sequence[Any]) -> Any:
    out = values[choice[0][1]]
    for ok, i in choice[1:]:
        out = values[i] if ok is True else (out if ok is False else choose(ok, values[i], out))
    return out


def at_batch(one: Sided, batch: Any) -> Chosen:
    """side.at_batch: the fastest layout that admits a batch."""
    scores = [1.0 / one.seconds(batch, i) for i in range(len(one.layouts))]
    return best(one, [batch] * len(scores), scores, [x >= batch for x in one.limits])


def under_tpot(one: Sided, tpot: Any) -> Chosen:
    """side.under_tpot: the highest throughput whose time per output token stays within the limit."""
    found, allowed = [], []
    for i, limit in enumerate(one.limits):
        batch = largest_whole(lambda b, i=i: one.seconds(b, i) / one.accepted <= tpot * (1.0 + 1e-12), limit)
        found.append(maximum(batch, 1.0))
        allowed.append(batch >= 1.0)
    rates = [b / one.seconds(b, i) for i, b in enumerate(found)]
    return best(one, found, rates, allowed)


def largest_whole(holds: Callable[[Any], Any], limit: Any) -> Any:
    """Largest whole number in [1, limit] for which `holds` (true up to some number); 0 where 1 fails."""
    high = limit + 1.0
    low: Any = 0.0 * limit if isinstance(limit, np.ndarray) else 0.0
    top = algebra.bounds(limit)[1] if isinstance(limit, Node) else float(np.max(limit))
    for _ in range(max(1, math.ceil(math.log2(top + 2.0)))):
        mid = floor(0.5 * (low + high))
        good = all_of(holds(maximum(mid, 1.0)), mid <= limit)
        zero = mid < 1.0
        good = any_of(good, zero)
        low, high = choose(good, mid, low), choose(good, high, mid)
    return low


def any_of(a: Any, b: Any) -> Any:
    if a is True or b is True:
        return True
    return b if a is False else a if b is False else a | b
