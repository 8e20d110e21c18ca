"""Measured points of a grouped-expert kernel: columns, the loads of their routing, bounds and which points count."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from . import robust, routing
from .tiles import Points

Shape = tuple[float, ...]
"""hidden, columns of an expert, experts, top-k"""

SHORTEST = 64.0
"""Expert columns on one device below which no engine splits an expert."""
LARGEST = 8192.0
"""Tokens of one call up to which a table counts: beyond, engines cut prompts into chunks."""
SAME = 1.25
"""At one token every routing is the same problem: a distribution this much slower than its sibling was not tuned."""


def _loads(q: Points, at: np.ndarray, grouped: bool) -> tuple[np.ndarray, np.ndarray]:
    found = [
        routing.load(int(e), int(t), int(k), str(d), grouped)
        for e, t, k, d in zip(*(q[n][at] for n in ("experts", "tokens", "top_k", "routing")), strict=True)
    ]
    return np.array([x.touched for x in found]), np.array([x.padded for x in found])


def points(table: dict[str, np.ndarray]) -> Points:
    """Columns of an MoE table by our names, with the touched experts and padded pairs of its own routing."""
    q: Points = {
        "hidden": table["hidden_size"],
        "width": table["inter_size"],
        "inter": table["inter_size"] / table["moe_tp_size"],
        "experts": table["num_experts"],
        "top_k": table["topk"],
        "tokens": table["num_tokens"],
        "routing": table["distribution"].astype(str),
        "seconds": table["latency"] / 1e3,
    }
    route(q)
    return q


def route(q: Points) -> None:
    """Add pairs, touched experts and padded pairs to points with a shape, tokens and a `routing`."""
    q["pairs"] = q["tokens"] * q["top_k"]
    q["touched"], q["padded"] = _loads(q, np.arange(len(q["tokens"])), False)


def bound(q: Points, weight: float, peak: float, bandwidth: float) -> np.ndarray:
    """Seconds below which no kernel can be: touched weights at full bandwidth, unpadded FLOP at full rate."""
    params = 3.0 * q["hidden"] * q["inter"]
    return np.maximum(q["touched"] * params * weight / bandwidth, 2.0 * params * q["pairs"] / peak)


def blocks(*columns: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the points that agree in all columns."""
    found: dict[tuple, list[int]] = {}
    for i, key in enumerate(zip(*columns, strict=True)):
        found.setdefault(key, []).append(i)
    return (np.array(rows) for rows in found.values())


def limited(table_grouped: bool, q: Points, fast: Callable[[Points], np.ndarray]) -> tuple[list[Shape], list[Shape]]:
    """(shapes behind a router limited to groups of experts, shapes that no known router explains).

    A shape of which some distribution beats its own roofline on more than SCREEN of its points has another router
    than its row says: DeepSeek's, if that explains it. table_grouped: the collector uses that router for every shape.
    """
    behind, broken = [], []
    for at in blocks(q["hidden"], q["width"], q["experts"], q["top_k"]):
        shape = tuple(float(q[n][at[0]]) for n in ("hidden", "width", "experts", "top_k"))
        part = {n: v[at] for n, v in q.items()}
        if not table_grouped and not _beats(part, fast):
            continue
        can = shape[2] > routing.GROUPS and shape[2] % routing.GROUPS == 0
        if can:
            part["touched"], part["padded"] = _loads(part, np.arange(len(at)), True)
        if _beats(part, fast):
            broken.append(shape)
        elif can:
            behind.append(shape)
    return behind, broken


def _beats(q: Points, fast: Callable[[Points], np.ndarray]) -> bool:
    found = fast(q)
    return any(found[q["routing"] == d].mean() > robust.SCREEN for d in set(q["routing"]))


def of_shape(q: Points, shapes: list[Shape]) -> np.ndarray:
    """Mask of the points of any of the shapes (hidden, width, experts, top-k)."""
    found = np.zeros(len(q["hidden"]), bool)
    for shape in shapes:
        found |= np.all(
            [q[n] == v for n, v in zip(("hidden", "width", "experts", "top_k"), shape, strict=True)], axis=0
        )
    return found


def regroup(q: Points, at: np.ndarray) -> None:
    """Put the loads of the points `at` (mask) behind DeepSeek's router."""
    rows = np.flatnonzero(at)
    if len(rows):
        q["touched"][rows], q["padded"][rows] = _loads(q, rows, True)


def untuned(q: Points) -> np.ndarray:
    """Mask of the points measured without tuning: at one token every distribution is the same problem, so a
    distribution SAME times slower there than its fastest sibling is left out at every batch."""
    out = np.zeros(len(q["tokens"]), bool)
    one = np.flatnonzero(q["tokens"] == 1.0)
    for rows in blocks(*(q[n][one] for n in ("hidden", "inter", "experts", "top_k"))):
        at = one[rows]
        for i in at[q["seconds"][at] > SAME * q["seconds"][at].min()]:
            same = [q[n] == q[n][i] for n in ("hidden", "inter", "experts", "top_k", "routing")]
            out |= np.all(same, axis=0)
    return out


def ambiguous(q: Points) -> np.ndarray:
    """Mask of Nemotron-3's shapes (top-22, and 2688 x 1856): some collectors run two matrices an expert, and rows do
    not say which."""
    return (q["top_k"] == 22.0) | ((q["hidden"] == 2688.0) & (q["width"] == 1856.0))


def served(q: Points) -> np.ndarray:
    """Mask of shards and calls that engines run: at least SHORTEST columns, at most LARGEST tokens."""
    return (q["inter"] >= SHORTEST) & (q["tokens"] <= LARGEST)
