"""One model on one cluster: which layout, how many sequences, how fast. Half of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import estimate, layouts, memory
from .counts import Counted
from .estimate import Rates, Step
from .routing import UNIFORM, Routing
from .scenario import Efficiency, Layout, Workload

TIE = 0.02
"""Throughput ratios within 2% of 1 are called a tie."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Everything both sides share: devices, what each offers, the workload and the tier."""

    devices: int
    node: int
    rates: Rates
    capacity: Any
    """Bytes per device for weights and cache: memory * utilisation - overhead [B]."""
    workload: Workload
    efficiency: Efficiency
    routing: Routing = UNIFORM
    attention_format: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model in one layout at one batch."""

    counted: Counted
    layout: Layout
    batch: float
    max_batch: float
    step: Step

    @property
    def rate(self) -> float:
        return float(self.step.rate)

    @property
    def tpot(self) -> float:
        """Seconds between output tokens of one sequence [s]."""
        return float(self.step.seconds) * self.batch / float(self.step.output)


def step_at(counted: Counted, ground: Ground, layout: Layout, batch: Any, workload: Workload | None = None) -> Step:
    """estimate.step on this ground; layout and batch may be arrays that broadcast."""
    return estimate.step(
        counted, ground.rates, layout, batch, workload or ground.workload, ground.efficiency, ground.routing,
        attention_format=ground.attention_format,
    )  # fmt: skip


def max_batch(counted: Counted, ground: Ground, layout: Layout, workload: Workload | None = None) -> Any:
    """B_max over all devices for each layout [-]; 0 where not even one sequence fits a rank."""
    weights = memory.weights_per_device(counted, layout, ground.routing.redundant)
    cache = memory.cache_per_device(counted, layout, workload or ground.workload)
    limit, able = memory.admissible(ground.capacity, weights, cache, layout), layouts.runs(layout, counted)
    return limit if able is True else limit * able


def admitting(counted: Counted, ground: Ground, options: Layout, batch: float = 1.0) -> tuple[Layout, np.ndarray]:
    """(the layouts that hold `batch` sequences, their largest batches): only these are worth timing."""
    limit = np.atleast_1d(np.asarray(max_batch(counted, ground, options), float))
    keep = limit >= batch
    return (layouts.take(options, keep) if np.ndim(options.tp) else options), limit[keep]


def at_max(counted: Counted, ground: Ground, options: Layout) -> Point | None:
    """The layout with the highest throughput at its own largest admissible batch; None if none fits."""
    fitting, limit = admitting(counted, ground, options)
    if not limit.size:
        return None
    best = 0
    if limit.size > 1:
        best = int(np.argmax(step_at(counted, ground, fitting, limit).rate))
    return _point(counted, ground, fitting, best, float(limit[best]), float(limit[best]))


def at_batch(counted: Counted, ground: Ground, options: Layout, batch: float, *, fit: bool = True) -> Point | None:
    """The fastest layout that admits `batch` sequences (any layout when fit is False); None if none does."""
    fitting, limit = admitting(counted, ground, options, batch if fit else 0.0)
    if not limit.size:
        return None
    best = 0
    if limit.size > 1:
        best = int(np.argmin(np.broadcast_to(step_at(counted, ground, fitting, batch).seconds, limit.shape)))
    return _point(counted, ground, fitting, best, batch, float(limit[best]))


def under_tpot(counted: Counted, ground: Ground, options: Layout, tpot: float) -> Point | None:
    """The layout and batch of highest throughput whose time per output token stays within `tpot` [s]."""
    fitting, limit = admitting(counted, ground, options)
    if not limit.size:
        return None
    wide = layouts.as_column(fitting) if np.ndim(fitting.tp) else fitting
    accepted = ground.workload.accepted
    batch = largest_integer(
        lambda b: step_at(counted, ground, wide, b).seconds / accepted <= tpot * (1.0 + 1e-12), limit
    )
    ok = np.flatnonzero(batch >= 1)
    if not ok.size:
        return None
    best = int(ok[0])
    if limit.size > 1:
        rate = np.atleast_1d(step_at(counted, ground, fitting, np.maximum(batch, 1.0)).rate)
        best = int(ok[np.argmax(rate[ok])])
    return _point(counted, ground, fitting, best, float(batch[best]), float(limit[best]))


def largest_integer(holds: Callable[[Any], Any], limit: np.ndarray, sections: int = 16) -> np.ndarray:
    """Largest whole number in [1, limit] for which `holds` is true, row by row; 0 where 1 fails.

    `holds` takes an array (rows, sections) and must be true up to some number and false beyond it
    (step time grows with batch). Multi-section: each call narrows the bracket `sections`-fold.
    """
    low, high = np.zeros_like(limit), np.floor(limit) + 1.0
    share = np.arange(1, sections + 1) / (sections + 1.0)
    while np.any(high - low > 1.0):
        active = (high - low > 1.0)[:, None]
        probe = np.minimum(low[:, None] + np.ceil((high - low)[:, None] * share), high[:, None] - 1.0)
        good = np.asarray(holds(np.maximum(probe, 1.0))).reshape(probe.shape)
        low = np.maximum(low, np.max(np.where(active & good, probe, 0.0), axis=1))
        high = np.minimum(high, np.min(np.where(active & ~good, probe, np.inf), axis=1))
        high = np.maximum(high, low + 1.0)
    return low


def _point(counted: Counted, ground: Ground, options: Layout, index: int, batch: float, limit: float) -> Point:
    layout = layouts.pick(options, index) if np.ndim(options.tp) else options
    return Point(
        counted=counted, layout=layout, batch=batch, max_batch=limit, step=step_at(counted, ground, layout, batch)
    )


def devices_needed(counted: Counted, ground: Ground, *, node: int, pooled: bool, limit: int = 65536) -> int | None:
    """The smallest device count that holds the weights and one sequence; None if none up to `limit` does.

    Counts tried: those up to one node of `node` devices, then whole nodes; layouts: every one `auto`
    knows, or the pool.
    """
    per_device = float(ground.capacity)
    if per_device <= 0:
        return None
    whole = layouts.pooled(1)
    need = memory.weights_per_device(counted, whole) + memory.cache_per_device(counted, whole, ground.workload)
    least = max(1, int(np.ceil(float(need) / per_device - 1e-9)))
    nodes = max(1, -(-least // node))
    if pooled:
        found = least if least <= node else nodes * node
        return found if found <= limit else None
    sizes = [n for n in range(least, node + 1)]
    sizes += [n * node for n in [*range(nodes, nodes + 64), *(nodes * 2**i for i in range(1, 12))]]
    for n in sorted(set(sizes)):
        if n > limit:
            return None
        if np.any(
            np.asarray(max_batch(counted, ground, layouts.candidates(counted, n, node, ground.routing.redundant))) >= 1
        ):
            return n
    return None
