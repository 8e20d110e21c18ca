"""How the kernel tables route their tokens: loads of every expert, by the collector's own convention.

Source: aiconfigurator, collector/helper.py (sample_power_law, _generate_power_law_distribution,
_round_robin_adjust_per_rank, balanced_logits, _assign_experts_from_counts). Its random draws are replaced by
evenly spaced quantiles, one an expert, so that a fit is deterministic.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

TILES = (8, 16, 32, 64, 128)
"""Tokens an expert's matrix products may be padded to."""
GROUPS, CHOSEN, DRAWS = 8, 4, 4
"""DeepSeek's router: experts in 8 groups, a token uses 4 of them; placements of the experts averaged over."""


class Load(NamedTuple):
    """What one routing makes the kernels do."""

    touched: float
    """experts with at least one token"""
    hottest: float
    """tokens of the busiest expert"""
    padded: tuple[float, ...]
    """token-expert pairs after padding every expert's tokens to each of TILES"""


def fill(loads: np.ndarray, more: int, top: int) -> np.ndarray:
    """`more` tokens given one at a time to the expert with fewest, none above `top`."""
    out = np.minimum(loads.astype(np.int64), top)
    while more > 0 and out.min() < top:
        low = np.flatnonzero(out == out.min())[:more]
        out[low] += 1
        more -= len(low)
    return out


def cut(loads: np.ndarray, fewer: int) -> np.ndarray:
    """`fewer` tokens taken one at a time from the expert with most."""
    out = loads.astype(np.int64).copy()
    while fewer > 0:
        high = np.flatnonzero(out == out.max())[:fewer]
        out[high] -= 1
        fewer -= len(high)
    return out


def power_law(experts: int, tokens: int, top_k: int, alpha: float) -> np.ndarray:
    """Tokens of each expert, ascending.

    Quantiles of a bounded power law of exponent alpha on [1, 0.8 T] (on [0.01, 2] while T*k <= E), scaled to T*k pairs
    and rounded; what exceeds T, or is missing, goes to the emptiest experts, a surplus leaves the fullest.
    """
    pairs = tokens * top_k
    low, high = (1.0, max(0.8 * tokens, 1.0001)) if pairs > experts else (0.01, 2.0)
    b = 1.0 - alpha
    u = (np.arange(experts) + 0.5) / experts
    drawn = (low**b + u * (high**b - low**b)) ** (1.0 / b)
    loads = np.round(drawn / drawn.sum() * pairs).astype(np.int64)
    over = int(np.maximum(loads - tokens, 0).sum())
    loads = fill(loads, over, tokens)
    missing = pairs - int(loads.sum())
    return fill(loads, missing, tokens) if missing > 0 else cut(loads, -missing)


def chosen(experts: int, tokens: int, top_k: int, distribution: str, seed: int = 0) -> np.ndarray:
    """Experts of every token, (tokens, top_k).

    `balanced`: expert t + j*ceil(E/k) modulo E. A power law: experts sorted by load, repeated, dealt column by
    column; which expert is popular is drawn from `seed`.
    """
    if distribution == "balanced":
        stride = -(-experts // top_k)
        step = 1.0 if tokens >= stride else stride / tokens
        place = np.arange(tokens)[:, None] * step + np.arange(top_k)[None, :] * stride
        return (place % experts).astype(np.int64)
    loads = np.random.default_rng(seed).permutation(power_law(experts, tokens, top_k, _alpha(distribution)))
    order = np.argsort(-loads, kind="stable")
    return np.repeat(order, loads[order]).reshape(top_k, tokens).T


def limited(experts: int, picks: np.ndarray) -> np.ndarray:
    """Tokens of each expert when every token may use only 4 of 8 groups of experts (DeepSeek's router).

    A group scores its two best experts; the wanted experts (score 1, others 0) outside the four best groups are
    replaced by the first unwanted ones of the chosen groups. Ties take the lower index.
    """
    tokens, top_k = picks.shape
    size = experts // GROUPS
    group = picks // size
    wanted = np.zeros((tokens, GROUPS), np.int64)
    np.add.at(wanted, (np.arange(tokens)[:, None], group), 1)
    best = np.argsort(-np.minimum(wanted, 2), axis=1, kind="stable")[:, :CHOSEN]
    allowed = np.zeros((tokens, GROUPS), bool)
    np.put_along_axis(allowed, best, True, axis=1)
    kept = np.take_along_axis(allowed, group, axis=1)
    loads = np.bincount(picks[kept], minlength=experts)
    short = top_k - kept.sum(1)
    first = np.argmax(allowed, axis=1) * size
    for n in range(int(short.max(initial=0))):
        # the n-th filler is the n-th expert of the first chosen group; that it may be wanted already is neglected
        loads += np.bincount(first[short > n] + min(n, size - 1), minlength=experts)
    return loads


def _alpha(distribution: str) -> float:
    return float(distribution.rsplit("_", 1)[-1])


def _count(draws: list[np.ndarray]) -> Load:
    mean = lambda of: float(np.mean([of(x) for x in draws]))  # noqa: E731
    padded = tuple(mean(lambda x, t=t: (np.ceil(x / t) * t).sum()) for t in TILES)
    return Load(mean(lambda x: (x > 0).sum()), mean(lambda x: x.max()), padded)


@cache
def load(experts: int, tokens: int, top_k: int, distribution: str, grouped: bool = False) -> Load:
    """Touched experts, busiest expert and padded pairs of one routing; grouped: behind DeepSeek's router."""
    if grouped and experts % GROUPS == 0:
        seeds = range(1 if distribution == "balanced" else DRAWS)
        return _count([limited(experts, chosen(experts, tokens, top_k, distribution, s)) for s in seeds])
    if distribution == "balanced":
        picks = chosen(experts, tokens, top_k, distribution)
        return _count([np.bincount(picks.ravel(), minlength=experts)])
    return _count([power_law(experts, tokens, top_k, _alpha(distribution))])
