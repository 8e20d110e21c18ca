"""The verdict over everything q may be: R as a function of q, where it flips, how likely each side is.

Works on a finished Comparison; the dense side is evaluated at many q at once by the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from . import arch, counts, dense, layouts, side
from .callable import named
from .compare import TIE, Comparison
from .dense import SHAPES
from .ground import options

GRID = 41
"""Values of q per scan; a flip is refined by a second scan of the bracket, to 1 part in 1,600 of its width."""


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A q at which a ratio crosses 1. rising: whether R grows with q there (it nearly always falls)."""

    ratio: str
    q: float
    rising: bool


@dataclass(frozen=True, kw_only=True)
class Odds:
    """How sure the verdict is over the distribution of q.

    p_above: P(R > 1) by ratio name, None where the ratio has no answer; p_unfit: probability that the
    matched dense model does not fit (or misses the batch or latency) there; p_static: P(qs < 1);
    p_beyond_break_even: P(the MoE's batch is above the break-even batch), i.e. that it reads more weight
    bytes than its match; flips: every q in the scanned range where a verdict changes; stops: by ratio name the q
    above which the dense side has no answer, None where it has one everywhere. A p_above strictly between 0 and 1
    has a flip or a stop.
    """

    p_static: float
    p_beyond_break_even: float | None
    p_above: dict[str, float | None]
    p_unfit: dict[str, float]
    flips: tuple[Flip, ...]
    stops: dict[str, float | None]
    scanned: tuple[float, float]


def ratios_at(answer: Comparison, q: Any) -> dict[str, np.ndarray]:
    """R by ratio name at each q (1-D array); nan where the dense side has no answer.

    The MoE's points stay where the comparison put them; the dense side is laid out anew for every q.
    """
    q = np.atleast_1d(np.asarray(q, float))
    scenario, ground = answer.scenario, answer.ground
    rival = dense.matched(answer.model, q, scenario.dense)
    stored = rival if scenario.weights == "native" else arch.restore(rival, scenario.weights)
    counted = counts.count(stored, scenario.cache)
    wide = _column(options(counted, answer.cluster, scenario, "dense"))
    limit = np.broadcast_to(side.max_batch(counted, ground, wide), (_rows(wide), q.size))
    out = {}
    for name, ratio in answer.ratios.items():
        if ratio.moe is None or name == "request":
            continue
        if name == "max_batch":
            batch, allowed = np.maximum(limit, 1.0), limit >= 1.0
        elif name == "equal_batch":
            batch = np.full_like(limit, ratio.at)
            allowed = limit >= ratio.at
        else:
            batch = _within_tpot(answer, counted, wide, limit, float(ratio.at or 0.0))
            allowed = batch >= 1.0
        rate = np.broadcast_to(side.step_at(counted, ground, wide, np.maximum(batch, 1.0)).rate, limit.shape)
        best = np.max(np.where(allowed, rate, -np.inf), axis=0)
        out[name] = np.where(np.isfinite(best), best, np.nan) / ratio.moe.rate
    return out


def _within_tpot(answer: Comparison, counted: counts.Counted, wide: Any, limit: np.ndarray, tpot: float) -> np.ndarray:
    """Largest batch within `tpot` for every (layout, q): one search over all rows."""
    ground, n = answer.ground, limit.shape[1]
    accepted = ground.workload.accepted

    def holds(batch: np.ndarray) -> np.ndarray:
        cube = np.moveaxis(batch.reshape(*limit.shape, -1), -1, 0)
        seconds = side.step_at(counted, ground, wide, cube).seconds / accepted
        return np.moveaxis(np.broadcast_to(seconds, cube.shape), 0, -1).reshape(limit.size, -1) <= tpot * (1 + 1e-12)

    return side.largest_integer(holds, limit.reshape(-1)).reshape(-1, n)


def _column(layout: Any) -> Any:
    return layouts.as_column(layout) if np.ndim(layout.tp) else layout


def _rows(layout: Any) -> int:
    return int(np.size(layout.tp))


