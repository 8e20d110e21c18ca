"""Reductions while blocks stream by: best per group, Pareto front, histogram, quantiles, verdict map, statistics.

A reducer turns the tiles of one block into a small dict of arrays (`partial`, the checkpoint of that
block) and merges the dicts in block order (`absorb`), so the result does not depend on who computed what.
Groups are flat positions over the axes named in `by`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RoutelineError, UnknownName
from .lower import OUTPUTS, VERDICTS

if TYPE_CHECKING:
    from .evaluate import Tile
    from .space import Space

KINDS = {
    "best": {"output", "goal", "by", "keep"},
    "pareto": {"outputs", "by"},
    "histogram": {"output", "low", "high", "bins", "scale", "by"},
    "quantiles": {"output", "over", "probabilities"},
    "verdict": {"by"},
    "stats": {"output", "by"},
}
GROUPS = 2**24
"""Most groups a reducer keeps."""
LONGEST = 2**13
"""Most values of an axis that quantiles run over: it must fit a tile."""

Table = dict[str, np.ndarray]


def check(space: Space) -> None:
    """Refuse reducers that cannot run on this space.

    Raises:
        RoutelineError: an unknown kind, setting, axis or output; too many groups.
    """
    over = set()
    for name, given in space.reducers.items():
        if not isinstance(given, Mapping) or "kind" not in given:
            raise RoutelineError(f"reducer {name} needs a kind: {', '.join(KINDS)}")
        kind = given["kind"]
        if kind not in KINDS:
            raise UnknownName("reducer kind", kind, KINDS)
        for key in given:
            if key != "kind" and key not in KINDS[kind]:
                raise UnknownName(f"setting of reducer {name}", key, KINDS[kind])
        if "over" in given:
            over.add(given["over"])
        make(space, name)
    if len(over) > 1:
        raise RoutelineError(f"quantiles run over one axis in a sweep, not over {' and '.join(sorted(over))}")


def innermost(space: Space) -> str | None:
    """The axis that quantiles run over: it must be whole in every tile."""
    return next((r.get("over") for r in space.reducers.values() if isinstance(r, Mapping) and r.get("over")), None)


def make(space: Space, name: str) -> Reducer:
    """The reducer of this name."""
    given = {k: v for k, v in space.reducers[name].items() if k != "kind"}
    return _MAKERS[space.reducers[name]["kind"]](space, name, given)


class Reducer:
    """Common ground: group positions of a tile and coordinates of points."""

    needs: tuple[str, ...] = ()

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        self.space, self.name, self.given = space, name, given
        by = given.get("by", [])
        if not isinstance(by, (list, tuple)):
            raise RoutelineError(f"reducer {name}: by must be a list of axes")
        self.by = [space.axis(a) for a in by]
        self.groups = math.prod(len(a) for a in self.by)
        if self.groups > GROUPS:
            raise RoutelineError(
                f"reducer {name} would keep {self.groups:.3g} groups, over {GROUPS:,}; name fewer axes in by"
            )
        looped, numeric = [a.name for a in space.looped], [a.name for a in space.numeric]
        self._stride: dict[str, int] = {}
        n = self.groups
        for a in self.by:
            n //= len(a)
            self._stride[a.name] = n
        self._loop = [(i, self._stride[a]) for i, a in enumerate(looped) if a in self._stride]
        self._axes = [(i, self._stride[a]) for i, a in enumerate(numeric) if a in self._stride]
        self._looped_shape = tuple(len(a) for a in space.looped)

    def wanted(self, name: str) -> str:
        """An output of the space, by name.

        Raises:
            UnknownName: not an output of this sweep.
        """
        if name not in self.space.outputs:
            raise UnknownName(f"output of reducer {self.name}", name, self.space.outputs, "list it under outputs")
        return name

    def group(self, tile: Tile) -> np.ndarray:
        """Group of every point of a tile, as an array that broadcasts to it."""
        index = np.unravel_index(tile.cell, self._looped_shape) if self._looped_shape else ()
        out = np.array(sum(int(index[i]) * stride for i, stride in self._loop), np.intp).reshape((1,) * len(tile.shape))
        for axis, stride in self._axes:
            s = tile.box[axis]
            shape = [1] * len(tile.shape)
            shape[axis] = s.stop - s.start
            out = out + (np.arange(s.start, s.stop, dtype=np.intp) * stride).reshape(shape)
        return out

    def labels(self) -> Table:
        """Columns with the values of the `by` axes, one row a group."""
        out: Table = {}
        index = np.unravel_index(np.arange(self.groups), tuple(len(a) for a in self.by)) if self.by else ()
        for a, i in zip(self.by, index, strict=True):
            out[a.name] = axis_values(a)[i]
        return out

    def coordinates(self, cell: np.ndarray, flat: np.ndarray) -> Table:
        """Columns with the values of every axis at points given by cell and flat position."""
        out: Table = {}
        looped = np.unravel_index(cell, self._looped_shape) if self._looped_shape else ()
        inner = np.unravel_index(flat, self.space.shape) if self.space.shape else ()
        for axes, index in ((self.space.looped, looped), (self.space.numeric, inner)):
            for a, i in zip(axes, index, strict=True):
                out[a.name] = axis_values(a)[i]
        return out

    def start(self) -> None:
        """Allocate what `absorb` fills; workers, which only make partials, never call it."""

    def partial(self) -> Partial:
        raise NotImplementedError

    def absorb(self, found: Table) -> None:
        raise NotImplementedError

    def result(self) -> Table:
        raise NotImplementedError


class Partial:
    """What a reducer knows of one block."""

    def add(self, tile: Tile) -> None:
        raise NotImplementedError

    def arrays(self) -> Table:
        raise NotImplementedError


def axis_values(axis: Any) -> np.ndarray:
    """An axis as an array: floats, integers or text."""
    values = list(axis.values)
    if all(isinstance(v, (int, float)) for v in values):
        return np.array(values)
    return np.array([v if isinstance(v, str) else getattr(v, "name", str(v)) for v in values])


# --- best per group ------------------------------------------------------------------------------------


class Best(Reducer):
    """The point with the largest (or smallest) output in every group, with its axes and other outputs."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        self.output = self.wanted(str(given.get("output", "ratio")))
        goal = given.get("goal", "max")
        if goal not in ("max", "min"):
            raise RoutelineError(f"reducer {name}: goal must be max or min, not {goal!r}")
        self.sign = 1.0 if goal == "max" else -1.0
        self.keep = [self.wanted(k) for k in given.get("keep", []) if k != self.output]

    def start(self) -> None:
        self.score = np.full(self.groups, -np.inf)
        self.where = np.zeros((2, self.groups), np.int64)
        self.kept = np.full((len(self.keep), self.groups), np.nan)

    def partial(self) -> Partial:
        return _BestPartial(self)

    def absorb(self, found: Table) -> None:
        g = found["group"]
        better = found["score"] > self.score[g]
        g = g[better]
        self.score[g] = found["score"][better]
        self.where[:, g] = found["where"][:, better]
        self.kept[:, g] = found["kept"][:, better]

    def result(self) -> Table:
        some = np.isfinite(self.score)
        at = self.coordinates(*(np.where(some, w, 0) for w in self.where))
        out = self.labels()
        out["found"] = some
        for name, values in at.items():
            if name not in out:
                absent: Any = np.nan if values.dtype.kind in "fi" else ""
                out[f"best_{name}"] = np.where(some, values, absent)
        out[self.output] = np.where(some, self.sign * self.score, np.nan)
        return out | dict(zip(self.keep, self.kept, strict=True))


