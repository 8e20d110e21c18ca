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
from ..answer.stated import lead_ratio
from ..compare import Comparison
from ..counts import Counted
from ..dense import SHAPES, matched
from ..errors import RoutelineError, UnknownName
from ..ground import capacity, workload
from ..odds import ratios_at
from ..scenario import Layout
from ..side import Ground
from . import contour, data

AXES = {
    "context": "context [tokens]",
    "batch": "batch [sequences]",
    "utilisation": "share of device memory used [-]",
    "overhead": "memory kept by the runtime [GB per device]",
    "q": "q, dense size over active parameters [-]",
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


def leading(layout: Layout, dims: int) -> Layout:
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
    wide = leading(choice, len(shape))
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


def context_range(c: Comparison, points: int = 41) -> np.ndarray:
    """Contexts from 1k, or a sixteenth of the longest drawn, to the model's limit (twice the one asked for without
    one), the asked one among them."""
    asked = float(c.scenario.context)
    limit = float(c.model.context_limit or 2.0 * asked)
    high = max(asked, min(limit, max(4.0 * asked, 131072.0)))
    low = min(1024.0, max(1.0, high / 16.0), asked)
    return np.unique(np.append(np.round(np.geomspace(low, high, points)), asked))


def over_context(c: Comparison, points: int = 41) -> data.Rows:
    """Tokens/s per device over context, and R with its two factors; a point that does not fit is left out.

    At the batch asked for, else at each side's largest. R = reuse x headroom: headroom compares the dense model
    with itself held to the MoE's batch, in its own layout, as `compare` does.
    """
    contexts = context_range(c, points)
    ground, rival, batch = _varied(c, {"context": contexts})
    moe, dense = best(c.moe.counted, ground, c.moe.options, batch), best(rival, ground, c.dense.options, batch)
    out: data.Rows = []
    for (role, label, _), found in zip(data.sides(c), (moe, dense), strict=True):
        out += [
            {"role": role, "side": label, "context": float(x), "rate": float(r) / c.cluster.count, "batch": float(b)}
            for x, r, b in zip(contexts, found.rate, found.batch, strict=True)
            if r > 0
        ]
    held = _held(rival, ground, c.dense.options, moe.batch, dense.index)
    for x, m, d, h in zip(contexts, moe.rate, dense.rate, held, strict=True):
        if m > 0 and d > 0:
            out.append({"role": "ratio", "context": float(x), "R": float(d / m), "reuse": float(h / m),
                        "headroom": float(d / h)})  # fmt: skip
    return out


def _held(counted: Counted, ground: Ground, choice: Layout, batch: Any, index: np.ndarray) -> np.ndarray:
    """Rate of one side at a given batch in the layout of that index, point by point, whether or not it fits."""
    wide = leading(choice, 1)
    rate = side.step_at(counted, ground, wide, batch).rate
    full = np.broadcast_to(rate, (np.size(choice.tp), *np.shape(index)))
    return np.take_along_axis(full, index[None], axis=0)[0]


def over_q(c: Comparison, low: float, high: float, points: int = 61) -> data.Rows:
    """R over q, the one the answer leads with; the MoE and everything else fixed.

    q too small for the dense shape, or too large to fit, is left out.
    """
    lead = lead_ratio(c)
    alone = replace(c, ratios={lead: c.ratios[lead]})
    grid = np.unique(np.append(np.geomspace(low, high, points), c.q))
    while grid.size:
        try:
            found = ratios_at(alone, grid).get(lead)
        except RoutelineError:
            if grid.size == 1:
                raise
            grid = grid[1:]
            continue
        if found is None:
            break
        return [{"q": float(q), "R": float(r)} for q, r in zip(grid, found, strict=True) if np.isfinite(r)]
    return []


def verdict_map(c: Comparison, x: str, xs: np.ndarray, y: str, ys: np.ndarray) -> tuple[data.Rows, data.Rows]:
    """(cells, contour) of R over two axes. Cells carry their edges, R and who fits; the contour is R = 1."""
    value, moe, dense = ratios(c, {x: np.asarray(xs, float)[:, None], y: np.asarray(ys, float)[None, :]})
    full = (len(xs), len(ys))
    value, moe, dense = (np.broadcast_to(v, full) for v in (value, moe, dense))
    ex, ey = contour.edges(xs, x), contour.edges(ys, y)
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
    return cells, contour.line(xs, ys, np.where(value > 0, np.log(np.maximum(value, 1e-300)), np.nan), x, y)


def _state(moe: bool, dense: bool) -> str:
    if moe and dense:
        return "both fit"
    return "neither fits" if not dense and not moe else "MoE does not fit" if dense else "dense does not fit"


def areas(cells: data.Rows, xs: Any, ys: Any, x: str, y: str, names: Mapping[str, str]) -> data.Rows:
    """Where to write who serves more and what does not fit. names: area -> text."""
    kind = np.array([("dense" if r["R"] > 1 else "moe") if "R" in r else r["state"] for r in cells])
    kind = kind.reshape(len(xs), len(ys))
    spots = {name: contour.place(xs, ys, kind == name, x, y) for name in names}
    return [{"x": s[0], "y": s[1], "text": names[n]} for n, s in spots.items() if s is not None]
