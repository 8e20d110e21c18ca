"""Tiles of grouped matrix products: to what an expert's tokens and columns are padded, by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels import tile_tokens
from . import routing

Points = dict[str, np.ndarray]


RULES: tuple[dict[str, Any], ...] = (
    *({"by": "fixed", "low": t, "high": t} for t in routing.TILES),
    *(
        {"by": "mean", "times": times, "low": low, "high": high}
        for times, low, high in (
            (1, 8, 32),
            (1, 8, 64),
            (1, 8, 128),
            (1, 16, 64),
            (1, 16, 128),
            (2, 8, 32),
            (2, 8, 64),
            (2, 8, 128),
            (2, 16, 64),
        )  # fmt: skip
    ),
    {"by": "tokens", "limit": 64, "low": 16, "high": 64},
    {"by": "experts", "low": 16, "high": 64},
)
"""Tile rules of kernels.tile_tokens that a kernel may follow."""

QUANTA = (1.0, 64.0, 128.0, 256.0)
"""Columns an expert's width may be padded to by a kernel's output tile; 1: not at all."""


def padded_pairs(q: Points, rule: Mapping[str, Any]) -> np.ndarray:
    """Token-expert pairs of every point after padding each expert's tokens, as routed, to the rule's tile."""
    column = np.searchsorted(routing.TILES, tile_tokens(q["tokens"], q["pairs"], q["experts"], rule))
    return q["padded"][np.arange(len(column)), column]


def padded_columns(q: Points, quantum: float) -> np.ndarray:
    """Columns of an expert on this device, rounded up to the output tile."""
    return np.ceil(q["inter"] / quantum) * quantum