class _BestPartial(Partial):
    def __init__(self, owner: Best) -> None:
        self.owner = owner
        self.found: list[Table] = []

    def add(self, tile: Tile) -> None:
        o = self.owner
        score = tile.full(o.output) if o.sign > 0 else -tile.full(o.output)
        valid = tile.valid[o.output]
        if valid is not True and not np.all(valid):
            score = np.where(valid, score, -np.inf)
        group = o.group(tile)
        if group.size == 1:
            at = np.array([np.argmax(score)])
        else:
            outer = tuple(i for i in range(len(tile.shape)) if group.shape[i] > 1)
            inner = tuple(i for i in range(len(tile.shape)) if group.shape[i] == 1)
            moved = np.transpose(score, outer + inner)
            first = np.argmax(moved.reshape(group.size, -1), axis=1)
            positions = np.arange(tile.points).reshape(tile.shape).transpose(outer + inner).reshape(group.size, -1)
            at = positions[np.arange(group.size), first]
        where = np.unravel_index(at, tile.shape)
        best = score[where]
        some = np.isfinite(best)
        kept = [np.where(tile.mask(k)[where], tile.full(k)[where], np.nan) for k in o.keep]
        self.found.append({
            "group": group.reshape(-1)[some], "score": best[some],
            "where": np.stack([np.full(at.size, tile.cell), tile.start + at])[:, some],
            "kept": np.array(kept).reshape(len(kept), at.size)[:, some],
        })  # fmt: skip

    def arrays(self) -> Table:
        both = {k: np.concatenate([f[k] for f in self.found], axis=-1) for k in self.found[0]}
        order = np.lexsort((np.arange(both["group"].size), -both["score"], both["group"]))
        group = both["group"][order]
        first = order[np.concatenate([[True], group[1:] != group[:-1]])] if group.size else order
        return {k: np.ascontiguousarray(v[..., first]) for k, v in both.items()}


