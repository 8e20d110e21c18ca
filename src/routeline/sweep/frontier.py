"""Where an output passes a level along an axis: every crossing, for every combination of the other axes.

Floored batches make R a staircase over context, memory or utilisation, so a scan with bisection would miss
crossings in pairs. Here every interval is split until it holds at most one step of either side's batch; the
step is located, and roots are sought on the smooth pieces on both sides of it. Intervals too far from the
level for a step of one sequence to matter are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import RoutelineError, UnknownName
from . import axes as axes_
from . import cells, lower, outputs
from . import space as spaces
from .grid import Space
from .outputs import OUTPUTS

SCAN = 65
"""Points of the first scan along the axis."""
ROUNDS = 60
"""Halvings: beyond them a double has no digits left."""
MARGIN = 3.0
"""An interval matters when ln(output/level) is within MARGIN * (1/B_moe + 1/B_dense) of 0 at an end."""
POINTS = 2**22
"""Most points evaluated in one round."""


@dataclass(frozen=True)
class Frontier:
    """All crossings. rows: values of the other axes; crossings[i]: those of row i, ascending.

    Each crossing is (value, rises, kind): rises: the output is above the level just beyond it; kind: 'root'
    where it passes smoothly, 'step' where a batch changes by one sequence. above[i]: share of the scanned
    feasible points above the level; feasible[i]: first and last scanned point with a value, or None.
    """

    output: str
    along: str
    level: float
    low: float
    high: float
    rows: tuple[dict[str, Any], ...]
    crossings: tuple[tuple[tuple[float, bool, str], ...], ...]
    above: tuple[float | None, ...]
    feasible: tuple[tuple[float, float] | None, ...]
    refused: dict[str, str] = field(default_factory=dict)

    def table(self) -> dict[str, np.ndarray]:
        """One row a crossing, NaN where a combination has none."""
        made: dict[str, list[Any]] = {
            k: [] for k in (*(self.rows[0] if self.rows else ()), self.along, "rises", "kind")
        }
        for row, found in zip(self.rows, self.crossings, strict=True):
            for value, rises, kind in found or ((math.nan, False, "none"),):
                for k, v in row.items():
                    made[k].append(getattr(v, "name", v))
                made[self.along].append(value)
                made["rises"].append(rises)
                made["kind"].append(kind)
        return {k: np.array(v) for k, v in made.items()}


def frontier(
    axes: Mapping[str, Any],
    *,
    along: str,
    low: Any,
    high: Any,
    output: str = "ratio",
    level: float = 1.0,
    scale: str = "log",
    scan: int = SCAN,
    **fixed: Any,
) -> Frontier:
    """Crossings of `output` = `level` on low..high of the axis `along`, over a grid of the other axes.

    frontier({"q": [2, 4.5]}, along="context", low="1k", high="128k", model="DeepSeek-V3", devices="8xH200")

    Raises:
        RoutelineError: unknown names, a range that is none, an axis that is not a number, too many points.
    """
    name = axes_.canonical(along)
    kind = axes_.AXES[name]
    if kind.role != "number":
        raise RoutelineError(f"a frontier runs along an axis of numbers, and {name} is not one")
    if output not in OUTPUTS or OUTPUTS[output].labels:
        known = [n for n, o in OUTPUTS.items() if not o.labels]
        raise UnknownName("output of a frontier", output, known)
    first, last = (float(axes_.make(name, [end]).values[0]) for end in (low, high))
    if not first < last:
        raise RoutelineError(f"a frontier needs low < high, not {low} and {high}")
    if scale not in ("log", "linear") or (scale == "log" and first <= 0):
        raise RoutelineError("scale must be log (from above 0) or linear")
    if not 3 <= scan <= 10_000:
        raise RoutelineError(f"scan must be between 3 and 10,000 points, not {scan}")
    space = spaces.make({**axes, name: [first, last]}, outputs=[output], **fixed)
    if any(a.name == name for a in space.looped):
        raise RoutelineError(f"{name} changes which layouts exist here; sweep over its values instead")
    if space.points / 2 * scan > POINTS * 16:
        raise RoutelineError(f"a frontier over {space.points / 2:.3g} combinations is too large; shorten an axis")
    grid = np.geomspace(first, last, scan) if scale == "log" else np.linspace(first, last, scan)
    grid[0], grid[-1] = first, last
    if kind.whole:
        grid = np.unique(np.rint(grid))
    return _solve(space, name, output, level, grid, scale, kind.whole)


def _solve(space: Space, along: str, output: str, level: float, grid: np.ndarray, scale: str, whole: bool) -> Frontier:
    others = [a for a in space.numeric if a.name != along]
    mesh = np.meshgrid(*(np.asarray(a.values, float) for a in others), indexing="ij") if others else []
    flat = {a.name: m.ravel() for a, m in zip(others, mesh, strict=True)}
    n = math.prod(len(a) for a in others)
    rows: list[dict[str, Any]] = []
    crossings: list[tuple] = []
    above: list[float | None] = []
    feasible: list[tuple[float, float] | None] = []
    refused: dict[str, str] = {}
    for i in range(space.cells):
        names = space.names_of(i)
        try:
            cell = cells.cell(space, i)
            found = _Search(cell, flat, n, along, output, level, grid, scale, whole).run()
        except RoutelineError as error:
            refused[", ".join(f"{k}={getattr(v, 'name', v)}" for k, v in names.items()) or "all"] = str(error)
            found = [((), None, None)] * n
        for r in range(n):
            values = {**names, **{k: float(v[r]) for k, v in flat.items()}}
            rows.append({a.name: values[a.name] for a in space.axes if a.name != along})
            crossings.append(found[r][0])
            above.append(found[r][1])
            feasible.append(found[r][2])
    if len(refused) == space.cells:
        raise RoutelineError(next(iter(refused.values())))
    low, high = float(grid[0]), float(grid[-1])
    return Frontier(
        output, along, level, low, high, tuple(rows), tuple(crossings), tuple(above), tuple(feasible), refused
    )


class _Search:
    """Crossings of one cell, all rows at once. Points are (row, x); values are the output and both batches."""

    def __init__(
        self, cell: lower.Cell, flat: Mapping[str, np.ndarray], rows: int, along: str, output: str, level: float,
        grid: np.ndarray, scale: str, whole: bool,
    ) -> None:  # fmt: skip
        self.cell, self.flat, self.rows, self.along, self.output = cell, flat, rows, along, output
        self.level, self.grid, self.log, self.whole = level, grid, scale == "log", whole
        self.wanted: Sequence[str] = (output, "moe_max_batch", "dense_max_batch")

    def at(self, row: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(output with NaN where it has no value, MoE batch, dense batch) at points."""
        parts = []
        for start in range(0, row.size, 2**16):
            r, v = row[start : start + 2**16], x[start : start + 2**16]
            found = outputs.direct(self.cell, {**{k: f[r] for k, f in self.flat.items()}, self.along: v}, self.wanted)
            ok = np.broadcast_to(found[f"{self.output}?"], r.shape)
            y = np.where(ok, np.broadcast_to(found[self.output], r.shape), np.nan)
            parts.append((y, *(np.broadcast_to(np.asarray(found[n], float), r.shape) for n in self.wanted[1:])))
        return tuple(np.concatenate(p) for p in zip(*parts, strict=True)) if parts else (np.empty(0),) * 3  # type: ignore[return-value]

    def middle(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self.whole:
            return np.floor((a + b) / 2.0)
        return np.sqrt(a) * np.sqrt(b) if self.log else 0.5 * (a + b)

    def run(self) -> list[tuple]:
        g = self.grid
        row, x = np.repeat(np.arange(self.rows), g.size), np.tile(g, self.rows)
        y, bm, bd = self.at(row, x)
        table = y.reshape(self.rows, g.size)
        pieces = self._smooth(row, x, y, bm, bd)
        found: list[list[tuple[float, bool, str]]] = [[] for _ in range(self.rows)]
        for r, value, rises, kind in pieces:
            found[r].append((value, rises, kind))
        out = []
        for r in range(self.rows):
            known = np.flatnonzero(np.isfinite(table[r]))
            share = float(np.mean(table[r][known] > self.level)) if known.size else None
            reach = (float(g[known[0]]), float(g[known[-1]])) if known.size else None
            out.append((tuple(sorted(set(found[r]))), share, reach))
        return out

    def _smooth(self, row: Any, x: Any, y: Any, bm: Any, bd: Any) -> list[tuple[int, float, bool, str]]:
        """Split intervals to at most one batch step, locate steps, solve what changes sign."""
        left = np.flatnonzero(row[:-1] == row[1:])
        a = [v[left] for v in (x, y, bm, bd)]
        b = [v[left + 1] for v in (x, y, bm, bd)]
        r = row[left]
        found: list[tuple[int, float, bool, str]] = []
        for _ in range(ROUNDS):
            steps = np.abs(a[2] - b[2]) + np.abs(a[3] - b[3])
            narrow = self._narrow(a[0], b[0])
            gap = np.isnan(a[1]) != np.isnan(b[1])
            ready = (steps <= 1) & ~gap | narrow
            keep = self._matters(a, b, steps)
            found += self._finish(r[ready & keep], [v[ready & keep] for v in a], [v[ready & keep] for v in b])
            open_ = ~ready & keep
            if not np.any(open_):
                break
            r, a, b = r[open_], [v[open_] for v in a], [v[open_] for v in b]
            if r.size > POINTS:
                raise RoutelineError(
                    "too many batch steps along this axis; take a narrower range or fewer combinations"
                )
            m = self.middle(a[0], b[0])
            values = [m, *self.at(r, m)]
            r = np.concatenate([r, r])
            a, b = (
                [np.concatenate(p) for p in zip(a, values, strict=True)],
                [np.concatenate(p) for p in zip(values, b, strict=True)],
            )
        return found

    def _narrow(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (b - a <= 1.0) if self.whole else (b - a <= 4e-16 * np.maximum(np.abs(a), np.abs(b)))

    def _matters(self, a: list, b: list, steps: np.ndarray) -> np.ndarray:
        """Intervals in which the output can pass the level."""
        both = ~np.isnan(a[1]) & ~np.isnan(b[1])
        with np.errstate(all="ignore"):
            low, high = np.log(a[1] / self.level), np.log(b[1] / self.level)
            reach = MARGIN * (
                1.0 / np.maximum(np.minimum(a[2], b[2]), 1.0) + 1.0 / np.maximum(np.minimum(a[3], b[3]), 1.0)
            )
            near = (low * high <= 0) | ((np.minimum(np.abs(low), np.abs(high)) <= reach) & (steps > 0))
        one = np.isnan(a[1]) ^ np.isnan(b[1])
        return (both & near) | one

    def _finish(self, r: np.ndarray, a: list, b: list) -> list[tuple[int, float, bool, str]]:
        """Crossings of intervals with at most one step."""
        if not r.size:
            return []
        stepped = (a[2] != b[2]) | (a[3] != b[3])
        s = np.flatnonzero(stepped & ~np.isnan(a[1]) & ~np.isnan(b[1]))
        lo, hi = [v[s] for v in a], [v[s] for v in b]
        for _ in range(ROUNDS):
            live = ~self._narrow(lo[0], hi[0])
            if not np.any(live):
                break
            m = self.middle(lo[0], hi[0])
            mid = [m, *self.at(r[s], m)]
            before = (mid[2] == lo[2]) & (mid[3] == lo[3]) & ~np.isnan(mid[1])
            lo = [np.where(live & before, v, u) for u, v in zip(lo, mid, strict=True)]
            hi = [np.where(live & ~before, v, u) for u, v in zip(hi, mid, strict=True)]
        out = [
            (int(i), float(x), bool(v > self.level), "step")
            for i, x, u, v in zip(r[s], hi[0], lo[1], hi[1], strict=True)
            if (u > self.level) != (v > self.level) and np.isfinite(v)
        ]
        plain = np.flatnonzero(~stepped)
        rows = np.concatenate([r[plain], r[s], r[s]])
        left = [np.concatenate([a[k][plain], a[k][s], hi[k]]) for k in range(4)]
        right = [np.concatenate([b[k][plain], lo[k], b[k][s]]) for k in range(4)]
        return out + self._roots(rows, left, right)

    def _roots(self, r: np.ndarray, a: list, b: list) -> list[tuple[int, float, bool, str]]:
        turn = np.flatnonzero(
            ((a[1] > self.level) != (b[1] > self.level)) & np.isfinite(a[1]) & np.isfinite(b[1]) & (a[0] < b[0])
        )
        r, lo, hi, rises = r[turn], a[0][turn], b[0][turn], b[1][turn] > self.level
        for _ in range(ROUNDS):
            live = ~self._narrow(lo, hi)
            if not np.any(live):
                break
            m = self.middle(lo, hi)
            y = self.at(r, m)[0]
            beyond = (y > self.level) == rises
            hi = np.where(live & beyond, m, hi)
            lo = np.where(live & ~beyond, m, lo)
        return [(int(i), float(x), bool(up), "root") for i, x, up in zip(r, hi, rises, strict=True)]


# --- clusters ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clusters:
    """Smallest device counts over context x concurrency (x q for dense); 0 where none up to `limit` will do."""

    context: tuple[float, ...]
    concurrency: tuple[float, ...]
    tried: tuple[int, ...]
    moe: np.ndarray
    dense: np.ndarray


def smallest_clusters(
    model: Any,
    device: str,
    *,
    context: Any,
    concurrency: Any,
    limit: int = 1024,
    **settings: Any,
) -> Clusters:
    """The fewest devices on which `concurrency` sequences of `context` tokens fit, for both sides.

    Counts tried: every count inside a node, then whole nodes; layouts: those of `layout` (auto: all).

    Raises:
        RoutelineError: unknown names, bad values, or settings that no count can satisfy.
    """
    from ..devices import load_device, make_cluster, node_limit, resolve_device

    lengths = axes_.make("context", context).values
    wanted = axes_.make("batch", concurrency).values
    found = load_device(resolve_device(device)[0])
    node = node_limit(found)
    sizes = [n for n in range(1, min(node, limit) + 1)] + [n * node for n in range(2, limit // node + 1)]
    shape = (len(lengths), len(wanted))
    best = {"moe": np.zeros(shape, np.int64), "dense": np.zeros(shape, np.int64)}
    numbers = {"context": np.array(lengths)[:, None]}
    refusal, some = "", False
    for n in sizes:
        if all(np.all(b > 0) for b in best.values()):
            break
        try:
            place = make_cluster(found, n, min(n, node))
            space = spaces.make({"context": list(lengths)}, model=model, devices=place, outputs=["reason"], **settings)
            lowered = lower.Lowered(cells.cell(space, 0), numbers)
            sides = {role: lowered.side(role) for role in best}
        except RoutelineError as error:
            refusal = str(error)
            continue
        some = True
        for role, one in sides.items():
            room = np.max([np.broadcast_to(np.asarray(x, float), (len(lengths), 1)) for x in one.limits], axis=0)
            fits = (room >= np.array(wanted)[None, :]) & (best[role] == 0)
            best[role][fits] = n
    if not some:
        raise RoutelineError(refusal)
    return Clusters(lengths, wanted, tuple(sizes), best["moe"], best["dense"])