def odds(answer: Comparison) -> Odds | None:
    """Probabilities and flips of a comparison; None against a named model (its q is a fact) or without a q range."""
    evidence = answer.q_evidence
    if evidence is None or answer.scenario.dense not in SHAPES or not answer.moe.fits:
        return None
    low, high = (float(v) for v in evidence.distribution.interval(0.998))
    floor = dense.smallest_q(answer.model, answer.scenario.dense) * 1.0001
    centre = float(evidence.median)
    low, high = max(min(low, centre / 4, 0.9), floor), max(min(high, 200.0), centre * 4)
    grid = np.geomspace(low, high, GRID)
    above, unfit, stops, flips = {}, {}, {}, []
    for name, values in ratios_at(answer, grid).items():
        known = np.isfinite(values)
        found = _crossings(answer, name, grid, values)
        ends = [_end(answer, name, grid, int(i)) for i in np.flatnonzero(known[1:] != known[:-1])]
        above[name], unfit[name] = _probabilities(answer, name, grid, values, sorted([*(f.q for f in found), *ends]))
        stops[name] = ends[-1] if ends and not known[-1] else None
        if not known.any():
            above[name] = None
        flips += found
    return Odds(
        p_static=float(evidence.p_static), p_beyond_break_even=_beyond(answer), p_above=above, p_unfit=unfit,
        flips=tuple(flips), stops=stops, scanned=(float(low), float(high)),
    )  # fmt: skip


def _sign(values: np.ndarray) -> np.ndarray:
    """1 where R > 1, -1 where not, 0 where it has no value."""
    return np.where(np.isfinite(values), np.where(np.nan_to_num(values) > 1.0, 1.0, -1.0), 0.0)


def _crossings(answer: Comparison, name: str, grid: np.ndarray, values: np.ndarray) -> list[Flip]:
    out = []
    sign = _sign(values)
    for i in np.flatnonzero(sign[1:] * sign[:-1] < 0):
        fine = np.geomspace(grid[i], grid[i + 1], GRID)
        there = ratios_at(answer, fine)[name]
        turned = np.flatnonzero(_sign(there) == sign[i + 1])
        high = int(turned[0]) if turned.size else GRID - 1
        low, share = max(high - 1, 0), 1.0
        span = there[high] - there[low]
        if np.isfinite(span) and span:  # else a gap without an answer ends there: the flip is its far side
            share = float(np.clip((1.0 - there[low]) / span, 0.0, 1.0))
        q = float(fine[low] * (fine[high] / fine[low]) ** share)
        out.append(Flip(ratio=name, q=q, rising=bool(sign[i + 1] > 0)))
    return out


def _end(answer: Comparison, name: str, grid: np.ndarray, i: int) -> float:
    """The q between grid[i] and grid[i + 1] where the dense side starts or stops having an answer."""
    fine = np.geomspace(grid[i], grid[i + 1], GRID)
    known = np.isfinite(ratios_at(answer, fine)[name])
    j = int(np.flatnonzero(known != known[0])[0])
    return float(np.sqrt(fine[j - 1] * fine[j]))


def _probabilities(
    answer: Comparison, name: str, grid: np.ndarray, values: np.ndarray, edges: list[float]
) -> tuple[float, float]:
    """(P(R > 1), P(no answer)): the mass of q between the edges, each interval judged at a point inside it.

    The first and last points of the grid stand for all beyond them.
    """
    state = []
    for a, b in pairwise([0.0, *edges, np.inf]):
        inside = np.flatnonzero((grid > a) & (grid < b))
        at = values[inside[len(inside) // 2]] if len(inside) else ratios_at(answer, np.sqrt(a * b))[name][0]
        state.append(float(_sign(at)))
    mass = np.diff([0.0, *(float(answer.q_evidence.cdf(q)) for q in edges), 1.0])
    above, none = (float(np.clip(mass[np.array(state) == s].sum(), 0.0, 1.0)) for s in (1.0, 0.0))
    return above, none


def _beyond(answer: Comparison) -> float | None:
    """P over q that the MoE, at its batch, reads more weight bytes than its match (finite-batch form).

    Bytes read once each over the pool: W_fixed + W_routed U(T)/E against the dense weights; linear in q,
    so the q where both are equal is exact.
    """
    point = answer.moe.point
    if point is None:
        return None
    pool = layouts.pooled(1)
    bare = replace(answer.ground, efficiency=replace(answer.ground.efficiency, worst_rank=False, activations=False))
    moe = float(side.step_at(point.counted, bare, pool, point.batch).weight_bytes)
    two = answer.q * np.array([1.0, 2.0])
    rival = dense.matched(answer.model, two, answer.scenario.dense)
    stored = rival if answer.scenario.weights == "native" else arch.restore(rival, answer.scenario.weights)
    counted = counts.count(stored, answer.scenario.cache)
    read = np.broadcast_to(np.asarray(side.step_at(counted, bare, pool, point.batch).weight_bytes, float), (2,))
    slope = (read[1] - read[0]) / answer.q
    equal = answer.q + (moe - read[0]) / slope
    return float(answer.q_evidence.cdf(equal)) if equal > 0 else 0.0


__all__ = ["TIE", "Flip", "Odds", "odds", "ratios_at"]

named(__name__)