# --- Pareto front --------------------------------------------------------------------------------------


class Pareto(Reducer):
    """Points that no other point beats in every output named; `outputs` maps names to max or min."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        goals = given.get("outputs")
        if not isinstance(goals, Mapping) or len(goals) < 2 or any(g not in ("max", "min") for g in goals.values()):
            raise RoutelineError(f"reducer {name}: outputs must map at least two outputs to max or min")
        self.names = [self.wanted(k) for k in goals]
        self.signs = np.array([1.0 if g == "max" else -1.0 for g in goals.values()])

    def start(self) -> None:
        self.front: Table = _no_front(len(self.names))

    def partial(self) -> Partial:
        return _ParetoPartial(self)

    def absorb(self, found: Table) -> None:
        self.front = merge_fronts(self.front, found)

    def result(self) -> Table:
        f = self.front
        order = np.lexsort((f["flat"], f["cell"], f["group"]))
        out = self.coordinates(f["cell"][order], f["flat"][order])
        return out | {n: s * f["scores"][i][order] for i, (n, s) in enumerate(zip(self.names, self.signs, strict=True))}


def _no_front(n: int) -> Table:
    return {"scores": np.empty((n, 0)), **{k: np.empty(0, np.int64) for k in ("group", "cell", "flat")}}


def merge_fronts(a: Table, b: Table) -> Table:
    """The points of two fronts that neither beats."""
    if not b["group"].size:
        return a
    both = {k: np.concatenate([a[k], b[k]], axis=-1) for k in a}
    keep = np.zeros(both["group"].size, bool)
    for g in np.unique(both["group"]):
        members = np.flatnonzero(both["group"] == g)
        keep[members[undominated(both["scores"][:, members])]] = True
    return {k: v[..., keep] for k, v in both.items()}


def undominated(scores: np.ndarray) -> np.ndarray:
    """Indices of columns that no other column beats (at least equal everywhere, better somewhere); the first of equals."""
    order = np.lexsort((np.arange(scores.shape[1]), *(-s for s in scores[::-1])))
    ranked = scores[:, order]
    if scores.shape[0] == 2:
        ahead = np.concatenate([[-np.inf], np.maximum.accumulate(ranked[1])[:-1]])
        return np.sort(order[ranked[1] > ahead])
    kept: list[int] = []
    front = np.empty((scores.shape[0], 0))
    for i in range(ranked.shape[1]):
        if not np.any(np.all(front >= ranked[:, i : i + 1], axis=0)):
            front = np.concatenate([front, ranked[:, i : i + 1]], axis=1)
            kept.append(int(order[i]))
    return np.sort(np.array(kept, np.int64))


class _ParetoPartial(Partial):
    def __init__(self, owner: Pareto) -> None:
        self.owner, self.front = owner, _no_front(len(owner.names))

    def add(self, tile: Tile) -> None:
        o = self.owner
        valid = np.ones(tile.shape, bool)
        for n in o.names:
            valid &= tile.valid[n]
        if not valid.any():
            return
        scores = np.stack([s * tile.full(n)[valid] for n, s in zip(o.names, o.signs, strict=True)])
        group = np.broadcast_to(o.group(tile), tile.shape)[valid]
        flat = tile.start + np.flatnonzero(valid)
        fresh = []
        for g in np.unique(group):
            members = np.flatnonzero(group == g)
            fresh.append(members[undominated(scores[:, members])])
        keep = np.concatenate(fresh)
        cell = np.full(keep.size, tile.cell, np.int64)
        self.front = merge_fronts(
            self.front,
            {"scores": scores[:, keep], "group": group[keep].astype(np.int64), "cell": cell, "flat": flat[keep]},
        )

    def arrays(self) -> Table:
        return self.front


# --- counts: histogram and verdict map -----------------------------------------------------------------


class _Counts(Reducer):
    """Points per group and bin."""

    bins = 1

    def check_size(self) -> None:
        if self.groups * self.bins > GROUPS:
            raise RoutelineError(
                f"reducer {self.name} would keep {self.groups * self.bins:.3g} counts; name fewer axes in by"
            )

    def start(self) -> None:
        self.count = np.zeros(self.groups * self.bins, np.int64)

    def code(self, tile: Tile) -> np.ndarray:
        raise NotImplementedError

    def partial(self) -> Partial:
        return _CountsPartial(self)

    def absorb(self, found: Table) -> None:
        self.count[found["index"]] += found["count"]


class _CountsPartial(Partial):
    def __init__(self, owner: _Counts) -> None:
        self.owner = owner
        self.found: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, tile: Tile) -> None:
        o = self.owner
        code, group = o.code(tile), o.group(tile)
        low = int(group.min())
        index = code if group.size == 1 else (group - low) * o.bins + code
        count = np.bincount(np.ravel(np.broadcast_to(index, tile.shape)))
        some = np.flatnonzero(count)
        self.found.append((low * o.bins + some, count[some]))

    def arrays(self) -> Table:
        index, inverse = np.unique(np.concatenate([i for i, _ in self.found]), return_inverse=True)
        count = np.zeros(index.size, np.int64)
        np.add.at(count, inverse, np.concatenate([c for _, c in self.found]))
        return {"index": index, "count": count}


class Histogram(_Counts):
    """Points per bin of an output, with those below, above and without a value."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        self.output = self.wanted(str(given.get("output", "ratio")))
        n, low, high = given.get("bins", 50), given.get("low"), given.get("high")
        self.log = given.get("scale", "log") == "log"
        if not isinstance(n, int) or not 1 <= n <= 10_000:
            raise RoutelineError(f"reducer {name}: bins must be a whole number from 1 to 10,000")
        numbers = isinstance(low, (int, float)) and isinstance(high, (int, float))
        if not numbers or not low < high or (self.log and low <= 0):  # type: ignore[operator]
            raise RoutelineError(f"reducer {name}: give low < high (above 0 on a log scale)")
        self.low, self.high, self.n = float(low), float(high), n  # type: ignore[arg-type]
        self.edges = (np.geomspace if self.log else np.linspace)(self.low, self.high, n + 1)
        self.bins = n + 3
        self.check_size()

    def code(self, tile: Tile) -> np.ndarray:
        x = tile.full(self.output)
        with np.errstate(all="ignore"):
            if self.log:
                t = np.log(x)
                t -= math.log(self.low)
                t *= self.n / math.log(self.high / self.low)
            else:
                t = (x - self.low) * (self.n / (self.high - self.low))
            np.clip(t, -1.0, float(self.n), out=t)
            np.floor(t, out=t)
        valid = tile.valid[self.output]
        if valid is not True and not np.all(valid):
            t[~np.broadcast_to(valid, t.shape)] = self.n + 1.0
        t += 1.0
        return t.astype(np.intp)

    def result(self) -> Table:
        table = self.count.reshape(self.groups, self.bins)
        rows = np.arange(self.groups).repeat(self.n)
        out = {k: v[rows] for k, v in self.labels().items()}
        out["low"], out["high"] = np.tile(self.edges[:-1], self.groups), np.tile(self.edges[1:], self.groups)
        out["count"] = table[:, 1 : self.n + 1].reshape(-1)
        for name, column in (("below", 0), ("above", self.n + 1), ("missing", self.n + 2)):
            out[name] = table[rows, column]
        return out


