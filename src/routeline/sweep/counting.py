"""Reducers that keep numbers of groups: histogram, verdict map, statistics, quantiles over an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ..errors import RoutelineError, shorten
from .lower import VERDICTS
from .reducer import GROUPS, LONGEST, Partial, Reducer, Table

if TYPE_CHECKING:
    from .evaluate import Tile
    from .grid import Space


OVER = "q"
"""The axis quantiles run over unless another is named."""


def finite(x: Any) -> TypeGuard[float]:
    """A plain finite number."""
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


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
        scale = given.get("scale", "log")
        if scale not in ("log", "linear"):
            raise RoutelineError(f"reducer {name}: scale must be log or linear, not {shorten(scale)!r}")
        self.log = scale == "log"
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= 10_000:
            raise RoutelineError(f"reducer {name}: bins must be a whole number from 1 to 10,000, not {shorten(n)}")
        ends = [float(x) for x in (low, high) if finite(x)]
        if len(ends) < 2 or not ends[0] < ends[1] or (self.log and ends[0] <= 0):
            raise RoutelineError(f"reducer {name}: give low < high (above 0 on a log scale)")
        self.low, self.high, self.n = *ends, n
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
        if every:
            outer = tuple(n for i, n in enumerate(tile.shape) if i not in inner)
            count: Any = np.full(outer, math.prod(tile.shape[i] for i in inner))
        else:
            count = np.sum(np.broadcast_to(mask, tile.shape), axis=inner)
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
        over = given.get("over", OVER)
        if not isinstance(over, str):
            raise RoutelineError(f"reducer {name}: over must be the name of an axis, not {shorten(over)!r}")
        axis = space.axis(over)
        others = [a.name for a in (*space.looped, *space.numeric) if a.name != over]
        super().__init__(space, name, {**given, "by": others})
        if any(a.name == over for a in space.looped):
            raise RoutelineError(
                f"reducer {name}: quantiles need an axis of numbers that is broadcast, and {over} is looped over here"
            )
        self.output, self.axis = self.wanted(str(given.get("output", "ratio"))), axis
        p = given.get("probabilities", [0.05, 0.5, 0.95])
        if not isinstance(p, (list, tuple)) or not p or not all(finite(x) and 0 <= x <= 1 for x in p):
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
