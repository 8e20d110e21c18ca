"""Attention of one new token a sequence: what its thread blocks do, what replays find in the cache, seconds.

A sequence's KV head is an item. Its query heads are rows of one matrix product, padded to what the instruction takes; a
block (CTA) runs on one SM at a time and walks along the cache in tiles. With fewer items than SMs an item is cut along
its length and the pieces are joined by a last step (flash decoding).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...kernels import SPAN, joined
from .robust import Prior
from .tables import Machine

Points = dict[str, np.ndarray]

PRIORS: dict[str, Prior] = {
    "t0": Prior(9e-6, 0.7),
    "eta": Prior(0.85, 0.1, 0.02, 1.0),
    "f": Prior(0.4, 0.7, 0.01, 1.0),
    "p": Prior(2.0, 0.4, 1.0, 6.0),
    "item": Prior(1.5e-6, 1.0),
    "row": Prior(1e-10, 1.5),
    "half": Prior(60.0, 1.0),
    "cache": Prior(2.0, 0.5, 1.0, 6.0),
    "split": Prior(1e-6, 1.0),
}
AGAIN, CONVERT = Prior(0.3, 1.0), Prior(4.0, 1.0)
TILE = 128.0
"""Cached tokens a block reads at a time, and below which an item is not cut."""
LATENT, SCORED = 576.0, 1088.0
"""MLA: cached elements a token; what a head multiplies with for a cached token, 576 of the key and 512 of the value."""


class Kind(NamedTuple):
    """Which kernels run: MLA or grouped queries, by device class and engine, on a cache of so many bytes an element;
    masked: a block for every query head, none shares what it reads."""

    mla: bool
    hopper: bool
    engine: str
    element: float
    masked: bool = False


class Work(NamedTuple):
    """What the blocks of one call do."""

    cached: np.ndarray
    """bytes of cache"""
    io: np.ndarray
    """bytes of queries and results"""
    pieces: np.ndarray
    """blocks of one item along its length"""
    starts: np.ndarray
    """blocks that the busiest SM runs, one after another"""
    tokens: np.ndarray
    """cached tokens that the busiest SM walks, whole tiles"""
    token_flop: np.ndarray
    """FLOP of a block for a cached token, rows padded"""
    rows: np.ndarray
    """elements of the queries a block holds: rows times width"""
    again: np.ndarray
    """blocks beyond the first that read an item's cache again"""
    spans: np.ndarray
    """pieces of SPAN tokens in flight, at most"""


def power(x: np.ndarray, low: float) -> np.ndarray:
    """The next power of two, at least `low`."""
    return np.maximum(low, 2.0 ** np.ceil(np.log2(x) - 1e-9))


def flop(q: Points, kind: Kind) -> np.ndarray:
    """FLOP that no kernel can avoid."""
    if kind.mla:
        return 2.0 * SCORED * q["batch"] * q["heads"] * q["length"]
    return 4.0 * q["batch"] * q["heads"] * q["head_dim"] * q["length"]


def work(q: Points, kind: Kind, m: Machine) -> Work:
    """Blocks of every point.

    Rows of a block: masked attention one; grouped queries the next power of two from 8 up (XQA, trtllm-gen);
    FlashAttention 3 always 64; MLA on Hopper 64 heads; MLA on Blackwell 16 heads below 64 and 64 from there, so that 32
    heads read the cache twice.
    """
    b, h, kv, d, length = (q[n] for n in ("batch", "heads", "kv", "head_dim", "length"))
    if kind.mla:
        held = np.full(len(b), 64.0) if kind.hopper else np.where(h < 64.0, 16.0, 64.0)
        blocks = np.ceil(h / held)
        items = b * blocks
        cached, io = b * length * LATENT * kind.element, 2.0 * SCORED * b * h
        token_flop, rows = 2.0 * SCORED * held, np.minimum(h, held) * SCORED / 2.0
        again = (blocks - 1.0) * (h < 64.0)
    else:
        fa3 = kind.hopper and kind.engine != "trtllm"
        group = np.ones(len(b)) if kind.masked else power(h / kv, 8.0)
        items = b * (h if kind.masked else kv)
        cached, io = b * length * 2.0 * kv * d * kind.element, 4.0 * b * h * d
        token_flop, rows = 4.0 * d * (64.0 if fa3 else group), group * d
        again = h / kv - 1.0 if kind.masked else 0.0 * b
    tiles = np.ceil(length / TILE)
    pieces = np.maximum(1.0, np.minimum(tiles, np.floor(m.sms / items)))
    starts = np.ceil(items * pieces / m.sms)
    tokens = starts * np.ceil(tiles / pieces) * TILE
    return Work(cached, io, pieces, starts, tokens, token_flop, rows, again, items * np.maximum(length / SPAN, 1.0))


def priors(kind: Kind) -> dict[str, Prior]:
    more = {}
    if kind.masked or (kind.mla and not kind.hopper):
        more["again"] = AGAIN
    if kind.mla and kind.hopper and kind.engine == "sglang" and kind.element == 1.0:
        more["convert"] = CONVERT
    return PRIORS | more


def seconds(w: Work, at: Any, c: Mapping[str, float], peak: float, m: Machine) -> np.ndarray:
    """t0 + split*log2(pieces) + convert*bytes/BW + joined(p, memory, busiest SM).

    memory: cached bytes, what stays in L2 between replays `cache` times faster, what is read again at `again`
    of the cost, over eta*BW*spans/(spans + half). busiest SM: starts*(item + row*rows) + its FLOP at f of an SM's peak.
    convert: passes over the cache of a kernel that cannot read its format (SGLang's FP8 MLA on Hopper).
    """
    hit = m.resident(w.cached[at])
    moved = w.cached[at] * (1.0 - hit * (1.0 - 1.0 / c["cache"])) * (1.0 + w.again[at] * c.get("again", 0.0)) + w.io[at]
    reached = w.spans[at] / (w.spans[at] + c["half"])
    memory = moved / (m.bandwidth * c["eta"] * reached)
    busiest = w.starts[at] * (c["item"] + c["row"] * w.rows[at])
    busiest = busiest + w.token_flop[at] * w.tokens[at] / (peak / m.sms * c["f"])
    convert = c.get("convert", 0.0) * w.cached[at] / m.bandwidth
    return c["t0"] + c["split"] * np.log2(w.pieces[at]) + convert + joined(c["p"], memory, busiest)