class VerdictMap(_Counts):
    """Points per verdict in every group: the map of who serves more where."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        self.wanted("verdict")
        self.bins = len(VERDICTS)
        self.check_size()

    def code(self, tile: Tile) -> np.ndarray:
        return tile.full("verdict").astype(np.intp)

    def result(self) -> Table:
        table = self.count.reshape(self.groups, self.bins)
        out = self.labels()
        out["verdict"] = np.array(VERDICTS)[np.argmax(table, axis=1)]
        return out | {v: table[:, i] for i, v in enumerate(VERDICTS)}


# --- statistics and quantiles --------------------------------------------------------------------------


class Stats(Reducer):
    """Count, mean, smallest and largest of an output per group."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        self.output = self.wanted(str(given.get("output", "ratio")))

    def start(self) -> None:
        self.rows = _no_stats(self.groups)

    def partial(self) -> Partial:
        return _StatsPartial(self)

    def absorb(self, found: Table) -> None:
        _add_stats(self.rows, found["group"], found["rows"])

    def result(self) -> Table:
        count, total, low, high = self.rows
        some = count > 0
        out = self.labels()
        out["count"] = count.astype(np.int64)
        out["mean"] = np.divide(total, count, out=np.full_like(total, np.nan), where=some)
        out["min"], out["max"] = np.where(some, low, np.nan), np.where(some, high, np.nan)
        return out


