"""R and throughput over ranges: the functions `compare` calls, broadcast over contexts, batches and more.

Layout choice per point is that of routeline.side: at a given batch the fastest layout that admits it, else the
highest throughput at each layout's own largest batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import arch, counts, layouts, side
from ..compare import Comparison, capacity, make_ground, options, workload
from ..counts import Counted
from ..dense import SHAPES, matched
from ..devices import make_cluster
from ..errors import RoutelineError, UnknownName
from ..scenario import Layout
from ..side import Ground
from . import data

AXES = {
    "context": "context [tokens]",
    "batch": "batch [sequences]",
    "utilisation": "share of device memory used [-]",
    "overhead": "memory kept by the runtime [B per device]",
    "q": "q, size of the matched dense model over active parameters [-]",
    "accept": "share of draft tokens accepted [-]",
}
"""Axes a verdict map may have -> title with unit."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """Best rate at each point, arrays of one shape. rate: output tokens/s over all devices, NaN nowhere:
    0 where it does not fit. limit: largest admissible batch of the chosen layout; index: which layout."""

    rate: np.ndarray
    limit: np.ndarray
    batch: np.ndarray
    index: np.ndarray


def _leading(layout: Layout, dims: int) -> Layout:
    """Layout arrays with `dims` trailing axes; a scalar layout becomes an axis of one."""
    shape = (-1,) + (1,) * dims
    return replace(layout, **{w: np.asarray(getattr(layout, w), float).reshape(shape) for w in layouts.WIDTHS})


def best(counted: Counted, ground: Ground, choice: Layout, batch: Any = None) -> Best:
    """side.at_max (batch None) or side.at_batch at every point of a ground whose numbers are arrays."""
    shape = np.broadcast_shapes(
        *(
            np.shape(v)
            for v in (
                ground.capacity,
                ground.workload.context,
                ground.workload.tokens_per_sequence,
                ground.workload.accepted,
                0.0 if batch is None else batch,
                counted.residents[0].bytes,
                *(op.bytes for op in counted.operations),
            )
        )
    )
    wide = _leading(choice, len(shape))
    full = (np.size(choice.tp), *shape)
    limit = np.broadcast_to(side.max_batch(counted, ground, wide), full)
    used = np.maximum(limit, 1.0) if batch is None else np.asarray(batch, float)
    allowed = limit >= (1.0 if batch is None else used)
    rate = np.where(allowed, np.broadcast_to(side.step_at(counted, ground, wide, used).rate, full), 0.0)
    index = np.argmax(rate, axis=0)

    def at(values: Any) -> np.ndarray:
        return np.take_along_axis(np.broadcast_to(values, full), index[None], axis=0)[0]

    return Best(rate=at(rate), limit=at(limit), batch=at(used), index=index)


def _varied(c: Comparison, axes: Mapping[str, np.ndarray]) -> tuple[Ground, Counted, Any]:
    """The ground, the dense side and the batch with the named axes put in as arrays."""
    for name in axes:
        if name not in AXES:
            raise UnknownName("axis", name, AXES)
    numbers = {k: v for k, v in axes.items() if k not in ("batch", "q")}
    scenario = replace(c.scenario, **numbers)
    ground = replace(c.ground, capacity=capacity(c.cluster, scenario), workload=workload(scenario))
    rival = c.dense.counted
    if "q" in axes:
        if c.scenario.dense not in SHAPES:
            raise RoutelineError("q cannot vary against a named dense model: its size is given; leave --dense out")
        wide = matched(c.model, axes["q"], c.scenario.dense)
        stored = wide if c.scenario.weights == "native" else arch.restore(wide, c.scenario.weights)
        rival = counts.count(stored, c.scenario.cache, with_mtp=bool(c.scenario.draft))
    return ground, rival, axes.get("batch", c.scenario.batch)


def ratios(c: Comparison, axes: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R, MoE fits, dense fits) with axes broadcast: R at the batch where one is given, else at the largest.

    R is 0 where either side does not fit.
    """
    ground, rival, batch = _varied(c, axes)
    one = best(c.moe.counted, ground, c.moe.options, batch)
    two = best(rival, ground, c.dense.options, batch)
    moe, dense = np.broadcast_arrays(one.rate, two.rate)
    both = (moe > 0) & (dense > 0)
    return np.where(both, dense / np.where(both, moe, 1.0), 0.0), moe > 0, dense > 0


def context_range(c: Comparison, points: int = 41, low: float = 1024.0) -> np.ndarray:
    """Contexts from `low` to the model's limit (or twice the one asked for), the asked one among them."""
    asked = float(c.scenario.context)
    limit = float(c.model.context_limit or 2.0 * asked)
    high = max(asked, min(limit, max(4.0 * asked, 131072.0)))
    grid = np.geomspace(min(low, asked), high, points)
    return np.unique(np.append(np.round(grid), asked))


