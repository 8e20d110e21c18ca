"""Tian et al. 2025 (Ling): efficiency leverage EL = dense FLOP over MoE FLOP at equal loss."""

from __future__ import annotations

import numpy as np

from .clark import saturated


def leverage(activation, granularity, flop, k: dict):
    """EL [-] of an MoE with activated expert fraction A, granularity G and C training FLOP.

    The log bases are not stated in the copies read; C in log10 and G in log2 are the only ones that
    give the paper's optimum near G = 12 and its EL above 7 at (3.1%, 12, 1e22).
    """
    a, g = np.asarray(activation, dtype=float), np.log2(granularity)
    shifted = saturated(a + 1.0, k["start"], k["max"])  # the paper writes A where Clark writes E - 1
    return shifted ** (k["a"] + k["d"] * np.log10(flop) + k["gamma"] * g**2 + k["beta"] * g)


def clip(activation, granularity, flop, limits: dict):
    """The three inputs set to the edge of the fitted range where they leave it."""
    return (
        np.clip(activation, *limits["activation"]),
        np.clip(granularity, *limits["granularity"]),
        np.clip(flop, *limits["compute"]),
    )