def _no_stats(n: int) -> np.ndarray:
    rows = np.zeros((4, n))
    rows[2], rows[3] = np.inf, -np.inf
    return rows


def _add_stats(rows: np.ndarray, group: np.ndarray, found: np.ndarray) -> None:
    rows[:2, group] += found[:2]
    rows[2, group] = np.minimum(rows[2, group], found[2])
    rows[3, group] = np.maximum(rows[3, group], found[3])


class _StatsPartial(Partial):
    def __init__(self, owner: Stats) -> None:
        self.owner = owner
        self.found: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, tile: Tile) -> None:
        o = self.owner
        x, valid = tile.full(o.output), tile.valid[o.output]
        group = o.group(tile)
        inner = tuple(i for i in range(len(tile.shape)) if group.shape[i] == 1)
        every = valid is True or bool(np.all(valid))
        mask: Any = True if every else np.broadcast_to(valid, tile.shape)
        count = np.sum(np.broadcast_to(mask, tile.shape), axis=inner) if not every else np.full(
            tuple(n for i, n in enumerate(tile.shape) if i not in inner), math.prod(tile.shape[i] for i in inner))  # fmt: skip
        rows = np.stack([
            np.ravel(count).astype(float), np.ravel(np.sum(x, axis=inner, where=mask)),
            np.ravel(np.min(x, axis=inner, where=mask, initial=np.inf)),
            np.ravel(np.max(x, axis=inner, where=mask, initial=-np.inf)),
        ])  # fmt: skip
        self.found.append((group.reshape(-1), rows))

    def arrays(self) -> Table:
        group, inverse = np.unique(np.concatenate([g for g, _ in self.found]), return_inverse=True)
        rows = _no_stats(group.size)
        found = np.concatenate([r for _, r in self.found], axis=1)
        np.add.at(rows[0], inverse, found[0])
        np.add.at(rows[1], inverse, found[1])
        np.minimum.at(rows[2], inverse, found[2])
        np.maximum.at(rows[3], inverse, found[3])
        return {"group": group, "rows": rows}