def over_context(c: Comparison, points: int = 41) -> data.Rows:
    """Tokens/s per device and R at the largest batches over context; a point that does not fit is left out."""
    contexts = context_range(c, points)
    ground, rival, batch = _varied(c, {"context": contexts})
    out: data.Rows = []
    rates = {}
    for (role, label, one), counted in zip(data.sides(c), (c.moe.counted, rival), strict=True):
        found = best(counted, ground, one.options, batch)
        rates[role] = found.rate
        out += [
            {"role": role, "side": label, "context": float(x), "rate": float(r) / c.cluster.count, "batch": float(b)}
            for x, r, b in zip(contexts, found.rate, found.batch, strict=True)
            if r > 0
        ]
    return out + [
        {"role": "ratio", "context": float(x), "R": float(d / m)}
        for x, m, d in zip(contexts, rates["moe"], rates["dense"], strict=True)
        if m > 0 and d > 0
    ]


def over_q(c: Comparison, low: float, high: float, points: int = 61) -> data.Rows:
    """R at the largest batches over q, MoE and everything else fixed. q too small for the dense shape is left out."""
    grid = np.unique(np.append(np.geomspace(low, high, points), c.q))
    while grid.size:
        try:
            value, moe, dense = ratios(c, {"q": grid})
        except RoutelineError:
            if grid.size == 1 or c.scenario.dense not in SHAPES:
                raise
            grid = grid[1:]
            continue
        return [{"q": float(q), "R": float(r)} for q, r, m, d in zip(grid, value, moe, dense, strict=True) if m and d]
    return []


def verdict_map(c: Comparison, x: str, xs: np.ndarray, y: str, ys: np.ndarray) -> tuple[data.Rows, data.Rows]:
    """(cells, contour) of R over two axes. Cells carry their edges, R and who fits; the contour is R = 1."""
    value, moe, dense = ratios(c, {x: np.asarray(xs, float)[:, None], y: np.asarray(ys, float)[None, :]})
    full = (len(xs), len(ys))
    value, moe, dense = (np.broadcast_to(v, full) for v in (value, moe, dense))
    ex, ey = _edges(xs, x), _edges(ys, y)
    cells: data.Rows = []
    for i, a in enumerate(xs):
        for j, b in enumerate(ys):
            cell = {
                "x": float(a),
                "y": float(b),
                "x0": float(ex[i]),
                "x1": float(ex[i + 1]),
                "y0": float(ey[j]),
                "y1": float(ey[j + 1]),
                "state": _state(moe[i, j], dense[i, j]),
            }
            if moe[i, j] and dense[i, j]:
                cell["R"] = float(value[i, j])
            cells.append(cell)
    return cells, contour(xs, ys, np.where(value > 0, np.log(np.maximum(value, 1e-300)), np.nan), x, y)


def _state(moe: bool, dense: bool) -> str:
    if moe and dense:
        return "both fit"
    return "neither fits" if not dense and not moe else "MoE does not fit" if dense else "dense does not fit"


LINEAR = ("utilisation", "accept", "overhead")


def _edges(centres: Any, name: str) -> np.ndarray:
    """Cell edges half-way between centres, on the scale the axis is drawn in; the outer ones are the outer centres."""
    v = np.asarray(centres, float)
    if len(v) == 1:
        return np.array([v[0], v[0] * 1.0001])
    middle = 0.5 * (v[1:] + v[:-1]) if name in LINEAR else np.sqrt(v[1:] * v[:-1])
    return np.concatenate([v[:1], middle, v[-1:]])


def contour(xs: Any, ys: Any, field: np.ndarray, x: str, y: str) -> data.Rows:
    """Segments where `field` crosses 0, cell by cell (marching squares, linear along edges on the drawn scale)."""

    def scale(v: Any, name: str) -> np.ndarray:
        return np.asarray(v, float) if name in LINEAR else np.log(np.asarray(v, float))

    def back(v: float, name: str) -> float:
        return float(v) if name in LINEAR else float(np.exp(v))

    sx, sy = scale(xs, x), scale(ys, y)
    out: data.Rows = []
    for i in range(len(sx) - 1):
        for j in range(len(sy) - 1):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            f = [field[p] for p in corners]
            if not np.all(np.isfinite(f)) or (min(f) >= 0) == (max(f) >= 0):
                continue
            hits = []
            for n in range(4):
                a, b = corners[n], corners[(n + 1) % 4]
                fa, fb = f[n], f[(n + 1) % 4]
                if (fa >= 0) != (fb >= 0):
                    t = fa / (fa - fb)
                    hits.append(
                        (back(sx[a[0]] + t * (sx[b[0]] - sx[a[0]]), x), back(sy[a[1]] + t * (sy[b[1]] - sy[a[1]]), y))
                    )
            for start, end in zip(hits[::2], hits[1::2], strict=False):
                out.append({"x": start[0], "y": start[1], "x1": end[0], "y1": end[1]})
    return out


