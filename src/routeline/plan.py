"""What fits and under which layout: largest batches, longest contexts, and the verdict layout by layout."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import layouts, memory, side
from .arch import Model
from .compare import TIE, Comparison
from .counts import Counted
from .errors import RoutelineError
from .ground import make_ground, options, prepared
from .hardware import Cluster
from .scenario import Layout, Scenario
from .side import Ground, largest_integer
from .units import show

CONTEXTS = (4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0)
BATCHES = (1.0, 8.0, 32.0, 128.0)
LONGEST = 2.0**30
"""Contexts are searched up to here [tokens]; a model of constant state reaches it."""


@dataclass(frozen=True, kw_only=True)
class FitRow:
    """One layout. weights, cache_token and free are per device [B]; batch: largest batch by context;
    context: longest context by batch over all devices (None: no limit found, 0: not even one token)."""

    layout: Layout
    weights: float = field(metadata={"unit": "B"})
    free: float = field(metadata={"unit": "B"})
    batch: dict[float, float]
    context: dict[float, float | None]

    @property
    def fits(self) -> bool:
        return any(b >= 1 for b in self.batch.values())


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a model admits on a cluster, best layout first (by batch at the longest context that fits)."""

    model: str
    devices: str
    capacity: float = field(metadata={"unit": "B"})
    rows: tuple[FitRow, ...]
    devices_needed: int | None
    context_limit: float | None
    contexts: tuple[float, ...]
    batches: tuple[float, ...]

    def best_batch(self) -> dict[float, float]:
        """Largest batch of any layout, by context."""
        return {c: max((r.batch[c] for r in self.rows), default=0.0) for c in self.contexts}

    def longest_context(self) -> dict[float, float | None]:
        """Longest context of any layout, by batch; None: no limit found."""
        out: dict[float, float | None] = {}
        for b in self.batches:
            found = [r.context[b] for r in self.rows]
            out[b] = None if None in found else max((x for x in found if x is not None), default=0.0)
        return out


def check_overhead(cluster: Cluster, scenario: Scenario) -> None:
    """Refuse a runtime overhead that leaves no memory for weights and cache.

    Raises:
        RoutelineError: overhead at or above utilisation times the device's memory.
    """
    room = float(cluster.device.memory(scenario.memory)) * float(scenario.utilisation)
    if float(scenario.overhead) >= room:
        raise RoutelineError(
            f"an overhead of {show(float(scenario.overhead), 'B')} leaves nothing of the {show(room, 'B')} that one "
            f"{cluster.device.name} has for weights and cache; give less than that to --overhead"
        )


def fit(
    model: Model,
    cluster: Cluster,
    scenario: Scenario,
    *,
    contexts: tuple[float, ...] = CONTEXTS,
    batches: tuple[float, ...] = BATCHES,
) -> Fit:
    """Largest batch per context and longest context per batch, for every layout of the scenario.

    Raises:
        RoutelineError: no context or batch given, one below 1, or a layout that cannot run.
    """
    for name, values in (("context", contexts), ("batch", batches)):
        if not values or min(values) < 1 or max(values) > LONGEST:
            raise RoutelineError(f"fit needs at least one {name}, each between 1 and {LONGEST:.3g}")
    check_overhead(cluster, scenario)
    counted, ground = prepared(model, scenario), make_ground(cluster, scenario)
    role = "moe" if counted.moe_layers else "dense"
    table = options(counted, cluster, replace(scenario, tier="ideal"), role)  # memory fits alike in every tier
    column = layouts.as_column(table if np.ndim(table.tp) else _one(table))
    weights = np.asarray(memory.weights_per_device(counted, column, ground.routing.redundant), float)
    work = replace(ground.workload, context=np.asarray(contexts, float))
    cache = memory.cache_per_device(counted, column, work)
    most = np.asarray(memory.admissible(ground.capacity, weights, cache, column))
    rows = np.broadcast_to(weights, (len(weights), 1))[:, 0]
    longest = [_longest(counted, ground, column, weights, b) for b in batches]
    found = [
        FitRow(
            layout=layouts.pick(table, i) if np.ndim(table.tp) else table, weights=float(rows[i]),
            free=float(ground.capacity - rows[i]), batch={c: float(most[i, j]) for j, c in enumerate(contexts)},
            context={b: None if longest[j][i] >= LONGEST else float(longest[j][i]) for j, b in enumerate(batches)},
        )
        for i in range(len(rows))
    ]  # fmt: skip
    found.sort(key=lambda r: ([-r.batch[c] for c in contexts], r.weights))
    need = side.devices_needed(counted, ground, node=cluster.largest_node, pooled=scenario.layout == "pooled")
    return Fit(
        model=model.name, devices=cluster.name, capacity=float(ground.capacity), rows=tuple(found), devices_needed=need,
        context_limit=model.context_limit, contexts=tuple(contexts), batches=tuple(batches),
    )  # fmt: skip


def _one(layout: Layout) -> Layout:
    return replace(layout, **{w: np.array([float(getattr(layout, w))]) for w in layouts.WIDTHS})


