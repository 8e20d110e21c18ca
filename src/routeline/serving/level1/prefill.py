"""Causal attention over whole prompts: tiles of queries over SMs, the passes beside them, seconds.

A tile is 128 queries of one head; it reads keys up to its own end, so the last tile of a prompt is the longest walk.
Scores cost exponentials whatever the head dimension, which is why small heads reach a smaller share of the peak.
Writing the cache and, in some engines, splitting and rotating queries are passes over memory before the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .decode import LATENT, Kind, Points
from .robust import Prior
from .tables import Machine

PRIORS: dict[str, Prior] = {
    "t0": Prior(10e-6, 0.7),
    "f": Prior(0.6, 0.3, 0.01, 2.0),
    "score": Prior(150.0, 0.7),
    "item": Prior(1e-6, 1.0),
    "tail": Prior(0.3, 1.0),
    "q": Prior(2.0, 0.7),
    "k": Prior(2.0, 0.7),
    "cache": Prior(2.0, 0.5, 1.0, 6.0),
}
"""f is a share of the 16-bit peak: above 1 the kernel multiplies in FP8."""
TILE = 128.0
LEAST = 16.0
"""Keys that a tile multiplies with at least."""
KEY, VALUE = 192.0, 128.0
"""MLA on prompts: elements of a head's key and value."""


class Work(NamedTuple):
    """What the tiles of one call do."""

    queries: np.ndarray
    """bytes of queries and results"""
    keys: np.ndarray
    """bytes of new keys and values, read at 16 bits and written to the cache"""
    wide: np.ndarray
    """FLOP of a score: twice the elements of a key and a value"""
    starts: np.ndarray
    """tiles that the busiest SM runs"""
    longest: np.ndarray
    """blocks of TILE keys that the last tile of a prompt walks"""
    even: np.ndarray
    """blocks an SM walks: whole waves of one-tile prompts, otherwise spread evenly"""
    short: np.ndarray
    """whether a prompt is one tile"""


def flop(q: Points, kind: Kind) -> np.ndarray:
    """FLOP that no kernel can avoid: half of the scores are masked."""
    wide = 2.0 * (KEY + VALUE) if kind.mla else 4.0 * q["head_dim"]
    return wide * q["batch"] * q["heads"] * q["length"] ** 2 / 2.0


def work(q: Points, kind: Kind, m: Machine) -> Work:
    b, h, kv, d, length = (q[n] for n in ("batch", "heads", "kv", "head_dim", "length"))
    if kind.mla:
        wide = np.full(len(b), 2.0 * (KEY + VALUE))
        queries, keys = 4.0 * b * length * h * (KEY + VALUE), b * length * LATENT * (2.0 + kind.element)
    else:
        wide = 4.0 * d
        queries, keys = 4.0 * b * length * h * d, 2.0 * b * length * kv * d * (2.0 + kind.element)
    tiles = np.ceil(length / TILE)
    short = tiles == 1.0
    reads = np.where(short, np.maximum(length, LEAST) / TILE, (tiles + 1.0) / 2.0)
    starts = np.ceil(b * h * tiles / m.sms)
    even = np.where(short, starts * reads, b * h * tiles * reads / m.sms)
    return Work(queries, keys, wide, starts, np.where(short, reads, tiles), even, short)


def seconds(w: Work, at: Any, c: Mapping[str, float], peak: float, m: Machine) -> np.ndarray:
    """t0 + passes over queries and keys + walk of the busiest SM + item*starts.

    passes: (q*queries + k*keys)/BW, what stays in L2 between replays `cache` times faster. walk: blocks of TILE x TILE
    scores, each (wide + score) FLOP at f of an SM's peak; as many as the longest tile has, or an even share plus `tail`
    of the longest tile.
    """
    moved = c["q"] * w.queries[at] + c["k"] * w.keys[at]
    hit = m.resident(w.queries[at] + w.keys[at])
    block = TILE * TILE * (w.wide[at] + c["score"]) / (peak / m.sms * c["f"])
    even = w.even[at] + np.where(w.short[at], 0.0, c["tail"] * w.longest[at])
    passes = moved / m.bandwidth * (1.0 - hit * (1.0 - 1.0 / c["cache"]))
    return c["t0"] + passes + np.maximum(w.longest[at], even) * block + c["item"] * w.starts[at]
