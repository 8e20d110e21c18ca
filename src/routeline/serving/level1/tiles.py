"""Tiles of grouped matrix products: to what an expert's tokens and columns are padded, by rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import routing

Points = dict[str, np.ndarray]


def _doubled(mean: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(2.0 ** np.ceil(np.log2(np.maximum(mean, 1.0))), low, high)


def _fixed(tile: float) -> Callable[[Points], np.ndarray]:
    return lambda q: np.full(len(q["tokens"]), tile)


def _mean(times: float, low: float, high: float) -> Callable[[Points], np.ndarray]:
    return lambda q: _doubled(times * q["pairs"] / q["experts"], low, high)


TILES: dict[str, Callable[[Points], np.ndarray]] = {
    **{str(t): _fixed(t) for t in routing.TILES},
    **{f"mean {low}-{high}": _mean(1.0, low, high) for low, high in ((8, 32), (8, 64), (8, 128), (16, 64), (16, 128))},
    **{f"twice {low}-{high}": _mean(2.0, low, high) for low, high in ((8, 32), (8, 64), (8, 128), (16, 64))},
    "tokens 64: 16, 64": lambda q: np.where(q["tokens"] <= 64.0, 16.0, 64.0),
    "tokens experts: 16, 64": lambda q: np.where(q["tokens"] <= q["experts"], 16.0, 64.0),
}
"""Tokens a tile of the matrix product holds, by rule: a fixed number; the power of two from the mean tokens an expert
(once or twice) up, within limits (trtllm-gen, Marlin and others); 16 up to 64 tokens or up to as many tokens as
experts, then 64 (the untuned Triton configurations of vLLM and SGLang)."""

QUANTA = (1.0, 64.0, 128.0, 256.0)
"""Columns an expert's width may be padded to by a kernel's output tile; 1: not at all."""


def padded_pairs(q: Points, rule: str) -> np.ndarray:
    """Token-expert pairs of every point after padding each expert's tokens to the rule's tile."""
    column = np.searchsorted(routing.TILES, TILES[rule](q))
    return q["padded"][np.arange(len(column)), column]


def padded_columns(q: Points, quantum: float) -> np.ndarray:
    """Columns of an expert on this device, rounded up to the output tile."""
    return np.ceil(q["inter"] / quantum) * quantum
