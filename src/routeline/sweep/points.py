"""Reducers that keep points: the best of every group, the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RoutelineError
from .reducer import Partial, Reducer, Table, names

if TYPE_CHECKING:
    from .evaluate import Tile
    from .grid import Space


class Best(Reducer):
    """The point with the largest (or smallest) output in every group, with its axes and other outputs."""

    def __init__(self, space: Space, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(space, name, given)
        self.output = self.wanted(str(given.get("output", "ratio")))
        goal = given.get("goal", "max")
        if goal not in ("max", "min"):
            raise RoutelineError(f"reducer {name}: goal must be max or min, not {goal!r}")
        self.sign = 1.0 if goal == "max" else -1.0
        kept = dict.fromkeys(names(name, "keep", "outputs", given.get("keep", [])))
        self.keep = [self.wanted(k) for k in kept if k != self.output]

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
    """Indices of columns that none beats (at least equal everywhere, better somewhere); the first of equals."""
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