def frontier(c: Comparison) -> data.Rows:
    """Tokens/s/device against tokens/s/user for each side: every layout and batch, the upper envelope kept."""
    out: data.Rows = []
    for role, label, one in data.sides(c):
        limit = np.atleast_1d(np.asarray(side.max_batch(one.counted, c.ground, one.options), float))
        top = float(limit.max())
        if top < 1:
            continue
        fine = np.concatenate([np.arange(1.0, 17.0), np.round(2.0 ** np.arange(4.125, np.log2(top) + 0.125, 0.125))])
        fullest = np.unique(limit[limit >= 1])[-32:]
        batches = np.unique(np.concatenate([fine[fine <= top], fullest]))
        step = side.step_at(one.counted, c.ground, _leading(one.options, 1), batches)
        rate = np.where(batches <= limit[:, None], np.broadcast_to(step.rate, (limit.size, batches.size)), 0.0)
        index = np.argmax(rate, axis=0)
        total = rate[index, np.arange(batches.size)]
        points = sorted(zip(total / batches, total / c.cluster.count, batches, index, strict=True), reverse=True)
        highest = 0.0
        for user, device, batch, which in points:
            if device > highest:
                highest = device
                layout = layouts.pick(one.options, int(which)) if np.ndim(one.options.tp) else one.options
                out.append(
                    {
                        "role": role,
                        "side": label,
                        "user": float(user),
                        "device": float(device),
                        "batch": float(batch),
                        "layout": str(layout),
                    }
                )
    return out


def over_devices(c: Comparison, sizes: list[int] | None = None) -> data.Rows:
    """Largest batch of each side over cluster size (0: does not fit), layouts searched anew at every size."""
    node = c.cluster.node
    out: data.Rows = []
    for n in sizes or _sizes(c):
        try:
            cluster = make_cluster(c.cluster.device, n, node if n > node else None)
            ground = make_ground(cluster, c.scenario, c.ground.routing, c.ground.efficiency)
            found = [side.at_max(one.counted, ground, options(one.counted, cluster, c.scenario, role))
                     for role, _, one in data.sides(c)]  # fmt: skip
        except RoutelineError:
            continue
        out += [
            {"role": role, "side": label, "devices": n, "fits": point is not None,
             "batch": point.batch if point else 0.0, "rate": point.rate / n if point else 0.0}
            for (role, label, _), point in zip(data.sides(c), found, strict=True)
        ]  # fmt: skip
    return out


def _sizes(c: Comparison) -> list[int]:
    """1, 2, 4 ... a node, then doubled nodes, past what both sides need; the cluster asked about among them."""
    node = c.cluster.node
    most = max([one.devices_needed or 0 for _, _, one in data.sides(c)] + [2 * c.cluster.count, node])
    sizes = {2**i for i in range(20) if 2**i <= min(node, 4 * most)} | {c.cluster.count}
    n = node
    while n < 4 * most and len(sizes) < 14:
        sizes.add(n)
        n *= 2
    sizes |= {n for _, _, one in data.sides(c) if (n := one.devices_needed)}
    return sorted(sizes)


def over_width(c: Comparison, limit: int = 512) -> data.Rows:
    """Weight GB on a device over expert-parallel width: attention data parallel over the same ranks, tp = 1."""
    from .. import memory

    if not np.any(c.moe.counted.moe_layers):
        raise RoutelineError(f"{c.model.name} has no routed experts to spread")
    experts = int(np.max(c.moe.counted.experts))
    out: data.Rows = []
    for width in layouts._divisors(experts):
        if width > limit:
            break
        layout = Layout(dp=float(width), ep=float(width))
        total = float(memory.weights_per_device(c.moe.counted, layout, c.ground.routing.redundant))
        routed = data.weights_by_part(c, c.moe, layout).get("routed experts", 0.0)
        out += [
            {"ep": width, "part": "routed experts", "gb": routed / 1e9, "total_gb": total / 1e9},
            {
                "ep": width,
                "part": "everything else, one copy on each",
                "gb": (total - routed) / 1e9,
                "total_gb": total / 1e9,
            },
        ]
    return out