def _longest(counted: Counted, ground: Ground, column: Layout, weights: Any, batch: float) -> np.ndarray:
    """Longest context at which `batch` sequences fit, by layout [tokens]; 0 where not even one token does."""

    def holds(context: np.ndarray) -> Any:
        work = replace(ground.workload, context=context)
        cache = memory.cache_per_device(counted, column, work)
        return np.broadcast_to(memory.admissible(ground.capacity, weights, cache, column) >= batch, context.shape)

    return largest_integer(holds, np.full(len(np.atleast_1d(weights)), LONGEST))


# --- the verdict layout by layout ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LayoutRow:
    """One layout of the MoE. `ratio`: R at largest batches with the dense model in the same layout (experts'
    widths dropped, attention data parallelism become replicas); `ratio_best`: with the dense model in its
    own best layout. None where a side does not fit. Batches 0: does not fit."""

    layout: Layout
    moe_batch: float
    dense_batch: float
    moe_step: float | None = field(metadata={"unit": "s"})
    moe_rate: float | None = field(metadata={"unit": "tokens/s"})
    ratio: float | None
    ratio_best: float | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class LayoutTable:
    """Every layout with its verdict, fastest MoE layout first; `sentence` says whether the layout decides."""

    rows: tuple[LayoutRow, ...]
    sentence: str

    @property
    def flips(self) -> bool:
        """Whether both verdicts occur among the layouts where both sides fit."""
        leads = {r.verdict for r in self.rows}
        return {"dense", "moe"} <= leads


def compare_layouts(comparison: Comparison) -> LayoutTable:
    """The comparison under every layout that `auto` knows, and pooled."""
    c = comparison
    table = layouts.candidates(c.moe.counted, c.cluster.count, c.cluster.node, c.ground.routing.redundant)
    whole = layouts.pooled(c.cluster.count)
    best = _best_dense(c)
    rows = _rows(c, table, best) + _rows(c, _one(whole), best, pooled=True)
    rows.sort(key=lambda r: -(r.moe_rate or 0.0))
    return LayoutTable(rows=tuple(rows), sentence=_flips(rows, c))


def _best_dense(c: Comparison) -> float | None:
    own = layouts.candidates(c.dense.counted, c.cluster.count, c.cluster.node, c.ground.routing.redundant)
    point = side.at_max(c.dense.counted, c.ground, own) if layouts.size(own) else None
    return None if point is None else point.rate


def _rows(c: Comparison, table: Layout, best: float | None, *, pooled: bool = False) -> list[LayoutRow]:
    rival = c.dense.counted
    other = table
    if not pooled and not rival.moe_layers:
        other = replace(table, moe_tp=table.tp, ep=np.ones_like(table.tp), dp=np.ones_like(table.tp),
                        replicas=table.replicas * table.dp)  # fmt: skip
    can = np.ones(layouts.size(table), bool) if pooled else np.asarray(rival.model.heads % other.tp == 0)
    values = []
    for counted, layout in ((c.moe.counted, table), (rival, other)):
        limit = np.asarray(side.max_batch(counted, c.ground, layout), float)
        step = side.step_at(counted, c.ground, layout, np.maximum(limit, 1.0))
        values.append((limit, np.asarray(step.seconds, float), np.asarray(step.rate, float)))
    (bm, tm, rm), (bd, _, rd) = values
    bd = np.where(can, bd, 0.0)
    out = []
    for i in range(layouts.size(table)):
        m, d = bm[i] >= 1, bd[i] >= 1
        ratio = float(rd[i] / rm[i]) if m and d else None
        layout = replace(layouts.pick(table, i), pooled=pooled)
        out.append(
            LayoutRow(
                layout=layout, moe_batch=float(bm[i]), dense_batch=float(bd[i]),
                moe_step=float(tm[i]) if m else None, moe_rate=float(rm[i]) if m else None, ratio=ratio,
                ratio_best=best / float(rm[i]) if m and best is not None else None,
                verdict=_verdict(ratio, bool(m), bool(d)),
            )
        )  # fmt: skip
    return out


def _verdict(ratio: float | None, moe: bool, rival: bool) -> str:
    if ratio is None:
        return "neither_fits" if not moe and not rival else "moe_infeasible" if not moe else "dense_infeasible"
    return "tie" if abs(ratio - 1.0) <= TIE else "dense" if ratio > 1 else "moe"


def _flips(rows: list[LayoutRow], c: Comparison) -> str:
    counted = {v: [r for r in rows if r.verdict == v] for v in ("dense", "moe", "tie")}
    infeasible = sum(r.verdict.endswith(("infeasible", "fits")) for r in rows)
    both = counted["dense"] and counted["moe"]
    fit_rows = [r for r in rows if r.ratio is not None]
    if not fit_rows:
        return f"no layout of {c.cluster.name} holds both sides"
    low, high = (min(fit_rows, key=lambda r: r.ratio or 0.0), max(fit_rows, key=lambda r: r.ratio or 0.0))
    span = f"R runs from {low.ratio:.3g} ({low.layout}) to {high.ratio:.3g} ({high.layout})"
    lead = ", ".join(f"{v} in {len(r)}" for v, r in counted.items() if r)
    tail = f"; {infeasible} more do not hold both sides" if infeasible else ""
    word = "the layout decides the verdict: " if both else "the verdict holds in every layout that fits: "
    return f"{word}{lead} of {len(fit_rows)} layouts with both sides in the same one, {span}{tail}"
