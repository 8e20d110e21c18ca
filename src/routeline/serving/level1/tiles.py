"""Tiles of grouped matrix products: to what an expert's tokens and columns are padded, by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...numeric import choose, maximum
from . import routing

Points = dict[str, np.ndarray]


def tile_tokens(tokens: Any, pairs: Any, experts: Any, rule: Mapping[str, Any]) -> Any:
    """Tokens that a tile of an expert's products holds [-], between rule['low'] and rule['high'].

    by 'mean': the power of two from `times` times the mean tokens an expert up (trtllm-gen, Marlin, tuned Triton);
    by 'tokens' or 'experts': low up to `limit` tokens, or up to as many tokens as experts, then high (untuned Triton
    configurations of vLLM and SGLang); by 'fixed': low.
    """
    low, high = float(rule["low"]), float(rule["high"])
    if rule["by"] in ("tokens", "experts"):
        return choose(tokens > (experts if rule["by"] == "experts" else float(rule["limit"])), high, low)
    tile: Any = low
    if rule["by"] == "mean":
        mean = rule["times"] * pairs / maximum(experts, 1.0)
        step = low
        while step < high:
            tile = choose(mean > step, 2.0 * step, tile)
            step *= 2.0
    return tile + 0.0 * pairs


RULES: tuple[dict[str, Any], ...] = (
    *({"by": "fixed", "low": t, "high": t} for t in routing.TILES),
    *({"by": "mean", "times": 1, "low": low, "high": high} for low in (8, 16) for high in (32, 64, 128)[low // 16 :]),
    *({"by": "mean", "times": 2, "low": low, "high": high} for low, high in ((8, 32), (8, 64), (8, 128), (16, 64))),
    {"by": "tokens", "limit": 64, "low": 16, "high": 64},
    {"by": "experts", "low": 16, "high": 64},
)
"""Tile rules of tile_tokens that a kernel may follow."""

QUANTA = (1.0, 64.0, 128.0, 256.0)
"""Columns an expert's width may be padded to by a kernel's output tile; 1: not at all."""


def padded_pairs(q: Points, rule: Mapping[str, Any]) -> np.ndarray:
    """Token-expert pairs of every point after padding each expert's tokens, as routed, to the rule's tile."""
    column = np.searchsorted(routing.TILES, tile_tokens(q["tokens"], q["pairs"], q["experts"], rule))
    return q["padded"][np.arange(len(column)), column]


def padded_columns(q: Points, quantum: float) -> np.ndarray:
    """Columns of an expert on this device, rounded up to the output tile."""
    return np.ceil(q["inter"] / quantum) * quantum