class Quantiles(Reducer):
    """Quantiles of an output over one axis (usually q), for every combination of the other axes."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        over = given.get("over", "q")
        axis = space.axis(over)
        others = [a.name for a in (*space.looped, *space.numeric) if a.name != over]
        super().__init__(space, name, {**given, "by": others})
        if any(a.name == over for a in space.looped):
            raise RoutelineError(
                f"reducer {name}: quantiles need an axis of numbers that is broadcast, and {over} is looped over here"
            )
        self.output, self.axis = self.wanted(str(given.get("output", "ratio"))), axis
        p = given.get("probabilities", [0.05, 0.5, 0.95])
        if not isinstance(p, (list, tuple)) or not p or not all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in p):
            raise RoutelineError(f"reducer {name}: probabilities must be numbers between 0 and 1")
        self.p = np.array([float(x) for x in p])
        if self.groups * (len(self.p) + 1) > GROUPS:
            raise RoutelineError(f"reducer {name} would keep {self.groups:.3g} rows of quantiles; shorten another axis")
        if len(axis) > LONGEST:
            raise RoutelineError(
                f"reducer {name}: axis {over} has {len(axis)} values, quantiles take at most {LONGEST}"
            )

    def start(self) -> None:
        self.rows = np.full((len(self.p) + 1, self.groups), np.nan)

    def partial(self) -> Partial:
        return _QuantilePartial(self)

    def absorb(self, found: Table) -> None:
        self.rows[:, found["group"]] = found["rows"]

    def result(self) -> Table:
        out = self.labels()
        out["share"] = self.rows[-1]
        return out | {f"q{p:g}": row for p, row in zip(self.p, self.rows, strict=False)}


class _QuantilePartial(Partial):
    def __init__(self, owner: Quantiles) -> None:
        self.owner = owner
        self.groups: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def add(self, tile: Tile) -> None:
        o = self.owner
        n = tile.shape[-1]
        x = tile.full(o.output).reshape(-1, n)
        mask = tile.mask(o.output).reshape(-1, n)
        self.groups.append(np.ravel(o.group(tile)).copy())
        self.rows.append(quantiles(x, mask, o.p))

    def arrays(self) -> Table:
        return {"group": np.concatenate(self.groups).astype(np.int64), "rows": np.concatenate(self.rows, axis=1)}


def quantiles(x: np.ndarray, mask: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Linear quantiles of every row over its unmasked values, and the share unmasked as the last row."""
    ordered = np.sort(np.where(mask, x, np.inf), axis=1)
    count = mask.sum(axis=1)
    at = p[:, None] * np.maximum(count - 1, 0)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    rows = np.arange(len(x))
    with np.errstate(invalid="ignore"):
        a, b = ordered[rows, low], ordered[rows, high]
        found = np.where(count > 0, a + (b - a) * (at - low), np.nan)
    return np.concatenate([found, (count / x.shape[1])[None]])


_MAKERS: dict[str, Any] = {
    "best": Best, "pareto": Pareto, "histogram": Histogram, "quantiles": Quantiles, "verdict": VerdictMap, "stats": Stats,
}  # fmt: skip


def block_partials(reducers: Mapping[str, Reducer], tiles: Iterable[Tile]) -> Table:
    """All reducers over the tiles of a block: {'name/key': array}."""
    partials = {name: r.partial() for name, r in reducers.items()}
    for tile in tiles:
        for p in partials.values():
            p.add(tile)
    return {f"{name}/{key}": a for name, p in partials.items() for key, a in p.arrays().items()}


def absorb(reducers: Mapping[str, Reducer], found: Mapping[str, np.ndarray]) -> None:
    """Merge the partials of one block."""
    for name, r in reducers.items():
        r.absorb({k.split("/", 1)[1]: v for k, v in found.items() if k.split("/", 1)[0] == name})


def kinds_text() -> str:
    """Kinds with their settings, for help texts."""
    return "; ".join(f"{k}({', '.join(sorted(v))})" for k, v in KINDS.items())


__all__ = ["KINDS", "OUTPUTS", "Reducer", "block_partials", "check", "innermost", "make"]
