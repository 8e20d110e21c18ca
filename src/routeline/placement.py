"""Where experts live under expert parallelism, and what the fullest rank then holds. Knows no device.

Popularity without names (`zipf`) is dealt to ranks at random; a measured table keeps its order, which is
how engines place experts unless told otherwise; redundant slots are filled greedily (EPLB).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .routing import Routing

DEALS = 128
"""Random deals averaged for a popularity without names; the seed is fixed, so answers repeat."""
ROWS = 8
"""Layers of a measured table that are placed, evenly spaced; unions use all of them."""

_KEPT: dict[tuple, tuple[Any, np.ndarray]] = {}
_MOST_KEPT = 256


def placed(routing: Routing, pi: np.ndarray, ranks: int) -> np.ndarray:
    """Chance that a token uses each slot, shape (deals or layers, ranks, slots); 0 pads unequal ranks.

    A copied expert gives 1/copies of its tokens to each copy.
    """
    key = (
        routing.name,
        routing.exponent,
        routing.redundant,
        id(routing.probabilities),
        pi.shape,
        float(pi.sum()),
        ranks,
    )
    if key in _KEPT and _KEPT[key][0] is routing.probabilities:
        return _KEPT[key][1]
    rows = np.atleast_2d(pi)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, ROWS).round().astype(int))] if len(rows) > ROWS else rows
    if routing.redundant:
        out = np.stack([eplb(row, ranks, int(routing.redundant)) for row in rows])
    elif routing.probabilities is None:
        rng = np.random.default_rng(20260309)
        out = np.stack([deal(rng.permutation(rows[0]), ranks) for _ in range(DEALS)])
    else:
        out = np.stack([deal(row, ranks) for row in rows])
    if len(_KEPT) >= _MOST_KEPT:
        _KEPT.clear()
    _KEPT[key] = (routing.probabilities, out)
    return out


def deal(pi: np.ndarray, ranks: int) -> np.ndarray:
    """Experts in order, an equal share to each rank; the last ranks are padded with 0."""
    slots = -(-len(pi) // ranks)
    return np.concatenate([pi, np.zeros(slots * ranks - len(pi))]).reshape(ranks, slots)


def eplb(pi: np.ndarray, ranks: int, redundant: int) -> np.ndarray:
    """Greedy expert-parallel load balancing: copy the busiest, then pack the heaviest first.

    Each of the `redundant` slots goes to the expert with most tokens per copy; then slots, heaviest
    first, go to the least loaded rank with room (longest processing time first). The shape of DeepSeek's
    EPLB in one level (arXiv:2412.19437 section 3.4.2); written from that description.
    """
    copies = np.ones(len(pi))
    for _ in range(redundant):
        copies[np.argmax(pi / copies)] += 1.0
    weight = np.repeat(pi / copies, copies.astype(int))
    room = -(-len(weight) // ranks)
    out, filled, load = np.zeros((ranks, room)), np.zeros(ranks, int), np.zeros(ranks)
    for w in np.sort(weight)[::-1]:
        rank = int(np.argmin(np.where(filled < room, load, np.inf)))
        out[rank, filled[rank]] = w
        filled[rank] += 1
        load[rank] += w
    return out


def heaviest(routing: Routing, pi: np.ndarray, ranks: Any) -> Any:
    """Expected token load of the busiest rank over the mean in the limit of many tokens [-], by rank count."""

    def one(n: int) -> float:
        load = placed(routing, pi, n).sum(axis=-1)
        return float(np.mean(load.max(axis=-1) / load.mean(axis=-1)))

    return by_rank(ranks, one)


def by_rank(ranks: Any, one: Callable[[int], float]) -> Any:
    """`one(n)` at every rank count of an array (or scalar)."""
    if np.ndim(ranks) == 0:
        return one(int(ranks))
    values, inverse = np.unique(np.asarray(ranks), return_inverse=True)
    return np.array([one(int(n)) for n in values])[inverse].reshape(np.shape(ranks))


def touched_by_rank(routing: Routing, pi: np.ndarray, tokens: Any, ranks: Any) -> tuple[Any, Any, Any, Any]:
    """(mean over ranks, largest rank's mean, variance between ranks, variance within) of touched slots [-].

    Averages over deals or layers; shapes broadcast over tokens and ranks.
    """
    tokens, ranks = np.broadcast_arrays(np.asarray(tokens, float), np.asarray(ranks, float))
    out = [np.empty(tokens.shape) for _ in range(4)]
    for n in np.unique(ranks):
        at = ranks == n
        slots = placed(routing, pi, int(n))
        mean, within = _moments(slots, tokens[at])
        values = (mean.mean(axis=1), mean.max(axis=1), mean.var(axis=1), within.mean(axis=1))
        for array, value in zip(out, values, strict=True):
            array[at] = value.mean(axis=0)
    return tuple(a if a.ndim else float(a) for a in out)  # type: ignore[return-value]


def _moments(slots: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, variance) of touched slots per rank: (..., ranks, slots) probabilities, (tokens,) -> (..., ranks, tokens).

    Slots that share a probability (copies, uniform routing) are counted and their power is taken once.
    """
    values, place = np.unique(slots, return_inverse=True)
    rows = slots.size // slots.shape[-1]
    if len(values) > 4 * slots.shape[-1]:
        p = 1.0 - (1.0 - slots[..., None]) ** tokens
        return p.sum(axis=-2), (p * (1.0 - p)).sum(axis=-2)
    at = np.repeat(np.arange(rows), slots.shape[-1]) * len(values) + place.ravel()
    counts = np.bincount(at, minlength=rows * len(values)).reshape(*slots.shape[:-1], len(values)).astype(float)
    p = 1.0 - (1.0 - values[:, None]) ** tokens
    return counts @ p, counts @ (p * (1.0 - p))
